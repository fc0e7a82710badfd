package titan_test

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the contract's change mark
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

const (
	tinaID  identity.SubjectID      = "01a0a000-0000-7000-8000-000000000001"
	manyID  identity.SubjectID      = "01a0a000-0000-7000-8000-000000000002"
	nordan  identity.OrganisationID = "01a0b000-0000-7000-8000-000000000001"
	careful                         = "careful@nordantech.com"
	many                            = "many@nordantech.com"
	tina                            = "titan@nordantech.com"
)

var operator = identity.Caller{Door: "cli"}

var dataOf = regexp.MustCompile(`^\{"success":true,"hash":"([0-9a-f]{40})","data":(.*),"timestamp":[0-9]+\}$`)

// The hash is a change mark over the bytes of data, as they went over the wire.
func TestHashIsOfTheBytesOfData(t *testing.T) {
	h := newHouse(t)
	a := h.post(t, "/auth", credentials(tina))
	found := dataOf.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatal(a.body)
	}
	sum := sha1.Sum([]byte(found[2])) //nolint:gosec // see above
	if hex.EncodeToString(sum[:]) != found[1] {
		t.Errorf("hash %s, want %x", found[1], sum)
	}
}

// A session ends when its table says, whatever is asked of it in between.
func TestSessionsEnd(t *testing.T) {
	tests := []struct {
		name     string
		remember bool
		ends     time.Duration
		every    time.Duration // how often it is used
	}{
		{"ordinary", false, 24 * time.Hour, time.Hour},
		{"remembered", true, 30 * 24 * time.Hour, 5 * 24 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			begun := h.Clock.Now()
			body := `{"user":"titan","password":"` + passphrase + `","remember":` + strconv.FormatBool(tt.remember) + `}`
			token := h.post(t, "/auth", body).token(t)
			if exp := claimsOf(t, token)["exp"]; exp != float64(begun.Add(tt.ends).Unix()) {
				t.Errorf("exp %v, want %d", exp, begun.Add(tt.ends).Unix())
			}
			for h.Clock.Now().Add(tt.every).Before(begun.Add(tt.ends)) {
				h.Clock.Advance(tt.every)
				a := h.post(t, "/auth/refresh", "", bearer(token))
				if a.status != http.StatusOK {
					t.Fatalf("after %v: %d %s", h.Clock.Now().Sub(begun), a.status, a.body)
				}
				token = a.token(t)
				if exp := claimsOf(t, token)["exp"]; exp != float64(begun.Add(tt.ends).Unix()) {
					t.Fatalf("a refresh moved the end to %v", exp)
				}
			}
			h.Clock.Advance(begun.Add(tt.ends).Sub(h.Clock.Now()) - time.Second)
			if a := h.post(t, "/auth/ping", "", bearer(token)); a.status != http.StatusOK {
				t.Errorf("a second before its end: %d %s", a.status, a.body)
			}
			h.Clock.Advance(time.Second)
			if a := h.post(t, "/auth/refresh", "", bearer(token)); a.status != http.StatusUnauthorized {
				t.Errorf("at its end: %d %s", a.status, a.body)
			}
		})
	}
}

// A ping sets the idle clock back on every node: what is noted in memory reaches the store.
func TestPingIsWrittenDown(t *testing.T) {
	h := newHouse(t)
	token := h.signIn(t, tina)
	h.Clock.Advance(time.Hour)
	h.post(t, "/auth/ping", "", bearer(token))
	h.Sessions.Flush(t.Context())
	h.Clock.Advance(90 * time.Minute)
	if a := h.post(t, "/auth/refresh", "", bearer(token)); a.status != http.StatusOK {
		t.Errorf("a refresh after the ping: %d %s", a.status, a.body)
	}
}

// Sixteen tabs refresh at once: one successor, and all of them get it.
func TestRefreshRace(t *testing.T) {
	h := newHouse(t)
	token := h.signIn(t, tina)
	answers := together(16, func() answer { return h.post(t, "/auth/refresh", "", bearer(token)) })
	successors := map[string]bool{}
	for _, a := range answers {
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		successors[a.token(t)] = true
	}
	if len(successors) != 1 || successors[token] {
		t.Errorf("%d successors", len(successors))
	}
}

