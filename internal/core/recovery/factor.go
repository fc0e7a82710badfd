package recovery

import (
	"context"
	"crypto/hmac"
	"errors"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/link"
	"gatehouse/internal/factor/recoverycode"
	"gatehouse/internal/identity"
)

// Whoever lost her second factor asks for help, confirms it by mail, waits for an operator, and is mailed a code that works once in
// the factor's place:
//
//	Initiate ─► link in a mail ─► Confirm ─► waiting ─► Approve ─► code in a mail ─► SpendIn, at a sign-in's second step
//	                                                ─► Deny
//
// Her mailbox alone lets nobody in: a person has looked at the request (ASVS 5.0, 6.4.4), and the password is asked for before the
// code. The factor itself stays as it is.

// ConfirmTicket is the purpose of a link that confirms such a request.
const ConfirmTicket = "factor-recovery"

var confirmations = sort{ConfirmTicket, "recovery-confirm"}

const (
	codeTemplate = "recovery-code"
	usedTemplate = recoverycode.Template

	// initiationsPerHour bounds all such mails together: an operator has to look at what comes of them.
	initiationsPerHour = 1000
	waitTTL            = 7 * 24 * time.Hour
	codeTTL            = 24 * time.Hour
)

// Initiate mails a link to whoever has the login, as Forgot does: alike for everybody. Its refusal is Throttled.
func (s *Service) Initiate(ctx context.Context, in ForgotInput) error {
	return s.ask(ctx, in, confirmations, "factor.recovery.request", initiationsPerHour)
}

// ConfirmInput spends the link of a request.
type ConfirmInput struct {
	Caller identity.Caller
	Secret identity.Secret
	// AtOnce approves it without an operator: then her mailbox is all that she has to prove.
	AtOnce bool
}

// Confirm makes the request one that waits for an operator. Where one waits already, that one does. Its refusal is TicketInvalid.
func (s *Service) Confirm(ctx context.Context, in ConfirmInput) (identity.Recovery, error) {
	var waits identity.Recovery
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		t, err := s.Links.Take(ctx, tx, in.Caller.Door, in.Secret, ConfirmTicket)
		if err != nil {
			return err
		}
		subject, err := tx.Subject(ctx, t.SubjectID)
		if errors.Is(err, identity.NotFound) {
			return link.Refused
		}
		if err != nil {
			return err
		}
		if waits, err = s.waiting(ctx, tx, in.Caller, subject); err != nil {
			return err
		}
		herself := in.Caller
		herself.ActorID = subject.ID
		if err := s.Log.Record(ctx, tx, herself, recorded("factor.recovery.confirm", &waits)); err != nil {
			return err
		}
		if !in.AtOnce || !subject.SuspendedAt.IsZero() {
			return nil
		}
		waits, err = s.approveIn(ctx, tx, in.Caller, waits, subject)
		return err
	})
	return waits, err
}

func (s *Service) waiting(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject) (identity.Recovery, error) {
	all, err := tx.RecoveriesOf(ctx, subject.ID)
	if err != nil {
		return identity.Recovery{}, err
	}
	now := s.Now()
	for _, r := range all {
		if r.State == identity.RecoveryWaiting && now.Before(r.ExpiresAt) && r.Address == subject.Email {
			return r, nil
		}
	}
	id, err := identity.NewID(now, s.Rand)
	if err != nil {
		return identity.Recovery{}, err
	}
	r := identity.Recovery{
		ID: identity.RecoveryID(id), SubjectID: subject.ID, Door: caller.Door, Address: subject.Email, State: identity.RecoveryWaiting,
		CreatedAt: now, ExpiresAt: now.Add(waitTTL),
	}
	return r, tx.CreateRecovery(ctx, r)
}

func recorded(action string, r *identity.Recovery) audit.Entry {
	return audit.Entry{Action: action, SubjectID: r.SubjectID, After: map[string]any{"recovery": r.ID}}
}

// Recoveries lists requests by state ("": all), oldest first.
func (s *Service) Recoveries(ctx context.Context, state identity.RecoveryState, after identity.RecoveryID, limit int) (list []identity.Recovery, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		list, err = r.Recoveries(ctx, state, after, limit)
		return err
	})
	return list, err
}

