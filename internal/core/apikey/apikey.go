// Package apikey lets programs act as the person who made a key for them: make, list, describe, delete, check.
//
// A key is 256 random bits, shown once, when it is made; the store has its SHA-256. It is no session: it is looked up at each use,
// so that its end, its deletion and its owner's suspension are noticed at once on every node, and it opens neither passwords nor
// second factors nor other keys (session.Live.Herself). A suspended person's keys are refused and work again when she does;
// deleting her deletes them.
package apikey

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// Limits bound tries with keys that are none. Nobody guesses 256 bits: what is bounded is the work and the rows of the audit log
// that one network can cause. The count is apart from that of failed sign-ins, so that a program left with an old key keeps nobody
// behind the same address from signing in.
type Limits struct {
	Failures int // from one network (IPv4, or IPv6 /64) …
	Window   time.Duration
}

// Service keeps API keys.
type Service struct {
	Store    identity.Store
	Log      *audit.Log
	Policies *policy.Service
	// May says whether somebody may see, make and remove the keys of another person, who may not be there; nil: superadmins may.
	May    func(ctx context.Context, r identity.Reader, caller identity.Caller, owner identity.SubjectID) error
	Limits Limits
	Now    func() time.Time
	Rand   io.Reader

	used used
}

// Bounds on what is stored.
const (
	MaxKeys        = 10 // of one person, those included that have ended and are not swept yet
	maxName        = 64
	maxDescription = 500
	maxRights      = 100
	maxLife        = 100 * 365 * 24 * time.Hour
	digits         = 64 // of a key, hexadecimal
)

// The refusals of Create that doors have words of their own for.
var (
	ErrName    = identity.Invalid.In("name", fmt.Sprintf("must be 1 to %d letters and digits", maxName))
	ErrTaken   = identity.Conflict.Because("there is a key of that name")
	ErrTooMany = identity.Conflict.Because(fmt.Sprintf("there are %d keys already", MaxKeys))
	ErrEnd     = identity.Invalid.Because("the end must lie in the future, and not more than a hundred years ahead")
)

// Access is what a key may do with a service.
type Access string

// Accesses are all that there are.
var Accesses = []Access{"read", "modify", "create", "delete", "noaccess"}

// Right is what a key may do with one service. It is kept for that service to look at; the house enforces none.
type Right struct {
	Service string `json:"service"`
	Access  Access `json:"access"`
}

// New is a key to be made.
type New struct {
	Owner       identity.SubjectID
	Name        string // letters and digits, kept in lower case; unique among her keys
	Description string
	ExpiresAt   time.Time
	Rights      []Right
}

// Create makes a key and gives the text that its holder shows: the only time that anybody sees it.
func (s *Service) Create(ctx context.Context, caller identity.Caller, live *session.Live, in New) (identity.APIKey, identity.Secret, error) {
	if err := live.Herself(); err != nil {
		return identity.APIKey{}, "", err
	}
	k, err := s.checked(in)
	if err != nil {
		// Whoever may not make keys for somebody learns that first, whatever else is wrong.
		if refusal := s.Store.View(ctx, func(r identity.Reader) error { return s.may(ctx, r, caller, live, in.Owner) }); refusal != nil {
			err = refusal
		}
		return identity.APIKey{}, "", err
	}
	var random [digits / 2]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return identity.APIKey{}, "", fmt.Errorf("make an API key: %w", err)
	}
	raw := hex.EncodeToString(random[:])
	k.Hash = hashOf(raw)
	id, err := identity.NewID(s.Now(), s.Rand)
	if err != nil {
		return identity.APIKey{}, "", err
	}
	k.ID = identity.APIKeyID(id)
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.may(ctx, tx, caller, live, in.Owner); err != nil {
			return err
		}
		// Counted in the transaction of the creation, or sixteen at once would make sixteen.
		there, err := tx.APIKeysOf(ctx, in.Owner)
		if err != nil {
			return err
		}
		for _, other := range there {
			if other.Name == k.Name {
				return ErrTaken
			}
		}
		if len(there) >= MaxKeys {
			return ErrTooMany
		}
		if err := tx.CreateAPIKey(ctx, k); errors.Is(err, identity.Conflict) {
			return ErrTaken // by whoever was faster
		} else if err != nil {
			return err
		}
		return s.record(ctx, tx, caller, live, k, "apikey.create", audit.Entry{After: map[string]any{
			"key": k.ID, "name": k.Name, "expires_at": k.ExpiresAt, "rights": in.Rights,
		}})
	})
	if err != nil {
		return identity.APIKey{}, "", err
	}
	return k, identity.Secret(raw), nil
}

