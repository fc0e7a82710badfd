package signin

import (
	"context"
	"time"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/identity"
)

// EnterInput is the wish of somebody who is signed in to go to another organisation.
type EnterInput struct {
	Caller       identity.Caller
	Session      identity.SessionID
	Organisation identity.OrganisationID
	TicketForm   TicketForm
	TicketTTL    time.Duration // 0: the house's
	// Demand reads a door's own words for "members need a second factor". May be nil.
	Demand func(identity.Organisation) identity.Demand
	// DemandKinds and CodeLink are PasswordInput's.
	DemandKinds func(identity.Organisation) []identity.CredentialKind
	CodeLink    func(identity.Secret) string
}

// Enter makes an organisation the session's. Where that one demands a second factor and the session had none, the outcome is a
// ticket; Proof then goes on in the same session, which stays where it was until then. Who may not enter is refused before she
// is asked for a code, with session.Service.Enter's refusals.
func (s *Service) Enter(ctx context.Context, in EnterInput) (Outcome, error) {
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		held, err := s.Sessions.MayEnterIn(ctx, tx, in.Caller, in.Session, in.Organisation)
		if err != nil {
			return err
		}
		organisation, err := tx.Organisation(ctx, in.Organisation)
		if err != nil {
			return err
		}
		subject, err := tx.Subject(ctx, held.SubjectID)
		if err != nil {
			return err
		}
		var kinds []identity.CredentialKind
		if in.DemandKinds != nil {
			kinds = in.DemandKinds(organisation)
		}
		if in.Demand == nil || in.Demand(organisation) != identity.FactorNeeded || s.holds(held.AMR, kinds) {
			entered, err := s.Sessions.EnterIn(ctx, tx, in.Caller, in.Session, in.Organisation, nil)
			out = Outcome{Subject: subject, Session: entered}
			return err
		}
		c, err := s.Passwords.Load(ctx, tx, subject)
		if err != nil {
			return err
		}
		todo := intent{
			Org: in.Organisation, AMR: held.AMR, NeedsProof: true, Steps: Steps{Proof: true},
			TicketForm: in.TicketForm, TicketTTL: in.TicketTTL, Enters: in.Session, Kinds: kinds, Mailbox: true, linksWith: in.CodeLink,
		}
		if c.Current != nil {
			todo.PasswordVersion = c.Current.Version
		}
		if out, refusal, err = s.issue(ctx, tx, in.Caller, c, todo, ProofDue); err != nil || refusal == nil {
			return err
		}
		return s.record(ctx, tx, in.Caller, subject.ID, refusal)
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

// enter goes on in a session that began earlier. It may have ended, or the organisation closed, while she looked for her code;
// the code stays spent.
func (s *Service) enter(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, todo intent) (Outcome, error, error) {
	if _, refusal := s.Sessions.MayEnterIn(ctx, tx, caller, todo.Enters, todo.Org); refusal != nil {
		if !refuses(refusal) {
			return Outcome{}, nil, refusal
		}
		return Outcome{}, refusal, s.record(ctx, tx, caller, c.Subject.ID, refusal)
	}
	entered, err := s.Sessions.EnterIn(ctx, tx, caller, todo.Enters, todo.Org, todo.AMR)
	return Outcome{Subject: c.Subject, Session: entered}, nil, err
}
