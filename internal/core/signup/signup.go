// Package signup lets people in who make their own account: a subject, an organisation of hers, and the first session.
package signup

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
)

// Service registers people.
type Service struct {
	Store     identity.Store
	Manage    *manage.Service
	Passwords *credential.Passwords
	Sessions  *session.Service
	Recovery  *recovery.Service
	Log       *audit.Log
	Now       func() time.Time
	// Founder is what doors keep of the membership of somebody who made her organisation; each door's own JSON. May be nil.
	Founder identity.Attributes
	// PerHour bounds registrations from one network in an hour; 0: 20.
	PerHour int
	// Closed are the doors at which nobody registers: the operator makes their accounts. May be nil.
	Closed map[identity.Door]bool
}

// Open says whether people may register at a door.
func (s *Service) Open(door identity.Door) bool { return !s.Closed[door] }

// Input asks for an account.
type Input struct {
	Caller     identity.Caller
	Email      string
	Password   identity.Secret
	Name       string
	Company    string // name of her organisation; "": none is made
	Phone      string
	Locale     string
	Attributes identity.Attributes
	// For the session, as in signin.PasswordInput.
	ClientID          identity.ClientID
	Scopes            []string
	Remember          bool
	KeepsSpent        bool
	SessionAttributes []byte
}

// Names of the fields that refusals speak of, beside manage.FieldEmail and manage.FieldPhone.
const (
	FieldPassword = "password"
	FieldName     = "name"
	FieldCompany  = "company"
)

const perHour = 20

// Register makes the account and signs its owner in, in one transaction. Its refusals are Invalid and Conflict with the field
// ("email", "password", "name", "company", "phone"), WeakPassword, Throttled, FactorRequired, Busy, and Denied where the door is closed.
//
// The contract signs her in at once, before she showed that the address is hers (nx.md 3.4). So VerifiedAt stays zero, and an
// unconfirmed address must never be taken as proof of who she is: not to join an organisation by its domain, not to link an
// account from elsewhere. Whoever really owns it takes it back by resetting the password.
func (s *Service) Register(ctx context.Context, in Input) (signin.Outcome, error) {
	if !s.Open(in.Caller.Door) {
		return signin.Outcome{}, identity.Denied.Because("nobody registers here; ask an administrator for an account")
	}
	if err := s.look(ctx, in); err != nil {
		return signin.Outcome{}, err
	}
	if err := s.count(ctx, in.Caller); err != nil {
		return signin.Outcome{}, err
	}
	hash, err := s.Passwords.Hasher.Hash(ctx, in.Password)
	if err != nil {
		return signin.Outcome{}, err
	}
	var out signin.Outcome
	err = s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		out, err = s.create(ctx, tx, in, hash)
		return err
	})
	if err != nil {
		return signin.Outcome{}, err
	}
	return out, nil
}

// look judges all that needs no hash.
func (s *Service) look(ctx context.Context, in Input) error {
	if strings.TrimSpace(in.Name) == "" {
		return identity.Invalid.In(FieldName, "is needed")
	}
	if !login.ValidEmail(strings.TrimSpace(in.Email)) {
		return identity.Invalid.In(manage.FieldEmail, "must be an e-mail address")
	}
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		c, err = s.Passwords.Load(ctx, r, identity.Subject{Email: in.Email, Name: in.Name})
		return err
	})
	if err != nil {
		return err
	}
	if c.Policy.SecondFactor == identity.FactorNeeded {
		// She could have none yet, and a way in around the sign-in must not be a way around the factor.
		return identity.FactorRequired.Because("everybody needs a second factor here; ask an administrator for an account")
	}
	c.Organisations = append(c.Organisations, identity.Organisation{Name: in.Company})
	return s.Passwords.Check(s.Passwords.Rule(c, in.Caller.Door), in.Password, credential.ContextWords(c)...)
}

