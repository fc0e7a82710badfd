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
	"gatehouse/internal/core/signin"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// Whoever's token of whatever door is looked at, her organisation's entitlements are told, and a token of the door that has room says
// them itself.
func TestEntitlementsInTokens(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	asRobot := [][2]string{{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("robot:"+clientSecret))}}
	var about struct {
		Active       bool
		Org          identity.OrganisationID
		Entitlements []string
	}
	told := func(token string) []string {
		t.Helper()
		about.Org, about.Entitlements = "", nil
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
		// The Insights API has no word for an organisation in use.
		if in := map[string]identity.OrganisationID{nxAccess: acme, titanFull: acme}[kind]; about.Org != in {
			t.Errorf("%s: in use is %q, want %q", kind, about.Org, in)
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

// A device signs in and is told what licences provide that name it or no device at all, by the token and by an introspection, on every
// node as soon as it has heard of a change. Its organisation's own program is told all. A person who comes by the device's client uses
// what her organisation may, as by any other.
func TestADeviceSignsIn(t *testing.T) {
	url := storetest.PostgresURL(t)
	one := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url)})
	two := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url), Clock: one.Clock})
	type about struct {
		Org, Device, Sub string
		Entitlements     []string
	}
	read := func(text string) (a about) {
		t.Helper()
		must(t, json.Unmarshal([]byte(text), &a))
		return a
	}
	signIn := func(h *house, client string) string {
		t.Helper()
		return h.must(t, formOf("/oauth2/token", "grant_type", "client_credentials", "client_id", client, "client_secret", clientSecret)(t, h, "")).at("access_token")
	}
	introspect := func(h *house, token string) string {
		t.Helper()
		return h.must(t, formOf("/oauth2/introspect", "token", token, "client_id", "robot", "client_secret", clientSecret)(t, h, "")).body
	}
	devices := map[string]string{"box": boxOfAcme, "till": tillOfAcme, "acme-reports": ""}
	held := map[string]string{}
	for client := range devices {
		held[client] = signIn(one, client)
	}
	want := func(what, box, till, reports string) {
		t.Helper()
		must(t, two.Feed.Once(t.Context()))
		for client, words := range map[string]string{"box": box, "till": till, "acme-reports": reports} {
			for _, node := range []*house{one, two} {
				token := signIn(node, client)
				payload, err := b64.DecodeString(strings.Split(token, ".")[1])
				must(t, err)
				for form, text := range map[string]string{"token": string(payload), "introspection": introspect(node, token), "introspection of an old one": introspect(node, held[client])} {
					a := read(text)
					if a.Org != string(acme) || a.Device != devices[client] || a.Sub != client {
						t.Errorf("%s: %s of %s says %s", what, form, client, text)
					}
					if got := strings.Join(a.Entitlements, " "); got != words {
						t.Errorf("%s: %s of %s says %q, want %q; node one: %v", what, form, client, got, words, node == one)
					}
				}
			}
		}
	}
	const all = "inference manager"
	want("at first", all, "", all)
	_, err := one.Licences.Release(t.Context(), operator, licenceOfAcme, boxOfAcme)
	must(t, err)
	want("no device is named any more", "", "", all)
	_, err = one.Licences.Assign(t.Context(), operator, licenceOfAcme, tillOfAcme)
	must(t, err)
	want("another is", "", all, all)
	_, err = one.Licences.Release(t.Context(), operator, licenceOfAcme, tillOfAcme)
	must(t, err)
	_, err = one.Licences.Assign(t.Context(), operator, licenceOfAcme, boxOfAcme)
	must(t, err)
	want("back again", all, "", all)
	// In five minutes it is over, grace and all: everybody hears within ten seconds, of tokens that still hold.
	soon, none := one.Clock.Now().Add(5*time.Minute), time.Duration(0)
	_, err = one.Licences.Update(t.Context(), operator, licenceOfAcme, licence.Change{ExpiresAt: &soon, Grace: &none})
	must(t, err)
	one.Clock.Advance(5*time.Minute - time.Second)
	want("before the end", all, "", all)
	one.Clock.Advance(10 * time.Second)
	want("after it", "", "", "")

	// Ada by the box: hers is what her organisation may use, and the token says nothing of a device.
	_, err = one.Licences.Renew(t.Context(), operator, licenceOfAcme, licence.Term{ExpiresAt: one.Clock.Now().Add(24 * time.Hour)})
	must(t, err)
	_, err = one.Licences.Release(t.Context(), operator, licenceOfAcme, boxOfAcme)
	must(t, err)
	_, err = one.Licences.Assign(t.Context(), operator, licenceOfAcme, tillOfAcme)
	must(t, err)
	out, err := one.SignIn.Password(t.Context(), signin.PasswordInput{
		Caller: identity.Caller{Door: oidc.Door, Address: "192.0.2.1"}, Login: "ada@example.test", Password: passphrase,
		Way: signin.Way{ClientID: "box", Scopes: []string{"read"}},
	})
	must(t, err)
	a := read(introspect(one, one.Sessions.Opaque(out.Session, identity.RefreshToken)))
	if a.Sub != string(adaID) || a.Org != "" || a.Device != "" || strings.Join(a.Entitlements, " ") != all {
		t.Errorf("a person by the device's client: %+v", a)
	}
}
