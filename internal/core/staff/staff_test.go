package staff_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// house is a core with the verbs of this package.
type house struct {
	*coretest.Core
	*staff.Service
	t testing.TB
}

func newHouse(t testing.TB, store identity.Store) *house {
	t.Helper()
	c := coretest.New(t, store)
	c.Passwords.Rand = c.SignIn.Rand // ids of one kind come from one source, or two would be equal
	h := &house{Core: c, t: t, Service: &staff.Service{
		Store: store, Passwords: c.Passwords, Now: c.Clock.Now, Words: words,
		Manage: &manage.Service{
			Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.Passwords.Log, Box: c.Box, Now: c.Clock.Now, Rand: c.SignIn.Rand,
		},
		Profiles: &profile.Service{Store: store, Policies: c.Policies, Now: c.Clock.Now},
		Offers:   func(k identity.CredentialKind) bool { return k == identity.EmailCode },
	}}
	h.Recovery = &recovery.Service{
		Store: store, Passwords: c.Passwords, Manage: h.Manage, Links: c.Links, Mailer: c.Outbox, Log: c.Passwords.Log, Now: c.Clock.Now, Rand: c.SignIn.Rand,
	}
	store.OnCommit(h.Changed)
	return h
}

// words keeps Facts as they are.
var words = staff.Words{
	Door: coretest.Door,
	Read: func(s *identity.Subject) (f staff.Facts) {
		_ = json.Unmarshal(s.Attributes[coretest.Door], &f) // nothing there: no facts
		return f
	},
	Patch: func(f staff.Facts) []byte {
		text, err := json.Marshal(f)
		if err != nil {
			panic(err) // texts and times marshal
		}
		return text
	},
}

func (h *house) person(role staff.Role) identity.Subject {
	h.t.Helper()
	return h.Person(func(s *identity.Subject, _ *identity.Credential) {
		s.Superadmin = role == staff.Root
		s.Attributes = identity.Attributes{coretest.Door: words.Patch(staff.Facts{Role: role})}
	})
}

func by(s identity.Subject) staff.By {
	c := coretest.Caller(coretest.Door)
	c.SubjectID, c.ActorID, c.SessionID = s.ID, s.ID, "a session of hers"
	return staff.By{Caller: c}
}

func ptr[T any](v T) *T { return &v }

func TestEveryActAndRoleHasItsRule(t *testing.T) {
	for _, act := range staff.Acts() {
		if err := staff.May(staff.Root, act, staff.Root, false); err != nil {
			t.Errorf("act %d: a root may not: %v", act, err)
		}
		if err := staff.May("emperor", act, staff.Subscriber, false); !errors.Is(err, identity.Denied) {
			t.Errorf("act %d: a role that nobody has may: %v", act, err)
		}
		may := slices.Contains([]staff.Act{staff.Read, staff.List, staff.SendMessages, staff.Inspect, staff.SeeSecrets}, act)
		if (staff.May(staff.Peer, act, staff.CSR, false) == nil) != may {
			t.Errorf("act %d: another service: %v", act, may)
		}
	}
	if err := staff.May(staff.Root, staff.Act(99), staff.CSR, false); !errors.Is(err, identity.Denied) {
		t.Errorf("an act that is none: %v", err)
	}
}

// Whatever roots do to each other at once, one stays.
func TestLastRoot(t *testing.T) {
	acts := map[string]func(h *house, b staff.By, id identity.SubjectID) error{
		"delete": func(h *house, b staff.By, id identity.SubjectID) error { return h.Delete(h.t.Context(), b, "", id) },
		"demote": func(h *house, b staff.By, id identity.SubjectID) error {
			_, err := h.Change(h.t.Context(), b, id, staff.Change{Role: ptr("admin")})
			return err
		},
		"suspend": func(h *house, b staff.By, id identity.SubjectID) error {
			_, err := h.Change(h.t.Context(), b, id, staff.Change{Suspended: ptr(true)})
			return err
		},
		"blacklist": func(h *house, b staff.By, id identity.SubjectID) error {
			_, err := h.Change(h.t.Context(), b, id, staff.Change{BlackListed: ptr(true)})
			return err
		},
		"ask to confirm": func(h *house, b staff.By, id identity.SubjectID) error {
			_, err := h.Change(h.t.Context(), b, id, staff.Change{Check: recovery.Link{TTL: time.Hour, Address: func(identity.Secret) string { return "" }}})
			return err
		},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for name, act := range acts {
			roots := []identity.Subject{h.person(staff.Root), h.person(staff.Root)}
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					err := act(h, by(roots[i%2]), roots[1-i%2].ID)
					if k := identity.KindOf(err); err != nil && !slices.Contains([]identity.Kind{identity.Denied, identity.TokenRevoked, identity.NotFound, identity.Throttled}, k) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			left := h.activeRoots()
			if len(left) != 1 {
				t.Fatalf("%s: %d active roots", name, len(left))
			}
			// Nor does she do it to herself.
			if err := act(h, by(left[0]), left[0].ID); !errors.Is(err, identity.Denied) {
				t.Errorf("%s herself: %v", name, err)
			}
			other := h.person(staff.Root)
			if err := h.Delete(t.Context(), by(other), "", left[0].ID); err != nil {
				t.Fatal(err)
			}
			h.Update(func(tx identity.Tx) error { return tx.DeleteSubject(t.Context(), other.ID) }) // the next row starts from none
		}
	})
}

