package openwifi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
)

var service = []string{"X-API-KEY", serviceKey, "X-INTERNAL-NAME", "https://gw.example.com:16002"}

// Every role at every operation on the house itself (openwifi.md 1.13, 1.14, 2.8).
func TestSystemByRole(t *testing.T) {
	h := newHouse(t)
	everybody := []string{"root", "partner", "admin", "subscriber", "csr", "system", "installer", "noc", "accounting"}
	for i, own := range everybody {
		email := own + "@example.com"
		h.person(t, fmt.Sprintf("0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7b%02d", i), email, "Quiet-Sky-11", func(s *identity.Subject, c *identity.Credential) {
			role(`{"role":"`+own+`"}`)(s, c)
			s.Superadmin = own == "root"
		})
		token := h.signedIn(t, email, "Quiet-Sky-11").Access
		for _, tt := range []struct {
			method, path, body string
			may                []string
		}{
			{"GET", "system?command=info", "", everybody},
			{"POST", "system", `{"command":"getloglevels"}`, everybody},
			{"POST", "system", `{"command":"setloglevel","subsystems":[{"tag":"all","value":"debug"}]}`, everybody[:3]},
			{"POST", "system", `{"command":"reload","subsystems":["daemon"]}`, everybody[:3]},
			{"GET", "systemEndpoints", "", everybody},
			{"GET", "systemServices", "", everybody[:1]},
			{"GET", "systemSecret/0?all=true", "", everybody[:1]},
			{"GET", "systemSecret/0?dictionary=true", "", everybody[:1]},
			{"PUT", "systemSecret/maps", `{"value":"x"}`, everybody[:1]},
			{"GET", "systemSecret/maps", "", everybody[:1]},
			{"DELETE", "systemSecret/maps", "", everybody[:1]},
		} {
			for name, listener := range map[string]http.Handler{"public": h.public, "internal": h.service} {
				if tt.method == "DELETE" && name == "internal" {
					continue // it is gone
				}
				w := call(listener, tt.method, "/api/v1/"+tt.path, tt.body, "Authorization", "Bearer "+token)
				want := http.StatusOK
				if !slices.Contains(tt.may, own) {
					want = http.StatusForbidden
				}
				if w.Code != want || want == http.StatusForbidden && code(w.Body) != 7 {
					t.Errorf("%s, %s %s, %s listener: %d %s", own, tt.method, tt.path, name, w.Code, w.Body)
				}
			}
		}
	}
}

// A derived service key is for installations whose services compute each other's: theirs are told in the same form.
func TestDerivedKeysOfServices(t *testing.T) {
	h := newHouse(t, func(d *openwifi.Dialect) { d.Derived = true })
	h.world(t)
	call(h.service, "PUT", "/api/v1/systemServices", `{"type":"owprov","publicURI":"https://prov.example.com","key":"its-own-choice-0123"}`, service...)
	var list struct {
		Services []struct{ PublicURI, Token string }
	}
	w := call(h.service, "GET", "/api/v1/systemServices", "", service...)
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range list.Services {
		got[s.PublicURI] = s.Token
	}
	// printf %s https://gw.example.com:16002 | sha256sum
	if got["https://gw.example.com:16002"] != "5e28444c547b005ef672ebe139c4342d04c634963e668a934ba8f50179e2cae5" || got["https://prov.example.com"] != "its-own-choice-0123" {
		t.Errorf("%v", got)
	}
}

// Nothing that is sent to these operations is an error of ours, and what is refused leaves no row.
func FuzzSystem(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	h.person(f, "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7b00", "boss@example.com", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) { s.Superadmin = true })
	token := h.signedIn(f, "boss@example.com", "Quiet-Sky-11").Access
	f.Add("command=info", `{"command":"setloglevel","subsystems":[{"tag":"all","value":"trace"}]}`, "maps")
	f.Add("value=x", `{"command":"reload","subsystems":["daemon",null]}`, "a/b")
	f.Add("type=owprov&publicURI=https://prov", `{"type":"owprov","publicURI":"https://prov","privateURI":"http://x","key":"0123456789abcdef"}`, "0")
	f.Add("all=true&dictionary=true", `{"value":1e9,"command":{"a":1}}`, "%00")
	f.Add("value=%zz", `{"subsystems":{"tag":[]},"command":"SETLOGLEVEL","type":"\ud800"}`, strings.Repeat("k", 200))
	f.Fuzz(func(t *testing.T, query, body, key string) {
		for _, in := range []struct{ method, path string }{
			{"GET", "system"}, {"POST", "system"}, {"GET", "systemServices"}, {"PUT", "systemServices"}, {"DELETE", "systemServices"},
			{"GET", "systemSecret/k"}, {"PUT", "systemSecret/k"}, {"DELETE", "systemSecret/k"},
		} {
			r := newRequest(in.method, "/api/v1/"+in.path, query, body)
			if strings.HasSuffix(in.path, "/k") {
				r.URL.Path = "/api/v1/systemSecret/" + key
			}
			if in.path == "systemServices" {
				r.Header["X-Api-Key"], r.Header["X-Internal-Name"] = []string{serviceKey}, []string{"https://gw.example.com"}
			} else {
				r.Header["Authorization"] = []string{"Bearer " + token}
			}
			before := h.lastEvent(t)
			w := serve(h.service, r)
			switch w.Code {
			case http.StatusOK:
			case http.StatusBadRequest, http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect:
				if h.lastEvent(t) != before {
					t.Errorf("%s %s %q %q %q: refused, and written all the same", in.method, in.path, query, body, key)
				}
			default:
				t.Errorf("%s %s %q %q %q: %d %s", in.method, in.path, query, body, key, w.Code, w.Body)
			}
		}
	})
}
