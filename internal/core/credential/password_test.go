package credential_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// house is the core with a policy that the test chooses.
type house struct {
	*coretest.Core
	t *testing.T
}

func build(t *testing.T, store identity.Store, rule identity.PasswordRule) *house {
	t.Helper()
	h := &house{Core: coretest.New(t, store), t: t}
	h.Passwords.Rand = h.SignIn.Rand // ids of one kind come from one source, or two would be equal
	h.Update(func(tx identity.Tx) error {
		p := identity.Policy{ID: "018f0000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, Password: rule, SecondFactor: identity.FactorOptional}
		if err := tx.SavePolicy(t.Context(), p); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), h.Clock.Now())
	})
	return h
}

func (h *house) load(s identity.Subject) credential.Context {
	h.t.Helper()
	var c credential.Context
	h.View(func(r identity.Reader) (err error) {
		c, err = h.Passwords.Load(h.t.Context(), r, s)
		return err
	})
	return c
}

// change is what every verb does that sets a password.
func (h *house) change(s identity.Subject, pw identity.Secret) error {
	c := h.load(s)
	hash, err := h.Passwords.Prepare(h.t.Context(), c, coretest.Door, pw)
	if err != nil {
		return err
	}
	return h.set(credential.Change{SubjectID: s.ID, Hash: hash, Based: c.Current})
}

func (h *house) set(c credential.Change) error {
	c.Caller, c.Reason = coretest.Caller(coretest.Door), "test"
	return h.Store.Update(h.t.Context(), func(tx identity.Tx) error { return h.Passwords.SetIn(h.t.Context(), tx, c) })
}

func (h *house) signIn(s identity.Subject, pw identity.Secret) (identity.Session, error) {
	out, err := h.SignIn.Password(h.t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: pw})
	return out.Session, err
}

func phrase(n int) identity.Secret {
	return identity.Secret(fmt.Sprintf("a quiet meadow with %d bells", n))
}

func TestRememberedPasswords(t *testing.T) {
	tests := []struct {
		history int
		refused []int // of phrases 1 to 5, set one after another; 5 is the present one
	}{
		{0, nil},
		{1, []int{5}},
		{3, []int{5, 4, 3}},
		{24, []int{5, 4, 3, 2, 1}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{MinLength: 8})
		s := h.Person()
		for n := 1; n <= 5; n++ {
			if err := h.change(s, phrase(n)); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range tests {
			c := h.load(s)
			c.Policy.Password.History = tt.history
			for n := 1; n <= 5; n++ {
				var want error
				if slices.Contains(tt.refused, n) {
					want = identity.PasswordReused
				}
				if _, err := h.Passwords.Prepare(t.Context(), c, coretest.Door, phrase(n)); !errors.Is(err, want) {
					t.Errorf("history %d, phrase %d: %v, want %v", tt.history, n, err, want)
				}
			}
			if _, err := h.Passwords.Prepare(t.Context(), c, coretest.Door, phrase(6)); err != nil {
				t.Errorf("history %d, a new one: %v", tt.history, err)
			}
		}
	})
}

// The policy may turn to a longer history later, so as many are kept as any policy may ask for, and no more.
func TestFullHistoryDropsTheOldest(t *testing.T) {
	const kept = 24
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{MinLength: 8})
		s := h.Person()
		first := h.load(s).Current.Hash
		for n := range kept + 2 {
			h.Clock.Advance(time.Hour)
			if err := h.set(credential.Change{SubjectID: s.ID, Hash: fmt.Sprintf("hash %d", n), Based: h.load(s).Current}); err != nil {
				t.Fatal(err)
			}
			if n == kept-1 && h.load(s).Current.Previous[kept-1] != first {
				t.Errorf("the first one is gone after %d changes", n+1)
			}
		}
		c := h.load(s).Current
		if len(c.Previous) != kept || c.Hash != "hash 25" || c.Previous[0] != "hash 24" || c.Previous[kept-1] != "hash 1" {
			t.Errorf("%d kept: %q, %v", len(c.Previous), c.Hash, c.Previous)
		}
		if !c.UpdatedAt.Equal(h.Clock.Now()) || c.Version != kept+3 {
			t.Errorf("set at %v as version %d", c.UpdatedAt, c.Version)
		}
	})
}

