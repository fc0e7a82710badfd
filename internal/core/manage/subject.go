package manage

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/login"
	"gatehouse/internal/identity"
)

// NewSubject is somebody to be made. At least one login is needed of a person.
type NewSubject struct {
	ID           identity.SubjectID   // "": made
	Hash         string               // "": made
	Kind         identity.SubjectKind // "": a person
	Email        string               // the primary login
	Aliases      []string             // further logins: addresses or bare names
	PhoneLogin   string               // a number that she may type to be found
	Name         string               // "": the parts of it, or the address
	GivenName    string
	MiddleName   string
	FamilyName   string
	Phone        string
	Locale       string
	Password     identity.Secret // Create only: checked by the rule and hashed
	PasswordHash string          // prepared; "" and no Password: she has none
	MustChange   bool
	Verified     bool // her address is vouched for
	MustVerify   bool // she may not sign in before she followed the link in a mail
	Suspended    bool
	Superadmin   bool
	PolicyID     identity.PolicyID
	Owner        string
	Attributes   identity.Attributes
}

// Names of the fields that refusals speak of.
const (
	FieldEmail = "email"
	FieldAlias = "alias"
	FieldPhone = "phone"
)

// Create makes somebody, with a password that the rule accepts.
func (s *Service) Create(ctx context.Context, caller identity.Caller, in NewSubject) (identity.Subject, error) {
	if in.Password != "" {
		var c credential.Context
		err := s.Store.View(ctx, func(r identity.Reader) (err error) {
			c, err = s.Passwords.Load(ctx, r, identity.Subject{Email: in.Email, Name: in.Name, GivenName: in.GivenName, FamilyName: in.FamilyName, PolicyID: in.PolicyID})
			return err
		})
		if err != nil {
			return identity.Subject{}, err
		}
		if in.PasswordHash, err = s.Passwords.Prepare(ctx, c, caller.Door, in.Password); err != nil {
			return identity.Subject{}, err
		}
	}
	return update(ctx, s, func(tx identity.Tx) (identity.Subject, error) { return s.CreateIn(ctx, tx, caller, in) })
}

// CreateIn is Create with a prepared password.
func (s *Service) CreateIn(ctx context.Context, tx identity.Tx, caller identity.Caller, in NewSubject) (identity.Subject, error) {
	now := s.Now()
	in.Email = strings.TrimSpace(in.Email)
	subject := identity.Subject{
		Kind: in.Kind, Email: in.Email, Name: in.Name, GivenName: in.GivenName, MiddleName: in.MiddleName, FamilyName: in.FamilyName,
		Phone: in.Phone, Locale: in.Locale, Superadmin: in.Superadmin, MustVerify: in.MustVerify, PolicyID: in.PolicyID,
		Owner: in.Owner, Attributes: in.Attributes, CreatedAt: now, UpdatedAt: now,
	}
	if subject.Kind == "" {
		subject.Kind = identity.Person
	}
	if in.Verified {
		subject.VerifiedAt = now
	}
	if in.Suspended {
		subject.SuspendedAt = now
	}
	if subject.Name == "" {
		subject.Name = displayName(subject)
	}
	logins, err := newLogins(in, now)
	if err != nil {
		return subject, err
	}
	if len(logins) == 0 && subject.Kind != identity.Machine {
		return subject, identity.Invalid.In(FieldEmail, "is needed")
	}
	if err := checkSubject(subject); err != nil {
		return subject, err
	}
	if err := policyStands(ctx, tx, subject.PolicyID); err != nil {
		return subject, err
	}
	if subject.ID, err = newID(s, "id", in.ID); err != nil {
		return subject, err
	}
	if in.ID != "" { // see CreateClientIn
		if _, err := tx.Client(ctx, identity.ClientID(in.ID)); err == nil {
			return subject, identity.Conflict.In("id", "is taken")
		} else if !errors.Is(err, identity.NotFound) {
			return subject, err
		}
	}
	if subject.Hash, err = s.newHash(in.Hash); err != nil {
		return subject, err
	}
	if subject.CreatedBy, err = s.who(ctx, tx, caller); err != nil {
		return subject, err
	}
	if subject.CreatedBy == "" {
		subject.CreatedBy = subject.Email // she registered herself
	}
	subject.UpdatedBy = subject.CreatedBy
	for i := range logins { // before the row, so that the refusal names the field
		logins[i].SubjectID = subject.ID
		if err := free(ctx, tx, logins[i]); err != nil {
			return subject, err
		}
	}
	if err := tx.CreateSubject(ctx, &subject); err != nil {
		if errors.Is(err, identity.Conflict) {
			return subject, identity.Conflict.In("id", "is taken")
		}
		return subject, err
	}
	for _, l := range logins {
		if err := createLogin(ctx, tx, l); err != nil {
			return subject, err
		}
	}
	if in.PasswordHash != "" {
		if err := s.createCredential(ctx, tx, identity.Credential{
			SubjectID: subject.ID, Kind: identity.Password, Hash: in.PasswordHash, MustChange: in.MustChange,
		}); err != nil {
			return subject, err
		}
	}
	if err := tx.Announce(ctx, identity.PopulationChanged, string(subject.ID), now); err != nil {
		return subject, err
	}
	return subject, s.finish(ctx, tx, caller, identity.SubjectChanged, string(subject.ID), audit.Entry{
		Action: "subject.create", SubjectID: subject.ID, After: view(subject),
	})
}

