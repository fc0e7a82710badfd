package nx_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// address makes one of a length, from 20 to 254 characters, different for members and others.
func address(length int, member bool) string {
	local := strings.Repeat("x", min(64, length-len("@d.test")))
	if member {
		local = "m" + local[1:]
	}
	var labels []string
	for rest := length - len(local) - len("@.test"); rest > 0; rest-- { // a dot between two
		n := min(63, rest) // letters of a label at most
		if rest-n == 1 {
			n--
		}
		labels = append(labels, strings.Repeat("d", n))
		rest -= n
	}
	return local + "@" + strings.Join(labels, ".") + ".test"
}

// person is somebody with an address of a length.
type person struct {
	id           identity.SubjectID
	email        string
	organisation identity.OrganisationID
}

// accessClaims are those of an access token: recorded ones (nx.md 1.5), and what we add. Whoever reads them does not look at the
// signature.
func (p person) accessClaims(t testing.TB, now time.Time, raw string) {
	t.Helper()
	claims := p.claims(t, now.Add(5*time.Minute), raw)
	email, has := claims["Email"]
	if has && email != p.email {
		t.Errorf("%d characters: Email %v", len(p.email), email)
	}
	if organisation, has := claims["OrganisationUUID"]; has != (p.organisation != "") || has && organisation != string(p.organisation) {
		t.Errorf("%d characters: OrganisationUUID %v, want %q", len(p.email), organisation, p.organisation)
	}
	if !has { // it was left out because there was no room, and for nothing else
		claims["Email"] = p.email
		if whole := must[[]byte](t)(json.Marshal(claims)); len(whole) <= 174 {
			t.Errorf("%d characters: Email is left out, with %d bytes of claims it would fit", len(p.email), len(whole))
		}
	}
	delete(claims, "Email")
	delete(claims, "OrganisationUUID")
	if names := slices.Sorted(maps.Keys(claims)); !slices.Equal(names, []string{"aud", "exp", "sid", "sub"}) {
		t.Errorf("an access token's claims: %v", names)
	}
}

func (p person) refreshClaims(t testing.TB, ends time.Time, raw string) {
	t.Helper()
	if names := slices.Sorted(maps.Keys(p.claims(t, ends, raw))); !slices.Equal(names, []string{"aud", "exp", "sid", "sub"}) {
		t.Errorf("a refresh token's claims: %v", names)
	}
}

func (p person) claims(t testing.TB, ends time.Time, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > 379 {
		t.Fatalf("a token of %d characters: %s", len(raw), raw)
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		if err := json.Unmarshal(must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[i])), into); err != nil {
			t.Fatal(err)
		}
	}
	if header["typ"] != "JWT" || header["alg"] != "EdDSA" {
		t.Errorf("header %v", header)
	}
	if claims["aud"] != "user" || claims["sub"] != string(p.id) || claims["exp"] != float64(ends.Unix()) {
		t.Errorf("%d characters: claims %v, want the end at %d", len(p.email), claims, ends.Unix())
	}
	return claims
}

// legacy sends what the public client sends, which reads an answer of more than 10 and less than 400 bytes only, refusals included
// (nx.md 1.4).
func (h *house) legacy(t testing.TB, what, path, body string, status int, headers ...header) (token struct{ RefreshToken, AccessToken string }) {
	t.Helper()
	a := h.do(t, "POST", path, body, headers...)
	if a.status != status || len(a.body) <= 10 || len(a.body) >= 400 || !strings.Contains(a.header.Get("Content-Type"), "json") {
		t.Errorf("%s: %d, %d bytes of %s: %s", what, a.status, len(a.body), a.header.Get("Content-Type"), a.body)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		t.Fatal(err)
	}
	if _, has := members["error"]; has {
		t.Errorf("%s: an `error` is what clients take for a failure: %s", what, a.body)
	}
	if status == http.StatusOK {
		if len(members) != 1 || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %s", what, a.header, a.body)
		}
	} else if _, flag := members["AuthorizationInvalid"].(bool); !flag || members["Message"] == "" {
		t.Errorf("%s: no message object: %s", what, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &token); err != nil {
		t.Fatal(err)
	}
	return token
}

// both reads an Nx answer with both tokens: four members and no more.
func (p person) both(t testing.TB, h *house, what string, a answer) (access, refresh string) {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		t.Fatalf("%s: %s: %v", what, a.body, err)
	}
	if names := slices.Sorted(maps.Keys(members)); a.status != http.StatusOK || !slices.Equal(names, []string{"AccessToken", "Error", "RefreshToken", "TotpAccessCode"}) ||
		members["Error"] != "" || members["TotpAccessCode"] != "" || a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("Content-Type"), "json") {
		t.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
	}
	p.accessClaims(t, h.Clock.Now(), members["AccessToken"])
	p.refreshClaims(t, h.Clock.Now().Add(8*time.Hour), members["RefreshToken"])
	return members["AccessToken"], members["RefreshToken"]
}

