package profile_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/world"
)

const people = `
policies: [{key: strict, password: {min_length: 15}, factors: [totp]}]
organisations:
  - {key: acme, name: ACME, policy: strict, sites: [{key: b, name: BERLIN}, {key: a, name: AACHEN}]}
  - {key: zeta, name: AAA first by name, sites: [{key: x}]}
  - {key: over, expiration_time: 2026-01-02T00:00:00Z}
roles: [{key: operator, privileges: [A]}, {key: auditor}]
subjects:
  - email: ada@example.test
    aliases: [ada]
    password: correct horse battery
    must_change_password: true
    factors: {totp: GEZDGNBVGY3TQOJQ, sms: "+15145550100"}
    memberships:
      - {organisation: acme, role: auditor, titan_role: owner}
      - {organisation: acme, site: b, role: operator}
      - {organisation: zeta, titan_role: user}
  - {email: bob@example.test, memberships: [{organisation: acme}]}
  - {email: eve@example.test, memberships: [{organisation: over}]}
  - {email: zoe@example.test, memberships: [{organisation: over}]}
  - {email: root@example.test, superadmin: true}
`

func build(t *testing.T, store identity.Store) (*coretest.Core, *profile.Service) {
	t.Helper()
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	w, err := world.Parse("people", []byte(people))
	if err != nil {
		t.Fatal(err)
	}
	apply := &world.Service{Store: store, Manage: &manage.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box, Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}}
	if _, err := apply.Apply(t.Context(), w, world.Options{}); err != nil {
		t.Fatal(err)
	}
	return core, &profile.Service{Store: store, Policies: core.Policies, Now: core.Clock.Now}
}

func TestProfile(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		_, s := build(t, store)
		p, err := s.Find(t.Context(), "ADA")
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Logins) != 2 || !p.Logins[0].Primary || !p.HasPassword || !p.MustChange || p.PasswordSetAt.IsZero() {
			t.Errorf("profile %+v", p)
		}
		if !p.HasFactor(identity.TOTP) || !p.HasFactor(identity.SMSCode) || len(p.Factors) != 2 || p.Targets[identity.SMSCode] != "+15145550100" {
			t.Errorf("factors %v, %v", p.Factors, p.Targets)
		}
		if p.Policy.Password.MinLength != 15 || len(p.Policy.Factors) != 1 {
			t.Errorf("policy %+v", p.Policy)
		}
		if len(p.Organisations) != 2 || p.Organisations[0].Organisation.Key != "zeta" {
			t.Fatalf("organisations %+v", p.Organisations)
		}
		if reach := p.Organisations[0].Reach(); len(reach) != 0 {
			t.Errorf("a door's role gives no site: %+v", reach)
		}
		acme := p.Organisations[1]
		reach := acme.Reach()
		if len(reach) != 2 || reach[0].Site.Name != "AACHEN" || len(reach[0].Roles) != 1 || len(reach[1].Roles) != 2 || reach[1].Roles[0].Key != "auditor" {
			t.Errorf("reach %+v", reach)
		}
		if roles := acme.Roles(); len(roles) != 2 || roles[1].Privileges[0] != "A" {
			t.Errorf("roles %+v", roles)
		}
		if string(acme.Attributes("titan")) != `{"role":"owner"}` || acme.Attributes("nx") != nil {
			t.Errorf("attributes %s", acme.Attributes("titan"))
		}
		if _, in := p.In(acme.Organisation.ID); !in {
			t.Error("not in her own organisation")
		}
		again, err := s.OfNumber(t.Context(), p.Subject.Number)
		if err != nil || again.Subject.ID != p.Subject.ID {
			t.Error(err)
		}
		if again, err = s.OfHash(t.Context(), p.Subject.Hash); err != nil || again.Subject.ID != p.Subject.ID {
			t.Error(err)
		}
		if again, err = s.Find(t.Context(), string(p.Subject.ID)); err != nil || again.Subject.ID != p.Subject.ID {
			t.Error(err)
		}
		for _, nobody := range []string{"", "nobody", "\xff", "00000000-0000-0000-0000-000000000000"} {
			if _, err := s.Find(t.Context(), nobody); !errors.Is(err, identity.NotFound) {
				t.Errorf("find %q: %v", nobody, err)
			}
		}
	})
}

func TestVisibility(t *testing.T) {
	tests := []struct {
		caller, target string
		read, change   error
	}{
		{"ada", "ada", nil, nil},
		{"ada", "bob@example.test", nil, identity.Denied},
		{"ada", "eve@example.test", identity.NotFound, identity.NotFound},
		{"eve@example.test", "ada", identity.NotFound, identity.NotFound},
		{"root@example.test", "eve@example.test", nil, nil},
		{"bob@example.test", "root@example.test", identity.NotFound, identity.NotFound},
		{"eve@example.test", "zoe@example.test", nil, identity.Denied},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := build(t, store)
		ctx := t.Context()
		id := func(login string) identity.SubjectID {
			p, err := s.Find(ctx, login)
			if err != nil {
				t.Fatal(err)
			}
			return p.Subject.ID
		}
		for _, tt := range tests {
			caller, target := id(tt.caller), id(tt.target)
			p, err := s.ToRead(ctx, caller, target)
			if !errors.Is(err, tt.read) || err == nil && p.Subject.ID != target || err != nil && p.Subject.ID != "" {
				t.Errorf("%s reads %s: %v", tt.caller, tt.target, err)
			}
			if _, err := s.ToChange(ctx, caller, target); !errors.Is(err, tt.change) {
				t.Errorf("%s changes %s: %v", tt.caller, tt.target, err)
			}
		}
		const nobody = "00000000-0000-0000-0000-000000000000"
		_, unknown := s.ToRead(ctx, id("ada"), nobody)
		_, hidden := s.ToRead(ctx, id("ada"), id("eve@example.test"))
		if unknown == nil || hidden == nil || unknown.Error() != hidden.Error() {
			t.Errorf("unknown and hidden differ: %v, %v", unknown, hidden)
		}
		core.Clock.Advance(48 * time.Hour)
		if _, err := s.ToRead(ctx, id("eve@example.test"), id("zoe@example.test")); !errors.Is(err, identity.NotFound) {
			t.Errorf("what both shared has ended: %v", err)
		}
		if _, err := s.ToRead(ctx, nobody, id("ada")); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("nobody reads: %v", err)
		}
	})
}
