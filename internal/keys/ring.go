package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// The algorithms of the ring (RFC 7518, section 3.1; RFC 8037).
const (
	ES256 = string(jose.ES256) // the default
	EdDSA = string(jose.EdDSA) // where a contract needs short or repeatable tokens
	RS256 = string(jose.RS256) // for clients that ask
)

// Algorithms lists them, the cheap ones to make first.
func Algorithms() []string { return []string{ES256, EdDSA, RS256} }

const (
	maintainEvery = time.Hour
	retryAfter    = 5 * time.Second
	// rotationTTL only has to span one transaction: it makes two nodes queue, and what the second finds then tells it that
	// the work is done.
	rotationTTL = time.Second
)

// Options say how a ring keeps its keys.
type Options struct {
	Store  identity.Store
	Box    *Box
	Now    func() time.Time
	Rand   io.Reader     // names keys; key material always comes from the system's own generator
	Period time.Duration // age at which a key is replaced; 0: 90 days
	Lead   time.Duration // how long a key is published before it signs, so that verifiers know it by then; 0: 24 h
	Keep   time.Duration // the longest token's life: a retired key verifies for so long; 0: 31 days
	// KeepOf says so for algorithms that sign what lives longer than tokens.
	KeepOf map[string]time.Duration
}

// Ring signs and verifies. Its keys are in memory; Reload reads them again.
type Ring struct {
	Options
	owner string
	state atomic.Pointer[state]
	load  sync.Mutex // one Reload at a time, so that an older reading never replaces a newer one
	stale chan struct{}
}

// NewRing gives a ring without keys; Ensure loads or makes them.
func NewRing(o Options) (*Ring, error) {
	o.Period = cmp.Or(o.Period, 90*24*time.Hour)
	o.Lead = cmp.Or(o.Lead, 24*time.Hour)
	o.Keep = cmp.Or(o.Keep, 31*24*time.Hour)
	if o.Period <= o.Lead {
		return nil, fmt.Errorf("signing keys: rotated every %v, yet published %v before use", o.Period, o.Lead)
	}
	owner, err := randomName(o.Rand)
	if err != nil {
		return nil, err
	}
	r := &Ring{Options: o, owner: owner, stale: make(chan struct{}, 1)}
	r.state.Store(newState(nil))
	return r, nil
}

func (r *Ring) now() time.Time { return r.Now() }

// state is one reading of the keys, never changed.
type state struct {
	byID map[identity.KeyID]*key
	// byAlg holds each algorithm's keys by ActivatesAt, newest first.
	byAlg map[string][]*key
	jwks  []byte
	etag  string
}

type key struct {
	identity.SigningKey
	public          crypto.PublicKey
	signer          jose.OpaqueSigner
	signatureLength int
	headers         *sync.Map // by typ, which only code chooses: base64url of the header and a dot
}

func (k *key) expired(now time.Time) bool { return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) }

func (k *key) header(typ string) (string, error) {
	if encoded, ok := k.headers.Load(typ); ok {
		return encoded.(string), nil
	}
	header, err := printHeader(k.Algorithm, k.ID, typ)
	if err != nil {
		return "", err
	}
	encoded := compact.EncodeToString([]byte(header)) + "."
	k.headers.Store(typ, encoded)
	return encoded, nil
}

// signer gives the newest key that signs at now. No key stops signing before its successor starts, however late the rotation;
// and the very first one signs at once even where this node's clock is behind its maker's.
func (s *state) signer(alg string, now time.Time) *key {
	var k *key
	for _, k = range s.byAlg[alg] {
		if !now.Before(k.ActivatesAt) {
			break
		}
	}
	return k
}

func newState(all []*key) *state {
	s := &state{byID: map[identity.KeyID]*key{}, byAlg: map[string][]*key{}}
	slices.SortFunc(all, func(a, b *key) int {
		return cmp.Or(b.ActivatesAt.Compare(a.ActivatesAt), cmp.Compare(a.ID, b.ID))
	})
	for _, k := range all {
		s.byID[k.ID] = k
		s.byAlg[k.Algorithm] = append(s.byAlg[k.Algorithm], k)
	}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, alg := range Algorithms() {
		for _, k := range s.byAlg[alg] {
			set.Keys = append(set.Keys, k.Public)
		}
	}
	s.jwks, _ = json.Marshal(set) // each Public was printed by us and parsed before it got here
	sum := sha256.Sum256(s.jwks)
	s.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return s
}

// JWKS gives the published keys (RFC 7517) and the entity tag of those bytes. The caller must not change them.
func (r *Ring) JWKS() (body []byte, etag string) {
	s := r.state.Load()
	return s.jwks, s.etag
}

// Ready says which algorithm lacks a key that signs now; "" if none does.
func (r *Ring) Ready() (missing string) {
	s, now := r.state.Load(), r.now()
	for _, alg := range Algorithms() {
		if s.signer(alg, now) == nil {
			return alg
		}
	}
	return ""
}