// Sizes and claims of every answer with a token, and of every refusal that the public client may meet, whatever the address.
func TestSizesAndClaims(t *testing.T) {
	h := newHouse(t)
	ctx, op := t.Context(), identity.Caller{Door: "cli"}
	hash := must[string](t)(h.Passwords.Hasher.Hash(ctx, passphrase))
	now := h.Clock.Now()
	for length := 20; length <= 254; length++ {
		member := length%2 == 1
		if length > 40 && length < 60 { // where Email stops to fit, which is beside no organisation
			member = length%4 == 0
		}
		p := person{email: address(length, member)}
		if member {
			p.organisation = acmeID
		}
		if len(p.email) != length {
			t.Fatalf("an address of %d characters: %s", length, p.email)
		}
		in := manage.NewSubject{Email: p.email, Name: "X", PasswordHash: hash, Verified: true}
		if length%16 == 0 {
			in.Email = strings.Replace(p.email, "x", "&", 1) // six bytes where JSON escapes it
			p.email = in.Email
		}
		p.id = must[identity.Subject](t)(h.Manage.Create(ctx, op, in)).ID
		if p.organisation != "" {
			must[identity.Membership](t)(h.Manage.SaveMembership(ctx, op, identity.Membership{SubjectID: p.id, OrganisationID: p.organisation}))
		}
		at := func(what string) string { return fmt.Sprintf("%s with %d characters", what, length) }
		signIn := func(password string) string { return `{"Email":"` + p.email + `","Password":"` + password + `"}` }

		// The public client: a refresh token, access tokens for it, a new refresh token.
		first := h.legacy(t, at("sign-in"), signInPath, signIn(passphrase), 200)
		p.refreshClaims(t, now.Add(8*time.Hour), first.RefreshToken)
		p.accessClaims(t, now, h.legacy(t, at("access token"), refreshPath, `{}`, 200, bearer(first.RefreshToken)).AccessToken)
		second := h.legacy(t, at("refresh token"), refreshPath, `{"GrantType":"RefreshToken"}`, 200, bearer(first.RefreshToken))
		p.refreshClaims(t, now.Add(8*time.Hour), second.RefreshToken)
		access := h.legacy(t, at("access token"), refreshPath, `{"GrantType":"AccessToken"}`, 200, bearer(second.RefreshToken)).AccessToken
		p.accessClaims(t, now, access)

		// What it may be refused with.
		h.legacy(t, at("wrong password"), signInPath, signIn("wrong"), 401)
		h.legacy(t, at("unknown address"), signInPath, `{"Email":"u`+p.email[1:]+`","Password":"wrong"}`, 401)
		h.legacy(t, at("no password"), signInPath, `{"Email":"`+p.email+`"}`, 400)
		h.legacy(t, at("an access token"), refreshPath, `{}`, 401, bearer(access))
		h.legacy(t, at("another grant"), refreshPath, `{"GrantType":"`+p.email+`"}`, 400, bearer(second.RefreshToken))

		// The other forms give the same tokens.
		found := bothTokens.FindStringSubmatch(h.do(t, "POST", signInPath, `{"Username":"`+p.email+`","Password":"`+passphrase+`","KeepLoggedIn":true}`).body)
		if found == nil {
			t.Fatalf("%s: no tokens", at("modern sign-in"))
		}
		p.accessClaims(t, now, found[1])
		p.refreshClaims(t, now.Add(30*24*time.Hour), found[2])
		access, refresh := p.both(t, h, at("nx login"), h.do(t, "POST", loginPath, credentials(p.email, passphrase)))
		p.both(t, h, at("nx refresh"), h.do(t, "POST", "/auth/nx/refresh-token", `{"GrantType":"refresh_token","Password":""}`, bearer(refresh)))
		if length%8 == 0 {
			p.both(t, h, at("nx password"), h.do(t, "POST", "/auth/nx/refresh-token", `{"GrantType":"Password","Password":"`+passphrase+`"}`, bearer(access)))
			for range 10 {
				h.do(t, "POST", signInPath, signIn("wrong"))
			}
			h.legacy(t, at("locked"), signInPath, signIn(passphrase), 429)
			h.Clock.Advance(16 * time.Minute) // for the address that all of these come from
			now = h.Clock.Now()
		}
	}

	// The other refusals of sign-in and refresh, and nonsense of any length.
	long := address(254, false)
	for what, body := range map[string]string{
		"suspended": `{"Email":"suspended@example.test","Password":"` + passphrase + `"}`, "not activated": `{"Email":"unverified@example.test","Password":"` + passphrase + `"}`,
		"due": `{"Email":"due@example.test","Password":"` + passphrase + `"}`, "a second factor": `{"Email":"factor@example.test","Password":"` + passphrase + `"}`,
	} {
		h.legacy(t, what, signInPath, body, 403)
	}
	for what, body := range map[string]string{
		"of another type": `{"Email":["` + long + `"],"Password":"x"}`, "twice": `{"Email":"` + long + `","Email":"` + long + `","Password":"x"}`,
		"a long name, twice": `{"` + strings.Repeat("n", 1000) + `":1,"` + strings.Repeat("n", 1000) + `":2}`, "no JSON": strings.Repeat("<", 1000),
		"no address": `{"Password":"x"}`, "null": `null`, "a list": `[]`,
	} {
		h.legacy(t, what, signInPath, body, 400)
	}
	h.legacy(t, "nobody's", signInPath, `{"Email":"`+strings.Repeat(`<`, 60_000)+`","Password":"x"}`, 401)
	h.legacy(t, "another type", signInPath, "Email=x", 415, header{"Content-Type", formType})
	h.legacy(t, "no token", refreshPath, `{}`, 401)
	h.legacy(t, "a long token", refreshPath, `{}`, 401, bearer(strings.Repeat("x", 20_000)))
}
