package openwifi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (h *house) signedIn(t testing.TB, email, pw string) tokens {
	t.Helper()
	w := call(h.public, "POST", "/api/v1/oauth2", fmt.Sprintf(`{"userId":%q,"password":%q}`, email, pw))
	var got tokens
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.Access == "" {
		t.Fatalf("sign-in: %d %s", w.Code, w.Body)
	}
	return got
}

// code is the ErrorCode of an answer, 0 where it is none.
func code(body *bytes.Buffer) int {
	var e struct{ ErrorCode int }
	_ = json.Unmarshal(body.Bytes(), &e)
	return e.ErrorCode
}

func (h *house) validate(raw string) int {
	return call(h.service, "GET", "/api/v1/validateToken?token="+raw, "", "X-API-KEY", serviceKey, "X-INTERNAL-NAME", "https://gw.example.com").Code
}

// The 2.4 command-line client posts JSON with curl's form type, others with none.
func TestMediaTypeDoesNotMatter(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	for _, media := range []string{"", "application/x-www-form-urlencoded", "text/plain", "nonsense;;"} {
		w := call(h.public, "POST", "/api/v1/oauth2", `{"userId":"ines@example.com","password":"Harbour-42"}`, "Content-Type", media, "Authorization", "Bearer ")
		if w.Code != http.StatusOK {
			t.Errorf("%q: %d %s", media, w.Code, w.Body)
		}
	}
}

// An answer that was given before is given again only while all that it says holds.
func TestValidationNoticesEverything(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	change := func(alter func(*identity.Subject)) {
		h.Update(func(tx identity.Tx) error {
			s, err := tx.Subject(t.Context(), ines)
			if err != nil {
				return err
			}
			alter(&s)
			if err := tx.UpdateSubject(t.Context(), s); err != nil {
				return err
			}
			return tx.Announce(t.Context(), identity.SubjectChanged, ines, h.Clock.Now())
		})
	}
	got := h.signedIn(t, "ines@example.com", "Harbour-42")
	ask := func() string {
		return call(h.service, "GET", "/api/v1/validateToken?token="+got.Access, "", "X-API-KEY", serviceKey, "X-INTERNAL-NAME", "x").Body.String()
	}
	first := ask()
	if ask() != first || !strings.Contains(first, `"userRole":"csr"`) {
		t.Fatalf("answer %s", first)
	}
	if strings.Contains(first, got.Refresh) {
		t.Error("the answer shows the refresh token")
	}
	change(func(s *identity.Subject) { s.Attributes = identity.Attributes{openwifi.Door: []byte(`{"role":"NOC"}`)} })
	if second := ask(); !strings.Contains(second, `"userRole":"noc"`) {
		t.Errorf("after the role changed: %s", second)
	}
	change(func(s *identity.Subject) { s.SuspendedAt = h.Clock.Now() })
	if status := h.validate(got.Access); status != http.StatusNotFound {
		t.Errorf("after the suspension: %d", status)
	}
	if w := call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+got.Access); code(w.Body) != 8 {
		t.Errorf("a suspended user reads herself: %d %s", w.Code, w.Body)
	}
}

func TestUnreadableAttributesGiveTheLeastRole(t *testing.T) {
	for _, json := range []string{`{"role":"emperor"}`, `{"role":7}`, `{"role":"admin","notes":"none"}`, `[]`, `null`} {
		h := newHouse(t)
		h.person(t, ines, "ines@example.com", "Harbour-42", role(json))
		got := h.signedIn(t, "ines@example.com", "Harbour-42")
		w := call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+got.Access)
		if !strings.Contains(w.Body.String(), `"userRole":"subscriber"`) || !strings.Contains(w.Body.String(), `"notes":[]`) {
			t.Errorf("%s: %s", json, w.Body)
		}
	}
}

// After too many wrong guesses the right password is refused too, in a word of the contract's table.
func TestGuessing(t *testing.T) {
	for _, login := range []string{"ines@example.com", "who@example.com"} {
		h := newHouse(t)
		h.world(t)
		for i := range 10 {
			if w := call(h.public, "POST", "/api/v1/oauth2", fmt.Sprintf(`{"userId":%q,"password":"guess-%d"}`, login, i)); code(w.Body) != 2 {
				t.Fatalf("%s, guess %d: %s", login, i, w.Body)
			}
		}
		w := call(h.public, "POST", "/api/v1/oauth2", fmt.Sprintf(`{"userId":%q,"password":"Harbour-42"}`, login))
		if w.Code != http.StatusForbidden || code(w.Body) != 10 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", login, w.Code, w.Body)
		}
	}
}