func (s *Service) checked(in New) (identity.APIKey, error) {
	now := s.Now()
	k := identity.APIKey{
		SubjectID: in.Owner, Name: strings.ToLower(in.Name), Description: in.Description, CreatedAt: now, ExpiresAt: in.ExpiresAt,
	}
	if k.Name == "" || len(k.Name) > maxName {
		return k, ErrName
	}
	for i := range len(in.Name) { // as it was sent: in lower case more than our letters becomes one of them
		if c := in.Name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return k, ErrName
		}
	}
	if !in.ExpiresAt.After(now) || in.ExpiresAt.Sub(now) > maxLife {
		return k, ErrEnd
	}
	if err := describes(in.Description); err != nil {
		return k, err
	}
	if len(in.Rights) > maxRights {
		return k, identity.Invalid.In("rights", fmt.Sprintf("must not hold more than %d entries", maxRights))
	}
	for _, right := range in.Rights {
		if err := right.check(); err != nil {
			return k, err
		}
	}
	if len(in.Rights) == 0 {
		return k, nil
	}
	var err error
	k.Rights, err = json.Marshal(in.Rights)
	return k, err
}

func (r Right) check() error {
	if r.Service == "" || len(r.Service) > maxName || strings.ContainsFunc(r.Service, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return identity.Invalid.In("rights", fmt.Sprintf("must name services with 1 to %d characters", maxName))
	}
	for _, known := range Accesses {
		if r.Access == known {
			return nil
		}
	}
	return identity.Invalid.In("rights", "must give each service read, modify, create, delete or noaccess")
}

// describes accepts text for people, of several lines.
func describes(text string) error {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxDescription ||
		strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }) {
		return identity.Invalid.In("description", fmt.Sprintf("must be text of at most %d characters", maxDescription))
	}
	return nil
}

// RightsOf reads the rights of a key.
func RightsOf(k identity.APIKey) ([]Right, error) {
	if len(k.Rights) == 0 {
		return nil, nil
	}
	var rights []Right
	if err := json.Unmarshal(k.Rights, &rights); err != nil {
		return nil, fmt.Errorf("rights of the API key %s: %w", k.ID, err)
	}
	return rights, nil
}

// List gives somebody's keys, oldest first, those included that have ended.
func (s *Service) List(ctx context.Context, caller identity.Caller, live *session.Live, owner identity.SubjectID) ([]identity.APIKey, error) {
	if err := live.Herself(); err != nil {
		return nil, err
	}
	var keys []identity.APIKey
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if err = s.may(ctx, r, caller, live, owner); err != nil {
			return err
		}
		keys, err = r.APIKeysOf(ctx, owner)
		return err
	})
	for i := range keys {
		if at, ok := s.used.last(keys[i].ID); ok && at.After(keys[i].LastUseAt) {
			keys[i].LastUseAt = at
		}
	}
	return keys, err
}

// Describe changes what a key says about itself.
func (s *Service) Describe(ctx context.Context, caller identity.Caller, live *session.Live, owner identity.SubjectID, id identity.APIKeyID, description string) (identity.APIKey, error) {
	var k identity.APIKey
	err := s.change(ctx, caller, live, owner, id, func(tx identity.Tx, found identity.APIKey) error {
		if err := describes(description); err != nil {
			return err
		}
		k = found
		k.Description = description
		if found.Description == description {
			return nil
		}
		if err := tx.UpdateAPIKey(ctx, k); err != nil {
			return err
		}
		return s.record(ctx, tx, caller, live, k, "apikey.update", audit.Entry{
			Before: map[string]any{"key": k.ID, "description": found.Description}, After: map[string]any{"description": description},
		})
	})
	return k, err
}

// Delete removes a key: from then on it is unknown.
func (s *Service) Delete(ctx context.Context, caller identity.Caller, live *session.Live, owner identity.SubjectID, id identity.APIKeyID) error {
	return s.change(ctx, caller, live, owner, id, func(tx identity.Tx, k identity.APIKey) error {
		if err := tx.DeleteAPIKey(ctx, k.ID); err != nil {
			return err
		}
		return s.record(ctx, tx, caller, live, k, "apikey.delete", audit.Entry{Before: map[string]any{"key": k.ID, "name": k.Name}})
	})
}

// change finds a key of its owner; one of another's is not there.
func (s *Service) change(ctx context.Context, caller identity.Caller, live *session.Live, owner identity.SubjectID, id identity.APIKeyID, do func(identity.Tx, identity.APIKey) error) error {
	if err := live.Herself(); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.may(ctx, tx, caller, live, owner); err != nil {
			return err
		}
		k, err := tx.APIKey(ctx, id)
		if err == nil && k.SubjectID != owner || errors.Is(err, identity.NotFound) {
			return identity.NotFound.Because("there is no such key")
		}
		if err != nil {
			return err
		}
		return do(tx, k)
	})
}