func displayName(subject identity.Subject) string {
	parts := strings.Fields(strings.Join([]string{subject.GivenName, subject.MiddleName, subject.FamilyName}, " "))
	if len(parts) > 0 {
		return strings.Join(parts, " ")
	}
	return subject.Email
}

func checkSubject(subject identity.Subject) error {
	if subject.Kind != identity.Person && subject.Kind != identity.Machine && subject.Kind != identity.Customer {
		return identity.Invalid.In("kind", "must be person, customer or machine")
	}
	for _, f := range []struct {
		field, value string
		limit        int
	}{
		{"name", subject.Name, maxName}, {"given_name", subject.GivenName, maxName}, {"middle_name", subject.MiddleName, maxName},
		{"family_name", subject.FamilyName, maxName}, {FieldPhone, subject.Phone, 40}, {"locale", subject.Locale, 35},
		{"owner", subject.Owner, maxKey},
	} {
		if err := line(f.field, f.value, f.limit); err != nil {
			return err
		}
	}
	return checkAttributes(subject.Attributes)
}

func policyStands(ctx context.Context, r identity.Reader, id identity.PolicyID) error {
	if id == "" {
		return nil
	}
	_, err := r.Policy(ctx, id)
	if errors.Is(err, identity.NotFound) {
		return identity.Invalid.In("policy", "does not exist")
	}
	return err
}

// view is what the audit log keeps of a subject.
func view(s identity.Subject) map[string]any {
	v := map[string]any{"email": s.Email, "name": s.Name, "superadmin": s.Superadmin, "verified": !s.VerifiedAt.IsZero(), "suspended": !s.SuspendedAt.IsZero()}
	if s.Phone != "" {
		v["phone"] = s.Phone
	}
	if s.PolicyID != "" {
		v["policy"] = s.PolicyID
	}
	if s.Owner != "" {
		v["owner"] = s.Owner
	}
	if s.MustVerify {
		v["must_verify"] = true
	}
	if attributes := readable(s.Attributes); attributes != nil {
		v["attributes"] = attributes
	}
	return v
}

// Change is what is to be different about a subject; nil fields stay.
type Change struct {
	Email      *string // replaces the primary login; the new address proves nothing before it is confirmed, unless Verified says so
	Name       *string
	GivenName  *string
	MiddleName *string
	FamilyName *string
	Phone      *string
	Locale     *string
	Superadmin *bool
	Verified   *bool
	MustVerify *bool
	PolicyID   *identity.PolicyID
	Owner      *string
	Attributes identity.Attributes // replaces the JSON of the doors named; nil JSON removes it
	Merge      identity.Attributes // patches the JSON of the doors named (RFC 7396)
}

// touchesAccount says whether more than names changes: what she is found and reached by, what she must prove, and what doors keep
// of her.
func (c Change) touchesAccount() bool {
	return c.Email != nil || c.Phone != nil || c.Superadmin != nil || c.Verified != nil || c.MustVerify != nil || c.PolicyID != nil || c.Owner != nil ||
		len(c.Attributes)+len(c.Merge) > 0
}

