// Package grant is what clients may do: prove who they are, ask for tokens of their own, and look at or revoke tokens of any
// door (RFC 6749, 7009, 7662).
package grant

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
)

// Service serves clients.
type Service struct {
	Store    identity.Store
	Sessions *session.Service
	Hasher   credential.Hasher // for secrets that a person chose
	Log      *audit.Log
	Forms    []token.Form // of every door whose tokens can be introspected
	// Stands is what doors ask of a token that is good besides; one that is refused is not active. May be nil.
	Stands map[identity.Door]func(context.Context, *session.Live) error

	clients clientCache
}

// GeneratedSecret marks the stored form of a secret that we generated: 256 random bits need no slow hash.
const GeneratedSecret = "{SHA256}"

// HashGenerated gives the stored form of a secret that we generated.
func HashGenerated(secret identity.Secret) string {
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return GeneratedSecret + hex.EncodeToString(sum[:])
}

// Authenticate says which client this is. An unknown one, a wrong secret, a secret for a client without one and a missing
// secret are one refusal, ClientInvalid; no name at all is ClientMissing. One whose organisation has ended is ClientInvalid too, as a
// suspended one is (RFC 6749, section 5.2: it is not that it may not use this grant, but any), and told why when it has proven itself.
//
// A secret that a person chose is slow to check, so failures are counted by the caller's network, and past a limit refused with
// Locked before any work: else one stranger could guess on, and keep all who sign in waiting. They are not counted by client, or
// he could shut it out.
func (s *Service) Authenticate(ctx context.Context, caller identity.Caller, id identity.ClientID, secret identity.Secret) (identity.Client, error) {
	if id == "" {
		return identity.Client{}, identity.ClientMissing.Because("a client is needed")
	}
	refused := identity.ClientInvalid.Because("unknown client or wrong secret")
	client, endsAt, known, err := s.client(ctx, id)
	if err != nil {
		return identity.Client{}, err
	}
	if !known || !client.SuspendedAt.IsZero() {
		return identity.Client{}, refused
	}
	right, err := s.secretRight(ctx, caller, client, secret)
	if err != nil {
		return identity.Client{}, err
	}
	if !right {
		return identity.Client{}, refused
	}
	if !endsAt.IsZero() && !s.Sessions.Now().Before(endsAt) {
		return identity.Client{}, identity.ClientInvalid.Because("the client's organisation has ended")
	}
	return client, nil
}

func (s *Service) secretRight(ctx context.Context, caller identity.Caller, client identity.Client, secret identity.Secret) (bool, error) {
	switch {
	case client.SecretHash == "":
		return secret == "", nil
	case secret == "":
		return false, nil
	case strings.HasPrefix(client.SecretHash, GeneratedSecret):
		return subtle.ConstantTimeCompare([]byte(HashGenerated(secret)), []byte(client.SecretHash)) == 1, nil
	case s.clients.proven(client, secret):
		return true, nil
	}
	if err := s.mayTry(ctx, caller); err != nil {
		return false, err
	}
	match, _, err := s.Hasher.Verify(ctx, client.SecretHash, secret, string(client.ID))
	if err != nil {
		return false, err
	}
	if !match {
		return false, s.countFailure(ctx, caller, client)
	}
	s.clients.remember(client, secret)
	return true, nil
}

// The failures that a network has to spare, as many as it has for passwords.
const (
	maxFailures   = 100
	failureWindow = 15 * time.Minute
)

func (s *Service) mayTry(ctx context.Context, caller identity.Caller) error {
	network := caller.Network()
	if network == "" {
		return nil
	}
	return s.Store.View(ctx, func(r identity.Reader) error {
		now := s.Sessions.Now()
		failed, err := r.Attempts(ctx, "client:"+network)
		if err == nil && failed.LockedAt(now, maxFailures) {
			return identity.Locked.After(failed.ExpiresAt.Sub(now), "too many failed tries; wait and try again")
		}
		return err
	})
}

func (s *Service) countFailure(ctx context.Context, caller identity.Caller, client identity.Client) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if network := caller.Network(); network != "" {
			if _, err := tx.CountAttempt(ctx, "client:"+network, s.Sessions.Now(), failureWindow); err != nil {
				return err
			}
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{
			Action: "client.authenticate", Outcome: identity.ClientInvalid.Error(), ClientID: client.ID,
		})
	})
}

// MayUse refuses a grant type that the client is not registered for.
func MayUse(client identity.Client, grantType string) error {
	if !slices.Contains(client.Grants, grantType) {
		return identity.GrantDenied.Because("this client may not use this grant")
	}
	return nil
}

