package openwifi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
)

// The contract's words, written down here once more: what the code's own table says must not be what it is held against.
var (
	allRoles = strings.Fields("root partner admin subscriber csr system installer noc accounting")
	readsAll = strings.Fields("root partner admin csr system")
	// changes: whom a caller may create, change and delete (openwifi.md 1.8).
	changes = map[string][]string{
		"root":    strings.Fields("root partner admin subscriber csr system installer noc accounting"),
		"partner": strings.Fields("partner admin subscriber csr system installer noc accounting"),
		"admin":   strings.Fields("admin subscriber csr system installer noc accounting"),
	}
	rulers = strings.Fields("root partner admin")
)

// anAct is something that a caller tries with a user.
type anAct struct {
	name   string
	method string
	path   string // {id} and {email} are the user's
	body   string
	// others and self say what the contract allows a caller of one role with a user of another, and with herself.
	others func(caller, target string) bool
	self   func(caller string) bool
}

func mayChange(caller, target string) bool { return slices.Contains(changes[caller], target) }
func mayRead(caller, _ string) bool        { return slices.Contains(readsAll, caller) }
func everyone(string) bool                 { return true }
func aRuler(caller string) bool            { return slices.Contains(rulers, caller) }

var theActs = func() []anAct {
	acts := []anAct{
		{"read", "GET", "/user/{id}", "", mayRead, everyone},
		{"read by e-mail", "GET", "/user/{email}?byEmail=true", "", mayRead, everyone},
		{"list", "GET", "/users", "", mayRead, func(c string) bool { return mayRead(c, "") }},
		{"list ids", "GET", "/users?idOnly=true", "", mayRead, func(c string) bool { return mayRead(c, "") }},
		{"select", "GET", "/users?select={id}", "", mayRead, func(c string) bool { return mayRead(c, "") }},
		{"nothing", "PUT", "/user/{id}", `{}`, mayChange, everyone},
		{"name", "PUT", "/user/{id}", `{"name":"Somebody Else"}`, mayChange, everyone},
		{"description", "PUT", "/user/{id}", `{"description":"other"}`, mayChange, everyone},
		{"locale", "PUT", "/user/{id}", `{"locale":"fr"}`, mayChange, everyone},
		{"notes", "PUT", "/user/{id}", `{"notes":[{"note":"seen"}]}`, mayChange, everyone},
		{"password", "PUT", "/user/{id}", `{"currentPassword":"Another-Path-9"}`, mayChange, everyone},
		{"second factor", "PUT", "/user/{id}", `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"email"}}}`, mayChange, everyone},
		{"no second factor", "PUT", "/user/{id}", `{"userTypeProprietaryInfo":{"mfa":{"enabled":false}}}`, mayChange, everyone},
		{"reset second factors", "PUT", "/user/{id}?resetMFA=true", `{}`, mayChange, everyone},
		{"mail a link", "PUT", "/user/{id}?forgotPassword=true", `{}`, mayChange, everyone},
		{"confirm anew", "PUT", "/user/{id}?email_verification=true", `{}`, mayChange, aRuler},
		{"suspend", "PUT", "/user/{id}", `{"suspended":true}`, mayChange, aRuler},
		{"blacklist", "PUT", "/user/{id}", `{"blackListed":true}`, mayChange, aRuler},
		{"location", "PUT", "/user/{id}", `{"location":"0f6d0a52-6d0e-4a58-9a53-2f0b5f6f7c11"}`, mayChange, aRuler},
		{"owner", "PUT", "/user/{id}", `{"owner":"0f6d0a52-6d0e-4a58-9a53-2f0b5f6f7c11"}`, mayChange, aRuler},
		{"security policy", "PUT", "/user/{id}", `{"securityPolicy":"strict"}`, mayChange, aRuler},
		{"delete", "DELETE", "/user/{id}", "", mayChange, func(c string) bool { return c != "root" }},
	}
	for _, role := range allRoles {
		acts = append(acts, anAct{"make her " + role, "PUT", "/user/{id}", `{"userRole":"` + strings.ToUpper(role) + `"}`,
			func(caller, target string) bool { return mayChange(caller, target) && mayChange(caller, role) },
			func(caller string) bool { return caller == role }})
	}
	return acts
}()

