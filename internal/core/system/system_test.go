package system_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/core/system"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
	"gatehouse/internal/store/storetest"
)

// house is the verbs on a store, with somebody of each role.
type house struct {
	*coretest.Core
	*system.Service
	people map[string]staff.By
}

func newHouse(t *testing.T, store identity.Store) *house {
	c := coretest.New(t, store)
	h := &house{Core: c, people: map[string]staff.By{}}
	h.Service = h.node()
	for _, role := range []string{"root", "partner", "admin", "csr", "system", "subscriber", "suspended"} {
		s := c.Person(func(s *identity.Subject, _ *identity.Credential) {
			s.Name, s.Superadmin = role, role == "root"
			if role == "suspended" {
				s.Superadmin, s.SuspendedAt = true, coretest.Start
			}
		})
		caller := coretest.Caller(coretest.Door)
		caller.SubjectID = s.ID
		h.people[role] = staff.By{Caller: caller}
	}
	h.people["service"] = staff.By{Caller: coretest.Caller(coretest.Door), Service: true}
	h.people["nobody"] = staff.By{Caller: coretest.Caller(coretest.Door)}
	gone := coretest.Caller(coretest.Door)
	gone.SubjectID = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a99"
	h.people["gone"] = staff.By{Caller: gone}
	return h
}

// node is one process of the house.
func (h *house) node() *system.Service {
	return &system.Service{
		Store: h.Core.Store, Log: &audit.Log{Now: h.Clock.Now, Rand: coretest.SeededRand()}, Box: h.Core.Box, Levels: logs.NewLevels(logs.Information),
		Staff: &staff.Service{Words: staff.Words{Read: func(s *identity.Subject) staff.Facts { return staff.Facts{Role: staff.Role(s.Name)} }}}, Now: h.Clock.Now,
	}
}

// rows counts what the audit log has of an action.
func (h *house) rows(action string) (n int) {
	h.View(func(r identity.Reader) error {
		list, err := r.Events(context.Background(), identity.EventFilter{Action: action, Limit: 1000})
		n = len(list)
		return err
	})
	return n
}

// Every act, tried by everybody.
func TestWhoMayDoWhat(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		peer := system.Peer{Service: identity.Service{Type: "owgw", PublicURI: "https://gw.example.com"}}
		n := 0
		for act, who := range map[string]struct {
			may string
			do  func(staff.By) error
		}{
			"set levels": {"root partner admin", func(w staff.By) error {
				n++
				return h.SetLevels(t.Context(), w, map[logs.Subsystem]logs.Level{logs.HTTP: logs.Level(n % 8)})
			}},
			"reload":  {"root partner admin", func(w staff.By) error { return h.Reload(t.Context(), w, logs.Subsystems()) }},
			"secrets": {"root service", func(w staff.By) error { _, err := h.Secrets(t.Context(), w); return err }},
			"names":   {"root service", func(w staff.By) error { return h.MayReadSecrets(t.Context(), w) }},
			"secret": {"root service", func(w staff.By) error {
				_, err := h.Secret(t.Context(), w, "k")
				if errors.Is(err, identity.NotFound) {
					return nil
				}
				return err
			}},
			"save secret":   {"root", func(w staff.By) error { return h.SaveSecret(t.Context(), w, system.Secret{Key: "a", Value: "v"}) }},
			"delete secret": {"root", func(w staff.By) error { return ignore(h.DeleteSecret(t.Context(), w, "a")) }},
			"peers":         {"root service", func(w staff.By) error { _, err := h.Peers(t.Context(), w); return err }},
			"join":          {"service", func(w staff.By) error { _, err := h.Join(t.Context(), w, peer); return err }},
			"leave":         {"service", func(w staff.By) error { return h.Leave(t.Context(), w, peer.Type, peer.PublicURI) }},
		} {
			for role, w := range h.people {
				err := who.do(w)
				want := error(identity.Denied)
				switch {
				case strings.Contains(" "+who.may+" ", " "+role+" "):
					want = nil
				case (role == "gone" || role == "suspended") && act != "join" && act != "leave":
					want = identity.TokenRevoked
				}
				if act == "leave" && role == "service" {
					want = nil
					_, _ = h.Join(t.Context(), w, peer)
					err = who.do(w)
				}
				if !errors.Is(err, want) {
					t.Errorf("%s by %s: %v, want %v", act, role, err, want)
				}
			}
		}
	})
}

func ignore(err error) error {
	if errors.Is(err, identity.NotFound) {
		return nil
	}
	return err
}

