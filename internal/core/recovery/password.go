// Package recovery mails links: to let a person back in who lost what she proves herself with, and to have her show that an
// address is hers. It never tells strangers who has an account.
package recovery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// Mailer writes a mail into the outbox, in the transaction that causes it. To "" is a decoy: written, never sent.
type Mailer interface {
	Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
}

// Service resets forgotten passwords and confirms addresses.
type Service struct {
	Store     identity.Store
	Passwords *credential.Passwords
	Manage    *manage.Service
	Links     *link.Service
	Mailer    Mailer
	Log       *audit.Log
	Now       func() time.Time
	Rand      io.Reader
}

// sort is a kind of link, and the mail that carries it.
type sort struct{ purpose, template string }

var (
	resets   = sort{credential.ResetTicket, "password-reset"}
	welcomes = sort{credential.ResetTicket, "email-verification"} // a first password, and so the address
	checks   = sort{VerifyTicket, "email-verification"}
)

const (
	// mailsPerHour bounds how often strangers can have one person mailed, by whichever of her logins.
	mailsPerHour = 5
	// asksPerHour bounds what one network can have written, known logins or not: whoever waits for a link waits behind it.
	asksPerHour = 60
)

// Link is what a mail carries.
type Link struct {
	Address func(secret identity.Secret) string // of the door's page that spends it
	TTL     time.Duration
	Form    link.Form
	Door    identity.Door // where it is good; "": the caller's
}

// ForgotInput asks for a link.
type ForgotInput struct {
	Caller identity.Caller
	Login  string
	Link   Link
}

// Forgot mails a link to whoever has the login, and answers alike, with the same work, where nobody has it: a ticket and a mail
// are written in either case, but the decoy's belongs to nobody and is never sent. Its refusal is Throttled.
func (s *Service) Forgot(ctx context.Context, in ForgotInput) error {
	return s.ask(ctx, in, resets, "recovery.request", 0)
}

// ask is Forgot for a link of any kind. Where total is given, no more than so many are written in an hour, whoever asks.
func (s *Service) ask(ctx context.Context, in ForgotInput, of sort, action string, total int) error {
	folded, err := login.Fold(in.Login)
	if err != nil {
		folded = login.Folded("\x00" + in.Login)
	}
	id, err := s.Links.Secret(in.Link.Form)
	if err != nil {
		return err
	}
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		now := s.Now()
		if refusal, err = s.bound(ctx, tx, in.Caller, action, total); err != nil || refusal != nil {
			return err
		}
		subject, err := tx.SubjectByLogin(ctx, string(folded))
		if err != nil && !errors.Is(err, identity.NotFound) {
			return err
		}
		if err == nil && !s.Passwords.Sessions.Rules[in.Caller.Door].Admits(subject.Kind) {
			subject = identity.Subject{} // as unknown
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
		var whose identity.SubjectID // nobody's link goes with the decoy
		if to != "" {
			whose = subject.ID
		}
		if err := s.send(ctx, tx, in.Caller, id, whose, to, of, subject, in.Link); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{Action: action, SubjectID: subject.ID})
	})
	if err != nil {
		return err
	}
	return refusal
}

// bound counts what strangers ask for.
func (s *Service) bound(ctx context.Context, tx identity.Tx, caller identity.Caller, action string, total int) (refusal, err error) {
	now := s.Now()
	if network := caller.Network(); network != "" {
		asked, err := tx.CountAttempt(ctx, "forgot:"+network, now, time.Hour)
		if err != nil {
			return nil, err
		}
		if asked.Count > asksPerHour {
			return identity.Throttled.After(asked.ExpiresAt.Sub(now), "too many requests from this address; wait and try again"), nil
		}
	}
	if total == 0 {
		return nil, nil
	}
	all, err := tx.CountAttempt(ctx, "all:"+action, now, time.Hour)
	if err == nil && all.Count > total {
		refusal = identity.Throttled.After(all.ExpiresAt.Sub(now), "too many such requests; wait and try again")
	}
	return refusal, err
}

// send makes a link with the id and writes the mail that carries it; to "" is a decoy.
func (s *Service) send(ctx context.Context, tx identity.Tx, caller identity.Caller, id string, whose identity.SubjectID, to string, of sort, subject identity.Subject, in Link) error {
	secret, err := s.Links.Make(ctx, tx, id, link.New{Purpose: of.purpose, Door: cmp.Or(in.Door, caller.Door), SubjectID: whose, ExpiresAt: s.Now().Add(in.TTL)})
	if err != nil {
		return err
	}
	return s.Mailer.Mail(ctx, tx, to, of.template, subject.Locale, map[string]string{
		"name": subject.Name, "link": in.Address(secret), "hours": strconv.Itoa(max(1, int(in.TTL.Hours()))),
	})
}

