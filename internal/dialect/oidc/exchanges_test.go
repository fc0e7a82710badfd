package oidc_test

import (
	"os"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestExchanges(t *testing.T) { exchanges(t) }

// The same bytes come from the other engine.
func TestExchangesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	exchanges(t)
}

func exchanges(t *testing.T) {
	t.Helper()
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t)
		test, lax := h.session(t, coretest.Door, "", "read"), h.session(t, coretest.Lax, "")
		byCamera := h.session(t, oidc.Door, "camera-1", "read")
		body, etag := h.ring.JWKS()
		return dialecttest.House{Public: h.handler, Advance: h.Clock.Advance, Captured: map[string]string{
			"refresh": h.refreshToken(t, "robot", "read", "write"), "narrow": h.refreshToken(t, "robot", "read"),
			"none": h.refreshToken(t, "robot"), "app": h.refreshToken(t, "app", "read"), "by_camera": h.Sessions.Opaque(byCamera, identity.RefreshToken), "camera_sid": string(byCamera.ID),
			"test_access": h.Sessions.Opaque(test, identity.AccessToken), "test_refresh": h.Sessions.Opaque(test, identity.RefreshToken),
			"lax_access": h.Sessions.Opaque(lax, identity.AccessToken),
			"test_sid":   string(test.ID), "ada": string(h.ada.ID), "jwks": string(body), "jwks_etag": etag,
		}}
	}})
}
