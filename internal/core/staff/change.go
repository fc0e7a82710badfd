package staff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/identity"
)

// Names of the fields that refusals speak of.
const (
	FieldRole     = "role"
	FieldEmail    = "email"
	FieldPassword = "password"
	FieldPolicy   = "policy"
	FieldFactor   = "factor" // the kind of second factor
	FieldNumber   = "number" // to which its codes go
	FieldApp      = "app"    // the authenticator
	FieldOwner    = "owner"
	FieldLocation = "location"
	FieldNotes    = "notes"
	FieldMailOff  = "mail_off" // no codes can be sent that way
	FieldSMSOff   = "sms_off"
)

const (
	maxText  = 2000
	maxNote  = 4000
	maxNotes = 48 << 10 // bytes in all, so that the rest of a door's JSON has room
)

// switchable are the kinds that somebody's one second factor is chosen from.
var switchable = []identity.CredentialKind{identity.TOTP, identity.SMSCode, identity.EmailCode}

// Person is somebody to be made.
type Person struct {
	Kind        identity.SubjectKind // "": a person
	Email       string
	Role        *string // nil: subscriber
	Name        string
	Description string
	Locale      string
	Location    string
	Owner       string
	Entity      string // becomes the owner where a root asks
	AuthInfo    string
	Policy      string // key
	Notes       []string
	Password    *identity.Secret // nil: she sets one by a mailed link
	MustChange  bool
	Suspended   bool
	BlackListed bool
	Check       recovery.Link // mailed, where it has an address: she has to confirm hers before she signs in
}

// Change is what is to be different about somebody; nil stays.
type Change struct {
	Kind         identity.SubjectKind
	Name         *string
	Description  *string
	Locale       *string
	Location     *string
	Owner        *string
	AuthInfo     *string
	Policy       *string // key; "": none
	Role         *string
	Notes        []string // added to those that are there
	Suspended    *bool
	BlackListed  *bool
	MustChange   *bool // wins over what a new password does to it
	Password     *identity.Secret
	Factor       *Factor
	ResetFactors bool          // takes all second factors away
	Check        recovery.Link // mailed, where it has an address: she has to confirm hers anew
	MailReset    recovery.Link // mailed, where it has an address: her password must be changed
}

// Factor is the second factor that somebody is to have.
type Factor struct {
	On     bool
	Kind   identity.CredentialKind // "": none that is known here
	Number string                  // SMSCode; "": the one she has
}

// Create makes somebody.
func (s *Service) Create(ctx context.Context, by By, in Person) (profile.Profile, error) {
	var hash string
	var role Role
	in.Email = strings.ToLower(strings.TrimSpace(in.Email))
	// Judged before the hash is made, in the order that clients expect, and again where it is written.
	judge := func(r identity.Reader) (actor identity.Subject, policyID identity.PolicyID, err error) {
		actor, acts, err := s.actor(ctx, r, by, in.Kind)
		if err != nil {
			return actor, "", err
		}
		role = Subscriber
		known := true
		if in.Role != nil {
			role, known = ParseRole(*in.Role)
		}
		switch {
		case !known:
			return actor, "", identity.Invalid.In(FieldRole, "must be one of the roles")
		case in.Kind == identity.Customer && role != Subscriber:
			return actor, "", identity.Invalid.In(FieldRole, "must be subscriber")
		}
		if err := May(acts, Create, role, false); err != nil {
			return actor, "", err
		}
		if !login.ValidPlainEmail(in.Email) {
			return actor, "", identity.Invalid.In(FieldEmail, "must be an e-mail address")
		}
		if in.Entity != "" && acts == Root {
			in.Owner = in.Entity
		}
		policyID, err = policyOf(ctx, r, in.Policy)
		return actor, policyID, err
	}
	err := s.Store.View(ctx, func(r identity.Reader) error {
		_, policyID, err := judge(r)
		if err != nil || in.Password == nil {
			return err
		}
		c, err := s.Passwords.Load(ctx, r, identity.Subject{Email: in.Email, Name: in.Name, PolicyID: policyID})
		if err != nil {
			return err
		}
		return s.Passwords.Check(s.Passwords.Rule(c, by.Door), *in.Password, credential.ContextWords(c)...)
	})
	if err != nil {
		return profile.Profile{}, err
	}
	facts := Facts{Description: in.Description, Location: in.Location, AuthInfo: in.AuthInfo, BlackListed: in.BlackListed, Suspended: in.Suspended}
	if err := checkFacts(facts, in.Owner); err != nil {
		return profile.Profile{}, err
	}
	if in.Password != nil {
		if hash, err = s.Passwords.Hasher.Hash(ctx, *in.Password); err != nil {
			return profile.Profile{}, err
		}
	}
	var made profile.Profile
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		actor, policyID, err := judge(tx)
		if err != nil {
			return err
		}
		facts := facts
		if facts.Role = role; policyID != "" {
			facts.PolicyAt = s.Now()
		}
		if facts.Notes, err = s.noted(nil, actor, in.Notes); err != nil {
			return err
		}
		own, err := manage.Merged(nil, s.Words.Patch(facts))
		if err != nil {
			return err
		}
		subject, err := s.Manage.CreateIn(ctx, tx, by.Caller, manage.NewSubject{
			Kind: in.Kind, Email: in.Email, Name: in.Name, Locale: in.Locale, PasswordHash: hash, MustChange: in.MustChange,
			Verified: hash != "" && !asked(in.Check), MustVerify: asked(in.Check), Suspended: in.Suspended || in.BlackListed, Superadmin: role == Root,
			PolicyID: policyID, Owner: in.Owner, Attributes: identity.Attributes{s.Words.Door: own},
		})
		if err != nil {
			return err
		}
		if asked(in.Check) {
			if _, err := s.Recovery.StartVerificationIn(ctx, tx, by.Caller, subject.ID, in.Check); err != nil {
				return err
			}
		}
		made, err = s.head(ctx, tx, subject.ID)
		return err
	})
	return made, err
}

