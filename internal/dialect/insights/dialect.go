// Package insights is the door for clients of Resolve Insights: a token endpoint with the password grant, the signed-in user
// with her privileges, and her sites.
package insights

import (
	_ "embed"
	"io"
	"net/http"
	"strings"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/logs"
)

// Door names this dialect in sessions and tokens.
const Door identity.Door = "insights"

// Keys sign and verify.
type Keys interface {
	Sign(alg, typ string, claims any) (string, error)
	Verify(raw string) (keys.Verified, error)
}

// Dialect is the door. Its fields are set by whoever builds it.
type Dialect struct {
	Issuer   string // iss of the tokens
	Keys     Keys
	Grants   *grant.Service
	SignIn   *signin.Service
	Sessions *session.Service
	Profiles *profile.Service
	Now      func() time.Time
	Rand     io.Reader
	Origins  []string // of browsers that may call the door; none by default: the contract's clients are scripts
}

// rotationGrace forgives a lost answer where an operator turned rotation on; the contract has none, because it has no rotation.
const rotationGrace = 10 * time.Second

// Rules are the lives of this door's sessions and tokens (insights.md 2.4).
func Rules(cfg config.Insights) session.Rules {
	return session.Rules{AccessTTL: cfg.AccessLife, SessionTTL: cfg.RefreshLife, Rotates: cfg.RefreshRotate, Grace: rotationGrace}
}

// Form reads the door's tokens.
func (d *Dialect) Form() token.Form { return form{d.Keys, d.Issuer} }

//go:embed openapi.yaml
var openAPI []byte

// deadline is the contract's (insights.md 5).
const deadline = 15 * time.Second

// Routes are the door's operations (insights.md 5). The token endpoint takes every method, because its refusal of a wrong one
// depends on the client.
func (d *Dialect) Routes() httpkit.Door {
	op := func(method, path, name string, h handler) httpkit.Route {
		return httpkit.Route{Method: method, Path: path, Op: name, Handler: httpkit.Deadline(deadline, d.handle(h))}
	}
	return httpkit.Door{
		Name: Door,
		Routes: []httpkit.Route{
			op("", "/oauth/token", "token", d.token),
			op(http.MethodGet, "/api/v2/users/loggedIn/detail", "detail", d.detail),
			op(http.MethodGet, "/api/v2/sites", "sites", d.sites),
			{Method: http.MethodGet, Path: "/oauth/openapi.json", Op: "openapi", Handler: httpkit.OpenAPI(openAPI).ServeHTTP},
		},
		Claims:   []string{"/oauth/", "/api/v2/"},
		NotFound: d.handle(func(http.ResponseWriter, *http.Request) error { return identity.NotFound }),
		MethodNotAllowed: func(w http.ResponseWriter, r *http.Request, allow []string) {
			fail(w, r, wrongMethod(r.Method, strings.Join(allow, ", ")))
		},
		Wrap: httpkit.CORS{Origins: d.Origins, Methods: "GET, POST", Expose: "WWW-Authenticate"}.Wrap,
	}
}

// handler is an operation. It returns its refusal; fail words it.
type handler func(w http.ResponseWriter, r *http.Request) error

func (d *Dialect) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			fail(w, r, err)
		}
	}
}

// fail answers with the contract's words, and logs what nobody foresaw.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		err = identity.Unavailable.Wrap(err) // the deadline has passed, or the client has gone
	}
	kind := identity.KindOf(err)
	note(r, func(e *httpkit.Event) { e.Refused, e.Kind = true, kind })
	if kind == identity.Internal {
		logs.In(nil, logs.Doors).ErrorContext(r.Context(), "unexpected", "door", Door, "path", r.URL.Path, "err", err)
	}
	status, body := refuse(w.Header(), err)
	answer, err := httpkit.Marshal(body)
	if err != nil {
		logs.In(nil, logs.Doors).ErrorContext(r.Context(), "a refusal cannot be printed", "door", Door, "err", err)
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// mediaType as the vendor's server spells it (insights.md 1).
const mediaType = "application/json;charset=UTF-8"

// write answers with JSON that no cache may keep.
func write(w http.ResponseWriter, v any) error {
	body, err := httpkit.Marshal(v)
	if err != nil {
		return err
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", mediaType)
	_, _ = w.Write(body) // it fails where the client has gone
	return nil
}

// note writes into the request's log line.
func note(r *http.Request, write func(*httpkit.Event)) {
	if e := httpkit.EventOf(r); e != nil {
		write(e)
	}
}

func about(s *identity.Session) func(*httpkit.Event) {
	return func(e *httpkit.Event) { e.SubjectID, e.SessionID = s.SubjectID, s.ID }
}
