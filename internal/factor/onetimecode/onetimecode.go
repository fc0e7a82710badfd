// Package onetimecode proves that a person reads a mailbox or a phone: six digits are sent there, and come back.
//
// A code lives in the ticket that it was made for, sealed, and as long as that one: it is right for no other, is tried as often
// as the ticket allows, and is spent with it. So it can be sent again, but is never prolonged.
package onetimecode

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"gatehouse/internal/identity"
)

// Template is the message in which a code goes out; its data are code, minutes and, in a mail, name.
const Template = "code"

// PerPerson is how many codes one person can be sent in an hour by one channel: whoever has her password could fill her
// mailbox, or spend the operator's money.
const PerPerson = 10

// New makes a code. Every one is as likely as any other: what is left over at the end of the range is thrown again.
func New(random io.Reader) (string, error) {
	const codes, mask = 1_000_000, 1<<20 - 1
	var b [3]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("read randomness for a code: %w", err)
		}
		if n := (int(b[0])<<16 | int(b[1])<<8 | int(b[2])) & mask; n < codes {
			return fmt.Sprintf("%06d", n), nil
		}
	}
}

// Same compares what was sent with what came back, in a time that does not tell where they differ.
func Same(sent, typed string) bool {
	return subtle.ConstantTimeCompare([]byte(sent), []byte(typed)) == 1
}

// Bound counts a code that is about to be sent to a person, in the transaction that sends it. Its refusal is Throttled.
func Bound(ctx context.Context, tx identity.Tx, kind identity.CredentialKind, id identity.SubjectID, now time.Time) error {
	sent, err := tx.CountAttempt(ctx, "code:"+string(kind)+":"+string(id), now, time.Hour)
	if err == nil && sent.Count > PerPerson {
		err = identity.Throttled.After(sent.ExpiresAt.Sub(now), "too many codes were sent; wait and try again")
	}
	return err
}

// Data fills the template.
func Data(code, name string, now, ends time.Time) map[string]string {
	minutes := int((ends.Sub(now) + time.Minute - 1) / time.Minute)
	return map[string]string{"code": code, "name": name, "minutes": strconv.Itoa(max(1, minutes))}
}

// Box seals codes at rest.
type Box interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Outbox writes a message in the transaction that causes it.
type Outbox interface {
	Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
	SMS(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
}

// Codes are what both factors need.
type Codes struct {
	// Open says that the channel leads out of the house. A factor that is shut is offered to nobody, and who has no other is
	// refused: she must not get in without.
	Open   bool
	Box    Box
	Outbox Outbox
	Now    func() time.Time
	Rand   io.Reader
}

// Email makes a code by mail a signin.Factor.
type Email struct{ Codes }

// Kind names it.
func (*Email) Kind() identity.CredentialKind { return identity.EmailCode }

// AMR names it in tokens. RFC 8176 has no word for mail, and one that it has would pass a mailbox for an authenticator app.
func (*Email) AMR() string { return "email" }

// Offer mails a code.
func (f *Email) Offer(ctx context.Context, tx identity.Tx, _ identity.Caller, s identity.Subject, c identity.Credential, ends time.Time) (string, bool, error) {
	return f.offer(ctx, tx, s, c, ends, f.Outbox.Mail)
}

// OfferLink is Offer with a link in the mail that stands for the code.
func (f *Email) OfferLink(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, ends time.Time, link string) (string, bool, error) {
	return f.offer(ctx, tx, s, c, ends, func(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error {
		data["link"] = link
		return f.Outbox.Mail(ctx, tx, to, template, language, data)
	})
}

// Resend mails the same code again.
func (f *Email) Resend(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, memory string, ends time.Time) (bool, error) {
	return f.resend(ctx, tx, s, c, memory, ends, f.Outbox.Mail)
}

// SMS makes a code by SMS a signin.Factor.
type SMS struct{ Codes }

// Kind names it.
func (*SMS) Kind() identity.CredentialKind { return identity.SMSCode }

// AMR names it in tokens (RFC 8176).
func (*SMS) AMR() string { return "sms" }

// Offer sends a code.
func (f *SMS) Offer(ctx context.Context, tx identity.Tx, _ identity.Caller, s identity.Subject, c identity.Credential, ends time.Time) (string, bool, error) {
	return f.offer(ctx, tx, s, c, ends, f.Outbox.SMS)
}

// Resend sends the same code again.
func (f *SMS) Resend(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, memory string, ends time.Time) (bool, error) {
	return f.resend(ctx, tx, s, c, memory, ends, f.Outbox.SMS)
}

type send func(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error

// remembered is what the ticket keeps.
type remembered struct {
	Credential identity.CredentialID `json:"credential"` // as it was then: one that replaced it is another mailbox
	Sealed     []byte                `json:"sealed"`
}

func purpose(id identity.CredentialID) string { return "onetimecode:" + string(id) }

func (f *Codes) offer(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, ends time.Time, out send) (string, bool, error) {
	if !f.Open || c.Target == "" {
		return "", false, nil
	}
	code, err := New(f.Rand)
	if err != nil {
		return "", false, err
	}
	if err := f.send(ctx, tx, s, c, code, ends, out); err != nil {
		return "", false, err
	}
	memory, err := json.Marshal(remembered{c.ID, f.Box.Seal(purpose(c.ID), []byte(code))})
	return string(memory), true, err
}

func (f *Codes) resend(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, memory string, ends time.Time, out send) (bool, error) {
	code, err := f.recall(c, memory)
	if err != nil || code == "" || !f.Open {
		return false, err
	}
	err = f.send(ctx, tx, s, c, code, ends, out)
	return err == nil, err
}

func (f *Codes) send(ctx context.Context, tx identity.Tx, s identity.Subject, c identity.Credential, code string, ends time.Time, out send) error {
	now := f.Now()
	if err := Bound(ctx, tx, c.Kind, s.ID, now); err != nil {
		return err
	}
	return out(ctx, tx, c.Target, Template, s.Locale, Data(code, s.Name, now, ends))
}

// recall gives the code that was sent, "" where the credential was replaced since.
func (f *Codes) recall(c identity.Credential, memory string) (string, error) {
	var m remembered
	if err := json.Unmarshal([]byte(memory), &m); err != nil {
		return "", fmt.Errorf("code of credential %s: %w", c.ID, err)
	}
	if m.Credential != c.ID {
		return "", nil
	}
	code, err := f.Box.Open(purpose(c.ID), m.Sealed)
	if err != nil {
		return "", fmt.Errorf("code of credential %s: %w", c.ID, err)
	}
	return string(code), nil
}

// Check compares. The code is spent with its ticket, in the same transaction.
func (f *Codes) Check(_ context.Context, _ identity.Tx, c identity.Credential, memory, typed string) (bool, error) {
	code, err := f.recall(c, memory)
	return err == nil && code != "" && Same(code, typed), err
}
