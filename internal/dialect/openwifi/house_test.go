package openwifi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/enrol"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/message"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/core/system"
	"gatehouse/internal/deliver"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
	"gatehouse/internal/picture"
	"gatehouse/internal/store/storetest"
)

// house is the core with this door alone, and the people of the contract's examples.
type house struct {
	*coretest.Core
	door    *openwifi.Dialect
	outbox  *deliver.Outbox
	people  *manage.Service
	public  http.Handler
	service http.Handler
}

const serviceKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// bootstrap is the well-known default of the vendor's installations (openwifi.md 1.5).
const bootstrap = "13268b7daa751240369d125e79c873bd8dd3bef7981bdfd38ea03dbb1fbe7dcf"

func newHouse(t testing.TB, change ...func(*openwifi.Dialect)) *house {
	t.Helper()
	c := coretest.New(t, storetest.Fresh(t))
	cfg := config.Default()
	c.Sessions.Rules[openwifi.Door], c.Sessions.Rules[openwifi.SubscriberDoor] = openwifi.Rules(cfg.OpenWiFi), openwifi.SubscriberRules(cfg.OpenWiFi)
	c.Passwords.DoorRule = map[identity.Door]identity.PasswordRule{
		openwifi.Door: openwifi.PasswordRule, openwifi.SubscriberDoor: openwifi.PasswordRule,
	}
	c.Passwords.Rand = c.SignIn.Rand // ids of one kind come from one source, or two would be equal
	people := &manage.Service{
		Store: c.Store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.Passwords.Log, Box: c.Box,
		Pictures: picture.New(picture.Options{}), Now: c.Clock.Now, Rand: c.SignIn.Rand,
	}
	outbox := &deliver.Outbox{Store: c.Store, Box: c.Box, Templates: deliver.BuiltIn(), Bounds: deliver.DefaultSMSBounds, Now: c.Clock.Now, Rand: c.SignIn.Rand}
	profiles := &profile.Service{Store: c.Store, Policies: c.Policies, Now: c.Clock.Now}
	links := &recovery.Service{
		Store: c.Store, Passwords: c.Passwords, Manage: people, Links: c.Links, Mailer: outbox, Log: c.Passwords.Log, Now: c.Clock.Now, Rand: c.SignIn.Rand,
	}
	operators := &staff.Service{
		Store: c.Store, Manage: people, Profiles: profiles, Passwords: c.Passwords, Recovery: links, Words: openwifi.Words, Now: c.Clock.Now,
	}
	c.Store.OnCommit(operators.Changed)
	h := &house{Core: c, outbox: outbox, people: people, door: &openwifi.Dialect{
		Issuer: "https://sec.example.com", Origins: []string{"*"}, Key: serviceKey, SignIn: c.SignIn, Sessions: c.Sessions, Now: c.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Phones: &phone.Service{
			Open: true, Store: c.Store, Box: c.Box, Outbox: c.Outbox, Log: c.Passwords.Log, Now: c.Clock.Now, Rand: always{},
		},
		Profiles: profiles, Recovery: links, Manage: people, Staff: operators,
		Messages: &message.Service{Store: c.Store, Staff: operators, Log: c.Passwords.Log, Mails: true, Texts: true, Now: c.Clock.Now, Outbox: outbox},
		UI:       "https://ui.example.com",
		System: &system.Service{
			Store: c.Store, Log: &audit.Log{Now: c.Clock.Now, Rand: coretest.SeededRand()}, Box: c.Box, Staff: operators, Outbox: outbox, Now: c.Clock.Now,
			Levels:  logs.NewLevels(logs.Information),
			Reloads: map[logs.Subsystem]func(context.Context) error{logs.Keys: func(context.Context) error { return nil }},
			Process: system.Process{
				Version: "1.0.0", StartedAt: coretest.Start.Add(-24 * time.Hour), OS: "Linux", Processors: 4, Hostname: "sec-1",
				Certificates: func() []system.Certificate {
					return []system.Certificate{{File: "sec.pem", ExpiresAt: time.Unix(1893456000, 0)}}
				},
				Resources: func() system.Resources {
					return system.Resources{Files: 42, Resident: 51200 << 10, PeakResident: 60416 << 10, AddressSpace: 1228800 << 10, PeakAddresses: 1259520 << 10}
				},
			},
		},
		SignUp: &signup.Service{
			Store: c.Store, Manage: people, Passwords: c.Passwords, Sessions: c.Sessions, Recovery: links, Log: c.Passwords.Log, Now: c.Clock.Now,
		},
	}}
	log, random := c.SignIn.Log, c.SignIn.Rand
	h.door.TOTPIssuer = cfg.OpenWiFi.TOTPIssuer
	h.door.Enrol = &enrol.Service{Store: c.Store, Manage: h.door.Manage, Profiles: h.door.Profiles, Log: log, Box: c.Box, Now: c.Clock.Now, Rand: sameSecret{}}
	h.door.APIKeys = &apikey.Service{Store: c.Store, Log: log, Policies: c.Policies, Limits: apikey.Limits{Failures: 100, Window: 15 * time.Minute}, Now: c.Clock.Now, Rand: random}
	operators.EnrolApp = h.door.Enrol.EnrolFinishedIn
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
	texted = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a06"
	mailed = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a07"
	leaves = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a08"
	ruler  = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a10"
	sue    = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a09" // a subscriber
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
	h.WithTarget(h.person(t, texted, "texted@example.com", "Quiet-Sky-11", nil), identity.SMSCode, "+15145550100")
	h.WithTarget(identity.Subject{ID: texted}, identity.EmailCode, "texted@example.com")
	h.WithTarget(h.person(t, mailed, "mailed@example.com", "Quiet-Sky-11", nil), identity.EmailCode, "mailed@example.com")
	h.person(t, leaves, "leaves@example.com", "Quiet-Sky-11", nil)
	h.person(t, sue, "sue@example.net", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) { s.Kind = identity.Customer })
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

