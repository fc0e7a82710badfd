// Package titan is the door for clients of TITAN, Nordantech's project software (earlier called Falcon): signing in with a
// password and a code or by an identity elsewhere, moving between hubs, keeping a session alive and ending it. README.md says who they are, DIVERGENCES.md
// where we differ on purpose.
package titan

import (
	"cmp"
	_ "embed"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// Door names this dialect in sessions and tokens.
const Door identity.Door = "titan"

// Rules are the lives of this door's sessions and tokens (titan.md 1.5, 1.6). There is one token: it lives as long as its
// session, and renews itself.
func Rules(cfg config.Titan) session.Rules {
	return session.Rules{
		AccessTTL: cfg.RememberLife, SessionTTL: cfg.SessionLife, RememberTTL: cfg.RememberLife,
		IdleTTL: cfg.IdleLife, RememberIdleTTL: cfg.RememberLife,
		Rotates: true, Grace: cfg.RefreshGrace, OneAccess: true,
	}
}

// Keys sign and verify; keys.Ring does.
type Keys interface {
	Sign(alg, typ string, claims any) (string, error)
	Verify(raw string) (keys.Verified, error)
}

// Dialect is the door. Its fields are set by whoever builds it and not changed after Routes.
type Dialect struct {
	Issuer           string   // iss of the tokens
	Prefix           string   // of the door's paths, for the addresses that providers send browsers back to, and for cookies
	FrontendURL      string   // page that browsers return to from a provider, and that links in mails open; "": the issuer
	Origins          []string // browser origins that may call us
	UserPerMinute    int      // calls of one signed-in user; 0: no limit
	AddressPerMinute int      // calls of one address without a token; 0: no limit
	Keys             Keys
	SignIn           *signin.Service
	Sessions         *session.Service
	Profiles         *profile.Service
	Recovery         *recovery.Service
	ApproveAtOnce    bool // recoveries need no operator
	CheckStrange     bool // whoever has no second factor is mailed a code in a browser that is not known
	Federation       *federation.Service
	Log              *slog.Logger // nil: the default
	Now              func() time.Time

	users, addresses httpkit.Windows
}

// Form reads the door's tokens.
func (d *Dialect) Form() token.Form { return form{d.Keys, d.Issuer} }

// stage says which token opens an operation.
type stage int

const (
	noToken   stage = iota
	fullStage       // of a session
	codeStage       // of a ticket: the code is due
	anyStage
)

// operation is a row of titan.md 4.
type operation struct {
	name    string
	path    string
	stage   stage
	handler func(*Dialect, *http.Request, *call) (any, error)
	method  string                   // "": POST
	open    func(*http.Request) bool // says that a request needs no token after all; nil: none
}

// operations are what this door serves today.
var operations = []operation{
	{name: "signin", path: "/auth", handler: (*Dialect).signIn},
	{name: "code", path: "/auth/code", stage: codeStage, handler: (*Dialect).code},
	{name: "hub", path: "/auth/hub/{hub}", stage: fullStage, handler: (*Dialect).enterHub},
	{name: "hub-invalidate", path: "/auth/hub/invalidate", stage: fullStage, handler: (*Dialect).leaveHub},
	{name: "impersonation", path: "/auth/impersonation/{user}", stage: fullStage, handler: (*Dialect).impersonate},
	{name: "impersonation-invalidate", path: "/auth/impersonation/invalidate", stage: fullStage, handler: (*Dialect).stopImpersonating},
	{name: "ping", path: "/auth/ping", stage: fullStage, handler: (*Dialect).ping},
	{name: "refresh", path: "/auth/refresh", stage: fullStage, handler: (*Dialect).refresh},
	{name: "signout", path: "/auth/invalidate", stage: anyStage, handler: (*Dialect).signOut},
	{name: "verify", path: "/auth/verification/{verification}", handler: (*Dialect).verify},
	{name: "recovery", path: "/auth/recovery/initiate", handler: (*Dialect).initiateRecovery},
	{name: "provider-state", path: "/auth/provider/oauth/state", stage: fullStage, handler: (*Dialect).providerState, method: http.MethodGet, open: forLogin},
	{name: "provider-identity", path: "/auth/provider/oauth/identity/{type}", handler: (*Dialect).providerStart, method: http.MethodGet},
	{name: "provider-callback", path: "/auth/provider/oauth/callback/{type}", handler: (*Dialect).providerCallback, method: http.MethodGet},
}

// claims are the paths that are ours to refuse. All else below /auth/ is the Nx door's, which speaks there too.
var claims = []string{
	"/auth/code/", "/auth/hub/", "/auth/ping/", "/auth/refresh/", "/auth/invalidate/", "/auth/titan/",
	"/auth/impersonation/", "/auth/recovery/", "/auth/verification/", "/auth/provider/",
}

// deadline is ours; the contract has none. It is longer than a queue of passwords to check.
const deadline = 15 * time.Second

//go:embed openapi.yaml
var openAPI []byte

// Routes lists what is served, without the operator's prefix and hosts.
func (d *Dialect) Routes() httpkit.Door {
	d.users = httpkit.Windows{Limit: d.UserPerMinute, Window: time.Minute, Now: d.Now}
	d.addresses = httpkit.Windows{Limit: d.AddressPerMinute, Window: time.Minute, Now: d.Now}
	door := httpkit.Door{
		Name: Door, Claims: claims, Wrap: d.wrap,
		NotFound: d.serve(operation{handler: func(*Dialect, *http.Request, *call) (any, error) { return nil, identity.NotFound }}),
		MethodNotAllowed: func(w http.ResponseWriter, r *http.Request, allow []string) {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			d.serve(operation{handler: func(*Dialect, *http.Request, *call) (any, error) { return nil, wrongMethod }})(w, r)
		},
	}
	for _, op := range operations {
		door.Routes = append(door.Routes, httpkit.Route{
			Method: cmp.Or(op.method, http.MethodPost), Path: op.path, Op: op.name, Handler: httpkit.Deadline(deadline, d.serve(op)),
		})
	}
	document := httpkit.OpenAPI(openAPI)
	door.Routes = append(door.Routes, httpkit.Route{
		Method: http.MethodGet, Path: "/auth/titan/openapi.json", Op: "openapi",
		Handler: func(w http.ResponseWriter, r *http.Request) {
			c := d.newCall(r)
			if err := d.count(w.Header(), c); err != nil {
				d.refuse(w, r, c.language, err)
				return
			}
			document.ServeHTTP(w, r)
		},
	})
	return door
}

// wrap lets browsers of other origins in.
func (d *Dialect) wrap(next http.Handler) http.Handler {
	return httpkit.CORS{
		Origins: d.Origins, Methods: "GET, POST", MaxAge: "600",
		Expose: "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-Request-Id",
		// For the cookies that bind a state to its browser; none of them signs anybody in.
		Cookies: true,
	}.Wrap(next)
}

// call is one request: who asks, in which language, and with which token.
type call struct {
	identity.Caller
	language language
	raw      string            // the token as shown
	live     *session.Live     // of a full token; nil: none
	ticket   identity.TicketID // of a code token
	headers  http.Header       // of an answer that is no refusal; nil: none
	location string            // where the browser is to go instead of reading an answer; "": nowhere
}

func (c *call) header(name, value string) {
	if c.headers == nil {
		c.headers = http.Header{}
	}
	c.headers.Add(name, value)
}

func (c *call) cookie(cookie *http.Cookie) { c.header("Set-Cookie", cookie.String()) }

func (d *Dialect) newCall(r *http.Request) *call {
	return &call{Caller: httpkit.Caller(r, Door), language: languageOf(r.Header)}
}

// serve runs an operation and puts what comes back into the envelope.
func (d *Dialect) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := d.newCall(r)
		if e := httpkit.EventOf(r); e != nil && r.PathValue("verification") != "" {
			e.Path = op.path // it names a link
		}
		data, err := d.run(op, w.Header(), r, c)
		switch {
		case err != nil:
		case c.location != "":
			maps.Copy(w.Header(), c.headers)
			redirect(w, c.location)
		default:
			maps.Copy(w.Header(), c.headers)
			err = d.answer(w, c.language, data)
		}
		if err != nil {
			d.refuse(w, r, c.language, err)
		}
	}
}

