package app_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

// Keys are published, sign, retire and are removed, several times over, and no token is refused before its own end: on the node
// that rotates, and on another that only hears of it (P12). Every token that is shown was signed by a key that was published
// long enough before for whoever caches the list.
func TestKeysRotateUnderUse(t *testing.T) {
	store := storetest.SQLite(t)
	configure := func(c *config.Config) {
		c.Keys.RotateEvery, c.Keys.PublishAhead = 5*24*time.Hour, 24*time.Hour
		c.Insights.AccessLife = 30 * time.Hour
		for _, life := range []*time.Duration{
			&c.Titan.SessionLife, &c.Titan.IdleLife, &c.Titan.RememberLife, &c.Nx.RefreshLife, &c.Nx.RememberLife, &c.Nx.CloudRefreshLife, &c.Insights.RefreshLife,
			&c.OpenWiFi.TokenLife, &c.OpenWiFi.RefreshLife, &c.OIDC.RefreshLife,
		} {
			*life = 48 * time.Hour // so that keys are removed soon after they retire
		}
	}
	one := newHouse(t, apptest.Options{Store: store, Configure: configure})
	two := newHouse(t, apptest.Options{Store: store, Configure: configure, Clock: one.Clock})
	type held struct {
		kind, token string
		ends        time.Time
	}
	lives := map[string]time.Duration{
		nxAccess: one.Config.Nx.AccessLife, nxRefresh: one.Config.Nx.RefreshLife, insightsAccess: one.Config.Insights.AccessLife,
		insightsRefresh: one.Config.Insights.RefreshLife, titanFull: one.Config.Titan.SessionLife, oidcOwn: one.Config.OIDC.AccessLife,
	}
	var all []held
	signed := map[string]bool{}
	published := map[string]time.Time{}
	kid := regexp.MustCompile(`"kid":"([^"]+)"`)
	note := func() {
		for _, k := range kid.FindAllStringSubmatch(one.must(t, request{method: "GET", target: "/oauth2/jwks"}).body, -1) {
			if _, known := published[k[1]]; !known {
				published[k[1]] = one.Clock.Now()
			}
		}
	}
	note()
	const step, days = 6 * time.Hour, 20
	for range days * 24 / 6 {
		for kind := range lives {
			if kind == insightsRefresh && len(all)%7 != 0 {
				continue // it rotates when it is tried
			}
			token := one.print(t, kind, "ada@example.test")
			all = append(all, held{kind, token, one.Clock.Now().Add(lives[kind])})
			head, err := b64.DecodeString(strings.SplitN(token, ".", 2)[0])
			must(t, err)
			k := kid.FindStringSubmatch(string(head))[1]
			signed[k] = true
			if at, ok := published[k]; !ok || one.Clock.Now().Sub(at) < one.Config.Keys.PublishAhead && at != coretest.Start {
				t.Fatalf("%s was signed by %s, published at %v", kind, k, at)
			}
		}
		one.Clock.Advance(step)
		must(t, one.Ring.Maintain(t.Context()))
		must(t, two.Ring.Reload(t.Context()))
		note()
		var next []held
		for _, h := range all {
			if !one.Clock.Now().Before(h.ends) {
				continue
			}
			for _, node := range []*house{one, two} {
				if !(node == two && h.kind == insightsRefresh) && !node.honoured(t, h.kind, h.token) {
					t.Fatalf("%s is refused %v before its end, at the other node %v", h.kind, h.ends.Sub(one.Clock.Now()), node == two)
				}
			}
			if h.kind != insightsRefresh {
				next = append(next, h)
			}
		}
		all = next
	}
	now := one.must(t, request{method: "GET", target: "/oauth2/jwks"}).body
	gone := 0
	for k := range signed {
		if !strings.Contains(now, k) {
			gone++
		}
	}
	if len(signed) < 8 || gone < 2 {
		t.Errorf("in %d days %d keys signed, of which %d are gone: nothing rotated", days, len(signed), gone)
	}
}

