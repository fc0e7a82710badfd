package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/google/uuid"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/identity"
)

// issue makes a ticket for the step that is due.
func (s *Service) issue(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal intent, purpose string) (Outcome, error, error) {
	now := s.Now()
	ttl := s.Limits.TicketTTL
	if goal.TicketTTL > 0 {
		ttl = goal.TicketTTL
	}
	id, err := identity.NewID(now, s.Rand)
	if err != nil {
		return Outcome{}, nil, err
	}
	row := identity.Ticket{
		ID: identity.TicketID(id), Purpose: purpose, Door: caller.Door, SubjectID: c.Subject.ID,
		TriesLeft: s.Limits.TicketTries, CreatedAt: now, ExpiresAt: now.Add(ttl),
	}
	goal.Offers = nil
	if purpose == ProofDue {
		var refusal, err error
		if goal.Offers, refusal, err = s.offers(ctx, tx, caller, c, &goal, &row); err != nil || refusal != nil {
			return Outcome{}, refusal, err
		}
	}
	if row.Data, err = json.Marshal(goal); err != nil {
		return Outcome{}, nil, err
	}
	secret, err := s.ticketSecret(goal.TicketForm)
	if err != nil {
		return Outcome{}, nil, err
	}
	hash := sha256.Sum256([]byte(secret))
	row.Hash = hash[:]
	if err := tx.CreateTicket(ctx, row); err != nil {
		return Outcome{}, nil, err
	}
	ticket := &Ticket{
		ID: row.ID, Secret: identity.Secret(secret), Purpose: purpose, TriesLeft: row.TriesLeft,
		CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
	}
	for _, o := range goal.Offers {
		ticket.Factors = append(ticket.Factors, o.Kind)
	}
	err = s.Log.Record(ctx, tx, caller, audit.Entry{Action: purpose, SubjectID: c.Subject.ID, After: map[string]any{"factors": ticket.Factors}})
	return Outcome{Subject: c.Subject, Ticket: ticket}, nil, err
}

// offers prepares her second factors for a ticket, strongest first. A refusal says that none can be used now: without one she
// does not get in.
func (s *Service) offers(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal *intent, t *identity.Ticket) (list []offer, refusal, err error) {
	enrolled, err := tx.Credentials(ctx, c.Subject.ID)
	if err != nil {
		return nil, nil, err
	}
	refusal = identity.FactorRequired.Because("a second factor is needed, and this account has none that can be used")
	try := func(cred identity.Credential, mailbox string) error {
		memory, offered, err := s.prepare(ctx, tx, caller, c.Subject, cred, goal, t)
		switch {
		case err != nil && !refuses(err):
			return err
		case identity.KindOf(err) == identity.Throttled && err != nil:
			refusal = err
		case offered:
			list = append(list, offer{cred.Kind, memory, mailbox})
		}
		return nil
	}
	able := usable(c.Policy, goal.Kinds, enrolled, s.Factors)
	for _, cred := range able {
		if _, sends := s.factor(cred.Kind).(Resender); sends && len(list) > 0 {
			continue
		}
		if err := try(cred, ""); err != nil {
			return nil, nil, err
		}
	}
	if len(able) == 0 && s.mayUseMailbox(c, goal, enrolled) {
		if err := try(mailbox(c.Subject), c.Subject.Email); err != nil {
			return nil, nil, err
		}
	}
	if len(list) > 0 {
		return list, nil, nil
	}
	if s.Recovery != nil { // she lost it all, and an operator has helped her
		open, err := s.Recovery.OpenIn(ctx, tx, c.Subject)
		if err != nil {
			return nil, nil, err
		}
		if open {
			return []offer{{Kind: identity.RecoveryCode}}, nil, nil
		}
	}
	return nil, refusal, nil
}

func (s *Service) ticketSecret(form TicketForm) (string, error) {
	if form == UUIDTicket {
		id, err := uuid.NewRandomFromReader(s.Rand)
		return id.String(), err
	}
	var random [32]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(random[:]), nil
}

func (s *Service) factor(kind identity.CredentialKind) Factor {
	i := slices.IndexFunc(s.Factors, func(f Factor) bool { return f.Kind() == kind })
	if i < 0 {
		return nil
	}
	return s.Factors[i]
}

// TicketRef names a ticket: by what its holder shows, or by an id that a signed token of the door carried.
type TicketRef struct {
	Secret identity.Secret
	ID     identity.TicketID
}

