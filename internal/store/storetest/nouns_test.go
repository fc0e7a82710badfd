package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

func TestSubjects(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		p := filled[identity.Policy](t)
		update(t, store, func(tx identity.Tx) error { return tx.SavePolicy(ctx, p) })
		if read(t, store, func(r identity.Reader) (bool, error) { return r.AnySubject(ctx) }) {
			t.Error("AnySubject on an empty store")
		}
		s := filled[identity.Subject](t)
		s.PolicyID = p.ID
		given := s.Number
		update(t, store, func(tx identity.Tx) error { return tx.CreateSubject(ctx, &s) })
		if s.Number == given || s.Number == 0 {
			t.Errorf("Number = %d, want the store's own", s.Number)
		}
		for name, get := range map[string]func(identity.Reader) (identity.Subject, error){
			"id":     func(r identity.Reader) (identity.Subject, error) { return r.Subject(ctx, s.ID) },
			"number": func(r identity.Reader) (identity.Subject, error) { return r.SubjectByNumber(ctx, s.Number) },
			"hash":   func(r identity.Reader) (identity.Subject, error) { return r.SubjectByHash(ctx, s.Hash) },
		} {
			t.Run(name, func(t *testing.T) { same(t, read(t, store, get), s) })
		}
		if !read(t, store, func(r identity.Reader) (bool, error) { return r.AnySubject(ctx) }) {
			t.Error("AnySubject does not see her")
		}

		changed := filled[identity.Subject](t)
		changed.ID, changed.Number, changed.PolicyID = s.ID, s.Number, ""
		changed.CreatedAt, changed.CreatedBy = s.CreatedAt, s.CreatedBy // who made her does not change
		update(t, store, func(tx identity.Tx) error { return tx.UpdateSubject(ctx, changed) })
		same(t, read(t, store, func(r identity.Reader) (identity.Subject, error) { return r.Subject(ctx, s.ID) }), changed)

		update(t, store, func(tx identity.Tx) error { return tx.TouchSignIn(ctx, s.ID, epoch) })
		update(t, store, func(tx identity.Tx) error { return tx.SetLastOrg(ctx, s.ID, "elsewhere") })
		changed.LastSignInAt, changed.LastOrgID = epoch, "elsewhere"
		same(t, read(t, store, func(r identity.Reader) (identity.Subject, error) { return r.Subject(ctx, s.ID) }), changed)

		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.UpdateSubject(ctx, identity.Subject{ID: "nobody"}) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.TouchSignIn(ctx, "nobody", epoch) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, "nobody") })
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateSubject(ctx, &identity.Subject{ID: s.ID}) })
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateSubject(ctx, &identity.Subject{ID: identity.SubjectID(newID()), Hash: changed.Hash})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateSubject(ctx, &identity.Subject{ID: identity.SubjectID(newID()), PolicyID: "missing"})
		})
		refused(t, store, identity.Invalid, func(tx identity.Tx) error {
			return tx.CreateSubject(ctx, &identity.Subject{ID: identity.SubjectID(newID()), Attributes: identity.Attributes{"nx": []byte("{")}})
		})
	})
}

func TestSubjectNumbersAreNotGivenAgain(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		s := identity.Subject{ID: identity.SubjectID(newID())}
		update(t, store, func(tx identity.Tx) error { return tx.CreateSubject(t.Context(), &s) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(t.Context(), s.ID) })
		next := identity.Subject{ID: identity.SubjectID(newID())}
		update(t, store, func(tx identity.Tx) error { return tx.CreateSubject(t.Context(), &next) })
		if next.Number <= s.Number {
			t.Errorf("number %d after %d", next.Number, s.Number)
		}
	})
}

func TestActiveSuperadmins(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		for _, s := range []identity.Subject{
			{Superadmin: true},
			{Superadmin: true, MustVerify: true, VerifiedAt: epoch},
			{Superadmin: true, MustVerify: true},
			{Superadmin: true, SuspendedAt: epoch},
			{},
		} {
			s.ID = identity.SubjectID(newID())
			update(t, store, func(tx identity.Tx) error { return tx.CreateSubject(ctx, &s) })
		}
		if n := read(t, store, func(r identity.Reader) (int, error) { return r.ActiveSuperadmins(ctx) }); n != 2 {
			t.Errorf("ActiveSuperadmins = %d, want 2", n)
		}
	})
}

func TestDeleteSubjectTakesEverything(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, other, org := subject(t, store), subject(t, store), organisation(t, store)
		hers, acted, kept := session(t, store, who), session(t, store, other), session(t, store, other)
		acting := acted
		acting.ID, acting.ActorID = identity.SessionID(newID()), who
		ticket := identity.Ticket{ID: identity.TicketID(newID()), Hash: []byte("t1"), SubjectID: who, ExpiresAt: epoch}
		update(t, store, func(tx identity.Tx) error {
			return firstError(
				func() error {
					return tx.CreateLogin(ctx, identity.Login{SubjectID: who, Folded: "ada", Skeleton: "ada"})
				},
				func() error {
					return tx.CreateCredential(ctx, identity.Credential{ID: "c1", SubjectID: who, Kind: identity.Password})
				},
				func() error {
					return tx.SaveMembership(ctx, identity.Membership{ID: "m1", SubjectID: who, OrganisationID: org})
				},
				func() error { return tx.CreateSession(ctx, acting) },
				func() error { return tx.CreateTicket(ctx, ticket) },
			)
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, who) })
		absent(t, store, func(r identity.Reader) (identity.Subject, error) { return r.Subject(ctx, who) })
		absent(t, store, func(r identity.Reader) (identity.Subject, error) { return r.SubjectByLogin(ctx, "ada") })
		absent(t, store, func(r identity.Reader) (identity.Credential, error) { return r.Credential(ctx, who, identity.Password) })
		absent(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, hers.ID) })
		absent(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, acting.ID) })
		absent(t, store, func(r identity.Reader) (identity.Ticket, error) { return r.Ticket(ctx, ticket.ID) })
		same(t, read(t, store, func(r identity.Reader) ([]identity.Membership, error) { return r.Memberships(ctx, who) }), nil)
		read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, kept.ID) })
		read(t, store, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, org) })
	})
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func TestLogins(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, other := subject(t, store), subject(t, store)
		first, second := filled[identity.Login](t), filled[identity.Login](t)
		first.SubjectID, second.SubjectID, second.Primary = who, who, false
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.CreateLogin(ctx, second) }, func() error { return tx.CreateLogin(ctx, first) })
		})
		same(t, read(t, store, func(r identity.Reader) ([]identity.Login, error) { return r.Logins(ctx, who) }), []identity.Login{first, second})
		same(t, read(t, store, func(r identity.Reader) (identity.Login, error) { return r.LoginBySkeleton(ctx, second.Skeleton) }), second)
		found := read(t, store, func(r identity.Reader) (identity.Subject, error) { return r.SubjectByLogin(ctx, second.Folded) })
		if found.ID != who {
			t.Errorf("SubjectByLogin = %s, want %s", found.ID, who)
		}
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLogin(ctx, identity.Login{SubjectID: other, Folded: first.Folded, Skeleton: "x"})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLogin(ctx, identity.Login{SubjectID: other, Folded: "x", Skeleton: first.Skeleton})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLogin(ctx, identity.Login{SubjectID: "nobody", Folded: "x", Skeleton: "x"})
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteLogin(ctx, first.Folded) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteLogin(ctx, first.Folded) })
		absent(t, store, func(r identity.Reader) (identity.Subject, error) { return r.SubjectByLogin(ctx, first.Folded) })
		// The name is free again.
		update(t, store, func(tx identity.Tx) error {
			first.SubjectID = other
			return tx.CreateLogin(ctx, first)
		})
	})
}

