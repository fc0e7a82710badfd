// Package nx is the door for clients of the Nx (once Scailable) authorisation API: signing in and out, also by accounts of an Nx
// Cloud, refreshing, registering, passwords, and users. Where this house is that cloud, the package serves the cloud's own calls,
// too (cdb.go). README.md says who the clients are, DIVERGENCES.md where we differ on purpose.
package nx

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/core/token"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// Door names this dialect in sessions and tokens.
const Door identity.Door = "nx"

// PasswordRule is what the contract demands of every new password, beside the security policy (nx.md 3.4).
var PasswordRule = identity.PasswordRule{MinLength: 8, MinScore: 3}

// yearOfRefreshing is how long a session lives at most, however often it is refreshed.
const yearOfRefreshing = 365 * 24 * time.Hour

// Rules are the lives of this door's sessions and tokens (nx.md 3.1, 3.2).
func Rules(cfg config.Nx) session.Rules {
	return session.Rules{
		AccessTTL: cfg.AccessLife, SessionTTL: cfg.RefreshLife, RememberTTL: cfg.RememberLife, MaxTTL: yearOfRefreshing,
		Rotates: true, Grace: cfg.RefreshGrace,
	}
}

// Dialect is the door. Its fields are set by whoever builds it and not changed after Routes.
type Dialect struct {
	Issuer            string   // public base URL, which links in mails begin with
	Prefix            string   // the operator's, before all paths of ours
	Base              string   // above the vendor's paths, but for the cloud's (nx.md 1.1)
	Origins           []string // browser origins that may call us
	StrengthPerMinute int      // password-strength calls of one address; 0: no limit
	CSRFPerMinute     int      // sign-ins that one address begins by a page; 0: no limit
	Keys              Keys
	SignIn            *signin.Service
	SignUp            *signup.Service
	Sessions          *session.Service
	Recovery          *recovery.Service
	Profiles          *profile.Service
	Manage            *manage.Service
	Licences          *licence.Service
	Cloud             *cloud.Service
	RedirectURLs      []string // where browsers may be sent back to from a sign-in page
	Mails             bool     // mail leaves the house, so that a forgotten password can be set anew
	// Services are the parts of the house that the status answer names; each says what is wrong with it.
	Services map[string]func(context.Context) error
	Log      *slog.Logger // nil: the default
	Now      func() time.Time

	strengthCalls, csrfCalls httpkit.Windows
}

// Form reads the door's tokens.
func (d *Dialect) Form() token.Form { return Form{d.Keys} }

// claims are the paths that are ours to refuse where nothing is served. Another door may have paths of its own below the base: it
// claims those, and the longer claim wins.
func (d *Dialect) claims() (all []string) {
	for _, path := range []string{"", "authenticate", "configuration", "global", "licences", "license", "licenses", "nx", "reset-password", "status", "user"} {
		all = append(all, strings.TrimSuffix(d.Base+"/"+path, "/")+"/")
	}
	return all
}

const (
	signInPath = "/authenticate/signin"
	resetPath  = "/reset-password"
)

// operation is a row of nx.md 1.2: what is served where, and how long it may take.
type operation struct {
	name     string
	method   string
	paths    []string // below the base; the first is the one we tell people
	deadline time.Duration
	open     func(*Dialect, http.ResponseWriter, *http.Request) error       // for anybody
	user     func(*Dialect, http.ResponseWriter, *http.Request, call) error // for whoever shows an access token
	refuse   func(*Dialect, http.ResponseWriter, *http.Request, error)      // nil: a message object
}

