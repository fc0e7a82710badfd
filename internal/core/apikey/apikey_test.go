package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

type house struct {
	*coretest.Core
	keys   *apikey.Service
	manage *manage.Service
}

func newHouse(t testing.TB, store identity.Store) *house {
	c := coretest.New(t, store)
	return &house{Core: c, keys: &apikey.Service{
		Store: store, Log: c.SignIn.Log, Policies: c.Policies, Limits: apikey.Limits{Failures: 5, Window: 15 * time.Minute}, Now: c.Clock.Now, Rand: coretest.SeededRand(),
	}, manage: &manage.Service{
		Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.SignIn.Log, Box: c.Box, Now: c.Clock.Now, Rand: coretest.SeededRand(),
	}}
}

// at is somebody at a session of hers.
func at(s identity.Subject) *session.Live {
	return &session.Live{Session: identity.Session{ID: "a session", SubjectID: s.ID}, Subject: s}
}

var caller = coretest.Caller(coretest.Door)

func (h *house) key(t testing.TB, of identity.Subject, name string) (identity.APIKey, identity.Secret) {
	t.Helper()
	k, raw, err := h.keys.Create(t.Context(), caller, at(of), apikey.New{Owner: of.ID, Name: name, ExpiresAt: h.Clock.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return k, raw
}

func (h *house) check(raw identity.Secret) error {
	_, err := h.keys.Check(context.Background(), caller, raw.Reveal())
	return err
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// A key opens nothing from where, or when, its owner may not sign in; another service may still ask whose it is.
func TestPolicyHoldsForKeys(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada, bob := h.Person(), h.Person()
		_, hers := h.key(t, ada, "hers")
		_, his := h.key(t, bob, "his")
		p, err := h.manage.SavePolicy(t.Context(), caller, identity.Policy{Key: "office", Networks: [][]string{{"198.51.100.0/24"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.manage.Update(t.Context(), caller, ada.ID, manage.Change{PolicyID: &p.ID}); err != nil {
			t.Fatal(err)
		}
		wants(t, "from elsewhere", h.check(hers), identity.Restricted)
		wants(t, "her neighbour", h.check(his), nil)
		_, err = h.keys.Inspect(t.Context(), hers.Reveal())
		wants(t, "inspected", err, nil)
		inside := caller
		inside.Address = "198.51.100.7"
		_, err = h.keys.Check(t.Context(), inside, hers.Reveal())
		wants(t, "from the office", err, nil)
	})
}

func TestLife(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		h := newHouse(t, store)
		ada, ends := h.Person(), h.Clock.Now().Add(time.Hour)
		in := apikey.New{Owner: ada.ID, Name: "Backup7", Description: "nightly\nexport", ExpiresAt: ends, Rights: []apikey.Right{{Service: "owgw", Access: "read"}}}
		k, raw, err := h.keys.Create(ctx, caller, at(ada), in)
		if err != nil || k.Name != "backup7" || len(raw.Reveal()) != 64 || !apikey.Looks(raw.Reveal()) {
			t.Fatalf("Create = %+v, %v", k, err)
		}
		held, err := h.keys.Check(ctx, caller, raw.Reveal())
		if err != nil || held.Subject.ID != ada.ID || held.Key.ID != k.ID {
			t.Fatalf("Check = %+v, %v", held, err)
		}
		list, err := h.keys.List(ctx, caller, at(ada), ada.ID)
		if err != nil || len(list) != 1 || strings.Contains(fmt.Sprintf("%x", list[0].Hash), raw.Reveal()) {
			t.Fatalf("List = %+v, %v", list, err)
		}
		if rights, err := apikey.RightsOf(list[0]); err != nil || len(rights) != 1 || rights[0] != in.Rights[0] {
			t.Errorf("rights %v, %v", rights, err)
		}
		k, err = h.keys.Describe(ctx, caller, at(ada), ada.ID, k.ID, "weekly")
		if err != nil || k.Description != "weekly" || k.Name != "backup7" || !k.ExpiresAt.Equal(ends) {
			t.Errorf("Describe = %+v, %v", k, err)
		}
		wants(t, "after Describe", h.check(raw), nil)

		must(t, h.manage.Suspend(ctx, caller, ada.ID, ""))
		wants(t, "suspended", h.check(raw), identity.Suspended)
		must(t, h.manage.Resume(ctx, caller, ada.ID))
		wants(t, "resumed", h.check(raw), nil)

		h.Clock.Advance(time.Hour)
		wants(t, "at its end", h.check(raw), identity.TokenExpired)
		h.Clock.Advance(-time.Second)
		wants(t, "before its end", h.check(raw), nil)

		must(t, h.keys.Delete(ctx, caller, at(ada), ada.ID, k.ID))
		wants(t, "deleted", h.check(raw), identity.TokenInvalid)
		wants(t, "deleted again", h.keys.Delete(ctx, caller, at(ada), ada.ID, k.ID), identity.NotFound)

		h.Clock.Advance(-time.Minute)
		_, raw = h.key(t, ada, "other")
		must(t, h.manage.Delete(ctx, caller, ada.ID))
		wants(t, "with a deleted subject", h.check(raw), identity.TokenInvalid)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	ada := h.Person()
	h.key(t, ada, "there")
	soon := h.Clock.Now().Add(time.Minute)
	for name, tt := range map[string]struct {
		in   apikey.New
		want error
	}{
		"no name":           {apikey.New{ExpiresAt: soon}, apikey.ErrName},
		"a dash":            {apikey.New{Name: "a-b", ExpiresAt: soon}, apikey.ErrName},
		"a letter of ours":  {apikey.New{Name: "ä", ExpiresAt: soon}, apikey.ErrName},
		"the Kelvin sign":   {apikey.New{Name: "\u212a", ExpiresAt: soon}, apikey.ErrName},
		"long name":         {apikey.New{Name: strings.Repeat("a", 65), ExpiresAt: soon}, apikey.ErrName},
		"taken":             {apikey.New{Name: "THERE", ExpiresAt: soon}, apikey.ErrTaken},
		"no end":            {apikey.New{Name: "a"}, apikey.ErrEnd},
		"ends now":          {apikey.New{Name: "a", ExpiresAt: h.Clock.Now()}, apikey.ErrEnd},
		"ends too late":     {apikey.New{Name: "a", ExpiresAt: h.Clock.Now().AddDate(101, 0, 0)}, apikey.ErrEnd},
		"long description":  {apikey.New{Name: "a", ExpiresAt: soon, Description: strings.Repeat("x", 501)}, identity.Invalid},
		"control character": {apikey.New{Name: "a", ExpiresAt: soon, Description: "\x1b[31m"}, identity.Invalid},
		"unknown access":    {apikey.New{Name: "a", ExpiresAt: soon, Rights: []apikey.Right{{Service: "x", Access: "own"}}}, identity.Invalid},
		"no service":        {apikey.New{Name: "a", ExpiresAt: soon, Rights: []apikey.Right{{Access: "read"}}}, identity.Invalid},
		"many rights":       {apikey.New{Name: "a", ExpiresAt: soon, Rights: make([]apikey.Right, 101)}, identity.Invalid},
	} {
		tt.in.Owner = ada.ID
		_, raw, err := h.keys.Create(t.Context(), caller, at(ada), tt.in)
		wants(t, name, err, tt.want)
		if raw != "" {
			t.Errorf("%s: a key", name)
		}
	}
}

// A person her own, a superadmin everybody's; and neither a key nor somebody who acts as her.
func TestWhoMay(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	ada, eve := h.Person(), h.Person()
	ruler := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.Superadmin = true })
	k, _ := h.key(t, ada, "hers")
	acting := at(ada)
	acting.Session.ActorID = ruler.ID
	gone := at(identity.Subject{ID: "gone"})
	for name, tt := range map[string]struct {
		by    *session.Live
		owner identity.SubjectID
		want  error
	}{
		"herself": {at(ada), ada.ID, nil}, "a superadmin": {at(ruler), ada.ID, nil}, "another": {at(eve), ada.ID, identity.Denied},
		"another, of nobody": {at(eve), "nobody", identity.Denied}, "a superadmin, of nobody": {at(ruler), "nobody", identity.NotFound},
		"with a key": {&session.Live{Subject: ada}, ada.ID, identity.Denied}, "acting as her": {acting, ada.ID, identity.Denied},
		"her key as if another's": {at(eve), eve.ID, identity.NotFound}, "somebody who is gone": {gone, ada.ID, identity.TokenRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.want != identity.NotFound || tt.owner == "nobody" {
				_, err := h.keys.List(t.Context(), caller, tt.by, tt.owner)
				wants(t, "List", err, tt.want)
				made, _, err := h.keys.Create(t.Context(), caller, tt.by, apikey.New{Owner: tt.owner, Name: "made", ExpiresAt: h.Clock.Now().Add(time.Hour)})
				wants(t, "Create", err, tt.want)
				_, _, err = h.keys.Create(t.Context(), caller, tt.by, apikey.New{Owner: tt.owner})
				wants(t, "Create by halves", err, map[bool]error{true: apikey.ErrName, false: tt.want}[tt.want == nil])
				if err := h.keys.Delete(t.Context(), caller, tt.by, tt.owner, made.ID); tt.want == nil {
					wants(t, "Delete", err, nil)
				}
			}
			_, err := h.keys.Describe(t.Context(), caller, tt.by, tt.owner, k.ID, "x")
			wants(t, "Describe", err, tt.want)
			if tt.want != nil {
				wants(t, "Delete", h.keys.Delete(t.Context(), caller, tt.by, tt.owner, k.ID), tt.want)
			}
		})
	}
}

// Sixteen at once: no more than ten in all, and of one name one.
func TestTenAtMost(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for _, name := range []string{"key%d", "same"} {
			ada := h.Person()
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					name := name
					if strings.Contains(name, "%") {
						name = fmt.Sprintf(name, i)
					}
					_, _, err := h.keys.Create(context.Background(), caller, at(ada), apikey.New{Owner: ada.ID, Name: name, ExpiresAt: h.Clock.Now().Add(time.Hour)})
					if err != nil && !errors.Is(err, apikey.ErrTooMany) && !errors.Is(err, apikey.ErrTaken) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			list, err := h.keys.List(t.Context(), caller, at(ada), ada.ID)
			if want := map[bool]int{true: apikey.MaxKeys, false: 1}[name != "same"]; err != nil || len(list) != want {
				t.Errorf("%s: %d keys, %v; want %d", name, len(list), err, want)
			}
		}
	})
}

