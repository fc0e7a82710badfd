// Package nxcloudtest is a small Nx Cloud for tests: it serves over real HTTP what nx.md 5.3 describes, and fails on demand. It runs
// inside a test (New), or as a process that a test starts, kills and starts again (Start). Suite is what every cloud has to answer, this
// one and a house of ours.
package nxcloudtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/factor/totp"
)

// Account of the cloud.
type Account struct {
	ID, Email, Name, Password    string
	TOTP                         string // secret; "" without a second factor
	Blocked, NotActivated, Older bool   // Older prints the name as fullName
}

// System that accounts may enter.
type System struct {
	ID, Name, Status, Version string
	Users                     []string // e-mail addresses
	WantsFactor               bool     // of every account that enters
}

// Op is one of the cloud's operations.
type Op string

// The operations.
const (
	TokenOp   Op = "token"   // POST /cdb/oauth2/token
	TOTPOp    Op = "totp"    // GET /cdb/account/self/2fa/totp/key/{totp}
	AccountOp Op = "account" // GET /cdb/account/self
	LookUpOp  Op = "look-up" // GET /cdb/oauth2/token/{token}
	RevokeOp  Op = "revoke"  // DELETE /cdb/oauth2/token/{token}
	SystemsOp Op = "systems" // GET /cdb/systems
)

// Life of an access token.
const Life = 24 * time.Hour

// Cloud is the server. Its methods may be called while it serves.
type Cloud struct {
	URL string
	Now func() time.Time

	mu       sync.Mutex
	accounts []*account
	systems  []System
	tokens   map[string]*token
	codes    map[string]string // code → e-mail; spent ones are gone
	serial   int
	faults   map[Op]*fault
	calls    map[Op]int
	last     map[Op]http.Header
	mux      *http.ServeMux
	stop     chan struct{}
}

type account struct {
	Account
	step int64 // of the last TOTP code: none works twice
}

type token struct {
	email, scope     string
	refresh, limited bool
	expires          time.Time
}

type fault struct {
	times int // how often still; below zero: always
	serve http.HandlerFunc
}

// New starts a cloud that ends with the test.
func New(tb testing.TB, now func() time.Time, accounts []Account, systems []System) *Cloud {
	c := open(now, accounts, systems)
	server := httptest.NewServer(c.mux)
	c.URL = server.URL
	tb.Cleanup(func() {
		close(c.stop) // what hangs ends first: Close waits for it
		server.Close()
	})
	return c
}

func open(now func() time.Time, accounts []Account, systems []System) *Cloud {
	c := &Cloud{
		Now: now, systems: systems, tokens: map[string]*token{}, codes: map[string]string{}, faults: map[Op]*fault{}, calls: map[Op]int{},
		last: map[Op]http.Header{}, mux: http.NewServeMux(), stop: make(chan struct{}),
	}
	for _, a := range accounts {
		c.accounts = append(c.accounts, &account{Account: a, step: -1})
	}
	c.mux.HandleFunc("POST /cdb/oauth2/token", c.op(TokenOp, c.issue))
	c.mux.HandleFunc("GET /cdb/oauth2/token/{token}", c.op(LookUpOp, c.lookUp))
	c.mux.HandleFunc("DELETE /cdb/oauth2/token/{token}", c.op(RevokeOp, c.revoke))
	c.mux.HandleFunc("GET /cdb/account/self/2fa/totp/key/{totp}", c.op(TOTPOp, c.checkTOTP))
	c.mux.HandleFunc("GET /cdb/account/self", c.op(AccountOp, c.self))
	c.mux.HandleFunc("GET /cdb/systems", c.op(SystemsOp, c.list))
	return c
}

// Code is what the sign-in page sends back with the browser of whoever signed in there: once good.
func (c *Cloud) Code(email string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	code := fmt.Sprintf("code-%d", c.serial)
	c.codes[code] = email
	return code
}

// Calls says how often an operation was called.
func (c *Cloud) Calls(op Op) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[op]
}

// Header gives the header of an operation's last call.
func (c *Cloud) Header(op Op) http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[op]
}

// Alive says whether a token is good.
func (c *Cloud) Alive(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good(text) != nil
}

