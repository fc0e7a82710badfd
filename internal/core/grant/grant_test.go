package grant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// register makes a client whose secret a person chose.
func register(t *testing.T, c *coretest.Core, id identity.ClientID, secret identity.Secret) identity.Client {
	t.Helper()
	hash, err := c.Passwords.Hasher.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	client := identity.Client{ID: id, Name: string(id), SecretHash: hash, CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now()}
	c.Update(func(tx identity.Tx) error { return tx.CreateClient(t.Context(), client) })
	return client
}

// slow counts the secrets that were checked the slow way.
type slow struct {
	credential.Hasher
	checked int
}

func (h *slow) Verify(ctx context.Context, encoded string, pw identity.Secret, words string) (match, rehash bool, err error) {
	h.checked++
	return h.Hasher.Verify(ctx, encoded, pw, words)
}

// One network guesses a chosen secret a hundred times, and then keeps no core busy; the client itself goes on elsewhere.
func TestGuessingSecretsIsLimited(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		hasher := &slow{Hasher: c.Grants.Hasher}
		c.Grants.Hasher = hasher
		register(t, c, "app", "chosen by hand")
		caller := coretest.Caller(coretest.Door)
		for try := range 100 {
			if _, err := c.Grants.Authenticate(t.Context(), caller, "app", "guess"); !errors.Is(err, identity.ClientInvalid) {
				t.Fatalf("try %d: %v, want %v", try, err, identity.ClientInvalid)
			}
		}
		before := hasher.checked
		for _, secret := range []identity.Secret{"guess", "chosen by hand"} {
			_, err := c.Grants.Authenticate(t.Context(), caller, "app", secret)
			if !errors.Is(err, identity.Locked) || identity.Describe(err).RetryAfter <= 0 {
				t.Errorf("past the limit: %v, want %v with a time", err, identity.Locked)
			}
		}
		if hasher.checked != before {
			t.Error("work was done past the limit")
		}
		elsewhere := caller
		elsewhere.Address = "192.0.2.8"
		if _, err := c.Grants.Authenticate(t.Context(), elsewhere, "app", "chosen by hand"); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		c.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{Action: "client.authenticate", Limit: 200})
			if len(events) != 100 {
				t.Errorf("%d audit rows, want 100", len(events))
			}
			return err
		})
		c.Clock.Advance(15 * time.Minute)
		if _, err := c.Grants.Authenticate(t.Context(), caller, "app", "chosen by hand"); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// While the feed cannot be read, a remembered client may be one that another node has suspended.
func TestStaleFeedAsksTheStoreForClients(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		client := register(t, c, "app", "chosen by hand")
		caller := coretest.Caller(coretest.Door)
		authenticate := func() error {
			_, err := c.Grants.Authenticate(t.Context(), caller, client.ID, "chosen by hand")
			return err
		}
		if err := authenticate(); err != nil {
			t.Fatal(err)
		}
		c.Update(func(tx identity.Tx) error { // another node, and the feed does not come through
			client.SuspendedAt = c.Clock.Now()
			return tx.UpdateClient(t.Context(), client)
		})
		if err := authenticate(); err != nil {
			t.Fatal(err)
		}
		c.Stale.Store(true)
		if err := authenticate(); !errors.Is(err, identity.ClientInvalid) {
			t.Errorf("a suspended client: %v, want %v", err, identity.ClientInvalid)
		}
	})
}

// Without a word from the feed, a remembered client is read again after a minute; its secret needs no slow check for that.
func TestClientsAreRememberedForAMinute(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		hasher := &slow{Hasher: c.Grants.Hasher}
		c.Grants.Hasher = hasher
		client := register(t, c, "app", "chosen by hand")
		authenticate := func() error {
			_, err := c.Grants.Authenticate(t.Context(), coretest.Caller(coretest.Door), client.ID, "chosen by hand")
			return err
		}
		for range 3 {
			if err := authenticate(); err != nil {
				t.Fatal(err)
			}
			c.Clock.Advance(time.Minute)
		}
		if hasher.checked != 1 {
			t.Errorf("the secret was checked the slow way %d times, want once", hasher.checked)
		}
		if err := authenticate(); err != nil {
			t.Fatal(err)
		}
		c.Update(func(tx identity.Tx) error { // a transaction that the tail gave up waiting for
			client.SuspendedAt = c.Clock.Now()
			return tx.UpdateClient(t.Context(), client)
		})
		if err := authenticate(); err != nil {
			t.Fatal(err)
		}
		c.Clock.Advance(time.Minute)
		if err := authenticate(); !errors.Is(err, identity.ClientInvalid) {
			t.Errorf("a minute later: %v, want %v", err, identity.ClientInvalid)
		}
	})
}