// Unknown keys are counted by network, apart from failed sign-ins; what is no key at all, or was one, is not.
func TestGuessing(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person()
		_, old := h.key(t, ada, "b")
		for range 20 {
			wants(t, "malformed", h.check("x"), identity.TokenInvalid)
			wants(t, "none", h.check(""), identity.TokenMissing)
		}
		h.Clock.Advance(time.Hour)
		for range 20 {
			wants(t, "expired", h.check(old), identity.TokenExpired)
		}
		_, raw := h.key(t, ada, "c")
		for i := range 5 {
			wants(t, "unknown", h.check(identity.Secret(fmt.Sprintf("%064d", i))), identity.TokenInvalid)
		}
		wants(t, "good, after five", h.check(raw), identity.Locked)
		if _, err := h.keys.Inspect(t.Context(), raw.Reveal()); err != nil {
			t.Errorf("shown by a service: %v", err)
		}
		other := caller
		other.Address = "198.51.100.1"
		if _, err := h.keys.Check(t.Context(), other, raw.Reveal()); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		h.Clock.Advance(15 * time.Minute)
		wants(t, "good, after the window", h.check(raw), nil)
		rows := 0
		h.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{Limit: 100})
			for _, e := range events {
				if e.Action == "apikey.use" && e.Outcome == "token invalid" {
					rows++
				}
			}
			return err
		})
		if rows != 5 {
			t.Errorf("%d rows of refused keys, want 5", rows)
		}
	})
}

