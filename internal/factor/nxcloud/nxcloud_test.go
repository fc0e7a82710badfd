package nxcloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

const (
	secret   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	password = identity.Secret("correct horse 7 battery")
	harbour  = "8d1c9d0a-53f4-4bb8-8a15-0c3f6b7e2d41"
	vault    = "3f0b9a52-6d0e-4a8f-9d5e-1f1f7c7d9b10"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a client of a cloud, with a clock of the test's and a log that no secret may stand in.
type bench struct {
	*nxcloud.Client
	cloud *nxcloudtest.Cloud
	clock atomic.Int64
	log   logged
}

type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func (b *bench) now() time.Time { return begin.Add(time.Duration(b.clock.Load())) }

func newBench(t *testing.T, timeout time.Duration) *bench {
	b := &bench{}
	b.cloud = nxcloudtest.New(t, b.now, []nxcloudtest.Account{
		{ID: "a-1", Email: "ada@example.test", Name: "Ada Lovelace", Password: password.Reveal()},
		{ID: "a-2", Email: "bob@example.test", Name: "Bob", Password: password.Reveal(), TOTP: secret, Older: true},
		{ID: "a-3", Email: "cy@example.test", Password: password.Reveal(), Blocked: true},
		{ID: "a-4", Email: "di@example.test", Password: password.Reveal(), NotActivated: true},
	}, []nxcloudtest.System{
		{ID: harbour, Name: "Harbour VMS", Status: "online", Version: "6.0.1", Users: []string{"ada@example.test", "bob@example.test"}},
		{ID: vault, Name: "Vault", Users: []string{"ada@example.test"}, WantsFactor: true},
	})
	b.Client = b.client(t, b.cloud.URL, timeout)
	t.Cleanup(func() {
		for _, word := range []string{"nxcdb-", password.Reveal(), "code-"} {
			if strings.Contains(b.log.text(), word) {
				t.Errorf("the log holds %q:\n%s", word, b.log.text())
			}
		}
	})
	return b
}

func (b *bench) client(t *testing.T, base string, timeout time.Duration) *nxcloud.Client {
	c, err := nxcloud.New(nxcloud.Options{
		Base: base, ClientID: "gatehouse", Timeout: timeout, Now: b.now, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) code(t *testing.T) string {
	code, err := totp.Code(secret, b.now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func scope(t *testing.T, system string) string {
	s, err := nxcloud.SystemScope(system)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// want holds an error against a Kind, and sees that neither token nor password stands in it.
func want(t *testing.T, what string, err error, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if err != nil && (strings.Contains(err.Error(), "nxcdb-") || strings.Contains(err.Error(), password.Reveal()) || strings.Contains(err.Error(), "http://")) {
		t.Errorf("%s: the error tells too much: %v", what, err)
	}
}

// The small cloud answers as every cloud does.
func TestSuite(t *testing.T) {
	b := newBench(t, 0)
	account := func(id, email, name string) nxcloudtest.Account {
		return nxcloudtest.Account{ID: id, Email: email, Name: name, Password: password.Reveal()}
	}
	suite := nxcloudtest.Suite{
		Client: b.Client, Now: b.now, Code: b.cloud.Code, Plain: account("a-1", "ada@example.test", "Ada Lovelace"), Factor: account("a-2", "bob@example.test", "Bob"),
		Shut: account("a-3", "cy@example.test", ""), New: account("a-4", "di@example.test", ""),
		Open: nxcloudtest.System{ID: harbour}, Strict: nxcloudtest.System{ID: vault}, Nobodys: "00000000-0000-4000-8000-000000000000",
	}
	suite.Factor.TOTP = secret
	suite.Run(t)
	if n := b.cloud.Calls(nxcloudtest.TOTPOp); n != 4 {
		t.Errorf("%d calls for codes, want 4: what can be no code is not asked", n)
	}
	if got := b.cloud.Header(nxcloudtest.TokenOp).Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestTokensAndSystems(t *testing.T) {
	b := newBench(t, 0)
	ctx := t.Context()
	g, err := b.Password(ctx, "ada@example.test", password, "")
	if err != nil || !g.ExpiresAt.Equal(begin.Add(nxcloudtest.Life)) {
		t.Fatalf("%+v, %v", g, err)
	}
	info, err := b.Token(ctx, g.Access)
	if diff := cmp.Diff(nxcloud.Token{Username: "ada@example.test", ExpiresAt: begin.Add(nxcloudtest.Life)}, info); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	systems, err := b.Systems(ctx, g.Access)
	if diff := cmp.Diff([]nxcloud.System{{ID: harbour, Name: "Harbour VMS", Status: "online", Version: "6.0.1"}, {ID: vault, Name: "Vault"}}, systems); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := b.Revoke(ctx, g.Access); err != nil || b.cloud.Alive(g.Access.Reveal()) {
		t.Errorf("not revoked: %v", err)
	}
	if g, err := b.Code(ctx, identity.Secret(b.cloud.Code("bob@example.test"))); err != nil || !g.FactorDue() {
		t.Errorf("a code of somebody with a factor: %+v, %v", g, err)
	}
	b.clock.Store(int64(31 * nxcloudtest.Life))
	_, err = b.Refresh(ctx, g.Refresh, "")
	want(t, "an expired refresh token", err, identity.TokenInvalid)
}

func TestSystemScope(t *testing.T) {
	for _, id := range []string{"", "a b", "a&b=c", "ä", strings.Repeat("a", 65), "x\n", "a=b"} {
		if _, err := nxcloud.SystemScope(id); !errors.Is(err, identity.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if s, err := nxcloud.SystemScope("{" + harbour + "}"); err != nil || s != "cloudSystemId="+harbour {
		t.Errorf("%q, %v", s, err)
	}
}

// An answer that is neither yes nor no is the cloud's trouble, and never a sign-in or a wrong password.
func TestGarbage(t *testing.T) {
	good := `"access_token":"nxcdb-1","refresh_token":"nxcdb-2","expires_in":86400,"token_type":"bearer","scope":""`
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for name, fault := range map[string]http.HandlerFunc{
		"nothing":                    nxcloudtest.Answer(200, ""),
		"a web page":                 nxcloudtest.Answer(200, "<html>Welcome!</html>"),
		"null":                       nxcloudtest.Answer(200, "null"),
		"a list":                     nxcloudtest.Answer(200, "[{"+good+"}]"),
		"a tail":                     nxcloudtest.Answer(200, "{"+good+"}{}"),
		"no token":                   nxcloudtest.Answer(200, `{"refresh_token":"nxcdb-2"}`),
		"an empty token":             nxcloudtest.Answer(200, `{"access_token":""}`),
		"a token of another type":    nxcloudtest.Answer(200, `{"access_token":7}`),
		"a token with a blank":       nxcloudtest.Answer(200, `{"access_token":"nxcdb-1 2"}`),
		"a token with a line break":  nxcloudtest.Answer(200, `{"access_token":"nxcdb-1\r\nX-A: b"}`),
		"a token not of ASCII":       nxcloudtest.Answer(200, `{"access_token":"nxcdb-ä"}`),
		"a factor without a token":   nxcloudtest.Answer(200, `{"error":"second_factor_required"}`),
		"an unknown error":           nxcloudtest.Answer(200, "{"+good+`,"error":"on_fire"}`),
		"an error that is no text":   nxcloudtest.Answer(200, "{"+good+`,"error":{}}`),
		"another type of token":      nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","token_type":"mac"}`),
		"an expiry in words":         nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","expires_in":"tomorrow"}`),
		"an expiry below zero":       nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","expires_in":-1}`),
		"a scope that is no text":    nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","scope":[]}`),
		"too much":                   nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","x":"`+strings.Repeat("x", 64<<10)+`"}`),
		"too much behind the tokens": nxcloudtest.Answer(200, "{"+good+"}"+strings.Repeat(" ", 64<<10)),
		"half":                       nxcloudtest.Cut,
		"500":                        nxcloudtest.Answer(500, `{"resultCode":"dbError"}`),
		"503":                        nxcloudtest.Answer(503, ""),
		"404":                        nxcloudtest.Answer(404, ""),
		"400":                        nxcloudtest.Answer(400, `{"resultCode":"badRequest"}`),
		"429":                        nxcloudtest.Answer(429, ""),
		"304":                        nxcloudtest.Answer(304, ""),
		"a redirect":                 nxcloudtest.Redirect(elsewhere.URL),
		"tokens with a redirect":     nxcloudtest.Answer(302, "{"+good+"}"),
		"tokens with a server error": nxcloudtest.Answer(500, "{"+good+"}"),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 0)
			b.cloud.Fail(nxcloudtest.TokenOp, -1, fault)
			g, err := b.Password(t.Context(), "ada@example.test", password, "")
			want(t, "password", err, identity.Unavailable)
			if g != (nxcloud.Grant{}) {
				t.Errorf("%+v beside an error", g)
			}
			_, err = b.Refresh(t.Context(), "nxcdb-1", "")
			want(t, "refresh", err, identity.Unavailable)
			_, err = b.Code(t.Context(), "code-1")
			want(t, "code", err, identity.Unavailable)
			if n := b.cloud.Calls(nxcloudtest.TokenOp); n != 3 {
				t.Errorf("%d calls for three grants: none may be sent twice", n)
			}
			if name != "429" && !strings.Contains(b.log.text(), "Nx Cloud does not answer as it should") {
				t.Errorf("the operator hears nothing:\n%s", b.log.text())
			}
		})
	}
}

func TestGarbageAccounts(t *testing.T) {
	for name, answer := range map[string]string{
		"no id":         `{"email":"ada@example.test"}`,
		"a null id":     `{"id":null,"email":"ada@example.test"}`,
		"a number":      `{"id":7,"email":"ada@example.test"}`,
		"a long id":     `{"id":"` + strings.Repeat("x", 129) + `","email":"ada@example.test"}`,
		"a broken id":   `{"id":"a\u0000b","email":"ada@example.test"}`,
		"no email":      `{"id":"a-1"}`,
		"no address":    `{"id":"a-1","email":"ada"}`,
		"a long email":  `{"id":"a-1","email":"` + strings.Repeat("x", 250) + `@b.cd"}`,
		"a list":        `[{"id":"a-1","email":"ada@example.test"}]`,
		"a broken name": `{"id":"a-1","email":"ada@example.test","full_name":{"x":1}}`,
	} {
		b := newBench(t, 0)
		b.cloud.Fail(nxcloudtest.AccountOp, -1, nxcloudtest.Answer(200, answer))
		a, err := b.Account(t.Context(), "nxcdb-1")
		want(t, name, err, identity.Unavailable)
		if a != (nxcloud.Account{}) {
			t.Errorf("%s: %+v beside an error", name, a)
		}
	}
	b := newBench(t, 0)
	for answer, name := range map[string]string{
		`{"id":"a-1","email":"a@b","name":"Ada"}`:                        "Ada",
		`{"id":"a-1","email":"a@b","full_name":"","fullName":"Ada L"}`:   "Ada L",
		`{"id":"a-1","email":"a@b","full_name":null,"more":{"x":[1,2]}}`: "",
	} {
		b.cloud.Fail(nxcloudtest.AccountOp, -1, nxcloudtest.Answer(200, answer))
		if a, err := b.Account(t.Context(), "nxcdb-1"); err != nil || a.Name != name {
			t.Errorf("%s: %+v, %v", answer, a, err)
		}
	}
	b.cloud.Fail(nxcloudtest.SystemsOp, -1, nxcloudtest.Answer(200, `{"systems":[]}`))
	_, err := b.Systems(t.Context(), "nxcdb-1")
	want(t, "systems in an object", err, identity.Unavailable)
	b.cloud.Fail(nxcloudtest.SystemsOp, -1, nxcloudtest.Answer(200, `[null]`))
	_, err = b.Systems(t.Context(), "nxcdb-1")
	want(t, "no system", err, identity.Unavailable)
}

// A scope that was asked for must be in the answer: tokens for more, or for something else, are not what was wanted.
func TestScopeOfTheAnswer(t *testing.T) {
	for answer, kind := range map[string]error{
		`{"access_token":"nxcdb-1","scope":"` + "cloudSystemId=" + harbour + `"}`:               nil,
		`{"access_token":"nxcdb-1","scope":"cloud.example.test cloudSystemId=` + harbour + `"}`: nil,
		`{"access_token":"nxcdb-1","scope":"cloud.example.test cloudSystemId=*"}`:               nil,
		`{"access_token":"nxcdb-1","scope":""}`:                                                 identity.Denied,
		`{"access_token":"nxcdb-1","scope":"cloudSystemId=` + vault + `"}`:                      identity.Denied,
		`{"access_token":"nxcdb-1","scope":"xcloudSystemId=` + harbour + `"}`:                   identity.Denied,
		`{"access_token":"nxcdb-1"}`:                                                            identity.Unavailable,
	} {
		b := newBench(t, 0)
		b.cloud.Fail(nxcloudtest.TokenOp, 1, nxcloudtest.Answer(200, answer))
		_, err := b.Refresh(t.Context(), "nxcdb-0", scope(t, harbour))
		want(t, answer, err, kind)
	}
}

// Refusals as other versions of the cloud, and OAuth, word them.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   error
	}{
		{401, ``, identity.BadCredential},
		{403, `not even JSON`, identity.BadCredential},
		{400, `{"error":"invalid_grant"}`, identity.BadCredential},
		{401, `{"resultCode":"accountBlocked"}`, identity.Suspended},
		{403, `{"error":"accountNotActivated"}`, identity.Unverified},
	} {
		b := newBench(t, 0)
		b.cloud.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(tt.status, tt.body))
		_, err := b.Password(t.Context(), "ada@example.test", password, "")
		want(t, fmt.Sprint(tt.status, tt.body), err, tt.want)
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	b := newBench(t, 0)
	ctx := t.Context()
	g, err := b.Password(ctx, "ada@example.test", password, "")
	if err != nil {
		t.Fatal(err)
	}
	b.cloud.Fail(nxcloudtest.AccountOp, 2, nxcloudtest.Answer(502, ""))
	if _, err := b.Account(ctx, g.Access); err != nil || b.cloud.Calls(nxcloudtest.AccountOp) != 3 {
		t.Errorf("%v after %d calls", err, b.cloud.Calls(nxcloudtest.AccountOp))
	}
	b.cloud.Fail(nxcloudtest.LookUpOp, 2, nxcloudtest.Cut)
	if _, err := b.Token(ctx, g.Access); err != nil {
		t.Error(err)
	}
	b.cloud.Fail(nxcloudtest.SystemsOp, -1, nxcloudtest.Answer(502, ""))
	_, err = b.Systems(ctx, g.Access)
	want(t, "systems", err, identity.Unavailable)
	if n := b.cloud.Calls(nxcloudtest.SystemsOp); n != 3 {
		t.Errorf("%d tries, want 3", n)
	}

	// A TOTP may be spent by a call whose answer was lost.
	limited, err := b.Password(ctx, "bob@example.test", password, "")
	if err != nil {
		t.Fatal(err)
	}
	b.cloud.Fail(nxcloudtest.TOTPOp, 1, nxcloudtest.Answer(502, ""))
	want(t, "totp", b.TOTP(ctx, limited.Limited, b.code(t)), identity.Unavailable)
	if n := b.cloud.Calls(nxcloudtest.TOTPOp); n != 1 {
		t.Errorf("a code was sent %d times", n)
	}
	// What makes no sense at all makes none a moment later.
	b.cloud.Fail(nxcloudtest.AccountOp, -1, nxcloudtest.Answer(404, ""))
	before := b.cloud.Calls(nxcloudtest.AccountOp)
	_, err = b.Account(ctx, g.Access)
	want(t, "404", err, identity.Unavailable)
	if n := b.cloud.Calls(nxcloudtest.AccountOp) - before; n != 1 {
		t.Errorf("a 404 was tried %d times", n)
	}
}

func TestLate(t *testing.T) {
	b := newBench(t, 300*time.Millisecond)
	b.cloud.Fail(nxcloudtest.TokenOp, -1, b.cloud.Silent)
	_, err := b.Password(t.Context(), "ada@example.test", password, "")
	want(t, "the client's own time-out", err, identity.Unavailable)

	b = newBench(t, 0)
	b.cloud.Fail(nxcloudtest.TokenOp, -1, b.cloud.Silent)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = b.Password(ctx, "ada@example.test", password, "")
	want(t, "the operation's deadline", err, identity.Unavailable)
	_, err = b.Account(ctx, "nxcdb-1")
	want(t, "after the deadline", err, identity.Unavailable)

	// A silent first try leaves time for a second one.
	b = newBench(t, 1500*time.Millisecond)
	g, err := b.Password(t.Context(), "ada@example.test", password, "")
	if err != nil {
		t.Fatal(err)
	}
	b.cloud.Fail(nxcloudtest.AccountOp, 1, b.cloud.Silent)
	operation, end := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer end()
	if a, err := b.Account(operation, g.Access); err != nil || a.ID != "a-1" {
		t.Errorf("%+v, %v", a, err)
	}

	// A late answer is an answer, as long as somebody waits.
	b = newBench(t, 0)
	ready := make(chan struct{})
	b.cloud.Fail(nxcloudtest.TokenOp, 1, b.cloud.Late(nxcloudtest.TokenOp, ready))
	time.AfterFunc(50*time.Millisecond, func() { close(ready) })
	if g, err := b.Password(t.Context(), "ada@example.test", password, ""); err != nil || g.Access == "" {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestUnreachable(t *testing.T) {
	b := newBench(t, 0)
	gone := httptest.NewServer(nil)
	gone.Close()
	c := b.client(t, gone.URL, time.Second)
	_, err := c.Password(t.Context(), "ada@example.test", password, "")
	want(t, "nobody there", err, identity.Unavailable)
}

// A cloud that does not answer is left alone, so that it costs nobody a time-out; and is found again when it comes back.
func TestBreaker(t *testing.T) {
	b := newBench(t, 0)
	ctx := t.Context()
	sign := func() error {
		_, err := b.Password(ctx, "ada@example.test", password, "")
		return err
	}
	b.cloud.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(500, ""))
	for range 20 {
		want(t, "down", sign(), identity.Unavailable)
	}
	if n := b.cloud.Calls(nxcloudtest.TokenOp); n != 5 || b.Reachable() {
		t.Fatalf("%d calls, reachable %v", n, b.Reachable())
	}
	if err := identity.Describe(sign()); err.RetryAfter <= 0 || err.RetryAfter > 5*time.Second {
		t.Errorf("try again after %v", err.RetryAfter)
	}
	for i, rest := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		b.clock.Add(int64(rest - time.Millisecond))
		want(t, "resting", sign(), identity.Unavailable)
		if n := b.cloud.Calls(nxcloudtest.TokenOp); n != 5+i {
			t.Fatalf("called after less than %v", rest)
		}
		b.clock.Add(int64(time.Millisecond))
		want(t, "tried", sign(), identity.Unavailable)
		want(t, "not tried twice", sign(), identity.Unavailable)
		if n := b.cloud.Calls(nxcloudtest.TokenOp); n != 6+i {
			t.Fatalf("%d calls after %v, want %d", n, rest, 6+i)
		}
	}

	// Whoever goes away while she tries leaves the try to the next.
	b.clock.Add(int64(time.Minute))
	arrived := make(chan struct{})
	b.cloud.Fail(nxcloudtest.TokenOp, 1, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		b.cloud.Silent(w, r)
	})
	away, leave := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		_, err := b.Password(away, "ada@example.test", password, "")
		done <- err
	}()
	<-arrived
	want(t, "while somebody tries", sign(), identity.Unavailable)
	leave()
	want(t, "went away", <-done, identity.Unavailable)

	if err := sign(); err != nil || !b.Reachable() {
		t.Errorf("it is back: %v, reachable %v", err, b.Reachable())
	}
	if text := b.log.text(); !strings.Contains(text, "left alone") || !strings.Contains(text, "answers again") {
		t.Errorf("the operator is not told:\n%s", text)
	}
	// A clock set back shuts nobody out.
	b.cloud.Fail(nxcloudtest.TokenOp, 5, nxcloudtest.Answer(500, ""))
	for range 5 {
		want(t, "down again", sign(), identity.Unavailable)
	}
	b.clock.Add(-int64(time.Hour))
	if err := sign(); err != nil {
		t.Errorf("after the clock was set back: %v", err)
	}
}

// What somebody types must not shut the others out.
func TestOddInputIsNoFault(t *testing.T) {
	b := newBench(t, 0)
	b.cloud.Fail(nxcloudtest.TokenOp, 20, nxcloudtest.Answer(400, `{"resultCode":"badRequest"}`))
	for range 20 {
		_, err := b.Password(t.Context(), "\x00", password, "")
		want(t, "odd", err, identity.Unavailable)
	}
	for _, token := range []identity.Secret{"", ".", "..", "a b", "a\r\nX: y", "ä", identity.Secret(strings.Repeat("x", 9000))} {
		_, err := b.Token(t.Context(), token)
		want(t, "look-up of "+token.Reveal(), err, identity.TokenInvalid)
		_, err = b.Account(t.Context(), token)
		want(t, "account of "+token.Reveal(), err, identity.TokenInvalid)
		want(t, "totp of "+token.Reveal(), b.TOTP(t.Context(), token, "123456"), identity.BadCode)
	}
	if _, err := b.Password(t.Context(), "ada@example.test", password, ""); err != nil || !b.Reachable() {
		t.Errorf("%v, reachable %v", err, b.Reachable())
	}
	if n := b.cloud.Calls(nxcloudtest.LookUpOp) + b.cloud.Calls(nxcloudtest.AccountOp) + b.cloud.Calls(nxcloudtest.TOTPOp); n != 0 {
		t.Errorf("%d calls with what can be no token", n)
	}
}

func TestBreakerInParallel(t *testing.T) {
	b := newBench(t, 0)
	b.cloud.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(500, ""))
	for range 5 {
		_, _ = b.Password(t.Context(), "ada@example.test", password, "")
	}
	b.clock.Add(int64(5 * time.Second))
	before := b.cloud.Calls(nxcloudtest.TokenOp)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			_, err := b.Password(t.Context(), "ada@example.test", password, "")
			if !errors.Is(err, identity.Unavailable) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := b.cloud.Calls(nxcloudtest.TokenOp) - before; n != 1 {
		t.Errorf("%d tries at once, want 1", n)
	}
}

// The test's cloud takes the code along with the password, as some of the vendor's samples send it.
func TestCloudTakesCodeWithPassword(t *testing.T) {
	b := newBench(t, 0)
	ask := func(code string) (int, map[string]any) {
		body, err := json.Marshal(map[string]string{
			"grant_type": "password", "response_type": "token", "client_id": "3rdParty", "username": "bob@example.test", "password": password.Reveal(), "mfaCode": code,
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.cloud.URL+"/cdb/oauth2/token", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(w.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, out
	}
	code := b.code(t)
	if status, out := ask(code); status != 200 || out["error"] != nil || out["access_token"] == "" {
		t.Errorf("%d %v", status, out)
	}
	if status, _ := ask(code); status != 401 {
		t.Errorf("a code twice: %d", status)
	}
}

func TestOptions(t *testing.T) {
	now, log := time.Now, slog.Default()
	for name, o := range map[string]nxcloud.Options{
		"no base":     {ClientID: "x", Now: now, Log: log},
		"no host":     {Base: "https://", ClientID: "x", Now: now, Log: log},
		"a file":      {Base: "file:///etc", ClientID: "x", Now: now, Log: log},
		"a user":      {Base: "https://u:p@cloud.example.test", ClientID: "x", Now: now, Log: log},
		"a query":     {Base: "https://cloud.example.test?x=1", ClientID: "x", Now: now, Log: log},
		"no client":   {Base: "https://cloud.example.test", Now: now, Log: log},
		"no clock":    {Base: "https://cloud.example.test", ClientID: "x", Log: log},
		"no log":      {Base: "https://cloud.example.test", ClientID: "x", Now: now},
		"no sense":    {Base: "://", ClientID: "x", Now: now, Log: log},
		"no base URL": {Base: "cloud.example.test", ClientID: "x", Now: now, Log: log},
	} {
		if _, err := nxcloud.New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	b := newBench(t, 0)
	c := b.client(t, "https://cloud.example.test/sub/", 0)
	if got := c.Origin(); got != "https://cloud.example.test" {
		t.Errorf("Origin = %q", got)
	}
}

// A path before /cdb, as behind a proxy.
func TestBaseWithAPath(t *testing.T) {
	b := newBench(t, 0)
	var seen string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.URL.Path
		nxcloudtest.Answer(401, "")(w, r)
	}))
	defer proxy.Close()
	_, err := b.client(t, proxy.URL+"/nx/", 0).Password(t.Context(), "ada@example.test", password, "")
	want(t, "refused", err, identity.BadCredential)
	if seen != "/nx/cdb/oauth2/token" {
		t.Errorf("called %s", seen)
	}
}

// Property: whatever the cloud says to a password, only an answer with a token signs anybody in, and never with both kinds of token.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"access_token":"nxcdb-1","refresh_token":"nxcdb-2","expires_in":86400,"expires_at":1772366400000,"token_type":"bearer","scope":""}`)
	f.Add(200, `{"access_token":"nxcdb-1","error":"second_factor_required"}`)
	f.Add(403, `{"resultCode":"accountBlocked"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		c, err := nxcloud.New(nxcloud.Options{
			Base: "https://cloud.example.test", ClientID: "x", Now: func() time.Time { return begin }, Log: slog.New(slog.DiscardHandler),
			HTTP: &http.Client{Transport: answer(func(*http.Request) *http.Response {
				w := httptest.NewRecorder()
				w.WriteHeader(100 + (status%500+500)%500)
				_, _ = w.WriteString(body)
				return w.Result()
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		g, err := c.Password(t.Context(), "ada@example.test", password, "")
		switch kind := identity.KindOf(err); {
		case err == nil:
			var said struct {
				Token any `json:"access_token"`
				Error any
			}
			if json.Unmarshal([]byte(body), &said) != nil || (g.Access == "") == (g.Limited == "") || said.Token == nil {
				t.Errorf("%d %q signs in: %+v", status, body, g)
			}
		case kind == identity.Internal:
			t.Errorf("%d %q: %v", status, body, err)
		case g != (nxcloud.Grant{}):
			t.Errorf("%d %q: %+v beside %v", status, body, g, err)
		}
	})
}

type answer func(*http.Request) *http.Response

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }
