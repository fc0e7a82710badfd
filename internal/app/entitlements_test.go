package app_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/identity"
)

// Whoever's token of whatever door is looked at, her organisation's entitlements are told, and a token of the door that has room says
// them itself.
func TestEntitlementsInTokens(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	asRobot := [][2]string{{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("robot:"+clientSecret))}}
	told := func(token string) []string {
		t.Helper()
		var about struct {
			Active       bool
			Entitlements []string
		}
		a := h.must(t, request{method: "POST", target: "/oauth2/introspect", contentType: formType, body: form("token", token), header: asRobot})
		must(t, json.Unmarshal([]byte(a.body), &about))
		if !about.Active {
			t.Fatalf("not active: %v", a)
		}
		return about.Entitlements
	}
	want := []string{"inference", "manager"}
	tokens := map[string]string{}
	for _, kind := range []string{nxAccess, insightsAccess, titanFull} {
		tokens[kind] = h.print(t, kind, "ada@example.test")
		if got := told(tokens[kind]); !slices.Equal(got, want) {
			t.Errorf("%s: %v", kind, got)
		}
	}
	if got := told(h.print(t, oidcOwn, "")); len(got) != 0 {
		t.Errorf("a client's own token: %v", got)
	}
	access := h.must(t, request{method: "POST", target: "/oauth2/token", contentType: formType, body: form("grant_type", "refresh_token", "refresh_token", h.oidcRefresh(t, "ada@example.test")),
		header: asRobot}).at("access_token")
	payload, err := b64.DecodeString(strings.Split(access, ".")[1])
	must(t, err)
	if !strings.Contains(string(payload), `"entitlements":["inference","manager"]`) {
		t.Errorf("the access token says %s", payload)
	}

	// Revoked, it is gone at once; and nothing is said of what has run out.
	_, err = h.Licences.Revoke(t.Context(), identity.Caller{Door: "cli"}, licenceOfAcme, "")
	must(t, err)
	if got := told(tokens[nxAccess]); len(got) != 0 {
		t.Errorf("revoked: %v", got)
	}
	// More words than a token has room for are told by introspection alone.
	var many []string
	for i := range 40 {
		many = append(many, strings.Repeat("x", 60)+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	for i, part := range [][]string{many[:20], many[20:]} {
		a, err := h.Licences.SaveAgreement(t.Context(), identity.Caller{Door: "cli"}, identity.Agreement{Key: "many" + string(rune('0'+i)), Kind: "x", Provides: part, PublishedAt: h.Clock.Now()})
		must(t, err)
		_, err = h.Licences.Create(t.Context(), identity.Caller{Door: "cli"}, licence.New{AgreementID: a.ID, OrganisationID: acme, ExpiresAt: h.Clock.Now().Add(time.Hour)})
		must(t, err)
	}
	if got := told(tokens[nxAccess]); len(got) != 40 {
		t.Errorf("%d words of 40", len(got))
	}
	access = h.must(t, request{method: "POST", target: "/oauth2/token", contentType: formType, body: form("grant_type", "refresh_token", "refresh_token", h.oidcRefresh(t, "ada@example.test")),
		header: asRobot}).at("access_token")
	if payload, err = b64.DecodeString(strings.Split(access, ".")[1]); err != nil || strings.Contains(string(payload), "entitlements") {
		t.Errorf("the access token says %s, %v", payload, err)
	}
}
