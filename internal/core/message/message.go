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

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
)

// Names of the fields that refusals speak of.
const (
	FieldFrom       = "from"
	FieldRecipients = "recipients"
	FieldSubject    = "subject"
	FieldText       = "text"
)

const (
	maxRecipients = 50
	maxSubject    = 200      // bytes, as of all mails
	maxText       = 32 << 10 // bytes
	// mailsPerHour bounds what one person can have sent; services share one key, and so their bound.
	mailsPerHour        = 200
	serviceMailsPerHour = 2000
)

// Outbox writes a mail in the transaction of what causes it. Its own checks are the last word on what a header may hold.
type Outbox interface {
	Note(ctx context.Context, tx identity.Tx, to, replyTo, subject, text string) error
}

// Service holds the verbs.
type Service struct {
	Store  identity.Store
	Staff  *staff.Service
	Outbox Outbox
	Log    *audit.Log
	Mails  bool // a mail server is configured
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
	var to []string
	key, limit := "sent:service", serviceMailsPerHour
	if !by.Service {
		key, limit = "sent:"+string(by.ActorID), mailsPerHour
	}
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		err := s.Staff.Allow(ctx, tx, by, staff.SendMessages)
		if err != nil {
			return err
		}
		if to, err = check(in); err != nil {
			return err
		}
		if !s.Mails {
			return Off
		}
		now := s.Now()
		for range to {
			sent, err := tx.CountAttempt(ctx, key, now, time.Hour)
			if err != nil {
				return err
			}
			if sent.Count > limit { // the count outlives the refusal
				refusal = identity.Throttled.After(sent.ExpiresAt.Sub(now), fmt.Sprintf("no more than %d mails in an hour; wait and try again", limit))
				return s.record(ctx, tx, by, refusal, in, to)
			}
		}
		for _, address := range to {
			if err := s.Outbox.Note(ctx, tx, address, in.From, in.Subject, in.Text); err != nil {
				return err
			}
		}
		return s.record(ctx, tx, by, nil, in, to)
	})
	if err != nil {
		return err
	}
	return refusal
}

// record says how many were written to and not who: the outbox names them for as long as it keeps what was sent.
func (s *Service) record(ctx context.Context, tx identity.Tx, by staff.By, refusal error, in Mail, to []string) error {
	e := audit.Entry{Action: "message.send", After: map[string]any{"channel": identity.Mail, "from": in.From, "recipients": len(to), "service": by.Service}}
	if refusal != nil {
		e.Outcome = identity.KindOf(refusal).Error()
	}
	return s.Log.Record(ctx, tx, by.Caller, e)
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