// sendAnew is send to somebody who is known, on behalf of whoever may ask for it: the links of that purpose that she was mailed
// before die, and she is not mailed more than so often. Its refusal is Throttled.
func (s *Service) sendAnew(ctx context.Context, tx identity.Tx, caller identity.Caller, of sort, subject identity.Subject, in Link) error {
	now := s.Now()
	asked, err := tx.CountAttempt(ctx, of.purpose+":"+string(subject.ID), now, time.Hour)
	if err != nil {
		return err
	}
	if asked.Count > mailsPerHour {
		return identity.Throttled.After(asked.ExpiresAt.Sub(now), "too many such mails to this person; wait and try again")
	}
	if err := tx.DeleteTicketsOf(ctx, subject.ID, of.purpose); err != nil {
		return err
	}
	id, err := s.Links.Secret(in.Form)
	if err != nil {
		return err
	}
	return s.send(ctx, tx, caller, id, subject.ID, subject.Email, of, subject, in)
}

// SendResetIn mails somebody a link to set a new password, because an administrator wishes it: the password that she has must be
// changed from now on. The caller has decided that he may. Its refusals are NotFound, Suspended and Throttled.
func (s *Service) SendResetIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, mail Link) error {
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if !subject.SuspendedAt.IsZero() {
		return identity.Suspended.Because("this account is suspended")
	}
	if err := s.Manage.SetMustChangeIn(ctx, tx, caller, id, true); err != nil && !errors.Is(err, identity.NotFound) {
		return err // she may have no password yet
	}
	if err := s.sendAnew(ctx, tx, caller, resets, subject, mail); err != nil {
		return err
	}
	return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "recovery.request", SubjectID: id})
}

// SendReset is SendResetIn in a transaction of its own.
func (s *Service) SendReset(ctx context.Context, caller identity.Caller, id identity.SubjectID, mail Link) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.SendResetIn(ctx, tx, caller, id, mail) })
}

// SendWelcomeIn mails somebody who was just made a link that confirms her address and lets her choose her first password, spent by
// Reset. The caller bounds how often. Its refusal is Throttled.
func (s *Service) SendWelcomeIn(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject, mail Link) error {
	return s.sendAnew(ctx, tx, caller, welcomes, subject, mail)
}

// ResetInput spends a link.
type ResetInput struct {
	Caller      identity.Caller
	Token       identity.Secret
	NewPassword identity.Secret
	// Then is what else happens in the transaction, once she is as she will be. May be nil.
	Then func(ctx context.Context, tx identity.Tx, subject identity.Subject) error
}

// Holder is whom a link was mailed to.
type Holder struct {
	Subject identity.Subject
	Rule    identity.PasswordRule // of her new password at this door
}

// Look says whose link it is, if it is still good; it spends nothing.
func (s *Service) Look(ctx context.Context, caller identity.Caller, secret identity.Secret) (holder Holder, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		t, err := s.Links.Open(ctx, r, caller.Door, secret, credential.ResetTicket)
		if err != nil {
			return err
		}
		if holder.Subject, err = r.Subject(ctx, t.SubjectID); err != nil {
			return err
		}
		c, err := s.Passwords.Load(ctx, r, holder.Subject)
		holder.Rule = s.Passwords.Rule(c, caller.Door)
		return err
	})
	return holder, err
}

// Reset sets a new password for whoever holds the link, ends all her sessions and confirms her address, since the link came by
// it. Second factors stay (ASVS 5.0, 6.4.3). Links mailed before die with this one, as with any new password. A password that the
// rule refuses leaves the link good.
func (s *Service) Reset(ctx context.Context, in ResetInput) error {
	var t identity.Ticket
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if t, err = s.Links.Open(ctx, r, in.Caller.Door, in.Token, credential.ResetTicket); err != nil {
			return err
		}
		subject, err := r.Subject(ctx, t.SubjectID)
		if errors.Is(err, identity.NotFound) {
			return link.Refused
		}
		if err != nil {
			return err
		}
		if !subject.SuspendedAt.IsZero() { // said to whoever reads her mail
			return identity.Suspended.Because("this account is suspended")
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
		if err := s.Links.Spend(ctx, tx, t.ID); err != nil {
			return err
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
		if in.Then != nil {
			if err := in.Then(ctx, tx, subject); err != nil {
				return err
			}
		}
		return tx.Announce(ctx, identity.SubjectChanged, string(t.SubjectID), now)
	})
}
