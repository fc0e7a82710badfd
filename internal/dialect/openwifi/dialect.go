// Package openwifi is the door for clients of the TIP OpenWiFi security service ("owsec"): web UIs, through which an operator's
// people sign in and manage each other and their subscribers, scripts, and the other services of the controller, which ask here
// whose a token is.
package openwifi

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"gatehouse/internal/config"
	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/enrol"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/message"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/core/system"
	"gatehouse/internal/core/token"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// Door names this dialect in sessions and tokens. SubscriberDoor does for the sessions of subscribers (openwifi.md 2.6), so that
// theirs and the staff's never pass for one another.
const (
	Door           identity.Door = "openwifi"
	SubscriberDoor identity.Door = "openwifi-sub"
)

// PasswordRule is what the contract demands of a new password (openwifi.md 1.5); a security policy can only add to it.
var PasswordRule = identity.PasswordRule{MinLength: 8, Classes: 4, History: 5}

const (
	base     = "/api/v1"
	assets   = "/wwwassets/"
	deadline = 20 * time.Second // the contract names none; this keeps a store that hangs from holding connections
	year     = 365 * 24 * time.Hour
)

// Dialect is the door. Its fields are set by whoever builds it and not changed after Routes.
type Dialect struct {
	Issuer    string   // the house's public address, without the prefix
	Prefix    string   // the operator's, before every path
	Origins   []string // browser origins that may call; "*" = any
	PerSecond int      // sign-in calls of one address and path (openwifi.md 1.3); 0 = no limit
	// Key opens the internal listener to the other services; see ServiceKey. "" opens it to none.
	Key identity.Secret
	// Derived says that Key, and those of services that told none, are of the vendor's form.
	Derived  bool
	UI       string // address of the controller's web UI, for pages that build links
	System   *system.Service
	SignIn   *signin.Service
	SignUp   *signup.Service
	Recovery *recovery.Service
	Sessions *session.Service
	Profiles *profile.Service
	Phones   *phone.Service
	Staff    *staff.Service
	Manage   *manage.Service
	Enrol    *enrol.Service
	APIKeys  *apikey.Service
	Messages *message.Service
	Log      *slog.Logger // nil: the default
	Now      func() time.Time
	// TOTPIssuer is what authenticator apps show.
	TOTPIssuer string

	subscribers bool    // this is the door's other half, where subscribers sign in; see forSubscribers
	customers   bool    // its operations are about subscribers, whoever asks; see aboutSubscribers
	shared      *shared // by both halves
}

type shared struct {
	calls  httpkit.Windows
	judged *otter.Cache[*session.Live, []byte] // answers of validateToken; see judge
}

// Rules are the lives of this door's sessions and tokens (openwifi.md 1.5, 2.2). A refresh token lives on after its access
// token, and there is one access token: a refresh ends the one before at once.
func Rules(cfg config.OpenWiFi) session.Rules {
	return session.Rules{
		AccessTTL: cfg.TokenLife, SessionTTL: max(cfg.RefreshLife, cfg.TokenLife), MaxTTL: max(year, cfg.RefreshLife, cfg.TokenLife),
		Rotates: true, OneAccess: true, Opaque: []identity.TokenKind{identity.AccessToken, identity.RefreshToken},
		Kinds: []identity.SubjectKind{identity.Person, identity.Machine},
	}
}

// SubscriberRules are the same for subscribers.
func SubscriberRules(cfg config.OpenWiFi) session.Rules {
	rules := Rules(cfg)
	rules.Kinds = []identity.SubjectKind{identity.Customer}
	return rules
}

// Forms read the door's tokens, the staff's and the subscribers'.
func (d *Dialect) Forms() []token.Form { return []token.Form{form(Door), form(SubscriberDoor)} }

// Routes are the operations of the public listener, to be mounted below Prefix.
func (d *Dialect) Routes() httpkit.Door {
	d.start()
	return d.mount(slices.Concat(d.signInRoutes(), d.userRoutes(), d.avatarRoutes(), d.sendRoutes(), d.profileRoutes(), d.linkRoutes(), d.systemRoutes(),
		d.ownRoutes(), d.subscriberRoutes(), d.pageRoutes())...)
}

func (d *Dialect) signInRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodPost, base+"/oauth2", "signIn", d.oauth2),
		d.route(http.MethodGet, base+"/oauth2", "me", d.me),
		d.route(http.MethodDelete, base+"/oauth2/{token}", "signOut", d.signOut),
		httpkit.Route{Method: http.MethodGet, Path: base + "/validateToken", Op: "validateToken", Handler: d.handle(d.validateForUser)},
	}
}

func (d *Dialect) pageRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/openapi.json", "openapi", d.openAPI),
		d.route(http.MethodGet, assets+"{file}", "asset", d.asset),
		d.route(http.MethodGet, "/favicon.ico", "favicon", d.favicon),
	}
}

// ServiceRoutes are the operations of the internal listener: those that a service key opens (openwifi.md 1.3). A bearer token
// counts there as it does on the public one.
func (d *Dialect) ServiceRoutes() httpkit.Door {
	d.start()
	return d.mount(slices.Concat([]httpkit.Route{
		// No deadline here: a token that was checked before costs no look at the store, and a timer would cost more than the answer.
		{Method: http.MethodGet, Path: base + "/validateToken", Op: "validateToken", Handler: d.handle(d.validateForService)},
	}, d.systemServiceRoutes(), d.ownServiceRoutes(), d.userReads(d.byOrService), d.sendsFor(d.byOrService), d.subscriberServiceRoutes())...)
}

