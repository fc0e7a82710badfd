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
func noOne(string) bool                    { return false }
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
	h.door.Staff.Offers = func(identity.CredentialKind) bool { return true }
	mailed := func(context.Context, identity.Tx, identity.Caller, identity.Subject) error { return nil }
	h.door.Staff.MailCheck, h.door.Staff.MailReset = mailed, mailed
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
	h.View(func(r identity.Reader) (err error) {
		seq, err = r.LastChange(t.Context())
		return err
	})
	return seq
}