func TestLevels(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		other := h.node()
		admin := h.people["admin"]
		set := func(to map[logs.Subsystem]logs.Level) {
			t.Helper()
			if err := h.SetLevels(t.Context(), admin, to); err != nil {
				t.Fatal(err)
			}
		}
		set(map[logs.Subsystem]logs.Level{logs.HTTP: logs.Error, "no such part": logs.Trace})
		set(map[logs.Subsystem]logs.Level{logs.Audit: logs.Debug})
		set(map[logs.Subsystem]logs.Level{logs.Audit: logs.Debug}) // changes nothing
		set(map[logs.Subsystem]logs.Level{"no such part": logs.Debug})
		if n := h.rows("system.levels"); n != 2 {
			t.Errorf("%d rows of two changes", n)
		}
		if err := h.SetLevels(t.Context(), admin, map[logs.Subsystem]logs.Level{logs.HTTP: 9}); !errors.Is(err, identity.Invalid) {
			t.Errorf("a level that is none: %v", err)
		}
		check := func(s *system.Service, http, audit logs.Level) {
			t.Helper()
			if got := s.Levels.Of(logs.HTTP); got != http {
				t.Errorf("http at %d, want %d", got, http)
			}
			if got := s.Levels.Of(logs.Audit); got != audit {
				t.Errorf("audit at %d, want %d", got, audit)
			}
			if got := s.Levels.Of(logs.Keys); got != logs.Information {
				t.Errorf("keys at %d, and nobody set them", got)
			}
		}
		check(h.Service, logs.Error, logs.Debug)
		check(other, logs.Information, logs.Information)
		if err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(other, logs.Error, logs.Debug)

		// Whoever can write to the database cannot silence the log.
		h.Update(func(tx identity.Tx) error {
			return tx.SaveSetting(t.Context(), identity.Setting{Name: "log-levels", Sealed: []byte(`{"audit":0}`)})
		})
		if err := other.Refresh(t.Context()); err == nil {
			t.Error("levels that nobody sealed were taken")
		}
		check(other, logs.Error, logs.Debug)
		set(map[logs.Subsystem]logs.Level{logs.HTTP: logs.Trace}) // an administrator can
		check(h.Service, logs.Trace, logs.Information)
	})
}

// Sixteen callers at once: each part has the level that was set for it, here and in the store.
func TestLevelsInParallel(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		parts := logs.Subsystems()
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if err := h.SetLevels(t.Context(), h.people["root"], map[logs.Subsystem]logs.Level{parts[i%len(parts)]: logs.Trace}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		other := h.node()
		if err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if h.Levels.Of(part) != logs.Trace || other.Levels.Of(part) != logs.Trace {
				t.Errorf("%s: a change was lost", part)
			}
		}
		if n := h.rows("system.levels"); n != len(parts) {
			t.Errorf("%d rows, want %d", n, len(parts))
		}
	})
}

// Run reads the levels when the feed says so.
func TestRunFollows(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	other := h.node()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { other.Run(ctx); close(done) }()
	if err := h.SetLevels(ctx, h.people["root"], map[logs.Subsystem]logs.Level{logs.HTTP: logs.Trace}); err != nil {
		t.Fatal(err)
	}
	other.Changed([]identity.Change{{Kind: identity.PolicyChanged}, {Kind: identity.LevelsChanged}})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for other.Levels.Of(logs.HTTP) != logs.Trace {
		<-tick.C // the test's own end is the limit
	}
	cancel()
	<-done
}

func TestReload(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	read := map[logs.Subsystem]int{}
	h.Reloads = map[logs.Subsystem]func(context.Context) error{
		logs.HTTP: func(context.Context) error { read[logs.HTTP]++; return errors.New("not there") },
		logs.Keys: func(context.Context) error { read[logs.Keys]++; return nil },
	}
	for _, parts := range [][]logs.Subsystem{{"x", logs.Audit}, {logs.HTTP, logs.HTTP, "y"}, logs.Subsystems()} {
		if err := h.Reload(t.Context(), h.people["admin"], parts); err != nil {
			t.Error(err)
		}
	}
	if err := h.Reload(t.Context(), h.people["csr"], logs.Subsystems()); !errors.Is(err, identity.Denied) {
		t.Error(err)
	}
	if read[logs.HTTP] != 2 || read[logs.Keys] != 1 || h.rows("system.reload") != 2 {
		t.Errorf("read %v, %d rows", read, h.rows("system.reload"))
	}
}