// Update changes a subject. A change that changes nothing writes nothing.
func (s *Service) Update(ctx context.Context, caller identity.Caller, id identity.SubjectID, c Change) (identity.Subject, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Subject, error) { return s.UpdateIn(ctx, tx, caller, id, c) })
}

// UpdateIn is Update in the caller's transaction.
func (s *Service) UpdateIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, c Change) (identity.Subject, error) {
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return subject, err
	}
	if caller.Acting() && caller.SubjectID == id && c.touchesAccount() {
		return subject, caller.Herself()
	}
	before, now := subject, s.Now()
	if c.Superadmin != nil && !*c.Superadmin {
		if err := othersRule(ctx, tx, before); err != nil {
			return subject, err
		}
	}
	changed := false
	for _, f := range []struct {
		into  *string
		value *string
	}{
		{&subject.Name, c.Name}, {&subject.GivenName, c.GivenName}, {&subject.MiddleName, c.MiddleName},
		{&subject.FamilyName, c.FamilyName}, {&subject.Phone, c.Phone}, {&subject.Locale, c.Locale}, {&subject.Owner, c.Owner},
	} {
		changed = set(f.into, f.value) || changed
	}
	changed = set(&subject.Superadmin, c.Superadmin) || changed
	changed = set(&subject.MustVerify, c.MustVerify) || changed
	moved := set(&subject.PolicyID, c.PolicyID)
	changed = moved || changed
	if c.Email != nil {
		trimmed := strings.TrimSpace(*c.Email)
		c.Email = &trimmed
	}
	if set(&subject.Email, c.Email) {
		changed = true
		another, err := s.moveEmail(ctx, tx, before, subject.Email)
		if err != nil {
			return subject, err
		}
		if another {
			subject.VerifiedAt = time.Time{}
		}
	}
	if c.Verified != nil && *c.Verified == subject.VerifiedAt.IsZero() {
		changed = true
		subject.VerifiedAt = time.Time{}
		if *c.Verified {
			subject.VerifiedAt = now
		}
	}
	if subject.Attributes, err = merged(subject.Attributes, c.Attributes, c.Merge); err != nil {
		return subject, err
	}
	if !changed && sameAttributes(before.Attributes, subject.Attributes) {
		return before, nil
	}
	if err := checkSubject(subject); err != nil {
		return subject, err
	}
	if !subject.Active() { // no longer verified, and must be: as good as suspended
		if err := othersRule(ctx, tx, before); err != nil {
			return subject, err
		}
		if err := s.Sessions.EndAllIn(ctx, tx, caller, id, "", "address to be confirmed"); err != nil {
			return subject, err
		}
	}
	if moved {
		if err := policyStands(ctx, tx, subject.PolicyID); err != nil {
			return subject, err
		}
		if err := tx.Announce(ctx, identity.PolicyChanged, string(subject.PolicyID), now); err != nil {
			return subject, err
		}
	}
	subject.UpdatedAt = now
	if subject.UpdatedBy, err = s.who(ctx, tx, caller); err != nil {
		return subject, err
	}
	if err := tx.UpdateSubject(ctx, subject); err != nil {
		return subject, err
	}
	return subject, s.finish(ctx, tx, caller, identity.SubjectChanged, string(id), audit.Entry{
		Action: "subject.update", SubjectID: id, Before: view(before), After: view(subject),
	})
}

// moveEmail replaces the primary login, and says whether that is another address or the same one spelled otherwise. What was
// mailed to another address is no longer good.
func (s *Service) moveEmail(ctx context.Context, tx identity.Tx, subject identity.Subject, email string) (another bool, err error) {
	next, err := NewLogin(FieldEmail, email, s.Now())
	if err != nil {
		return false, err
	}
	next.SubjectID, next.Primary = subject.ID, true
	logins, err := tx.Logins(ctx, subject.ID)
	if err != nil {
		return false, err
	}
	another = true
	for _, l := range logins { // the old primary one, and an alias that becomes primary
		if !l.Primary && l.Folded != next.Folded {
			continue
		}
		if l.Primary && l.Folded == next.Folded {
			another = false
		}
		if err := tx.DeleteLogin(ctx, l.Folded); err != nil {
			return false, err
		}
	}
	if err := free(ctx, tx, next); err != nil {
		return false, err
	}
	if err := createLogin(ctx, tx, next); err != nil || !another {
		return another, err
	}
	return true, tx.DeleteTicketsOf(ctx, subject.ID, "")
}

