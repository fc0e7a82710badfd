// Package enrol lets a signed-in person set up an authenticator app: a fresh secret, then two codes in a row as proof that her app
// and our clock agree, then the factor is switched on.
//
//	Start ─► open ─► Confirm 1 ─► Confirm 2 ─► finished ─► EnrolFinishedIn ─► her second factor
//
// A set-up is a ticket: a quarter of an hour, counted tries, one for each person. It belongs to the session that began it: another
// session of hers, which a thief may hold, is neither shown its secret nor can it put a secret of its own in the place of one that
// she has confirmed. What is enrolled refuses the codes of the set-up, so none works twice.
package enrol

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

const (
	purpose = "totp.setup"
	ttl     = 15 * time.Minute
	// tries are confirmations, right ones included. The secret is on the screen, so there is nothing to guess; what is bounded is
	// the rows that one set-up can cause.
	tries = 20
)

// Service sets up authenticators.
type Service struct {
	Store    identity.Store
	Manage   *manage.Service
	Profiles *profile.Service
	Log      *audit.Log
	Box      manage.Box
	Now      func() time.Time
	Rand     io.Reader
}

// The refusals of Confirm that doors have words of their own for.
var (
	ErrNotOpen  = identity.TicketInvalid.Because("no authenticator is being set up; start again")
	ErrIndex    = identity.Invalid.In("index", "must be 1 or 2")
	ErrOrder    = identity.Invalid.In("index", "must be 1 first, then 2")
	ErrWrong    = identity.BadCode.Because("the code is wrong")
	ErrRepeated = identity.BadCode.Because("this code was used already; wait for the next one")
)

// setup is what the ticket remembers.
type setup struct {
	Session   identity.SessionID `json:"session"`
	Sealed    []byte             `json:"sealed"` // for the ticket's hash
	Confirmed int                `json:"confirmed"`
	LastStep  int64              `json:"last_step"` // of the newest code that was taken
}

const finished = 2

// Started is what the person's app must learn.
type Started struct {
	Account   string // what the app should call it: her address
	Secret    identity.Secret
	ExpiresAt time.Time
}

// Start begins a set-up, or shows the one that this session has open again. With reset it begins anew.
func (s *Service) Start(ctx context.Context, caller identity.Caller, live *session.Live, reset bool) (Started, error) {
	if err := live.Herself(); err != nil {
		return Started{}, err
	}
	var out Started
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		p, err := s.Profiles.OfIn(ctx, tx, live.Subject.ID)
		if errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("this account is gone")
		}
		if err != nil {
			return err
		}
		if !policy.Allows(p.Policy, identity.TOTP) {
			return identity.Denied.Because("the security policy does not allow authenticator apps")
		}
		t, open, err := s.open(ctx, tx, p.Subject.ID)
		if err != nil {
			return err
		}
		if !reset && open != nil && open.Session == live.Session.ID && (t.TriesLeft > 0 || open.Confirmed == finished) {
			secret, err := s.Box.Open(sealedFor(p.Subject.ID), open.Sealed)
			out = Started{p.Subject.Email, identity.Secret(secret), t.ExpiresAt}
			return err
		}
		secret, err := totp.NewSecret(s.Rand)
		if err != nil {
			return err
		}
		id, err := identity.NewID(s.Now(), s.Rand)
		if err != nil {
			return err
		}
		now := s.Now()
		t = identity.Ticket{
			ID: identity.TicketID(id), Hash: hashOf(p.Subject.ID), Purpose: purpose, Door: caller.Door, SubjectID: p.Subject.ID, TriesLeft: tries,
			CreatedAt: now, ExpiresAt: now.Add(ttl),
		}
		fresh := setup{Session: live.Session.ID, Sealed: s.Box.Seal(sealedFor(p.Subject.ID), []byte(secret)), LastStep: -1}
		if err := s.keep(ctx, tx, t, fresh); err != nil {
			return err
		}
		out = Started{p.Subject.Email, identity.Secret(secret), t.ExpiresAt}
		return s.Log.Record(ctx, tx, caller, audit.Entry{
			Action: "factor.setup", SubjectID: p.Subject.ID, ActorID: p.Subject.ID, After: map[string]any{"kind": identity.TOTP},
		})
	})
	return out, err
}