// Of sixteen who answer one challenge with the right code at once, one gets in.
func TestOneAnswerOfOneCode(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	w := call(h.public, "POST", "/api/v1/oauth2", `{"userId":"texted@example.com","password":"Quiet-Sky-11"}`)
	var asked struct{ UUID, Method string }
	if err := json.Unmarshal(w.Body.Bytes(), &asked); err != nil || asked.Method != "sms" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	body := fmt.Sprintf(`{"uuid":%q,"answer":%q}`, asked.UUID, h.SentCode())
	var wg sync.WaitGroup
	won := make(chan struct{}, 16)
	for range 16 {
		wg.Go(func() {
			switch w := call(h.public, "POST", "/api/v1/oauth2?completeMFAChallenge=true", body); {
			case w.Code == http.StatusOK:
				won <- struct{}{}
			case code(w.Body) != 12:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d got in", len(won))
	}
}

// Whose code cannot be sent is not let in without it.
func TestCodeThatCannotBeSent(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.SMS.Open, h.Email.Open = false, false
	for _, login := range []string{"texted@example.com", "mailed@example.com"} {
		if w := call(h.public, "POST", "/api/v1/oauth2", fmt.Sprintf(`{"userId":%q,"password":"Quiet-Sky-11"}`, login)); w.Code != http.StatusForbidden || code(w.Body) != 12 {
			t.Errorf("%s: %d %s", login, w.Code, w.Body)
		}
	}
}

// Whatever is a token elsewhere is none here, and no kind passes for another.
func TestForeignTokens(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	other, err := h.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: "ines@example.com", Password: "Harbour-42"})
	if err != nil {
		t.Fatal(err)
	}
	own := h.signedIn(t, "ines@example.com", "Harbour-42")
	foreign := []string{
		h.Sessions.Opaque(other.Session, identity.AccessToken), h.Sessions.Opaque(other.Session, identity.RefreshToken), own.Refresh,
		strings.ToUpper(own.Access), own.Access[:63], own.Access + "0", " " + own.Access, own.Access + "\x00", strings.Repeat("a", 9000),
	}
	for _, raw := range foreign {
		r := call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+raw)
		if raw != " "+own.Access && (r.Code != http.StatusForbidden || code(r.Body) != 8) { // spaces before the credentials are no part of them
			t.Errorf("%.70q is a bearer: %d %s", raw, r.Code, r.Body)
		}
		if raw == own.Refresh || strings.Contains(raw, "\x00") { // the one is good, the other is refused with the body
			continue
		}
		body, err := json.Marshal(map[string]string{"refreshToken": raw})
		if err != nil {
			t.Fatal(err)
		}
		if w := call(h.public, "POST", "/api/v1/oauth2?grant_type=refresh_token", string(body)); w.Code != http.StatusForbidden || code(w.Body) != 14 {
			t.Errorf("%.70q refreshes: %d %s", raw, w.Code, w.Body)
		}
	}
	if status := h.validate(h.Sessions.Opaque(other.Session, identity.AccessToken)); status != http.StatusNotFound {
		t.Errorf("another door's token validates: %d", status)
	}
	if w := call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+own.Access); w.Code != http.StatusOK {
		t.Errorf("her own does not work any more: %d %s", w.Code, w.Body)
	}
}

