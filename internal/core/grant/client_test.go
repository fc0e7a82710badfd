package grant_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const generated identity.Secret = "b3VyIG93biAyNTYgcmFuZG9tIGJpdHM"

// save writes a client and tells the feed.
func save(t *testing.T, c *coretest.Core, client identity.Client, write func(identity.Tx, identity.Client) error) {
	t.Helper()
	c.Update(func(tx identity.Tx) error {
		client.Name, client.CreatedAt, client.UpdatedAt = string(client.ID), c.Clock.Now(), c.Clock.Now()
		if err := write(tx, client); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.ClientChanged, string(client.ID), c.Clock.Now())
	})
}

func create(t *testing.T, c *coretest.Core, clients ...identity.Client) {
	t.Helper()
	for _, client := range clients {
		save(t, c, client, func(tx identity.Tx, client identity.Client) error { return tx.CreateClient(t.Context(), client) })
	}
}

func authenticate(t *testing.T, s *grant.Service, id identity.ClientID, secret identity.Secret, want error) {
	t.Helper()
	client, err := s.Authenticate(t.Context(), coretest.Caller(coretest.Door), id, secret)
	if !errors.Is(err, want) || err == nil && client.ID != id || err != nil && client.ID != "" {
		t.Errorf("%s is %q, %v; want %v", id, client.ID, err, want)
	}
}

func TestAuthenticate(t *testing.T) {
	tests := []struct {
		name   string
		id     identity.ClientID
		secret identity.Secret
		want   error
	}{
		{"no name", "", generated, identity.ClientMissing},
		{"unknown", "nobody", generated, identity.ClientInvalid},
		{"unknown without a secret", "nobody", "", identity.ClientInvalid},
		{"not text", "\xff\x00", generated, identity.ClientInvalid},
		{"generated, right", "generated", generated, nil},
		{"generated, wrong", "generated", generated + "x", identity.ClientInvalid},
		{"generated, missing", "generated", "", identity.ClientInvalid},
		{"generated, as it is stored", "generated", identity.Secret(grant.HashGenerated(generated)), identity.ClientInvalid},
		{"names are exact", "Generated", generated, identity.ClientInvalid},
		{"chosen, right", "chosen", "chosen by hand", nil},
		{"chosen, wrong", "chosen", "chosen by Hand", identity.ClientInvalid},
		{"chosen, missing", "chosen", "", identity.ClientInvalid},
		{"public, without a secret", "public", "", nil},
		{"public, with one", "public", "anything", identity.ClientInvalid},
		{"suspended, right", "suspended", generated, identity.ClientInvalid},
		{"suspended, wrong", "suspended", "anything", identity.ClientInvalid},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		create(t, c,
			identity.Client{ID: "generated", SecretHash: grant.HashGenerated(generated)},
			identity.Client{ID: "public"},
			identity.Client{ID: "suspended", SecretHash: grant.HashGenerated(generated), SuspendedAt: c.Clock.Now()},
		)
		register(t, c, "chosen", "chosen by hand")
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				for range 2 { // read, then remembered
					authenticate(t, c.Grants, tt.id, tt.secret, tt.want)
				}
			})
		}
	})
}

// A service that calls often must not pay for a slow hash each time, nor a wrong secret profit from a right one.
func TestAChosenSecretIsHashedSlowlyOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		hasher := &slow{Hasher: c.Grants.Hasher}
		c.Grants.Hasher = hasher
		register(t, c, "app", "chosen by hand")
		for range 5 {
			authenticate(t, c.Grants, "app", "chosen by hand", nil)
		}
		if hasher.checked != 1 {
			t.Errorf("hashed %d times, want once", hasher.checked)
		}
		for range 2 {
			authenticate(t, c.Grants, "app", "chosen by hanD", identity.ClientInvalid)
		}
		if hasher.checked != 3 {
			t.Errorf("hashed %d times, want every wrong one to be", hasher.checked-1)
		}
		authenticate(t, c.Grants, "app", "chosen by hand", nil)
		if hasher.checked != 3 {
			t.Error("a wrong one made it forget the right one")
		}

		// Another client with the same secret has a proof of its own.
		register(t, c, "twin", "chosen by hand")
		authenticate(t, c.Grants, "twin", "chosen by hand", nil)
		if hasher.checked != 4 {
			t.Errorf("hashed %d times, want once more for another client", hasher.checked)
		}
	})
}