// Every role tries every act with every role and with herself: the contract's answer, and nothing is changed by what is refused.
func TestEveryCellOfTheRoleTable(t *testing.T) {
	h := newHouse(t)
	h.sends()
	h.policy(t, "strict")
	h.ofRole(t, "root") // another one stays, so that no root is the last
	callers := map[string]string{}
	for _, role := range allRoles {
		callers[role] = h.signedIn(t, h.ofRole(t, role).Email, coretest.Password.Reveal()).Access
	}
	service := []string{"X-API-KEY", serviceKey, "X-INTERNAL-NAME", "https://gw.example.com:16002"}
	cells := 0
	for _, act := range theActs {
		try := func(caller, targetRole string, target identity.Subject, allowed bool, via http.Handler, headers ...string) (changed bool) {
			t.Helper()
			cells++
			path := strings.NewReplacer("{id}", string(target.ID), "{email}", target.Email).Replace(act.path)
			before, feed := h.record(t, target.ID), h.lastChange(t)
			w := call(via, act.method, "/api/v1"+path, act.body, headers...)
			after := h.record(t, target.ID)
			if allowed != (w.Code == http.StatusOK) || !allowed && (w.Code != http.StatusForbidden || code(w.Body) != 7) {
				t.Errorf("%s: %s with %s: %d %.200s; allowed: %v", act.name, caller, targetRole, w.Code, w.Body, allowed)
			}
			if !allowed && (before != after || feed != h.lastChange(t)) {
				t.Errorf("%s: %s with %s was refused and left a trace:\n%s\n%s", act.name, caller, targetRole, before, after)
			}
			return before != after
		}
		for _, targetRole := range allRoles {
			target := h.ofRole(t, targetRole)
			for _, caller := range allRoles {
				if try(caller, targetRole, target, act.others(caller, targetRole), h.public, "Authorization", "Bearer "+callers[caller]) {
					target = h.ofRole(t, targetRole)
				}
			}
			if act.method == "GET" {
				try("a service", targetRole, target, true, h.service, service...)
			}
		}
		for _, caller := range allRoles {
			herself := h.ofRole(t, caller)
			token := h.signedIn(t, herself.Email, coretest.Password.Reveal()).Access
			try(caller, "herself", herself, act.self(caller), h.public, "Authorization", "Bearer "+token)
		}
	}
	for _, role := range allRoles { // creation has no target yet
		for _, caller := range allRoles {
			email := fmt.Sprintf("new-%s-%s@example.com", role, caller)
			feed := h.lastChange(t)
			w := call(h.public, "POST", "/api/v1/user/0", fmt.Sprintf(`{"email":%q,"userRole":%q}`, email, role), "Authorization", "Bearer "+callers[caller])
			allowed := mayChange(caller, role)
			if allowed != (w.Code == http.StatusOK) || !allowed && (w.Code != http.StatusForbidden || code(w.Body) != 7 || feed != h.lastChange(t)) {
				t.Errorf("%s creates %s: %d %.200s; allowed: %v", caller, role, w.Code, w.Body, allowed)
			}
			cells++
		}
	}
	// Nobody who may not look at others learns who is there.
	for _, caller := range allRoles {
		for _, path := range []string{"/user/" + nobody, "/user/who@example.com?byEmail=true"} {
			want := http.StatusForbidden
			if mayRead(caller, "") {
				want = http.StatusNotFound
			}
			if w := call(h.public, "GET", "/api/v1"+path, "", "Authorization", "Bearer "+callers[caller]); w.Code != want {
				t.Errorf("%s asks for nobody: %d %s, want %d", caller, w.Code, w.Body, want)
			}
		}
	}
	if want := len(theActs)*(81+9) + 5*9 + 81; cells != want {
		t.Errorf("%d cells tried, want %d", cells, want)
	}
}

