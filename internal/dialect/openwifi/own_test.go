package openwifi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/core/apikey"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

// What the UI draws is what the app reads, however long the address and whatever the operator calls the house.
func TestAuthenticatorPicture(t *testing.T) {
	long := strings.Repeat("x", 64) + "@" + strings.Repeat("mail.", 37) + "test"
	for _, tt := range []struct{ issuer, email, want string }{
		{"OpenWiFi", "ines@example.com", "otpauth://totp/OpenWiFi:ines@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=OpenWiFi"},
		{"OpenWiFi", long[len(long)-254:], ""},
		{strings.Repeat("Ü & Ö: ", 30), long[len(long)-254:], ""},
		{"", "ines@example.com", "otpauth://totp/ines@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"},
	} {
		h := newHouse(t, func(d *openwifi.Dialect) { d.TOTPIssuer = tt.issuer })
		h.person(t, ines, tt.email, "Harbour-42", nil)
		w := call(h.public, "GET", "/api/v1/totp", "", "Authorization", "Bearer "+h.signedIn(t, tt.email, "Harbour-42").Access)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		got := scan(t, w.Body.String())
		if tt.want == "" {
			tt.want = totp.Address(tt.issuer, tt.email, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", openwifi.QRBytes)
		}
		if got != tt.want || !strings.Contains(got, "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") {
			t.Errorf("%q, %q: the app reads %q, want %q", tt.issuer, tt.email, got, tt.want)
		}
	}
}

type keyShown struct{ ID, APIKey string }

func (h *house) newKey(t testing.TB, access, name string) keyShown {
	t.Helper()
	w := call(h.public, "POST", "/api/v1/apiKey/"+ines, fmt.Sprintf(`{"name":%q,"expiresOn":%d}`, name, h.Clock.Now().Unix()+3600), "Authorization", "Bearer "+access)
	var k keyShown
	if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil || k.APIKey == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return k
}

// Too many unknown keys from one network close it to keys, and to nothing else.
func TestGuessingKeys(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	good := h.newKey(t, h.signedIn(t, "ines@example.com", "Harbour-42").Access, "a").APIKey
	me := func(key string) (status, reason int, wait string) {
		w := call(h.public, "GET", "/api/v1/oauth2?me=true", "", "X-API-KEY", key)
		return w.Code, code(w.Body), w.Header().Get("Retry-After")
	}
	for i := range 100 {
		if status, reason, _ := me(fmt.Sprintf("%064x", i)); status != http.StatusForbidden || reason != 8 {
			t.Fatalf("guess %d: %d, %d", i, status, reason)
		}
	}
	if status, reason, wait := me(good); status != http.StatusForbidden || reason != 10 || wait == "" {
		t.Errorf("after a hundred: %d, %d, Retry-After %q", status, reason, wait)
	}
	h.signedIn(t, "ines@example.com", "Harbour-42")
	w := call(h.service, "GET", "/api/v1/validateApiKey?apikey="+good, "", "X-API-KEY", serviceKey, "X-INTERNAL-NAME", "https://gw.example.com")
	if w.Code != http.StatusOK {
		t.Errorf("shown by a service: %d %s", w.Code, w.Body)
	}
}

// A suspended user's key is refused with her reason, wherever it is shown; and the audit log says which key acted.
func TestKeysOfTheSuspended(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	k := h.newKey(t, h.signedIn(t, "ines@example.com", "Harbour-42").Access, "a")
	if w := call(h.public, "PUT", "/api/v1/preferences", `{"data":[]}`, "X-API-KEY", k.APIKey); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h.View(func(r identity.Reader) error {
		events, err := r.Events(t.Context(), identity.EventFilter{Limit: 1})
		if len(events) != 1 || events[0].Action != "preferences.save" || events[0].ClientID != identity.ClientID("apikey:"+k.ID) || events[0].ActorID != ines {
			t.Errorf("audit row %+v", events)
		}
		return err
	})
	if err := h.door.Manage.Suspend(t.Context(), identity.Caller{Door: "cli"}, ines, ""); err != nil {
		t.Fatal(err)
	}
	for listener, w := range map[string]*httptest.ResponseRecorder{
		"public":   call(h.public, "GET", "/api/v1/oauth2?me=true", "", "X-API-KEY", k.APIKey),
		"internal": call(h.service, "GET", "/api/v1/validateApiKey?apikey="+k.APIKey, "", "X-API-KEY", serviceKey, "X-INTERNAL-NAME", "x"),
	} {
		if w.Code != http.StatusForbidden || code(w.Body) != 15 {
			t.Errorf("%s: %d %s", listener, w.Code, w.Body)
		}
	}
}

// A program with a key of hers changes none of what she proves herself with, nor what that rests on.
func TestKeysLeaveCredentialsAlone(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.sends()
	access := h.signedIn(t, "ines@example.com", "Harbour-42").Access
	h.WithTarget(identity.Subject{ID: ines}, identity.EmailCode, "ines@example.com")
	k := h.newKey(t, access, "a")
	user := "/api/v1/user/" + ines
	before := h.credentials(t, ines)
	for _, in := range []struct{ method, target, body string }{
		{"PUT", user, `{"currentPassword":"Harbour-43"}`},
		{"PUT", user, `{"name":"Ines","currentPassword":"Harbour-43"}`},
		{"PUT", user, `{"userTypeProprietaryInfo":{"mfa":{"enabled":false}}}`},
		{"PUT", user, `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"email"}}}`},
		{"PUT", user, `{"userTypeProprietaryInfo":{"mobiles":[{"number":"+15145550100"}],"mfa":{"enabled":true,"method":"sms"}}}`},
		{"PUT", user, `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"authenticator"}}}`},
		{"PUT", user + "?resetMFA=true", `{}`},
		{"PUT", user + "?forgotPassword=true", `{}`},
		{"DELETE", user, ""},
		{"GET", "/api/v1/totp", ""},
		{"PUT", "/api/v1/totp?index=1&value=" + h.Code(), ""},
		{"POST", "/api/v1/sms?validateNumber=true", `{"to":"+15145550100"}`},
		{"POST", "/api/v1/sms?completeValidation=true&validationCode=041877", `{"to":"+15145550100"}`},
		{"POST", "/api/v1/apiKey/" + ines, `{"name":"b","expiresOn":4102444800}`},
	} {
		w := call(h.public, in.method, in.target, in.body, "X-API-KEY", k.APIKey)
		if w.Code != http.StatusForbidden || code(w.Body) != 7 {
			t.Errorf("%s %s %s: %d %s", in.method, in.target, in.body, w.Code, w.Body)
		}
	}
	if after := h.credentials(t, ines); !reflect.DeepEqual(after, before) {
		t.Errorf("her credentials were %+v, and are %+v", before, after)
	}
	// Her record is another matter.
	if w := call(h.public, "PUT", user, `{"name":"Ines"}`, "X-API-KEY", k.APIKey); w.Code != http.StatusOK {
		t.Errorf("her name: %d %s", w.Code, w.Body)
	}
}

func (h *house) credentials(t testing.TB, id identity.SubjectID) (all []identity.Credential) {
	t.Helper()
	h.View(func(r identity.Reader) (err error) {
		all, err = r.Credentials(t.Context(), id)
		return err
	})
	return all
}

func FuzzOwn(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	access := h.signedIn(f, "ines@example.com", "Harbour-42").Access
	key := h.newKey(f, access, "a")
	paths := []string{"/api/v1/preferences", "/api/v1/userPreferences", "/api/v1/totp", "/api/v1/apiKey/" + ines, "/api/v1/validateApiKey", "/api/v1/sms"}
	methods := []string{"GET", "POST", "PUT", "DELETE"}
	f.Add(uint8(2), uint8(0), "", `{"data":[{"tag":"a","value":1e9}]}`, "")
	f.Add(uint8(1), uint8(1), "", `{"data":[{"tag":"\u0001"}]}`, "")
	f.Add(uint8(2), uint8(2), "index=1&value=000000", "", "")
	f.Add(uint8(0), uint8(2), "reset=true", "", "")
	f.Add(uint8(1), uint8(3), "", `{"name":"x","expiresOn":-1,"rights":{"acls":[{"service":"a","access":"read"}]}}`, "")
	f.Add(uint8(1), uint8(3), "", `{"name":"x","expiresOn":99999999999999999999,"rights":{"acls":{}}}`, "")
	f.Add(uint8(2), uint8(3), "", `{"id":"`+key.ID+`","description":"\u202e"}`, "")
	f.Add(uint8(3), uint8(3), "keyUuid=%zz", "", "")
	f.Add(uint8(0), uint8(4), "apikey="+key.APIKey+"&token=x", "", "")
	f.Add(uint8(0), uint8(4), "apikey=", "", key.APIKey)
	f.Add(uint8(1), uint8(5), "validateNumber=true", `{"to":15145550100}`, "")
	f.Add(uint8(1), uint8(5), "completeValidation=true&validationCode=x", `{"to":"+15145550100"}`, key.APIKey)
	f.Add(uint8(1), uint8(5), "", `{"to":"+15145550100","text":"\u0000","from":{}}`, "")
	f.Fuzz(func(t *testing.T, method, path uint8, query, body, shown string) {
		r := newRequest(methods[int(method)%len(methods)], paths[int(path)%len(paths)], query, body)
		if shown == "" {
			r.Header["Authorization"] = []string{"Bearer " + access}
		} else {
			r.Header["X-Api-Key"] = []string{shown}
		}
		w := serve(h.public, r)
		if !slices.Contains([]int{http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound}, w.Code) {
			t.Errorf("%s %s?%q %q: %d %s", r.Method, r.URL.Path, query, body, w.Code, w.Body)
		}
		if shown != "" && shown != key.APIKey && !apikey.Looks(shown) && w.Code == http.StatusOK {
			t.Errorf("%q is taken for a key", shown)
		}
		if w.Code != http.StatusOK && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s", w.Body)
		}
	})
}