// What no text column of PostgreSQL can hold is refused on both engines, and found on neither.
func TestTextThatIsNone(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		for _, text := range []string{"a\x00b", "\xff", "\xed\xa0\x80"} {
			refused(t, store, identity.Invalid, func(tx identity.Tx) error {
				return tx.CreateLogin(ctx, identity.Login{SubjectID: who, Folded: text, Skeleton: "s"})
			})
			absent(t, store, func(r identity.Reader) (identity.Subject, error) { return r.SubjectByLogin(ctx, text) })
			absent(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, identity.SessionID(text)) })
			same(t, read(t, store, func(r identity.Reader) ([]identity.Subject, error) {
				return r.Subjects(ctx, identity.SubjectFilter{Prefix: text})
			}), nil)
		}
	})
}

func TestOrganisations(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		p := filled[identity.Policy](t)
		update(t, store, func(tx identity.Tx) error { return tx.SavePolicy(ctx, p) })
		o := filled[identity.Organisation](t)
		o.PolicyID = p.ID
		update(t, store, func(tx identity.Tx) error { return tx.CreateOrganisation(ctx, &o) })
		for name, get := range map[string]func(identity.Reader) (identity.Organisation, error){
			"id":     func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, o.ID) },
			"number": func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByNumber(ctx, o.Number) },
			"hash":   func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByHash(ctx, o.Hash) },
			"key":    func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByKey(ctx, o.Key) },
		} {
			t.Run(name, func(t *testing.T) { same(t, read(t, store, get), o) })
		}
		changed := filled[identity.Organisation](t)
		changed.ID, changed.Number, changed.PolicyID, changed.CreatedAt = o.ID, o.Number, p.ID, o.CreatedAt
		update(t, store, func(tx identity.Tx) error { return tx.UpdateOrganisation(ctx, changed) })
		// A policy that goes leaves those that had it without one.
		update(t, store, func(tx identity.Tx) error { return tx.DeletePolicy(ctx, p.ID) })
		changed.PolicyID = ""
		same(t, read(t, store, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, o.ID) }), changed)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateOrganisation(ctx, &identity.Organisation{ID: identity.OrganisationID(newID()), Key: changed.Key})
		})
		site := filled[identity.Site](t)
		site.OrganisationID = o.ID
		update(t, store, func(tx identity.Tx) error { return tx.SaveSite(ctx, site) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteOrganisation(ctx, o.ID) })
		absent(t, store, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, o.ID) })
		absent(t, store, func(r identity.Reader) (identity.Site, error) { return r.Site(ctx, site.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteOrganisation(ctx, o.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.UpdateOrganisation(ctx, o) })
	})
}

func TestSites(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		org := organisation(t, store)
		var want []identity.Site
		for _, name := range []string{"Zürich", "Berlin", "zz", "Ätna", "Berlin"} {
			s := filled[identity.Site](t)
			s.OrganisationID, s.Name = org, name
			update(t, store, func(tx identity.Tx) error { return tx.SaveSite(ctx, s) })
			want = append(want, s)
		}
		slices.SortFunc(want, func(a, b identity.Site) int {
			if n := strings.Compare(a.Name, b.Name); n != 0 {
				return n
			}
			return strings.Compare(string(a.ID), string(b.ID))
		})
		same(t, read(t, store, func(r identity.Reader) ([]identity.Site, error) { return r.Sites(ctx, org) }), want)
		moved := want[0]
		moved.Name, moved.Key = "Wien", "wien"
		update(t, store, func(tx identity.Tx) error { return tx.SaveSite(ctx, moved) })
		same(t, read(t, store, func(r identity.Reader) (identity.Site, error) { return r.Site(ctx, moved.ID) }), moved)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SaveSite(ctx, identity.Site{ID: "new", OrganisationID: org, Key: "wien"})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SaveSite(ctx, identity.Site{ID: "new", OrganisationID: "nowhere", Key: "k"})
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSite(ctx, moved.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteSite(ctx, moved.ID) })
	})
}

