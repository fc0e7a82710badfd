package app_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/identity"
)

const attacker, elsewhere = "198.51.100.66", "203.0.113.5"

func from(address string, in request) request {
	in.from = address
	return in
}

// One address that guesses at many logins is stopped as an address, at every door; everybody else goes on (P11).
func TestOneAddressIsStopped(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	limit := h.SignIn.Limits.AddressFailures
	mark := h.lastEvent(t)
	for i := range 3 * limit {
		if a := h.send(from(attacker, signIns[doors[i%len(doors)]](fmt.Sprintf("login%d@example.test", i), "guess"))); a.ok() || a.status >= 500 {
			t.Fatalf("guess %d: %v", i, a)
		}
	}
	if judged := len(h.events(t, mark)); judged != limit {
		t.Errorf("%d guesses of one address were judged, want %d", judged, limit)
	}
	for _, door := range doors {
		if a, want := h.send(from(attacker, signIns[door]("ada@example.test", passphrase))), lockedWords[door]; a.status != want.status {
			t.Errorf("the address at %s: %v", door, a)
		}
		if a := h.send(from(elsewhere, signIns[door]("ada@example.test", passphrase))); !a.ok() {
			t.Errorf("another address at %s: %v", door, a)
		}
		if a := h.send(from("[2001:db8::1]", signIns[door]("ada@example.test", passphrase))); !a.ok() {
			t.Errorf("another address at %s: %v", door, a)
		}
	}
	h.Clock.Advance(h.SignIn.Limits.AddressWindow)
	if a := h.send(from(attacker, signIns[nx.Door]("ada@example.test", passphrase))); !a.ok() {
		t.Errorf("the address after its window: %v", a)
	}
}

// A whole network of IPv6 counts as one: it is one customer's.
func TestOneNetworkIsStopped(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for i := range h.SignIn.Limits.AddressFailures {
		h.send(from(fmt.Sprintf("[2001:db8:0:1::%x]", i+1), signIns[nx.Door](fmt.Sprintf("login%d@example.test", i), "guess")))
	}
	if a := h.send(from("[2001:db8:0:1:ffff::1]", signIns[nx.Door]("ada@example.test", passphrase))); a.status != http.StatusTooManyRequests {
		t.Errorf("the same network: %v", a)
	}
	if a := h.send(from("[2001:db8:0:2::1]", signIns[nx.Door]("ada@example.test", passphrase))); !a.ok() {
		t.Errorf("the next network: %v", a)
	}
	h.send(request{method: "GET", target: "/auth/status", from: attacker, header: [][2]string{{"X-Forwarded-For", "192.0.2.99"}}})
}

// Who locks somebody out by guessing takes nothing else from her: her sessions go on, and can be renewed. That she cannot begin
// one meanwhile is the price of counting by person (docs/promises.md).
func TestLockedLoginIsNotHerEnd(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	tokens := map[string]string{}
	for _, kind := range []string{nxAccess, nxRefresh, insightsAccess, titanFull, wifiAccess, wifiRefresh} {
		tokens[kind] = h.print(t, kind, "ada@example.test")
	}
	for range policy.BuiltIn.Lockout.Tries {
		h.send(from(attacker, signIns[nx.Door]("ada@example.test", "guess")))
	}
	if a := h.send(signIns[nx.Door]("ada@example.test", passphrase)); a.status != http.StatusTooManyRequests {
		t.Fatalf("not locked: %v", a)
	}
	for kind, token := range tokens {
		if !h.honoured(t, kind, token) {
			t.Errorf("%s ended with the lock", kind)
		}
	}
	h.Clock.Advance(policy.BuiltIn.Lockout.Window)
	if a := h.send(signIns[nx.Door]("ada@example.test", passphrase)); !a.ok() {
		t.Errorf("after the lock: %v", a)
	}
}

// What mail and memory strangers can cause is bounded: five mails an hour for one person, and of an address a limit that leaves
// others alone. What they leave in the store is swept.
func TestForgottenPasswordsUnderFlood(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	h.Clock.Advance(time.Minute)
	refused := 0
	for i := range 400 {
		a := h.send(request{method: "POST", target: "/auth/authenticate/forgot-password", from: attacker, body: object("Email", []string{"ada@example.test", "ada", fmt.Sprintf("login%d@example.test", i)}[i%3])})
		if a.status == http.StatusTooManyRequests {
			refused++
		} else if !a.ok() {
			t.Fatal(a)
		}
	}
	if mails := len(h.Mails(t)); mails != 5 {
		t.Errorf("%d mails to one person in an hour, want 5", mails)
	}
	if refused < 200 {
		t.Errorf("%d of 400 requests of one address were refused", refused)
	}
	if h.resetLink(t, "eve@works.test") == "" {
		t.Error("somebody else gets no link")
	}
	h.Clock.Advance(32 * 24 * time.Hour)
	swept := 0
	for range 1000 {
		var n int
		must(t, h.Store.Update(t.Context(), func(tx identity.Tx) (err error) {
			n, err = tx.Sweep(t.Context(), h.Clock.Now(), 500)
			return err
		}))
		if swept += n; n == 0 {
			break
		}
	}
	h.view(t, func(ctx context.Context, r identity.Reader) error {
		messages, err := r.Messages(ctx, "", "", 1000)
		if len(messages) > 6 || swept == 0 {
			t.Errorf("%d messages stay after %d rows were swept", len(messages), swept)
		}
		return err
	})
}