// Change changes somebody and answers her as she is then.
func (s *Service) Change(ctx context.Context, by By, id identity.SubjectID, in Change) (profile.Profile, error) {
	var words credential.Context
	var hash string
	if in.Password != nil {
		err := s.Store.View(ctx, func(r identity.Reader) error {
			p, err := s.judge(ctx, r, by, id, in)
			if err != nil {
				return err
			}
			words, err = s.Passwords.Load(ctx, r, p.target)
			return err
		})
		if err != nil {
			return profile.Profile{}, err
		}
		if hash, err = s.Passwords.Prepare(ctx, words, by.Door, *in.Password); err != nil {
			return profile.Profile{}, err
		}
	}
	var changed profile.Profile
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		p, err := s.judge(ctx, tx, by, id, in)
		if err != nil {
			return err
		}
		if err := s.changeRecord(ctx, tx, by, p, in); err != nil {
			return err
		}
		if hash != "" {
			if err := s.changePassword(ctx, tx, by, p, words.Current, hash, in.MustChange); err != nil {
				return err
			}
		}
		if err := s.changeFactor(ctx, tx, by, p, in); err != nil {
			return err
		}
		if err := s.sendLinks(ctx, tx, by, p, in); err != nil {
			return err
		}
		changed, err = s.head(ctx, tx, id)
		return err
	})
	return changed, err
}

// judge says whether a change may be made. What somebody sends about herself without the right to it is refused where it would
// make a difference, and of no effect where it would not: clients send whole records back.
func (s *Service) judge(ctx context.Context, r identity.Reader, by By, id identity.SubjectID, in Change) (pair, error) {
	p, err := s.meet(ctx, r, by, in.Kind, Modify, id)
	if err != nil {
		return p, err
	}
	facts := s.Words.Read(&p.target)
	suspended, blackListed := facts.ShutOut(&p.target)
	role := p.was
	if in.Role != nil {
		var known bool
		if role, known = ParseRole(*in.Role); !known {
			return p, identity.Invalid.In(FieldRole, "must be one of the roles")
		}
	}
	policyID := p.target.PolicyID
	if in.Policy != nil {
		if policyID, err = policyOf(ctx, r, *in.Policy); err != nil {
			return p, err
		}
	}
	for _, n := range []struct {
		needed bool
		act    Act
	}{
		{differs(in.Owner, p.target.Owner) || differs(in.Location, facts.Location) || policyID != p.target.PolicyID, Assign},
		{differs(in.Suspended, suspended) || differs(in.BlackListed, blackListed) || asked(in.Check), Suspend},
		{role != p.was, SetRole},
		{in.Password != nil || asked(in.MailReset), SetPassword},
		{in.Factor != nil, SetFactor},
		{in.ResetFactors, ResetFactors},
	} {
		if !n.needed {
			continue
		}
		if err := p.may(n.act); err != nil {
			return p, err
		}
	}
	if role != p.was {
		if p.target.Kind == identity.Customer {
			return p, identity.Denied.Because("a customer is a subscriber and nothing else")
		}
		if err := May(p.role, Create, role, false); err != nil {
			return p, err
		}
	}
	if (p.self || by.Acting()) && (in.Password != nil || asked(in.MailReset) || in.Factor != nil || in.ResetFactors) {
		return p, by.Herself()
	}
	return p, nil
}