func TestARotatedSecretIsGoodAndTheOldOneIsNot(t *testing.T) {
	tests := []struct {
		name     string
		old, new identity.Secret
		hash     func(*testing.T, *coretest.Core, identity.Secret) string
	}{
		{"generated", generated, "YW5vdGhlciAyNTYgcmFuZG9tIGJpdHM", func(_ *testing.T, _ *coretest.Core, s identity.Secret) string { return grant.HashGenerated(s) }},
		{"chosen", "chosen by hand", "chosen by another hand", func(t *testing.T, c *coretest.Core, s identity.Secret) string {
			hash, err := c.Passwords.Hasher.Hash(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			return hash
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		// Another node, with what it remembers: it hears of changes by the feed's tail alone.
		other := &grant.Service{Store: store, Sessions: c.Sessions, Hasher: c.Grants.Hasher, Log: c.Grants.Log}
		heard := int64(0)
		listen := func() {
			c.View(func(r identity.Reader) error {
				changes, err := r.Changes(t.Context(), heard, 100)
				other.Changed(changes)
				for _, change := range changes {
					heard = change.Seq
				}
				return err
			})
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				id := identity.ClientID(tt.name)
				create(t, c, identity.Client{ID: id, SecretHash: tt.hash(t, c, tt.old)})
				listen()
				for _, node := range []*grant.Service{c.Grants, other} {
					authenticate(t, node, id, tt.old, nil)
					authenticate(t, node, id, tt.new, identity.ClientInvalid)
				}
				rotated := identity.Client{ID: id, SecretHash: tt.hash(t, c, tt.new)}
				save(t, c, rotated, func(tx identity.Tx, client identity.Client) error { return tx.UpdateClient(t.Context(), client) })
				authenticate(t, c.Grants, id, tt.old, identity.ClientInvalid)
				authenticate(t, c.Grants, id, tt.new, nil)
				listen()
				authenticate(t, other, id, tt.old, identity.ClientInvalid)
				authenticate(t, other, id, tt.new, nil)

				save(t, c, rotated, func(tx identity.Tx, client identity.Client) error { return tx.DeleteClient(t.Context(), client.ID) })
				authenticate(t, c.Grants, id, tt.new, identity.ClientInvalid)
				authenticate(t, other, id, tt.new, nil) // the feed has not told it yet
				other.Changed([]identity.Change{{Kind: identity.EverythingChanged}})
				authenticate(t, other, id, tt.new, identity.ClientInvalid)
			})
		}
	})
}

// during does something after each look at the store, before its caller has what was read.
type during struct {
	identity.Store
	then func()
}

func (s *during) View(ctx context.Context, read func(identity.Reader) error) error {
	err := s.Store.View(ctx, read)
	if s.then != nil {
		s.then()
	}
	return err
}

// A client that changed while it was being read is not kept as it was read.
func TestAClientThatChangesWhileItIsRead(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		between := &during{Store: store}
		c := coretest.New(t, between)
		client := identity.Client{ID: "app", SecretHash: grant.HashGenerated(generated)}
		create(t, c, client)
		between.then = func() {
			between.then = nil
			client.SuspendedAt = c.Clock.Now()
			save(t, c, client, func(tx identity.Tx, client identity.Client) error { return tx.UpdateClient(t.Context(), client) })
		}
		authenticate(t, c.Grants, "app", generated, nil) // it asked before the change
		authenticate(t, c.Grants, "app", generated, identity.ClientInvalid)
	})
}

