package httpkit

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/identity"
)

const maxAuthorization = 8 << 10

// authorization gives the credentials of one scheme, compared without case, whatever number of spaces follows it (RFC 9110,
// section 11.4). ok is false where the header is absent or of another scheme. Two headers are refused: which one counts would
// be anybody's guess.
func authorization(r *http.Request, scheme string) (credentials string, ok bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		return "", false, identity.TokenInvalid.Because("more than one Authorization header")
	}
	value := values[0]
	if len(value) > maxAuthorization {
		return "", false, identity.TokenInvalid.Because("the Authorization header is too long")
	}
	if len(value) <= len(scheme) || value[len(scheme)] != ' ' || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false, nil
	}
	return strings.Trim(value[len(scheme):], " "), true, nil
}

// Bearer gives the bearer token (RFC 6750, section 2.1); "" where there is none. Its error is TokenInvalid.
func Bearer(r *http.Request) (string, error) {
	token, _, err := authorization(r, "Bearer")
	return token, err
}

// Basic gives client credentials in the form of RFC 6749, section 2.3.1, both parts form-encoded. ok is false where there are
// none; a damaged header is ClientInvalid.
func Basic(r *http.Request) (id string, secret identity.Secret, ok bool, err error) {
	encoded, ok, err := authorization(r, "Basic")
	if err != nil {
		return "", "", true, identity.ClientInvalid.Because("more than one Authorization header")
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
	if id, err = url.QueryUnescape(user); err != nil {
		return "", "", true, refused
	}
	text, err := url.QueryUnescape(pass)
	if err != nil {
		return "", "", true, refused
	}
	return id, identity.Secret(text), true, nil
}
