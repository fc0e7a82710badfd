package signin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/identity"
)

// ProvenElsewhere is the purpose of a ticket that stands for a proof which was made elsewhere: at an identity provider, by a link.
const ProvenElsewhere = "signin.token"

// Proven is what such a ticket stands for.
type Proven struct {
	AMR   []string `json:"amr"`
	Bound Bound    `json:"bound,omitzero"`
	// Password is the version of the password that the proof rests on: with another one the token is worth nothing. 0: on none.
	Password int64 `json:"password,omitempty"`
}

// Bound is who may redeem a token, and where the browser that carries it was sent.
type Bound struct {
	Client   string        `json:"client"`
	Redirect string        `json:"redirect"`
	TTL      time.Duration `json:"ttl"` // of the token
}

// IssueIn makes a one-time token in the transaction of the proof that it stands for; amr says which that was. The token takes the
// person to the same steps as a password would, at the same door. It travels in an address, so its life is short.
func (s *Service) IssueIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, ttl time.Duration, amr ...string) (identity.Secret, error) {
	return s.issueToken(ctx, tx, caller, id, ttl, Proven{AMR: amr})
}

// DeriveIn is IssueIn for somebody who proves by a session of hers that she signed in before; it must be alive, and her own.
func (s *Service) DeriveIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SessionID, ttl time.Duration) (identity.Secret, error) {
	held, err := tx.Session(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && (!held.EndedAt.IsZero() || !s.Now().Before(held.Ends())) {
		return "", identity.TokenRevoked.Because("the session has ended")
	}
	if err != nil {
		return "", err
	}
	if held.ActorID != "" {
		return "", identity.Denied.Because("not while acting as another person")
	}
	said := Proven{AMR: held.AMR}
	if current, err := tx.Credential(ctx, held.SubjectID, identity.Password); err == nil {
		said.Password = current.Version
	} else if !errors.Is(err, identity.NotFound) {
		return "", err
	}
	return s.issueToken(ctx, tx, caller, held.SubjectID, ttl, said)
}

// hand ends the machine with a token instead of a session.
func (s *Service) hand(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal intent) (Outcome, error, error) {
	token, err := s.issueToken(ctx, tx, caller, c.Subject.ID, goal.Hand.TTL, Proven{AMR: goal.AMR, Bound: *goal.Hand, Password: goal.PasswordVersion})
	return Outcome{Subject: c.Subject, Token: token}, nil, err
}

func (s *Service) issueToken(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, ttl time.Duration, said Proven) (identity.Secret, error) {
	data, err := json.Marshal(said)
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
		Action: ProvenElsewhere, SubjectID: id, After: map[string]any{"amr": said.AMR},
	})
}

// TokenInput is a first step with a one-time token.
type TokenInput struct {
	Caller identity.Caller
	Token  identity.Secret
	From   identity.Door // that issued it; "": the caller's
	Way
	Until time.Time // the session's end at the latest; zero: as the door's rules say
	// Bound says whether the token may be redeemed here; nil: only one that is bound to nothing. The refused one is spent.
	Bound func(Bound) bool
}

// Token takes the first step with a one-time token. A second factor is asked where the policy or the organisation demands one and the
// proof had none, and not merely because she has one: whoever vouched for her has asked for what it wants. A token that is unknown,
// spent, stale or another door's is BadCredential; the other refusals are Password's.
func (s *Service) Token(ctx context.Context, in TokenInput) (Outcome, error) {
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		out, refusal = Outcome{}, nil
		t, said, c, err := s.redeem(ctx, tx, in)
		if t.ID != "" && errors.Is(err, identity.BadCredential) {
			refusal = err // beside the transaction: what was shown stays spent
			return s.record(ctx, tx, in.Caller, t.SubjectID, refusal)
		}
		if err != nil {
			return err // of 256 bit nobody guesses one, so there is nothing to count
		}
		goal := in.intent()
		goal.AMR, goal.Until, goal.NeedsProof = said.AMR, in.Until, c.Policy.SecondFactor == identity.FactorNeeded
		if c.Current != nil {
			goal.PasswordVersion = c.Current.Version
		}
		if land, found := landing(in.Landing, c.Subject, c.Organisations, s.Now()); found {
			goal.Org = land.ID
			goal.Mailbox = in.Demand != nil && in.Demand(land) == identity.FactorNeeded
			goal.NeedsProof = goal.NeedsProof || goal.Mailbox
			if goal.Mailbox && in.DemandKinds != nil {
				goal.Kinds = in.DemandKinds(land)
			}
		}
		goal.NeedsProof = goal.NeedsProof && !slices.Contains(goal.AMR, "mfa")
		if refusal, err = s.admit(ctx, tx, in.Caller, c.Subject.ID, goal.PasswordVersion); err != nil {
			return err
		}
		if refusal == nil && in.Admit != nil {
			if refusal, err = s.admitted(ctx, tx, in.Admit, c.Subject, &goal); err != nil {
				return err
			}
		}
		if refusal == nil {
			out, refusal, err = s.proceed(ctx, tx, in.Caller, c, goal)
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
func (s *Service) redeem(ctx context.Context, tx identity.Tx, in TokenInput) (t identity.Ticket, said Proven, c credential.Context, err error) {
	refused := identity.BadCredential.Because("this sign-in is unknown, was used already or took too long")
	from := in.Caller
	if in.From != "" {
		from.Door = in.From
	}
	if t, err = s.ticket(ctx, tx, from, TicketRef{Secret: in.Token}, ProvenElsewhere); errors.Is(err, identity.TicketInvalid) {
		return identity.Ticket{}, said, c, refused
	} else if err != nil {
		return t, said, c, err
	}
	spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
	if err != nil {
		return t, said, c, err
	}
	if err := json.Unmarshal(t.Data, &said); err != nil {
		return t, said, c, err
	}
	if !spent || (in.Bound == nil && said.Bound != Bound{}) || in.Bound != nil && !in.Bound(said.Bound) {
		return t, said, c, refused // whoever shows another's token has stolen it: it stays spent
	}
	subject, err := tx.Subject(ctx, t.SubjectID)
	if errors.Is(err, identity.NotFound) || err == nil && !s.Sessions.Rules[in.Caller.Door].Admits(subject.Kind) {
		return t, said, c, refused
	}
	if err != nil {
		return t, said, c, err
	}
	if c, err = s.Passwords.Load(ctx, tx, subject); err != nil {
		return t, said, c, err
	}
	if said.Password != 0 && (c.Current == nil || c.Current.Version != said.Password) {
		return t, said, c, refused // the password was changed since
	}
	return t, said, c, nil
}
