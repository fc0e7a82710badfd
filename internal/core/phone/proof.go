package phone

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/factor/onetimecode"
	"gatehouse/internal/identity"
)

const (
	// TTL is how long a code is good, and how long the proof counts after it (openwifi.md 1.11).
	TTL   = 300 * time.Second
	tries = 5
	// perNetwork bounds what all of one network can have sent in an hour.
	perNetwork = 30
)

// template is the message; its data are code and minutes.
const template = "phone-verification"

// What a ticket is for: a code that was sent, a number that is proven.
const (
	sentTicket   = "phone.sent"
	provenTicket = "phone.proven"
)

// Texter writes an SMS in the transaction that causes it.
type Texter interface {
	SMS(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
}

// Service lets people prove that a number is theirs: at sessions of their own, for codes will go there. A proof is a ticket, found by
// the person and the number.
type Service struct {
	Open   bool // SMS leave the house
	Store  identity.Store
	Box    onetimecode.Box
	Outbox Texter
	Log    *audit.Log
	Now    func() time.Time
	Rand   io.Reader
}

// ErrShut refuses where no SMS leaves the house.
var ErrShut = identity.Conflict.Because("SMS is not set up here")

// proof is the data of a sentTicket.
type proof struct {
	Sealed []byte `json:"sealed"`
}

// StartProof sends a code to a number. One that was sent before, to whatever number, is no longer good. Its refusals are Invalid for
// the number, ErrShut, Throttled, and Denied for whoever is not active, or not herself.
func (s *Service) StartProof(ctx context.Context, caller identity.Caller, typed string) error {
	id := caller.SubjectID
	number, err := s.asked(caller, typed)
	if err != nil {
		return err
	}
	code, err := onetimecode.New(s.Rand)
	if err != nil {
		return err
	}
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		subject, err := active(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := s.send(ctx, tx, caller, subject, number, code); err != nil {
			if identity.KindOf(err) != identity.Throttled {
				return err
			}
			refusal = err
			return nil // so that the counts stay
		}
		if err := tx.DeleteTicketsOf(ctx, id, sentTicket); err != nil {
			return err
		}
		data, err := json.Marshal(proof{s.Box.Seal(sealedFor(id, number), []byte(code))})
		if err != nil {
			return err
		}
		if err := s.keep(ctx, tx, caller, sentTicket, id, number, data); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "phone.code", SubjectID: id, After: map[string]any{"number": number}})
	})
	if err != nil {
		return err
	}
	return refusal
}

func (s *Service) send(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject, number, code string) error {
	now := s.Now()
	if network := caller.Network(); network != "" {
		asked, err := tx.CountAttempt(ctx, "phone:"+network, now, time.Hour)
		if err != nil {
			return err
		}
		if asked.Count > perNetwork {
			return identity.Throttled.After(asked.ExpiresAt.Sub(now), "too many requests from this address; wait and try again")
		}
	}
	if err := onetimecode.Bound(ctx, tx, identity.SMSCode, subject.ID, now); err != nil {
		return err
	}
	return s.Outbox.SMS(ctx, tx, number, template, subject.Locale, onetimecode.Data(code, subject.Name, now, now.Add(TTL)))
}

// asked is the number, if one can be proven here and by this caller.
func (s *Service) asked(caller identity.Caller, typed string) (string, error) {
	if err := caller.Herself(); err != nil {
		return "", err
	}
	number, err := Parse(typed)
	if err == nil && !s.Open {
		err = ErrShut
	}
	return number, err
}