// othersRule refuses what would leave the house without an active superadmin: nobody could put that right from inside.
func othersRule(ctx context.Context, r identity.Reader, subject identity.Subject) error {
	if !subject.Superadmin || !subject.Active() {
		return nil
	}
	n, err := r.ActiveSuperadmins(ctx)
	if err == nil && n <= 1 {
		return identity.Denied.Because("this is the last active superadmin")
	}
	return err
}

// Suspend shuts somebody out and ends her sessions. Again is fine.
func (s *Service) Suspend(ctx context.Context, caller identity.Caller, id identity.SubjectID, reason string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.SuspendIn(ctx, tx, caller, id, reason) })
}

// SuspendIn is Suspend in the caller's transaction.
func (s *Service) SuspendIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, reason string) error {
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if !subject.SuspendedAt.IsZero() {
		return nil
	}
	if err := othersRule(ctx, tx, subject); err != nil {
		return err
	}
	subject.SuspendedAt = s.Now()
	if err := s.Sessions.EndAllIn(ctx, tx, caller, id, "", "suspended"); err != nil {
		return err
	}
	return s.saveSubject(ctx, tx, caller, subject, audit.Entry{Action: "subject.suspend", SubjectID: id, Reason: reason})
}

// Resume lets somebody in again. Again is fine.
func (s *Service) Resume(ctx context.Context, caller identity.Caller, id identity.SubjectID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.ResumeIn(ctx, tx, caller, id) })
}

// ResumeIn is Resume in the caller's transaction.
func (s *Service) ResumeIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID) error {
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if subject.SuspendedAt.IsZero() {
		return nil
	}
	subject.SuspendedAt = time.Time{}
	return s.saveSubject(ctx, tx, caller, subject, audit.Entry{Action: "subject.resume", SubjectID: id})
}

func (s *Service) saveSubject(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject, e audit.Entry) (err error) {
	subject.UpdatedAt = s.Now()
	if subject.UpdatedBy, err = s.who(ctx, tx, caller); err != nil {
		return err
	}
	if err := tx.UpdateSubject(ctx, subject); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(subject.ID), e)
}

// Delete removes somebody with all that is hers. What the audit log says of her stays.
func (s *Service) Delete(ctx context.Context, caller identity.Caller, id identity.SubjectID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteIn(ctx, tx, caller, id) })
}

// DeleteIn is Delete in the caller's transaction.
func (s *Service) DeleteIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID) error {
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if err := othersRule(ctx, tx, subject); err != nil {
		return err
	}
	// Her sessions go with her; ended first, each is announced, and no node goes on believing its copy.
	if err := s.Sessions.EndAllIn(ctx, tx, caller, id, "", "deleted"); err != nil {
		return err
	}
	if err := tx.DeleteSubject(ctx, id); err != nil {
		return err
	}
	if err := tx.Announce(ctx, identity.PopulationChanged, string(id), s.Now()); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(id), audit.Entry{
		Action: "subject.delete", SubjectID: id, Before: view(subject),
	})
}

// AddLogin gives somebody one more name to be found by.
func (s *Service) AddLogin(ctx context.Context, caller identity.Caller, id identity.SubjectID, typed string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.AddLoginIn(ctx, tx, caller, id, FieldAlias, typed) })
}

// AddLoginIn is AddLogin in the caller's transaction; field is FieldAlias or FieldPhone.
func (s *Service) AddLoginIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, field, typed string) error {
	l, err := NewLogin(field, typed, s.Now())
	if err != nil {
		return err
	}
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	logins, err := tx.Logins(ctx, id)
	if err != nil {
		return err
	}
	if len(logins) >= maxLogins {
		return identity.Invalid.In(field, "there are too many logins already")
	}
	l.SubjectID = id
	if err := free(ctx, tx, l); err != nil {
		return err
	}
	if err := createLogin(ctx, tx, l); err != nil {
		return err
	}
	return s.saveSubject(ctx, tx, caller, subject, audit.Entry{
		Action: "subject.login.add", SubjectID: id, After: map[string]any{"login": l.Typed},
	})
}

