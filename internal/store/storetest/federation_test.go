package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

func TestIdentityProviders(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		a, b := filled[identity.IdentityProvider](t), filled[identity.IdentityProvider](t)
		a.Key, b.Key = "google", "Google" // "G" < "g": keys are compared byte by byte
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.SaveIdentityProvider(ctx, a) }, func() error { return tx.SaveIdentityProvider(ctx, b) })
		})
		all := func(r identity.Reader) ([]identity.IdentityProvider, error) { return r.IdentityProviders(ctx) }
		same(t, read(t, store, all), []identity.IdentityProvider{b, a})

		changed := filled[identity.IdentityProvider](t)
		changed.Key, changed.CreatedAt, changed.CreateAccounts, changed.Tenants, changed.Sealed = a.Key, a.CreatedAt, false, nil, nil
		update(t, store, func(tx identity.Tx) error {
			again := changed
			again.CreatedAt = epoch // stays what it was
			return tx.SaveIdentityProvider(ctx, again)
		})
		get := func(r identity.Reader) (identity.IdentityProvider, error) { return r.IdentityProvider(ctx, a.Key) }
		same(t, read(t, store, get), changed)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteIdentityProvider(ctx, a.Key) })
		absent(t, store, get)
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteIdentityProvider(ctx, a.Key) })
	})
}

func TestLinkedIdentities(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		ada, grace := subject(t, store), subject(t, store)
		a, b := filled[identity.LinkedIdentity](t), filled[identity.LinkedIdentity](t)
		a.SubjectID, b.SubjectID = ada, ada
		b.Authority, b.ExternalID = a.Authority, a.ExternalID+"x"
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.CreateLinkedIdentity(ctx, b) }, func() error { return tx.CreateLinkedIdentity(ctx, a) })
		})
		of := func(who identity.SubjectID) []identity.LinkedIdentity {
			return read(t, store, func(r identity.Reader) ([]identity.LinkedIdentity, error) { return r.LinkedIdentitiesOf(ctx, who) })
		}
		same(t, of(ada), []identity.LinkedIdentity{a, b})
		same(t, of(grace), nil)
		get := func(r identity.Reader) (identity.LinkedIdentity, error) {
			return r.LinkedIdentity(ctx, a.Authority, a.ExternalID)
		}
		same(t, read(t, store, get), a)
		for _, clash := range []func(*identity.LinkedIdentity){
			func(l *identity.LinkedIdentity) { l.Authority, l.ExternalID = a.Authority, a.ExternalID },
			func(l *identity.LinkedIdentity) { l.SubjectID = "nobody" },
		} {
			l := filled[identity.LinkedIdentity](t)
			l.SubjectID = grace
			clash(&l)
			refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateLinkedIdentity(ctx, l) })
		}
		// What two authorities call the same is two people's.
		other := filled[identity.LinkedIdentity](t)
		other.SubjectID, other.ExternalID = grace, a.ExternalID
		update(t, store, func(tx identity.Tx) error { return tx.CreateLinkedIdentity(ctx, other) })
		same(t, of(grace), []identity.LinkedIdentity{other})

		later := a.LastUseAt.Add(time.Hour)
		for _, when := range []time.Time{later, epoch} {
			update(t, store, func(tx identity.Tx) error { return tx.TouchLinkedIdentity(ctx, a.Authority, a.ExternalID, when) })
		}
		a.LastUseAt = later
		same(t, read(t, store, get), a)

		refused(t, store, identity.NotFound, func(tx identity.Tx) error {
			return tx.DeleteLinkedIdentity(ctx, grace, a.Authority, a.ExternalID)
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteLinkedIdentity(ctx, ada, a.Authority, a.ExternalID) })
		absent(t, store, get)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, ada) })
		same(t, of(ada), nil)
	})
}

// An identity that many claim at once becomes one person's.
func TestOneSubjectForAnIdentity(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		people := make([]identity.SubjectID, 16)
		for i := range people {
			people[i] = subject(t, store)
		}
		winners := race(t, len(people), func(ctx context.Context, i int) (bool, error) {
			err := store.Update(ctx, func(tx identity.Tx) error {
				return tx.CreateLinkedIdentity(ctx, identity.LinkedIdentity{Authority: "nx", ExternalID: "1", SubjectID: people[i], CreatedAt: epoch})
			})
			if errors.Is(err, identity.Conflict) {
				return false, nil
			}
			return err == nil, err
		})
		if winners != 1 {
			t.Errorf("%d people have the identity", winners)
		}
	})
}
