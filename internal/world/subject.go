package world

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

func (Subject) zero() time.Time { return time.Time{} }

func generated(hash string) bool { return strings.HasPrefix(hash, grant.GeneratedSecret) }

func sameGenerated(hash string, secret identity.Secret) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(grant.HashGenerated(secret))) == 1
}

func sortedDoors(a identity.Attributes) []identity.Door {
	all := make([]identity.Door, 0, len(a))
	for door := range a {
		all = append(all, door)
	}
	slices.Sort(all)
	return all
}

func (a *applier) subject(ctx context.Context, s Subject, p proof) error {
	found, err := find(ctx, a.tx, s)
	if err != nil {
		return err
	}
	if found != nil && s.ID != "" && s.ID != found.ID {
		return identity.Conflict.In("id", "the subject with this address has another id in the store")
	}
	if found == nil {
		return a.newSubject(ctx, s, p)
	}
	var changes []string
	subject, err := a.change(ctx, s, *found, &changes)
	if err != nil {
		return err
	}
	if err := a.password(ctx, s, p, subject, &changes); err != nil {
		return err
	}
	if err := a.aliases(ctx, s, subject, &changes); err != nil {
		return err
	}
	if err := a.belongings(ctx, s, subject, &changes); err != nil {
		return err
	}
	if len(changes) > 0 {
		a.step(Update, "subject", s.name(), changes...)
	}
	return nil
}

func value[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
}

func (a *applier) newSubject(ctx context.Context, s Subject, p proof) error {
	policy, err := a.policyID(ctx, s.Policy)
	if err != nil {
		return err
	}
	in := manage.NewSubject{
		ID: s.ID, Hash: s.Hash, Kind: s.Kind, Email: s.Email, Aliases: s.Aliases, Name: value(s.Name), GivenName: value(s.GivenName),
		MiddleName: value(s.MiddleName), FamilyName: value(s.FamilyName), Phone: value(s.Phone), Locale: value(s.Locale),
		PasswordHash: s.PasswordHash, MustChange: value(s.MustChange), Verified: s.Verified == nil || *s.Verified,
		MustVerify: value(s.MustVerify), Suspended: value(s.Suspended), Superadmin: value(s.Superadmin), PolicyID: value(policy),
		Owner: value(s.Owner), Attributes: s.Attributes,
	}
	if s.Password != "" {
		if p.against != "" {
			return changedMeanwhile // she was there, and is gone
		}
		in.PasswordHash = p.hash
	}
	if in.MustChange && in.PasswordHash == "" {
		return identity.Invalid.In("must_change_password", "needs a password")
	}
	subject, err := a.Manage.CreateIn(ctx, a.tx, a.o.Caller, in)
	if err != nil {
		return err
	}
	a.step(Create, "subject", s.name())
	var changes []string // a part of making her
	return a.belongings(ctx, s, subject, &changes)
}

// change brings her own fields in line.
func (a *applier) change(ctx context.Context, s Subject, old identity.Subject, changes *[]string) (identity.Subject, error) {
	policy, err := a.policyID(ctx, s.Policy)
	if err != nil {
		return old, err
	}
	before := len(*changes)
	verified, suspended := !old.VerifiedAt.IsZero(), !old.SuspendedAt.IsZero()
	c := manage.Change{
		Name: differs(changes, "name", old.Name, s.Name), GivenName: differs(changes, "given_name", old.GivenName, s.GivenName),
		MiddleName: differs(changes, "middle_name", old.MiddleName, s.MiddleName), FamilyName: differs(changes, "family_name", old.FamilyName, s.FamilyName),
		Phone: differs(changes, "phone", old.Phone, s.Phone), Locale: differs(changes, "locale", old.Locale, s.Locale),
		Owner:      differs(changes, "owner", old.Owner, s.Owner),
		Superadmin: differs(changes, "superadmin", old.Superadmin, s.Superadmin), Verified: differs(changes, "verified", verified, s.Verified),
		MustVerify: differs(changes, "must_verify", old.MustVerify, s.MustVerify), Merge: patches(changes, old.Attributes, s.Attributes),
	}
	if s.Kind != "" && s.Kind != old.Kind {
		return old, identity.Invalid.In("kind", "cannot change")
	}
	if s.Email != "" {
		if c.Email = differs(changes, "email", old.Email, &s.Email); c.Email != nil && s.Verified == nil {
			vouched := true
			c.Verified = &vouched
		}
	}
	if policy != nil && *policy != old.PolicyID {
		c.PolicyID = policy
		*changes = append(*changes, "security_policy "+shown(*s.Policy))
	}
	if c.Superadmin != nil && !*c.Superadmin {
		demote := manage.Change{Superadmin: c.Superadmin}
		c.Superadmin = nil
		a.afterwards(s, func() error {
			_, err := a.Manage.UpdateIn(ctx, a.tx, a.o.Caller, old.ID, demote)
			return err
		})
	}
	if suspend := differs(changes, "suspended", suspended, s.Suspended); suspend != nil && *suspend {
		a.afterwards(s, func() error { return a.Manage.SuspendIn(ctx, a.tx, a.o.Caller, old.ID, "suspended in the world file") })
	} else if suspend != nil {
		if err := a.Manage.ResumeIn(ctx, a.tx, a.o.Caller, old.ID); err != nil {
			return old, err
		}
	}
	if len(*changes) == before {
		return old, nil
	}
	return a.Manage.UpdateIn(ctx, a.tx, a.o.Caller, old.ID, c)
}