// Scopes gives what is granted of what is asked: nothing asked means all that the client may have, and the answer keeps the
// client's order. allowed is what an earlier grant gave, or nil.
func Scopes(client identity.Client, asked, allowed []string) ([]string, error) {
	limit := client.Scopes
	if allowed != nil {
		limit = slices.DeleteFunc(slices.Clone(client.Scopes), func(scope string) bool { return !slices.Contains(allowed, scope) })
	}
	if len(asked) == 0 {
		return limit, nil
	}
	for _, scope := range asked {
		if !slices.Contains(limit, scope) {
			return nil, identity.ScopeInvalid.Because("scope not allowed")
		}
	}
	return slices.DeleteFunc(slices.Clone(limit), func(scope string) bool { return !slices.Contains(asked, scope) }), nil
}

// Changed forgets clients that changed. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	for _, c := range changes {
		switch c.Kind {
		case identity.ClientChanged:
			s.clients.forget(identity.ClientID(c.ID))
		case identity.PolicyChanged:
			s.clients.forgetOf(identity.OrganisationID(c.ID))
		case identity.EverythingChanged:
			s.clients.forget("")
		}
	}
}

// clientCache keeps the clients in use, and of those with a slow-hashed secret a fast check of the one that was right.
type clientCache struct {
	mu      sync.RWMutex
	key     []byte // of this process only; makes the fast check useless to whoever reads memory dumps of another
	clients map[identity.ClientID]knownClient
	changes int
}

type knownClient struct {
	client identity.Client
	endsAt time.Time // when its organisation ends; zero: never
	readAt time.Time
	right  []byte // HMAC of the secret that was right; nil: none was yet
}

// keptFor bounds what is remembered without a word from the feed: a transaction that outlasts the tail's patience is never told of.
const keptFor = time.Minute

// maxClients bounds the cache; past it, it starts anew. An installation has tens of clients, and as many more as devices sign in.
const maxClients = 10_000

// client knows one, or reads it where that may be out of date because the feed cannot be read.
func (s *Service) client(ctx context.Context, id identity.ClientID) (client identity.Client, endsAt time.Time, ok bool, err error) {
	held, changes, ok := s.clients.get(id)
	if ok {
		if age := s.Sessions.Now().Sub(held.readAt); age >= 0 && age < keptFor && !s.Sessions.Stale() {
			return held.client, held.endsAt, true, nil
		}
	}
	return s.read(ctx, id, changes)
}

func (c *clientCache) get(id identity.ClientID) (held knownClient, changes int, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	held, ok = c.clients[id]
	return held, c.changes, ok
}

// read gives a client from the store, and keeps it if none has changed since changes were counted.
func (s *Service) read(ctx context.Context, id identity.ClientID, changes int) (client identity.Client, endsAt time.Time, ok bool, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		endsAt = time.Time{}
		if client, err = r.Client(ctx, id); err != nil || client.OrganisationID == "" {
			return err
		}
		o, err := r.Organisation(ctx, client.OrganisationID)
		endsAt = o.ExpiresAt
		return err
	})
	if errors.Is(err, identity.NotFound) {
		return client, endsAt, false, nil
	}
	if err != nil {
		return client, endsAt, false, err
	}
	s.clients.keep(client, endsAt, s.Sessions.Now(), changes)
	return client, endsAt, true, nil
}

// keep remembers a client, unless one may have changed while it was read.
func (c *clientCache) keep(client identity.Client, endsAt, readAt time.Time, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != changes {
		return
	}
	if c.clients == nil || len(c.clients) >= maxClients {
		c.clients = map[identity.ClientID]knownClient{}
	}
	known := knownClient{client: client, endsAt: endsAt, readAt: readAt}
	if held, ok := c.clients[client.ID]; ok && held.client.SecretHash == client.SecretHash {
		known.right = held.right
	}
	c.clients[client.ID] = known
}

func (c *clientCache) sum(client identity.Client, secret identity.Secret) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(client.SecretHash))
	mac.Write([]byte{0})
	mac.Write([]byte(secret.Reveal()))
	return mac.Sum(nil)
}

func (c *clientCache) proven(client identity.Client, secret identity.Secret) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	held := c.clients[client.ID]
	return held.right != nil && hmac.Equal(held.right, c.sum(client, secret))
}

func (c *clientCache) remember(client identity.Client, secret identity.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.clients[client.ID]
	if !ok || held.client.SecretHash != client.SecretHash {
		return
	}
	if c.key == nil {
		c.key = make([]byte, 32)
		_, _ = rand.Read(c.key) // never fails (crypto/rand)
	}
	held.right = c.sum(client, secret)
	c.clients[client.ID] = held
}

func (c *clientCache) forget(id identity.ClientID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	if id == "" {
		c.clients = nil
		return
	}
	delete(c.clients, id)
}

// forgetOf forgets an organisation's.
func (c *clientCache) forgetOf(id identity.OrganisationID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	if id != "" {
		maps.DeleteFunc(c.clients, func(_ identity.ClientID, known knownClient) bool { return known.client.OrganisationID == id })
	}
}
