package signin

import (
	"context"
	"time"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// EnterInput is the wish of somebody who is signed in to go to another organisation.
type EnterInput struct {
	Caller       identity.Caller
	Live         *session.Live // her session, as Check has just given it
	Organisation identity.OrganisationID
	TicketForm   TicketForm
	TicketTTL    time.Duration // 0: the house's
	// Demand is the door's own word on whether members of the organisation need a second factor; "": it has none.
	Demand identity.Demand
	// Kinds are those that satisfy Demand; none: all.
	Kinds []identity.CredentialKind
	// CodeLink is PasswordInput's.
	CodeLink func(identity.Secret) string
}

// Enter makes an organisation the session's. Where that one demands a second factor and the session had none, the outcome is a
// ticket; Proof then goes on in the same session, which stays where it was until then. Who may not enter is refused before she
// is asked for a code, with session.Service.Enter's refusals.
func (s *Service) Enter(ctx context.Context, in EnterInput) (Outcome, error) {
	held := &in.Live.Session
	if in.Demand != identity.FactorNeeded || s.holds(held.AMR, in.Kinds) {
		entered, err := s.Sessions.EnterChecked(ctx, in.Caller, in.Live, in.Organisation)
		return Outcome{Subject: in.Live.Subject, Session: entered}, err
	}
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		if _, err := s.Sessions.MayEnterIn(ctx, tx, in.Caller, held.ID, in.Organisation); err != nil {
			return err
		}
		subject, err := tx.Subject(ctx, held.SubjectID)
		if err != nil {
			return err
		}
		c, err := s.Passwords.Load(ctx, tx, subject)
		if err != nil {
			return err
		}
		goal := intent{
			Org: in.Organisation, AMR: held.AMR, NeedsProof: true, Steps: Steps{Proof: true},
			TicketForm: in.TicketForm, TicketTTL: in.TicketTTL, Enters: held.ID, Kinds: in.Kinds, Mailbox: true, linksWith: in.CodeLink,
		}
		if c.Current != nil {
			goal.PasswordVersion = c.Current.Version
		}
		if out, refusal, err = s.issue(ctx, tx, in.Caller, c, goal, ProofDue); err != nil || refusal == nil {
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
func (s *Service) enter(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal intent) (Outcome, error, error) {
	if _, refusal := s.Sessions.MayEnterIn(ctx, tx, caller, goal.Enters, goal.Org); refusal != nil {
		if !refuses(refusal) {
			return Outcome{}, nil, refusal
		}
		return Outcome{}, refusal, s.record(ctx, tx, caller, c.Subject.ID, refusal)
	}
	entered, err := s.Sessions.EnterIn(ctx, tx, caller, goal.Enters, goal.Org, goal.AMR)
	return Outcome{Subject: c.Subject, Session: entered}, nil, err
}
