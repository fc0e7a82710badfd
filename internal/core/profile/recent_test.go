package profile_test

import (
	"reflect"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// What is kept of a profile is what the store has, whatever a verb of the house changes; only the last sign-in may lag.
func TestRecentProfilesKeepUp(t *testing.T) {
	core := coretest.New(t, storetest.SQLite(t))
	m := &manage.Service{Store: core.Store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.SignIn.Log, Box: core.Box, Now: core.Clock.Now, Rand: coretest.SeededRand()}
	s := &profile.Service{Store: core.Store, Policies: core.Policies, Now: core.Clock.Now}
	core.Store.OnCommit(s.Changed)
	ctx, op := t.Context(), identity.Caller{Door: "cli"}
	ada := core.Person()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	org, err := m.CreateOrganisation(ctx, op, manage.NewOrganisation{Key: "acme"})
	must(err)
	var site identity.Site
	var place identity.Membership
	var strict identity.Policy
	name := func(text string) *string { return &text }
	steps := []struct {
		name string
		do   func() error
	}{
		{"a site", func() error {
			var err error
			site, err = m.SaveSite(ctx, op, identity.Site{OrganisationID: org.ID, Key: "berlin"})
			return err
		}},
		{"a role", func() error {
			_, err := m.SaveRole(ctx, op, identity.Role{Key: "viewer", Privileges: []string{"VIEW"}})
			return err
		}},
		{"a membership", func() error {
			var err error
			place, err = m.SaveMembership(ctx, op, identity.Membership{SubjectID: ada.ID, OrganisationID: org.ID, SiteID: site.ID, Role: "viewer"})
			return err
		}},
		{"the role's privileges", func() error {
			_, err := m.SaveRole(ctx, op, identity.Role{Key: "viewer", Privileges: []string{"VIEW", "RUN"}})
			return err
		}},
		{"the site's name", func() error {
			_, err := m.SaveSite(ctx, op, identity.Site{ID: site.ID, OrganisationID: org.ID, Key: "berlin", Name: "BERLIN"})
			return err
		}},
		{"the organisation", func() error {
			_, err := m.UpdateOrganisation(ctx, op, org.ID, manage.OrganisationChange{Name: name("ACME"), Attributes: identity.Attributes{"titan": []byte(`{"a":1}`)}})
			return err
		}},
		{"a policy", func() error {
			var err error
			strict, err = m.SavePolicy(ctx, op, identity.Policy{Key: "strict", Password: identity.PasswordRule{MinLength: 20}})
			return err
		}},
		{"hers", func() error {
			_, err := m.Update(ctx, op, ada.ID, manage.Change{PolicyID: &strict.ID})
			return err
		}},
		{"her name", func() error { _, err := m.Update(ctx, op, ada.ID, manage.Change{Name: name("Ada")}); return err }},
		{"her address", func() error {
			_, err := m.Update(ctx, op, ada.ID, manage.Change{Email: name("ada@example.test")})
			return err
		}},
		{"another login", func() error { return m.AddLogin(ctx, op, ada.ID, "countess") }},
		{"one less", func() error { return m.RemoveLogin(ctx, op, ada.ID, "countess") }},
		{"a second factor", func() error { return m.EnrolTOTP(ctx, op, ada.ID, coretest.Secret) }},
		{"none", func() error { _, err := m.ResetFactors(ctx, op, ada.ID); return err }},
		{"her password", func() error {
			return m.SetPassword(ctx, op, ada.ID, manage.NewPassword{Password: "Violet-Anchor-77-lantern"})
		}},
		{"suspended", func() error { return m.Suspend(ctx, op, ada.ID, "x") }},
		{"resumed", func() error { return m.Resume(ctx, op, ada.ID) }},
		{"she leaves", func() error { return m.RemoveMembership(ctx, op, ada.ID, place.ID) }},
	}
	session := &identity.Session{SubjectID: ada.ID}
	_, err = s.OfSession(ctx, session)
	must(err)
	for _, step := range steps {
		core.Clock.Advance(time.Second)
		must(step.do())
		want, err := s.Of(ctx, ada.ID)
		must(err)
		for range 2 { // read, then kept
			got, err := s.OfSession(ctx, session)
			must(err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: kept %+v\nis %+v", step.name, got, want)
			}
		}
	}
}