// operations is the whole table. The vendor publishes few of its paths: a later finding is a change of one line here.
var operations = []operation{
	{name: "status", method: "GET", paths: []string{"/status", "/{$}"}, deadline: time.Second, open: (*Dialect).status},
	{name: "configuration", method: "GET", paths: []string{"/configuration", "/global"}, deadline: time.Second, user: (*Dialect).configuration},
	{name: "openapi", method: "GET", paths: []string{"/openapi.json"}, deadline: time.Second, open: (*Dialect).openAPI},

	{name: "signin", method: "POST", paths: []string{signInPath}, deadline: 15 * time.Second, open: (*Dialect).signIn},
	{name: "refresh", method: "POST", paths: []string{"/authenticate/refresh-token", "/authenticate/refresh"}, deadline: 15 * time.Second, open: (*Dialect).refresh},
	{name: "signout", method: "POST", paths: []string{"/authenticate/signout"}, deadline: 15 * time.Second, user: (*Dialect).signOut},

	{name: "password-strength", method: "POST", paths: []string{"/authenticate/password-strength"}, deadline: 15 * time.Second, open: (*Dialect).passwordStrength},
	{name: "register", method: "POST", paths: []string{"/user"}, deadline: 15 * time.Second, open: (*Dialect).register},
	{name: "forgot-password", method: "POST", paths: []string{"/authenticate/forgot-password"}, deadline: 15 * time.Second, open: (*Dialect).forgotPassword},
	{name: "reset-password", method: "POST", paths: []string{"/authenticate/reset-password"}, deadline: 15 * time.Second, open: (*Dialect).resetPassword},
	{name: "reset-page", method: "GET", paths: []string{resetPath}, deadline: 15 * time.Second, open: (*Dialect).openReset, refuse: (*Dialect).refusePage},
	{name: "reset-form", method: "POST", paths: []string{resetPath}, deadline: 15 * time.Second, open: (*Dialect).submitReset, refuse: (*Dialect).refusePage},
	{name: "update-password", method: "POST", paths: []string{"/authenticate/update-password"}, deadline: 15 * time.Second, user: (*Dialect).updatePassword},

	{name: "licenses", method: "GET", paths: []string{"/licenses", "/license"}, deadline: 5 * time.Second, user: (*Dialect).listLicenses},
	{name: "license", method: "GET", paths: []string{"/license/{uuid}"}, deadline: time.Second, user: (*Dialect).readLicense},
	{name: "license-document", method: "GET", paths: []string{"/licences/{uuid}/document"}, deadline: 5 * time.Second, user: (*Dialect).licenseDocument},

	{name: "user", method: "GET", paths: []string{"/user/{uuid}"}, deadline: time.Second, user: (*Dialect).readUser},
	{name: "user-patch", method: "PATCH", paths: []string{"/user/{uuid}"}, deadline: 5 * time.Second, user: (*Dialect).changeUser},

	{name: "nx-login", method: "POST", paths: []string{"/nx/login"}, deadline: 5 * time.Second, open: (*Dialect).nxLogin, refuse: (*Dialect).refuseNx},
	{name: "nx-totp", method: "POST", paths: []string{"/nx/totp"}, deadline: time.Second, open: (*Dialect).nxTOTP, refuse: (*Dialect).refuseNx},
	{name: "nx-csrf", method: "POST", paths: []string{"/nx/csrf"}, deadline: 5 * time.Second, open: (*Dialect).nxCSRF, refuse: (*Dialect).refuseNx},
	{name: "nx-code", method: "POST", paths: []string{"/nx/code"}, deadline: 5 * time.Second, open: (*Dialect).nxCode, refuse: (*Dialect).refuseNx},
	{name: "nx-plugin", method: "POST", paths: []string{"/nx/plugin"}, deadline: 5 * time.Second, open: (*Dialect).nxPlugin, refuse: (*Dialect).refuseNx},
	{name: "nx-refresh", method: "POST", paths: []string{"/nx/refresh-token", "/nx/refresh"}, deadline: 5 * time.Second, open: (*Dialect).nxRefresh, refuse: (*Dialect).refuseNx},
	{name: "nx-logout", method: "POST", paths: []string{"/nx/logout"}, deadline: 5 * time.Second, user: (*Dialect).nxLogout, refuse: (*Dialect).refuseNx},
	{name: "nx-link", method: "POST", paths: []string{"/nx/link"}, deadline: 5 * time.Second, user: (*Dialect).nxLink, refuse: (*Dialect).refuseNx},
	{name: "nx-unlink", method: "POST", paths: []string{"/nx/unlink"}, deadline: 5 * time.Second, user: (*Dialect).nxUnlink, refuse: (*Dialect).refuseNx},
	{name: "nx-authorize", method: "GET", paths: []string{authorizePath}, deadline: 5 * time.Second, open: (*Dialect).openAuthorize, refuse: (*Dialect).refusePage},
	{name: "nx-authorize-form", method: "POST", paths: []string{authorizePath}, deadline: 5 * time.Second, open: (*Dialect).submitAuthorize, refuse: (*Dialect).refusePage},
}

