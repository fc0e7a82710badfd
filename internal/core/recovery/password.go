// Package recovery lets a person back in who lost what she proves herself with. It never says who has an account.
package recovery

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/login"
	"gatehouse/internal/identity"
)

// Mailer writes a mail into the outbox, in the transaction that causes it. To "" is a decoy: written, never sent.
type Mailer interface {
	Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
}

// Service resets forgotten passwords.
type Service struct {
	Store     identity.Store
	Passwords *credential.Passwords
	Mailer    Mailer
	Log       *audit.Log
	Now       func() time.Time
	Rand      io.Reader
}

const mailTemplate = "password-reset"

const (
	// mailsPerHour bounds how often strangers can have one person mailed, by whichever of her logins.
	mailsPerHour = 5
	// asksPerHour bounds what one network can have written, known logins or not: whoever waits for a link waits behind it.
	asksPerHour = 60
)

// ForgotInput asks for a link.
type ForgotInput struct {
	Caller identity.Caller
	Login  string
	TTL    time.Duration
	Link   func(secret identity.Secret) string // the address of the door's page that spends it
}

// Forgot mails a link to whoever has the login, and answers alike, with the same work, where nobody has it: a ticket and a mail
// are written in either case, but the decoy's belongs to nobody and is never sent. Its refusal is Throttled.
func (s *Service) Forgot(ctx context.Context, in ForgotInput) error {
	folded, err := login.Fold(in.Login)
	if err != nil {
		folded = login.Folded("\x00" + in.Login)
	}
	var random [32]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return err
	}
	secret := identity.Secret(base64.RawURLEncoding.EncodeToString(random[:]))
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		now := s.Now()
		if network := in.Caller.Network(); network != "" {
			asked, err := tx.CountAttempt(ctx, "forgot:"+network, now, time.Hour)
			if err != nil {
				return err
			}
			if asked.Count > asksPerHour {
				refusal = identity.Throttled.After(asked.ExpiresAt.Sub(now), "too many requests from this address; wait and try again")
				return nil
			}
		}
		subject, err := tx.SubjectByLogin(ctx, string(folded))
		if err != nil && !errors.Is(err, identity.NotFound) {
			return err
		}
		key := string(subject.ID)
		if key == "" {
			sum := sha256.Sum256([]byte(folded))
			key = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		asked, err := tx.CountAttempt(ctx, "mail:"+key, now, time.Hour)
		if err != nil {
			return err
		}
		to := subject.Email
		if asked.Count > mailsPerHour || !subject.SuspendedAt.IsZero() {
			to = ""
		}
		id, err := identity.NewID(now, s.Rand)
		if err != nil {
			return err
		}
		hash := sha256.Sum256([]byte(secret.Reveal()))
		ticket := identity.Ticket{
			ID: identity.TicketID(id), Hash: hash[:], Purpose: credential.ResetTicket, Door: in.Caller.Door, TriesLeft: 1,
			CreatedAt: now, ExpiresAt: now.Add(in.TTL),
		}
		if to != "" {
			ticket.SubjectID = subject.ID
		}
		if err := tx.CreateTicket(ctx, ticket); err != nil {
			return err
		}
		if err := s.Mailer.Mail(ctx, tx, to, mailTemplate, subject.Locale, map[string]string{
			"name": subject.Name, "link": in.Link(secret), "hours": strconv.Itoa(max(1, int(in.TTL.Hours()))),
		}); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{Action: "recovery.request", SubjectID: subject.ID})
	})
	if err != nil {
		return err
	}
	return refusal
}

// ResetInput spends a link.
type ResetInput struct {
	Caller      identity.Caller
	Token       identity.Secret
	NewPassword identity.Secret
}

// ticketRefused is one answer for unknown, spent, expired and another door's.
var ticketRefused = identity.TicketInvalid.Because("this link is no longer good; ask for a new one")

// Look says whether a link is still good; it spends nothing.
func (s *Service) Look(ctx context.Context, caller identity.Caller, secret identity.Secret) error {
	return s.Store.View(ctx, func(r identity.Reader) error {
		_, err := s.open(ctx, r, caller, secret)
		return err
	})
}

func (s *Service) open(ctx context.Context, r identity.Reader, caller identity.Caller, secret identity.Secret) (identity.Ticket, error) {
	hash := sha256.Sum256([]byte(secret.Reveal()))
	t, err := r.TicketByHash(ctx, hash[:])
	if errors.Is(err, identity.NotFound) {
		return t, ticketRefused
	}
	if err != nil {
		return t, err
	}
	if t.Purpose != credential.ResetTicket || t.Door != caller.Door || t.SubjectID == "" || !t.SpentAt.IsZero() || !s.Now().Before(t.ExpiresAt) {
		return t, ticketRefused
	}
	return t, nil
}

// Reset sets a new password for whoever holds the link, ends all her sessions and confirms her address, since the link came by
// it. Second factors stay (ASVS 5.0, 6.4.3). Links mailed before die with this one, as with any new password. A password that the
// rule refuses leaves the link good.
func (s *Service) Reset(ctx context.Context, in ResetInput) error {
	var t identity.Ticket
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if t, err = s.open(ctx, r, in.Caller, in.Token); err != nil {
			return err
		}
		subject, err := r.Subject(ctx, t.SubjectID)
		if errors.Is(err, identity.NotFound) || err == nil && !subject.SuspendedAt.IsZero() {
			return ticketRefused
		}
		if err != nil {
			return err
		}
		c, err = s.Passwords.Load(ctx, r, subject)
		return err
	})
	if err != nil {
		return err
	}
	hash, err := s.Passwords.Prepare(ctx, c, in.Caller.Door, in.NewPassword)
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		now := s.Now()
		spent, err := tx.SpendTicket(ctx, t.ID, now)
		if err != nil {
			return err
		}
		if !spent {
			return ticketRefused
		}
		if err := s.Passwords.SetIn(ctx, tx, credential.Change{
			Caller: in.Caller, SubjectID: t.SubjectID, Hash: hash, Based: c.Current, Reason: "reset by link",
		}); err != nil {
			return err
		}
		subject, err := tx.Subject(ctx, t.SubjectID)
		if err != nil {
			return err
		}
		if subject.VerifiedAt.IsZero() {
			subject.VerifiedAt, subject.UpdatedAt = now, now
			if err := tx.UpdateSubject(ctx, subject); err != nil {
				return err
			}
		}
		return tx.Announce(ctx, identity.SubjectChanged, string(t.SubjectID), now)
	})
}