// Registrations of one network are limited, whatever comes of them.
func TestRegistrationsUnderFlood(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	made := 0
	for range 60 {
		in := from(attacker, request{method: "POST", target: "/auth/user", body: object("Email", h.newAddress(t), "Password", passphrase, "Name", "N", "Company", "C", "AcceptEULA", "true")})
		if a := h.send(in); a.ok() {
			made++
		} else if a.status != http.StatusTooManyRequests {
			t.Fatal(a)
		}
	}
	if made != 20 {
		t.Errorf("%d registrations of one network in an hour, want 20", made)
	}
	in := from(elsewhere, request{method: "POST", target: "/auth/user", body: object("Email", h.newAddress(t), "Password", passphrase, "Name", "N", "Company", "C", "AcceptEULA", "true")})
	h.must(t, in)
}

// Calls are limited where the contract says so, by address or by user, and nobody's calls are taken from another.
func TestCallsAreLimited(t *testing.T) {
	h := newHouse(t, apptest.Options{Configure: func(c *config.Config) { c.Limits = config.Default().Limits }})
	valid := newValidator(t, h)
	h.Clock.Advance(time.Hour)
	tests := []struct {
		name  string
		door  identity.Door
		limit int
		in    request
	}{
		{"nx password-strength", nx.Door, h.Config.Limits.NxStrengthPerMinute, request{method: "POST", target: "/auth/authenticate/password-strength", body: object("Password", "x")}},
		{"nx csrf", nx.Door, h.Config.Limits.NxCSRFPerMinute, request{method: "POST", target: "/auth/nx/csrf", body: object("AuthenticationEndpoint", "http://gatehouse.test/", "RedirectURL", portal)}},
		{"titan without a token", "titan", h.Config.Limits.TitanAddressPerMinute, request{method: "POST", target: "/auth/ping"}},
		{"openwifi sign-in", openwifi.Door, h.Config.Limits.OpenWiFiPerSecond, request{method: "POST", target: "/api/v1/oauth2?requirements=true"}},
	}
	for _, tt := range tests {
		limited := 0
		var last answer
		for range 3 * tt.limit {
			if a := h.send(from(attacker, tt.in)); a.status == http.StatusTooManyRequests || a.status == http.StatusForbidden {
				limited++
				last = a
			}
		}
		if limited != 2*tt.limit {
			t.Errorf("%s: %d of %d calls were refused, want %d", tt.name, limited, 3*tt.limit, 2*tt.limit)
			continue
		}
		if err := valid(tt.door, tt.in, last); err != nil || last.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v, %v, Retry-After %q", tt.name, last, err, last.header.Get("Retry-After"))
		}
		if a := h.send(from(elsewhere, tt.in)); a.status == last.status {
			t.Errorf("%s: another address is refused, too: %v", tt.name, a)
		}
	}
	token := h.print(t, titanFull, "ada@example.test")
	for i := range h.Config.Limits.TitanUserPerMinute + 1 {
		a := h.send(request{method: "POST", target: "/auth/ping", bearer: token, from: fmt.Sprintf("10.9.%d.%d", i/250, i%250)})
		if limited := a.status == http.StatusTooManyRequests; limited != (i == h.Config.Limits.TitanUserPerMinute) {
			t.Fatalf("call %d of a user: %v", i, a)
		}
	}
	if a := h.send(request{method: "POST", target: "/auth/ping", bearer: h.print(t, titanFull, "eve@works.test"), from: elsewhere}); !a.ok() {
		t.Errorf("another user: %v", a)
	}
}

// More sign-ins at once than the hash queue holds are told to come back, each in its door's words; those with a token go on.
func TestHashQueueUnderFlood(t *testing.T) {
	h := newHouse(t, apptest.Options{
		Hash:      password.Params{Memory: 19 << 10, Time: 1, Threads: 1},
		Configure: func(c *config.Config) { c.Password.Workers, c.Password.Queue = 1, 2 },
	})
	valid := newValidator(t, h)
	token := h.print(t, nxAccess, "ada@example.test")
	var in []request
	for i := range 12 {
		for _, door := range doors {
			in = append(in, from(fmt.Sprintf("10.1.0.%d", i+1), signIns[door]("ada@example.test", passphrase)))
		}
	}
	in = append(in, request{method: "GET", target: "/auth/configuration", bearer: token})
	answers := h.race(in)
	good, busy := 0, 0
	for i, a := range answers[:len(answers)-1] {
		switch {
		case a.ok():
			good++
		case a.status == http.StatusServiceUnavailable:
			busy++
			if err := valid(doors[i%len(doors)], in[i], a); err != nil {
				t.Errorf("%s, busy: %v", doors[i%len(doors)], err)
			}
			if doors[i%len(doors)] != nx.Door && a.header.Get("Retry-After") == "" {
				t.Errorf("%s, busy: no Retry-After", doors[i%len(doors)])
			}
		default:
			t.Errorf("%s: %v", doors[i%len(doors)], a)
		}
	}
	if good == 0 || busy == 0 {
		t.Errorf("%d signed in, %d were sent away: the queue is not what was tested", good, busy)
	}
	if a := answers[len(answers)-1]; !a.ok() {
		t.Errorf("somebody with a token, meanwhile: %v", a)
	}
	if a := h.send(signIns[nx.Door]("ada@example.test", passphrase)); !a.ok() {
		t.Errorf("afterwards: %v", a)
	}
}