// A key that was removed verifies nothing any more, and one that is only in the store of another house never did.
func TestRemovedKeyVerifiesNothing(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	token := h.print(t, nxRefresh, "ada@example.test")
	for range 3 {
		_, err := h.Ring.Rotate(t.Context(), keys.EdDSA)
		must(t, err)
		h.Clock.Advance(200 * 24 * time.Hour)
		must(t, h.Ring.Maintain(t.Context()))
	}
	if h.honoured(t, nxRefresh, token) {
		t.Error("a token of a key that is gone is good")
	}
	head, err := b64.DecodeString(strings.SplitN(token, ".", 2)[0])
	must(t, err)
	if slices.ContainsFunc(h.Ring.Keys(), func(k identity.SigningKey) bool { return strings.Contains(string(head), string(k.ID)) }) {
		t.Error("the key is still there: nothing was tested")
	}
}

// What vendors and manuals print as first credentials opens nothing in a house that nobody was made in; nor in one that had
// people and has none any more (P13).
func TestNoFirstCredential(t *testing.T) {
	h := newHouse(t, apptest.Options{World: "policies: []\n"})
	guesses := [][2]string{
		{"tip@ucentral.com", "openwifi"}, {"tip@ucentral.com", "13268b7daa751240369d125e79c873bd8dd3bef7981bdfd38ea03dbb1fbe7dcf"},
		{"admin", "admin"}, {"root", "root"}, {"admin@example.test", "admin"}, {"superadmin", "superadmin"}, {"fixstreamapp", "fixstream"},
		{"administrator", "password"}, {"gatehouse", "gatehouse"}, {"", ""}, {"admin", ""},
	}
	closed := func(when string) {
		t.Helper()
		for _, g := range guesses {
			for _, door := range doors {
				if a := h.send(signIns[door](g[0], g[1])); a.ok() || a.status >= 500 {
					t.Errorf("%s: %q at %s: %v", when, g, door, a)
				}
			}
			for _, target := range []string{"/oauth/token", "/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
				a := h.send(formOf(target, "grant_type", "client_credentials", "client_id", g[0], "client_secret", g[1], "token", "x")(t, h, ""))
				if a.ok() || a.status >= 500 {
					t.Errorf("%s: client %q at %s: %v", when, g, target, a)
				}
			}
			h.Clock.Advance(time.Hour)
		}
		a := h.send(request{method: "GET", target: "/api/v1/validateToken?token=x", service: true, header: [][2]string{{"X-API-KEY", "openwifi"}, {"X-INTERNAL-NAME", "owgw"}}})
		if a.ok() || a.status >= 500 {
			t.Errorf("%s: a service key: %v", when, a)
		}
	}
	empty := func(when string) {
		t.Helper()
		h.view(t, func(ctx context.Context, r identity.Reader) error {
			any, err := r.AnySubject(ctx)
			if any {
				t.Errorf("%s: there is somebody", when)
			}
			return err
		})
	}
	empty("fresh")
	closed("fresh")
	empty("after the guesses")
	root, err := h.Manage.Create(t.Context(), operator, manage.NewSubject{Email: "root@example.test", Name: "Root", Superadmin: true, Verified: true, Password: passphrase})
	must(t, err)
	token := h.print(t, nxAccess, "root@example.test")
	closed("with a superadmin")
	// The verbs keep the last superadmin; a store that lost its people says what the verbs would not.
	must(t, h.Store.Update(t.Context(), func(tx identity.Tx) error { return tx.DeleteSubject(t.Context(), root.ID) }))
	h.forget()
	empty("after everybody is gone")
	closed("after everybody is gone")
	if h.honoured(t, nxAccess, token) {
		t.Error("a token outlived its owner")
	}
	a := h.must(t, request{method: "POST", target: "/auth/user", body: object("Email", "first@example.test", "Password", passphrase, "Name", "First", "Company", "C", "AcceptEULA", "true")})
	claims, err := b64.DecodeString(strings.Split(a.at("AccessToken"), ".")[1])
	must(t, err)
	id := regexp.MustCompile(`"sub":"([^"]+)"`).FindStringSubmatch(string(claims))[1]
	me := h.must(t, request{method: "GET", target: "/auth/user/" + id, bearer: a.at("AccessToken")})
	if !strings.Contains(me.body, `"IsSuperAdmin":false`) {
		t.Errorf("who registers first rules: %v", me)
	}
}