func (a *applier) afterwards(s Subject, do func() error) {
	a.late = append(a.late, func() error { return refused(a.w.File, s.record, do()) })
}

func (a *applier) credential(ctx context.Context, id identity.SubjectID, kind identity.CredentialKind) (*identity.Credential, error) {
	c, err := a.tx.Credential(ctx, id, kind)
	if errors.Is(err, identity.NotFound) {
		return nil, nil
	}
	return &c, err
}

func (a *applier) password(ctx context.Context, s Subject, p proof, subject identity.Subject, changes *[]string) error {
	current, err := a.credential(ctx, subject.ID, identity.Password)
	if err != nil {
		return err
	}
	stored := ""
	if current != nil {
		stored = current.Hash
	}
	want := s.PasswordHash
	if s.Password != "" {
		if stored != p.against {
			return changedMeanwhile
		}
		if want = p.hash; p.keep {
			want = stored
		}
	}
	first := s.MustChange != nil && *s.MustChange
	switch {
	case want != "" && want != stored:
		if first && current != nil && !current.MustChange {
			return nil // she chose her own since: putting a known one back would open her account
		}
		*changes = append(*changes, "password")
		return a.Manage.SetHashIn(ctx, a.tx, a.o.Caller, subject.ID, want, first)
	case s.MustChange == nil:
		return nil
	case current == nil && first:
		return identity.Invalid.In("must_change_password", "needs a password")
	case current == nil || differs(changes, "must_change_password", current.MustChange, s.MustChange) == nil:
		return nil
	}
	return a.Manage.SetMustChangeIn(ctx, a.tx, a.o.Caller, subject.ID, first)
}

func (a *applier) aliases(ctx context.Context, s Subject, subject identity.Subject, changes *[]string) error {
	if s.Aliases == nil {
		return nil
	}
	logins, err := a.tx.Logins(ctx, subject.ID)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	var missing []string
	for _, alias := range s.Aliases {
		l, err := manage.NewLogin(manage.FieldAlias, alias, s.zero())
		if err != nil {
			return err
		}
		wanted[l.Folded] = true
		if !slices.ContainsFunc(logins, func(stored identity.Login) bool { return stored.Folded == l.Folded }) {
			missing = append(missing, alias)
		}
	}
	for _, stored := range logins { // first, so that one can make room for its double
		if a.o.Prune && !stored.Primary && !wanted[stored.Folded] {
			*changes = append(*changes, "alias "+shown(stored.Typed)+" removed")
			if err := a.Manage.RemoveLoginIn(ctx, a.tx, a.o.Caller, subject.ID, stored.Typed); err != nil {
				return err
			}
		}
	}
	for _, alias := range missing {
		*changes = append(*changes, "alias "+shown(alias)+" added")
		if err := a.Manage.AddLoginIn(ctx, a.tx, a.o.Caller, subject.ID, manage.FieldAlias, alias); err != nil {
			return err
		}
	}
	return nil
}

// belongings are her memberships, identities and second factors.
func (a *applier) belongings(ctx context.Context, s Subject, subject identity.Subject, changes *[]string) error {
	if err := a.memberships(ctx, s, subject.ID, changes); err != nil {
		return err
	}
	if err := a.identities(ctx, s, subject.ID, changes); err != nil {
		return err
	}
	if s.Factors == nil {
		return nil
	}
	if err := a.factors(ctx, *s.Factors, subject, changes); err != nil {
		return refused(a.w.File, s.Factors.record, err)
	}
	return nil
}

