package httpkit

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/identity"
)

const maxAuthorization = 8 << 10

// ErrRepeated is in the chain of an error about a repeated Authorization header: RFC 6750, section 3.1, calls that an invalid
// request, not an invalid token.
var ErrRepeated = errors.New("more than one Authorization header")

// authorization gives the credentials of one scheme, compared without case, whatever number of spaces follows it (RFC 9110,
// section 11.4). ok is false where the header is absent or of another scheme. Two headers are refused: which one counts would
// be anybody's guess.
func authorization(r *http.Request, scheme string) (credentials string, ok bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		return "", false, &identity.Error{Kind: identity.TokenInvalid, Public: ErrRepeated.Error(), Err: ErrRepeated}
	}
	value := values[0]
	if len(value) > maxAuthorization {
		return "", false, identity.TokenInvalid.Because("the Authorization header is too long")
	}
	named, rest := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		named, rest = value[:i], value[i:]
	}
	if !strings.EqualFold(named, scheme) {
		return "", false, nil
	}
	return strings.Trim(rest, " \t"), true, nil
}

// Bearer gives the bearer token (RFC 6750, section 2.1); "" where there is none. Its error is TokenInvalid.
func Bearer(r *http.Request) (string, error) {
	token, _, err := authorization(r, "Bearer")
	if err != nil {
		return "", err
	}
	if token != "" && !isToken68(token) {
		return "", identity.TokenInvalid.Because("the token has characters that no token has")
	}
	return token, nil
}

// isToken68 checks what RFC 6750 calls b64token: text that needs no care in a log, a header or an address.
func isToken68(token string) bool {
	body := strings.TrimRight(token, "=")
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return body != ""
}

// Basic gives client credentials in the form of RFC 6749, section 2.3.1, both parts form-encoded. ok is false where there are
// none; a damaged header is ClientInvalid.
func Basic(r *http.Request) (id string, secret identity.Secret, ok bool, err error) {
	encoded, ok, err := authorization(r, "Basic")
	if err != nil {
		return "", "", true, &identity.Error{Kind: identity.ClientInvalid, Public: identity.Describe(err).Public, Err: err}
	}
	if !ok {
		return "", "", false, nil
	}
	refused := identity.ClientInvalid.Because("the Basic credentials cannot be read")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", true, refused
	}
	user, pass, found := strings.Cut(string(plain), ":")
	if !found {
		return "", "", true, refused
	}
	if id, err = url.QueryUnescape(user); err != nil || !storable(id) {
		return "", "", true, refused
	}
	text, err := url.QueryUnescape(pass)
	if err != nil || !storable(text) {
		return "", "", true, refused
	}
	return id, identity.Secret(text), true, nil
}