// Sixteen hands type the same code at once: one gets in.
func TestCodeRace(t *testing.T) {
	h := newHouse(t)
	half := h.signIn(t, careful)
	other := h.signIn(t, careful)
	body := `{"code":"` + h.code(t, 0) + `"}`
	var mu sync.Mutex
	n := 0
	answers := together(16, func() answer {
		mu.Lock()
		token := []string{half, other}[n%2]
		n++
		mu.Unlock()
		return h.post(t, "/auth/code", body, bearer(token))
	})
	winners := 0
	for _, a := range answers {
		switch a.status {
		case http.StatusOK:
			winners++
		case http.StatusUnauthorized:
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
}

func together(n int, do func() answer) []answer {
	answers := make([]answer, n)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			answers[i] = do()
		})
	}
	close(start)
	all.Wait()
	return answers
}

// A hub that asks for a code gets it within the same session, which stays where it was until then.
func TestHubAsksForCode(t *testing.T) {
	h := newHouse(t)
	token := h.signIn(t, many)
	token = h.post(t, "/auth/hub/1", "", bearer(token)).token(t)
	if err := h.Manage.EnrolTOTP(t.Context(), operator, manyID, secret); err != nil {
		t.Fatal(err)
	}
	due := h.post(t, "/auth/hub/2", "", bearer(token))
	if due.status != http.StatusOK || due.at(t, "data.confirmation.channel") != float64(3) || due.at(t, "data.user") != nil {
		t.Fatalf("%d %s", due.status, due.body)
	}
	if claims := claimsOf(t, due.token(t)); claims["stage"] != "code" || claims["sub"] != "2" {
		t.Errorf("claims %v", claims)
	}
	if a := h.post(t, "/auth/ping", "", bearer(token)); a.status != http.StatusOK {
		t.Errorf("the session while the code is due: %d %s", a.status, a.body)
	}
	// Signing out of the half way leaves the session alone.
	if a := h.post(t, "/auth/invalidate", "", bearer(due.token(t))); a.status != http.StatusOK {
		t.Errorf("abandon: %d %s", a.status, a.body)
	}
	due = h.post(t, "/auth/hub/"+strings.Repeat("a", 39)+"2", "", bearer(token))
	moved := h.post(t, "/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(due.token(t)))
	if moved.status != http.StatusOK || moved.at(t, "data.hub.id") != float64(2) {
		t.Fatalf("%d %s", moved.status, moved.body)
	}
	before, after := claimsOf(t, token), claimsOf(t, moved.token(t))
	if before["jti"] != after["jti"] || before["exp"] != after["exp"] || after["hub"] != float64(2) || after["stage"] != "full" {
		t.Errorf("claims before %v, after %v", before, after)
	}
	if a := h.post(t, "/auth/hub/2", "", bearer(moved.token(t))); a.status != http.StatusOK || a.at(t, "data.user") == nil {
		t.Errorf("the second time: %d %s", a.status, a.body)
	}
	if n := h.events(t, "session.enter"); n != 3 {
		t.Errorf("%d events of entering, want 3", n)
	}
}

// A hub that closes, or that she leaves, is gone from the session at the next print.
func TestHubThatIsGone(t *testing.T) {
	for name, change := range map[string]func(identity.Tx, *testing.T) error{
		"expired": func(tx identity.Tx, t *testing.T) error {
			o, err := tx.Organisation(t.Context(), nordan)
			if err != nil {
				return err
			}
			o.ExpiresAt = o.CreatedAt.Add(time.Minute)
			return tx.UpdateOrganisation(t.Context(), o)
		},
		"left": func(tx identity.Tx, t *testing.T) error {
			all, err := tx.Memberships(t.Context(), tinaID)
			if err != nil {
				return err
			}
			for _, m := range all {
				if err := tx.DeleteMembership(t.Context(), m.ID); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			token := h.signIn(t, tina)
			if err := h.Store.Update(t.Context(), func(tx identity.Tx) error { return change(tx, t) }); err != nil {
				t.Fatal(err)
			}
			h.Clock.Advance(2 * time.Minute)
			a := h.post(t, "/auth/refresh", "", bearer(token))
			if a.status != http.StatusOK || a.at(t, "data.hub") != nil || a.at(t, "data.role") != nil || a.at(t, "data.features.audit") != false {
				t.Errorf("%d %s", a.status, a.body)
			}
			if hub := claimsOf(t, a.token(t))["hub"]; hub != nil {
				t.Errorf("hub claim %v", hub)
			}
			if a := h.post(t, "/auth/hub/1", "", bearer(a.token(t))); a.status != http.StatusUnauthorized {
				t.Errorf("entering it again: %d %s", a.status, a.body)
			}
		})
	}
}

// What ends a person's sessions ends this door's tokens at once.
func TestEndedElsewhere(t *testing.T) {
	for name, change := range map[string]func(*house, *testing.T) error{
		"password set": func(h *house, t *testing.T) error {
			return h.Manage.SetPassword(t.Context(), operator, tinaID, manage.NewPassword{Password: "another long passphrase"})
		},
		"suspended": func(h *house, t *testing.T) error { return h.Manage.Suspend(t.Context(), operator, tinaID, "test") },
		"deleted":   func(h *house, t *testing.T) error { return h.Manage.Delete(t.Context(), operator, tinaID) },
		"signed out": func(h *house, t *testing.T) error {
			return h.Sessions.EndAll(t.Context(), operator, tinaID, "", "test")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			token := h.signIn(t, tina)
			h.post(t, "/auth/ping", "", bearer(token)) // into the cache
			if err := change(h, t); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/auth/ping", "/auth/refresh", "/auth/hub/1", "/auth/hub/invalidate", "/auth/invalidate"} {
				if a := h.post(t, path, "", bearer(token)); a.status != http.StatusUnauthorized {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
		})
	}
}

// A code token dies with the password that it stands on.
func TestCodeAfterThePasswordChanged(t *testing.T) {
	h := newHouse(t)
	half := h.signIn(t, careful)
	id := identity.SubjectID("01a0a000-0000-7000-8000-000000000003")
	if err := h.Manage.SetPassword(t.Context(), operator, id, manage.NewPassword{Password: "another long passphrase"}); err != nil {
		t.Fatal(err)
	}
	if a := h.post(t, "/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(half)); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// forged gives a token's parts in other arrangements.
func forged(t *testing.T, token string) map[string]string {
	t.Helper()
	parts := strings.Split(token, ".")
	enc := base64.RawURLEncoding
	payload, err := enc.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	head, err := enc.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	join := func(head string, payload []byte, signature string) string {
		return enc.EncodeToString([]byte(head)) + "." + enc.EncodeToString(payload) + "." + signature
	}
	flipped := []byte(parts[2])
	flipped[10] ^= 1
	all := map[string]string{
		"alg none":              join(`{"alg":"none"}`, payload, ""),
		"alg none with our kid": join(strings.Replace(string(head), "EdDSA", "none", 1), payload, ""),
		"alg HS256":             join(strings.Replace(string(head), "EdDSA", "HS256", 1), payload, parts[2]),
		"unknown kid":           join(regexp.MustCompile(`"kid":"[^"]*"`).ReplaceAllString(string(head), `"kid":"nobody00"`), payload, parts[2]),
		"without signature":     parts[0] + "." + parts[1] + ".",
		"two parts":             parts[0] + "." + parts[1],
		"five parts":            token + ".x.y",
		"another signature":     parts[0] + "." + parts[1] + "." + string(flipped),
		"another user":          join(string(head), bytes.Replace(payload, []byte(tinaID), []byte(manyID), 1), parts[2]),
		"another generation":    join(string(head), bytes.Replace(payload, []byte(`"gen":1`), []byte(`"gen":2`), 1), parts[2]),
		"padded":                parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"too long":              token + strings.Repeat("A", 9000),
		"jwk inside":            join(strings.TrimSuffix(string(head), "}")+`,"jwk":{}}`, payload, parts[2]),
		"not a token":           "x",
	}
	maps.DeleteFunc(all, func(_, arranged string) bool { return arranged == token }) // a code token has no user and no generation
	return all
}

var bearerOperations = []string{"/auth/code", "/auth/ping", "/auth/refresh", "/auth/hub/1", "/auth/hub/invalidate", "/auth/invalidate"}

// No forgery opens anything, whatever the operation.
func TestForgedTokens(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.TitanAddressPerMinute = 0 })
	full, half := h.signIn(t, tina), h.signIn(t, careful)
	before := h.fingerprint(t)
	for name, token := range forged(t, full) {
		for _, path := range bearerOperations {
			if a := h.post(t, path, `{"code":"123456"}`, bearer(token)); a.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	for name, token := range forged(t, half) {
		for _, path := range []string{"/auth/code", "/auth/invalidate"} {
			if a := h.post(t, path, `{"code":"`+h.code(t, 0)+`"}`, bearer(token)); a.status != http.StatusUnauthorized {
				t.Errorf("%s of a code token at %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	if after := h.fingerprint(t); after != before {
		t.Errorf("refusals wrote something: %s, before %s", after, before)
	}
	if a := h.post(t, "/auth/ping", "", bearer(full)); a.status != http.StatusOK {
		t.Errorf("the real one: %d %s", a.status, a.body)
	}
}

// Our key signs for every door: another door's token, or one of ours with another purpose, is good nowhere here.
func TestTokensOfOthers(t *testing.T) {
	h := newHouse(t)
	full := h.signIn(t, tina)
	claims := claimsOf(t, full)
	sign := func(alg, typ string, change func(map[string]any)) string {
		c := map[string]any{}
		for name, v := range claims {
			c[name] = v
		}
		if change != nil {
			change(c)
		}
		raw, err := h.Ring.Sign(alg, typ, c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const own = "titan+jwt"
	tests := map[string]string{
		"our claims, another type":      sign(keys.EdDSA, "JWT", nil),
		"our claims, no type":           sign(keys.EdDSA, "", nil),
		"our claims, another algorithm": sign(keys.ES256, own, nil),
		"another issuer":                sign(keys.EdDSA, own, func(c map[string]any) { c["iss"] = "http://other.test" }),
		"another user's session":        sign(keys.EdDSA, own, func(c map[string]any) { c["person"] = string(manyID) }),
		"a session that is none":        sign(keys.EdDSA, own, func(c map[string]any) { c["jti"] = "01a06b2e-7a00-7abc-9def-0123456789ab" }),
		"a ticket that is none":         sign(keys.EdDSA, own, func(c map[string]any) { c["stage"] = "code"; delete(c, "person"); delete(c, "gen") }),
		"a later generation":            sign(keys.EdDSA, own, func(c map[string]any) { c["gen"] = 2 }),
		"ended long ago":                sign(keys.EdDSA, own, func(c map[string]any) { c["exp"] = 1 }),
		"not good yet":                  sign(keys.EdDSA, own, func(c map[string]any) { c["nbf"] = 1767312000 }),
	}
	var nx struct{ AccessToken, RefreshToken string }
	a := h.post(t, "/auth/authenticate/signin", `{"Username":"`+tina+`","Password":"`+passphrase+`","KeepLoggedIn":false}`)
	if err := json.Unmarshal([]byte(a.body), &nx); err != nil || nx.AccessToken == "" || nx.RefreshToken == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	tests["nx access token"], tests["nx refresh token"] = nx.AccessToken, nx.RefreshToken
	for name, token := range tests {
		for _, path := range bearerOperations {
			if a := h.post(t, path, `{"code":"123456"}`, bearer(token)); a.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	for _, token := range []string{full, h.signIn(t, careful)} {
		if a := h.do(t, http.MethodGet, "/auth/user/"+string(tinaID), "", bearer(token)); a.status != http.StatusUnauthorized {
			t.Errorf("our token at the nx door: %d %s", a.status, a.body)
		}
		if a := h.do(t, http.MethodGet, "/api/v2/users/loggedIn/detail", "", bearer(token)); a.status != http.StatusUnauthorized {
			t.Errorf("our token at the insights door: %d %s", a.status, a.body)
		}
	}
}

// fingerprint is what a refusal must leave alone: sessions, and the feed that everything announces itself in.
func (h *house) fingerprint(t testing.TB) string {
	t.Helper()
	var text string
	err := h.Store.View(t.Context(), func(r identity.Reader) error {
		seq, err := r.LastChange(t.Context())
		if err != nil {
			return err
		}
		sessions, err := r.Sessions(t.Context(), "", 1000)
		if err != nil {
			return err
		}
		text = strconv.FormatInt(seq, 10)
		for _, s := range sessions {
			text += " " + string(s.ID) + ":" + strconv.FormatInt(s.Generation, 10) + ":" + s.EndReason + ":" + string(s.OrganisationID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Bad bodies get this door's own refusal at every operation, and write nothing.
func TestBadBodies(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.TitanAddressPerMinute = 0 })
	full, half := h.signIn(t, tina), h.signIn(t, careful)
	before := h.fingerprint(t)
	tests := []struct {
		name, body string
		headers    []header
		want       int
	}{
		{"too large", `{"user":"` + strings.Repeat("a", 64<<10) + `"}`, nil, 413},
		{"too deep", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), nil, 422},
		{"not UTF-8", "{\"user\":\"\xff\"}", nil, 422},
		{"not JSON", "user=x", nil, 422},
		{"an array", "[]", nil, 422},
		{"a name twice", `{"code":"1","code":"2","user":"x","user":"y"}`, nil, 422},
		{"a name twice, spelt otherwise", `{"code":"1","\u0063ode":"2"}`, nil, 422},
		{"something behind", `{"user":"x","password":"y"} x`, nil, 422},
		{"a huge number", `{"user":"x","n":1e999999}`, nil, 422},
		{"a long number", `{"user":"x","n":` + strings.Repeat("9", 400) + `}`, nil, 422},
		{"another type", `{}`, []header{{"Content-Type", "text/plain"}}, 415},
		{"no type", `{}`, []header{{"Content-Type", ""}}, 415},
	}
	for _, tt := range tests {
		for _, path := range append([]string{"/auth"}, bearerOperations...) {
			token := full
			if path == "/auth/code" {
				token = half
			}
			a := h.post(t, path, tt.body, append(tt.headers, bearer(token))...)
			if a.status != tt.want || a.at(t, "error.type") != "validation" || a.at(t, "error.code") != float64(tt.want) {
				t.Errorf("%s at %s: %d %s, want %d", tt.name, path, a.status, a.body, tt.want)
			}
		}
	}
	if after := h.fingerprint(t); after != before {
		t.Errorf("refusals wrote something: %s, before %s", after, before)
	}
}

// A token that comes twice, or in two headers, is none.
func TestRepeatedAuthorization(t *testing.T) {
	h := newHouse(t)
	full := h.signIn(t, tina)
	for _, headers := range [][]header{
		{bearer(full), bearer(full)},
		{bearer(full), {"Authorization", "Basic x"}},
		{{"Authorization", "Bearer"}},
		{{"Authorization", "Bearer " + full + " " + full}},
		{{"Authorization", full}},
		{{"Authorization", "Token " + full}},
	} {
		if a := h.post(t, "/auth/ping", "", headers...); a.status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := h.post(t, "/auth/ping", "", header{"Authorization", "bEARER  " + full}); a.status != http.StatusOK {
		t.Errorf("a scheme has no case: %d %s", a.status, a.body)
	}
}

func TestLimitOfAnAddress(t *testing.T) {
	h := newHouse(t)
	full := h.signIn(t, tina)
	for i := 98; i >= 0; i-- { // whatever is asked for without a token counts
		path := []string{"/auth/ping", "/auth", "/auth/hub/nowhere/at/all"}[i%3]
		a := h.post(t, path, "")
		if got := a.header.Get("X-RateLimit-Remaining"); got != strconv.Itoa(i) || a.header.Get("X-RateLimit-Limit") != "100" {
			t.Fatalf("%s: %d remaining %s, want %d", path, a.status, got, i)
		}
	}
	for _, request := range [][2]string{{"POST", "/auth"}, {"POST", "/auth/ping"}, {"POST", "/auth/recovery/initiate"}, {"GET", "/auth"}, {"GET", "/auth/titan/openapi.json"}} {
		a := h.do(t, request[0], request[1], "")
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "60" || a.header.Get("X-RateLimit-Remaining") != "0" || a.at(t, "error.type") != "too_many_requests" {
			t.Errorf("past the limit: %v %d %v %s", request, a.status, a.header, a.body)
		}
	}
	if a := h.post(t, "/auth", credentials(tina)); a.status != http.StatusTooManyRequests {
		t.Errorf("a sign-in past the limit: %d", a.status)
	}
	if a := h.post(t, "/auth/ping", "", bearer(full)); a.status != http.StatusOK || a.header.Get("X-RateLimit-Remaining") != "999" {
		t.Errorf("somebody with a token from there: %d %v", a.status, a.header)
	}
	if a := h.post(t, "/auth", credentials(tina), header{"From", "198.51.100.9:1"}); a.status != http.StatusOK {
		t.Errorf("another address: %d %s", a.status, a.body)
	}
	// A customer holds a whole /64: going through its addresses helps nobody.
	for i := range 100 {
		h.post(t, "/auth/ping", "", header{"From", "[2001:db8::" + strconv.FormatInt(int64(i+1), 16) + "]:1"})
	}
	if a := h.post(t, "/auth/ping", "", header{"From", "[2001:db8::ffff]:1"}); a.status != http.StatusTooManyRequests {
		t.Errorf("another address of the same /64: %d", a.status)
	}
	h.Clock.Advance(time.Minute)
	if a := h.post(t, "/auth", credentials(tina)); a.status != http.StatusOK {
		t.Errorf("a minute later: %d %s", a.status, a.body)
	}
}

func TestLimitOfAUser(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.TitanUserPerMinute = 5 })
	one, two, other := h.signIn(t, tina), h.signIn(t, tina), h.signIn(t, many)
	for i := range 5 { // all sessions of one user together, from wherever
		token := []string{one, two}[i%2]
		if a := h.post(t, "/auth/ping", "", bearer(token), header{"From", "198.51.100." + strconv.Itoa(i+1) + ":1"}); a.status != http.StatusOK {
			t.Fatalf("call %d: %d %s", i, a.status, a.body)
		}
	}
	if a := h.post(t, "/auth/ping", "", bearer(two)); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "60" {
		t.Errorf("past the limit: %d %v", a.status, a.header)
	}
	if a := h.post(t, "/auth/ping", "", bearer(other)); a.status != http.StatusOK {
		t.Errorf("another user: %d %s", a.status, a.body)
	}
}

func TestNoLimits(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.TitanUserPerMinute, c.Limits.TitanAddressPerMinute = 0, 0 })
	for range 120 {
		if a := h.post(t, "/auth/ping", ""); a.status != http.StatusUnauthorized || a.header.Get("X-RateLimit-Limit") != "" {
			t.Fatalf("%d %v", a.status, a.header)
		}
	}
}

// While the store is away nobody is told that her token is bad.
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	full, half := h.signIn(t, tina), h.signIn(t, careful)
	if err := h.Store.Close(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"/auth": full, "/auth/code": half, "/auth/refresh": full, "/auth/ping": full, "/auth/hub/1": full, "/auth/hub/invalidate": full, "/auth/invalidate": full,
	}
	for path, token := range tests {
		body := ""
		switch path {
		case "/auth":
			body = credentials(tina)
		case "/auth/code":
			body = `{"code":"123456"}`
		}
		a := h.post(t, path, body, bearer(token))
		if a.status != http.StatusServiceUnavailable || a.at(t, "error.type") != "server" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	h := newHouse(t)
	a := h.do(t, http.MethodGet, "/auth/titan/openapi.json", "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-RateLimit-Limit") != "100" || a.at(t, "openapi") != "3.1.0" {
		t.Fatalf("%d %v %.200s", a.status, a.header, a.body)
	}
	if again := h.do(t, http.MethodGet, "/auth/titan/openapi.json", "", header{"If-None-Match", a.header.Get("ETag")}); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("asked again: %d %.100s", again.status, again.body)
	}
}

// Browsers of the operator's origins may call us, and read refusals too.
func TestCORS(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Titan.CORSOrigins = []string{"https://app.example.test"} })
	origin := header{"Origin", "https://app.example.test"}
	a := h.do(t, http.MethodOptions, "/auth/ping", "", origin, header{"Access-Control-Request-Method", "POST"}, header{"Access-Control-Request-Headers", "authorization,content-type"})
	if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != origin[1] || a.header.Get("Access-Control-Allow-Headers") != "authorization,content-type" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	a = h.post(t, "/auth/ping", "", origin)
	if a.status != http.StatusUnauthorized || a.header.Get("Access-Control-Allow-Origin") != origin[1] || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-RateLimit-Remaining") {
		t.Errorf("refusal: %d %v", a.status, a.header)
	}
	if a = h.post(t, "/auth/ping", "", header{"Origin", "https://evil.example.test"}); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %v", a.header)
	}
}

// The operator's prefix moves all of the door; the Nx door keeps what is left.
func TestPrefix(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Titan.Prefix = "/titan" })
	if a := h.post(t, "/titan/auth", credentials(tina)); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.post(t, "/titan/auth/titan/nowhere", "{}"); a.status != http.StatusNotFound || a.at(t, "error.type") != "not_found" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth", credentials(tina)); a.status == http.StatusOK || strings.Contains(a.body, `"success"`) {
		t.Errorf("the old place: %d %s", a.status, a.body)
	}
}

// What goes wrong in the house is logged once and not told.
func TestInternalErrorsStayInside(t *testing.T) {
	h := newHouse(t)
	full := h.signIn(t, tina)
	h.Doors.Titan.Keys = brokenKeys{h.Doors.Titan.Keys}
	a := h.post(t, "/auth/refresh", "", bearer(full))
	if a.status != http.StatusInternalServerError || strings.Contains(a.body, "lamp") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := strings.Count(h.log.String(), "the lamp is out"); n != 1 || strings.Contains(h.log.String(), full) {
		t.Errorf("logged %d times: %s", n, h.log)
	}
}

type brokenKeys struct{ titan.Keys }

func (brokenKeys) Sign(string, string, any) (string, error) { return "", errLamp }

var errLamp = lampError{}

type lampError struct{}

func (lampError) Error() string { return "the lamp is out" }

// Whatever a stranger sends gets an envelope of this door and no 5xx, and a refusal changes nothing.
func FuzzDoor(f *testing.F) {
	h := newHouse(f, func(c *config.Config) { c.Limits.TitanAddressPerMinute, c.Limits.TitanUserPerMinute = 0, 0 })
	full, half := h.signIn(f, tina), h.signIn(f, careful)
	paths := append([]string{"/auth"}, bearerOperations...)
	f.Add(uint8(0), "1", credentials(tina), "", "application/json", "de")
	f.Add(uint8(1), "1", `{"code":"013120"}`, "half", "application/json", "")
	f.Add(uint8(4), "9223372036854775808", "", "full", "", "en, de")
	f.Add(uint8(5), "\x00/..%2f", "{}", "Bearer x", "application/json; charset=\"", "\xff")
	f.Fuzz(func(t *testing.T, op uint8, hub, body, authorization, contentType, contentLanguage string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path = paths[int(op)%len(paths)]
		if r.URL.Path == "/auth/hub/1" {
			r.URL.Path = "/auth/hub/" + hub
		}
		switch authorization {
		case "full":
			authorization = "Bearer " + full
		case "half":
			authorization = "Bearer " + half
		}
		r.Header["Authorization"] = []string{authorization}
		r.Header["Content-Type"] = []string{contentType}
		r.Header["Content-Language"] = []string{contentLanguage}
		before := h.fingerprint(t)
		w := httptest.NewRecorder()
		h.Handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code < 400 {
			full, half = h.again(t, full, half)
			return
		}
		if after := h.fingerprint(t); after != before {
			t.Errorf("a refusal with %d wrote something: %s, before %s", w.Code, after, before)
		}
		var envelope struct {
			Success *bool
			Error   struct {
				Code          int
				Type, Message string
			}
		}
		ours := !strings.HasPrefix(r.URL.Path, "/auth/hub/") || !strings.ContainsAny(hub, "/.\x00")
		if err := json.Unmarshal(w.Body.Bytes(), &envelope); ours && (err != nil || envelope.Success == nil || *envelope.Success || envelope.Error.Code != w.Code || envelope.Error.Message == "") {
			t.Errorf("%d %s: %v", w.Code, w.Body, err)
		}
	})
}

// again gives tokens that are good, where a success may have spent those there were.
func (h *house) again(t testing.TB, full, half string) (string, string) {
	if h.post(t, "/auth/ping", "", bearer(full)).status != http.StatusOK {
		full = h.signIn(t, tina)
	}
	if h.post(t, "/auth/code", "{}", bearer(half)).status != http.StatusUnprocessableEntity {
		half = h.signIn(t, careful)
	}
	return full, half
}