// CompleteProof takes the code that came back. Its refusals are those of StartProof but Throttled, and BadCode: wrong, late, spent, of
// another number or person, or tried too often.
func (s *Service) CompleteProof(ctx context.Context, caller identity.Caller, typed, code string) error {
	id := caller.SubjectID
	number, err := s.asked(caller, typed)
	if err != nil {
		return err
	}
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		if _, err := active(ctx, tx, id); err != nil {
			return err
		}
		t, found, err := s.find(ctx, tx, sentTicket, id, number)
		if err != nil {
			return err
		}
		if !found || t.Door != caller.Door {
			return errBadCode
		}
		left, tried, err := tx.TryTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !tried {
			return errBadCode
		}
		sent, err := s.code(t, id, number)
		if err != nil {
			return err
		}
		if !onetimecode.Same(sent, code) {
			refusal = &identity.Error{Kind: identity.BadCode, Public: wrongCode, TriesLeft: left}
			return s.Log.Record(ctx, tx, caller, audit.Entry{
				Action: "phone.prove", Outcome: identity.BadCode.Error(), SubjectID: id, After: map[string]any{"number": number},
			})
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return errBadCode
		}
		if err := tx.DeleteTicketsOf(ctx, id, provenTicket); err != nil {
			return err
		}
		if err := s.keep(ctx, tx, caller, provenTicket, id, number, []byte("{}")); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "phone.prove", SubjectID: id, After: map[string]any{"number": number}})
	})
	if err != nil {
		return err
	}
	return refusal
}

const wrongCode = "the code is wrong or too late"

var errBadCode = identity.BadCode.Because(wrongCode)

// ProvenIn says whether she has proven a moment ago that the number is hers: for the transaction that sends her codes there from
// now on.
func (s *Service) ProvenIn(ctx context.Context, r identity.Reader, id identity.SubjectID, typed string) (bool, error) {
	number, err := Parse(typed)
	if err != nil {
		return false, err
	}
	_, proven, err := s.find(ctx, r, provenTicket, id, number)
	return proven, err
}

// Proven is ProvenIn of whoever calls, with the number as it is kept. What is no number is Invalid.
func (s *Service) Proven(ctx context.Context, tx identity.Tx, caller identity.Caller, typed string) (number string, proven bool, err error) {
	if number, err = Parse(typed); err != nil {
		return "", false, err
	}
	proven, err = s.ProvenIn(ctx, tx, cmp.Or(caller.ActorID, caller.SubjectID), number)
	return number, proven, err
}

// find gives the open ticket of a person and a number.
func (s *Service) find(ctx context.Context, r identity.Reader, purpose string, id identity.SubjectID, number string) (identity.Ticket, bool, error) {
	t, err := r.TicketByHash(ctx, hashOf(purpose, id, number))
	if errors.Is(err, identity.NotFound) {
		return t, false, nil
	}
	return t, err == nil && t.Purpose == purpose && t.SubjectID == id && t.SpentAt.IsZero() && s.Now().Before(t.ExpiresAt), err
}

func (s *Service) keep(ctx context.Context, tx identity.Tx, caller identity.Caller, purpose string, id identity.SubjectID, number string, data []byte) error {
	now := s.Now()
	fresh, err := identity.NewID(now, s.Rand)
	if err != nil {
		return err
	}
	return tx.CreateTicket(ctx, identity.Ticket{
		ID: identity.TicketID(fresh), Hash: hashOf(purpose, id, number), Purpose: purpose, Door: caller.Door, SubjectID: id, Data: data,
		TriesLeft: tries, CreatedAt: now, ExpiresAt: now.Add(TTL),
	})
}

func (s *Service) code(t identity.Ticket, id identity.SubjectID, number string) (string, error) {
	var p proof
	if err := json.Unmarshal(t.Data, &p); err != nil {
		return "", fmt.Errorf("ticket %s: %w", t.ID, err)
	}
	code, err := s.Box.Open(sealedFor(id, number), p.Sealed)
	if err != nil {
		return "", fmt.Errorf("ticket %s: %w", t.ID, err)
	}
	return string(code), nil
}

func sealedFor(id identity.SubjectID, number string) string {
	return "phone:" + string(id) + ":" + number
}

// hashOf finds a ticket that nobody holds. As a bearer secret it would be worthless: every verb looks at the purpose.
func hashOf(purpose string, id identity.SubjectID, number string) []byte {
	sum := sha256.Sum256([]byte(purpose + "\x00" + string(id) + "\x00" + number))
	return sum[:]
}

func active(ctx context.Context, r identity.Reader, id identity.SubjectID) (identity.Subject, error) {
	subject, err := r.Subject(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && !subject.Active() {
		return subject, identity.Denied.Because("this account is not active")
	}
	return subject, err
}
