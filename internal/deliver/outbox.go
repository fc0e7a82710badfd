package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

const (
	maxRecipient = 254 // RFC 5321, section 4.5.3.1.3
	maxSubject   = 200
	maxContent   = 256 << 10
	maxText      = 1600 // characters of an SMS: ten parts, as much as gateways take
	// keepFor is how long a message can be looked at, sent or not; then the sweeper takes it.
	keepFor = 7 * 24 * time.Hour
)

// kept is LastError of a message that stays here because its channel leads nowhere yet.
const kept = "kept here: no server is configured for this channel"

// Content is what a message says.
type Content struct {
	Channel   identity.Channel `json:"channel"`
	Recipient string           `json:"recipient"` // "": a decoy, never sent
	Template  string           `json:"template"`
	Subject   string           `json:"subject,omitempty"`
	Text      string           `json:"text,omitempty"`
	HTML      string           `json:"html,omitempty"`
	From      string           `json:"from,omitempty"` // "": the channel's own
	// Until is when it is of no more use: a code that comes too late only confuses, and an SMS costs. Zero: never.
	Until   time.Time `json:"until,omitzero"`
	ReplyTo string    `json:"reply_to,omitempty"`
	// Of a call: how, and with what headers besides. They may hold keys, and are sealed like the rest.
	Method string            `json:"method,omitempty"`
	Header map[string]string `json:"header,omitempty"`
}

// Sealer is the part of keys.Box that the outbox uses.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Outbox writes messages, and shows them to operators.
type Outbox struct {
	Store     identity.Store
	Box       Sealer
	Templates *Templates
	Bounds    SMSBounds
	Now       func() time.Time
	Rand      io.Reader
}

// SMSBounds keep strangers from spending the operator's money on SMS, to numbers of their own or to somebody's whom they
// annoy. 0 is no bound.
type SMSBounds struct {
	PerNumber int // in an hour, to one number, of one template: who has a stranger's number sent something uses up none of her codes
	PerHour   int // to all numbers together
}

// DefaultSMSBounds are for a house that nobody configured.
var DefaultSMSBounds = SMSBounds{PerNumber: 5, PerHour: 1000}

func sealedFor(id identity.MessageID) string { return "outbox:" + string(id) }

// Enqueue writes a message in the transaction of what causes it. Where an SMS is over a bound the refusal is Throttled, and
// nothing was written but the count.
func (o *Outbox) Enqueue(ctx context.Context, tx identity.Tx, c Content) error {
	if err := check(c); err != nil {
		return err
	}
	return o.enqueue(ctx, tx, c, "")
}

// Mail renders a template and enqueues it. A recipient that is "", or to whom no mail can be sent, makes a decoy: a row as good
// as any that the worker finishes without sending. So "forgot password" does the same work for a login that nobody has.
func (o *Outbox) Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error {
	c, err := o.Templates.Render(template, language, data)
	if err != nil {
		return err
	}
	c.Recipient, c.Until = to, o.until(data)
	var refused string
	if err := check(c); err != nil {
		// An error here would tell the asker that this login exists. The operator sees it in the outbox.
		c.Recipient, refused = audit.Line(to, maxRecipient), "not a mail address"
	}
	return o.enqueue(ctx, tx, c, refused)
}

