package titan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// stateAnswer is the answer of the state (titan.md 3.10).
type stateAnswer struct {
	State          string `json:"state"`
	ExpirationTime string `json:"expiration_time"`
}

// signInByToken answers POST /auth, the variant with a token (titan.md 3.1).
func (d *Dialect) signInByToken(r *http.Request, c *call, token string, landing signin.Landing, remember bool) (any, error) {
	out, err := d.SignIn.Token(r.Context(), signin.TokenInput{
		Caller: c.Caller, Token: identity.Secret(token), Way: d.way(landing, remember),
	})
	return d.outcome(r, c, out, err)
}

// forLogin says that a state is asked for by somebody who is signed out.
func forLogin(r *http.Request) bool { return slices.Contains(r.URL.Query()["intent"], "login") }

// providerState answers GET /auth/provider/oauth/state (titan.md 3.10).
func (d *Dialect) providerState(r *http.Request, c *call) (any, error) {
	query, err := params(r, "intent")
	if err != nil {
		return nil, err
	}
	var state federation.State
	switch query["intent"] {
	case "login":
		state, err = d.Federation.Login(r.Context(), c.Caller)
	case "", "link":
		state, err = d.Federation.Link(r.Context(), c.Caller, c.live)
	default:
		return nil, &invalid{map[string][]words{"intent": {notChosen}}}
	}
	if err != nil {
		return nil, err
	}
	c.cookie(d.browserCookie(state.Secret, state.Browser, d.Now(), state.ExpiresAt))
	return stateAnswer{state.Secret.Reveal(), instant(state.ExpiresAt)}, nil
}

// providerStart answers GET /auth/provider/oauth/identity/{type} (titan.md 3.11). A browser goes there.
func (d *Dialect) providerStart(r *http.Request, c *call) (any, error) {
	query, err := params(r, "state")
	if err != nil {
		return nil, err
	}
	state, kind := identity.Secret(query["state"]), r.PathValue("type")
	if state == "" {
		return nil, &invalid{map[string][]words{"state": {required}}}
	}
	started, err := d.Federation.Start(r.Context(), federation.StartInput{
		Caller: c.Caller, Provider: kind, State: state, Browser: d.browser(r, state), Lured: d.lured(r), RedirectURI: d.Callback(kind),
	})
	switch {
	case errors.Is(err, federation.ErrProvider):
		return nil, &invalid{map[string][]words{"type": {notConfigured}}}
	case errors.Is(err, identity.TicketInvalid):
		return nil, &invalid{map[string][]words{"state": {stale}}}
	case err != nil:
		d.noteProvider(r, kind, err)
		return nil, err
	}
	c.cookie(d.browserCookie(state, started.Browser, d.Now(), started.ExpiresAt))
	c.location = started.Address
	return nil, nil
}

// providerCallback answers GET /auth/provider/oauth/callback/{type}: whatever comes of it, the browser goes on to the front end.
func (d *Dialect) providerCallback(r *http.Request, c *call) (any, error) {
	query, err := params(r, "state", "code", "iss", "error")
	if err != nil {
		query = map[string]string{} // no provider says a thing twice: no state of ours
	}
	state, kind := identity.Secret(query["state"]), r.PathValue("type")
	out, err := d.Federation.Callback(r.Context(), federation.CallbackInput{
		Caller: c.Caller, Provider: kind, State: state, Browser: d.browser(r, state), Code: identity.Secret(query["code"]),
		Issuer: query["iss"], Refusal: query["error"], RedirectURI: d.Callback(kind),
	})
	name, value := "identity", "linked"
	switch {
	case err != nil && storeAway(r, err):
		return nil, err // 503: the same address may work in a moment
	case err != nil:
		d.noteProvider(r, kind, err)
		name, value = "error", callbackError(err)
	case !out.Linked:
		name, value = "token", out.Token.Reveal()
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.Kind, e.Refused = out.SubjectID, identity.KindOf(err), err != nil
	}
	if err == nil || !errors.Is(err, identity.TicketInvalid) {
		c.cookie(d.browserCookie(state, "", d.Now(), d.Now())) // the flow is over
	}
	c.location = withQuery(d.FrontendURL, name, value)
	return nil, nil
}

