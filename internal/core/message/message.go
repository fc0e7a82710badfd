// Package message sends what an operator's people, or another service, write to others.
//
// Whoever steals an administrator's token must not be able to mail the world: only few may send, each so many in an hour, and
// always under the house's own sender. Who wrote it is where an answer goes.
package message

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
)

// Names of the fields that refusals speak of.
const (
	FieldFrom       = "from"
	FieldRecipients = "recipients"
	FieldSubject    = "subject"
	FieldText       = "text"
	FieldNumber     = phone.FieldNumber
)

const (
	maxRecipients = 50
	maxSubject    = 200      // bytes, as of all mails
	maxText       = 32 << 10 // bytes
	maxSMS        = 1600     // characters: ten parts, as much as gateways take
)

// bound is how many one person can have sent in an hour; services share one key, and so their bound.
type bound struct {
	key              string // of the count, before who it is of
	person, services int
	name             string
}

// SMS cost money, and what is written here must leave room for the codes that the house sends.
var (
	mailBound = bound{"sent:", 200, 2000, "mails"}
	smsBound  = bound{"sent:sms:", 50, 500, "SMS"}
)

// Outbox writes a message in the transaction of what causes it. Its own checks are the last word on what a header may hold, and on
// how many SMS leave the house.
type Outbox interface {
	Note(ctx context.Context, tx identity.Tx, to, replyTo, subject, text string) error
	Text(ctx context.Context, tx identity.Tx, to, text string) error
}

// Service holds the verbs.
type Service struct {
	Store  identity.Store
	Staff  *staff.Service
	Outbox Outbox
	Log    *audit.Log
	Mails  bool // a mail server is configured
	Texts  bool // SMS leave the house
	Now    func() time.Time
}

// Off says that nothing can be sent here. It is what an error of Mail wraps where no mail server is configured.
var Off = identity.Unavailable.After(time.Hour, "no mail server is configured here")

// Mail is one.
type Mail struct {
	From       string // where an answer goes
	Recipients []string
	Subject    string
	Text       string
}

// Mail queues a mail for each recipient, all or none. Its refusals are Denied, Invalid, Throttled and Off.
func (s *Service) Mail(ctx context.Context, by staff.By, in Mail) error {
	return s.send(ctx, by, func(tx identity.Tx) (refusal error, sent map[string]any, err error) {
		to, err := check(in)
		if err != nil {
			return nil, nil, err
		}
		if !s.Mails {
			return nil, nil, Off
		}
		// How many were written to and not who: the outbox names them for as long as it keeps what was sent.
		sent = map[string]any{"channel": identity.Mail, "from": in.From, "recipients": len(to)}
		if refusal, err = s.count(ctx, tx, by, mailBound, len(to)); refusal != nil || err != nil {
			return refusal, sent, err
		}
		for _, address := range to {
			if err := s.Outbox.Note(ctx, tx, address, in.From, in.Subject, in.Text); err != nil {
				return nil, nil, err
			}
		}
		return nil, sent, nil
	})
}

// SMS is one.
type SMS struct {
	To   string // as people write numbers
	Text string
}

// SMS queues one. Its refusals are Denied, Invalid, Throttled and phone.ErrShut.
func (s *Service) SMS(ctx context.Context, by staff.By, in SMS) error {
	return s.send(ctx, by, func(tx identity.Tx) (refusal error, sent map[string]any, err error) {
		number, err := phone.Parse(in.To)
		if err != nil {
			return nil, nil, err
		}
		if strings.TrimSpace(in.Text) == "" {
			return nil, nil, identity.Invalid.In(FieldText, "must not be empty")
		}
		if utf8.RuneCountInString(in.Text) > maxSMS || strings.ContainsRune(in.Text, 0) {
			return nil, nil, identity.Invalid.In(FieldText, fmt.Sprintf("must be text of at most %d characters", maxSMS))
		}
		if !s.Texts {
			return nil, nil, phone.ErrShut
		}
		sent = map[string]any{"channel": identity.SMS, "recipients": 1}
		if refusal, err = s.count(ctx, tx, by, smsBound, 1); refusal != nil || err != nil {
			return refusal, sent, err
		}
		if err = s.Outbox.Text(ctx, tx, number, in.Text); identity.KindOf(err) == identity.Throttled {
			return err, sent, nil
		}
		return nil, sent, err
	})
}

// send is around what queues: who may not send is refused first, and what was sent, or refused for a count, is recorded. A refusal
// comes beside the error, for its counts have to stay.
func (s *Service) send(ctx context.Context, by staff.By, queue func(identity.Tx) (refusal error, sent map[string]any, err error)) error {
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		if err := s.Staff.Allow(ctx, tx, by, staff.SendMessages); err != nil {
			return err
		}
		refused, sent, err := queue(tx)
		if err != nil {
			return err
		}
		refusal = refused
		sent["service"] = by.Service
		e := audit.Entry{Action: "message.send", After: sent}
		if refusal != nil {
			e.Outcome = identity.KindOf(refusal).Error()
		}
		return s.Log.Record(ctx, tx, by.Caller, e)
	})
	if err != nil {
		return err
	}
	return refusal
}

// count takes n from what she can have sent in this hour.
func (s *Service) count(ctx context.Context, tx identity.Tx, by staff.By, b bound, n int) (refusal, err error) {
	key, limit := b.key+"service", b.services
	if !by.Service {
		key, limit = b.key+string(by.ActorID), b.person
	}
	now := s.Now()
	for range n {
		sent, err := tx.CountAttempt(ctx, key, now, time.Hour)
		if err != nil {
			return nil, err
		}
		if sent.Count > limit {
			return identity.Throttled.After(sent.ExpiresAt.Sub(now), fmt.Sprintf("no more than %d %s in an hour; wait and try again", limit, b.name)), nil
		}
	}
	return nil, nil
}

// check gives the recipients, each once.
func check(in Mail) ([]string, error) {
	for _, f := range []struct{ field, text string }{{FieldFrom, in.From}, {FieldSubject, in.Subject}, {FieldText, in.Text}} {
		if strings.TrimSpace(f.text) == "" {
			return nil, identity.Invalid.In(f.field, "must not be empty")
		}
	}
	if !login.ValidEmail(in.From) {
		return nil, identity.Invalid.In(FieldFrom, "must be an e-mail address")
	}
	if len(in.Subject) > maxSubject || audit.Line(in.Subject, len(in.Subject)) != in.Subject {
		return nil, identity.Invalid.In(FieldSubject, fmt.Sprintf("must be one line of at most %d bytes", maxSubject))
	}
	if len(in.Text) > maxText || strings.ContainsRune(in.Text, 0) {
		return nil, identity.Invalid.In(FieldText, fmt.Sprintf("must be text of at most %d bytes", maxText))
	}
	if len(in.Recipients) == 0 || len(in.Recipients) > maxRecipients {
		return nil, identity.Invalid.In(FieldRecipients, fmt.Sprintf("must be 1 to %d e-mail addresses", maxRecipients))
	}
	var to []string
	for _, address := range in.Recipients {
		if !login.ValidEmail(address) {
			return nil, identity.Invalid.In(FieldRecipients, "must all be e-mail addresses")
		}
		if !slices.ContainsFunc(to, func(have string) bool { return strings.EqualFold(have, address) }) {
			to = append(to, address)
		}
	}
	return to, nil
}
