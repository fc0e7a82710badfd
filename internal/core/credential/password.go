// Package credential changes what a person proves herself with: new passwords against rule and history, and the removal of
// second factors. Signing in, recovery, registration and management all set passwords here.
package credential

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// Hasher is the bounded pool of password hashes (factor/password). Its calls take tens of milliseconds: never inside a
// transaction.
type Hasher interface {
	Hash(ctx context.Context, pw identity.Secret) (string, error)
	// Verify checks pw; words is what some foreign hashes mix in (a login name). rehash: the hash is not as we would make it.
	Verify(ctx context.Context, encoded string, pw identity.Secret, words string) (match, rehash bool, err error)
	VerifyDecoy(ctx context.Context, pw identity.Secret) error
}

// Checker judges a new password by a rule; context are words that it may not be made of.
type Checker func(rule identity.PasswordRule, pw identity.Secret, context ...string) error

// Passwords sets them.
type Passwords struct {
	Hasher   Hasher
	Check    Checker
	Policies *policy.Service
	Sessions *session.Service
	Log      *audit.Log
	DoorRule map[identity.Door]identity.PasswordRule // what a door's contract demands besides
	Now      func() time.Time
	Rand     io.Reader
}

// Context is what is known of the person whose password is set.
type Context struct {
	Subject       identity.Subject
	Organisations []identity.Organisation
	Policy        identity.Policy      // the effective one
	Current       *identity.Credential // nil: she has none yet
}

// Load reads the context of a subject.
func (p *Passwords) Load(ctx context.Context, r identity.Reader, subject identity.Subject) (Context, error) {
	c := Context{Subject: subject}
	var err error
	if c.Organisations, err = policy.Organisations(ctx, r, subject.ID); err != nil {
		return Context{}, err
	}
	if c.Policy, err = p.Policies.Of(ctx, r, subject, c.Organisations); err != nil {
		return Context{}, err
	}
	current, err := r.Credential(ctx, subject.ID, identity.Password)
	if errors.Is(err, identity.NotFound) {
		return c, nil
	}
	if err != nil {
		return Context{}, err
	}
	c.Current = &current
	return c, nil
}

// Rule is what a new password must satisfy at a door.
func (p *Passwords) Rule(c Context, door identity.Door) identity.PasswordRule {
	return policy.StricterPassword(c.Policy.Password, p.DoorRule[door])
}

// Prepare checks a new password against rule and history and hashes it. Its refusals are WeakPassword, PasswordReused, Invalid
// and Busy.
func (p *Passwords) Prepare(ctx context.Context, c Context, door identity.Door, pw identity.Secret) (string, error) {
	rule := p.Rule(c, door)
	if err := p.Check(rule, pw, ContextWords(c)...); err != nil {
		return "", err
	}
	if err := p.unused(ctx, c, rule, pw); err != nil {
		return "", err
	}
	return p.Hasher.Hash(ctx, pw)
}

// unused compares with the remembered passwords, the present one included.
func (p *Passwords) unused(ctx context.Context, c Context, rule identity.PasswordRule, pw identity.Secret) error {
	if c.Current == nil {
		return nil
	}
	for _, hash := range remembered(*c.Current, rule.History) {
		match, _, err := p.Hasher.Verify(ctx, hash, pw, c.Subject.Email)
		if err != nil {
			return err
		}
		if match {
			return identity.PasswordReused.Because("this password was used before")
		}
	}
	return nil
}

// remembered gives the hashes that a new password may not equal, newest first.
func remembered(c identity.Credential, history int) []string {
	if history == 0 {
		return nil
	}
	hashes := append([]string{c.Hash}, c.Previous...)
	return hashes[:min(len(hashes), history)]
}

// keepPrevious is how many earlier hashes are stored: as many as any policy may ask for.
const keepPrevious = 24

// Change is a new password on its way into the store.
type Change struct {
	Caller      identity.Caller
	SubjectID   identity.SubjectID
	Hash        string
	Based       *identity.Credential // what Prepare saw; if that is no longer what stands: Conflict. nil: none stood
	MustChange  bool
	KeepSession identity.SessionID // the one that stays; all others end
	Reason      string             // for the audit log and the ended sessions
}

// ResetTicket is the purpose of a ticket that was mailed as a link to set a new password (core/recovery).
const ResetTicket = "password-reset"

// SetIn stores a prepared password in the caller's transaction, remembers the one before, and ends the subject's sessions and
// the links that were mailed to replace the password before: whoever finds one later would undo this change.
func (p *Passwords) SetIn(ctx context.Context, tx identity.Tx, c Change) error {
	now := p.Now()
	if c.Based == nil {
		id, err := identity.NewID(now, p.Rand)
		if err != nil {
			return err
		}
		if err := tx.CreateCredential(ctx, identity.Credential{
			ID: identity.CredentialID(id), SubjectID: c.SubjectID, Kind: identity.Password, Hash: c.Hash,
			MustChange: c.MustChange, Version: 1, CreatedAt: now, UpdatedAt: now,
		}); err != nil {
			return err
		}
	} else {
		next := *c.Based
		next.Previous = slices.Concat([]string{next.Hash}, next.Previous)
		next.Previous = next.Previous[:min(len(next.Previous), keepPrevious)]
		next.Hash, next.MustChange, next.UpdatedAt = c.Hash, c.MustChange, now
		changed, err := tx.UpdateCredential(ctx, next)
		if err != nil {
			return err
		}
		if !changed {
			return identity.Conflict.Because("the password was changed by somebody else just now")
		}
	}
	if err := tx.DeleteTicketsOf(ctx, c.SubjectID, ResetTicket); err != nil {
		return err
	}
	if err := p.Sessions.EndAllIn(ctx, tx, c.Caller, c.SubjectID, c.KeepSession, c.Reason); err != nil {
		return err
	}
	if err := tx.Announce(ctx, identity.SubjectChanged, string(c.SubjectID), now); err != nil {
		return err
	}
	return p.Log.Record(ctx, tx, c.Caller, audit.Entry{Action: "password.set", SubjectID: c.SubjectID, Reason: c.Reason})
}

// ContextWords are what a guesser knows about the person: no password may be made of them (NIST SP 800-63B-4, 3.1.1.2).
func ContextWords(c Context) []string {
	local, domain, _ := strings.Cut(c.Subject.Email, "@")
	words := []string{"gatehouse", local, domain, c.Subject.Name, c.Subject.GivenName, c.Subject.FamilyName}
	for _, o := range c.Organisations {
		words = append(words, o.Key, o.Name)
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}