// Kept says how many refresh tokens of an account are good.
func (c *Cloud) Kept(email string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, t := range c.tokens {
		if t.refresh && t.email == email && c.good(text) != nil {
			n++
		}
	}
	return n
}

// Change alters an account.
func (c *Cloud) Change(email string, change func(*Account)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.find(email).Account)
}

// Fail makes the next calls of an operation fail, so many times; below zero: until told otherwise. A nil fault ends it.
func (c *Cloud) Fail(op Op, times int, serve http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.faults, op); serve != nil {
		c.faults[op] = &fault{times, serve}
	}
}

// Answer is a fault: this status and body.
func Answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Redirect is a fault: the operation moved.
func Redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

// Cut is a fault: half an answer.
func Cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"access_token":"nxcdb-`))
	panic(http.ErrAbortHandler)
}

// Silent is a fault: no answer before the caller gives up.
func (c *Cloud) Silent(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-c.stop:
	}
}

// Late is a fault: the right answer, as soon as the channel is closed.
func (c *Cloud) Late(op Op, ready <-chan struct{}) http.HandlerFunc {
	serve := map[Op]http.HandlerFunc{
		TokenOp: c.issue, LookUpOp: c.lookUp, RevokeOp: c.revoke, TOTPOp: c.checkTOTP, AccountOp: c.self, SystemsOp: c.list,
	}[op]
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ready:
			serve(w, r)
		case <-r.Context().Done():
		case <-c.stop:
		}
	}
}

func (c *Cloud) op(op Op, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls[op]++
		c.last[op] = r.Header.Clone()
		f := c.faults[op]
		if f != nil && f.times > 0 {
			if f.times--; f.times == 0 {
				delete(c.faults, op)
			}
		}
		c.mu.Unlock()
		if f != nil {
			f.serve(w, r)
			return
		}
		serve(w, r)
	}
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code string) {
	say(w, status, map[string]string{"resultCode": code, "errorText": "refused"})
}

func (c *Cloud) find(email string) *account {
	i := slices.IndexFunc(c.accounts, func(a *account) bool { return strings.EqualFold(a.Email, email) })
	if i < 0 {
		return nil
	}
	return c.accounts[i]
}

func (c *Cloud) good(text string) *token {
	t := c.tokens[text]
	if t == nil || !c.Now().Before(t.expires) {
		return nil
	}
	return t
}

// bearer gives the live access token of a request.
func (c *Cloud) bearer(r *http.Request) *token {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil
	}
	if t := c.good(text); t != nil && !t.refresh && !t.limited {
		return t
	}
	return nil
}

func (c *Cloud) add(t token) string {
	c.serial++
	text := fmt.Sprintf("nxcdb-%08d-0000-4000-8000-000000000000", c.serial)
	c.tokens[text] = &t
	return text
}

const systemPrefix = "cloudSystemId="