// storeAway says that nothing was decided: the flow was not even looked at.
func storeAway(r *http.Request, err error) bool {
	e := identity.Describe(err)
	return e.Kind == identity.Unavailable && e.Public == "" || r.Context().Err() != nil
}

// callbackError is the front end's word for why nobody came in.
func callbackError(err error) string {
	for _, known := range []struct {
		err  error
		word string
	}{
		{federation.ErrTaken, "identity_taken"}, {federation.ErrAccountExists, "account_exists"}, {federation.ErrNoAccount, "account_unknown"},
		{federation.ErrUnverified, "email_unverified"}, {federation.ErrCancelled, "access_denied"}, {federation.ErrProvider, "provider_unknown"},
		{identity.TicketInvalid, "state_invalid"}, {identity.BadCredential, "identity_invalid"}, {identity.Denied, "identity_refused"},
		{identity.Unavailable, "provider_unavailable"}, {identity.Busy, "provider_unavailable"},
	} {
		if errors.Is(err, known.err) {
			return known.word
		}
	}
	return "identity_refused"
}

// noteProvider tells the operator what a provider did, which the person is not told.
func (d *Dialect) noteProvider(r *http.Request, kind string, err error) {
	switch identity.KindOf(err) {
	case identity.Internal:
		d.log().ErrorContext(r.Context(), "identity provider", "door", Door, "provider", kind, "err", err)
	case identity.Unavailable, identity.BadCredential, identity.Denied:
		d.log().WarnContext(r.Context(), "identity provider", "door", Door, "provider", kind, "err", err)
	}
}

// Callback is the address to register at a provider.
func (d *Dialect) Callback(kind string) string {
	return strings.TrimSuffix(d.Issuer, "/") + d.Prefix + "/auth/provider/oauth/callback/" + url.PathEscape(kind)
}

func withQuery(page, name, value string) string {
	u, err := url.Parse(page)
	if err != nil { // the configuration took it
		return page
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// maxParam is more than any state, code or issuer has.
const maxParam = 4096

// params reads members of the query, each once.
func params(r *http.Request, names ...string) (map[string]string, error) {
	query, wrong := r.URL.Query(), map[string][]words{}
	found := map[string]string{}
	for _, name := range names {
		switch values := query[name]; {
		case len(values) > 1:
			wrong[name] = []words{givenTwice}
		case len(values) == 1 && len(values[0]) > maxParam:
			wrong[name] = []words{stale}
		case len(values) == 1:
			found[name] = values[0]
		}
	}
	if len(wrong) > 0 {
		return nil, &invalid{wrong}
	}
	return found, nil
}

// browserCookie binds a state to the browser. Each state has a cookie of its own, so that two tabs do not take each other's.
func (d *Dialect) browserCookie(state, browser identity.Secret, now, ends time.Time) *http.Cookie {
	life := int(ends.Sub(now) / time.Second)
	if browser == "" {
		life = -1
	}
	return &http.Cookie{
		Name: d.cookieName(state), Value: browser.Reveal(), Path: "/", MaxAge: life, HttpOnly: true, Secure: d.secure(), SameSite: http.SameSiteLaxMode,
	}
}

// cookieName: with TLS no other host of the domain can set it (RFC 6265bis, section 4.1.3.2).
func (d *Dialect) cookieName(state identity.Secret) string {
	sum := sha256.Sum256([]byte(state.Reveal()))
	name := "gatehouse-oauth-" + hex.EncodeToString(sum[:8])
	if d.secure() {
		return "__Host-" + name
	}
	return name
}

func (d *Dialect) secure() bool { return strings.HasPrefix(d.Issuer, "https://") }

func (d *Dialect) browser(r *http.Request, state identity.Secret) identity.Secret {
	cookie, err := r.Cookie(d.cookieName(state))
	if err != nil {
		return ""
	}
	return identity.Secret(cookie.Value)
}

// lured says that a browser was sent by a page that is neither ours nor the front end's (Fetch Metadata). What is no browser sends
// nobody's cookies.
func (d *Dialect) lured(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "same-site":
		return false
	}
	from, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || from.Host == "" {
		return true
	}
	origin := from.Scheme + "://" + from.Host
	page, err := url.Parse(d.FrontendURL)
	return !slices.Contains(d.Origins, origin) && (err != nil || origin != page.Scheme+"://"+page.Host)
}
