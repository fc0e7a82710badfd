package httpkit

import (
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

const maxParameters = 64

// Form reads an application/x-www-form-urlencoded body within limits. Repeated names stay repeated: their reader decides.
func Form(r *http.Request, limit int64) (url.Values, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, identity.MediaType.Because("the body must be application/x-www-form-urlencoded")
	}
	body, err := ReadBody(r, limit)
	if err != nil {
		return nil, err
	}
	return ParseForm(string(body))
}

// ParseForm parses a form or a query string, refusing what is not UTF-8 or has too many parameters.
func ParseForm(encoded string) (url.Values, error) {
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, identity.Invalid.Because("the parameters cannot be read")
	}
	if len(values) > maxParameters {
		return nil, identity.Invalid.Because("too many parameters")
	}
	for name, list := range values {
		if !utf8.ValidString(name) {
			return nil, identity.Invalid.Because("the parameters are not UTF-8")
		}
		for _, v := range list {
			if !utf8.ValidString(v) {
				return nil, identity.Invalid.In(clip(name), "is not UTF-8")
			}
		}
	}
	return values, nil
}

// Repeated gives a name that comes more than once, "" if none does.
func Repeated(values url.Values) string {
	for name, list := range values {
		if len(list) > 1 {
			return name
		}
	}
	return ""
}