// sends gives the house what mails and messages: one number is proven, and Ines has set up an authenticator.
func (h *house) sends() {
	people := h.door.Staff
	people.Offers = func(identity.CredentialKind) bool { return true }
	people.Proven = func(_ context.Context, _ identity.Reader, _ identity.SubjectID, number string) (bool, error) {
		return number == "+15145550100", nil // as numbers are kept
	}
	people.EnrolApp = func(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID) (bool, error) {
		if id != ines {
			return false, nil
		}
		return true, people.Manage.EnrolTOTPIn(ctx, tx, caller, id, coretest.Secret)
	}
}

// ofRole makes somebody new of a role.
func (h *house) ofRole(t testing.TB, word string) identity.Subject {
	t.Helper()
	return h.Person(func(s *identity.Subject, _ *identity.Credential) {
		s.Superadmin = word == "root"
		s.Attributes = identity.Attributes{openwifi.Door: []byte(`{"role":"` + word + `"}`)}
	})
}

func (h *house) policy(t testing.TB, key string) {
	t.Helper()
	if _, err := h.door.Staff.Manage.SavePolicy(t.Context(), identity.Caller{Door: "cli"}, identity.Policy{Key: key}); err != nil {
		t.Fatal(err)
	}
}

// record is all that is stored of somebody, as text.
func (h *house) record(t testing.TB, id identity.SubjectID) string {
	t.Helper()
	var all [3]any
	h.View(func(r identity.Reader) error {
		s, err := r.SubjectsByID(t.Context(), []identity.SubjectID{id})
		if err != nil {
			return err
		}
		for i := range s {
			s[i].LastSignInAt = coretest.Start
		}
		c, err := r.Credentials(t.Context(), id)
		if err != nil {
			return err
		}
		sessions, err := r.SessionsOf(t.Context(), id)
		all = [3]any{s, c, len(sessions)}
		return err
	})
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (h *house) lastChange(t testing.TB) (seq int64) {
	t.Helper()
	if err := h.Store.View(t.Context(), func(r identity.Reader) (err error) {
		seq, err = r.LastChange(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return seq
}

// change is one PUT that must succeed.
func (h *house) change(t testing.TB, token string, id identity.SubjectID, body string) {
	t.Helper()
	if w := call(h.public, "PUT", "/api/v1/user/"+string(id), body, "Authorization", "Bearer "+token); w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", body, w.Code, w.Body)
	}
}

func (h *house) good(token string) bool {
	return call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+token).Code == http.StatusOK
}

// What takes a right away ends the sessions that rest on it; the session that makes the call stays where it is her own.
func TestUserChangesEndSessions(t *testing.T) {
	mfaOn, mfaOff := `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"email"}}}`, `{"userTypeProprietaryInfo":{"mfa":{"enabled":false}}}`
	tests := []struct {
		body  string
		own   bool // she does it herself
		first string
		ends  bool // her other sessions
	}{
		{`{"suspended":true}`, false, "", true},
		{`{"blackListed":"true"}`, false, "", true},
		{`{"currentPassword":"Another-Path-9"}`, false, "", true},
		{`{"currentPassword":"Another-Path-9"}`, true, "", true},
		{mfaOff, false, mfaOn, true},
		{mfaOff, true, mfaOn, true},
		{mfaOff, true, "", false},
		{mfaOn, true, "", false},
		{`{"name":"Other","notes":[{"note":"x"}]}`, false, "", false},
		{`{"userRole":"noc"}`, false, "", false},
	}
	h := newHouse(t)
	h.world(t)
	h.sends()
	admin := h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access
	for _, tt := range tests {
		her := h.ofRole(t, "csr")
		calling, other := h.signedIn(t, her.Email, coretest.Password.Reveal()).Access, h.signedIn(t, her.Email, coretest.Password.Reveal()).Access
		if tt.first != "" {
			h.change(t, admin, her.ID, tt.first)
		}
		if tt.own {
			h.change(t, calling, her.ID, tt.body)
		} else {
			h.change(t, admin, her.ID, tt.body)
		}
		if h.good(other) == tt.ends {
			t.Errorf("%s: another session is good: %v", tt.body, tt.ends)
		}
		if h.good(calling) != (tt.own || !tt.ends) {
			t.Errorf("%s by herself %v: the calling session is good: %v", tt.body, tt.own, h.good(calling))
		}
	}
}

// What nobody may set is not set, whoever sends it.
func TestMassAssignment(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	everything := `{"id":"` + nobody + `","Id":"` + nobody + `","created":1,"creationDate":1,"modified":1,"validated":true,"validationDate":1,"lastLogin":1,
		"lastPasswordChange":1,"lastEmailCheck":1,"waitingForEmailCheck":false,"lastPasswords":["x"],"avatar":"9","email":"%s","oauthType":"gmail",
		"signingUp":"x","superadmin":true,"kind":"customer","securityPolicyChange":5,"currentLoginURI":"x","validationURI":"x","validationEmail":"x",
		"aclTemplate":{"Delete":true},"userTypeProprietaryInfo":{"authenticatorSecret":"GEZDGNBVGY3TQOJQ","mobiles":[{"number":"+15145550100","verified":true}]}%s}`
	token := h.signedIn(t, h.ofRole(t, "csr").Email, coretest.Password.Reveal()).Access
	me := func() string {
		return call(h.public, "GET", "/api/v1/oauth2?me=true", "", "Authorization", "Bearer "+token).Body.String()
	}
	var who struct{ ID identity.SubjectID }
	before := me()
	if err := json.Unmarshal([]byte(before), &who); err != nil {
		t.Fatal(err)
	}
	h.change(t, token, who.ID, fmt.Sprintf(everything, "other@example.com", `,"changePassword":true,"oauthUserInfo":"x"`))
	if after := me(); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
	chiefly := h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access
	w := call(h.public, "POST", "/api/v1/user/0", fmt.Sprintf(everything, "made@example.com", ""), "Authorization", "Bearer "+chiefly)
	for _, want := range []string{`"validated":false`, `"created":1767225600`, `"avatar":""`, `"lastLogin":0`, `"userRole":"subscriber"`, `"mobiles":[]`, `"enabled":false`, `"signingUp":""`, `"oauthType":""`} {
		if !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), nobody) {
			t.Errorf("made as %s, want %s", w.Body, want)
		}
	}
	// Nothing is kept that says nothing: an export of it, applied, would change it.
	if s, err := h.user(t, "made@example.com"); err != nil || string(s.Attributes[openwifi.Door]) != `{"role":"subscriber"}` {
		t.Errorf("kept %s, %v", s.Attributes[openwifi.Door], err)
	}
}