// Keys lists the keys in memory, newest first in each algorithm, without their private halves.
func (r *Ring) Keys() []identity.SigningKey {
	var list []identity.SigningKey
	for _, alg := range Algorithms() {
		for _, k := range r.state.Load().byAlg[alg] {
			public := k.SigningKey
			public.Sealed = nil
			list = append(list, public)
		}
	}
	return list
}

// Reload reads the keys from the store. On an error the ring keeps those it had.
func (r *Ring) Reload(ctx context.Context) error {
	r.load.Lock()
	defer r.load.Unlock()
	var rows []identity.SigningKey
	err := r.Store.View(ctx, func(reader identity.Reader) (err error) {
		rows, err = reader.SigningKeys(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	known := r.state.Load().byID
	all := make([]*key, 0, len(rows))
	for _, row := range rows {
		k, err := r.open(row, known[row.ID])
		if err != nil {
			return fmt.Errorf("load signing key %s: %w", row.ID, err)
		}
		if !k.expired(r.now()) {
			all = append(all, k)
		}
	}
	r.state.Store(newState(all))
	return nil
}

// open unseals a row. A key that was in memory already keeps its parsed form: only the times of a row ever change, and
// checking an RSA key takes milliseconds.
func (r *Ring) open(row identity.SigningKey, known *key) (*key, error) {
	if known != nil && bytes.Equal(known.Sealed, row.Sealed) && bytes.Equal(known.Public, row.Public) {
		k := *known
		k.SigningKey = row
		return &k, nil
	}
	der, err := r.Box.Open(sealedFor(row.ID), row.Sealed)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	k := &key{SigningKey: row, headers: &sync.Map{}}
	var alg string
	switch private := parsed.(type) {
	case *ecdsa.PrivateKey:
		alg, k.signatureLength = ES256, 64
	case ed25519.PrivateKey:
		alg, k.signatureLength = EdDSA, ed25519.SignatureSize
	case *rsa.PrivateKey:
		alg, k.signatureLength = RS256, private.Size()
	}
	if alg != row.Algorithm {
		return nil, fmt.Errorf("the key is for %q, the row says %q", alg, row.Algorithm)
	}
	private := parsed.(crypto.Signer)
	k.public = private.Public()
	k.signer = cryptosigner.Opaque(private)
	// The row's public half is not under the seal: publishing another than ours would make verifiers trust a stranger.
	public, err := publicJWK(row.ID, row.Algorithm, k.public)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(public, row.Public) {
		return nil, fmt.Errorf("the public key in the store is not the private one's")
	}
	return k, nil
}

func sealedFor(id identity.KeyID) string { return "signing-key:" + string(id) }

func publicJWK(id identity.KeyID, alg string, public crypto.PublicKey) ([]byte, error) {
	return jose.JSONWebKey{Key: public, KeyID: string(id), Algorithm: alg, Use: "sig"}.MarshalJSON()
}

// Ensure loads the keys and makes those that are missing, active at once. Without algorithms it is about all of them. An RSA key
// takes a few hundred milliseconds to make: a node in a hurry ensures RS256 after it began to serve.
func (r *Ring) Ensure(ctx context.Context, algorithms ...string) error {
	if err := r.Reload(ctx); err != nil {
		return err
	}
	if len(algorithms) == 0 {
		algorithms = Algorithms()
	}
	for _, alg := range algorithms {
		if r.state.Load().signer(alg, r.now()) != nil {
			continue
		}
		absent := func(newest *identity.SigningKey) bool { return newest == nil }
		if _, err := r.replace(ctx, alg, 0, absent); err != nil {
			return err
		}
		if r.state.Load().signer(alg, r.now()) == nil {
			return identity.Unavailable.Wrap(fmt.Errorf("no %s signing key: it was removed as it was made", alg))
		}
	}
	return nil
}

// Rotate makes the successor of an algorithm's key now: published at once, signing after Options.Lead. While a successor waits
// already, it makes no other. It returns the newest key.
func (r *Ring) Rotate(ctx context.Context, alg string) (identity.SigningKey, error) {
	if !slices.Contains(Algorithms(), alg) {
		return identity.SigningKey{}, identity.Invalid.In("algorithm", "must be one of "+strings.Join(Algorithms(), ", "))
	}
	if err := r.Ensure(ctx, alg); err != nil {
		return identity.SigningKey{}, err
	}
	return r.replace(ctx, alg, r.Lead, func(newest *identity.SigningKey) bool {
		return newest == nil || !newest.ActivatesAt.After(r.now())
	})
}

// Maintain replaces keys that come of age and removes those whose last token has ended. Any node may call it at any time.
func (r *Ring) Maintain(ctx context.Context) error {
	due := func(newest *identity.SigningKey) bool {
		return newest == nil || !r.now().Before(newest.ActivatesAt.Add(r.Period-r.Lead))
	}
	if err := r.Ensure(ctx); err != nil {
		return err
	}
	for _, alg := range Algorithms() {
		if due(&r.state.Load().byAlg[alg][0].SigningKey) {
			if _, err := r.replace(ctx, alg, r.Lead, due); err != nil {
				return err
			}
		}
	}
	return r.removeExpired(ctx)
}

// replace makes a key of the algorithm that signs after lead, if the newest one in the store is still due when this node's turn
// has come. It reloads, and returns the newest key.
func (r *Ring) replace(ctx context.Context, alg string, lead time.Duration, due func(newest *identity.SigningKey) bool) (identity.SigningKey, error) {
	made, err := r.make(alg) // outside the transaction: an RSA key takes long
	if err != nil {
		return identity.SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	var newest identity.SigningKey
	err = r.Store.Update(ctx, func(tx identity.Tx) error {
		newest = identity.SigningKey{}
		now := r.now()
		// Whether it is held does not matter: a node that made a key a moment ago must not keep an operator from rotating it.
		if _, err := tx.Lease(ctx, "signing-key:"+alg, r.owner, now, rotationTTL); err != nil {
			return err
		}
		// Read after the lease: where two nodes come at once, the second waits there and finds the first one's key here.
		rows, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		var last *identity.SigningKey
		for i := range rows {
			if rows[i].Algorithm == alg && (last == nil || rows[i].ActivatesAt.After(last.ActivatesAt)) {
				last = &rows[i]
			}
		}
		if !due(last) {
			if last != nil {
				newest = *last
			}
			return nil
		}
		newest = made
		newest.CreatedAt, newest.ActivatesAt = now, now.Add(lead)
		if err := tx.CreateSigningKey(ctx, newest); err != nil {
			return err
		}
		for _, row := range rows {
			if row.Algorithm != alg || !row.RetiresAt.IsZero() {
				continue
			}
			row.RetiresAt = newest.ActivatesAt
			row.ExpiresAt = row.RetiresAt.Add(max(r.Keep, r.KeepOf[row.Algorithm]))
			if err := tx.UpdateSigningKey(ctx, row); err != nil {
				return err
			}
		}
		return tx.Announce(ctx, identity.KeysChanged, string(newest.ID), now)
	})
	if err != nil {
		return identity.SigningKey{}, fmt.Errorf("replace the %s signing key: %w", alg, err)
	}
	newest.Sealed = nil
	return newest, r.Reload(ctx)
}

func (r *Ring) make(alg string) (identity.SigningKey, error) {
	id, err := randomName(r.Rand)
	if err != nil {
		return identity.SigningKey{}, err
	}
	k := identity.SigningKey{ID: identity.KeyID(id), Algorithm: alg}
	var private crypto.Signer
	switch alg {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("unknown algorithm %q", alg)
	}
	if err != nil {
		return identity.SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return identity.SigningKey{}, err
	}
	k.Sealed = r.Box.Seal(sealedFor(k.ID), der)
	k.Public, err = publicJWK(k.ID, alg, private.Public())
	return k, err
}

// randomName gives eight letters and digits: kid travels in every token, and some contracts bound a token's length.
func randomName(from io.Reader) (string, error) {
	var random [5]byte
	if _, err := io.ReadFull(from, random[:]); err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(random[:])), nil
}

func (r *Ring) removeExpired(ctx context.Context) error {
	var removed bool
	err := r.Store.Update(ctx, func(tx identity.Tx) error {
		removed = false
		now := r.now()
		rows, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.ExpiresAt.IsZero() || now.Before(row.ExpiresAt) {
				continue
			}
			if err := tx.DeleteSigningKey(ctx, row.ID); err != nil {
				return err
			}
			removed = true
		}
		if !removed {
			return nil
		}
		return tx.Announce(ctx, identity.KeysChanged, "", now)
	})
	if err != nil {
		return fmt.Errorf("remove expired signing keys: %w", err)
	}
	if !removed {
		return nil
	}
	return r.Reload(ctx)
}

// Listen hears the change feed; it never blocks.
func (r *Ring) Listen(changes []identity.Change) {
	for _, c := range changes {
		if c.Kind == identity.KeysChanged || c.Kind == identity.EverythingChanged {
			select {
			case r.stale <- struct{}{}:
			default: // a reload is due already
			}
			return
		}
	}
}

// Run follows the other nodes' keys and maintains ours until ctx ends.
func (r *Ring) Run(ctx context.Context) {
	maintain := time.NewTicker(maintainEvery)
	defer maintain.Stop()
	var again <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-r.stale:
			err = r.Reload(ctx)
		case <-again:
			err = r.Reload(ctx)
		case <-maintain.C:
			err = r.Maintain(ctx)
		}
		again = nil
		if err != nil && ctx.Err() == nil {
			logs.In(nil, logs.Keys).ErrorContext(ctx, "signing keys not kept up; will try again", "err", err)
			again = time.After(retryAfter)
		}
	}
}
