package nx_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What strangers send gets a refusal of ours, short enough for the public client, and changes nothing.
//
// The first byte chooses the operation, the second whether a good token goes with it.
func FuzzBodies(f *testing.F) {
	h := newHouse(f)
	access, _ := h.signIn(f, "ada@example.test")
	operations := []struct{ method, path string }{
		{"POST", signInPath}, {"POST", refreshPath}, {"POST", "/auth/authenticate/reset-password"}, {"POST", "/auth/authenticate/update-password"},
		{"PATCH", "/auth/user/" + bobID}, {"POST", "/auth/reset-password"},
		{"POST", "/auth/nx/login"}, {"POST", "/auth/nx/totp"}, {"POST", "/auth/nx/csrf"}, {"POST", "/auth/nx/code"}, {"POST", "/auth/nx/plugin"},
		{"POST", "/auth/nx/refresh-token"}, {"POST", "/cdb/oauth2/token"}, {"POST", "/auth/nx/authorize"},
	}
	for i, seed := range []string{
		`{"Username":"ada@example.test","Password":"battery","KeepLoggedIn":false}`, `{"GrantType":"RefreshToken"}`, `{"Token":"x","Password":"yyyyyyyyyyyy"}`,
		`{"CurrentPassword":"x","NewPassword":"y"}`, `{"Name":"\u0000","PhoneNumber":null}`, "token=x&password=%ff&again=y",
		`{"Email":"\ud800","Password":"x"}`, `{"A":1e999,"A":2}`, `[[[[`, "\xff\xfe", `{"Username":"ada@example.test\u0000","Password":"","KeepLoggedIn":null}`,
		`{"Email":"ada@example.test","Password":"x"}`, `{"token":"x","totp":"000000"}`, `{"AuthenticationEndpoint":"https://[::1","RedirectURL":"` + portal + `"}`, `{"code":"x","state":"y"}`,
		`{"refresh_token":"nxcdb-` + strings.Repeat("0", 64) + `","system_nxid":"` + harbour + `"}`, `{"GrantType":"Pass_Word","Password":"x"}`,
		`{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"x","scope":"cloudSystemId={` + harbour + `}"}`,
		"redirect_url=" + portal + "&client_id=c&email=a&password=b",
		`{"` + strings.Repeat("\\u0001", 100) + `":1,"` + strings.Repeat("\\u0001", 100) + `":2}`,
	} {
		f.Add(byte(i), true, seed)
		f.Add(byte(i), false, seed)
	}
	f.Fuzz(func(t *testing.T, which byte, signedIn bool, body string) {
		op := operations[int(which)%len(operations)]
		if strings.Contains(body, passphrase) {
			return // the fuzzer does not know it, but its mutations of a found corpus might
		}
		before := h.changes(t)
		r := httptest.NewRequest(op.method, op.path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if op.path == "/auth/reset-password" || op.path == "/auth/nx/authorize" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if signedIn {
			r.Header.Set("Authorization", "Bearer "+access)
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s %s: %d %s", op.method, op.path, w.Code, w.Body)
		}
		if short := op.path == signInPath || op.path == refreshPath; short && (w.Body.Len() <= 10 || w.Body.Len() >= 400) {
			t.Errorf("%s: answer of %d bytes", op.path, w.Body.Len())
		}
		if after := h.changes(t); after != before {
			t.Errorf("%s %s: the feed went from %d to %d", op.method, op.path, before, after)
		}
	})
}

// Registering and asking for a link may succeed; they never fail on our side, and never say more than they should.
func FuzzRegister(f *testing.F) {
	h := newHouse(f)
	f.Add("grace@navy.test", "a compiler is a translator", "Grace", "Navy", "+1 202", "Admiral")
	f.Add("\x00@x", "\xff", "\u202eevil", strings.Repeat("x", 300), "1;2", "\u2028")
	f.Add("a@b", strings.Repeat("p", 2000), " ", " ", "", "")
	f.Fuzz(func(t *testing.T, email, password, name, company, phone, title string) {
		h.Clock.Advance(time.Hour)
		body := must[[]byte](t)(json.Marshal(map[string]any{
			"Email": email, "Password": password, "Name": name, "Company": company, "PhoneNumber": phone, "JobTitle": title, "AcceptEULA": true,
		}))
		for path, text := range map[string]string{"/auth/user": string(body), "/auth/authenticate/forgot-password": string(body), "/auth/authenticate/password-strength": string(body)} {
			if a := h.do(t, "POST", path, text); a.status >= 500 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}

// A path or header that a stranger makes up is refused, and reaches nobody's record.
func FuzzUser(f *testing.F) {
	h := newHouse(f)
	access, _ := h.signIn(f, "ada@example.test")
	f.Add(adaID, "user", adaID, access)
	f.Add(eveID, "organization", otherID, access)
	f.Add("../"+eveID, "channel_partner", "", "x.y.z")
	f.Add("%00", "organization", acmeID, "")
	f.Fuzz(func(t *testing.T, id, kind, actAs, token string) {
		r := httptest.NewRequest("GET", "/auth/user/x", nil)
		r.URL.Path = "/auth/user/" + id
		r.Header = http.Header{"Authorization": {"Bearer " + token}, "X-Act-As-Kind": {kind}, "X-Act-As-Id": {actAs}}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code == http.StatusOK && (token != access || id != adaID && id != bobID) {
			t.Errorf("reads %q with %q: %s", id, token, w.Body)
		}
		if kind == "channel_partner" && w.Code < 400 {
			t.Errorf("acts for a channel partner: %d", w.Code)
		}
	})
}

// Whatever is asked of the list of licences, the answer is a page of one's own or a refusal, and nothing changes.
func FuzzLicenses(f *testing.F) {
	h := newHouse(f)
	h.license(f)
	access, _ := h.signIn(f, "ada@example.test")
	for _, seed := range []string{
		"", "Limit=2&Offset=1&OrderBy=-StartsAt,LicenseKey", "q=%25&Kind=trial&Agreement=Edge+Pro&Device=" + boxID, "Limit=1000000000000000000", "Offset=99999999999999999999",
		"OrderBy=StartsAt%3B+DROP+TABLE+licences", "q='+OR+1=1+--", "q=%00%ff", "q=" + strings.Repeat("%25", 3000), "Limit=-1", "OrderBy=,", "Device=x", "q=a&q=b", "%", "a;b", "Limit=0", "Agreement=" + proID,
		"OrderBy=" + strings.Repeat("StartsAt,", 50) + "StartsAt", "Kind=%F0%9F%A6%AB", "Limit=+1", "Limit=0x10", "q=" + strings.Repeat("x", 5000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		before := h.changes(t)
		r := httptest.NewRequest("GET", "/auth/licenses", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+access)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Fatalf("%q: %d %s", query, w.Code, w.Body)
		}
		if after := h.changes(t); after != before {
			t.Errorf("%q: the feed went from %d to %d", query, before, after)
		}
		if w.Code != http.StatusOK {
			return
		}
		var page []struct{ UUID string }
		total, err := strconv.Atoi(w.Header().Get("X-Pagination-Records"))
		if err != nil || json.Unmarshal(w.Body.Bytes(), &page) != nil || len(page) > total || total > 5 {
			t.Errorf("%q: %d of %d, %v: %s", query, len(page), total, err, w.Body)
		}
		for _, l := range page {
			if l.UUID == theirsID {
				t.Errorf("%q shows another's", query)
			}
		}
	})
}