// RemoveLogin takes a name away. The primary one stays; it can only be replaced.
func (s *Service) RemoveLogin(ctx context.Context, caller identity.Caller, id identity.SubjectID, typed string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.RemoveLoginIn(ctx, tx, caller, id, typed) })
}

// RemoveLoginIn is RemoveLogin in the caller's transaction.
func (s *Service) RemoveLoginIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, typed string) error {
	none := identity.NotFound.In(FieldAlias, "is not a login of this person")
	folded, err := login.Fold(typed)
	if err != nil {
		return none
	}
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	logins, err := tx.Logins(ctx, id)
	if err != nil {
		return err
	}
	for _, l := range logins {
		if l.Folded != string(folded) {
			continue
		}
		if l.Primary {
			return identity.Denied.In(FieldAlias, "the primary login can only be replaced")
		}
		if err := tx.DeleteLogin(ctx, l.Folded); err != nil {
			return err
		}
		return s.saveSubject(ctx, tx, caller, subject, audit.Entry{
			Action: "subject.login.remove", SubjectID: id, Before: map[string]any{"login": l.Typed},
		})
	}
	return none
}

func newLogins(in NewSubject, now time.Time) ([]identity.Login, error) {
	var logins []identity.Login
	add := func(field, typed string) error {
		if typed == "" {
			return nil
		}
		l, err := NewLogin(field, typed, now)
		if err != nil {
			return err
		}
		for _, other := range logins {
			if other.Folded == l.Folded || other.Skeleton == l.Skeleton {
				return identity.Invalid.In(field, "is, or looks like, another login of this person")
			}
		}
		l.Primary = field == FieldEmail
		logins = append(logins, l)
		return nil
	}
	if err := add(FieldEmail, in.Email); err != nil {
		return nil, err
	}
	if len(in.Aliases) >= maxLogins {
		return nil, identity.Invalid.In(FieldAlias, "there are too many")
	}
	for _, alias := range in.Aliases {
		if err := add(FieldAlias, alias); err != nil {
			return nil, err
		}
	}
	return logins, add(FieldPhone, in.PhoneLogin)
}

// NewLogin judges what was typed by the field it was typed into: an address as e-mail, anything as alias.
func NewLogin(field, typed string, now time.Time) (identity.Login, error) {
	l, err := login.New(typed)
	if err != nil {
		return identity.Login{}, identity.Invalid.In(field, "cannot be a login")
	}
	l.CreatedAt = now
	switch {
	case field == FieldEmail && (l.Kind != identity.EmailLogin || !login.ValidEmail(l.Typed)):
		return l, identity.Invalid.In(field, "must be an e-mail address")
	case field == FieldPhone && l.Kind != identity.PhoneLogin:
		return l, identity.Invalid.In(field, "must be a phone number with its country code")
	}
	return l, nil
}

// free says who is in the way of a login: somebody with the same, or with one that looks the same.
func free(ctx context.Context, r identity.Reader, l identity.Login) error {
	_, err := r.SubjectByLogin(ctx, l.Folded)
	if err == nil {
		return taken(l)
	}
	if !errors.Is(err, identity.NotFound) {
		return err
	}
	_, err = r.LoginBySkeleton(ctx, l.Skeleton)
	if err == nil {
		return taken(l)
	}
	if !errors.Is(err, identity.NotFound) {
		return err
	}
	return nil
}

// createLogin meets the one who took the name since free looked.
func createLogin(ctx context.Context, tx identity.Tx, l identity.Login) error {
	err := tx.CreateLogin(ctx, l)
	if errors.Is(err, identity.Conflict) {
		return taken(l)
	}
	return err
}

// taken does not say whether it is the same or only looks so: both are somebody else's.
func taken(l identity.Login) error {
	switch {
	case l.Primary:
		return identity.Conflict.In(FieldEmail, "is taken")
	case l.Kind == identity.PhoneLogin:
		return identity.Conflict.In(FieldPhone, "is taken")
	}
	return identity.Conflict.In(FieldAlias, "is taken")
}
