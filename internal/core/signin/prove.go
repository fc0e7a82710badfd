package signin

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// recoveryAMR names a code that stands in for a lost factor (RFC 8176 has no word for it).
const recoveryAMR = "recovery"

// holds says whether a session has been shown a second factor of one of the kinds (none: of any), or a code that stands in for one.
func (s *Service) holds(amr []string, kinds []identity.CredentialKind) bool {
	if !slices.Contains(amr, "mfa") {
		return false
	}
	return len(kinds) == 0 || slices.Contains(amr, recoveryAMR) || slices.ContainsFunc(s.Factors, func(f Factor) bool {
		return slices.Contains(kinds, f.Kind()) && slices.Contains(amr, f.AMR())
	})
}

// mayUseMailbox says whether a code goes to somebody's address who has enrolled no second factor. Where a door's organisation, or
// she herself, asks for a code, a confirmed address is good for one; a security policy that demands a factor wants one that she
// has enrolled. Who has one is never let off with her mailbox.
func (s *Service) mayUseMailbox(c credential.Context, goal *intent, enrolled []identity.Credential) bool {
	return goal.Mailbox && c.Policy.SecondFactor != identity.FactorNeeded && policy.Allows(c.Policy, identity.EmailCode) &&
		(len(goal.Kinds) == 0 || slices.Contains(goal.Kinds, identity.EmailCode)) && s.factor(identity.EmailCode) != nil &&
		c.Subject.Email != "" && !c.Subject.VerifiedAt.IsZero() &&
		!slices.ContainsFunc(enrolled, func(e identity.Credential) bool {
			return e.Kind != identity.Password && e.Kind != identity.RecoveryCode
		})
}

// mailbox is a factor that nobody enrolled: her address.
func mailbox(s identity.Subject) identity.Credential {
	return identity.Credential{ID: identity.CredentialID(s.ID), SubjectID: s.ID, Kind: identity.EmailCode, Target: s.Email}
}

// offered gives the credential of an offer as it stands now; NotFound where it is gone.
func offered(ctx context.Context, r identity.Reader, id identity.SubjectID, o offer) (identity.Credential, error) {
	if o.Mailbox == "" {
		return r.Credential(ctx, id, o.Kind)
	}
	subject, err := r.Subject(ctx, id)
	if err == nil && subject.Email != o.Mailbox {
		err = identity.NotFound
	}
	return mailbox(subject), err
}

// prepare is a factor's Offer for a ticket, with a link in the mail where the door has a page for it.
func (s *Service) prepare(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject, c identity.Credential, goal *intent, t *identity.Ticket) (string, bool, error) {
	f := s.factor(c.Kind)
	linker, links := f.(Linker)
	if !links || goal.linksWith == nil || s.Links == nil {
		return f.Offer(ctx, tx, caller, subject, c, t.ExpiresAt)
	}
	data, err := json.Marshal(halfway{t.ID, c.ID})
	if err != nil {
		return "", false, err
	}
	id, err := s.Links.Secret(link.Hex)
	if err != nil {
		return "", false, err
	}
	secret, err := s.Links.Make(ctx, tx, id, link.New{Purpose: CodeLink, Door: t.Door, SubjectID: subject.ID, Data: data, ExpiresAt: t.ExpiresAt})
	if err != nil {
		return "", false, err
	}
	return linker.OfferLink(ctx, tx, subject, c, t.ExpiresAt, goal.linksWith(secret))
}

// CodeLink is the purpose of a link that stands for the code of a second step.
const CodeLink = "signin.link"

// halfway is what such a link remembers.
type halfway struct {
	Ticket     identity.TicketID     `json:"ticket"`
	Credential identity.CredentialID `json:"credential"`
}

// LinkInput is a second step by link.
type LinkInput struct {
	Caller identity.Caller
	Secret identity.Secret
}

// ByLink is Proof with the link of a mail in the place of the code in it. It is good as long as the code is: its sign-in waits, has
// tries left, and goes to the same mailbox. Its refusals are TicketInvalid and what Password refuses for the subject.
func (s *Service) ByLink(ctx context.Context, in LinkInput) (Outcome, error) {
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		l, err := s.Links.Take(ctx, tx, in.Caller.Door, in.Secret, CodeLink)
		if err != nil {
			return err
		}
		var half halfway
		if err := json.Unmarshal(l.Data, &half); err != nil {
			return err
		}
		t, err := s.ticket(ctx, tx, in.Caller, TicketRef{ID: half.Ticket}, ProofDue)
		if identity.KindOf(err) == identity.TicketInvalid {
			return link.Refused
		}
		if err != nil {
			return err
		}
		var goal intent
		if err := json.Unmarshal(t.Data, &goal); err != nil {
			return err
		}
		i := slices.IndexFunc(goal.Offers, func(o offer) bool { return o.Kind == identity.EmailCode })
		if i < 0 {
			return link.Refused
		}
		c, err := offered(ctx, tx, t.SubjectID, goal.Offers[i])
		if err == nil && c.ID != half.Credential || errors.Is(err, identity.NotFound) {
			return link.Refused
		}
		if err != nil {
			return err
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return link.Refused
		}
		if err := tx.ClearAttempts(ctx, factorKey(t.SubjectID)); err != nil {
			return err
		}
		goal.proven(&proof{identity.EmailCode, s.factor(identity.EmailCode).AMR()})
		out, refusal, err = s.resume(ctx, tx, in.Caller, t.SubjectID, goal)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}