// may says whether the caller, as she stands now, may manage the owner's keys. Whoever may not learns nothing of who is there.
func (s *Service) may(ctx context.Context, r identity.Reader, by identity.Caller, live *session.Live, owner identity.SubjectID) error {
	by.SubjectID = live.Subject.ID
	caller, err := r.Subject(ctx, live.Subject.ID)
	if errors.Is(err, identity.NotFound) {
		return identity.TokenRevoked.Because("this account is gone")
	}
	if err != nil || caller.ID == owner {
		return err
	}
	switch {
	case s.May != nil:
		err = s.May(ctx, r, by, owner)
	case !caller.Superadmin:
		err = identity.Denied.Because("these are another person's keys")
	}
	if err != nil {
		return err
	}
	if _, err = r.Subject(ctx, owner); errors.Is(err, identity.NotFound) {
		return identity.NotFound.Because("no such person")
	}
	return err
}

func (s *Service) record(ctx context.Context, tx identity.Tx, caller identity.Caller, live *session.Live, k identity.APIKey, action string, e audit.Entry) error {
	e.Action, e.SubjectID, e.ActorID = action, k.SubjectID, live.Subject.ID
	return s.Log.Record(ctx, tx, caller, e)
}

// Looks says at a glance whether raw might be a key: it has one spelling.
func Looks(raw string) bool {
	if len(raw) != digits {
		return false
	}
	for i := range len(raw) {
		if c := raw[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Holder is a key that is good now, and whose it is.
type Holder struct {
	Key     identity.APIKey
	Subject identity.Subject
}

// Check says whose key it is, for whoever acts with it, and notes the use. Its refusals are TokenMissing, TokenInvalid (malformed or
// unknown), TokenExpired, Suspended, Unverified, and Locked for a network that came with too many unknown ones.
func (s *Service) Check(ctx context.Context, caller identity.Caller, raw string) (Holder, error) {
	h, err := s.look(ctx, caller, raw)
	if errors.Is(err, errUnknown) {
		if failed := s.fail(ctx, caller); failed != nil {
			return Holder{}, failed
		}
	}
	if err != nil {
		return Holder{}, err
	}
	s.used.note(h.Key, s.Now())
	return h, nil
}

// Inspect says the same for another service that was shown the key. That service's network is not to blame for what it is shown.
func (s *Service) Inspect(ctx context.Context, raw string) (Holder, error) {
	h, err := s.look(ctx, identity.Caller{}, raw)
	if err != nil {
		return Holder{}, err
	}
	s.used.note(h.Key, s.Now())
	return h, nil
}

var errUnknown = identity.TokenInvalid.Because("unknown API key")

func (s *Service) look(ctx context.Context, caller identity.Caller, raw string) (Holder, error) {
	var h Holder
	if raw == "" {
		return h, identity.TokenMissing.Because("an API key is needed")
	}
	if !Looks(raw) {
		return h, identity.TokenInvalid.Because("not an API key") // not counted: it costs nothing
	}
	now := s.Now()
	err := s.Store.View(ctx, func(r identity.Reader) error {
		if key := networkKey(caller); key != "" {
			tries, err := r.Attempts(ctx, key)
			if err != nil {
				return err
			}
			if tries.LockedAt(now, s.Limits.Failures) {
				return identity.Locked.After(tries.ExpiresAt.Sub(now), "too many unknown API keys; wait and try again")
			}
		}
		var err error
		if h.Key, err = r.APIKeyByHash(ctx, hashOf(raw)); errors.Is(err, identity.NotFound) {
			return errUnknown
		} else if err != nil {
			return err
		}
		if !now.Before(h.Key.ExpiresAt) {
			return identity.TokenExpired.Because("the API key has expired")
		}
		h.Subject, err = r.Subject(ctx, h.Key.SubjectID)
		switch {
		case err != nil:
			return err
		case !h.Subject.SuspendedAt.IsZero():
			return identity.Suspended.Because("this account is suspended")
		case h.Subject.AwaitsVerification():
			return identity.Unverified.Because("the e-mail address is not confirmed yet")
		}
		if caller.Door == "" {
			return nil // another service inspects it, from wherever that one is
		}
		// A key is a sign-in with each call: the hours and networks of her policies hold each time.
		return s.Policies.Admit(ctx, r, caller, h.Subject)
	})
	return h, err
}

// fail counts an unknown key against the sender's network.
func (s *Service) fail(ctx context.Context, caller identity.Caller) error {
	key := networkKey(caller)
	if key == "" {
		return nil
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		// Of many at once that passed the look at the count, only so many leave a row.
		tries, err := tx.CountAttempt(ctx, key, s.Now(), s.Limits.Window)
		if err != nil || tries.Count > s.Limits.Failures {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "apikey.use", Outcome: identity.TokenInvalid.Error()})
	})
}

func networkKey(caller identity.Caller) string {
	if network := caller.Network(); network != "" {
		return "apikey:" + network
	}
	return ""
}

func hashOf(raw string) []byte {
	sum := sha256.Sum256([]byte(raw))
	return sum[:]
}