func TestRolesAndMemberships(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, org := subject(t, store), organisation(t, store)
		site := identity.Site{ID: identity.SiteID(newID()), OrganisationID: org, Key: "roof"}
		role, empty := filled[identity.Role](t), identity.Role{Key: "a-bare-one"}
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.SaveSite(ctx, site) },
				func() error { return tx.SaveRole(ctx, role) }, func() error { return tx.SaveRole(ctx, empty) })
		})
		same(t, read(t, store, func(r identity.Reader) (identity.Role, error) { return r.Role(ctx, role.Key) }), role)
		roles := []identity.Role{role, empty}
		slices.SortFunc(roles, func(a, b identity.Role) int { return strings.Compare(a.Key, b.Key) })
		same(t, read(t, store, func(r identity.Reader) ([]identity.Role, error) { return r.Roles(ctx) }), roles)

		whole, one := filled[identity.Membership](t), filled[identity.Membership](t)
		whole.SubjectID, whole.OrganisationID, whole.SiteID, whole.Role, whole.Attributes = who, org, "", "", nil
		one.SubjectID, one.OrganisationID, one.SiteID, one.Role = who, org, site.ID, role.Key
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.SaveMembership(ctx, one) }, func() error { return tx.SaveMembership(ctx, whole) })
		})
		want := []identity.Membership{whole, one}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Membership, error) { return r.Memberships(ctx, who) }), want)
		same(t, read(t, store, func(r identity.Reader) ([]identity.Membership, error) { return r.Members(ctx, org, "", 1) }), want)
		same(t, read(t, store, func(r identity.Reader) ([]identity.Membership, error) { return r.Members(ctx, org, who, 1) }), nil)

		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.DeleteRole(ctx, role.Key) })
		for _, taken := range []identity.Membership{
			{SubjectID: who, OrganisationID: org},
			{SubjectID: who, OrganisationID: org, SiteID: site.ID},
			{SubjectID: "nobody", OrganisationID: org},
			{SubjectID: who, OrganisationID: "nowhere"},
			{SubjectID: subject(t, store), OrganisationID: org, SiteID: "nowhere"},
			{SubjectID: subject(t, store), OrganisationID: org, Role: "unknown"},
		} {
			taken.ID = identity.MembershipID(newID())
			refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.SaveMembership(ctx, taken) })
		}
		one.Role = empty.Key
		update(t, store, func(tx identity.Tx) error { return tx.SaveMembership(ctx, one) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteRole(ctx, role.Key) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteRole(ctx, role.Key) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSite(ctx, site.ID) })
		same(t, read(t, store, func(r identity.Reader) ([]identity.Membership, error) { return r.Memberships(ctx, who) }), []identity.Membership{whole})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteMembership(ctx, whole.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteMembership(ctx, whole.ID) })
	})
}

func TestServices(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		a, b := filled[identity.Service](t), filled[identity.Service](t)
		update(t, store, func(tx identity.Tx) error { return tx.SaveService(ctx, &a) })
		update(t, store, func(tx identity.Tx) error { return tx.SaveService(ctx, &b) })
		again := a
		again.Number, again.PrivateURI = 0, "https://elsewhere"
		update(t, store, func(tx identity.Tx) error { return tx.SaveService(ctx, &again) })
		if again.Number != a.Number || a.Number == b.Number {
			t.Errorf("numbers %d, %d, then %d for the first again", a.Number, b.Number, again.Number)
		}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Service, error) { return r.Services(ctx) }), []identity.Service{again, b})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteService(ctx, a.Number) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteService(ctx, a.Number) })
	})
}

func TestPolicies(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		p := filled[identity.Policy](t)
		update(t, store, func(tx identity.Tx) error { return tx.SavePolicy(ctx, p) })
		same(t, read(t, store, func(r identity.Reader) (identity.Policy, error) { return r.Policy(ctx, p.ID) }), p)
		same(t, read(t, store, func(r identity.Reader) (identity.Policy, error) { return r.PolicyByKey(ctx, p.Key) }), p)
		changed := filled[identity.Policy](t)
		changed.ID, changed.CreatedAt, changed.Factors = p.ID, p.CreatedAt, nil
		update(t, store, func(tx identity.Tx) error { return tx.SavePolicy(ctx, changed) })
		same(t, read(t, store, func(r identity.Reader) ([]identity.Policy, error) { return r.Policies(ctx) }), []identity.Policy{changed})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SavePolicy(ctx, identity.Policy{ID: "another", Key: changed.Key})
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeletePolicy(ctx, p.ID) })
		absent(t, store, func(r identity.Reader) (identity.Policy, error) { return r.Policy(ctx, p.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeletePolicy(ctx, p.ID) })
	})
}

func TestCredentials(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		c := filled[identity.Credential](t)
		c.SubjectID, c.Kind = subject(t, store), identity.Password
		update(t, store, func(tx identity.Tx) error { return tx.CreateCredential(ctx, c) })
		get := func(r identity.Reader) (identity.Credential, error) { return r.Credential(ctx, c.SubjectID, c.Kind) }
		same(t, read(t, store, get), c)
		second := c
		second.ID = identity.CredentialID(newID())
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateCredential(ctx, second) })

		changed := filled[identity.Credential](t)
		changed.ID, changed.SubjectID, changed.Kind, changed.CreatedAt = c.ID, c.SubjectID, c.Kind, c.CreatedAt
		changed.Version, changed.LastStep = c.Version, 0 // stale; it must not go back
		for _, want := range []bool{true, false} {       // the second time the version has moved
			update(t, store, func(tx identity.Tx) error {
				done, err := tx.UpdateCredential(ctx, changed)
				if done != want {
					t.Errorf("UpdateCredential = %v, want %v", done, want)
				}
				return err
			})
		}
		changed.Version, changed.LastStep = c.Version+1, c.LastStep
		same(t, read(t, store, get), changed)

		for _, step := range []struct {
			at   int64
			want bool
		}{{c.LastStep, false}, {c.LastStep - 1, false}, {c.LastStep + 2, true}, {c.LastStep + 2, false}, {c.LastStep + 1, false}} {
			update(t, store, func(tx identity.Tx) error {
				spent, err := tx.SpendStep(ctx, c.ID, step.at)
				if spent != step.want {
					t.Errorf("SpendStep(%+d) = %v, want %v", step.at-c.LastStep, spent, step.want)
				}
				return err
			})
		}
		other := identity.Credential{ID: identity.CredentialID(newID()), SubjectID: c.SubjectID, Kind: identity.TOTP}
		update(t, store, func(tx identity.Tx) error { return tx.CreateCredential(ctx, other) })
		all := read(t, store, func(r identity.Reader) ([]identity.Credential, error) { return r.Credentials(ctx, c.SubjectID) })
		if len(all) != 2 {
			t.Errorf("%d credentials, want 2", len(all))
		}
		asked := []identity.SubjectID{c.SubjectID, identity.SubjectID(newID())} // more than one statement asks for
		for range 60 {
			asked = append(asked, identity.SubjectID(newID()), c.SubjectID)
		}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Credential, error) { return r.CredentialsOf(ctx, asked) }), all)
		same(t, len(read(t, store, func(r identity.Reader) ([]identity.Credential, error) { return r.CredentialsOf(ctx, nil) })), 0)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteCredential(ctx, c.ID) })
		absent(t, store, get)
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteCredential(ctx, c.ID) })
	})
}

