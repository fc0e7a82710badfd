package manage_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// house is a core with the verbs of this package.
type house struct {
	core *coretest.Core
	*manage.Service
	t *testing.T
}

func newHouse(t *testing.T, store identity.Store) *house {
	t.Helper()
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	return &house{core, &manage.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box,
		Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}, t}
}

var operator = identity.Caller{Door: "cli"}

func (h *house) create(in manage.NewSubject) identity.Subject {
	h.t.Helper()
	subject, err := h.Create(h.t.Context(), operator, in)
	if err != nil {
		h.t.Fatalf("create %+v: %v", in, err)
	}
	return subject
}

func (h *house) signedIn(subject identity.Subject, organisation identity.OrganisationID) string {
	h.t.Helper()
	ctx := h.t.Context()
	out, err := h.core.SignIn.Password(ctx, signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: subject.Email, Password: coretest.Password})
	if err != nil {
		h.t.Fatal(err)
	}
	session := out.Session
	if organisation != "" {
		if session, err = h.core.Sessions.Enter(ctx, coretest.Caller(coretest.Door), session.ID, organisation); err != nil {
			h.t.Fatal(err)
		}
	}
	raw := h.core.Sessions.Opaque(session, identity.AccessToken)
	if err := h.check(raw); err != nil {
		h.t.Fatal(err)
	}
	return raw
}

func (h *house) check(raw string) error {
	_, err := h.core.Sessions.Check(h.t.Context(), coretest.Form(coretest.Door), raw, identity.AccessToken)
	return err
}

// recorded gives the newest audit row of an action.
func (h *house) recorded(action string) identity.Event {
	h.t.Helper()
	var found identity.Event
	h.core.View(func(r identity.Reader) error {
		events, err := r.Events(h.t.Context(), identity.EventFilter{Action: action, Limit: 1})
		if err == nil && len(events) == 0 {
			h.t.Errorf("no audit row %s", action)
			return nil
		}
		found = events[0]
		return err
	})
	return found
}

// announced says whether the newest changes tell about id.
func (h *house) announced(kind identity.ChangeKind, id string) {
	h.t.Helper()
	h.core.View(func(r identity.Reader) error {
		changes, err := r.Changes(h.t.Context(), 0, 1000)
		for _, c := range changes {
			if c.Kind == kind && c.ID == id {
				return err
			}
		}
		h.t.Errorf("nobody was told of %s %s", kind, id)
		return err
	})
}

func wantField(t *testing.T, err error, kind identity.Kind, field string) {
	t.Helper()
	if got := identity.Describe(err); err == nil || got.Kind != kind || got.Field != field {
		t.Errorf("got %v, want %v in %q", err, kind, field)
	}
}

func TestCreate(t *testing.T) {
	tests := []struct {
		name  string
		in    manage.NewSubject
		kind  identity.Kind
		field string
	}{
		{"same address", manage.NewSubject{Email: "ADA@example.test"}, identity.Conflict, "email"},
		{"looks like hers", manage.NewSubject{Email: "аda@example.test"}, identity.Invalid, "email"}, // Cyrillic а among Latin letters
		{"her alias", manage.NewSubject{Email: "ada2@example.test", Aliases: []string{"Lovelace"}}, identity.Conflict, "alias"},
		{"her alias as address", manage.NewSubject{Email: "lovelace"}, identity.Invalid, "email"},
		{"her number", manage.NewSubject{Email: "ada3@example.test", PhoneLogin: "+1 514 555 0100"}, identity.Conflict, "phone"},
		{"her id", manage.NewSubject{ID: "0190a1b2-0000-7000-8000-000000000001", Email: "ada4@example.test"}, identity.Conflict, "id"},
		{"nobody", manage.NewSubject{}, identity.Invalid, "email"},
		{"twice herself", manage.NewSubject{Email: "x@example.test", Aliases: []string{"X@example.test"}}, identity.Invalid, "alias"},
		{"no id", manage.NewSubject{ID: "1", Email: "x@example.test"}, identity.Invalid, "id"},
		{"no policy", manage.NewSubject{Email: "x@example.test", PolicyID: "0190a1b2-0000-7000-8000-000000000009"}, identity.Invalid, "policy"},
		{"control", manage.NewSubject{Email: "x@example.test", Name: "a\x00b"}, identity.Invalid, "name"},
		{"turned around", manage.NewSubject{Email: "x@example.test", Name: "a\u202eb"}, identity.Invalid, "name"},
		{"long", manage.NewSubject{Email: "x@example.test", Name: strings.Repeat("n", 201)}, identity.Invalid, "name"},
		{"attributes", manage.NewSubject{Email: "x@example.test", Attributes: identity.Attributes{"nx": []byte("[]")}}, identity.Invalid, "nx"},
		{"weak", manage.NewSubject{Email: "x@example.test", Password: "password"}, identity.WeakPassword, "password"},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.create(manage.NewSubject{
			ID: "0190a1b2-0000-7000-8000-000000000001", Email: " ada@example.test ", Aliases: []string{"lovelace"}, PhoneLogin: "+15145550100",
			GivenName: "Ada", FamilyName: "Lovelace", Password: coretest.Password,
		})
		if ada.Email != "ada@example.test" || ada.Name != "Ada Lovelace" || len(ada.Hash) != 40 || ada.Number == 0 || ada.CreatedBy != "cli" || !ada.VerifiedAt.IsZero() {
			t.Errorf("made %+v", ada)
		}
		if e := h.recorded("subject.create"); e.SubjectID != ada.ID || e.Door != "cli" || bytes.Contains(e.Detail, []byte("argon2")) {
			t.Errorf("recorded %+v", e)
		}
		h.announced(identity.SubjectChanged, string(ada.ID))
		for _, login := range []string{"Ada@Example.TEST", "LOVELACE", "+1 (514) 555-0100"} {
			if _, err := h.core.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: login, Password: coretest.Password}); err != nil {
				t.Errorf("sign in as %s: %v", login, err)
			}
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := h.Create(t.Context(), operator, tt.in)
				wantField(t, err, tt.kind, tt.field)
			})
		}
	})
}

