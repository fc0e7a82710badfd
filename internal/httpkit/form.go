package httpkit

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

const maxParameters = 64

// Form reads an application/x-www-form-urlencoded body within limits. Repeated names stay repeated: their reader decides.
func Form(r *http.Request, limit int64) (url.Values, error) {
	if mediaType(r.Header) != "application/x-www-form-urlencoded" {
		return nil, identity.MediaType.Because("the body must be application/x-www-form-urlencoded")
	}
	body, err := ReadBody(r, limit)
	if err != nil {
		return nil, err
	}
	return ParseForm(string(body))
}

// ParseForm parses a form or a query string, refusing what is not UTF-8, has a NUL or has too many parameters.
func ParseForm(encoded string) (url.Values, error) {
	if strings.Count(encoded, "&") >= maxParameters { // before a map is built of them
		return nil, identity.Invalid.Because("too many parameters")
	}
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, identity.Invalid.Because("the parameters cannot be read")
	}
	for name, list := range values {
		if !storable(name) {
			return nil, identity.Invalid.Because("the parameters are not UTF-8")
		}
		for _, v := range list {
			if !storable(v) {
				return nil, identity.Invalid.In(clip(name), "is not UTF-8")
			}
		}
	}
	return values, nil
}

// Repeated gives a name that comes more than once, the first by the alphabet; "" if none does.
func Repeated(values url.Values) string {
	first := ""
	for name, list := range values {
		if len(list) > 1 && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// storable says whether a database can hold text at all. What has a NUL or is not UTF-8 would fail there, as a failure of ours.
func storable(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
