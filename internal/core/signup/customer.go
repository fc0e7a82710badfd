package signup

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/identity"
)

// customersPerHour bounds what strangers from everywhere can have written in an hour.
const customersPerHour = 600

// CustomerInput asks for a customer's account.
type CustomerInput struct {
	Caller     identity.Caller
	Email      string
	Owner      string // the operator who will serve her
	Locale     string
	Attributes identity.Attributes
	Link       recovery.Link
}

// Customer makes the account of somebody who shows afterwards that the address is hers: she is mailed a link, and by it she chooses
// her password (recovery.Service.Reset) and may sign in. Until then the account opens nothing, and once the link has run out the
// address can be signed up again. Its refusals are Invalid and Conflict with the field, and Throttled.
func (s *Service) Customer(ctx context.Context, in CustomerInput) (identity.Subject, error) {
	in.Email = strings.TrimSpace(in.Email)
	if !login.ValidPlainEmail(strings.ToLower(in.Email)) {
		return identity.Subject{}, identity.Invalid.In(manage.FieldEmail, "must be an e-mail address")
	}
	if err := s.count(ctx, in.Caller); err != nil {
		return identity.Subject{}, err
	}
	var subject identity.Subject
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		subject, refusal = identity.Subject{}, nil
		now := s.Now()
		all, err := tx.CountAttempt(ctx, "signup:customers", now, time.Hour)
		if err != nil {
			return err
		}
		if all.Count > customersPerHour {
			refusal = identity.Throttled.After(all.ExpiresAt.Sub(now), "too many registrations; wait and try again")
			return nil
		}
		if err := s.clearAway(ctx, tx, in); err != nil {
			return err
		}
		subject, err = s.Manage.CreateIn(ctx, tx, in.Caller, manage.NewSubject{
			Kind: identity.Customer, Email: in.Email, Locale: in.Locale, Owner: in.Owner, MustVerify: true, Attributes: in.Attributes,
		})
		if err != nil {
			return err
		}
		if err := s.Recovery.SendWelcomeIn(ctx, tx, in.Caller, subject, in.Link); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{Action: "signup", SubjectID: subject.ID})
	})
	if err != nil {
		return identity.Subject{}, err
	}
	return subject, refusal
}

// clearAway removes who signed up with the address before and never followed her link in its time: anybody can type it.
func (s *Service) clearAway(ctx context.Context, tx identity.Tx, in CustomerInput) error {
	folded, err := login.Fold(in.Email)
	if err != nil {
		return identity.Invalid.In(manage.FieldEmail, "must be an e-mail address")
	}
	before, err := tx.SubjectByLogin(ctx, string(folded))
	if errors.Is(err, identity.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.Kind != identity.Customer || !before.AwaitsVerification() || s.Now().Before(before.CreatedAt.Add(in.Link.TTL)) {
		return nil // creating her will be refused
	}
	credentials, err := tx.Credentials(ctx, before.ID)
	if err != nil || len(credentials) > 0 {
		return err // somebody gave her a password: she is more than a sign-up
	}
	return s.Manage.DeleteIn(ctx, tx, in.Caller, before.ID)
}