func (a *applier) memberships(ctx context.Context, s Subject, id identity.SubjectID, changes *[]string) error {
	if s.Memberships == nil {
		return nil
	}
	stored, err := a.tx.Memberships(ctx, id)
	if err != nil {
		return err
	}
	kept := map[identity.MembershipID]bool{}
	for _, m := range s.Memberships {
		organisation, err := a.tx.OrganisationByKey(ctx, m.Organisation)
		if err != nil {
			return err
		}
		want := identity.Membership{SubjectID: id, OrganisationID: organisation.ID, Role: m.Role, Attributes: m.Attributes}
		name := m.Organisation
		if m.Site != "" {
			site, err := a.siteOf(ctx, organisation.ID, m.Site)
			if err != nil {
				return err
			}
			want.SiteID = site.ID
			name += "/" + m.Site
		}
		at := slices.IndexFunc(stored, func(o identity.Membership) bool {
			return o.OrganisationID == want.OrganisationID && o.SiteID == want.SiteID
		})
		if at >= 0 {
			kept[stored[at].ID] = true
			if stored[at].Role == want.Role && sameAttributes(stored[at].Attributes, want.Attributes) {
				continue
			}
			*changes = append(*changes, "membership "+name+" changed")
		} else {
			*changes = append(*changes, "membership "+name+" added")
		}
		if _, err := a.Manage.SaveMembershipIn(ctx, a.tx, a.o.Caller, want); err != nil {
			return refused(a.w.File, m.record, err)
		}
	}
	for _, m := range stored {
		if !a.o.Prune || kept[m.ID] {
			continue
		}
		*changes = append(*changes, "membership removed")
		if err := a.Manage.RemoveMembershipIn(ctx, a.tx, a.o.Caller, id, m.ID); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) identities(ctx context.Context, s Subject, id identity.SubjectID, changes *[]string) error {
	if s.Identities == nil {
		return nil
	}
	stored, err := a.tx.LinkedIdentitiesOf(ctx, id)
	if err != nil {
		return err
	}
	same := func(l identity.LinkedIdentity) func(identity.LinkedIdentity) bool {
		return func(o identity.LinkedIdentity) bool {
			return o.Authority == l.Authority && o.ExternalID == l.ExternalID
		}
	}
	for _, l := range stored { // first, for their number is bounded
		if !a.o.Prune || slices.ContainsFunc(s.Identities, func(o Linked) bool { return same(l)(o.LinkedIdentity) }) {
			continue
		}
		*changes = append(*changes, "identity of "+l.Authority+" removed")
		if err := a.Manage.UnlinkIn(ctx, a.tx, a.o.Caller, id, l.Authority, l.ExternalID, ""); err != nil {
			return err
		}
	}
	for _, l := range s.Identities {
		if slices.ContainsFunc(stored, same(l.LinkedIdentity)) {
			continue
		}
		*changes = append(*changes, "identity of "+l.Authority+" added")
		l.SubjectID = id
		if err := a.Manage.LinkIn(ctx, a.tx, a.o.Caller, l.LinkedIdentity, "written in the world file"); err != nil {
			return refused(a.w.File, l.record, err)
		}
	}
	return nil
}

func sameAttributes(a, b identity.Attributes) bool {
	if len(a) != len(b) {
		return false
	}
	for door := range a {
		if b[door] == nil || !manage.SameJSON(a[door], b[door]) {
			return false
		}
	}
	return true
}

func (a *applier) factors(ctx context.Context, f Factors, subject identity.Subject, changes *[]string) error {
	if err := a.totp(ctx, f, subject.ID, changes); err != nil {
		return err
	}
	for _, sent := range []struct {
		kind  identity.CredentialKind
		given bool
		to    string
	}{{identity.EmailCode, f.Email != nil, value(f.Email)}, {identity.SMSCode, f.SMS != "", f.SMS}} {
		if sent.given && sent.to == "" {
			sent.to = subject.Email
		}
		old, err := a.credential(ctx, subject.ID, sent.kind)
		if err != nil {
			return err
		}
		switch {
		case sent.given && (old == nil || old.Target != sent.to):
			*changes = append(*changes, "factor "+string(sent.kind))
			err = a.Manage.EnrolTargetIn(ctx, a.tx, a.o.Caller, subject.ID, sent.kind, sent.to)
		case !sent.given && old != nil && a.o.Prune:
			*changes = append(*changes, "factor "+string(sent.kind)+" removed")
			err = a.Manage.RemoveFactorIn(ctx, a.tx, a.o.Caller, subject.ID, sent.kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) totp(ctx context.Context, f Factors, id identity.SubjectID, changes *[]string) error {
	old, err := a.credential(ctx, id, identity.TOTP)
	if err != nil {
		return err
	}
	want := f.TOTP
	if f.Sealed != nil {
		if want, err = a.Manage.TOTPSecret(identity.Credential{ID: f.TOTPID, Sealed: f.Sealed}); err != nil {
			return identity.Invalid.In("totp_sealed", "was sealed with another master key, or is damaged")
		}
	}
	if want == "" {
		if old == nil || !a.o.Prune {
			return nil
		}
		*changes = append(*changes, "factor totp removed")
		return a.Manage.RemoveFactorIn(ctx, a.tx, a.o.Caller, id, identity.TOTP)
	}
	if old != nil {
		secret, err := a.Manage.TOTPSecret(*old)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare([]byte(secret.Reveal()), []byte(want.Reveal())) == 1 {
			return nil
		}
	}
	*changes = append(*changes, "factor totp")
	if f.Sealed != nil {
		return a.Manage.EnrolSealedTOTPIn(ctx, a.tx, a.o.Caller, id, f.TOTPID, f.Sealed)
	}
	return a.Manage.EnrolTOTPIn(ctx, a.tx, a.o.Caller, id, want)
}