func (s *Service) ticket(ctx context.Context, r identity.Reader, caller identity.Caller, ref TicketRef, purpose string) (identity.Ticket, error) {
	var t identity.Ticket
	var err error
	if ref.ID != "" {
		t, err = r.Ticket(ctx, ref.ID)
	} else {
		hash := sha256.Sum256([]byte(ref.Secret.Reveal()))
		t, err = r.TicketByHash(ctx, hash[:])
	}
	if errors.Is(err, identity.NotFound) {
		return t, ticketRefused
	}
	if err != nil {
		return t, err
	}
	if t.Purpose != purpose || t.Door != caller.Door || !t.SpentAt.IsZero() || t.TriesLeft <= 0 || !s.Now().Before(t.ExpiresAt) {
		return t, ticketRefused
	}
	return t, nil
}

var ticketRefused = identity.TicketInvalid.Because("this step is no longer open; sign in again")

// ProofInput is a second step.
type ProofInput struct {
	Caller identity.Caller
	Ticket TicketRef
	Kind   identity.CredentialKind // "": whichever offered factor the code is right for
	Code   string
	// Begun is called in the transaction in which the session begins. May be nil.
	Begun func(context.Context, identity.Tx, identity.Session) error
}

// Proof checks a second factor against its ticket. A wrong code takes a try; the last one ends the ticket. Its refusals are
// TicketInvalid, BadCode (with TriesLeft), Locked, and what Password refuses for the subject.
func (s *Service) Proof(ctx context.Context, in ProofInput) (Outcome, error) {
	var out Outcome
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		t, err := s.ticket(ctx, tx, in.Caller, in.Ticket, ProofDue)
		if err != nil {
			return err
		}
		var goal intent
		if err := json.Unmarshal(t.Data, &goal); err != nil {
			return err
		}
		left, tried, err := tx.TryTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !tried {
			return ticketRefused
		}
		tries, err := tx.Attempts(ctx, factorKey(t.SubjectID))
		if err != nil {
			return err
		}
		if tries.LockedAt(s.Now(), s.Limits.FactorFailures) {
			refusal = identity.Locked.After(tries.ExpiresAt.Sub(s.Now()), "too many wrong codes; wait and try again")
			return s.record(ctx, tx, in.Caller, t.SubjectID, refusal)
		}
		proven, err := s.prove(ctx, tx, t.SubjectID, goal, in)
		if err != nil {
			return err
		}
		if proven == nil {
			refusal = &identity.Error{Kind: identity.BadCode, Public: "the code is wrong or was used before", TriesLeft: left}
			if _, err := tx.CountAttempt(ctx, factorKey(t.SubjectID), s.Now(), s.Limits.FactorWindow); err != nil {
				return err
			}
			return s.record(ctx, tx, in.Caller, t.SubjectID, refusal)
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return ticketRefused
		}
		if err := tx.ClearAttempts(ctx, factorKey(t.SubjectID)); err != nil {
			return err
		}
		goal.proven(proven)
		out, refusal, err = s.resume(ctx, tx, in.Caller, t.SubjectID, goal)
		if err == nil && refusal == nil && out.Session.ID != "" && in.Begun != nil {
			err = in.Begun(ctx, tx, out.Session)
		}
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

// proof is what a second step has shown.
type proof struct {
	kind identity.CredentialKind
	amr  string
}

// proven notes it. A browser is not remembered for a code that stands in for a lost factor.
func (i *intent) proven(p *proof) {
	i.AMR, i.NeedsProof = append(i.AMR, p.amr, "mfa"), false
	i.Marks = i.MarksTTL > 0 && p.kind != identity.RecoveryCode
}

// prove gives what the code is right for, nil if nothing.
func (s *Service) prove(ctx context.Context, tx identity.Tx, subject identity.SubjectID, goal intent, in ProofInput) (*proof, error) {
	for _, o := range goal.Offers {
		if in.Kind != "" && in.Kind != o.Kind {
			continue
		}
		f := s.factor(o.Kind)
		if f == nil {
			continue
		}
		cred, err := offered(ctx, tx, subject, o)
		if errors.Is(err, identity.NotFound) {
			continue // removed since
		}
		if err != nil {
			return nil, err
		}
		right, err := f.Check(ctx, tx, cred, o.Memory, in.Code)
		if err != nil {
			return nil, err
		}
		if right {
			return &proof{o.Kind, f.AMR()}, nil
		}
	}
	if s.Recovery != nil && (in.Kind == "" || in.Kind == identity.RecoveryCode) {
		right, err := s.Recovery.SpendIn(ctx, tx, in.Caller, subject, in.Code)
		if err != nil {
			return nil, err
		}
		if right {
			return &proof{identity.RecoveryCode, recoveryAMR}, nil
		}
	}
	return nil, nil
}

// ResendInput asks for the code of a second step once more.
type ResendInput struct {
	Caller identity.Caller
	Ticket TicketRef
}

// Resend sends the code of an open second step once more: the same one, good as long as before. Its refusals are TicketInvalid,
// Invalid where the step waits for a code that is not sent, and Throttled.
func (s *Service) Resend(ctx context.Context, in ResendInput) error {
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		t, err := s.ticket(ctx, tx, in.Caller, in.Ticket, ProofDue)
		if err != nil {
			return err
		}
		var goal intent
		if err := json.Unmarshal(t.Data, &goal); err != nil {
			return err
		}
		i := slices.IndexFunc(goal.Offers, func(o offer) bool { _, sends := s.factor(o.Kind).(Resender); return sends })
		if i < 0 {
			return identity.Invalid.Because("this step waits for a code that is not sent")
		}
		refusal, err = s.resend(ctx, tx, in.Caller, t, goal.Offers[i])
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

func (s *Service) resend(ctx context.Context, tx identity.Tx, caller identity.Caller, t identity.Ticket, o offer) (refusal, err error) {
	subject, err := tx.Subject(ctx, t.SubjectID)
	if errors.Is(err, identity.NotFound) || err == nil && !subject.Active() {
		return nil, ticketRefused
	}
	if err != nil {
		return nil, err
	}
	cred, err := offered(ctx, tx, t.SubjectID, o)
	if errors.Is(err, identity.NotFound) {
		return nil, ticketRefused // removed since
	}
	if err != nil {
		return nil, err
	}
	left := t.ExpiresAt.Sub(s.Now())
	asked, err := tx.CountAttempt(ctx, "resend:"+string(t.ID), s.Now(), left)
	if err != nil {
		return nil, err
	}
	if asked.Count > s.Limits.Resends {
		return identity.Throttled.After(left, "the code was sent often enough; sign in again"), nil
	}
	sent, err := s.factor(o.Kind).(Resender).Resend(ctx, tx, subject, cred, o.Memory, t.ExpiresAt)
	switch {
	case err != nil && refuses(err):
		return err, s.Log.Record(ctx, tx, caller, audit.Entry{Action: "signin.resend", Outcome: identity.KindOf(err).Error(), SubjectID: subject.ID})
	case err != nil:
		return nil, err
	case !sent:
		return nil, ticketRefused
	}
	return nil, s.Log.Record(ctx, tx, caller, audit.Entry{Action: "signin.resend", SubjectID: subject.ID, After: map[string]any{"factor": o.Kind}})
}

// resume goes on where a ticket left off, with the subject as she stands now.
func (s *Service) resume(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, goal intent) (Outcome, error, error) {
	refusal, err := s.admit(ctx, tx, caller, id, goal.PasswordVersion)
	if err != nil {
		return Outcome{}, nil, err
	}
	if refusal != nil {
		return Outcome{}, refusal, s.record(ctx, tx, caller, id, refusal)
	}
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return Outcome{}, nil, err
	}
	c, err := s.Passwords.Load(ctx, tx, subject)
	if err != nil {
		return Outcome{}, nil, err
	}
	if goal.Enters == "" && !lands(c.Organisations, goal.Org, s.Now()) {
		goal.Org = "" // it closed, or she left it, while the step waited
	}
	return s.proceed(ctx, tx, caller, c, goal)
}

// ChangeInput is the step of a person whose password must change.
type ChangeInput struct {
	Caller      identity.Caller
	Ticket      TicketRef
	NewPassword identity.Secret
}

// Change takes the new password that was due. It is set once the person has fully signed in, so a second factor that is due is
// proven first. A refused password leaves the ticket open.
func (s *Service) Change(ctx context.Context, in ChangeInput) (Outcome, error) {
	var t identity.Ticket
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if t, err = s.ticket(ctx, r, in.Caller, in.Ticket, ChangeDue); err != nil {
			return err
		}
		subject, err := r.Subject(ctx, t.SubjectID)
		if errors.Is(err, identity.NotFound) {
			return ticketRefused
		}
		if err != nil {
			return err
		}
		c, err = s.Passwords.Load(ctx, r, subject)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	var goal intent
	if err := json.Unmarshal(t.Data, &goal); err != nil {
		return Outcome{}, err
	}
	if goal.NewHash, err = s.Passwords.Prepare(ctx, c, in.Caller.Door, in.NewPassword); err != nil {
		return Outcome{}, err
	}
	var out Outcome
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return ticketRefused
		}
		out, refusal, err = s.resume(ctx, tx, in.Caller, t.SubjectID, goal)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

// Abandon ends a ticket before its time: its holder signed out half way.
func (s *Service) Abandon(ctx context.Context, caller identity.Caller, ref TicketRef, purpose string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		t, err := s.ticket(ctx, tx, caller, ref, purpose)
		if err != nil {
			return err
		}
		_, err = tx.SpendTicket(ctx, t.ID, s.Now())
		return err
	})
}

func factorKey(id identity.SubjectID) string { return "factor:" + string(id) }