func TestAttempts(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		get := func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(ctx, "login:ada") }
		same(t, read(t, store, get), identity.Attempts{Key: "login:ada"})
		count := func(now time.Time) (a identity.Attempts) {
			update(t, store, func(tx identity.Tx) (err error) {
				a, err = tx.CountAttempt(ctx, "login:ada", now, time.Minute)
				return err
			})
			same(t, read(t, store, get), a)
			return a
		}
		first := identity.Attempts{Key: "login:ada", Count: 1, StartedAt: epoch, ExpiresAt: epoch.Add(time.Minute)}
		same(t, count(epoch), first)
		first.Count = 2
		same(t, count(epoch.Add(59*time.Second)), first)
		later := epoch.Add(time.Minute) // the window has passed
		same(t, count(later), identity.Attempts{Key: "login:ada", Count: 1, StartedAt: later, ExpiresAt: later.Add(time.Minute)})
		update(t, store, func(tx identity.Tx) error { return tx.ClearAttempts(ctx, "login:ada") })
		update(t, store, func(tx identity.Tx) error { return tx.ClearAttempts(ctx, "login:ada") })
		same(t, read(t, store, get), identity.Attempts{Key: "login:ada"})
	})
}

func TestSessions(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		s := filled[identity.Session](t)
		s.SubjectID = subject(t, store)
		update(t, store, func(tx identity.Tx) error { return tx.CreateSession(ctx, s) })
		get := func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) }
		same(t, read(t, store, get), s)

		changed := filled[identity.Session](t)
		changed.ID = s.ID
		update(t, store, func(tx identity.Tx) error { return tx.UpdateSession(ctx, changed) })
		changed.SubjectID, changed.ActorID, changed.OriginID, changed.CreatedAt = s.SubjectID, s.ActorID, s.OriginID, s.CreatedAt
		changed.Generation, changed.RefreshedAt, changed.SeenAt, changed.EndedAt, changed.EndReason = s.Generation, s.RefreshedAt, s.SeenAt, s.EndedAt, s.EndReason
		same(t, read(t, store, get), changed)
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.UpdateSession(ctx, identity.Session{ID: "none"}) })
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateSession(ctx, identity.Session{ID: "new", SubjectID: "nobody"})
		})
	})
}

func TestAdvanceSession(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		base := identity.Session{
			SubjectID: who, Generation: 7, SeenAt: epoch, IdleTTL: time.Minute, ExpiresAt: epoch.Add(time.Hour), AbsoluteAt: epoch.Add(time.Hour),
		}
		tests := []struct {
			name       string
			change     func(*identity.Session)
			generation int64
			now        time.Time
			want       bool
		}{
			{"good", nil, 7, epoch.Add(59 * time.Second), true},
			{"spent generation", nil, 6, epoch, false},
			{"future generation", nil, 8, epoch, false},
			{"idle too long", nil, 7, epoch.Add(time.Minute), false},
			{"no idle end", func(s *identity.Session) { s.IdleTTL = 0 }, 7, epoch.Add(59 * time.Minute), true},
			{"over", func(s *identity.Session) { s.IdleTTL = 0 }, 7, epoch.Add(time.Hour), false},
			{"ended", func(s *identity.Session) { s.EndedAt = epoch }, 7, epoch, false},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := base
				s.ID = identity.SessionID(newID())
				if tt.change != nil {
					tt.change(&s)
				}
				update(t, store, func(tx identity.Tx) error { return tx.CreateSession(ctx, s) })
				var advanced bool
				update(t, store, func(tx identity.Tx) (err error) {
					advanced, err = tx.AdvanceSession(ctx, s.ID, tt.generation, tt.now, epoch.Add(2*time.Hour))
					return err
				})
				if advanced != tt.want {
					t.Errorf("AdvanceSession = %v, want %v", advanced, tt.want)
				}
				want := s
				if tt.want {
					want.Generation, want.RefreshedAt, want.SeenAt, want.ExpiresAt = 8, tt.now, tt.now, epoch.Add(2*time.Hour)
				}
				same(t, read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) }), want)
			})
		}
		t.Run("end left alone", func(t *testing.T) {
			s := session(t, store, who)
			update(t, store, func(tx identity.Tx) error {
				_, err := tx.AdvanceSession(ctx, s.ID, 0, epoch, time.Time{})
				return err
			})
			s.Generation, s.RefreshedAt = 1, epoch
			same(t, read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) }), s)
		})
	})
}