// A use is shown at once and written later, at most once a minute.
func TestLastUse(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person()
		k, raw := h.key(t, ada, "a")
		stored := func() (at time.Time) {
			h.View(func(r identity.Reader) error {
				row, err := r.APIKey(t.Context(), k.ID)
				at = row.LastUseAt
				return err
			})
			return at
		}
		first := h.Clock.Now()
		wants(t, "first", h.check(raw), nil)
		if list, err := h.keys.List(t.Context(), caller, at(ada), ada.ID); err != nil || !list[0].LastUseAt.Equal(first) {
			t.Errorf("shown %v, %v", list, err)
		}
		if at := stored(); !at.IsZero() {
			t.Errorf("written at once: %v", at)
		}
		h.keys.Flush(t.Context())
		if at := stored(); !at.Equal(first) {
			t.Errorf("written %v, want %v", at, first)
		}
		h.Clock.Advance(59 * time.Second)
		wants(t, "soon", h.check(raw), nil)
		h.keys.Flush(t.Context())
		if at := stored(); !at.Equal(first) {
			t.Errorf("written again after less than a minute: %v", at)
		}
		h.Clock.Advance(time.Second)
		wants(t, "later", h.check(raw), nil)
		h.keys.Flush(t.Context())
		if at := stored(); !at.Equal(h.Clock.Now()) {
			t.Errorf("written %v, want %v", at, h.Clock.Now())
		}
	})
}