func TestUpdate(t *testing.T) {
	text := func(s string) *string { return &s }
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		ada := h.create(manage.NewSubject{Email: "ada@example.test", Name: "Ada", Aliases: []string{"ada@other.test"}, Verified: true, Password: coretest.Password,
			Attributes: identity.Attributes{"nx": []byte(`{"newsletter":true,"phone":"1"}`)}})
		h.create(manage.NewSubject{Email: "bob@example.test"})

		same, err := h.Update(ctx, operator, ada.ID, manage.Change{Name: text("Ada"), Merge: identity.Attributes{"nx": []byte(`{"newsletter": true}`)}})
		if err != nil || !same.UpdatedAt.Equal(ada.UpdatedAt) {
			t.Errorf("no change: %+v, %v", same, err)
		}
		h.core.Clock.Advance(time.Minute)
		next, err := h.Update(ctx, identity.Caller{Door: "nx", SubjectID: ada.ID}, ada.ID, manage.Change{
			Name: text("Ada L."), Phone: text("+1"), Merge: identity.Attributes{"nx": []byte(`{"phone":null,"a":{"b":1}}`)},
		})
		if err != nil || next.Name != "Ada L." || next.UpdatedBy != "ada@example.test" || string(next.Attributes["nx"]) != `{"a":{"b":1},"newsletter":true}` {
			t.Errorf("changed to %+v, %v", next, err)
		}
		if e := h.recorded("subject.update"); !bytes.Contains(e.Detail, []byte(`"before":{`)) || !bytes.Contains(e.Detail, []byte("Ada L.")) {
			t.Errorf("recorded %s", e.Detail)
		}
		_, err = h.Update(ctx, operator, ada.ID, manage.Change{Email: text("Bob@example.test")})
		wantField(t, err, identity.Conflict, "email")

		spelled, err := h.Update(ctx, operator, ada.ID, manage.Change{Email: text("Ada@example.test")})
		if err != nil || spelled.VerifiedAt.IsZero() {
			t.Errorf("the same address, spelled otherwise: %+v, %v", spelled, err)
		}
		moved, err := h.Update(ctx, operator, ada.ID, manage.Change{Email: text("ada@other.test")}) // an alias of hers
		if err != nil || !moved.VerifiedAt.IsZero() {
			t.Errorf("another address proves nothing yet: %+v, %v", moved, err)
		}
		h.core.View(func(r identity.Reader) error {
			logins, err := r.Logins(ctx, ada.ID)
			if len(logins) != 1 || !logins[0].Primary || logins[0].Folded != "ada@other.test" {
				t.Errorf("logins %+v", logins)
			}
			return err
		})
		if _, err := h.Update(ctx, operator, "0190a1b2-0000-7000-8000-00000000000f", manage.Change{}); !errors.Is(err, identity.NotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestLastSuperadmin(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		no, yes := false, true
		ada := h.create(manage.NewSubject{Email: "ada@example.test", Superadmin: true, Verified: true})
		h.create(manage.NewSubject{Email: "gone@example.test", Superadmin: true, Suspended: true})
		h.create(manage.NewSubject{Email: "unproven@example.test", Superadmin: true, MustVerify: true})
		_, demoted := h.Update(ctx, operator, ada.ID, manage.Change{Superadmin: &no})
		_, unproven := h.Update(ctx, operator, ada.ID, manage.Change{Verified: &no, MustVerify: &yes})
		for name, err := range map[string]error{
			"demote": demoted, "unprove": unproven, "suspend": h.Suspend(ctx, operator, ada.ID, ""), "delete": h.Delete(ctx, operator, ada.ID),
		} {
			if !errors.Is(err, identity.Denied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Two rule, both leave at once: one stays.
		bob := h.create(manage.NewSubject{Email: "bob@example.test", Superadmin: true})
		var leave sync.WaitGroup
		errs := make([]error, 2)
		for i, id := range []identity.SubjectID{ada.ID, bob.ID} {
			leave.Go(func() { errs[i] = h.Suspend(ctx, operator, id, "") })
		}
		leave.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("both at once: %v, %v", errs[0], errs[1])
		}
	})
}

func TestWhatEndsSessions(t *testing.T) {
	tests := []struct {
		name string
		do   func(ctx context.Context, h *house, who identity.Subject, o identity.Organisation, m identity.Membership) error
		ends bool
	}{
		{"suspend", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			return h.Suspend(ctx, operator, who.ID, "left")
		}, true},
		{"delete", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			return h.Delete(ctx, operator, who.ID)
		}, true},
		{"password", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			return h.SetPassword(ctx, operator, who.ID, manage.NewPassword{Password: "another horse battery", MustChange: true})
		}, true},
		{"reset factors", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			if err := h.EnrolTOTP(ctx, operator, who.ID, coretest.Secret); err != nil {
				return err
			}
			kinds, err := h.ResetFactors(ctx, operator, who.ID)
			if len(kinds) != 1 || kinds[0] != identity.TOTP {
				h.t.Errorf("reset %v", kinds)
			}
			return err
		}, true},
		{"organisation", func(ctx context.Context, h *house, _ identity.Subject, o identity.Organisation, _ identity.Membership) error {
			return h.DeleteOrganisation(ctx, operator, o.ID)
		}, true},
		{"last membership", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, m identity.Membership) error {
			return h.RemoveMembership(ctx, operator, who.ID, m.ID)
		}, true},
		{"name", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			name := "Other"
			_, err := h.Update(ctx, operator, who.ID, manage.Change{Name: &name})
			return err
		}, false},
		{"enrol", func(ctx context.Context, h *house, who identity.Subject, _ identity.Organisation, _ identity.Membership) error {
			return h.EnrolTOTP(ctx, operator, who.ID, coretest.Secret)
		}, false},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				ctx := t.Context()
				who := h.create(manage.NewSubject{Email: "who" + string(rune('a'+i)) + "@example.test", Password: coretest.Password})
				o, err := h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Name: "ACME"})
				if err != nil {
					t.Fatal(err)
				}
				m, err := h.SaveMembership(ctx, operator, identity.Membership{SubjectID: who.ID, OrganisationID: o.ID})
				if err != nil {
					t.Fatal(err)
				}
				raw := h.signedIn(who, o.ID)
				if err := tt.do(ctx, h, who, o, m); err != nil {
					t.Fatal(err)
				}
				if ended := errors.Is(h.check(raw), identity.TokenRevoked); ended != tt.ends {
					t.Errorf("session ended: %v, want %v (%v)", ended, tt.ends, h.check(raw))
				}
			})
		}
	})
}