// Confirm takes the code that her app shows: 1 first, then 2 with a code of a later time step. It says whether another code is
// needed. 1 begins the confirmation anew where it had come further. Its refusals are those above.
func (s *Service) Confirm(ctx context.Context, caller identity.Caller, live *session.Live, index int, code string) (more bool, err error) {
	if err := live.Herself(); err != nil {
		return false, err
	}
	if index != 1 && index != finished {
		return false, ErrIndex
	}
	var refusal error // beside the transaction, which keeps the count
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		t, open, err := s.open(ctx, tx, live.Subject.ID)
		if err != nil {
			return err
		}
		if open == nil || open.Session != live.Session.ID {
			return ErrNotOpen
		}
		if index == finished && open.Confirmed != 1 {
			return ErrOrder
		}
		left, tried, err := tx.TryTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !tried {
			return ErrNotOpen
		}
		secret, err := s.Box.Open(sealedFor(live.Subject.ID), open.Sealed)
		if err != nil {
			return err
		}
		e := audit.Entry{Action: "factor.confirm", SubjectID: live.Subject.ID, ActorID: live.Subject.ID, After: map[string]any{"kind": identity.TOTP, "code": index}}
		step, right := totp.Match(string(secret), code, s.Now(), open.LastStep)
		if !right {
			refusal = ErrWrong
			if _, before := totp.Match(string(secret), code, s.Now(), -1); before {
				refusal = ErrRepeated
			}
			e.Outcome = identity.BadCode.Error()
			return s.Log.Record(ctx, tx, caller, e)
		}
		t.TriesLeft, open.Confirmed, open.LastStep = left, index, step
		if err := s.keep(ctx, tx, t, *open); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, e)
	})
	if err != nil {
		return false, err
	}
	return index != finished, refusal
}

// FinishedIn says whether somebody has a set-up that was confirmed and not switched on yet. Her own session must be the one that
// made it; for somebody else who may change her it must still be alive.
func (s *Service) FinishedIn(ctx context.Context, r identity.Reader, caller identity.Caller, id identity.SubjectID) (bool, error) {
	_, done, err := s.done(ctx, r, caller, id)
	return done != nil, err
}

// EnrolFinishedIn makes the finished set-up her second factor, in place of an earlier authenticator; false where there is none.
// Who may was decided before.
func (s *Service) EnrolFinishedIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID) (enrolled bool, err error) {
	t, done, err := s.done(ctx, tx, caller, id)
	if err != nil || done == nil {
		return false, err
	}
	secret, err := s.Box.Open(sealedFor(id), done.Sealed)
	if err != nil {
		return false, err
	}
	if spent, err := tx.SpendTicket(ctx, t.ID, s.Now()); err != nil || !spent {
		return false, err
	}
	if err := s.Manage.EnrolTOTPIn(ctx, tx, caller, id, identity.Secret(secret)); err != nil {
		return false, err
	}
	cred, err := tx.Credential(ctx, id, identity.TOTP)
	if err != nil {
		return false, err
	}
	if _, err := tx.SpendStep(ctx, cred.ID, done.LastStep); err != nil {
		return false, err
	}
	return true, tx.DeleteTicketsOf(ctx, id, purpose)
}

func (s *Service) done(ctx context.Context, r identity.Reader, caller identity.Caller, id identity.SubjectID) (identity.Ticket, *setup, error) {
	t, open, err := s.open(ctx, r, id)
	if err != nil || open == nil || open.Confirmed != finished {
		return t, nil, err
	}
	if caller.SubjectID == id && caller.SessionID != open.Session {
		return t, nil, nil
	}
	begun, err := r.Session(ctx, open.Session)
	if errors.Is(err, identity.NotFound) || err == nil && (!begun.EndedAt.IsZero() || !s.Now().Before(begun.Ends())) {
		return t, nil, nil
	}
	return t, open, err
}

// open finds her set-up; nil where none is open.
func (s *Service) open(ctx context.Context, r identity.Reader, id identity.SubjectID) (identity.Ticket, *setup, error) {
	t, err := r.TicketByHash(ctx, hashOf(id))
	if errors.Is(err, identity.NotFound) {
		return t, nil, nil
	}
	if err != nil || !t.SpentAt.IsZero() || !s.Now().Before(t.ExpiresAt) {
		return t, nil, err
	}
	var found setup
	if err := json.Unmarshal(t.Data, &found); err != nil {
		return t, nil, err
	}
	return t, &found, nil
}

// keep puts the set-up in the place of whatever there was.
func (s *Service) keep(ctx context.Context, tx identity.Tx, t identity.Ticket, next setup) (err error) {
	if t.Data, err = json.Marshal(next); err != nil {
		return err
	}
	if err := tx.DeleteTicketsOf(ctx, t.SubjectID, purpose); err != nil {
		return err
	}
	return tx.CreateTicket(ctx, t)
}

// hashOf is where a set-up is found: by whose it is. Its purpose keeps anybody from showing it as another ticket.
func hashOf(id identity.SubjectID) []byte {
	sum := sha256.Sum256([]byte(purpose + "\x00" + string(id)))
	return sum[:]
}

func sealedFor(id identity.SubjectID) string { return purpose + ":" + string(id) }
