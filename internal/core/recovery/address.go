package recovery

import (
	"context"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// VerifyTicket is the purpose of a ticket that was mailed as a link to confirm an address. Like every ticket it dies when the
// address changes (manage.Service.UpdateIn).
const VerifyTicket = "email-verification"

// StartVerificationIn has somebody show that her address is hers, in the caller's transaction: she is mailed a link, and until
// she follows it she may not sign in and holds no session. Links of this kind that she was mailed before die. The caller has
// decided that he may ask for it. Its refusals are NotFound, Throttled (so many mails to one person), and Denied for the last
// active superadmin, whom nobody could help if the mail went astray.
func (s *Service) StartVerificationIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, link Link) (identity.Subject, error) {
	must, verified := true, false
	subject, err := s.Manage.UpdateIn(ctx, tx, caller, id, manage.Change{MustVerify: &must, Verified: &verified})
	if err != nil {
		return subject, err
	}
	if err := s.sendAnew(ctx, tx, caller, checks, subject, link); err != nil {
		return subject, err
	}
	return subject, s.Log.Record(ctx, tx, caller, audit.Entry{Action: "verification.request", SubjectID: id})
}

// StartVerification is StartVerificationIn in a transaction of its own.
func (s *Service) StartVerification(ctx context.Context, caller identity.Caller, id identity.SubjectID, link Link) (subject identity.Subject, err error) {
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		subject, err = s.StartVerificationIn(ctx, tx, caller, id, link)
		return err
	})
	return subject, err
}

// Purpose says which of some purposes a link is good for; it spends nothing. Its refusal is TicketInvalid.
func (s *Service) Purpose(ctx context.Context, caller identity.Caller, secret identity.Secret, among ...string) (purpose string, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		t, err := s.Links.Open(ctx, r, caller.Door, secret, among...)
		purpose = t.Purpose
		return err
	})
	return purpose, err
}

// LookAtVerification says whether a link to confirm an address is still good; it spends nothing.
func (s *Service) LookAtVerification(ctx context.Context, caller identity.Caller, secret identity.Secret) error {
	return s.Store.View(ctx, func(r identity.Reader) error {
		_, err := s.Links.Open(ctx, r, caller.Door, secret, VerifyTicket)
		return err
	})
}

// Verify spends a link: the address that it was mailed to is its reader's. It opens no session and sets no password. Whoever is
// suspended stays so. Its refusal is TicketInvalid, one for unknown, spent and expired links.
func (s *Service) Verify(ctx context.Context, caller identity.Caller, secret identity.Secret) (identity.Subject, error) {
	var subject identity.Subject
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		t, err := s.Links.Take(ctx, tx, caller.Door, secret, VerifyTicket)
		if err != nil {
			return err
		}
		herself := caller
		herself.ActorID = t.SubjectID
		verified := true
		subject, err = s.Manage.UpdateIn(ctx, tx, herself, t.SubjectID, manage.Change{Verified: &verified})
		if err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, herself, audit.Entry{Action: "verification.confirm", SubjectID: t.SubjectID})
	})
	return subject, err
}
