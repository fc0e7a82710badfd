// Package coretest builds the core on a real store for the tests of its verbs: no doors, no background work, a clock and
// randomness that the test owns.
package coretest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/deliver"
	"gatehouse/internal/factor/onetimecode"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/factor/recoverycode"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// Two doors of the tests: Door rotates opaque tokens and lets go of the old ones at once, Lax forgives for a minute.
const (
	Door identity.Door = "test"
	Lax  identity.Door = "lax"
)

// Core is the part of the house that the tests of core drive.
type Core struct {
	Store     identity.Store
	Clock     *Clock
	Box       *keys.Box
	Policies  *policy.Service
	Sessions  *session.Service
	Passwords *credential.Passwords
	SignIn    *signin.Service
	Grants    *grant.Service
	Links     *link.Service
	Outbox    *deliver.Outbox // nothing in it is sent
	Email     *onetimecode.Email
	SMS       *onetimecode.SMS
	Stale     atomic.Bool
	people    atomic.Int64
	t         testing.TB
}

// New builds it on the store given.
func New(t testing.TB, store identity.Store) *Core {
	t.Helper()
	box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := password.New(password.Options{Params: CheapHash, Rand: SeededRand(), Queue: 1000})
	if err != nil {
		t.Fatal(err)
	}
	c := &Core{Store: store, Clock: NewClock(Start), Box: box, t: t}
	c.Policies = &policy.Service{Now: c.Clock.Now, Stale: c.Stale.Load}
	log := &audit.Log{Now: c.Clock.Now, Rand: SeededRand()}
	both := []identity.TokenKind{identity.AccessToken, identity.RefreshToken}
	c.Sessions = &session.Service{
		Store: store, Log: log, Policies: c.Policies, Keys: box, Stale: c.Stale.Load, Now: c.Clock.Now, Rand: SeededRand(),
		Rules: map[identity.Door]session.Rules{
			Door: {AccessTTL: time.Hour, SessionTTL: 8 * time.Hour, RememberTTL: 30 * 24 * time.Hour, MaxTTL: 90 * 24 * time.Hour,
				IdleTTL: 2 * time.Hour, RememberIdleTTL: 24 * time.Hour, Rotates: true, OneAccess: true, Opaque: both},
			Lax: {AccessTTL: time.Hour, SessionTTL: 8 * time.Hour, Rotates: true, Grace: time.Minute, OneAccess: true, Opaque: both},
		},
	}
	c.Passwords = &credential.Passwords{
		Hasher: pool, Check: password.CheckRule, Policies: c.Policies, Sessions: c.Sessions, Log: log, Now: c.Clock.Now, Rand: SeededRand(),
	}
	c.Outbox = &deliver.Outbox{
		Store: store, Box: box, Templates: deliver.BuiltIn(), Bounds: deliver.DefaultSMSBounds, Now: c.Clock.Now, Rand: SeededRand(),
	}
	codes := onetimecode.Codes{Open: true, Box: box, Outbox: c.Outbox, Now: c.Clock.Now, Rand: SeededRand()}
	c.SMS, c.Email = &onetimecode.SMS{Codes: codes}, &onetimecode.Email{Codes: codes}
	c.SignIn = &signin.Service{
		Store: store, Sessions: c.Sessions, Passwords: c.Passwords,
		Factors: []signin.Factor{&totp.Factor{Box: box, Now: c.Clock.Now}, c.SMS, c.Email, &recoverycode.Factor{Keys: box, Outbox: c.Outbox}},
		Log:     log, Limits: signin.DefaultLimits, Now: c.Clock.Now, Rand: SeededRand(),
	}
	c.Links = &link.Service{Keys: box, Now: c.Clock.Now, Rand: c.SignIn.Rand}
	c.SignIn.Links = c.Links
	c.Grants = &grant.Service{Store: store, Sessions: c.Sessions, Hasher: pool, Log: log, Forms: []token.Form{Form(Door), Form(Lax)}}
	for _, listener := range []func([]identity.Change){c.Sessions.Changed, c.Policies.Changed, c.Grants.Changed} {
		store.OnCommit(listener)
	}
	return c
}

// CheapHash makes passwords cost a test nothing worth mentioning.
var CheapHash = password.Params{Memory: 64, Time: 1, Threads: 1}

// Password is everybody's.
const Password identity.Secret = "correct horse battery"