func TestRuleOfPolicyAndDoor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{MinLength: 10, History: 2})
		h.Passwords.DoorRule = map[identity.Door]identity.PasswordRule{coretest.Lax: {MinLength: 8, Classes: 4, History: 1}}
		c := h.load(h.Person())
		if got, want := h.Passwords.Rule(c, coretest.Door), (identity.PasswordRule{MinLength: 10, History: 2}); got != want {
			t.Errorf("at a door without a rule: %+v, want %+v", got, want)
		}
		if got, want := h.Passwords.Rule(c, coretest.Lax), (identity.PasswordRule{MinLength: 10, Classes: 4, History: 2}); got != want {
			t.Errorf("at a door with one: %+v, want %+v", got, want)
		}
		tests := []struct {
			name string
			door identity.Door
			pw   identity.Secret
			want error
		}{
			{"the policy's length", coretest.Door, "9bellring", identity.WeakPassword},
			{"long enough", coretest.Door, "10bellring", nil},
			{"the policy's length at the other door", coretest.Lax, "9Bellrin!", identity.WeakPassword},
			{"the door's classes", coretest.Lax, "10bellring", identity.WeakPassword},
			{"both", coretest.Lax, "10Bellring!", nil},
			{"the present one, though the door's rule would take it", coretest.Door, coretest.Password, identity.PasswordReused},
			{"empty", coretest.Door, "", identity.WeakPassword},
			{"too long to be hashed", coretest.Door, identity.Secret(strings.Repeat("quiet meadow ", 100)), identity.WeakPassword},
			{"not text", coretest.Door, "\xff\xfe quiet meadow", identity.WeakPassword},
			{"her own name", coretest.Door, "person at the meadow", identity.WeakPassword},
		}
		for _, tt := range tests {
			hash, err := h.Passwords.Prepare(t.Context(), c, tt.door, tt.pw)
			if !errors.Is(err, tt.want) || (err == nil) != strings.HasPrefix(hash, "$argon2id$") {
				t.Errorf("%s: %.10q, %v, want %v", tt.name, hash, err, tt.want)
			}
		}
	})
}

// Whoever read the same password as another may not overwrite what the other set.
func TestTwoChangesAtOnceHaveOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{})
		withPassword, without := h.Person(), h.Person()
		h.Update(func(tx identity.Tx) error { return tx.DeleteCredential(t.Context(), h.load(without).Current.ID) })
		for _, s := range []identity.Subject{withPassword, without} {
			based := h.load(s).Current
			if (based == nil) != (s.ID == without.ID) {
				t.Fatalf("current is %+v", based)
			}
			var all sync.WaitGroup
			var won atomic.Value
			var winners atomic.Int32
			for n := range 16 {
				all.Go(func() {
					hash := fmt.Sprintf("hash %d", n)
					err := h.set(credential.Change{SubjectID: s.ID, Hash: hash, Based: based})
					if err == nil {
						winners.Add(1)
						won.Store(hash)
					} else if !errors.Is(err, identity.Conflict) {
						t.Errorf("lost with %v, want %v", err, identity.Conflict)
					}
				})
			}
			all.Wait()
			c := h.load(s).Current
			if winners.Load() != 1 || c == nil || c.Hash != won.Load() || based != nil && (c.Version != based.Version+1 || !slices.Equal(c.Previous, []string{based.Hash})) {
				t.Errorf("%d winners, %v the last; stands %+v", winners.Load(), won.Load(), c)
			}
		}
	})
}