// asked says whether a link is to be mailed.
func asked(link recovery.Link) bool { return link.Address != nil }

func differs[T comparable](asked *T, is T) bool { return asked != nil && *asked != is }

// changeRecord brings her own fields in line.
func (s *Service) changeRecord(ctx context.Context, tx identity.Tx, by By, p pair, in Change) error {
	facts := s.Words.Read(&p.target)
	before := s.Words.Patch(facts)
	c := manage.Change{Name: in.Name, Locale: in.Locale, Owner: in.Owner}
	take(&facts.Description, in.Description)
	take(&facts.Location, in.Location)
	if p.may(Assign) == nil {
		take(&facts.AuthInfo, in.AuthInfo)
	}
	if in.Policy != nil {
		id, err := policyOf(ctx, tx, *in.Policy)
		if err != nil {
			return err
		}
		if id != p.target.PolicyID {
			c.PolicyID, facts.PolicyAt = &id, s.Now()
		}
	}
	if in.Role != nil {
		if role, _ := ParseRole(*in.Role); role != p.was {
			root := role == Root
			facts.Role, c.Superadmin = role, &root
		}
	}
	var err error
	if facts.Notes, err = s.noted(facts.Notes, p.actor, in.Notes); err != nil {
		return err
	}
	suspended, blackListed := facts.ShutOut(&p.target)
	take(&suspended, in.Suspended)
	take(&blackListed, in.BlackListed)
	facts.Suspended, facts.BlackListed = suspended, blackListed
	next := Facts{} // what stood there before may have come another way
	take(&next.Description, in.Description)
	take(&next.AuthInfo, in.AuthInfo)
	take(&next.Location, in.Location)
	owner := ""
	take(&owner, in.Owner)
	if err := checkFacts(next, owner); err != nil {
		return err
	}
	if patch := s.Words.Patch(facts); !manage.SameJSON(before, patch) {
		c.Merge = identity.Attributes{s.Words.Door: patch}
	}
	if _, err := s.Manage.UpdateIn(ctx, tx, by.Caller, p.target.ID, c); err != nil {
		return err
	}
	switch {
	case (suspended || blackListed) && p.target.SuspendedAt.IsZero():
		reason := "suspended"
		if blackListed {
			reason = "blacklisted"
		}
		return s.Manage.SuspendIn(ctx, tx, by.Caller, p.target.ID, reason)
	case !suspended && !blackListed && !p.target.SuspendedAt.IsZero():
		return s.Manage.ResumeIn(ctx, tx, by.Caller, p.target.ID)
	}
	return nil
}

func take[T any](into *T, asked *T) {
	if asked != nil {
		*into = *asked
	}
}

// checkFacts refuses what a record cannot hold.
func checkFacts(f Facts, owner string) error {
	for _, t := range []struct{ field, text string }{{"description", f.Description}, {"auth_info", f.AuthInfo}} {
		if utf8.RuneCountInString(t.text) > maxText {
			return identity.Invalid.In(t.field, fmt.Sprintf("must not be longer than %d characters", maxText))
		}
	}
	for _, t := range []struct{ field, id string }{{FieldOwner, owner}, {FieldLocation, f.Location}} {
		if t.id != "" && !identity.ValidID(t.id) {
			return identity.Invalid.In(t.field, "must be a UUID in lower case, or empty")
		}
	}
	return nil
}

