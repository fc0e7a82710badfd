package nx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// Everybody's password, and ids that the recorded exchanges show.
const (
	passphrase = "correct horse battery staple"
	adaID      = "01a0a000-0000-7000-8000-00000000ada0"
	bobID      = "01a0a000-0000-7000-8000-00000000b0b0"
	eveID      = "01a0a000-0000-7000-8000-00000000e7e0"
	rootID     = "01a0a000-0000-7000-8000-000000000007"
	zoeID      = "01a0a000-0000-7000-8000-0000000020e0"
	acmeID     = "01a0b000-0000-7000-8000-00000000acc0"
	otherID    = "01a0b000-0000-7000-8000-0000000074e0"
	sharedKey  = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP" // of fay's second factor
	portal     = "https://portal.example.test/back"
	other      = "https://other.example.test/back?a=1"
	page       = "https://id.example.test/auth/nx/authorize"
	harbour    = "8d1c9d0a-53f4-4bb8-8a15-0c3f6b7e2d41"
	vault      = "3f0b9a52-6d0e-4a8f-9d5e-1f1f7c7d9b10" // wants a second factor
	mill       = "5b1d7c1e-3a55-4c55-8b1e-2f0d9a1c7e33" // eve's
)

// house is a whole house with the people that these tests know.
type house struct {
	*apptest.House
	handler http.Handler
	log     *bytes.Buffer // of the door, not of the requests
	broken  error         // what the check of the database says
}

func newHouse(t testing.TB, configure ...func(*config.Config)) *house {
	t.Helper()
	return newHouseWith(t, apptest.Options{}, configure...)
}