func (c *Cloud) issue(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in) != nil || in["response_type"] != "token" || in["client_id"] == "" {
		refuse(w, http.StatusBadRequest, "badRequest")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	email, scope, lifted := in["username"], in["scope"], false
	switch in["grant_type"] {
	case "password":
		if a := c.find(email); a == nil || a.Password != in["password"] {
			refuse(w, http.StatusUnauthorized, "notAuthorized")
			return
		}
	case "authorization_code":
		known := false
		if email, known = c.codes[in["code"]]; !known {
			refuse(w, http.StatusUnauthorized, "notAuthorized")
			return
		}
		delete(c.codes, in["code"])
	case "refresh_token":
		t := c.good(in["refresh_token"])
		if t == nil || !t.refresh {
			refuse(w, http.StatusUnauthorized, "notAuthorized")
			return
		}
		if email, lifted = t.email, !t.limited; t.scope != "" && scope != t.scope { // narrowed, never widened
			if scope != "" {
				refuse(w, http.StatusForbidden, "forbidden")
				return
			}
			scope = t.scope
		}
	default:
		refuse(w, http.StatusBadRequest, "badRequest")
		return
	}
	a := c.find(email)
	switch {
	case a.Blocked:
		refuse(w, http.StatusForbidden, "accountBlocked")
		return
	case a.NotActivated:
		refuse(w, http.StatusForbidden, "accountNotActivated")
		return
	}
	out := map[string]any{
		"expires_in": int(Life.Seconds()), "expires_at": c.Now().Add(Life).UnixMilli(), "token_type": "bearer", "scope": scope,
	}
	limited := a.TOTP != "" && !lifted
	if id, named := strings.CutPrefix(scope, systemPrefix); named {
		i := slices.IndexFunc(c.systems, func(s System) bool { return s.ID == id })
		if i < 0 || !slices.Contains(c.systems[i].Users, a.Email) {
			refuse(w, http.StatusForbidden, "forbidden")
			return
		}
		if c.systems[i].WantsFactor && a.TOTP == "" {
			out["error"] = "2fa_disabled_for_the_user"
		}
	}
	if mfa := in["mfaCode"]; limited && mfa != "" {
		if !a.spend(mfa, c.Now()) {
			refuse(w, http.StatusUnauthorized, "notAuthorized")
			return
		}
		limited = false
	}
	if limited {
		out["error"] = "second_factor_required"
	}
	out["access_token"] = c.add(token{email: a.Email, scope: scope, limited: limited, expires: c.Now().Add(Life)})
	out["refresh_token"] = c.add(token{email: a.Email, scope: scope, limited: limited, refresh: true, expires: c.Now().Add(30 * Life)})
	say(w, http.StatusOK, out)
}

func (a *account) spend(code string, now time.Time) bool {
	step, ok := totp.Match(a.TOTP, code, now, a.step)
	if ok {
		a.step = step
	}
	return ok
}

func (c *Cloud) checkTOTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.good(r.URL.Query().Get("token"))
	if t == nil || t.refresh {
		refuse(w, http.StatusUnauthorized, "notAuthorized")
		return
	}
	if a := c.find(t.email); a.TOTP == "" || !a.spend(r.PathValue("totp"), c.Now()) {
		refuse(w, http.StatusForbidden, "invalidTotp")
		return
	}
	for _, other := range c.tokens { // the refresh token of the same answer as well
		if other.email == t.email {
			other.limited = false
		}
	}
	say(w, http.StatusOK, map[string]string{"resultCode": "ok"})
}

func (c *Cloud) self(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.bearer(r)
	if t == nil {
		refuse(w, http.StatusUnauthorized, "notAuthorized")
		return
	}
	a, name := c.find(t.email), "full_name"
	if a.Older {
		name = "fullName"
	}
	say(w, http.StatusOK, map[string]any{"id": a.ID, "email": a.Email, name: a.Name, "statusCode": "activated", "account2faEnabled": a.TOTP != ""})
}

func (c *Cloud) lookUp(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.good(r.PathValue("token"))
	if t == nil || t.limited || r.Header.Get("Authorization") == "" {
		refuse(w, http.StatusUnauthorized, "notAuthorized")
		return
	}
	say(w, http.StatusOK, map[string]any{
		"access_token": r.PathValue("token"), "username": t.email, "scope": t.scope, "token_type": "bearer",
		"expires_in": fmt.Sprint(int(t.expires.Sub(c.Now()).Seconds())), "expires_at": fmt.Sprint(t.expires.UnixMilli()), // some versions print text
	})
}

func (c *Cloud) revoke(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good(r.PathValue("token")) == nil {
		refuse(w, http.StatusNotFound, "notFound")
		return
	}
	delete(c.tokens, r.PathValue("token"))
	say(w, http.StatusOK, map[string]string{"resultCode": "ok"})
}

func (c *Cloud) list(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.bearer(r)
	if t == nil {
		refuse(w, http.StatusUnauthorized, "notAuthorized")
		return
	}
	out := []map[string]string{}
	for _, s := range c.systems {
		if slices.Contains(s.Users, t.email) && (t.scope == "" || t.scope == systemPrefix+s.ID) {
			out = append(out, map[string]string{"id": s.ID, "name": s.Name, "status": s.Status, "version": s.Version})
		}
	}
	say(w, http.StatusOK, out)
}
