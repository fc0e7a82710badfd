package signin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/identity"
)

// ProvenElsewhere is the purpose of a ticket that stands for a proof which was made elsewhere: at an identity provider, by a link.
const ProvenElsewhere = "signin.token"

// proven is what such a ticket remembers.
type proven struct {
	AMR []string `json:"amr"`
}

// IssueIn makes a one-time token in the transaction of the proof that it stands for; amr says which that was. The token takes the
// person to the same steps as a password would, at the same door. It travels in an address, so its life is short.
func (s *Service) IssueIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, ttl time.Duration, amr ...string) (identity.Secret, error) {
	data, err := json.Marshal(proven{amr})
	if err != nil {
		return "", err
	}
	secret, err := s.ticketSecret(OpaqueTicket)
	if err != nil {
		return "", err
	}
	now := s.Now()
	ticket, err := identity.NewID(now, s.Rand)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(secret))
	if err := tx.CreateTicket(ctx, identity.Ticket{
		ID: identity.TicketID(ticket), Hash: hash[:], Purpose: ProvenElsewhere, Door: caller.Door, SubjectID: id, Data: data, TriesLeft: 1,
		CreatedAt: now, ExpiresAt: now.Add(ttl),
	}); err != nil {
		return "", err
	}
	return identity.Secret(secret), s.Log.Record(ctx, tx, caller, audit.Entry{
		Action: ProvenElsewhere, SubjectID: id, After: map[string]any{"amr": amr},
	})
}

// TokenInput is a first step with a one-time token.
type TokenInput struct {
	Caller     identity.Caller
	Token      identity.Secret
	ClientID   identity.ClientID
	Scopes     []string
	Remember   bool
	KeepsSpent bool
	Landing    Landing
	Steps      Steps
	TicketForm TicketForm
	TicketTTL  time.Duration // 0: the house's
	Attributes []byte        // the door's own, for the session
	// Demand reads a door's own words for "members need a second factor" off the organisation that she lands in. May be nil.
	Demand func(identity.Organisation) identity.Demand
	// DemandKinds and CodeLink are PasswordInput's.
	DemandKinds func(identity.Organisation) []identity.CredentialKind
	CodeLink    func(identity.Secret) string
}

// Token takes the first step with a one-time token. A second factor is asked where the policy or the organisation demands one, and
// not merely because she has one: whoever vouched for her has asked for what it wants. A token that is unknown, spent, stale or
// another door's is BadCredential; the other refusals are Password's.
func (s *Service) Token(ctx context.Context, in TokenInput) (Outcome, error) {
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		out, refusal = Outcome{}, nil
		t, c, err := s.redeem(ctx, tx, in)
		if err != nil {
			return err // of 256 bit nobody guesses one, so there is nothing to count
		}
		var said proven
		if err := json.Unmarshal(t.Data, &said); err != nil {
			return err
		}
		todo := intent{
			ClientID: in.ClientID, Scopes: in.Scopes, Remember: in.Remember, KeepsSpent: in.KeepsSpent, Attributes: in.Attributes,
			AMR: said.AMR, Steps: in.Steps, TicketForm: in.TicketForm, TicketTTL: in.TicketTTL,
			NeedsProof: c.Policy.SecondFactor == identity.FactorNeeded, linksWith: in.CodeLink,
		}
		if c.Current != nil {
			todo.PasswordVersion = c.Current.Version
		}
		if land, found := landing(in.Landing, c.Subject, c.Organisations, s.Now()); found {
			todo.Org = land.ID
			todo.Mailbox = in.Demand != nil && in.Demand(land) == identity.FactorNeeded
			todo.NeedsProof = todo.NeedsProof || todo.Mailbox
			if todo.Mailbox && in.DemandKinds != nil {
				todo.Kinds = in.DemandKinds(land)
			}
		}
		if refusal, err = s.admit(ctx, tx, in.Caller, c.Subject.ID, todo.PasswordVersion); err != nil {
			return err
		}
		if refusal == nil {
			out, refusal, err = s.proceed(ctx, tx, in.Caller, c, todo)
		}
		if err != nil || refusal == nil {
			return err
		}
		return s.record(ctx, tx, in.Caller, c.Subject.ID, refusal)
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

// redeem spends the token and reads whom it is about.
func (s *Service) redeem(ctx context.Context, tx identity.Tx, in TokenInput) (identity.Ticket, credential.Context, error) {
	refused := identity.BadCredential.Because("this sign-in is unknown, was used already or took too long")
	t, err := s.ticket(ctx, tx, in.Caller, TicketRef{Secret: in.Token}, ProvenElsewhere)
	if errors.Is(err, identity.TicketInvalid) {
		return identity.Ticket{}, credential.Context{}, refused
	}
	if err != nil {
		return t, credential.Context{}, err
	}
	spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
	if err != nil {
		return t, credential.Context{}, err
	}
	if !spent {
		return t, credential.Context{}, refused
	}
	subject, err := tx.Subject(ctx, t.SubjectID)
	if errors.Is(err, identity.NotFound) || err == nil && !s.Sessions.Rules[in.Caller.Door].Admits(subject.Kind) {
		return t, credential.Context{}, refused
	}
	if err != nil {
		return t, credential.Context{}, err
	}
	c, err := s.Passwords.Load(ctx, tx, subject)
	return t, c, err
}