func newHouseWith(t testing.TB, o apptest.Options, configure ...func(*config.Config)) *house {
	t.Helper()
	h := &house{log: &bytes.Buffer{}}
	o.Configure = func(c *config.Config) {
		c.Issuer = "https://id.example.test"
		c.Nx.RedirectURLs = []string{portal, other}
		for _, f := range configure {
			f(c)
		}
	}
	h.House = apptest.New(t, o)
	h.Doors.Nx.Log = slog.New(slog.NewTextHandler(h.log, nil))
	h.Doors.Nx.Services["Database"] = func(ctx context.Context) error { return errors.Join(h.broken, h.Store.Ping(ctx)) }
	h.Doors.Nx.Services["Mail"] = func(context.Context) error { return nil }
	h.handler = h.House.House.Handler()
	h.populate(t)
	return h
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// populate brings ada and bob of ACME, eve of another company, root who rules all, zoe who belongs nowhere, and people who may
// not sign in with a password alone.
func (h *house) populate(t testing.TB) {
	t.Helper()
	ctx, op := t.Context(), identity.Caller{Door: "cli"}
	for id, name := range map[identity.OrganisationID]string{acmeID: "ACME", otherID: "Other Works"} {
		systems := `{"systems":[{"id":"` + harbour + `","name":"Harbour VMS","version":"6.0.1.39873"},{"id":"{` + vault + `}","name":"Vault","status":"notActivated","second_factor":true}]}`
		if id == otherID {
			systems = `{"systems":[{"id":"` + mill + `","name":"Mill"}]}`
		}
		must[identity.Organisation](t)(h.Manage.CreateOrganisation(ctx, op, manage.NewOrganisation{
			ID: id, Key: strings.ToLower(name[:4]), Name: name, Attributes: identity.Attributes{"nx": []byte(systems)},
		}))
	}
	hash := must[string](t)(h.Passwords.Hasher.Hash(ctx, passphrase))
	people := []struct {
		in  manage.NewSubject
		org identity.OrganisationID
	}{
		{manage.NewSubject{ID: adaID, Email: "ada@example.test", Name: "Ada Lovelace"}, acmeID},
		{manage.NewSubject{ID: bobID, Email: "bob@example.test", Name: "Bob Builder"}, acmeID},
		{manage.NewSubject{ID: eveID, Email: "eve@other.test", Name: "Eve"}, otherID},
		{manage.NewSubject{ID: rootID, Email: "root@example.test", Name: "Root", Superadmin: true}, ""},
		{manage.NewSubject{ID: zoeID, Email: "zoe@alone.test", Name: "Zoe"}, ""},
		{manage.NewSubject{Email: "suspended@example.test", Name: "Sam", Suspended: true}, acmeID},
		{manage.NewSubject{Email: "unverified@example.test", Name: "Una", MustVerify: true}, acmeID},
		{manage.NewSubject{Email: "due@example.test", Name: "Dee", MustChange: true}, acmeID},
		{manage.NewSubject{Email: "factor@example.test", Name: "Fay"}, acmeID},
	}
	for _, p := range people {
		p.in.PasswordHash, p.in.Verified = hash, !p.in.MustVerify
		s := must[identity.Subject](t)(h.Manage.Create(ctx, op, p.in))
		if p.org != "" {
			must[identity.Membership](t)(h.Manage.SaveMembership(ctx, op, identity.Membership{SubjectID: s.ID, OrganisationID: p.org}))
		}
		if p.in.Name == "Fay" {
			if err := h.Manage.EnrolTOTP(ctx, op, s.ID, sharedKey); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is licensed, for the tests that are about it.
const (
	trialID   = "01a0d000-0000-7000-8000-000000000001"
	proID     = "01a0d000-0000-7000-8000-000000000002"
	boxID     = "01a0e000-0000-7000-8000-000000000001"
	spareID   = "01a0e000-0000-7000-8000-000000000002"
	fullID    = "01a0f000-0000-7000-8000-000000000001"
	plainID   = "01a0f000-0000-7000-8000-000000000002"
	severalID = "01a0f000-0000-7000-8000-000000000003"
	overID    = "01a0f000-0000-7000-8000-000000000004"
	revokedID = "01a0f000-0000-7000-8000-000000000005"
	theirsID  = "01a0f000-0000-7000-8000-000000000006"
)

// license gives ACME five licences, one of them with all that a licence can have, and the other company one.
func (h *house) license(t testing.TB) {
	t.Helper()
	ctx, op := t.Context(), identity.Caller{Door: "cli"}
	day := func(n int) time.Time { return coretest.Start.AddDate(0, 0, n) }
	for _, a := range []identity.Agreement{
		{ID: trialID, Key: "trial", Name: "Edge Manager Trial", Kind: "trial", Provides: []string{"manager"}, PublishedAt: day(-30)},
		{ID: proID, Key: "pro", Name: "Edge Pro", Kind: "subscription", Provides: []string{"manager", "inference"}, PublishedAt: day(-60)},
	} {
		must[identity.Agreement](t)(h.Licences.SaveAgreement(ctx, op, a))
	}
	for id, key := range map[identity.DeviceID]string{boxID: "box", spareID: "spare"} {
		must[identity.Device](t)(h.Licences.SaveDevice(ctx, op, identity.Device{ID: id, Key: key, OrganisationID: acmeID}))
	}
	for i, in := range []licence.New{
		{ID: fullID, AgreementID: proID, StartsAt: day(-10), ExpiresAt: day(355), ProviderID: otherID, SignedBy: adaID, SignedAt: day(-11), PaidUntilAt: day(20),
			AmountPerMonth: 4900, DiscountBP: 1250, Catalogues: []string{"01a0ca00-0000-7000-8000-000000000001"}, Devices: []identity.DeviceID{boxID}},
		{ID: plainID, AgreementID: trialID, StartsAt: day(0)},
		{ID: severalID, AgreementID: proID, StartsAt: day(-10), ExpiresAt: day(80), Devices: []identity.DeviceID{boxID, spareID}},
		{ID: overID, AgreementID: trialID, StartsAt: day(-100), ExpiresAt: day(-1)},
		{ID: revokedID, AgreementID: trialID, StartsAt: day(-5), ExpiresAt: day(85), Revoked: true},
		{ID: theirsID, AgreementID: proID, StartsAt: day(-3), OrganisationID: otherID},
	} {
		if in.OrganisationID == "" {
			in.OrganisationID = acmeID
		}
		in.Code = fmt.Sprintf("5a1d9b7e-3b0e-4a49-8d53-%012x", 16-i)
		must[identity.Licence](t)(h.Licences.Create(ctx, op, in))
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

type header = [2]string

// do sends a request; a body is JSON unless a header says otherwise.
func (h *house) do(t testing.TB, method, target, body string, headers ...header) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, kv := range headers {
		if kv[0] == "Content-Type" {
			r.Header.Del(kv[0])
		}
		r.Header.Add(kv[0], kv[1])
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func bearer(token string) header { return header{"Authorization", "Bearer " + token} }

// signIn gives both tokens.
func (h *house) signIn(t testing.TB, email string) (access, refresh string) {
	t.Helper()
	a := h.do(t, "POST", "/auth/authenticate/signin", `{"Username":"`+email+`","Password":"`+passphrase+`","KeepLoggedIn":false}`)
	if a.status != http.StatusOK {
		t.Fatalf("sign in %s: %d %s", email, a.status, a.body)
	}
	found := bothTokens.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("sign in %s: %s", email, a.body)
	}
	return found[1], found[2]
}

var (
	bothTokens = regexp.MustCompile(`^\{"AccessToken":"([^"]+)","RefreshToken":"([^"]+)"\}$`)
	mailedLink = regexp.MustCompile(`https://id\.example\.test/\S*reset-password\?token=\S+`)
)

// forgot asks for a link and gives it.
func (h *house) forgot(t testing.TB, email string) *url.URL {
	t.Helper()
	if a := h.do(t, "POST", "/auth/authenticate/forgot-password", `{"Email":"`+email+`"}`); a.status != http.StatusOK {
		t.Fatalf("forgot: %d %s", a.status, a.body)
	}
	mails := h.Mails(t)
	if len(mails) == 0 {
		t.Fatalf("no mail to %s", email)
	}
	last := mails[len(mails)-1]
	if last.Recipient != email {
		t.Fatalf("the last mail went to %s", last.Recipient)
	}
	return must[*url.URL](t)(url.Parse(mailedLink.FindString(last.Text)))
}

// changes is where the change feed stands: what a refusal must leave alone.
func (h *house) changes(t testing.TB) int64 {
	t.Helper()
	var seq int64
	err := h.Store.View(t.Context(), func(r identity.Reader) (err error) {
		seq, err = r.LastChange(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}