func TestTouchAndEndSessions(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, other := subject(t, store), subject(t, store)
		a, b, c, others := session(t, store, who), session(t, store, who), session(t, store, who), session(t, store, other)
		acting := others
		acting.ID, acting.ActorID = identity.SessionID(newID()), who
		update(t, store, func(tx identity.Tx) error { return tx.CreateSession(ctx, acting) })

		update(t, store, func(tx identity.Tx) error {
			return tx.TouchSessions(ctx, map[identity.SessionID]time.Time{
				a.ID: epoch.Add(time.Second), b.ID: epoch.Add(-time.Second), "gone": epoch,
			})
		})
		a.SeenAt = epoch.Add(time.Second)
		same(t, read(t, store, func(r identity.Reader) ([]identity.Session, error) { return r.SessionsOf(ctx, who) }), []identity.Session{c, b, a})

		for _, want := range []bool{true, false} {
			update(t, store, func(tx identity.Tx) error {
				ended, err := tx.EndSession(ctx, a.ID, "signed out", epoch)
				if ended != want {
					t.Errorf("EndSession = %v, want %v", ended, want)
				}
				return err
			})
		}
		a.EndedAt, a.EndReason = epoch, "signed out"
		same(t, read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, a.ID) }), a)

		var ended []identity.Session
		update(t, store, func(tx identity.Tx) (err error) {
			ended, err = tx.EndSessionsOf(ctx, who, c.ID, "password changed", epoch)
			return err
		})
		for _, s := range []*identity.Session{&b, &acting} {
			s.EndedAt, s.EndReason = epoch, "password changed"
		}
		same(t, ended, []identity.Session{b, acting})
		same(t, read(t, store, func(r identity.Reader) ([]identity.Session, error) { return r.SessionsOf(ctx, who) }), []identity.Session{c})
		same(t, read(t, store, func(r identity.Reader) ([]identity.Session, error) { return r.SessionsOf(ctx, other) }), []identity.Session{others})
	})
}

func TestEndActing(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		owner, mia, max := subject(t, store), subject(t, store), subject(t, store)
		begin := func(who, actor identity.SubjectID, origin identity.SessionID, org identity.OrganisationID) identity.Session {
			s := identity.Session{
				ID: identity.SessionID(newID()), SubjectID: who, Door: "titan", OrganisationID: org, ActorID: actor, OriginID: origin,
				CreatedAt: epoch, SeenAt: epoch, ExpiresAt: epoch.Add(time.Hour),
			}
			update(t, store, func(tx identity.Tx) error { return tx.CreateSession(ctx, s) })
			return s
		}
		for _, tt := range []struct {
			name  string
			which func(origin identity.Session) identity.Acting
			want  []int
		}{
			{"from one session", func(o identity.Session) identity.Acting { return identity.Acting{OriginID: o.ID} }, []int{0, 1}},
			{"as one person", func(identity.Session) identity.Acting { return identity.Acting{SubjectID: mia} }, []int{0, 2}},
			{"in one organisation", func(identity.Session) identity.Acting { return identity.Acting{OrganisationID: "b"} }, []int{1}},
			{"by or as one person, there", func(identity.Session) identity.Acting { return identity.Acting{OrganisationID: "a", PersonID: max} }, []int{2}},
			{"another's", func(identity.Session) identity.Acting { return identity.Acting{OriginID: "none"} }, nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				origin, own := begin(owner, "", "", "a"), begin(mia, "", "", "a")
				acting := []identity.Session{begin(mia, owner, origin.ID, "a"), begin(max, owner, origin.ID, "b"), begin(mia, max, own.ID, "a")}
				var want []identity.Session
				for _, i := range tt.want {
					s := acting[i]
					s.EndedAt, s.EndReason = epoch, "over"
					want = append(want, s)
				}
				var ended []identity.Session
				update(t, store, func(tx identity.Tx) (err error) {
					ended, err = tx.EndActing(ctx, tt.which(origin), "over", epoch)
					return err
				})
				same(t, ended, want)
				for _, s := range []identity.Session{origin, own} {
					same(t, read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) }), s)
				}
				update(t, store, func(tx identity.Tx) error { _, err := tx.EndActing(ctx, identity.Acting{}, "over", epoch); return err })
			})
		}
	})
}

func TestEnterSession(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		open, closed, others := organisation(t, store), organisation(t, store), organisation(t, store)
		update(t, store, func(tx identity.Tx) error {
			o, err := tx.Organisation(ctx, closed)
			if err != nil {
				return err
			}
			o.ExpiresAt = epoch.Add(time.Minute)
			if err := tx.UpdateOrganisation(ctx, o); err != nil {
				return err
			}
			for _, id := range []identity.OrganisationID{open, closed} {
				m := identity.Membership{ID: identity.MembershipID(newID()), SubjectID: who, OrganisationID: id, CreatedAt: epoch}
				if err := tx.SaveMembership(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
		for _, tt := range []struct {
			name       string
			change     func(*identity.Session)
			org        identity.OrganisationID
			generation int64
			now        time.Time
			want       bool
		}{
			{"hers", func(*identity.Session) {}, open, 0, epoch, true},
			{"none", func(*identity.Session) {}, "", 0, epoch, true},
			{"before it expires", func(*identity.Session) {}, closed, 0, epoch.Add(59 * time.Second), true},
			{"expired", func(*identity.Session) {}, closed, 0, epoch.Add(time.Minute), false},
			{"not hers", func(*identity.Session) {}, others, 0, epoch, false},
			{"unknown", func(*identity.Session) {}, "none", 0, epoch, false},
			{"another generation", func(*identity.Session) {}, open, 1, epoch, false},
			{"ended", func(s *identity.Session) { s.EndedAt = epoch }, open, 0, epoch, false},
			{"over", func(*identity.Session) {}, open, 0, epoch.Add(time.Hour), false},
			{"idle too long", func(s *identity.Session) { s.IdleTTL = time.Minute }, open, 0, epoch.Add(time.Minute), false},
			{"somebody acts in it", func(s *identity.Session) { s.ActorID = "x" }, open, 0, epoch, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := identity.Session{ID: identity.SessionID(newID()), SubjectID: who, Door: "titan", CreatedAt: epoch, SeenAt: epoch, ExpiresAt: epoch.Add(time.Hour)}
				tt.change(&s)
				var entered bool
				update(t, store, func(tx identity.Tx) (err error) {
					if err = tx.CreateSession(ctx, s); err != nil {
						return err
					}
					entered, err = tx.EnterSession(ctx, s.ID, tt.generation, tt.org, tt.now)
					return err
				})
				if entered != tt.want {
					t.Errorf("EnterSession = %v, want %v", entered, tt.want)
				}
				if tt.want {
					s.OrganisationID, s.Generation, s.RefreshedAt, s.SeenAt = tt.org, 1, tt.now, tt.now
				}
				same(t, read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) }), s)
			})
		}
	})
}