// features are what the configuration answer names (nx.md 2.2). Nobody can switch licences off, and somebody always knows the Nx
// accounts: an upstream Nx Cloud, or this house.
func (d *Dialect) features() map[string]bool {
	return map[string]bool{"Licenses": true, "NxLogin": true, "PasswordReset": d.Mails, "Registration": d.SignUp.Open(Door)}
}

// Routes is the door, without the operator's prefix.
func (d *Dialect) Routes() httpkit.Door {
	d.strengthCalls = httpkit.Windows{Limit: d.StrengthPerMinute, Window: time.Minute, Now: d.Now}
	d.csrfCalls = httpkit.Windows{Limit: d.CSRFPerMinute, Window: time.Minute, Now: d.Now}
	return httpkit.Door{
		Name: Door, Routes: d.routes(d.Base, operations), Claims: d.claims(), Wrap: d.Wrap, NotFound: d.NotFound, MethodNotAllowed: d.MethodNotAllowed,
	}
}

func (d *Dialect) routes(base string, operations []operation) []httpkit.Route {
	var routes []httpkit.Route
	for _, op := range operations {
		for _, path := range op.paths {
			routes = append(routes, httpkit.Route{
				Method: op.method, Path: base + path, Op: op.name, Handler: httpkit.Deadline(op.deadline, d.serve(op)),
			})
		}
	}
	return routes
}

// serve runs an operation and says its refusals in our words.
func (d *Dialect) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := d.run(op, w, r)
		switch {
		case err == nil:
		case op.refuse != nil:
			op.refuse(d, w, r, err)
		default:
			d.refuse(w, r, err)
		}
	}
}

func (d *Dialect) run(op operation, w http.ResponseWriter, r *http.Request) error {
	if op.open != nil {
		return op.open(d, w, r)
	}
	c, err := d.signedIn(r)
	if err != nil {
		return err
	}
	return op.user(d, w, r, c)
}

// Wrap lets browsers of other origins in.
func (d *Dialect) Wrap(next http.Handler) http.Handler {
	return httpkit.CORS{
		Origins: d.Origins, Methods: "DELETE, GET, PATCH, POST", MaxAge: "600", Expose: "Retry-After, WWW-Authenticate, X-Request-Id, X-Pagination-Records",
	}.Wrap(next)
}

// NotFound answers for paths that nothing serves.
func (d *Dialect) NotFound(w http.ResponseWriter, r *http.Request) {
	d.refuse(w, r, identity.NotFound.Because("There is nothing at this address."))
}

// MethodNotAllowed answers for methods that a path does not serve. Of a sign-in by GET, which the vendor's quick start names, it
// looks at nothing: a password in an address ends in logs and histories.
func (d *Dialect) MethodNotAllowed(w http.ResponseWriter, r *http.Request, allow []string) {
	w.Header().Set("Allow", strings.Join(allow, ", "))
	text := "This method is not served here."
	if strings.HasSuffix(r.URL.Path, d.Base+signInPath) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		text = "Credentials do not belong in an address. Send them with POST."
	}
	note(r, identity.Invalid)
	_ = writeJSON(w, http.StatusMethodNotAllowed, message{Message: text}) // a message marshals
}

// call is who asks, and for which organisation.
type call struct {
	identity.Caller
	live         *session.Live
	organisation identity.OrganisationID
	chosen       bool // she chose it for this call
}

func (d *Dialect) caller(r *http.Request) identity.Caller { return httpkit.Caller(r, Door) }

// signedIn says who shows an access token.
func (d *Dialect) signedIn(r *http.Request) (call, error) {
	raw, err := httpkit.Bearer(r)
	if err != nil {
		return call{}, err
	}
	live, err := d.Sessions.Check(r.Context(), d.Form(), raw, identity.AccessToken)
	if err != nil {
		return call{}, err
	}
	c := call{Caller: live.Caller(d.caller(r)), live: live}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = c.SubjectID, c.SessionID
	}
	c.organisation, c.chosen, err = d.actingFor(r, live)
	return c, err
}

