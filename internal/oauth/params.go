package oauth

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// FormType is the media type of every request to a token endpoint.
const FormType = "application/x-www-form-urlencoded"

const maxParams = 64

// Params are the parameters of a request, each name at most once (RFC 6749, section 3.2). There are few, so a search beats a map.
type Params []param

type param struct{ name, value string }

// Get gives a parameter's value. One without a value counts as left out (RFC 6749, section 3.2).
func (p Params) Get(name string) string {
	for i := range p {
		if p[i].name == name {
			return p[i].value
		}
	}
	return ""
}

// Secret is Get for what must not be seen.
func (p Params) Secret(name string) identity.Secret { return identity.Secret(p.Get(name)) }

// ParseParams reads form-encoded texts, a body or a query, as one set of parameters. A name that comes twice, in one text or in
// two, is refused: whoever checks a request and whoever acts on it might each take another one.
func ParseParams(encoded ...string) (Params, error) {
	var all Params
	for _, text := range encoded {
		for text != "" {
			var pair string
			pair, text, _ = strings.Cut(text, "&")
			if pair == "" {
				continue
			}
			if len(all) == maxParams {
				return nil, identity.Invalid.Because("too many parameters")
			}
			p, err := parsePair(pair)
			if err != nil {
				return nil, err
			}
			for i := range all {
				if all[i].name == p.name {
					return nil, identity.Invalid.In(p.name, "a parameter is repeated")
				}
			}
			if all == nil {
				all = make(Params, 0, 8)
			}
			all = append(all, p)
		}
	}
	return all, nil
}

func parsePair(pair string) (param, error) {
	name, value, _ := strings.Cut(pair, "=")
	var err error
	if name, err = unescape(name); err != nil {
		return param{}, err
	}
	value, err = unescape(value)
	return param{name, value}, err
}

// unescape also refuses what is no text: other encodings than UTF-8, and NUL, which not every store can keep.
func unescape(s string) (string, error) {
	if isPlain(s) {
		return s, nil
	}
	text, err := url.QueryUnescape(s)
	if err != nil || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return "", identity.Invalid.Because("a parameter is not form-encoded UTF-8")
	}
	return text, nil
}

// isPlain says whether s means itself, as tokens and names do.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' || c == '+' {
			return false
		}
	}
	return true
}

// IsForm says whether the request's body is a form.
func IsForm(r *http.Request) bool {
	given := r.Header.Get("Content-Type")
	if given == FormType {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(given)
	return err == nil && mediaType == FormType
}

// Words splits a scope at spaces, and at the other separators given (RFC 6749, section 3.3). A word that comes twice counts once.
func Words(scope, separators string) []string {
	if scope == "" {
		return nil
	}
	words := strings.FieldsFunc(scope, func(c rune) bool { return c == ' ' || strings.ContainsRune(separators, c) })
	kept := words[:0]
	for _, w := range words {
		if !slices.Contains(kept, w) {
			kept = append(kept, w)
		}
	}
	return kept
}