func (h *house) activeRoots() (roots []identity.Subject) {
	h.t.Helper()
	h.View(func(r identity.Reader) error {
		all, err := r.Subjects(h.t.Context(), identity.SubjectFilter{Limit: 1000})
		for _, s := range all {
			if s.Superadmin && s.Active() {
				roots = append(roots, s)
			}
		}
		return err
	})
	return roots
}

// A page never skips or repeats anybody, whoever came and went before it.
func TestPages(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		chief := h.person(staff.Admin)
		var ids []identity.SubjectID
		add := func(id identity.SubjectID, kind identity.SubjectKind) {
			h.Update(func(tx identity.Tx) error {
				_, err := h.Manage.CreateIn(t.Context(), tx, identity.Caller{Door: "cli"}, manage.NewSubject{
					ID: id, Kind: kind, Email: fmt.Sprintf("%s@example.test", id), PasswordHash: "",
				})
				return err
			})
			if kind == identity.Person {
				ids = append(ids, id)
			}
		}
		name := func(n int) identity.SubjectID {
			return identity.SubjectID(fmt.Sprintf("00000000-0000-7000-8000-%012d", n*10))
		}
		h.Update(func(tx identity.Tx) error { // in one go: a thousand are made
			for n := range 1300 {
				s := identity.Subject{ID: name(n), Kind: identity.Person, Email: "x", CreatedAt: coretest.Start, UpdatedAt: coretest.Start}
				if err := tx.CreateSubject(t.Context(), &s); err != nil {
					return err
				}
				ids = append(ids, s.ID)
			}
			return nil
		})
		ids = append(ids, chief.ID)
		look := func(what string) {
			t.Helper()
			slices.Sort(ids)
			for _, offset := range []int{0, 1, 499, 500, 501, 999, 1000, 1250, len(ids) - 1, len(ids), len(ids) + 1, 1 << 40} {
				got, err := h.List(t.Context(), by(chief), staff.Query{Offset: offset, Limit: 7})
				if err != nil {
					t.Fatal(err)
				}
				want := ids[min(offset, len(ids)):min(offset+7, len(ids))]
				if !slices.EqualFunc(got, want, func(p profile.Profile, id identity.SubjectID) bool { return p.Subject.ID == id }) {
					t.Errorf("%s, offset %d: %d people, want %v", what, offset, len(got), want)
				}
			}
		}
		look("at first")
		look("again")
		between := func(n int) identity.SubjectID {
			return identity.SubjectID(fmt.Sprintf("00000000-0000-7000-8000-%012d", n*10+5))
		}
		add(between(250), identity.Customer)
		look("with a customer among them")
		remove := func(id identity.SubjectID) {
			t.Helper()
			if err := h.Delete(t.Context(), by(chief), "", id); err != nil {
				t.Fatal(err)
			}
			ids = slices.DeleteFunc(ids, func(other identity.SubjectID) bool { return other == id })
		}
		for n := range 8 {
			add(between(100*n), identity.Person)
			look(fmt.Sprintf("one more after %d", 100*n))
		}
		for _, at := range []int{0, 499, 500, 998, 1200} {
			remove(ids[at])
			look(fmt.Sprintf("without the one at %d", at))
		}
		last := h.person(staff.CSR) // made behind the house's back, as the feed of another node would find her
		h.Changed([]identity.Change{{Kind: identity.PopulationChanged, ID: string(last.ID)}})
		ids = append(ids, last.ID)
		look("with one from elsewhere")
		h.Changed([]identity.Change{{Kind: identity.EverythingChanged}})
		look("with all forgotten")
	})
}

// What was found in a snapshot from before a change is not kept after it.
func TestLandmarksOfAnOldSnapshot(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	chief := h.person(staff.Root)
	var people []identity.Subject
	h.Update(func(tx identity.Tx) error {
		for n := range 1100 {
			s := identity.Subject{ID: identity.SubjectID(fmt.Sprintf("00000000-0000-7000-8000-%012d", n)), Kind: identity.Person, Email: "x", CreatedAt: coretest.Start, UpdatedAt: coretest.Start}
			if err := tx.CreateSubject(t.Context(), &s); err != nil {
				return err
			}
			people = append(people, s)
		}
		return nil
	})
	page := func() identity.SubjectID {
		t.Helper()
		got, err := h.List(t.Context(), by(chief), staff.Query{Offset: 1000, Limit: 1})
		if err != nil || len(got) != 1 {
			t.Fatalf("%d people, %v", len(got), err)
		}
		return got[0].Subject.ID
	}
	for n := range 20 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _, _ = h.List(t.Context(), by(chief), staff.Query{Offset: 1000, Limit: 1}) })
		}
		if err := h.Delete(t.Context(), by(chief), "", people[n].ID); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got, want := page(), people[1000+n+1].ID; got != want {
			t.Fatalf("after %d were deleted: %s, want %s", n+1, got, want)
		}
	}
}
