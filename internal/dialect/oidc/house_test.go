package oidc_test

import (
	"log/slog"
	"net/http"
	"testing"

	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
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
	ring    *keys.Ring
	door    *oidc.Dialect
	handler http.Handler
	ada     identity.Subject
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
	h.door = &oidc.Dialect{
		Issuer: issuer, Keys: h.ring, Grants: h.Grants, Sessions: h.Sessions, Now: h.Clock.Now, Rand: coretest.SeededRand(),
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

// session begins one at a door, as the sign-in of that door would.
func (h *house) session(t testing.TB, door identity.Door, client identity.ClientID, scopes ...string) identity.Session {
	t.Helper()
	out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
		Caller: coretest.Caller(door), Login: h.ada.Email, Password: coretest.Password, ClientID: client, Scopes: scopes,
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