// Sixteen callers with one refresh token: one gets a token, and since the others hold the same one the session ends.
func TestParallelRefresh(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	got := h.signedIn(t, "ines@example.com", "Harbour-42")
	var wg sync.WaitGroup
	codes := make(chan int, 16)
	for range cap(codes) {
		wg.Go(func() {
			codes <- call(h.public, "POST", "/api/v1/oauth2?grant_type=refresh_token", `{"refreshToken":"`+got.Refresh+`"}`).Code
		})
	}
	wg.Wait()
	close(codes)
	winners := 0
	for status := range codes {
		if status == http.StatusOK {
			winners++
		} else if status != http.StatusForbidden {
			t.Errorf("status %d", status)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners, want 1", winners)
	}
}

func TestHostileBodies(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	before := h.lastEvent(t)
	for name, body := range map[string]string{
		"too large":     `{"userId":"` + strings.Repeat("a", 70<<10) + `","password":"x"}`,
		"too deep":      `{"userId":"a","password":"x","z":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"not UTF-8":     "{\"userId\":\"\xff\",\"password\":\"x\"}",
		"key twice":     `{"userId":"a","password":"x","z":{"b":1,"b":2}}`,
		"long number":   `{"userId":1` + strings.Repeat("0", 5000) + `,"password":"x"}`,
		"an array":      `["a"]`,
		"a string":      `"a"`,
		"null":          `null`,
		"object inside": `{"userId":{"$ne":null},"password":"x"}`,
	} {
		for _, query := range []string{"", "?grant_type=refresh_token", "?completeMFAChallenge=true", "?resendMFACode=true"} {
			w := call(h.public, "POST", "/api/v1/oauth2"+query, body)
			if name == "object inside" && query != "" {
				continue // the field is unknown there
			}
			if w.Code != http.StatusBadRequest || code(w.Body) != http.StatusBadRequest {
				t.Errorf("%s%s: %d %s", name, query, w.Code, w.Body)
			}
		}
	}
	if after := h.lastEvent(t); after != before {
		t.Error("a refused body left a trace in the store")
	}
}

// lastEvent is the newest row that any verb wrote.
func (h *house) lastEvent(t testing.TB) int64 {
	t.Helper()
	var seq int64
	err := h.Store.View(t.Context(), func(r identity.Reader) error {
		list, err := r.Events(t.Context(), identity.EventFilter{Limit: 1})
		if len(list) > 0 {
			seq = list[0].Seq
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// The contract puts tokens into paths and queries; they stay out of the log all the same.
func TestNoTokenIsLogged(t *testing.T) {
	var log bytes.Buffer
	h := newHouse(t, func(d *openwifi.Dialect) { d.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	h.world(t)
	got := h.signedIn(t, "ines@example.com", "Harbour-42")
	bearer := []string{"Authorization", "Bearer " + got.Access}
	call(h.public, "POST", "/api/v1/oauth2?newPassword=Query-Secret-1", `{"userId":"who@example.com","password":"Body-Secret-1"}`)
	call(h.service, "GET", "/api/v1/validateToken?token="+got.Access, "", "X-API-KEY", serviceKey, "X-INTERNAL-NAME", "x")
	call(h.public, "GET", "/api/v1/oauth2/"+got.Access, "", bearer...)
	call(h.public, "GET", "/api/v1/"+got.Access+"/x", "", bearer...)
	call(h.public, "GET", "/api/v1//oauth2/"+got.Refresh, "", bearer...)
	call(h.public, "DELETE", "/api/v1/oauth2/"+got.Access+"x", "", bearer...)
	call(h.public, "DELETE", "/api/v1/oauth2/"+got.Access, "", bearer...)
	for _, secret := range []string{got.Access, got.Refresh, "Harbour-42", "Query-Secret-1", "Body-Secret-1", serviceKey} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if lines := strings.Count(log.String(), "msg=request"); lines != 8 {
		t.Errorf("%d lines, want 8:\n%s", lines, log.String())
	}
}

func TestOrigins(t *testing.T) {
	for _, tt := range []struct {
		allowed      []string
		origin, want string
	}{
		{[]string{"*"}, "", "*"},
		{[]string{"*"}, "https://ui.example", "https://ui.example"},
		{[]string{"https://ui.example"}, "https://ui.example", "https://ui.example"},
		{[]string{"https://ui.example"}, "https://evil.example", ""},
		{nil, "https://ui.example", ""},
	} {
		h := newHouse(t, func(d *openwifi.Dialect) { d.Origins = tt.allowed })
		for _, request := range [][2]string{{"GET", "/api/v1/oauth2"}, {"OPTIONS", "/api/v1/oauth2"}, {"GET", "/api/v1/unknown"}, {"OPTIONS", "/api/v1/unknown"}, {"PUT", "/api/v1/oauth2"}} {
			var header []string
			if tt.origin != "" {
				header = []string{"Origin", tt.origin}
			}
			w := call(h.public, request[0], request[1], "", header...)
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != tt.want {
				t.Errorf("%v, %q, %v: %q, want %q", tt.allowed, tt.origin, request, got, tt.want)
			}
			if request[0] == "OPTIONS" && (w.Code != http.StatusOK || w.Body.Len() > 0) {
				t.Errorf("%v: %v: %d %s", tt.allowed, request, w.Code, w.Body)
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	h := newHouse(t, func(d *openwifi.Dialect) { d.Prefix, d.PerSecond = "/wifi", 1 })
	if w := call(h.public, "POST", "/wifi/api/v1/oauth2?requirements=true", "{}"); !strings.Contains(w.Body.String(), `"/wifi/wwwassets/access_policy.html"`) {
		t.Errorf("requirements: %d %s", w.Code, w.Body)
	}
	if w := call(h.public, "POST", "/wifi/api/v1/oauth2?requirements=true", "{}"); code(w.Body) != 10 {
		t.Errorf("the limit does not hold: %d %s", w.Code, w.Body)
	}
	if w := call(h.public, "GET", "/wifi/wwwassets/nothing.html", ""); w.Code != http.StatusNotFound {
		t.Errorf("unknown file: %d", w.Code)
	}
	if w := call(h.public, "GET", "/api/v1/oauth2", ""); w.Code != http.StatusNotFound || w.Body.String() != "404 page not found\n" {
		t.Errorf("without the prefix: %d %s", w.Code, w.Body)
	}
}

// The rule that clients see is the one that holds.
func TestRequirementsFollowThePolicy(t *testing.T) {
	h := newHouse(t)
	h.Update(func(tx identity.Tx) error {
		p := identity.Policy{
			ID: "018f0000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorOptional,
			Password: identity.PasswordRule{MinLength: 14, MaxAgeDays: 90, MinScore: 2}, Lockout: identity.Lockout{Tries: 10, Window: time.Minute},
		}
		if err := tx.SavePolicy(t.Context(), p); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), h.Clock.Now())
	})
	if w := call(h.public, "POST", "/api/v1/oauth2?requirements=true", ""); !strings.Contains(w.Body.String(), ".{14,}$") {
		t.Errorf("requirements: %s", w.Body)
	}
	page := call(h.public, "GET", "/wwwassets/password_policy.html", "")
	for _, words := range []string{"at least 14 characters", "be hard to guess", "good for 90 days", "last 5"} {
		if !strings.Contains(page.Body.String(), words) {
			t.Errorf("the page does not say %q:\n%s", words, page.Body)
		}
	}
	if policy := page.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
}

func TestDocuments(t *testing.T) {
	h := newHouse(t)
	icon := call(h.public, "GET", "/favicon.ico", "")
	if icon.Code != http.StatusOK || icon.Header().Get("Content-Type") != "image/x-icon" || !bytes.HasPrefix(icon.Body.Bytes(), []byte{0, 0, 1, 0}) {
		t.Errorf("favicon: %d %v", icon.Code, icon.Header())
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	w := call(h.public, "GET", "/api/v1/openapi.json", "")
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("openapi.json: %v, version %q", err, doc.OpenAPI)
	}
	documented, served := map[string]bool{}, map[string]bool{}
	for path, item := range doc.Paths {
		for method := range item {
			if method != "parameters" {
				documented[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for _, route := range slices.Concat(h.door.Routes().Routes, h.door.ServiceRoutes().Routes) {
		// The icon, the document itself, and what is there to be refused.
		if !slices.Contains([]string{"favicon", "openapi", "unbuilt"}, route.Op) {
			served[route.Method+" "+route.Path] = true
		}
	}
	if !maps.Equal(documented, served) {
		t.Errorf("documented: %v\nserved: %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(served)))
	}
}

// A fault closes the door, and says "later": a client that reads 403 would drop a good token.
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	got := h.signedIn(t, "ines@example.com", "Harbour-42")
	if err := h.Store.Close(); err != nil {
		t.Fatal(err)
	}
	h.Stale.Store(true)
	for _, request := range [][2]string{
		{"POST", "/api/v1/oauth2"}, {"POST", "/api/v1/oauth2?grant_type=refresh_token"}, {"GET", "/api/v1/oauth2?me=true"},
		{"GET", "/api/v1/validateToken?token=" + got.Access}, {"GET", "/api/v1/systemEndpoints"}, {"DELETE", "/api/v1/oauth2/" + got.Access},
	} {
		w := call(h.public, request[0], request[1], `{"userId":"ines@example.com","password":"Harbour-42","refreshToken":"`+got.Refresh+`"}`, "Authorization", "Bearer "+got.Access)
		if w.Code != http.StatusServiceUnavailable || code(w.Body) != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", request, w.Code, w.Body)
		}
	}
}

func TestServiceKey(t *testing.T) {
	ctx := t.Context()
	store := storetest.SQLite(t)
	box := coretest.New(t, store).Box
	key := func(configured identity.Secret) string {
		t.Helper()
		got, err := openwifi.ServiceKey(ctx, store, box, configured, "https://sec.example.com:16001", coretest.SeededRand(), coretest.Start)
		if err != nil {
			t.Fatal(err)
		}
		return got.Reveal()
	}
	if got := key("chosen by the operator"); got != "chosen by the operator" {
		t.Errorf("configured: %q", got)
	}
	// The vendor's form: printf %s https://sec.example.com:16001 | sha256sum
	if got, want := key("derived"), "df089f9ea9272b59393bd43ddefc54c96245564f3425bfe67cae8354dc621eb2"; got != want {
		t.Errorf("derived: %q, want %q", got, want)
	}
	first := key("")
	if len(first) != 64 || key("") != first {
		t.Errorf("random: %q, then %q", first, key(""))
	}
	var wg sync.WaitGroup
	fresh := storetest.SQLite(t)
	keys := make(chan string, 16)
	for i := range cap(keys) {
		wg.Go(func() {
			random := bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 32))
			if got, err := openwifi.ServiceKey(ctx, fresh, box, "", "", random, coretest.Start); err == nil {
				keys <- got.Reveal()
			}
		})
	}
	wg.Wait()
	close(keys)
	distinct := map[string]bool{}
	for k := range keys {
		distinct[k] = true
	}
	if len(distinct) != 1 {
		t.Errorf("sixteen nodes that start at once have %d keys", len(distinct))
	}
	// Without a key, none fits.
	h := newHouse(t, func(d *openwifi.Dialect) { d.Key = "" })
	if w := call(h.service, "GET", "/api/v1/systemEndpoints", "", "X-API-KEY", "", "X-INTERNAL-NAME", "x"); code(w.Body) != 8 {
		t.Errorf("an empty key opens the door: %d %s", w.Code, w.Body)
	}
}

func FuzzOAuth2(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	got := h.signedIn(f, "ines@example.com", "Harbour-42")
	f.Add("", `{"userId":"ines@example.com","password":"Harbour-42"}`, "")
	f.Add("requirements=true", `{}`, "Bearer ")
	f.Add("grant_type=refresh_token", `{"refreshToken":"`+got.Refresh+`"}`, "Bearer "+got.Access)
	f.Add("completeMFAChallenge=true", `{"uuid":"c7d3f1b0-2f64-4a8e-8d7a-6f0b0e8a1c55","answer":41877}`, "")
	f.Add("resendMFACode=true", `{"uuid":1e9}`, "Basic Og==")
	f.Add("newPassword=%zz&newPassword=a", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, query, body, authorization string) {
		r := newRequest("POST", "/api/v1/oauth2", query, body)
		r.Header["Authorization"] = []string{authorization}
		before := h.lastEvent(t)
		w := serve(h.public, r)
		switch w.Code {
		case http.StatusOK, http.StatusForbidden:
		case http.StatusBadRequest:
			if h.lastEvent(t) != before {
				t.Errorf("%q %q: refused, and written all the same", query, body)
			}
		default:
			t.Errorf("%q %q: %d %s", query, body, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q %q: %s", query, body, w.Body)
		}
	})
}

func FuzzValidateToken(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	got := h.signedIn(f, "ines@example.com", "Harbour-42")
	f.Add("token="+got.Access, serviceKey, "https://gw.example.com", "")
	f.Add("token="+got.Refresh, serviceKey, "x", "")
	f.Add("token=%00&token=1", "", "", "Bearer "+got.Access)
	f.Fuzz(func(t *testing.T, query, key, name, authorization string) {
		r := newRequest("GET", "/api/v1/validateToken", query, "")
		for header, value := range map[string]string{"X-Api-Key": key, "X-Internal-Name": name, "Authorization": authorization} {
			if value != "" {
				r.Header[header] = []string{value}
			}
		}
		w := serve(h.service, r)
		switch {
		case w.Code == http.StatusOK && !(strings.Contains(query, got.Access) && (key == serviceKey || strings.Contains(authorization, got.Access))):
			t.Errorf("%q %q %q %q: %s", query, key, name, authorization, w.Body)
		case w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden && w.Code != http.StatusNotFound:
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	})
}