func TestTOTPIsSealedForItsRow(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		ada := h.create(manage.NewSubject{Email: "ada@example.test", Password: coretest.Password})
		if err := h.EnrolTOTP(ctx, operator, ada.ID, "gezd gnbv gy3t qojq gezd gnbv gy3t qojq"); err != nil {
			t.Fatal(err)
		}
		out, err := h.core.SignIn.Password(ctx, signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: ada.Email, Password: coretest.Password, Way: signin.Way{Steps: signin.Steps{Proof: true}}})
		if err != nil || out.Ticket == nil {
			t.Fatal(out, err)
		}
		if _, err := h.core.SignIn.Proof(ctx, signin.ProofInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: h.core.Code()}); err != nil {
			t.Error(err)
		}
		h.core.View(func(r identity.Reader) error {
			c, err := r.Credential(ctx, ada.ID, identity.TOTP)
			if bytes.Contains(c.Sealed, []byte(coretest.Secret)) {
				t.Error("the secret is in clear")
			}
			if _, err := h.TOTPSecret(identity.Credential{ID: "0190a1b2-0000-7000-8000-00000000000f", Sealed: c.Sealed}); err == nil {
				t.Error("it opens in another row")
			}
			return err
		})
		wantField(t, h.EnrolTOTP(ctx, operator, ada.ID, "SHORT"), identity.Invalid, "totp")
	})
}

