package policy_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// demand saves a default policy that says this of second factors, and tells of it.
func demand(t *testing.T, c *coretest.Core, tx identity.Tx, d identity.Demand) error {
	p := identity.Policy{
		ID: "01a0b000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, SecondFactor: d, CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now(),
	}
	if err := tx.SavePolicy(t.Context(), p); err != nil {
		return err
	}
	return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), c.Clock.Now())
}

// holds gives what is demanded now.
func holds(t *testing.T, c *coretest.Core, r identity.Reader) identity.Demand {
	t.Helper()
	p, err := c.Policies.Of(t.Context(), r, identity.Subject{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.SecondFactor
}

func expect(t *testing.T, c *coretest.Core, when string, want identity.Demand) {
	t.Helper()
	c.View(func(r identity.Reader) error {
		if got := holds(t, c, r); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
		return nil
	})
}

// A look at the store that began before a change sees what was; it must not be what everybody sees from then on.
func TestAnOldLookDoesNotUndoAChange(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		expect(t, c, "at first", identity.FactorOptional)
		c.View(func(r identity.Reader) error {
			if _, err := r.AnySubject(t.Context()); err != nil { // the snapshot stands from here on
				return err
			}
			c.Update(func(tx identity.Tx) error { return demand(t, c, tx, identity.FactorNeeded) })
			if got := holds(t, c, r); got != identity.FactorOptional {
				t.Errorf("the snapshot sees %s", got)
			}
			return nil
		})
		expect(t, c, "after the change", identity.FactorNeeded)
		c.Clock.Advance(time.Minute)
		expect(t, c, "a minute later", identity.FactorNeeded)
	})
}

// What an update saves and then does not commit never held.
func TestWhatIsNotCommittedNeverHolds(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		refused := errors.New("refused")
		err := store.Update(t.Context(), func(tx identity.Tx) error {
			if err := demand(t, c, tx, identity.FactorNeeded); err != nil {
				return err
			}
			if got := holds(t, c, tx); got != identity.FactorNeeded {
				t.Errorf("the update sees %s", got)
			}
			return refused
		})
		if !errors.Is(err, refused) {
			t.Fatal(err)
		}
		expect(t, c, "after the update failed", identity.FactorOptional)
	})
}

// While the feed cannot be read, another node may have changed what is remembered.
func TestAStaleFeedAsksTheStore(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		expect(t, c, "at first", identity.FactorOptional)
		c.Update(func(tx identity.Tx) error { // elsewhere: nobody tells
			return tx.SavePolicy(t.Context(), identity.Policy{
				ID: "01a0b000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded,
				CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now(),
			})
		})
		expect(t, c, "remembered", identity.FactorOptional)
		c.Stale.Store(true)
		expect(t, c, "while the feed is stale", identity.FactorNeeded)
		c.Stale.Store(false)
		expect(t, c, "once it can be read", identity.FactorNeeded)
	})
}

// Without a word from the feed, what is remembered is read again after a minute.
func TestPoliciesAreRememberedForAMinute(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		expect(t, c, "at first", identity.FactorOptional)
		c.Update(func(tx identity.Tx) error { // a transaction that the tail gave up waiting for
			return tx.SavePolicy(t.Context(), identity.Policy{
				ID: "01a0b000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded,
				CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now(),
			})
		})
		expect(t, c, "remembered", identity.FactorOptional)
		c.Clock.Advance(time.Minute)
		expect(t, c, "a minute later", identity.FactorNeeded)
	})
}
