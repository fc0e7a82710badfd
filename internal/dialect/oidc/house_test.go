package oidc_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

const issuer = "http://gatehouse.test"

// house is the door on a real core and a SQLite file. coretest's two doors stand for the other dialects.
type house struct {
	*coretest.Core
	ring *keys.Ring
	door *oidc.Dialect
	// licences say what devices and organisations may use.
	licences *licence.Service
	handler  http.Handler
	ada      identity.Subject
}

func newHouse(t testing.TB) *house {
	t.Helper()
	store := storetest.Fresh(t)
	h := &house{Core: coretest.New(t, store)}
	h.Sessions.Rules[oidc.Door] = oidc.Rules(config.Default().OIDC)
	var err error
	if h.ring, err = keys.NewRing(keys.Options{Store: store, Box: h.Box, Now: h.Clock.Now, Rand: coretest.SeededRand()}); err != nil {
		t.Fatal(err)
	}
	if err := h.ring.Ensure(t.Context(), keys.ES256, keys.EdDSA); err != nil {
		t.Fatal(err)
	}
	h.licences = &licence.Service{Store: store, Now: h.Clock.Now, Rand: coretest.SeededRand()}
	store.OnCommit(h.licences.Changed)
	h.door = &oidc.Dialect{
		Issuer: issuer, Keys: h.ring, Grants: h.Grants, Sessions: h.Sessions, Entitlements: h.licences.Entitlements, Now: h.Clock.Now, Rand: coretest.SeededRand(),
	}
	h.Grants.Forms = []token.Form{coretest.Form(coretest.Door), coretest.Form(coretest.Lax), h.door.Form()}
	observer := &httpkit.Observer{Log: slog.New(slog.DiscardHandler), Now: h.Clock.Now, Broken: func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a handler panicked")
		w.WriteHeader(http.StatusInternalServerError)
	}}
	h.handler = observer.Observe(httpkit.NewRouter([]httpkit.Door{h.door.Routes()}, http.NotFoundHandler()))
	h.fill(t)
	return h
}

const secret = "robot-secret"

func (h *house) fill(t testing.TB) {
	t.Helper()
	now := h.Clock.Now()
	generated := grant.HashGenerated(secret)
	chosen, err := h.Passwords.Hasher.Hash(t.Context(), "ch%osen+s: ü")
	if err != nil {
		t.Fatal(err)
	}
	own, both := []string{"client_credentials"}, []string{"client_credentials", "refresh_token"}
	h.Update(func(tx identity.Tx) error {
		if err := programs(t.Context(), tx, now); err != nil {
			return err
		}
		for _, c := range []identity.Client{
			{ID: "robot", SecretHash: generated, Grants: both, Scopes: []string{"read", "write"}, Audiences: []string{"https://api.example.test"}},
			{ID: "other", SecretHash: generated, Grants: both, Scopes: []string{"read"}},
			{ID: "many", SecretHash: generated, Grants: own, Audiences: []string{"https://a.example.test", "https://b.example.test"}, SigningAlg: "EdDSA"},
			{ID: "rsa", SecretHash: generated, Grants: own, SigningAlg: "RS256"},
			{ID: "chosen", SecretHash: chosen, Grants: own, Scopes: []string{"read"}},
			{ID: "gateway", SecretHash: generated, Scopes: []string{grant.InspectScope}},
			{ID: "janitor", SecretHash: generated, Scopes: []string{grant.InspectScope, grant.RevokeScope}},
			{ID: "https://api.example.test", SecretHash: generated},
			{ID: "app", Grants: both, Scopes: []string{"read", "write"}},
			{ID: "gone", SecretHash: generated, Grants: both, SuspendedAt: now},
			{ID: "camera-1", SecretHash: generated, Grants: both, Scopes: []string{"read"}, OrganisationID: acme, DeviceID: camera1},
			{ID: "camera-2", SecretHash: generated, Grants: own, OrganisationID: acme, DeviceID: camera2},
			{ID: "reports", SecretHash: generated, Grants: own, OrganisationID: acme},
			{ID: "closing", SecretHash: generated, Grants: own, OrganisationID: closing},
		} {
			c.CreatedAt, c.UpdatedAt = now, now
			if err := tx.CreateClient(t.Context(), c); err != nil {
				return err
			}
		}
		return nil
	})
	h.ada = h.Person(func(s *identity.Subject, _ *identity.Credential) { s.Email = "ada@example.test" })
}

const (
	acme, closing    identity.OrganisationID = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7aa1", "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7aa2"
	camera1, camera2 identity.DeviceID       = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a01", "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a02"
	forCamera1       identity.LicenceID      = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7ac1"
)

// programs makes an organisation with two devices, which may use "manager" both and "inference" the first, and one that ends in five
// minutes.
func programs(ctx context.Context, tx identity.Tx, now time.Time) error {
	for _, o := range []identity.Organisation{{ID: acme, Key: "acme"}, {ID: closing, Key: "closing", ExpiresAt: now.Add(5 * time.Minute)}} {
		if err := tx.CreateOrganisation(ctx, &o); err != nil {
			return err
		}
	}
	for _, id := range []identity.DeviceID{camera1, camera2} {
		if err := tx.SaveDevice(ctx, identity.Device{ID: id, Key: string(id), OrganisationID: acme}); err != nil {
			return err
		}
	}
	for id, word := range map[identity.LicenceID]string{forCamera1: "inference", "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7ac2": "manager"} {
		a := identity.Agreement{ID: identity.AgreementID(id), Key: word, Kind: "subscription", Provides: []string{word}, PublishedAt: now}
		l := identity.Licence{ID: id, Key: word, Code: word, AgreementID: a.ID, OrganisationID: acme, StartsAt: now, Seats: 1}
		if err := tx.SaveAgreement(ctx, a); err != nil {
			return err
		}
		if err := tx.CreateLicence(ctx, l); err != nil {
			return err
		}
	}
	_, err := tx.TakeSeat(ctx, forCamera1, camera1, now)
	return err
}

// session begins one at a door, as the sign-in of that door would.
func (h *house) session(t testing.TB, door identity.Door, client identity.ClientID, scopes ...string) identity.Session {
	t.Helper()
	out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
		Caller: coretest.Caller(door), Login: h.ada.Email, Password: coretest.Password,
		Way: signin.Way{ClientID: client, Scopes: scopes},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Session
}

// refreshToken is one of this door, which has no way to sign in yet.
func (h *house) refreshToken(t testing.TB, client identity.ClientID, scopes ...string) string {
	t.Helper()
	return h.Sessions.Opaque(h.session(t, oidc.Door, client, scopes...), identity.RefreshToken)
}