func (h *house) user(t testing.TB, email string) (s identity.Subject, err error) {
	t.Helper()
	err = h.Store.View(t.Context(), func(r identity.Reader) (err error) {
		s, err = r.SubjectByLogin(t.Context(), email)
		return err
	})
	return s, err
}

// Customers are another population, but for their logins: nobody has an address twice.
func TestCustomersAreNoUsers(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	customer := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.Kind = identity.Customer })
	bearer := []string{"Authorization", "Bearer " + h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access}
	for _, in := range []struct{ method, path, body string }{
		{"GET", "/user/" + string(customer.ID), ""}, {"GET", "/user/" + customer.Email + "?byEmail=true", ""}, {"PUT", "/user/" + string(customer.ID), "{}"},
		{"DELETE", "/user/" + string(customer.ID), ""},
	} {
		if w := call(h.public, in.method, "/api/v1"+in.path, in.body, bearer...); w.Code != http.StatusNotFound {
			t.Errorf("%s %s: %d %s", in.method, in.path, w.Code, w.Body)
		}
	}
	for _, query := range []string{"", "?select=" + string(customer.ID), "?emailSearch=" + customer.Email} {
		if w := call(h.public, "GET", "/api/v1/users"+query, "", bearer...); strings.Contains(w.Body.String(), string(customer.ID)) {
			t.Errorf("%s: %s", query, w.Body)
		}
	}
	if w := call(h.public, "POST", "/api/v1/user/0", fmt.Sprintf(`{"email":%q}`, strings.ToUpper(customer.Email)), bearer...); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "1061") {
		t.Errorf("her address again: %d %s", w.Code, w.Body)
	}
}