// Person makes an active subject with Password and the logins that her address gives; change may alter her first.
func (c *Core) Person(change ...func(*identity.Subject, *identity.Credential)) identity.Subject {
	c.t.Helper()
	n := c.people.Add(1)
	now := c.Clock.Now()
	hash, err := c.Passwords.Hasher.Hash(c.t.Context(), Password)
	if err != nil {
		c.t.Fatal(err)
	}
	s := identity.Subject{
		ID: identity.SubjectID(c.id()), Hash: fmt.Sprintf("%040d", n), Kind: identity.Person,
		Email: fmt.Sprintf("person%d@example.test", n), Name: "Person", CreatedAt: now, UpdatedAt: now, VerifiedAt: now,
	}
	cred := identity.Credential{
		ID: identity.CredentialID(c.id()), SubjectID: s.ID, Kind: identity.Password, Hash: hash, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
	for _, f := range change {
		f(&s, &cred)
	}
	c.Update(func(tx identity.Tx) error {
		if err := tx.CreateSubject(c.t.Context(), &s); err != nil {
			return err
		}
		login := identity.Login{SubjectID: s.ID, Kind: identity.EmailLogin, Typed: s.Email, Folded: s.Email, Skeleton: s.Email, Primary: true, CreatedAt: now}
		if err := tx.CreateLogin(c.t.Context(), login); err != nil {
			return err
		}
		return tx.CreateCredential(c.t.Context(), cred)
	})
	return s
}

// Secret is everybody's TOTP secret: RFC 6238's own, in base32.
const Secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// WithTOTP gives a person a second factor.
func (c *Core) WithTOTP(s identity.Subject) {
	c.t.Helper()
	now := c.Clock.Now()
	id := c.id()
	c.Update(func(tx identity.Tx) error {
		return tx.CreateCredential(c.t.Context(), identity.Credential{
			ID: identity.CredentialID(id), SubjectID: s.ID, Kind: identity.TOTP, Sealed: c.Box.Seal("totp:"+id, []byte(Secret)),
			Version: 1, CreatedAt: now, UpdatedAt: now,
		})
	})
}

// WithTarget gives a person a second factor whose codes are sent.
func (c *Core) WithTarget(s identity.Subject, kind identity.CredentialKind, target string) {
	c.t.Helper()
	now := c.Clock.Now()
	c.Update(func(tx identity.Tx) error {
		return tx.CreateCredential(c.t.Context(), identity.Credential{
			ID: identity.CredentialID(c.id()), SubjectID: s.ID, Kind: kind, Target: target, Version: 1, CreatedAt: now, UpdatedAt: now,
		})
	})
}

// Sent opens what is in the outbox, oldest first.
func (c *Core) Sent() []deliver.Content {
	c.t.Helper()
	list, err := c.Outbox.List(c.t.Context(), "", "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	contents := make([]deliver.Content, len(list))
	for i, m := range list {
		_, content, err := c.Outbox.Show(c.t.Context(), m.ID, true)
		if err != nil {
			c.t.Fatal(err)
		}
		contents[len(list)-1-i] = content
	}
	return contents
}

var digits = regexp.MustCompile(`\b[0-9]{6}\b`)

// SentCode is the code in the newest message.
func (c *Core) SentCode() string {
	c.t.Helper()
	sent := c.Sent()
	if len(sent) == 0 {
		c.t.Fatal("nothing was sent")
	}
	code := digits.FindString(sent[len(sent)-1].Text)
	if code == "" {
		c.t.Fatalf("no code in %q", sent[len(sent)-1].Text)
	}
	return code
}

// Code is the one that her authenticator shows now.
func (c *Core) Code() string {
	c.t.Helper()
	code, err := totp.Code(Secret, c.Clock.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return code
}

// Update and View fail the test where the store does.
func (c *Core) Update(write func(identity.Tx) error) {
	c.t.Helper()
	if err := c.Store.Update(c.t.Context(), write); err != nil {
		c.t.Fatal(err)
	}
}

// View is Update for reading.
func (c *Core) View(read func(identity.Reader) error) {
	c.t.Helper()
	if err := c.Store.View(c.t.Context(), read); err != nil {
		c.t.Fatal(err)
	}
}

// Caller is a stranger at a door.
func Caller(door identity.Door) identity.Caller {
	return identity.Caller{Door: door, Address: "192.0.2.7", UserAgent: "test", RequestID: "r"}
}

func (c *Core) id() string {
	id, err := identity.NewID(c.Clock.Now(), c.SignIn.Rand)
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// Form reads a test door's opaque tokens.
type Form identity.Door

// Door is whose they are.
func (f Form) Door() identity.Door { return identity.Door(f) }

// Looks at the length.
func (f Form) Looks(raw string) bool { return len(raw) == 64 }

// Read hashes.
func (f Form) Read(raw string) (token.Facts, error) {
	if !f.Looks(raw) {
		return token.Facts{}, identity.TokenInvalid.Because("not a token")
	}
	sum := sha256.Sum256([]byte(raw))
	return token.Facts{Door: identity.Door(f), Opaque: sum[:]}, nil
}

// Start is when every test begins.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock is a clock that stands until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock gives a clock that stands at the instant given.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Now reads it.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// SeededRand gives the same bytes in every run.
func SeededRand() io.Reader {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err) // sixteen bytes are a key
	}
	return &seeded{stream: cipher.NewCTR(block, make([]byte, 16))}
}

type seeded struct {
	mu     sync.Mutex
	stream cipher.Stream
}

func (s *seeded) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(p)
	s.stream.XORKeyStream(p, p)
	return len(p), nil
}