func (d *Dialect) run(op operation, h http.Header, r *http.Request, c *call) (any, error) {
	stage := op.stage
	if op.open != nil && op.open(r) {
		stage = noToken
	}
	refused := d.identify(stage, r, c) // first, because a user's calls and a stranger's are counted apart
	if err := d.count(h, c); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	if op.method == http.MethodGet && r.Method == http.MethodHead {
		h.Set("Allow", http.MethodGet) // what looks ahead must not spend a state
		return nil, wrongMethod
	}
	return op.handler(d, r, c)
}

// identify says who shows a token that opens the stage. Whoever shows another one, good or bad, is nobody.
func (d *Dialect) identify(s stage, r *http.Request, c *call) error {
	if s == noToken {
		return nil
	}
	var err error
	if c.raw, err = httpkit.Bearer(r); err != nil {
		return err
	}
	if c.raw == "" {
		return identity.TokenMissing
	}
	if s != fullStage {
		if len(c.raw) > token.MaxLength {
			return identity.TokenInvalid
		}
		facts, err := d.Form().Read(c.raw)
		if err != nil {
			return err
		}
		c.ticket = facts.TicketID
	}
	switch {
	case s == codeStage && c.ticket == "":
		return identity.TokenInvalid.Because("this token is not for a code")
	case c.ticket != "":
		return nil // signin judges whether the ticket is still good
	}
	live, err := d.Sessions.Check(r.Context(), d.Form(), c.raw, identity.AccessToken)
	if err != nil {
		return err
	}
	c.live = live
	c.Caller = live.Caller(c.Caller)
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = c.SubjectID, c.SessionID
	}
	return nil
}

// count takes one call from the user's or the address's share and says what is left of it (titan.md 1.4).
func (d *Dialect) count(h http.Header, c *call) error {
	window, key := &d.addresses, c.Network()
	if c.live != nil {
		window, key = &d.users, string(c.ActorID)
	}
	if window.Limit <= 0 {
		return nil
	}
	left, ends, ok := window.Take(key)
	h.Set("X-RateLimit-Limit", strconv.Itoa(window.Limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	if !ok {
		return identity.Throttled.After(ends, "too many calls")
	}
	return nil
}
