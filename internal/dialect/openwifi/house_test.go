package openwifi_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/message"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/deliver"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// house is the core with this door alone, and the people of the contract's examples.
type house struct {
	*coretest.Core
	door    *openwifi.Dialect
	public  http.Handler
	service http.Handler
}

const serviceKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// bootstrap is the well-known default of the vendor's installations (openwifi.md 1.5).
const bootstrap = "13268b7daa751240369d125e79c873bd8dd3bef7981bdfd38ea03dbb1fbe7dcf"

func newHouse(t testing.TB, change ...func(*openwifi.Dialect)) *house {
	t.Helper()
	c := coretest.New(t, storetest.SQLite(t))
	cfg := config.Default()
	c.Sessions.Rules[openwifi.Door] = openwifi.Rules(cfg.OpenWiFi)
	c.Passwords.DoorRule = map[identity.Door]identity.PasswordRule{openwifi.Door: openwifi.PasswordRule}
	c.Passwords.Rand = c.SignIn.Rand // ids of one kind come from one source, or two would be equal
	people := &staff.Service{
		Store: c.Store, Passwords: c.Passwords, Words: openwifi.Words, Now: c.Clock.Now,
		Manage:   &manage.Service{Store: c.Store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.Passwords.Log, Box: c.Box, Now: c.Clock.Now, Rand: c.SignIn.Rand},
		Profiles: &profile.Service{Store: c.Store, Policies: c.Policies, Now: c.Clock.Now},
	}
	c.Store.OnCommit(people.Changed)
	h := &house{Core: c, door: &openwifi.Dialect{
		Origins: []string{"*"}, Key: serviceKey, SignIn: c.SignIn, Sessions: c.Sessions, Now: c.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Profiles: people.Profiles, Staff: people,
		Messages: &message.Service{
			Store: c.Store, Staff: people, Log: c.Passwords.Log, Mails: true, Now: c.Clock.Now,
			Outbox: &deliver.Outbox{Store: c.Store, Box: c.Box, Templates: deliver.BuiltIn(), Now: c.Clock.Now, Rand: c.SignIn.Rand},
		},
	}}
	for _, f := range change {
		f(h.door)
	}
	h.public, h.service = h.mount(h.door.Routes()), h.mount(h.door.ServiceRoutes())
	return h
}

func (h *house) mount(door httpkit.Door) http.Handler {
	o := &httpkit.Observer{
		Log: h.door.Log, Now: h.Clock.Now, Broken: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	}
	return o.Observe(httpkit.NewRouter([]httpkit.Door{door}, http.NotFoundHandler()))
}

// person makes somebody with a password of this door's kind.
func (h *house) person(t testing.TB, id, email, pw string, change func(*identity.Subject, *identity.Credential)) identity.Subject {
	t.Helper()
	hash, err := h.Passwords.Hasher.Hash(t.Context(), identity.Secret(pw))
	if err != nil {
		t.Fatal(err)
	}
	return h.Person(func(s *identity.Subject, c *identity.Credential) {
		s.ID, s.Email, c.SubjectID, c.Hash = identity.SubjectID(id), email, identity.SubjectID(id), hash
		if change != nil {
			change(s, c)
		}
	})
}

func role(json string) func(*identity.Subject, *identity.Credential) {
	return func(s *identity.Subject, _ *identity.Credential) {
		s.Attributes = identity.Attributes{openwifi.Door: []byte(json)}
	}
}

const (
	ines   = "5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10"
	tip    = "11111111-0000-0000-6666-999999999999"
	noor   = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a01"
	gone   = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a02"
	waits  = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a03"
	chief  = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a04"
	nobody = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a05"
)

// world puts the people and services of the stories there.
func (h *house) world(t testing.TB) {
	t.Helper()
	h.person(t, ines, "ines@example.com", "Harbour-42", func(s *identity.Subject, c *identity.Credential) {
		role(`{"role":"csr","avatar":"1719820800","notes":[{"created":1719810500,"createdBy":"root@example.com","note":"joined in July"}]}`)(s, c)
		s.Name, s.Locale = "Ines Roy", "en"
	})
	encoded, err := password.EncodeOpenWiFi(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	h.person(t, tip, "tip@ucentral.com", "x", func(s *identity.Subject, c *identity.Credential) {
		s.Name, s.Superadmin, c.Hash, c.MustChange = "Default User", true, encoded, true
	})
	h.WithTOTP(h.person(t, noor, "noor@example.com", "Quiet-Sky-11", role(`{"role":"installer"}`)))
	h.person(t, gone, "gone@example.com", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) { s.SuspendedAt = coretest.Start })
	h.person(t, waits, "waits@example.com", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) {
		s.MustVerify, s.VerifiedAt = true, time.Time{}
	})
	h.person(t, chief, "chief@example.com", "Quiet-Sky-11", role(`{"role":"admin"}`))
	h.person(t, nobody, "plain@example.com", "Quiet-Sky-11", nil)
	h.Update(func(tx identity.Tx) error {
		for _, s := range []identity.Service{
			{Type: "owsec", PublicURI: "https://sec.example.com:16001"},
			{Type: "owgw", PublicURI: "https://gw.example.com:16002", PrivateURI: "https://gw.internal:17002"},
			{Type: "OWFMS", PublicURI: "https://fms.example.com:16004/api/v1/"},
		} {
			s.UpdatedAt = coretest.Start
			if err := tx.SaveService(t.Context(), &s); err != nil {
				return err
			}
		}
		return nil
	})
}

// call is one request; headers come in pairs.
func call(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(h, r)
}

// newRequest is one whose query may be anything.
func newRequest(method, path, query, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.URL.RawQuery = query
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