func TestClients(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		_, made, err := h.CreateClient(ctx, operator, manage.NewClient{ID: "machine", Grants: []string{"client_credentials"}})
		if err != nil || len(made.Reveal()) != 43 {
			t.Fatalf("made %d characters, %v", len(made.Reveal()), err)
		}
		if _, none, err := h.CreateClient(ctx, operator, manage.NewClient{ID: "chosen", Secret: "fixstream", Grants: []string{"password"}}); err != nil || none != "" {
			t.Errorf("chosen: %v", err)
		}
		if _, none, err := h.CreateClient(ctx, operator, manage.NewClient{ID: "public", Public: true}); err != nil || none != "" {
			t.Errorf("public: %v", err)
		}
		_, _, err = h.CreateClient(ctx, operator, manage.NewClient{ID: "machine"})
		wantField(t, err, identity.Conflict, "id")
		_, _, err = h.CreateClient(ctx, operator, manage.NewClient{ID: "a:b"})
		wantField(t, err, identity.Invalid, "id")
		_, _, err = h.CreateClient(ctx, operator, manage.NewClient{ID: "open", Public: true, Grants: []string{"client_credentials"}})
		wantField(t, err, identity.Invalid, "secret")
		for id, secret := range map[identity.ClientID]identity.Secret{"machine": made, "chosen": "fixstream", "public": ""} {
			if _, err := h.core.Grants.Authenticate(ctx, identity.Caller{}, id, secret); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		rotated, err := h.RotateSecret(ctx, operator, "machine", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.core.Grants.Authenticate(ctx, identity.Caller{}, "machine", made); !errors.Is(err, identity.ClientInvalid) {
			t.Errorf("the old secret: %v", err)
		}
		if _, err := h.core.Grants.Authenticate(ctx, identity.Caller{}, "machine", rotated); err != nil {
			t.Errorf("the new secret: %v", err)
		}
		if e := h.recorded("client.update"); bytes.Contains(e.Detail, []byte("SHA256")) {
			t.Errorf("the audit log keeps a hash: %s", e.Detail)
		}
		if err := h.DeleteClient(ctx, operator, "machine"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.core.Grants.Authenticate(ctx, identity.Caller{}, "machine", rotated); !errors.Is(err, identity.ClientInvalid) {
			t.Errorf("deleted: %v", err)
		}
	})
}

func TestPlaces(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		ada := h.create(manage.NewSubject{Email: "ada@example.test"})
		acme, err := h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Key: "acme", Name: "ACME"})
		if err != nil {
			t.Fatal(err)
		}
		other, err := h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Name: "Other"})
		if err != nil || other.Key != string(other.ID) {
			t.Fatal(other, err)
		}
		_, err = h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Key: "acme"})
		wantField(t, err, identity.Conflict, "key")
		site, err := h.SaveSite(ctx, operator, identity.Site{OrganisationID: acme.ID, Key: "berlin"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.SaveSite(ctx, operator, identity.Site{OrganisationID: acme.ID, Key: "berlin"})
		wantField(t, err, identity.Conflict, "key")
		if _, err := h.SaveRole(ctx, operator, identity.Role{Key: "operator", Privileges: []string{"B", "A"}}); err != nil {
			t.Fatal(err)
		}
		_, err = h.SaveMembership(ctx, operator, identity.Membership{SubjectID: ada.ID, OrganisationID: other.ID, SiteID: site.ID})
		wantField(t, err, identity.Invalid, "site")
		_, err = h.SaveMembership(ctx, operator, identity.Membership{SubjectID: ada.ID, OrganisationID: acme.ID, Role: "none"})
		wantField(t, err, identity.Invalid, "role")
		first, err := h.SaveMembership(ctx, operator, identity.Membership{SubjectID: ada.ID, OrganisationID: acme.ID, SiteID: site.ID})
		if err != nil {
			t.Fatal(err)
		}
		second, err := h.SaveMembership(ctx, operator, identity.Membership{SubjectID: ada.ID, OrganisationID: acme.ID, SiteID: site.ID, Role: "operator"})
		if err != nil || second.ID != first.ID {
			t.Errorf("at one place: %+v, %v", second, err)
		}
		wantField(t, h.DeleteRole(ctx, operator, "operator"), identity.Conflict, "key")
		if err := h.DeleteSite(ctx, operator, site.ID); err != nil {
			t.Fatal(err)
		}
		if err := h.DeleteRole(ctx, operator, "operator"); err != nil {
			t.Errorf("a role that nobody has: %v", err)
		}
		h.recorded("membership.remove")
	})
}

