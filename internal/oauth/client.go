package oauth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// Method is how a client named itself (RFC 6749, section 2.3.1).
type Method int

const (
	NoClient Method = iota
	Basic           // the Authorization header
	Form            // client_id and client_secret among the parameters; a public client leaves the secret out
)

// Claim is who a client says it is, not proven yet.
type Claim struct {
	Method Method
	ID     identity.ClientID
	Secret identity.Secret
}

// Authorization says which scheme, in lower case, the request's Authorization header has, and what follows it. Two such headers
// are refused: which of them counts would be a matter of taste.
func Authorization(r *http.Request) (scheme, rest string, err error) {
	given := r.Header.Values("Authorization")
	switch len(given) {
	case 0:
		return "", "", nil
	case 1:
		scheme, rest, _ = strings.Cut(strings.Trim(given[0], " \t"), " ") // no more than that is blank in a header (RFC 9110, section 5.6.3)
		return strings.ToLower(scheme), strings.TrimLeft(rest, " "), nil
	}
	return "", "", identity.Invalid.In("Authorization", "the Authorization header is repeated")
}

// ParseBasic reads what follows "Basic" (RFC 7617). Credentials that cannot be any are ClientInvalid.
func ParseBasic(encoded string) (name, secret string, err error) {
	refused := identity.ClientInvalid.Because("the Authorization header cannot be read")
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || !utf8.Valid(decoded) {
		return "", "", refused
	}
	name, secret, ok := strings.Cut(string(decoded), ":")
	if !ok || name == "" || strings.IndexByte(name, 0) >= 0 {
		return "", "", refused
	}
	return name, secret, nil
}