// One conversation through every operation, refusals included, gives the same bytes on both engines (P14). Signed tokens differ,
// for keys come from the system's own randomness; opaque ones, ids and times do not.
func TestEnginesSayTheSame(t *testing.T) {
	var said [2][]string
	for i, store := range []identity.Store{storetest.SQLite(t), storetest.Postgres(t)} {
		h := newHouse(t, apptest.Options{Store: store})
		say := func(name string, in request) answer {
			a := h.send(in)
			a.header.Del("X-Request-Id")
			a.header.Del("Etag") // of documents that name keys
			text := fmt.Sprintf("%s: %d %v %s", name, a.status, a.header, a.body)
			text = signedToken.ReplaceAllString(text, "{token}")
			text = hashOfData.ReplaceAllString(text, `"hash":"{hash of data}","data"`)
			if strings.Contains(in.target, "jwks") {
				text = keyMaterial.ReplaceAllString(text, `"$1":"{key}"`)
			}
			said[i] = append(said[i], text)
			return a
		}
		addresses.Lock()
		addresses.n = 1_000_000 // the same names in both
		addresses.Unlock()
		for _, r := range recipes {
			tokens := r.takes
			if tokens == nil {
				tokens = []string{""}
			}
			for _, kind := range tokens {
				token := ""
				if kind != "" {
					token = h.print(t, kind, h.holder(t, r, kind))
				}
				h.Clock.Advance(30 * time.Second)
				in := r.make(t, h, token)
				say(r.name(), in)
				say(r.name()+" again", in)
				say(r.name()+" with another's token", r.make(t, h, "x"))
				in.body = "{"
				say(r.name()+" with half a body", in)
			}
		}
		for _, door := range doors {
			h.Clock.Advance(time.Hour)
			for _, login := range []string{"ada@example.test", "ADA@EXAMPLE.TEST", "ada", "ａｄａ@example.test", "suspended@example.test", "unverified@example.test", "due@example.test", "nobody@example.test", "a\x00b", "tia@example.test"} {
				for _, password := range []string{passphrase, "wrong", "\x00"} {
					say(string(door)+" "+login, signIns[door](login, password))
				}
			}
		}
		export, err := h.Worlds.Export(t.Context())
		must(t, err)
		said[i] = append(said[i], passwordHash.ReplaceAllString(string(export), "{hash}")) // applying a world hashes in parallel, so salts vary; seals are random
		for _, e := range h.events(t, 0) {
			e.Seq, e.RequestID = 0, ""
			said[i] = append(said[i], fmt.Sprintf("%+v", e))
		}
	}
	if len(said[0]) != len(said[1]) {
		t.Errorf("SQLite said %d things, PostgreSQL %d", len(said[0]), len(said[1]))
	}
	for i := range min(len(said[0]), len(said[1])) {
		if said[0][i] != said[1][i] {
			same := 0 // where they part
			for same < min(len(said[0][i]), len(said[1][i])) && said[0][i][same] == said[1][i][same] {
				same++
			}
			from := max(0, same-300)
			t.Fatalf("SQLite:\n…%.600s\nPostgreSQL:\n…%.600s", said[0][i][from:], said[1][i][from:])
		}
	}
	if len(said[0]) < 400 {
		t.Errorf("only %d things were said", len(said[0]))
	}
}

var (
	signedToken  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)
	hashOfData   = regexp.MustCompile(`"hash":"[0-9a-f]{40}","data"`)
	passwordHash = regexp.MustCompile(`\$argon2id\$\S+|totp_sealed: \S+`)
	keyMaterial  = regexp.MustCompile(`"(x|y|n)":"[^"]+"`)
)