func hours(zone string, windows []identity.Window) []identity.Schedule {
	return []identity.Schedule{{Zone: zone, Windows: windows}}
}

func TestCheckPolicy(t *testing.T) {
	ok := identity.Policy{Key: "k"}
	tests := []struct {
		field string
		spoil func(*identity.Policy)
	}{
		{"key", func(p *identity.Policy) { p.Key = "a b" }},
		{"password.min_length", func(p *identity.Policy) { p.Password.MinLength = 129 }},
		{"password.classes", func(p *identity.Policy) { p.Password.Classes = 5 }},
		{"second_factor", func(p *identity.Policy) { p.SecondFactor = "always" }},
		{"factors", func(p *identity.Policy) { p.Factors = []identity.CredentialKind{identity.Password} }},
		{"factors", func(p *identity.Policy) { p.Factors = []identity.CredentialKind{identity.WebAuthn} }}, // nobody can be set up with one
		{"factors", func(p *identity.Policy) {
			p.SecondFactor, p.Factors = identity.FactorNeeded, []identity.CredentialKind{identity.RecoveryCode}
		}},
		{"session.idle", func(p *identity.Policy) { p.SessionIdle = -1 }},
		{"lockout", func(p *identity.Policy) { p.Lockout.Tries = 3 }},
		{"description", func(p *identity.Policy) { p.Description = "two\nlines" }},
		{"hours", func(p *identity.Policy) { p.Hours = make([]identity.Schedule, 2) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", nil) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", make([]identity.Window, 51)) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", []identity.Window{{From: 24 * 60}}) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", []identity.Window{{Until: 24*60 + 1}}) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", []identity.Window{{Days: []time.Weekday{7}}}) }},
		{"hours", func(p *identity.Policy) { p.Hours = hours("", []identity.Window{{Days: []time.Weekday{1, 2, 1}}}) }},
		{"zone", func(p *identity.Policy) { p.Hours = hours("Berlin", []identity.Window{{Until: 60}}) }},
		{"zone", func(p *identity.Policy) { p.Hours = hours("Local", []identity.Window{{Until: 60}}) }},
		{"zone", func(p *identity.Policy) { p.Hours = hours("../etc/passwd", []identity.Window{{Until: 60}}) }},
		{"networks", func(p *identity.Policy) { p.Networks = make([][]string, 2) }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{make([]string, 201)} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"10.0.0.0"}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"10.0.0.1/8"}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"2001:DB8::/32"}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"::ffff:10.0.0.0/104"}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"fe80::%eth0/64"}} }},
		{"networks", func(p *identity.Policy) { p.Networks = [][]string{{"10.0.0.0/8", "10.0.0.0/8"}} }},
	}
	bound := ok
	bound.Hours = hours("Europe/Berlin", []identity.Window{{Days: []time.Weekday{0, 6}, From: 22 * 60, Until: 24 * 60}})
	bound.Networks = [][]string{{"10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"}}
	if err := manage.CheckPolicy(bound); err != nil {
		t.Error(err)
	}
	if err := manage.CheckPolicy(ok); err != nil {
		t.Error(err)
	}
	for _, tt := range tests {
		p := ok
		tt.spoil(&p)
		wantField(t, manage.CheckPolicy(p), identity.Invalid, tt.field)
	}
}

func TestSameJSON(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[true,null]}`, ` {"b": [true, null], "a": 1.0} `, true},
		{`{"a":18446744073709551615}`, `{"a":18446744073709551614}`, false},
		{`{"a":"1"}`, `{"a":1}`, false},
		{`{}`, `{"a":null}`, false},
		{`x`, `y`, false},
	}
	for _, tt := range tests {
		if got := manage.SameJSON([]byte(tt.a), []byte(tt.b)); got != tt.want {
			t.Errorf("SameJSON(%s, %s) = %v", tt.a, tt.b, got)
		}
	}
}