func TestHostileLists(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	bearer := []string{"Authorization", "Bearer " + h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access}
	for query, want := range map[string]int{
		"select=" + strings.Repeat(ines+",", 9_999) + ines: 400,
		"select=" + strings.Repeat(",", 999):               200,
		"select=' OR 1=1 --":                               200,
		"nameSearch=" + strings.Repeat("%25", 60_000):      200,
		"nameSearch=' OR '1'='1":                           200,
		"emailSearch=%25_%25":                              200,
		"nameSearch=%00":                                   400,
		"nameSearch=%ff":                                   400,
		"nameSearch=a&nameSearch=b":                        400,
		"offset=99999999999999999999999":                   200,
		"limit=99999999999999999999999":                    400,
		"offset=9223372036854775807&idOnly=true":           200,
	} {
		w := serve(h.public, func() *http.Request {
			r := newRequest("GET", "/api/v1/users", strings.ReplaceAll(strings.ReplaceAll(query, " ", "+"), "'", "%27"), "")
			r.Header.Set(bearer[0], bearer[1])
			return r
		}())
		if w.Code != want || w.Code == http.StatusOK && w.Body.String() != "{\"users\":[]}" && w.Body.String() != "{\"users\":[]}\n" {
			t.Errorf("%.80s: %d %.200s", query, w.Code, w.Body)
		}
	}
}

// A role counts as it is when the change is made, not as the token found it.
func TestDemotedAdminActsNoMore(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	admin := h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access
	h.Update(func(tx identity.Tx) error { // not announced: the token's copy of her still says admin
		s, err := tx.Subject(t.Context(), chief)
		if err != nil {
			return err
		}
		s.Attributes = identity.Attributes{openwifi.Door: []byte(`{"role":"csr"}`)}
		return tx.UpdateSubject(t.Context(), s)
	})
	w := call(h.public, "DELETE", "/api/v1/user/"+nobody, "", "Authorization", "Bearer "+admin)
	if w.Code != http.StatusForbidden || code(w.Body) != 7 {
		t.Errorf("she deletes: %d %s", w.Code, w.Body)
	}
}

// Notes are added until there is no room, and those there are stay.
func TestNotesAreBounded(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	admin := h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access
	body := `{"notes":[{"note":"` + strings.Repeat("n", 3900) + `"}]}`
	status := 0
	for range 20 {
		if status = call(h.public, "PUT", "/api/v1/user/"+nobody, body, "Authorization", "Bearer "+admin).Code; status != http.StatusOK {
			break
		}
	}
	if status != http.StatusBadRequest {
		t.Errorf("the last one: %d", status)
	}
	h.change(t, admin, nobody, `{"name":"Still to be changed"}`)
	s, err := h.user(t, "plain@example.com")
	if err != nil || strings.Count(string(s.Attributes[openwifi.Door]), "nnn") == 0 {
		t.Errorf("%v, %.200s", err, s.Attributes[openwifi.Door])
	}
}