// SMS renders a template and enqueues it to a number in the form of E.164. Its refusals are Enqueue's.
func (o *Outbox) SMS(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error {
	c, err := o.Templates.RenderSMS(template, language, data)
	if err != nil {
		return err
	}
	c.Recipient, c.Until = to, o.until(data)
	return o.Enqueue(ctx, tx, c)
}

func (o *Outbox) until(data map[string]string) time.Time {
	minutes, err := strconv.Atoi(data["minutes"])
	if data["code"] == "" || err != nil {
		return time.Time{}
	}
	return o.Now().Add(time.Duration(minutes) * time.Minute)
}

// bound counts an SMS, here where all of them come by, and in the transaction that writes it.
func (o *Outbox) bound(ctx context.Context, tx identity.Tx, c Content) error {
	sum := sha256.Sum256([]byte(c.Template + " " + c.Recipient)) // the table of counts is no list of numbers
	for _, count := range []struct {
		key   string
		limit int
		words string
	}{
		{"sms:number:" + hex.EncodeToString(sum[:]), o.Bounds.PerNumber, "too many messages to this number; wait and try again"},
		{"sms:all", o.Bounds.PerHour, "too many messages are being sent; wait and try again"},
	} {
		if count.limit == 0 {
			continue
		}
		now := o.Now()
		sent, err := tx.CountAttempt(ctx, count.key, now, time.Hour)
		if err != nil {
			return err
		}
		if sent.Count > count.limit {
			return identity.Throttled.After(sent.ExpiresAt.Sub(now), count.words)
		}
	}
	return nil
}

// e164 is a number as gateways take it.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{3,14}$`)

// Note enqueues a mail that somebody wrote herself. It leaves under the house's sender; answers go to her.
func (o *Outbox) Note(ctx context.Context, tx identity.Tx, to, replyTo, subject, text string) error {
	return o.Enqueue(ctx, tx, Content{Channel: identity.Mail, Recipient: to, ReplyTo: replyTo, Template: "note", Subject: subject, Text: text})
}

// Text enqueues an SMS that somebody wrote herself, to a number in the form of E.164, under the house's sender. Its refusals are
// Enqueue's.
func (o *Outbox) Text(ctx context.Context, tx identity.Tx, to, text string) error {
	return o.Enqueue(ctx, tx, Content{Channel: identity.SMS, Recipient: to, Template: "note", Text: text})
}

func check(c Content) error {
	most := maxRecipient
	if c.Channel == identity.Webhook {
		most = maxTarget
	}
	if len(c.Recipient) > most {
		return identity.Invalid.In("recipient", "is too long")
	}
	for _, field := range []struct{ name, text string }{{"recipient", c.Recipient}, {"subject", c.Subject}, {"from", c.From}, {"reply_to", c.ReplyTo}} {
		// A line break would start a header of the sender's choice.
		if audit.Line(field.text, len(field.text)) != field.text {
			return identity.Invalid.In(field.name, "contains characters that are not allowed")
		}
	}
	if len(c.Subject) > maxSubject {
		return identity.Invalid.In("subject", "is too long")
	}
	if len(c.Text)+len(c.HTML) > maxContent {
		return identity.TooLarge.Because("the message is too large")
	}
	if c.Channel == identity.SMS {
		switch {
		case !e164.MatchString(c.Recipient):
			return identity.Invalid.In("recipient", "is not a phone number of the form +15145550100")
		case strings.TrimSpace(c.Text) == "":
			return identity.Invalid.In("text", "is needed")
		case utf8.RuneCountInString(c.Text) > maxText:
			return identity.Invalid.In("text", fmt.Sprintf("must have at most %d characters", maxText))
		}
	}
	if c.Channel == identity.Mail && c.Recipient != "" && !oneAddress(c.Recipient) {
		return identity.Invalid.In("recipient", "is not a mail address")
	}
	if c.ReplyTo != "" && !oneAddress(c.ReplyTo) {
		return identity.Invalid.In("reply_to", "is not a mail address")
	}
	if c.Channel == identity.Webhook {
		return checkCall(c)
	}
	return nil
}

// oneAddress takes an address alone: a display name or a group could name more than one recipient.
func oneAddress(address string) bool {
	a, err := mail.ParseAddress(address)
	return err == nil && a.Name == "" && a.Address == address
}

func (o *Outbox) enqueue(ctx context.Context, tx identity.Tx, c Content, refused string) error {
	if c.Channel == identity.SMS {
		if err := o.bound(ctx, tx, c); err != nil {
			return err
		}
	}
	now := o.Now()
	id, err := identity.NewID(now, o.Rand)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	m := identity.Message{
		ID: identity.MessageID(id), Channel: c.Channel, Recipient: c.Recipient, Template: c.Template,
		Sealed: o.Box.Seal(sealedFor(identity.MessageID(id)), plain), CreatedAt: now, NextAt: now, ExpiresAt: now.Add(keepFor),
	}
	if refused != "" {
		m.LastError, m.GivenUpAt = refused, now
	}
	if err := tx.Enqueue(ctx, m); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	return nil
}

func (o *Outbox) open(m identity.Message) (Content, error) {
	plain, err := o.Box.Open(sealedFor(m.ID), m.Sealed)
	if err != nil {
		return Content{}, err
	}
	var c Content
	if err := json.Unmarshal(plain, &c); err != nil {
		return Content{}, fmt.Errorf("message %s: %w", m.ID, err)
	}
	return c, nil
}

// List gives a page of the outbox, newest first, without decoys: whose login is unknown is nobody's business.
func (o *Outbox) List(ctx context.Context, state identity.MessageState, before identity.MessageID, limit int) (page []identity.Message, err error) {
	if limit <= 0 || limit > 1000 {
		return nil, identity.Invalid.In("limit", "must be from 1 to 1000")
	}
	err = o.Store.View(ctx, func(r identity.Reader) error {
		page = nil
		for before := before; len(page) < limit; {
			rows, err := r.Messages(ctx, state, before, limit)
			if err != nil {
				return err
			}
			for _, m := range rows {
				before = m.ID
				if m.Recipient != "" && len(page) < limit {
					page = append(page, m)
				}
			}
			if len(rows) < limit {
				return nil
			}
		}
		return nil
	})
	return page, err
}

// Show gives one message; with reveal, also what it says, links and codes included.
func (o *Outbox) Show(ctx context.Context, id identity.MessageID, reveal bool) (m identity.Message, c Content, err error) {
	err = o.Store.View(ctx, func(r identity.Reader) (err error) {
		m, err = r.Message(ctx, id)
		return err
	})
	if err == nil && reveal {
		c, err = o.open(m)
	}
	return m, c, err
}

// Retry makes a message due now that was given up, or kept for want of a server, or waits for its next try.
func (o *Outbox) Retry(ctx context.Context, id identity.MessageID) error {
	return o.Store.Update(ctx, func(tx identity.Tx) error {
		m, err := tx.Message(ctx, id)
		if err != nil {
			return err
		}
		now := o.Now()
		switch {
		case m.Recipient == "":
			return identity.NotFound
		case !m.SentAt.IsZero() && m.LastError != kept:
			return identity.Conflict.Because("the message was sent")
		case m.LeaseUntil.After(now):
			return identity.Conflict.Because("the message is being sent")
		}
		m.Attempts, m.LastError, m.NextAt, m.SentAt, m.GivenUpAt = 0, "", now, time.Time{}, time.Time{}
		done, err := tx.FinishMessage(ctx, m)
		if err == nil && !done {
			return identity.Conflict.Because("the message is being sent")
		}
		return err
	})
}

// Kept says that the message was not sent and stays to be read, for want of a server.
func Kept(m identity.Message) bool { return !m.SentAt.IsZero() && m.LastError == kept }

var errKept = errors.New(kept)

// oneLine shortens an error for LastError.
func oneLine(err error) string { return audit.Line(strings.TrimSpace(err.Error()), 300) }