// sameSecret makes every secret of an authenticator the one that coretest has codes of, which repeats after ten bytes.
type sameSecret struct{}

func (sameSecret) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "1234567890"[i%10]
	}
	return len(p), nil
}

// codeIn is what an authenticator with that secret will show.
func (h *house) codeIn(t testing.TB, wait time.Duration) string {
	t.Helper()
	code, err := totp.Code(coretest.Secret, h.Clock.Now().Add(wait))
	if err != nil {
		t.Fatal(err)
	}
	return code
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

// reset asks for a link to a new password, at the half of the door where the login is known, and gives its id.
func (h *house) reset(t testing.TB, login string) string {
	t.Helper()
	path := "/api/v1/oauth2"
	if strings.HasSuffix(login, ".net") {
		path = "/api/v1/suboauth2"
	}
	if w := call(h.public, http.MethodPost, path+"?forgotPassword=true", `{"userId":"`+login+`"}`); w.Code != http.StatusOK {
		t.Fatalf("forgotPassword: %d %s", w.Code, w.Body)
	}
	return h.mailed(t, "password_reset", login)
}

// signUp signs a subscriber up, and gives the link's id.
func (h *house) signUp(t testing.TB, email string) string {
	t.Helper()
	if w := call(h.public, http.MethodPost, signUp+"&email="+email, ""); w.Code != http.StatusOK {
		t.Fatalf("sign-up: %d %s", w.Code, w.Body)
	}
	return h.mailed(t, "signup_verification", email)
}

// signUp is all of a sign-up but the address.
const signUp = "/api/v1/signup?signupUUID=7c0d0a0e-3c55-4a4e-9a0b-2d6f1d1c7e01&owner=7c0d0a0e-3c55-4a4e-9a0b-2d6f1d1c7e02&operatorName=Harbour+Net"

// verification has somebody confirm her address, and gives the link's id.
func (h *house) verification(t testing.TB, id identity.SubjectID) string {
	t.Helper()
	subject, err := h.door.Recovery.StartVerification(t.Context(), identity.Caller{Door: openwifi.Door}, id, recovery.Link{
		TTL: 24 * time.Hour, Form: link.UUID, Address: func(s identity.Secret) string {
			return "https://sec.example.com/api/v1/actionLink?action=email_verification&id=" + s.Reveal()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.mailed(t, "email_verification", subject.Email)
}

// mailed gives the id of the link of an action that somebody was sent.
func (h *house) mailed(t testing.TB, action, to string) string {
	t.Helper()
	list, err := h.outbox.List(t.Context(), "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Recipient != to {
			continue
		}
		_, c, err := h.outbox.Show(t.Context(), m.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, found := strings.Cut(c.Text, "https://sec.example.com/api/v1/actionLink?action="+action+"&id="); found {
			return strings.Fields(after)[0]
		}
	}
	t.Fatalf("no link of %s went to %s", action, to)
	return ""
}
