// Package oidc is the door for OAuth 2.1 and OpenID Connect: metadata, keys, a client's own tokens, refreshing, and looking at
// or revoking tokens of every door (RFC 6749, 7009, 7517, 7662, 8414, 9068).
package oidc

import (
	"context"
	_ "embed"
	"io"
	"net/http"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// Door names this dialect in sessions and tokens.
const Door identity.Door = "oidc"

// Keys sign and verify, and show their public halves.
type Keys interface {
	Sign(alg, typ string, claims any) (string, error)
	Verify(raw string) (keys.Verified, error)
	JWKS() (body []byte, etag string)
}

// Dialect is the door. Its fields are set by whoever builds it and not changed after Routes.
type Dialect struct {
	// Issuer is what tokens say, to the letter, and what every endpoint's address starts with. It is configured: a Host header
	// has no say in it.
	Issuer   string
	Keys     Keys
	Grants   *grant.Service
	Sessions *session.Service
	// Entitlements says what somebody, or a device, may use by licences; nil: nothing.
	Entitlements func(context.Context, licence.Holder) ([]string, error)
	Now          func() time.Time
	Rand         io.Reader
	Origins      []string // of browsers that may call the door
}

// Rules are the lives of this door's sessions and tokens.
func Rules(cfg config.OIDC) session.Rules {
	return session.Rules{
		AccessTTL: cfg.AccessLife, SessionTTL: cfg.RefreshLife, MaxTTL: max(90*24*time.Hour, cfg.RefreshLife),
		Rotates: true, Grace: cfg.RefreshGrace, Opaque: []identity.TokenKind{identity.RefreshToken},
	}
}

// Form reads the door's tokens.
func (d *Dialect) Form() token.Form { return form{d.Keys, d.Issuer} }

//go:embed openapi.yaml
var openAPI []byte

// deadline bounds what waits for the store.
const deadline = 15 * time.Second

// Routes are the door's operations.
func (d *Dialect) Routes() httpkit.Door {
	metadata := d.describeItself()
	handle := func(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				fail(w, r, err)
			}
		}
	}
	get := func(path, op string, h http.HandlerFunc) httpkit.Route {
		return httpkit.Route{Method: http.MethodGet, Path: path, Op: op, Handler: h}
	}
	post := func(path, op string, h func(http.ResponseWriter, *http.Request) error) httpkit.Route {
		return httpkit.Route{Method: http.MethodPost, Path: path, Op: op, Handler: handle(h)}
	}
	return httpkit.Door{
		Name: Door,
		Routes: []httpkit.Route{
			get(configurationPath, "metadata", metadata.ServeHTTP),
			get(serverPath, "metadata", metadata.ServeHTTP),
			get(jwksPath, "jwks", d.jwks),
			post(tokenPath, "token", d.token),
			post(introspectPath, "introspect", d.introspect),
			post(revokePath, "revoke", d.revoke),
			get(openAPIPath, "openapi", httpkit.OpenAPI(openAPI).ServeHTTP),
		},
		Claims:           []string{"/oauth2/", "/.well-known/"},
		NotFound:         handle(func(http.ResponseWriter, *http.Request) error { return identity.NotFound }),
		MethodNotAllowed: wrongMethod,
		Wrap:             httpkit.CORS{Origins: d.Origins, Methods: "GET, POST", Expose: "WWW-Authenticate"}.Wrap,
	}
}