// The security policy's demand for a second factor is not hers to lift, nor is what it allows.
func TestPolicyBindsHerOwnFactors(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.sends()
	if _, err := h.door.Staff.Manage.SavePolicy(t.Context(), identity.Caller{Door: "cli"}, identity.Policy{
		Key: "strict", SecondFactor: identity.FactorNeeded, Factors: []identity.CredentialKind{identity.EmailCode},
	}); err != nil {
		t.Fatal(err)
	}
	admin := h.signedIn(t, "chief@example.com", "Quiet-Sky-11").Access
	her := h.ofRole(t, "csr")
	token := h.signedIn(t, her.Email, coretest.Password.Reveal()).Access
	h.change(t, admin, her.ID, `{"securityPolicy":"strict"}`)
	put := func(token, query, body string) int {
		return call(h.public, "PUT", "/api/v1/user/"+string(her.ID)+query, body, "Authorization", "Bearer "+token).Code
	}
	if got := put(token, "", `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"sms"},"mobiles":[{"number":"+15145550100"}]}}`); got != http.StatusBadRequest {
		t.Errorf("a method that the policy does not allow: %d", got)
	}
	if got := put(token, "", `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"EMAIL"}}}`); got != http.StatusOK {
		t.Errorf("one that it allows: %d", got)
	}
	for _, way := range [][2]string{{"", `{"userTypeProprietaryInfo":{"mfa":{"enabled":false}}}`}, {"?resetMFA=true", `{}`}} {
		if got := put(token, way[0], way[1]); got != http.StatusForbidden {
			t.Errorf("off, by herself: %d", got)
		}
	}
	if got := put(token, "", `{"securityPolicy":""}`); got != http.StatusForbidden {
		t.Errorf("the policy off, by herself: %d", got)
	}
	if got := put(admin, "?resetMFA=true", `{}`); got != http.StatusOK {
		t.Errorf("reset by an administrator: %d", got)
	}
}

// What is switched on is asked for at the next sign-in.
func TestSwitchedOnFactorIsAskedFor(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.sends()
	h.SMS.Rand, h.Email.Rand = always{}, always{}
	for method, more := range map[string]string{"email": "", "sms": `,"mobiles":[{"number":"+1 514-555-0100"}]`} {
		her := h.ofRole(t, "csr")
		token := h.signedIn(t, her.Email, coretest.Password.Reveal()).Access
		h.change(t, token, her.ID, fmt.Sprintf(`{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":%q}%s}}`, method, more))
		w := call(h.public, "POST", "/api/v1/oauth2", fmt.Sprintf(`{"userId":%q,"password":%q}`, her.Email, coretest.Password.Reveal()))
		var asked struct{ UUID, Method string }
		if err := json.Unmarshal(w.Body.Bytes(), &asked); err != nil || asked.Method != method {
			t.Fatalf("%s: %d %s", method, w.Code, w.Body)
		}
		w = call(h.public, "POST", "/api/v1/oauth2?completeMFAChallenge=true", fmt.Sprintf(`{"uuid":%q,"answer":"041877"}`, asked.UUID))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "access_token") {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

func FuzzUser(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	h.sends()
	token := h.signedIn(f, "chief@example.com", "Quiet-Sky-11").Access
	f.Add("POST", "0", "email_verification=true", `{"email":"a@b","notes":[{"note":1}],"suspended":"true"}`)
	f.Add("PUT", nobody, "", `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"sms"},"mobiles":[{"number":15145550100}]},"userRole":"CSR"}`)
	f.Add("PUT", nobody, "forgotPassword=true", `{"notes":[null],"owner":7}`)
	f.Add("GET", "x@y", "byEmail=true", "")
	f.Fuzz(func(t *testing.T, method, id, query, body string) {
		if method != "POST" && method != "PUT" {
			method = "GET"
		}
		r := newRequest(method, "/", query, body)
		r.URL.Path = "/api/v1/user/" + id
		r.Header.Set("Authorization", "Bearer "+token)
		before, feed := h.lastEvent(t), h.lastChange(t)
		w := serve(h.public, r)
		switch w.Code {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
			if h.lastEvent(t) != before || h.lastChange(t) != feed {
				t.Errorf("%s %q %q %q: refused, and written all the same", method, id, query, body)
			}
		default:
			t.Errorf("%s %q %q %q: %d %s", method, id, query, body, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q %q %q: %s", method, id, query, body, w.Body)
		}
	})
}
