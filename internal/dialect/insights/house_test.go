package insights_test

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

const issuer = "http://gatehouse.test"

// house is the door on a real core and a SQLite file, with the contract's example organisation.
type house struct {
	*coretest.Core
	ring    *keys.Ring
	door    *insights.Dialect
	handler http.Handler
}

const (
	northwind identity.OrganisationID = "1f0c9b7e-0f83-4d53-8a0e-1c6c7a3f4d10"
	berlin    identity.SiteID         = "7f5a2c44-63a7-4c0b-9e38-5d7e0b9c8a21"
	aachen    identity.SiteID         = "7f5a2c44-63a7-4c0b-9e38-5d7e0b9c8a22"
	danaID    identity.SubjectID      = "019b76da-a800-7000-8000-000000000001"
)

func newHouse(t testing.TB, change ...func(*session.Rules)) *house {
	t.Helper()
	store := storetest.Fresh(t)
	h := &house{Core: coretest.New(t, store)}
	rules := insights.Rules(config.Default().Insights)
	for _, f := range change {
		f(&rules)
	}
	h.Sessions.Rules[insights.Door] = rules
	var err error
	if h.ring, err = keys.NewRing(keys.Options{Store: store, Box: h.Box, Now: h.Clock.Now, Rand: coretest.SeededRand()}); err != nil {
		t.Fatal(err)
	}
	if err := h.ring.Ensure(t.Context(), keys.ES256); err != nil {
		t.Fatal(err)
	}
	h.door = &insights.Dialect{
		Issuer: issuer, Keys: h.ring, Grants: h.Grants, SignIn: h.SignIn, Sessions: h.Sessions,
		Profiles: &profile.Service{Store: store, Policies: h.Policies, Now: h.Clock.Now}, Now: h.Clock.Now, Rand: coretest.SeededRand(),
	}
	h.Grants.Forms = []token.Form{h.door.Form()}
	observer := &httpkit.Observer{Log: slog.New(slog.DiscardHandler), Now: h.Clock.Now, Broken: func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a handler panicked")
		w.WriteHeader(http.StatusInternalServerError)
	}}
	h.handler = observer.Observe(httpkit.NewRouter([]httpkit.Door{h.door.Routes()}, http.NotFoundHandler()))
	h.fill(t)
	return h
}

func (h *house) fill(t testing.TB) {
	t.Helper()
	now := h.Clock.Now()
	hash, err := h.Passwords.Hasher.Hash(t.Context(), "fixstream")
	if err != nil {
		t.Fatal(err)
	}
	h.Update(func(tx identity.Tx) error {
		org := identity.Organisation{ID: northwind, Hash: "0000000000000000000000000000000000000001", Key: "northwind", Name: "NORTHWIND", CreatedAt: now, UpdatedAt: now}
		if err := tx.CreateOrganisation(t.Context(), &org); err != nil {
			return err
		}
		for _, s := range []identity.Site{{ID: berlin, Key: "berlin", Name: "BERLIN"}, {ID: aachen, Key: "aachen", Name: "AACHEN"}} {
			s.OrganisationID, s.CreatedAt = northwind, now
			if err := tx.SaveSite(t.Context(), s); err != nil {
				return err
			}
		}
		if err := tx.SaveRole(t.Context(), identity.Role{Key: "DISCOVERY_ROLE", Privileges: []string{"DEVICE_VIEW", "DISCOVERY_RUN"}, UpdatedAt: now}); err != nil {
			return err
		}
		return createClients(t, tx, now, hash)
	})
	person := func(email string, change func(*identity.Subject, *identity.Credential)) identity.Subject {
		return h.Person(func(s *identity.Subject, c *identity.Credential) {
			s.Email, s.Name = email, ""
			if change != nil {
				change(s, c)
			}
		})
	}
	person("dana@resolve.io", func(s *identity.Subject, c *identity.Credential) {
		s.ID, c.SubjectID = danaID, danaID
		s.Name, s.GivenName, s.FamilyName, s.Phone, s.CreatedBy, s.UpdatedBy = "Dana Reyes", "Dana", "Reyes", "+15145550100", "root", "root"
		s.Attributes = identity.Attributes{insights.Door: []byte(`{"group":"DISCOVERY_GROUP","default_site":"berlin"}`)}
	})
	person("lone@resolve.io", nil)
	person("off@resolve.io", func(s *identity.Subject, _ *identity.Credential) { s.SuspendedAt = now })
	person("new@resolve.io", func(s *identity.Subject, _ *identity.Credential) { s.MustVerify, s.VerifiedAt = true, time.Time{} })
	person("due@resolve.io", func(_ *identity.Subject, c *identity.Credential) { c.MustChange = true })
	h.WithTOTP(person("careful@resolve.io", nil))
	h.Update(func(tx identity.Tx) error {
		return tx.SaveMembership(t.Context(), identity.Membership{
			ID: "019b76da-a800-7000-8000-0000000000f1", SubjectID: danaID, OrganisationID: northwind, SiteID: berlin, Role: "DISCOVERY_ROLE", CreatedAt: now,
		})
	})
}

func createClients(t testing.TB, tx identity.Tx, now time.Time, hash string) error {
	all := []string{"password", "refresh_token"}
	for _, c := range []identity.Client{
		{ID: "fixstreamapp", SecretHash: hash, Grants: all, Scopes: []string{"read", "write", "trust"}},
		{ID: "otherapp", SecretHash: hash, Grants: all, Scopes: []string{"read", "write", "trust"}},
		{ID: "writer", SecretHash: hash, Grants: all, Scopes: []string{"write"}},
		{ID: "bare", SecretHash: hash, Grants: all},
		{ID: "renewer", SecretHash: hash, Grants: []string{"refresh_token"}, Scopes: []string{"read"}},
		{ID: "public", Grants: all, Scopes: []string{"read"}},
		{ID: "gone", SecretHash: hash, Grants: all, Scopes: []string{"read"}, SuspendedAt: now},
	} {
		c.CreatedAt, c.UpdatedAt = now, now
		if err := tx.CreateClient(t.Context(), c); err != nil {
			return err
		}
	}
	return nil
}