func TestManyClientsAtOnceWhileTheyChange(t *testing.T) {
	c := coretest.New(t, storetest.SQLite(t))
	register(t, c, "chosen", "chosen by hand")
	create(t, c, identity.Client{ID: "generated", SecretHash: grant.HashGenerated(generated)})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				authenticate(t, c.Grants, "chosen", "chosen by hand", nil)
				authenticate(t, c.Grants, "generated", generated, nil)
				authenticate(t, c.Grants, "generated", "wrong", identity.ClientInvalid)
			}
		})
	}
	for range 50 {
		c.Grants.Changed([]identity.Change{{Kind: identity.ClientChanged, ID: "chosen"}, {Kind: identity.SubjectChanged, ID: "generated"}})
		c.Grants.Changed([]identity.Change{{Kind: identity.EverythingChanged}})
	}
	all.Wait()
}

func TestAStoreThatIsAwayIsNoWrongSecret(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		create(t, c, identity.Client{ID: "app", SecretHash: grant.HashGenerated(generated)})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Grants.Authenticate(gone, coretest.Caller(coretest.Door), "app", generated); !errors.Is(err, identity.Unavailable) {
			t.Errorf("Authenticate = %v, want %v", err, identity.Unavailable)
		}
	})
}

func TestMayUse(t *testing.T) {
	client := identity.Client{Grants: []string{"password", "refresh_token"}}
	for _, allowed := range client.Grants {
		if err := grant.MayUse(client, allowed); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
	for _, refused := range []string{"client_credentials", "Password", "pass", ""} {
		if err := grant.MayUse(client, refused); !errors.Is(err, identity.GrantDenied) {
			t.Errorf("%q: %v, want %v", refused, err, identity.GrantDenied)
		}
	}
	if err := grant.MayUse(identity.Client{}, "password"); !errors.Is(err, identity.GrantDenied) {
		t.Errorf("a client registered for nothing: %v", err)
	}
}

func TestScopes(t *testing.T) {
	words := strings.Fields
	tests := []struct {
		name          string
		client, asked string
		allowed       []string
		want          string
		wantErr       error
	}{
		{name: "nothing asked is all", client: "read write trust", want: "read write trust"},
		{name: "the client's order", client: "read write trust", asked: "trust read", want: "read trust"},
		{name: "asked twice is once", client: "read write", asked: "read read", want: "read"},
		{name: "unknown", client: "read write", asked: "read admin", wantErr: identity.ScopeInvalid},
		{name: "case matters", client: "read", asked: "Read", wantErr: identity.ScopeInvalid},
		{name: "a part of a word", client: "read:all", asked: "read", wantErr: identity.ScopeInvalid},
		{name: "narrowed before", client: "read write trust", allowed: words("trust write"), want: "write trust"},
		{name: "narrowed further", client: "read write trust", asked: "trust", allowed: words("trust write"), want: "trust"},
		{name: "never wider again", client: "read write trust", asked: "read", allowed: words("write"), wantErr: identity.ScopeInvalid},
		{name: "granted earlier, taken from the client since", client: "read", asked: "write", allowed: words("read write"), wantErr: identity.ScopeInvalid},
		{name: "granted earlier, nothing asked", client: "read", allowed: words("read write"), want: "read"},
		{name: "nothing was granted", client: "read write", allowed: []string{}},
		{name: "nothing was granted, something asked", client: "read write", asked: "read", allowed: []string{}, wantErr: identity.ScopeInvalid},
		{name: "a client without scopes"},
		{name: "a client without scopes asks", asked: "read", wantErr: identity.ScopeInvalid},
	}
	for _, tt := range tests {
		client := identity.Client{Scopes: words(tt.client)}
		before := slices.Clone(client.Scopes)
		got, err := grant.Scopes(client, words(tt.asked), tt.allowed)
		if !errors.Is(err, tt.wantErr) || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.wantErr)
		}
		if !slices.Equal(client.Scopes, before) {
			t.Errorf("%s: the client, which is shared, now has %q", tt.name, client.Scopes)
		}
	}
}