// count takes one of the network's registrations, whatever comes of it: each would tell whether an address has an account.
func (s *Service) count(ctx context.Context, caller identity.Caller) error {
	network := caller.Network()
	if network == "" {
		return nil
	}
	limit := s.PerHour
	if limit == 0 {
		limit = perHour
	}
	var tries identity.Attempts
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		tries, err = tx.CountAttempt(ctx, "signup:"+network, s.Now(), time.Hour)
		return err
	})
	if err == nil && tries.Count > limit {
		return identity.Throttled.After(tries.ExpiresAt.Sub(s.Now()), "too many registrations from this address; wait and try again")
	}
	return err
}

func (s *Service) create(ctx context.Context, tx identity.Tx, in Input, hash string) (signin.Outcome, error) {
	subject, err := s.Manage.CreateIn(ctx, tx, in.Caller, manage.NewSubject{
		Email: in.Email, Name: strings.TrimSpace(in.Name), Phone: in.Phone, Locale: in.Locale, PasswordHash: hash, Attributes: in.Attributes,
	})
	if err != nil {
		return signin.Outcome{}, err
	}
	var organisation identity.OrganisationID
	if company := strings.TrimSpace(in.Company); company != "" {
		o, err := s.Manage.CreateOrganisationIn(ctx, tx, in.Caller, manage.NewOrganisation{Name: company})
		if err != nil {
			return signin.Outcome{}, ofCompany(err)
		}
		if _, err := s.Manage.SaveMembershipIn(ctx, tx, in.Caller, identity.Membership{
			SubjectID: subject.ID, OrganisationID: o.ID, Attributes: s.Founder,
		}); err != nil {
			return signin.Outcome{}, err
		}
		organisation = o.ID
	}
	effective, err := s.Passwords.Policies.OfMember(ctx, tx, subject)
	if err != nil {
		return signin.Outcome{}, err
	}
	begun, err := s.Sessions.Begin(ctx, tx, session.Start{
		Caller: in.Caller, Subject: subject, Policy: effective, ClientID: in.ClientID, OrganisationID: organisation, AMR: []string{"pwd"},
		Scopes: in.Scopes, Remember: in.Remember, KeepsSpent: in.KeepsSpent, Attributes: in.SessionAttributes,
	})
	if err != nil {
		return signin.Outcome{}, err
	}
	return signin.Outcome{Subject: subject, Session: begun}, s.Log.Record(ctx, tx, in.Caller, audit.Entry{
		Action: "signup", SubjectID: subject.ID, ActorID: subject.ID, SessionID: begun.ID, ClientID: in.ClientID, OrganisationID: organisation,
	})
}

// ofCompany gives a refusal of the organisation's name the name of the field that it came from.
func ofCompany(err error) error {
	var e *identity.Error
	if errors.As(err, &e) && e.Kind == identity.Invalid && e.Field == "name" {
		return identity.Invalid.In(FieldCompany, e.Public)
	}
	return err
}

// Strength is what is thought of a password.
type Strength struct {
	Score   int  // 0..4 by zxcvbn's scale
	Strong  bool // the rule accepts it, and the score is at least 3
	Message string
}

// strongScore is the least score that is called strong (nx.md 3.4).
const strongScore = 3

// Strength judges a password before it is sent for good. It stores nothing and counts nothing: the door limits how often it is
// asked.
func (s *Service) Strength(ctx context.Context, caller identity.Caller, pw identity.Secret, email, name string) (Strength, error) {
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		c, err = s.Passwords.Load(ctx, r, identity.Subject{Email: email, Name: name})
		return err
	})
	if err != nil {
		return Strength{}, err
	}
	words := credential.ContextWords(c)
	// The checker knows the score only as a bound; the bounds are few and halved.
	accepted := func(score int) bool {
		return s.Passwords.Check(identity.PasswordRule{MinScore: score}, pw, words...) == nil
	}
	low, high := 0, 4
	for low < high {
		if middle := (low + high + 1) / 2; accepted(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	out := Strength{Score: low, Message: "This is a strong password."}
	rule := s.Passwords.Rule(c, caller.Door)
	rule.MinScore = max(rule.MinScore, strongScore)
	switch refused := s.Passwords.Check(rule, pw, words...); identity.KindOf(refused) {
	case identity.WeakPassword, identity.Invalid:
		out.Message = identity.Describe(refused).Public
	default:
		if refused != nil {
			return Strength{}, refused
		}
		out.Strong = true
	}
	return out, nil
}
