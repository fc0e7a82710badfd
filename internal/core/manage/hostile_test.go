package manage_test

import (
	"errors"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A client and a person never have one id: in a client's own token the id stands where a person's does.
func TestNoClientPassesForAPerson(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		ada := h.create(manage.NewSubject{Email: "ada@example.test"})
		_, _, err := h.CreateClient(ctx, operator, manage.NewClient{ID: identity.ClientID(ada.ID)})
		if !errors.Is(err, identity.Conflict) {
			t.Errorf("a client with a person's id: %v, want %v", err, identity.Conflict)
		}
		const id = "01a0c000-0000-7000-8000-000000000001"
		if _, _, err := h.CreateClient(ctx, operator, manage.NewClient{ID: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Create(ctx, operator, manage.NewSubject{ID: id, Email: "bob@example.test"}); !errors.Is(err, identity.Conflict) {
			t.Errorf("a person with a client's id: %v, want %v", err, identity.Conflict)
		}
	})
}

// However many sessions she has in an organisation, none outlives her membership.
func TestLeavingEndsEverySession(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		ada := h.create(manage.NewSubject{Email: "ada@example.test"})
		acme, err := h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Key: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		membership, err := h.SaveMembership(ctx, operator, identity.Membership{SubjectID: ada.ID, OrganisationID: acme.ID})
		if err != nil {
			t.Fatal(err)
		}
		h.core.Update(func(tx identity.Tx) error {
			for range 1100 {
				if _, err := h.core.Sessions.Begin(ctx, tx, session.Start{
					Caller: coretest.Caller(coretest.Door), Subject: ada, OrganisationID: acme.ID,
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err := h.RemoveMembership(ctx, operator, ada.ID, membership.ID); err != nil {
			t.Fatal(err)
		}
		h.core.View(func(r identity.Reader) error {
			alive, err := r.SessionsOf(ctx, ada.ID)
			if len(alive) > 0 {
				t.Errorf("%d sessions and more go on", len(alive))
			}
			return err
		})
	})
}
