package titan_test

import (
	"context"
	"net/http"
	"testing"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// node is a store as one of several nodes has it: it is told at once of what was committed here, and of all else by its feed.
type node struct {
	identity.Store
	at   **node // whose commit this is
	tell func([]identity.Change)
}

func (n *node) OnCommit(tell func([]identity.Change)) { n.tell = tell }

func (n *node) Update(ctx context.Context, write func(identity.Tx) error) error {
	*n.at = n
	return n.Store.Update(ctx, write)
}

// twoNodes are two houses on one store, with one clock.
func twoNodes(t *testing.T, store identity.Store) (a, b *house) {
	t.Helper()
	var at *node
	store.OnCommit(func(changes []identity.Change) {
		if at != nil && at.tell != nil {
			at.tell(changes)
		}
	})
	clock := coretest.NewClock(coretest.Start)
	random := coretest.SeededRand()
	open := func(world string) *house {
		return &house{House: apptest.New(t, apptest.Options{Store: &node{Store: store, at: &at}, Clock: clock, Rand: random, World: world})}
	}
	a = open(scene)
	b = open("")
	hear(t, a)
	return a, b
}

func hear(t *testing.T, h *house) {
	t.Helper()
	if err := h.Feed.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const miaID = "01a0a000-0000-7000-8000-000000000010"

// What a node remembers of a session that it has moved itself never outlives what another node did: guards see to what changes
// something, unheard of too, and the feed to the rest.
func TestMovedOnTwoNodes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		a, b := twoNodes(t, store)
		// moved gives a token of the session that a remembers as its hub change left it.
		moved := func(t *testing.T) string {
			t.Helper()
			token := a.post(t, "/auth/hub/1", "", bearer(a.signIn(t, "mia@nordantech.com"))).token(t)
			if got := a.post(t, "/auth/ping", "", bearer(token)); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			return token
		}
		refused := func(t *testing.T, h *house, token string, paths ...string) {
			t.Helper()
			for _, path := range paths {
				if got := h.post(t, path, "", bearer(token)); got.status != http.StatusUnauthorized {
					t.Errorf("%s: %d %s", path, got.status, got.body)
				}
			}
		}
		t.Run("moved on there", func(t *testing.T) {
			token := moved(t)
			next := b.post(t, "/auth/hub/4", "", bearer(token)).token(t)
			if got := a.post(t, "/auth/refresh", "", bearer(token)); got.status != http.StatusOK || got.token(t) != next {
				t.Errorf("a refresh with the token before, unheard: %d %s, want the same successor", got.status, got.body)
			}
			got := a.post(t, "/auth/refresh", "", bearer(next))
			if got.status != http.StatusOK || got.at(t, "data.hub.id") != float64(4) {
				t.Errorf("the successor: %d %s", got.status, got.body)
			}
			hear(t, a)
			refused(t, a, token, "/auth/ping", "/auth/refresh", "/auth/hub/1")
		})
		t.Run("signed out there", func(t *testing.T) {
			token := moved(t)
			if got := b.post(t, "/auth/invalidate", "", bearer(token)); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			refused(t, a, token, "/auth/hub/4", "/auth/refresh", "/auth/hub/invalidate", "/auth/impersonation/11")
			hear(t, a)
			refused(t, a, token, "/auth/ping")
		})
		t.Run("suspended there", func(t *testing.T) {
			token := moved(t)
			if err := b.Manage.Suspend(t.Context(), operator, miaID, "test"); err != nil {
				t.Fatal(err)
			}
			refused(t, a, token, "/auth/hub/4", "/auth/refresh")
			hear(t, a)
			refused(t, a, token, "/auth/ping")
			if err := b.Manage.Resume(t.Context(), operator, miaID); err != nil {
				t.Fatal(err)
			}
			hear(t, a)
			refused(t, a, token, "/auth/ping", "/auth/refresh")
		})
		t.Run("acting, and who acts is suspended there", func(t *testing.T) {
			acting := a.post(t, "/auth/impersonation/10", "", bearer(a.signIn(t, tina)))
			token := a.post(t, "/auth/refresh", "", bearer(acting.token(t))).token(t)
			if got := a.post(t, "/auth/ping", "", bearer(token)); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if err := b.Manage.Suspend(t.Context(), operator, tinaID, "test"); err != nil {
				t.Fatal(err)
			}
			refused(t, a, token, "/auth/refresh", "/auth/impersonation/invalidate")
			hear(t, a)
			refused(t, a, token, "/auth/ping")
		})
		t.Run("no member there any more", func(t *testing.T) { // the last: it changes who is where
			token := moved(t)
			var left identity.MembershipID
			if err := store.View(t.Context(), func(r identity.Reader) error {
				all, err := r.Memberships(t.Context(), miaID)
				for _, m := range all {
					if m.OrganisationID != nordan {
						left = m.ID
					}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := b.Manage.RemoveMembership(t.Context(), operator, miaID, left); err != nil {
				t.Fatal(err)
			}
			refused(t, a, token, "/auth/hub/4") // unheard
			hear(t, a)
			refused(t, a, token, "/auth/hub/4")
			got := a.post(t, "/auth/refresh", "", bearer(token))
			if hubs, _ := got.at(t, "data.user.hubs").([]any); got.status != http.StatusOK || len(hubs) != 1 {
				t.Errorf("%d %s, want one hub", got.status, got.body)
			}
		})
	})
}