// actingFor reads for whom the caller acts: herself, unless the newer portal's headers name an organisation (nx.md 1.5).
func (d *Dialect) actingFor(r *http.Request, live *session.Live) (organisation identity.OrganisationID, chosen bool, err error) {
	kinds, ids := r.Header.Values("X-Act-As-Kind"), r.Header.Values("X-Act-As-Id")
	if len(kinds) == 0 && len(ids) == 0 {
		return live.Session.OrganisationID, false, nil
	}
	if len(kinds) == 1 && len(ids) == 1 {
		switch {
		case kinds[0] == "user" && ids[0] == string(live.Subject.ID):
			return live.Session.OrganisationID, false, nil
		case kinds[0] == "organization" && identity.ValidID(ids[0]):
			id := identity.OrganisationID(ids[0])
			return id, true, d.Profiles.MayActFor(r.Context(), live.Subject.ID, id)
		}
	}
	return "", false, identity.Denied.Because("You may not act for whom X-Act-As-Kind and X-Act-As-ID name.")
}

const maxBody = 64 << 10 // nx.md 1.3

// read takes a JSON object.
func (d *Dialect) read(r *http.Request) (*object, error) {
	if err := httpkit.RequireJSON(r); err != nil {
		return nil, err
	}
	body, err := httpkit.ReadBody(r, maxBody)
	if err != nil {
		return nil, err
	}
	fields, err := httpkit.Object(body)
	return &object{fields: fields}, err
}

// readOptional is read for the operation that means something without a body.
func (d *Dialect) readOptional(r *http.Request) (*object, error) {
	body, err := httpkit.ReadBody(r, maxBody)
	if err != nil || len(body) == 0 {
		return &object{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return d.read(r)
}

// writeJSON answers. Nothing of this door belongs into a cache: answers carry tokens or personal data (nx.md 1.4).
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := httpkit.Marshal(v)
	if err != nil {
		return err
	}
	write(w, status, "application/json; charset=utf-8", body)
	return nil
}

func write(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has hung up reads no answer
}

// status answers GET /status, with 200 in either case so that a reader gets the body (nx.md 2.1).
func (d *Dialect) status(w http.ResponseWriter, r *http.Request) error {
	// Less than the deadline, so that a part that hangs is named instead of hanging the answer.
	ctx, cancel := context.WithTimeout(r.Context(), 700*time.Millisecond)
	defer cancel()
	out := status{Online: true, Services: map[string]bool{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for name, check := range d.Services {
		all.Go(func() {
			up := check(ctx) == nil
			mu.Lock()
			defer mu.Unlock()
			out.Services[name] = up
			out.Online = out.Online && up
		})
	}
	all.Wait()
	return writeJSON(w, http.StatusOK, out)
}

// configuration answers GET /configuration.
func (d *Dialect) configuration(w http.ResponseWriter, _ *http.Request, _ call) error {
	return writeJSON(w, http.StatusOK, configuration{Features: d.features()})
}

//go:embed openapi.yaml
var openAPIText []byte

var document = sync.OnceValue(func() httpkit.Document { return httpkit.OpenAPI(openAPIText) })

// openAPI answers GET /openapi.json.
func (d *Dialect) openAPI(w http.ResponseWriter, r *http.Request) error {
	document().ServeHTTP(w, r)
	return nil
}

// refuse says no in our words.
func (d *Dialect) refuse(w http.ResponseWriter, r *http.Request, err error) {
	err = d.judged(r, err)
	status, m := refusal(err)
	refusalHeaders(w.Header(), status, err)
	_ = writeJSON(w, status, m) // a message marshals
}

func refusalHeaders(h http.Header, status int, err error) {
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2: with every 401
	}
	wait := identity.Describe(err).RetryAfter
	if wait <= 0 && status == http.StatusTooManyRequests {
		wait = time.Minute // nx.md 1.8: always with 429
	}
	if wait > 0 {
		h.Set("Retry-After", fmt.Sprint(int64((wait+time.Second-1)/time.Second)))
	}
}

// judged notes a refusal for the request's log line, and logs what nobody classified: it is trouble of ours. What the deadline
// cut off is none (nx.md 1.6).
func (d *Dialect) judged(r *http.Request, err error) error {
	if identity.KindOf(err) == identity.Internal {
		if r.Context().Err() != nil {
			err = identity.Unavailable.Wrap(errors.Join(r.Context().Err(), err))
		} else {
			log := d.Log
			if log == nil {
				log = slog.Default()
			}
			log.ErrorContext(r.Context(), "request failed", "door", Door, "request", d.caller(r).RequestID, "err", err)
		}
	}
	note(r, identity.KindOf(err))
	return err
}

func note(r *http.Request, kind identity.Kind) {
	if e := httpkit.EventOf(r); e != nil {
		e.Refused, e.Kind = true, kind
	}
}