func TestTokens(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		o := filled[identity.OpaqueToken](t)
		update(t, store, func(tx identity.Tx) error { return tx.CreateOpaqueToken(ctx, o) })
		get := func(r identity.Reader) (identity.OpaqueToken, error) { return r.OpaqueToken(ctx, o.Hash) }
		same(t, read(t, store, get), o)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateOpaqueToken(ctx, o) })
		for range 2 { // revoking again is fine
			update(t, store, func(tx identity.Tx) error { return tx.DeleteOpaqueToken(ctx, o.Hash) })
		}
		absent(t, store, get)
		v := filled[identity.RevokedToken](t)
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.RevokeToken(ctx, v) })
		}
		same(t, read(t, store, func(r identity.Reader) (identity.RevokedToken, error) { return r.RevokedToken(ctx, v.ID) }), v)
		absent(t, store, func(r identity.Reader) (identity.RevokedToken, error) { return r.RevokedToken(ctx, "other") })
	})
}

func TestTickets(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		full := filled[identity.Ticket](t)
		update(t, store, func(tx identity.Tx) error { return tx.CreateTicket(ctx, full) })
		same(t, read(t, store, func(r identity.Reader) (identity.Ticket, error) { return r.Ticket(ctx, full.ID) }), full)
		same(t, read(t, store, func(r identity.Reader) (identity.Ticket, error) { return r.TicketByHash(ctx, full.Hash) }), full)

		fresh := func() identity.Ticket {
			v := identity.Ticket{ID: identity.TicketID(newID()), Purpose: "signin", SubjectID: "ada", TriesLeft: 2, ExpiresAt: epoch}
			v.Hash = []byte(v.ID)
			update(t, store, func(tx identity.Tx) error { return tx.CreateTicket(ctx, v) })
			return v
		}
		spend := func(id identity.TicketID, now time.Time, want bool) {
			t.Helper()
			update(t, store, func(tx identity.Tx) error {
				spent, err := tx.SpendTicket(ctx, id, now)
				if spent != want {
					t.Errorf("SpendTicket = %v, want %v", spent, want)
				}
				return err
			})
		}
		try := func(id identity.TicketID, now time.Time, left int, want bool) {
			t.Helper()
			update(t, store, func(tx identity.Tx) error {
				n, tried, err := tx.TryTicket(ctx, id, now)
				if tried != want || n != left {
					t.Errorf("TryTicket = %d, %v, want %d, %v", n, tried, left, want)
				}
				return err
			})
		}
		before := epoch.Add(-time.Second)
		a := fresh()
		try(a.ID, epoch, 0, false) // its end has come
		spend(a.ID, epoch, false)
		try(a.ID, before, 1, true)
		try(a.ID, before, 0, true)
		try(a.ID, before, 0, false)
		spend(a.ID, before, true) // the last try was the right one
		spend(a.ID, before, false)
		b := fresh()
		spend(b.ID, before, true)
		try(b.ID, before, 0, false)
		spend("unknown", before, false)

		reset := fresh()
		update(t, store, func(tx identity.Tx) error { return tx.DeleteTicketsOf(ctx, "ada", "other") })
		read(t, store, func(r identity.Reader) (identity.Ticket, error) { return r.Ticket(ctx, reset.ID) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteTicketsOf(ctx, "ada", "signin") })
		absent(t, store, func(r identity.Reader) (identity.Ticket, error) { return r.Ticket(ctx, reset.ID) })
	})
}

func TestClients(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		device := func() identity.Device {
			d := identity.Device{ID: identity.DeviceID(newID()), OrganisationID: organisation(t, store), CreatedAt: epoch, UpdatedAt: epoch}
			d.Key = string(d.ID)
			update(t, store, func(tx identity.Tx) error { return tx.SaveDevice(ctx, d) })
			return d
		}
		c, d := filled[identity.Client](t), device()
		c.OrganisationID, c.DeviceID = d.OrganisationID, d.ID
		update(t, store, func(tx identity.Tx) error { return tx.CreateClient(ctx, c) })
		get := func(r identity.Reader) (identity.Client, error) { return r.Client(ctx, c.ID) }
		same(t, read(t, store, get), c)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateClient(ctx, c) })
		changed := filled[identity.Client](t)
		changed.ID, changed.CreatedAt, changed.Scopes = c.ID, c.CreatedAt, nil
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.UpdateClient(ctx, changed) }) // of nobody's organisation
		other := device()
		changed.OrganisationID, changed.DeviceID = other.OrganisationID, other.ID
		update(t, store, func(tx identity.Tx) error { return tx.UpdateClient(ctx, changed) })
		same(t, read(t, store, get), changed)
		changed.OrganisationID, changed.DeviceID = "", ""
		update(t, store, func(tx identity.Tx) error { return tx.UpdateClient(ctx, changed) })
		same(t, read(t, store, get), changed)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteClient(ctx, c.ID) })
		absent(t, store, get)
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteClient(ctx, c.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.UpdateClient(ctx, c) })
	})
}

// A client goes with what it is bound to, whoever deletes that: it never passes for more than it was.
func TestClientsGoWithWhatTheyAreBoundTo(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		acme, other := organisation(t, store), organisation(t, store)
		one, two := identity.Device{ID: "d1", Key: "d1", OrganisationID: acme}, identity.Device{ID: "d2", Key: "d2", OrganisationID: acme}
		update(t, store, func(tx identity.Tx) error {
			if err := firstError(func() error { return tx.SaveDevice(ctx, one) }, func() error { return tx.SaveDevice(ctx, two) }); err != nil {
				return err
			}
			for _, c := range []identity.Client{
				{ID: "house"}, {ID: "acme", OrganisationID: acme}, {ID: "one", OrganisationID: acme, DeviceID: one.ID}, {ID: "one more", OrganisationID: acme, DeviceID: one.ID},
				{ID: "two", OrganisationID: acme, DeviceID: two.ID}, {ID: "other", OrganisationID: other},
			} {
				if err := tx.CreateClient(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
		of := func(org identity.OrganisationID, device identity.DeviceID, after identity.ClientID, limit int, want ...identity.ClientID) {
			t.Helper()
			got := []identity.ClientID{}
			for _, c := range read(t, store, func(r identity.Reader) ([]identity.Client, error) { return r.ClientsOf(ctx, org, device, after, limit) }) {
				got = append(got, c.ID)
			}
			same(t, got, append([]identity.ClientID{}, want...))
		}
		of(acme, "", "", 10, "acme", "one", "one more", "two")
		of(acme, "", "acme", 2, "one", "one more")
		of(acme, one.ID, "", 10, "one", "one more")
		of("", one.ID, "one", 10, "one more")
		of(other, "", "", 10, "other")
		of("", "", "", 10)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteDevice(ctx, one.ID) })
		of(acme, "", "", 10, "acme", "two")
		update(t, store, func(tx identity.Tx) error { return tx.DeleteOrganisation(ctx, acme) })
		of(acme, "", "", 10)
		same(t, len(read(t, store, func(r identity.Reader) ([]identity.Client, error) { return r.Clients(ctx, "", 10) })), 2)
	})
}