func TestMustChange(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{History: 1})
		s := h.Person()
		hash, err := h.Passwords.Prepare(t.Context(), h.load(s), coretest.Door, phrase(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.set(credential.Change{SubjectID: s.ID, Hash: hash, Based: h.load(s).Current, MustChange: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.signIn(s, phrase(1)); !errors.Is(err, identity.PasswordDue) {
			t.Errorf("with the one that was set for her: %v, want %v", err, identity.PasswordDue)
		}
		if err := h.change(s, phrase(1)); !errors.Is(err, identity.PasswordReused) {
			t.Errorf("keeping it: %v, want %v", err, identity.PasswordReused)
		}
		if err := h.change(s, phrase(2)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.signIn(s, phrase(2)); err != nil {
			t.Errorf("with her own: %v", err)
		}
	})
}

func TestANewPasswordEndsWhatTheOldOneOpened(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{})
		s, other := h.Person(), h.Person()
		var sessions []identity.Session
		for _, who := range []identity.Subject{s, s, s, other} {
			begun, err := h.signIn(who, coretest.Password)
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, begun)
		}
		ticket := func(n byte, id identity.SubjectID, purpose string) identity.TicketID {
			row := identity.Ticket{
				ID: identity.TicketID(fmt.Sprintf("018f0000-0000-7000-8000-00000000000%d", n)), Hash: []byte{n}, Purpose: purpose, SubjectID: id,
				TriesLeft: 1, CreatedAt: h.Clock.Now(), ExpiresAt: h.Clock.Now().Add(time.Hour),
			}
			h.Update(func(tx identity.Tx) error { return tx.CreateTicket(t.Context(), row) })
			return row.ID
		}
		tickets := []identity.TicketID{
			ticket(1, s.ID, credential.ResetTicket), ticket(2, s.ID, "verification"), ticket(3, other.ID, credential.ResetTicket), ticket(4, "", credential.ResetTicket),
		}
		if err := h.set(credential.Change{SubjectID: s.ID, Hash: "new", Based: h.load(s).Current, KeepSession: sessions[1].ID}); err != nil {
			t.Fatal(err)
		}
		for i, alive := range []bool{false, true, false, true} {
			_, err := h.Sessions.Check(t.Context(), coretest.Form(coretest.Door), h.Sessions.Opaque(sessions[i], identity.AccessToken), identity.AccessToken)
			if (err == nil) != alive || err != nil && !errors.Is(err, identity.TokenRevoked) {
				t.Errorf("session %d: %v, want alive %v", i, err, alive)
			}
		}
		h.View(func(r identity.Reader) error {
			for i, alive := range []bool{false, true, true, true} {
				if _, err := r.Ticket(t.Context(), tickets[i]); (err == nil) != alive || err != nil && !errors.Is(err, identity.NotFound) {
					t.Errorf("ticket %d: %v, want alive %v", i, err, alive)
				}
			}
			set, err := r.Events(t.Context(), identity.EventFilter{Action: "password.set"})
			ended, err2 := r.Events(t.Context(), identity.EventFilter{Action: "session.end"})
			if len(set) != 1 || set[0].SubjectID != s.ID || len(ended) != 2 {
				t.Errorf("recorded %+v and %+v", set, ended)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestContextWords(t *testing.T) {
	tests := []struct {
		name string
		c    credential.Context
		want []string
	}{
		{"nothing known", credential.Context{}, []string{"gatehouse"}},
		{
			"all", credential.Context{
				Subject:       identity.Subject{Email: "ada@example.test", Name: "Ada King", GivenName: "Ada", FamilyName: "Lovelace"},
				Organisations: []identity.Organisation{{Key: "acme", Name: "ACME Ltd"}, {Key: "engines"}},
			},
			[]string{"gatehouse", "ada", "example.test", "Ada King", "Ada", "Lovelace", "acme", "ACME Ltd", "engines"},
		},
		{"a name for an address", credential.Context{Subject: identity.Subject{Email: "operator"}}, []string{"gatehouse", "operator"}},
		{"half an address", credential.Context{Subject: identity.Subject{Email: "@example.test"}}, []string{"gatehouse", "example.test"}},
	}
	for _, tt := range tests {
		if got := credential.ContextWords(tt.c); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Without a password the history is empty, and the first one is made and not changed.
func TestTheFirstPassword(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store, identity.PasswordRule{MinLength: 8, History: 5})
		s := h.Person()
		h.Update(func(tx identity.Tx) error { return tx.DeleteCredential(t.Context(), h.load(s).Current.ID) })
		if err := h.change(s, phrase(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.signIn(s, phrase(1)); err != nil {
			t.Error(err)
		}
		if c := h.load(s).Current; c.Version != 1 || len(c.Previous) != 0 {
			t.Errorf("the first one is %+v", c)
		}
	})
}