// noted adds notes; empty ones are none.
func (s *Service) noted(notes []Note, actor identity.Subject, texts []string) ([]Note, error) {
	all := slices.Clone(notes)
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			continue
		}
		if utf8.RuneCountInString(text) > maxNote {
			return nil, identity.Invalid.In(FieldNotes, fmt.Sprintf("must not be longer than %d characters each", maxNote))
		}
		all = append(all, Note{At: s.Now(), By: strings.ToLower(actor.Email), Text: text})
	}
	size := 0
	for _, n := range all {
		size += len(n.Text) + len(n.By) + 60
	}
	if size > maxNotes && len(all) > len(notes) {
		return nil, identity.Invalid.In(FieldNotes, "have no room for more")
	}
	return all, nil
}

func policyOf(ctx context.Context, r identity.Reader, key string) (identity.PolicyID, error) {
	if key == "" {
		return "", nil
	}
	p, err := r.PolicyByKey(ctx, key)
	if errors.Is(err, identity.NotFound) {
		return "", identity.Invalid.In(FieldPolicy, "names no security policy")
	}
	return p.ID, err
}

func (s *Service) head(ctx context.Context, r identity.Reader, id identity.SubjectID) (profile.Profile, error) {
	subject, err := r.Subject(ctx, id)
	if err != nil {
		return profile.Profile{}, err
	}
	heads, err := s.Profiles.Heads(ctx, r, []identity.Subject{subject})
	if err != nil {
		return profile.Profile{}, err
	}
	return heads[0], nil
}

// keeps is the session that stays: the one that makes the call, where it is her own.
func (p pair) keeps(by By) identity.SessionID {
	if p.self {
		return by.SessionID
	}
	return ""
}

func (s *Service) changePassword(ctx context.Context, tx identity.Tx, by By, p pair, based *identity.Credential, hash string, must *bool) error {
	change := credential.Change{
		Caller: by.Caller, SubjectID: p.target.ID, Hash: hash, Based: based, KeepSession: p.keeps(by), Reason: "set by an administrator",
	}
	if p.self {
		change.Reason = "changed by herself"
	}
	if p.may(Suspend) == nil {
		take(&change.MustChange, must)
	}
	if err := s.Passwords.SetIn(ctx, tx, change); err != nil {
		return err
	}
	if err := tx.DeleteTicketsOf(ctx, p.target.ID, ""); err != nil { // a half-way sign-in or a mailed link was for the one before
		return err
	}
	// Whoever keeps a print of her shows when it was set.
	return tx.Announce(ctx, identity.SubjectChanged, string(p.target.ID), s.Now())
}

// changeFactor switches her one method, or takes all away.
func (s *Service) changeFactor(ctx context.Context, tx identity.Tx, by By, p pair, in Change) error {
	if in.ResetFactors {
		in.Factor = &Factor{}
	}
	if in.Factor == nil {
		return nil
	}
	credentials, err := tx.Credentials(ctx, p.target.ID)
	if err != nil {
		return err
	}
	has := func(kind identity.CredentialKind) int {
		return slices.IndexFunc(credentials, func(c identity.Credential) bool { return c.Kind == kind })
	}
	effective, err := s.Profiles.Policies.OfMember(ctx, tx, p.target)
	if err != nil {
		return err
	}
	if !in.Factor.On {
		kinds := switchable
		if in.ResetFactors {
			kinds = append(slices.Clone(switchable), identity.WebAuthn, identity.RecoveryCode)
		}
		if p.self && effective.SecondFactor == identity.FactorNeeded && slices.ContainsFunc(kinds, func(k identity.CredentialKind) bool { return has(k) >= 0 }) {
			return identity.Denied.Because("the security policy demands a second factor")
		}
		removed, err := s.Manage.RemoveFactorsIn(ctx, tx, by.Caller, p.target.ID, p.keeps(by), kinds...)
		if err != nil || !removed || !in.ResetFactors {
			return err
		}
		return s.note(ctx, tx, by, p, "second factors reset")
	}
	kind := in.Factor.Kind
	switch {
	case !slices.Contains(switchable, kind):
		return identity.Invalid.In(FieldFactor, "must be one that is known here")
	case !policy.Allows(effective, kind):
		return identity.Invalid.In(FieldFactor, "is not one that the security policy allows")
	case s.Offers == nil || !s.Offers(kind):
		return off(kind)
	}
	at := has(kind)
	others := slices.DeleteFunc(slices.Clone(switchable), func(k identity.CredentialKind) bool { return k == kind })
	switch kind {
	case identity.EmailCode:
		if at < 0 || credentials[at].Target != p.target.Email {
			err = s.Manage.EnrolTargetIn(ctx, tx, by.Caller, p.target.ID, kind, p.target.Email)
		}
	case identity.SMSCode:
		err = s.enrolNumber(ctx, tx, by, p, credentials, at, in.Factor.Number)
	case identity.TOTP:
		err = s.enrolApp(ctx, tx, by, p, at >= 0)
	}
	if err != nil {
		return err
	}
	_, err = s.Manage.RemoveFactorsIn(ctx, tx, by.Caller, p.target.ID, p.keeps(by), others...)
	return err
}