func TestKeysAndSettings(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		a, b := filled[identity.SigningKey](t), filled[identity.SigningKey](t)
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.CreateSigningKey(ctx, b) }, func() error { return tx.CreateSigningKey(ctx, a) })
		})
		keys := func(r identity.Reader) ([]identity.SigningKey, error) { return r.SigningKeys(ctx) }
		same(t, read(t, store, keys), []identity.SigningKey{a, b})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateSigningKey(ctx, a) })
		changed := filled[identity.SigningKey](t)
		changed.ID, changed.CreatedAt = a.ID, a.CreatedAt
		update(t, store, func(tx identity.Tx) error { return tx.UpdateSigningKey(ctx, changed) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSigningKey(ctx, b.ID) })
		same(t, read(t, store, keys), []identity.SigningKey{changed})
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteSigningKey(ctx, b.ID) })

		v := filled[identity.Setting](t)
		other := v
		other.Sealed = []byte{0, 1, 2}
		setting := func(r identity.Reader) (identity.Setting, error) { return r.Setting(ctx, v.Name) }
		absent(t, store, setting)
		for _, want := range []bool{true, false} {
			update(t, store, func(tx identity.Tx) error {
				created, err := tx.CreateSetting(ctx, v)
				if created != want {
					t.Errorf("CreateSetting = %v, want %v", created, want)
				}
				return err
			})
		}
		same(t, read(t, store, setting), v)
		update(t, store, func(tx identity.Tx) error { return tx.SaveSetting(ctx, other) })
		same(t, read(t, store, setting), other)
	})
}

func TestEvents(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		last := func(r identity.Reader) (identity.Event, error) { return r.LastSealedEvent(ctx) }
		absent(t, store, last)
		var all []identity.Event
		for i := range 6 {
			e := filled[identity.Event](t)
			e.At, e.Door, e.Action = epoch.AddDate(0, 0, 10*i), []identity.Door{"nx", "titan"}[i%2], []string{"signin", "session.end", "signin"}[i%3]
			e.ActorID, e.SubjectID = identity.SubjectID([]string{"ada", "ada", "eve"}[i%3]), identity.SubjectID([]string{"ada", "bob"}[i%2])
			update(t, store, func(tx identity.Tx) error { return tx.Record(ctx, &e) })
			if len(all) > 0 && e.Seq <= all[len(all)-1].Seq {
				t.Errorf("seq %d after %d", e.Seq, all[len(all)-1].Seq)
			}
			e.Position, e.Chain = 0, nil // given when it is sealed
			all = append(all, e)
		}
		pick := func(indices ...int) (some []identity.Event) {
			for _, i := range indices {
				some = append(some, all[i])
			}
			return some
		}
		for name, tt := range map[string]struct {
			filter identity.EventFilter
			want   []identity.Event
		}{
			"all":              {identity.EventFilter{}, pick(5, 4, 3, 2, 1, 0)},
			"a page":           {identity.EventFilter{Before: all[4].Seq, Limit: 2}, pick(3, 2)},
			"door":             {identity.EventFilter{Door: "titan"}, pick(5, 3, 1)},
			"action":           {identity.EventFilter{Action: "session.end"}, pick(4, 1)},
			"subject or actor": {identity.EventFilter{SubjectID: "ada"}, pick(4, 3, 2, 1, 0)},
			"actor only":       {identity.EventFilter{SubjectID: "eve"}, pick(5, 2)},
			"subject's page":   {identity.EventFilter{SubjectID: "ada", Before: all[3].Seq, Limit: 2}, pick(2, 1)},
			"since":            {identity.EventFilter{Since: epoch.AddDate(0, 0, 35)}, pick(5, 4)},
			"since its moment": {identity.EventFilter{Since: epoch.AddDate(0, 0, 30)}, pick(5, 4, 3)},
			"since tomorrow":   {identity.EventFilter{Since: epoch.AddDate(1, 0, 0)}, nil},
			"all together":     {identity.EventFilter{SubjectID: "bob", Door: "titan", Action: "signin", Since: epoch, Limit: 9}, pick(5, 3)},
		} {
			t.Run(name, func(t *testing.T) {
				same(t, read(t, store, func(r identity.Reader) ([]identity.Event, error) { return r.Events(ctx, tt.filter) }), tt.want)
			})
		}
		unsealed := func(limit int) func(r identity.Reader) ([]identity.Event, error) {
			return func(r identity.Reader) ([]identity.Event, error) { return r.UnsealedEvents(ctx, limit) }
		}
		same(t, read(t, store, unsealed(4)), all[:4])
		for i := range 4 {
			all[i].Position, all[i].Chain = int64(i+1), []byte{byte(i), 0}
		}
		update(t, store, func(tx identity.Tx) error { return tx.SealEvents(ctx, all[:4]) })
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.SealEvents(ctx, all[3:4]) })
		same(t, read(t, store, unsealed(4)), all[4:])
		same(t, read(t, store, last), all[3])
		sealed := func(r identity.Reader) ([]identity.Event, error) { return r.SealedEvents(ctx, 1, 2) }
		same(t, read(t, store, sealed), all[1:3])
		var pruned int
		update(t, store, func(tx identity.Tx) (err error) {
			pruned, err = tx.PruneEvents(ctx, 3, 2)
			return err
		})
		if pruned != 2 {
			t.Errorf("PruneEvents = %d, want 2", pruned)
		}
		same(t, read(t, store, sealed), all[2:4])
	})
}