func TestSecrets(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		root := h.people["root"]
		save := func(key string, value identity.Secret) error {
			return h.SaveSecret(t.Context(), root, system.Secret{Key: key, Value: value})
		}
		for _, s := range []system.Secret{{"maps", "one"}, {"a.b_c-9", "two"}, {"maps", "three"}, {"maps", "three"}} {
			if err := save(s.Key, s.Value); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.rows("secret.save"); n != 3 {
			t.Errorf("%d rows of three changes", n)
		}
		list, err := h.Secrets(t.Context(), h.people["service"])
		if err != nil || len(list) != 2 || list[0] != (system.Secret{Key: "a.b_c-9", Value: "two"}) || list[1].Value != "three" {
			t.Errorf("%v, %v", list, err)
		}
		for key, value := range map[string]identity.Secret{
			"": "x", ".a": "x", "a/b": "x", "a b": "x", "ä": "x", strings.Repeat("k", 101): "x", "a\x00": "x", "secret/maps": "x",
			"empty": "", "long": identity.Secret(strings.Repeat("x", 4097)), "zero": "a\x00b", "bytes": "\xff",
		} {
			if err := save(key, value); !errors.Is(err, identity.Invalid) {
				t.Errorf("%.10q: %v", key, err)
			}
		}
		if _, err := h.Secret(t.Context(), root, "none"); !errors.Is(err, identity.NotFound) {
			t.Error(err)
		}
		if err := h.DeleteSecret(t.Context(), root, "maps"); err != nil {
			t.Error(err)
		}
		if err := h.DeleteSecret(t.Context(), root, "maps"); !errors.Is(err, identity.NotFound) {
			t.Error(err)
		}
		// One row's secret serves as no other's, and none stands in the clear.
		h.Update(func(tx identity.Tx) error {
			kept, err := tx.Setting(t.Context(), "secret/a.b_c-9")
			if strings.Contains(string(kept.Sealed), "two") {
				t.Error("kept in the clear")
			}
			kept.Name = "secret/other"
			return errors.Join(err, tx.SaveSetting(t.Context(), kept))
		})
		if _, err := h.Secret(t.Context(), root, "other"); err == nil {
			t.Error("a row that was copied opens")
		}
		h.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{Limit: 100})
			for _, e := range events {
				for _, value := range []string{"one", "two", "three"} {
					if strings.Contains(string(e.Detail), `"`+value) {
						t.Errorf("in the audit log: %s", e.Detail)
					}
				}
			}
			return err
		})
	})
}

func TestSecretsAreBounded(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	var err error
	kept := 0
	for ; kept < 1000 && err == nil; kept++ {
		err = h.SaveSecret(t.Context(), h.people["root"], system.Secret{Key: fmt.Sprint("k", kept), Value: "v"})
	}
	if !errors.Is(err, identity.Conflict) || kept != 201 {
		t.Errorf("%d secrets: %v", kept, err)
	}
	if err := h.SaveSecret(t.Context(), h.people["root"], system.Secret{Key: "k7", Value: "another"}); err != nil {
		t.Errorf("what stands cannot be changed: %v", err)
	}
}

const serviceKey = "0123456789abcdef0123456789abcdef"

func gateway(uri string) system.Peer {
	return system.Peer{Service: identity.Service{Type: "OWGW", PublicURI: uri, PrivateURI: "https://gw.internal:17002"}, Key: serviceKey}
}

func TestServicesRegister(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		service := h.people["service"]
		join := func(p system.Peer) system.Peer {
			t.Helper()
			out, err := h.Join(t.Context(), service, p)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		peers := func() []system.Peer {
			t.Helper()
			list, err := h.Peers(t.Context(), service)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		first := join(gateway("https://gw.example.com:16002/"))
		if first.Type != "owgw" || first.PublicURI != "https://gw.example.com:16002" || !first.ExpiresAt.Equal(h.Clock.Now().Add(system.PeerTTL)) {
			t.Errorf("%+v", first)
		}
		h.Clock.Advance(system.PeerTTL - time.Second)
		if again := join(gateway("https://gw.example.com:16002")); again.Number != first.Number || h.rows("service.join") != 1 {
			t.Errorf("a sign of life: %+v, %d rows", again, h.rows("service.join"))
		}
		h.Clock.Advance(system.PeerTTL - time.Second)
		if list := peers(); len(list) != 1 || list[0].Key != serviceKey {
			t.Errorf("%+v", list)
		}
		changed := gateway("https://gw.example.com:16002")
		changed.Key = "another-key-0123456789"
		join(changed)
		if list := peers(); len(list) != 1 || list[0].Key != changed.Key || h.rows("service.join") != 2 {
			t.Errorf("a new key: %+v, %d rows", list, h.rows("service.join"))
		}
		changed.Key = ""
		join(changed)
		if list := peers(); list[0].Key != "" || h.rows("service.join") != 3 {
			t.Errorf("no key any more: %+v", list)
		}
		h.Clock.Advance(system.PeerTTL)
		if list := peers(); len(list) != 0 {
			t.Errorf("nobody heard of it: %+v", list)
		}
		if err := h.Leave(t.Context(), service, "owgw", changed.PublicURI); !errors.Is(err, identity.NotFound) {
			t.Errorf("leaving after the end: %v", err)
		}
		join(changed)
		if h.rows("service.join") != 4 {
			t.Error("coming back is no sign of life")
		}
		if err := h.Leave(t.Context(), service, "OWGW", changed.PublicURI+"/"); err != nil || len(peers()) != 0 || h.rows("service.leave") != 1 {
			t.Errorf("leaving: %v", err)
		}
	})
}