func (d *Dialect) mount(routes ...httpkit.Route) httpkit.Door {
	return httpkit.Door{
		Name: Door, Prefix: d.Prefix, Routes: routes, Claims: []string{base + "/", assets},
		NotFound: d.notFound, MethodNotAllowed: d.methodNotAllowed, Wrap: d.wrap,
	}
}

func (d *Dialect) route(method, path, op string, h handler) httpkit.Route {
	return httpkit.Route{Method: method, Path: path, Op: op, Handler: httpkit.Deadline(deadline, d.handle(h))}
}

type handler func(w http.ResponseWriter, r *http.Request) error

// handle turns a refusal into an answer: no handler picks a status.
func (d *Dialect) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			d.refuse(w, r, err)
		}
	}
}

func (d *Dialect) refuse(w http.ResponseWriter, r *http.Request, err error) {
	err = d.noted(r, err)
	status, body := refusal(w.Header(), r.Method, err)
	_ = writeJSON(w, status, body) // nothing is left to say to whoever hung up
}

// noted puts a refusal into the log, and gives it as it is answered.
func (d *Dialect) noted(r *http.Request, err error) error {
	if r.Context().Err() != nil && errors.Is(err, r.Context().Err()) {
		err = identity.Unavailable.Wrap(err)
	}
	kind := identity.KindOf(err)
	if e := httpkit.EventOf(r); e != nil {
		e.Kind, e.Refused = kind, true
	}
	if kind == identity.Internal {
		log := d.Log
		if log == nil {
			log = slog.Default()
		}
		log.ErrorContext(r.Context(), "request failed", "door", Door, "request", httpkit.Caller(r, Door).RequestID, "err", err)
	}
	return err
}

// notFound refuses an unknown path. Never with 403: a UI whose other services are missing sends their calls here, and codes 8
// and 9 would sign its user out (openwifi.md 1.1).
func (d *Dialect) notFound(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusOK)
	case strings.HasPrefix(r.URL.Path, d.Prefix+assets):
		d.refuse(w, r, identity.NotFound.Because("there is no such file"))
	default:
		d.refuse(w, r, noOperation)
	}
}

// methodNotAllowed refuses a method that a path does not take: with 400, as everything that is no operation.
func (d *Dialect) methodNotAllowed(w http.ResponseWriter, r *http.Request, _ []string) {
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	d.refuse(w, r, noOperation)
}

// wrap is around every answer of the door: CORS, which answers preflights without counting them, and the limit on calls.
func (d *Dialect) wrap(next http.Handler) http.Handler {
	cors := httpkit.CORS{
		Origins: d.Origins, Methods: "GET, POST, PUT, DELETE, OPTIONS, HEAD", MaxAge: "86400", Credentials: true, Always: true,
	}
	return cors.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		limited, signOut := d.limited(path)
		if len(path) >= tokenLength || signOut != "" { // people put more than our tokens there
			redact(r, signOut)
		}
		if limited && r.Method != http.MethodOptions {
			// A hash, because a stranger chooses the path's length and we remember the key.
			key := sha256.Sum256([]byte(httpkit.Caller(r, Door).Network() + " " + path))
			if _, wait, ok := d.shared.calls.Take(string(key[:])); !ok {
				if e := httpkit.EventOf(r); e != nil {
					e.Door, e.Op = Door, "limit"
				}
				d.refuse(w, r, identity.Throttled.After(wait, "too many calls; wait a second"))
				return
			}
		}
		next.ServeHTTP(w, r)
	}))
}

func (d *Dialect) start() {
	if d.shared == nil {
		d.shared = &shared{calls: httpkit.Windows{Limit: d.PerSecond, Window: time.Second, Now: d.Now}, judged: newJudged()}
	}
}

// limited says whether a path takes so many calls a second (openwifi.md 1.3, 2.6), and for a sign-out what stands before the token.
func (d *Dialect) limited(path string) (yes bool, signOut string) {
	path, ok := strings.CutPrefix(path, d.Prefix+base)
	if !ok {
		return false, ""
	}
	for _, signIn := range []string{"/oauth2", "/suboauth2"} {
		if path == signIn {
			return true, ""
		}
		if strings.HasPrefix(path, signIn+"/") {
			return true, d.Prefix + base + signIn + "/"
		}
	}
	return path == "/actionLink" || path == "/signup", ""
}

// redact keeps the token that this API puts into a path out of the log.
func redact(r *http.Request, signOut string) {
	e := httpkit.EventOf(r)
	if e == nil {
		return
	}
	if signOut != "" {
		e.Path = signOut + "{token}"
		return
	}
	run := 0
	for i := range len(e.Path) {
		if !isHex(e.Path[i]) {
			run = 0
			continue
		}
		if run++; run == tokenLength {
			e.Path = e.Path[:i+1-tokenLength] + "{token}"
			return
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := httpkit.Marshal(v)
	if err != nil {
		return err
	}
	writeBody(w, status, body)
	return nil
}

func writeDone(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, done{Operation: r.Method, Details: "Command completed."})
}

var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	w.WriteHeader(status)
	_, _ = w.Write(body) // nothing is left to say to whoever hung up
}