func TestCheckpoints(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		last := func(r identity.Reader) (identity.Checkpoint, error) { return r.LastCheckpoint(ctx) }
		absent(t, store, last)
		a, b := filled[identity.Checkpoint](t), filled[identity.Checkpoint](t)
		a.Anchor = false
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.SaveCheckpoint(ctx, b) }, func() error { return tx.SaveCheckpoint(ctx, a) })
		})
		same(t, read(t, store, last), b)
		a.Anchor = true
		update(t, store, func(tx identity.Tx) error { return tx.SaveCheckpoint(ctx, a) })
		list := func(after int64) func(r identity.Reader) ([]identity.Checkpoint, error) {
			return func(r identity.Reader) ([]identity.Checkpoint, error) { return r.Checkpoints(ctx, after, 10) }
		}
		same(t, read(t, store, list(0)), []identity.Checkpoint{a, b})
		same(t, read(t, store, list(a.Position)), []identity.Checkpoint{b})
	})
}

func TestOutbox(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		full := filled[identity.Message](t)
		full.SentAt, full.GivenUpAt = time.Time{}, epoch
		waiting := identity.Message{ID: identity.MessageID(newID()), NextAt: epoch}
		later := identity.Message{ID: identity.MessageID(newID()), NextAt: epoch.Add(time.Hour)}
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.Enqueue(ctx, full) }, func() error { return tx.Enqueue(ctx, waiting) },
				func() error { return tx.Enqueue(ctx, later) })
		})
		same(t, read(t, store, func(r identity.Reader) (identity.Message, error) { return r.Message(ctx, full.ID) }), full)

		claim := func(owner string, now time.Time) (claimed []identity.Message) {
			t.Helper()
			update(t, store, func(tx identity.Tx) (err error) {
				claimed, err = tx.ClaimMessages(ctx, owner, now, time.Minute, 10)
				return err
			})
			return claimed
		}
		held := waiting
		held.LeaseOwner, held.LeaseUntil = "a", epoch.Add(time.Minute)
		same(t, claim("a", epoch), []identity.Message{held})
		same(t, claim("b", epoch.Add(59*time.Second)), nil)
		held.LeaseOwner, held.LeaseUntil = "b", epoch.Add(2*time.Minute)
		same(t, claim("b", epoch.Add(time.Minute)), []identity.Message{held}) // the first holder died

		finish := func(m identity.Message, want bool) {
			t.Helper()
			update(t, store, func(tx identity.Tx) error {
				done, err := tx.FinishMessage(ctx, m)
				if done != want {
					t.Errorf("FinishMessage = %v, want %v", done, want)
				}
				return err
			})
		}
		done := held
		done.Attempts, done.LastError, done.SentAt, done.NextAt = 1, "slow", epoch, epoch.Add(time.Second)
		late := done
		late.LeaseOwner = "a"
		finish(late, false)
		finish(done, true)
		finish(done, false)
		done.LeaseOwner, done.LeaseUntil = "", time.Time{}
		for state, want := range map[identity.MessageState][]identity.Message{
			"":                      {later, done, full},
			identity.MessageWaiting: {later},
			identity.MessageSent:    {done},
			identity.MessageGivenUp: {full},
		} {
			got := read(t, store, func(r identity.Reader) ([]identity.Message, error) { return r.Messages(ctx, state, "", 10) })
			slices.SortFunc(want, func(a, b identity.Message) int { return strings.Compare(string(b.ID), string(a.ID)) })
			same(t, got, want)
		}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Message, error) {
			return r.Messages(ctx, identity.MessageWaiting, later.ID, 10)
		}), nil)
	})
}

func TestLease(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		for i, tt := range []struct {
			owner string
			at    time.Duration
			want  bool
		}{
			{"a", 0, true}, {"b", 30 * time.Second, false}, {"a", 30 * time.Second, true}, // renewed until 90 s
			{"b", 89 * time.Second, false}, {"b", 90 * time.Second, true}, {"a", 91 * time.Second, false},
		} {
			update(t, store, func(tx identity.Tx) error {
				held, err := tx.Lease(t.Context(), "seal", tt.owner, epoch.Add(tt.at), time.Minute)
				if held != tt.want {
					t.Errorf("step %d: Lease = %v, want %v", i, held, tt.want)
				}
				return err
			})
		}
	})
}

// Whoever knows that all holders are gone need not wait for what they held.
func TestEndLeases(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		waiting := identity.Message{ID: identity.MessageID(newID()), NextAt: epoch, Attempts: 2}
		sent := identity.Message{ID: identity.MessageID(newID()), NextAt: epoch, LeaseOwner: "a", LeaseUntil: epoch.Add(time.Minute), SentAt: epoch}
		take := func(owner string) (leads bool, claimed []identity.Message) {
			t.Helper()
			update(t, store, func(tx identity.Tx) (err error) {
				if leads, err = tx.Lease(ctx, "upkeep", owner, epoch, time.Minute); err == nil {
					claimed, err = tx.ClaimMessages(ctx, owner, epoch, time.Minute, 10)
				}
				return err
			})
			return leads, claimed
		}
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.Enqueue(ctx, waiting) }, func() error { return tx.Enqueue(ctx, sent) })
		})
		take("dead")
		if leads, claimed := take("b"); leads || len(claimed) != 0 {
			t.Fatalf("taken from a holder: %v, %v", leads, claimed)
		}
		update(t, store, func(tx identity.Tx) error { return tx.EndLeases(ctx) })
		same(t, read(t, store, func(r identity.Reader) (identity.Message, error) { return r.Message(ctx, waiting.ID) }), waiting)
		same(t, read(t, store, func(r identity.Reader) (identity.Message, error) { return r.Message(ctx, sent.ID) }), sent)
		leads, claimed := take("b")
		if !leads {
			t.Error("the leadership is not free")
		}
		waiting.LeaseOwner, waiting.LeaseUntil = "b", epoch.Add(time.Minute)
		same(t, claimed, []identity.Message{waiting})
	})
}