// What the operator described is not changed by whoever registers.
func TestDescribedServicesStand(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	service := h.people["service"]
	described := identity.Service{Type: "OWFMS", PublicURI: "https://fms.example.com"}
	h.Update(func(tx identity.Tx) error { return tx.SaveService(t.Context(), &described) })
	if _, err := h.Join(t.Context(), service, gateway("https://gw.example.com")); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"https://fms.example.com", "https://evil.example.com"} {
		in := gateway(uri)
		in.Type = "owfms"
		if _, err := h.Join(t.Context(), service, in); !errors.Is(err, identity.Conflict) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if err := h.Leave(t.Context(), service, "owfms", described.PublicURI); !errors.Is(err, identity.Conflict) {
		t.Errorf("leaving: %v", err)
	}
	list, err := h.Peers(t.Context(), service)
	if err != nil || len(list) != 2 || list[1].PublicURI != described.PublicURI {
		t.Errorf("%+v, %v: the described one is last", list, err)
	}
}

func TestBadRegistrations(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	service := h.people["service"]
	for name, change := range map[string]func(*system.Peer){
		"no type": func(p *system.Peer) { p.Type = "" }, "a type with a space": func(p *system.Peer) { p.Type = "ow gw" },
		"a long type": func(p *system.Peer) { p.Type = strings.Repeat("o", 33) }, "no address": func(p *system.Peer) { p.PublicURI = "" },
		"another scheme":      func(p *system.Peer) { p.PublicURI = "javascript:alert(1)" },
		"no host":             func(p *system.Peer) { p.PublicURI = "https:///x" },
		"a path alone":        func(p *system.Peer) { p.PublicURI = "/x" },
		"credentials":         func(p *system.Peer) { p.PublicURI = "https://a:b@gw.example.com" },
		"a query":             func(p *system.Peer) { p.PrivateURI = "https://gw.example.com?x" },
		"a fragment":          func(p *system.Peer) { p.PrivateURI = "https://gw.example.com#x" },
		"a long address":      func(p *system.Peer) { p.PublicURI = "https://gw.example.com/" + strings.Repeat("x", 500) },
		"a control character": func(p *system.Peer) { p.PublicURI = "https://gw.example.com/\n" },
		"not UTF-8":           func(p *system.Peer) { p.PublicURI = "https://gw.example.com/\xff" },
		"a short key":         func(p *system.Peer) { p.Key = "short" },
		"a key with a space":  func(p *system.Peer) { p.Key = "0123456789 abcdef" },
		"a long key":          func(p *system.Peer) { p.Key = identity.Secret(strings.Repeat("k", 257)) },
	} {
		in := gateway("https://gw.example.com")
		change(&in)
		if _, err := h.Join(t.Context(), service, in); !errors.Is(err, identity.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var err error
	joined := 0
	for ; joined < 1000 && err == nil; joined++ {
		_, err = h.Join(t.Context(), service, gateway(fmt.Sprintf("https://gw%d.example.com", joined)))
	}
	if !errors.Is(err, identity.Conflict) || joined != 101 {
		t.Errorf("%d services: %v", joined, err)
	}
	if _, err := h.Join(t.Context(), service, gateway("https://gw7.example.com")); err != nil {
		t.Errorf("a sign of life in a full house: %v", err)
	}
}

// Sixteen announcements at once are one service and one row.
func TestRegisteringAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if _, err := h.Join(t.Context(), h.people["service"], gateway("https://gw.example.com")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if list, err := h.Peers(t.Context(), h.people["service"]); err != nil || len(list) != 1 || h.rows("service.join") != 1 {
			t.Errorf("%d services, %d rows, %v", len(list), h.rows("service.join"), err)
		}
	})
}