// Approve mails a code to whoever's request waits. The caller has decided that he may. Its refusals are NotFound, Suspended, and
// Conflict for a request that waits no more, or whose mails went to an address that is no longer hers.
func (s *Service) Approve(ctx context.Context, caller identity.Caller, id identity.RecoveryID) (approved identity.Recovery, err error) {
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		r, err := tx.Recovery(ctx, id)
		if err != nil {
			return err
		}
		subject, err := tx.Subject(ctx, r.SubjectID)
		if err != nil {
			return err
		}
		approved, err = s.approveIn(ctx, tx, caller, r, subject)
		return err
	})
	return approved, err
}

var decided = identity.Conflict.Because("this request waits no more: it was decided, or is too old")

func (s *Service) approveIn(ctx context.Context, tx identity.Tx, caller identity.Caller, r identity.Recovery, subject identity.Subject) (identity.Recovery, error) {
	switch {
	case !subject.SuspendedAt.IsZero():
		return r, identity.Suspended.Because("this account is suspended")
	case subject.Email != r.Address:
		return r, identity.Conflict.Because("her address is another by now; she has to ask again")
	}
	code, err := recoverycode.New(s.Rand)
	if err != nil {
		return r, err
	}
	now := s.Now()
	r.State, r.Hash, r.DecidedAt, r.ExpiresAt = identity.RecoveryApproved, recoverycode.Sum(s.Links.Keys, string(r.ID), code), now, now.Add(codeTTL)
	done, err := tx.DecideRecovery(ctx, r, now)
	if err != nil {
		return r, err
	}
	if !done {
		return r, decided
	}
	if err := s.Mailer.Mail(ctx, tx, r.Address, codeTemplate, subject.Locale, map[string]string{
		"name": subject.Name, "code": code, "hours": strconv.Itoa(int(codeTTL.Hours())),
	}); err != nil {
		return r, err
	}
	return r, s.Log.Record(ctx, tx, caller, recorded("factor.recovery.approve", &r))
}

// Deny lets nobody in. Its refusals are NotFound and Conflict.
func (s *Service) Deny(ctx context.Context, caller identity.Caller, id identity.RecoveryID) (denied identity.Recovery, err error) {
	err = s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		if denied, err = tx.Recovery(ctx, id); err != nil {
			return err
		}
		now := s.Now()
		denied.State, denied.DecidedAt = identity.RecoveryDenied, now
		done, err := tx.DecideRecovery(ctx, denied, now)
		if err != nil {
			return err
		}
		if !done {
			return decided
		}
		return s.Log.Record(ctx, tx, caller, recorded("factor.recovery.deny", &denied))
	})
	return denied, err
}

// OpenIn says whether somebody has a code that SpendIn would take.
func (s *Service) OpenIn(ctx context.Context, r identity.Reader, subject identity.Subject) (bool, error) {
	all, err := r.RecoveriesOf(ctx, subject.ID)
	for i := range all {
		if err == nil && s.good(&all[i], &subject) {
			return true, nil
		}
	}
	return false, err
}

func (s *Service) good(r *identity.Recovery, subject *identity.Subject) bool {
	return r.State == identity.RecoveryApproved && s.Now().Before(r.ExpiresAt) && r.Address == subject.Email
}

// SpendIn says whether a code is one that an operator approved for somebody, spends it in the caller's transaction, and tells her.
func (s *Service) SpendIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, typed string) (bool, error) {
	code, ok := recoverycode.Parse(typed)
	if !ok {
		return false, nil
	}
	subject, err := tx.Subject(ctx, id)
	if errors.Is(err, identity.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	all, err := tx.RecoveriesOf(ctx, id)
	if err != nil {
		return false, err
	}
	for i := range all {
		r := &all[i]
		if !s.good(r, &subject) || !hmac.Equal(r.Hash, recoverycode.Sum(s.Links.Keys, string(r.ID), code)) {
			continue
		}
		spent, err := tx.SpendRecovery(ctx, r.ID, s.Now())
		if err != nil || !spent {
			return false, err
		}
		if err := s.Mailer.Mail(ctx, tx, subject.Email, usedTemplate, subject.Locale, map[string]string{"name": subject.Name, "left": ""}); err != nil {
			return false, err
		}
		herself := caller
		herself.ActorID = id
		return true, s.Log.Record(ctx, tx, herself, recorded("factor.recovery.use", r))
	}
	return false, nil
}