// off says that the house cannot ask for a second factor of a kind.
func off(kind identity.CredentialKind) error {
	switch kind {
	case identity.EmailCode:
		return identity.Invalid.In(FieldMailOff, "codes by mail cannot be sent here")
	case identity.SMSCode:
		return identity.Invalid.In(FieldSMSOff, "codes by SMS cannot be sent here")
	}
	return identity.Invalid.In(FieldFactor, "cannot be used here")
}

func (s *Service) enrolNumber(ctx context.Context, tx identity.Tx, by By, p pair, credentials []identity.Credential, at int, number string) error {
	if at >= 0 && number == "" {
		return nil // as it is: clients send whole records back
	}
	if number == "" {
		return identity.Invalid.In(FieldNumber, "is needed for codes by SMS")
	}
	number, err := phone.Parse(number)
	if err != nil {
		return phone.In(FieldNumber, err)
	}
	if at >= 0 && number == credentials[at].Target {
		return nil
	}
	proven := false
	if s.Proven != nil {
		if proven, err = s.Proven(ctx, tx, by.SubjectID, number); err != nil {
			return err
		}
	}
	if !proven {
		return identity.Invalid.In(FieldNumber, "was not proven just now")
	}
	return s.Manage.EnrolTargetIn(ctx, tx, by.Caller, p.target.ID, identity.SMSCode, number)
}

func (s *Service) enrolApp(ctx context.Context, tx identity.Tx, by By, p pair, has bool) error {
	enrolled := false
	var err error
	if s.EnrolApp != nil {
		if enrolled, err = s.EnrolApp(ctx, tx, by.Caller, p.target.ID); err != nil {
			return err
		}
	}
	if !enrolled && !has {
		return identity.Invalid.In(FieldApp, "is not set up")
	}
	return nil
}

// note leaves one about what was done.
func (s *Service) note(ctx context.Context, tx identity.Tx, by By, p pair, text string) error {
	subject, err := tx.Subject(ctx, p.target.ID)
	if err != nil {
		return err
	}
	facts := s.Words.Read(&subject)
	notes, err := s.noted(facts.Notes, p.actor, []string{text})
	if errors.Is(err, identity.Invalid) {
		return nil // no room; the audit log says it too
	}
	if err != nil {
		return err
	}
	facts.Notes = notes
	_, err = s.Manage.UpdateIn(ctx, tx, by.Caller, p.target.ID, manage.Change{Merge: identity.Attributes{s.Words.Door: s.Words.Patch(facts)}})
	return err
}

// sendLinks mails what was asked for, and says whether her password must be changed.
func (s *Service) sendLinks(ctx context.Context, tx identity.Tx, by By, p pair, in Change) error {
	if in.MustChange != nil && in.Password == nil && p.may(Suspend) == nil {
		err := s.Manage.SetMustChangeIn(ctx, tx, by.Caller, p.target.ID, *in.MustChange)
		if err != nil && !errors.Is(err, identity.NotFound) { // without a password there is none to change
			return err
		}
	}
	if asked(in.Check) {
		if _, err := s.Recovery.StartVerificationIn(ctx, tx, by.Caller, p.target.ID, in.Check); err != nil {
			return err
		}
	}
	if asked(in.MailReset) {
		return s.Recovery.SendResetIn(ctx, tx, by.Caller, p.target.ID, in.MailReset)
	}
	return nil
}

// Delete removes somebody with all that is hers, and ends her sessions.
func (s *Service) Delete(ctx context.Context, by By, kind identity.SubjectKind, id identity.SubjectID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Check(ctx, tx, by, kind, Delete, id); err != nil {
			return err
		}
		if !by.Service && id == by.SubjectID {
			if err := by.Herself(); err != nil {
				return err
			}
		}
		return s.Manage.DeleteIn(ctx, tx, by.Caller, id)
	})
}
