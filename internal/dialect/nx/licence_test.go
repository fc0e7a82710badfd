package nx_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/identity"
	verify "gatehouse/verify/licence"
)

// Pages neither repeat nor leave out anything, whatever they are ordered by, and what has no end comes last in either direction.
func TestLicensePages(t *testing.T) {
	h := newHouse(t)
	h.license(t)
	access, _ := h.signIn(t, "ada@example.test")
	list := func(query string) (ids []string, endless []bool) {
		t.Helper()
		a := h.do(t, "GET", "/auth/licenses?"+query, "", bearer(access))
		var page []struct {
			UUID      string
			ExpiresAt time.Time
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.body)
		}
		for _, l := range page {
			ids, endless = append(ids, l.UUID), append(endless, l.ExpiresAt.IsZero())
		}
		return ids, endless
	}
	names := []string{"AgreementName", "LicenseKey", "StartsAt", "ExpiresAt"}
	var orders []string
	for _, a := range names {
		for _, b := range names {
			for _, signs := range [][2]string{{"", ""}, {"-", ""}, {"", "-"}, {"-", "-"}} {
				orders = append(orders, signs[0]+a+","+signs[1]+b)
			}
		}
	}
	for _, order := range append(orders, "AgreementName,StartsAt,ExpiresAt,LicenseKey", "-ExpiresAt,-StartsAt,AgreementName,-LicenseKey") {
		whole, endless := list("OrderBy=" + order)
		if len(whole) != 5 {
			t.Fatalf("%s: %v", order, whole)
		}
		var walked []string
		for offset := 0; offset < 6; offset += 2 {
			page, _ := list(fmt.Sprintf("OrderBy=%s&Limit=2&Offset=%d", order, offset))
			walked = append(walked, page...)
		}
		if !slices.Equal(whole, walked) {
			t.Errorf("%s: %v, by pages %v", order, whole, walked)
		}
		if strings.HasPrefix(strings.TrimPrefix(order, "-"), "ExpiresAt") && !endless[4] {
			t.Errorf("%s: what does not expire is not last: %v", order, whole)
		}
	}
}

// A page has 100 licences where nobody says how many, and 1000 at most (nx.md 1.9). The count is of all.
func TestLicensePagesAreBounded(t *testing.T) {
	h := newHouse(t)
	h.license(t)
	for i := range 1000 {
		must[identity.Licence](t)(h.Licences.Create(t.Context(), identity.Caller{Door: "cli"}, licence.New{
			AgreementID: trialID, OrganisationID: acmeID, Code: fmt.Sprintf("%04d", i),
		}))
	}
	access, _ := h.signIn(t, "ada@example.test")
	for query, want := range map[string]int{"": 100, "?Limit=101": 101, "?Limit=1000": 1000, "?Limit=1001": 1000, "?Limit=1000000000000000000": 1000, "?Offset=1003": 2, "?Limit=1": 1} {
		a := h.do(t, "GET", "/auth/licenses"+query, "", bearer(access))
		var page []struct{}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page) != want || a.header.Get("X-Pagination-Records") != "1005" {
			t.Errorf("%s: %d of %s, want %d: %d, %v", query, len(page), a.header.Get("X-Pagination-Records"), want, a.status, err)
		}
	}
}

// A document from the door is one that a device takes.
func TestLicenseDocumentVerifies(t *testing.T) {
	h := newHouse(t)
	h.license(t)
	access, _ := h.signIn(t, "ada@example.test")
	get := func(id string) answer {
		return h.do(t, "GET", "/auth/licences/"+id+"/document", "", bearer(access))
	}
	var out struct{ Document, Device string }
	if a := get(fullID); json.Unmarshal([]byte(a.body), &out) != nil || out.Device != boxID {
		t.Fatal(a)
	}
	keys := must[*verify.Keys](t)(verify.ParseKeys([]byte(h.do(t, "GET", "/oauth2/jwks", "").body)))
	v := &verify.Verifier{Keys: keys, Issuer: "https://id.example.test", Now: h.Clock.Now}
	c, state, err := v.Verify(out.Document, verify.Binding{Device: boxID})
	if err != nil || state != verify.Valid || c.Licence != fullID || !c.Has("inference") {
		t.Errorf("%+v, %v, %v", c, state, err)
	}

	// A licence that is revoked meanwhile yields no other one, and one device cannot fill the log.
	must[identity.Licence](t)(h.Licences.Revoke(t.Context(), identity.Caller{Door: "cli"}, fullID, ""))
	if a := get(fullID); a.status != http.StatusForbidden {
		t.Errorf("revoked: %v", a)
	}
	for n := range licence.DocumentsPerHour {
		if a := get(plainID); a.status != http.StatusOK {
			t.Fatalf("document %d: %v", n, a)
		}
	}
	if a := get(plainID); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("one document more: %v", a)
	}
	h.Clock.Advance(time.Hour)
	access, _ = h.signIn(t, "ada@example.test")
	if a := get(plainID); a.status != http.StatusOK {
		t.Errorf("an hour later: %v", a)
	}
}
