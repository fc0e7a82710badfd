package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

// The files promises_*_test.go hold the house to the promises of docs/promises.md, from outside: through the listeners of a
// whole house with every door open. What is tried is worked out from the doors' own OpenAPI documents and from the tables here,
// so that a new operation or kind of token is tried without anybody remembering to.

const (
	passphrase   = "Correct-Horse-42-battery"
	anotherOne   = "Violet-Anchor-77-lantern"
	sharedSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	clientSecret = "canary-client-secret-4711"
	portal       = "https://portal.example.test/back"
	harbour      = "8d1c9d0a-53f4-4bb8-8a15-0c3f6b7e2d41"

	adaID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000a1"
	bobID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000b1"
	eveID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000e1"
	tiaID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000c1"
	sueID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000c2" // a customer
	melID          identity.SubjectID = "01a0a000-0000-7000-8000-0000000000c3"
	rootID         identity.SubjectID = "01a0a000-0000-7000-8000-0000000000f1"
	licenceOfAcme                     = "01a0f000-0000-7000-8000-0000000000a1"
	licenceOfWorks                    = "01a0f000-0000-7000-8000-0000000000b1"
	boxOfAcme                         = "01a0e000-0000-7000-8000-0000000000a1"
	tillOfAcme                        = "01a0e000-0000-7000-8000-0000000000a2"
	boxOfWorks                        = "01a0e000-0000-7000-8000-0000000000b1"

	acme  identity.OrganisationID = "01a0b000-0000-7000-8000-0000000000a1"
	works identity.OrganisationID = "01a0b000-0000-7000-8000-0000000000b1"
)

// Two companies, people of each, one with a second factor, one who rules, and those who may not come in.
const promisesWorld = `
organisations:
  - {key: acme, id: ` + string(acme) + `, hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1, name: ACME, titan: {features: {impersonation: true}}, sites: [{key: berlin, id: 01a0c000-0000-7000-8000-0000000000a1, name: BERLIN}], nx: {systems: [{id: ` + harbour + `, name: Harbour VMS, version: 6.0.1.39873}]}}
  - {key: works, id: ` + string(works) + `, hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2, name: Other Works}
roles:
  - {key: VIEWER, privileges: [DEVICE_VIEW]}
subjects:
  - email: ada@example.test
    id: ` + string(adaID) + `
    hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1
    aliases: [ada]
    name: Ada Lovelace
    password: &password ` + passphrase + `
    memberships: [{organisation: acme, site: berlin, role: VIEWER, titan_role: owner}]
    openwifi: {role: csr}
  - {email: bob@example.test, id: ` + string(bobID) + `, name: Bob, password: *password, memberships: [{organisation: acme}], openwifi: {role: admin}}
  - {email: eve@works.test, id: ` + string(eveID) + `, name: Eve, password: *password, memberships: [{organisation: works}], openwifi: {role: csr}}
  - email: tia@example.test
    id: ` + string(tiaID) + `
    name: Tia
    password: *password
    memberships: [{organisation: acme}]
    factors: {totp: ` + sharedSecret + `}
  - {email: root@example.test, id: ` + string(rootID) + `, name: Root, password: *password, superadmin: true}
  - {email: sue@customer.test, id: ` + string(sueID) + `, name: Sue, kind: customer, password: *password}
  - {email: mel@example.test, id: ` + string(melID) + `, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb4, name: Mel, password: *password, memberships: [{organisation: acme, titan_role: user}]}
  - {email: sam@customer.test, name: Sam, kind: customer, password: *password}
  - {email: suspended@example.test, password: *password, suspended: true}
  - {email: unverified@example.test, password: *password, must_verify: true, verified: false}
  - {email: due@example.test, password: *password, must_change_password: true}
clients:
  - {id: app, name: App, secret: ` + clientSecret + `, grants: [password, refresh_token], scopes: [read, write]}
  - {id: robot, name: Robot, secret: ` + clientSecret + `, grants: [client_credentials, refresh_token], scopes: [read, introspect, revoke]}
  - {id: box, name: Box, secret: ` + clientSecret + `, grants: [client_credentials, refresh_token], scopes: [read], organisation: acme, device: box}
  - {id: till, name: Till, secret: ` + clientSecret + `, grants: [client_credentials], organisation: acme, device: till}
  - {id: acme-reports, name: Reports of ACME, secret: ` + clientSecret + `, grants: [client_credentials], organisation: acme}
services:
  - {type: owgw, uri: "https://gw.example.test:16002"}
agreements:
  - {key: edge-pro, id: 01a0d000-0000-7000-8000-0000000000a1, name: Edge Pro, kind: subscription, provides: [inference, manager], published_at: 2025-01-01}
devices:
  - {key: box, id: ` + boxOfAcme + `, organisation: acme}
  - {key: till, id: ` + tillOfAcme + `, organisation: acme}
  - {key: case, id: ` + boxOfWorks + `, organisation: works}
licences:
  - {key: ours, id: ` + licenceOfAcme + `, agreement: edge-pro, organisation: acme, provider: works, device: box, starts_at: 2025-01-01, expires_at: 2040-01-01}
  - {key: theirs, id: ` + licenceOfWorks + `, agreement: edge-pro, organisation: works, device: case, starts_at: 2025-01-01}
`

// house is a whole house with that world. Limits on the number of calls are off, but where a test is about them.
type house struct {
	*apptest.House
	log logbook
}

func newHouse(t testing.TB, o apptest.Options) *house {
	t.Helper()
	configure := o.Configure
	o.Configure = func(c *config.Config) {
		c.Limits.NxCSRFPerMinute, c.Limits.NxStrengthPerMinute, c.Limits.TitanUserPerMinute, c.Limits.TitanAddressPerMinute, c.Limits.OpenWiFiPerSecond = 0, 0, 0, 0, 0
		c.Insights.RefreshRotate = true
		c.Nx.RedirectURLs = []string{portal}
		c.SMTPURL, c.MailFrom, c.SMSURL = "smtp://127.0.0.1:9", "gatehouse@example.test", "http://127.0.0.1:9" // nobody sends: the worker does not run
		if configure != nil {
			configure(c)
		}
	}
	if o.World == "" {
		o.World = promisesWorld
	}
	h := &house{}
	h.log.keepSecret(passphrase, anotherOne, sharedSecret, clientSecret)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		slog.SetDefault(before)
		for _, found := range h.log.leaks() {
			t.Error("in the log: " + found) // P9, in every test of these files
		}
	})
	h.House = apptest.New(t, o)
	return h
}

// logbook keeps what was logged, and knows what must not be.
type logbook struct {
	mu      sync.Mutex
	text    bytes.Buffer
	secrets map[string]bool
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) keepSecret(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secrets == nil {
		l.secrets = map[string]bool{}
	}
	for _, s := range secrets {
		if len(l.secrets) < 60 { // of thousands of tokens some stand for all
			l.secrets[s] = true
		}
	}
}

// leaks looks for each secret in the spellings that a log might have it in, and for a query, which some doors' clients put
// secrets into.
func (l *logbook) leaks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	text := l.text.Bytes()
	for s := range l.secrets {
		raw := []byte(s)
		for how, spelled := range map[string]string{
			"as it is": s, "in base64": base64.StdEncoding.EncodeToString(raw), "in base64url": base64.RawURLEncoding.EncodeToString(raw),
			"in hex": hex.EncodeToString(raw), "as in a form": url.QueryEscape(s), "quoted": strconv.Quote(s),
		} {
			if at := bytes.Index(text, []byte(spelled)); at >= 0 {
				found = append(found, fmt.Sprintf("%.6s… %s: %.300s", s, how, text[max(0, at-200):]))
			}
		}
	}
	for line := range bytes.Lines(text) {
		if _, path, ok := bytes.Cut(line, []byte(" path=")); ok && bytes.ContainsRune(bytes.SplitN(path, []byte(" status="), 2)[0], '?') {
			found = append(found, fmt.Sprintf("a query: %s", line))
		}
	}
	return found
}

// request is what a client sends; a body is JSON unless it says otherwise.
type request struct {
	method, target, body, contentType, bearer string
	from                                      string // address; "": one for all
	header                                    [][2]string
	service                                   bool // to the internal listener
	unsized                                   bool // the body's length is not said before
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// prepare makes what the listener gets of a request.
func (in request) prepare() *http.Request {
	target, query, _ := strings.Cut(in.target, "?")
	r := httptest.NewRequest(in.method, "/", strings.NewReader(in.body))
	r.URL.Path, r.URL.RawQuery = target, query
	if in.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if in.contentType != "" {
		r.Header.Set("Content-Type", in.contentType)
	}
	if in.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+in.bearer)
	}
	if in.unsized {
		r.ContentLength = -1
	}
	if in.from != "" {
		r.RemoteAddr = in.from + ":4711"
	}
	for _, kv := range in.header {
		r.Header.Add(kv[0], kv[1])
	}
	return r
}

func (h *house) send(in request) answer { return h.serve(in.prepare(), in.service) }

func (h *house) serve(r *http.Request, service bool) answer {
	w := httptest.NewRecorder()
	if service {
		h.Service.ServeHTTP(w, r)
	} else {
		h.Handler.ServeHTTP(w, r)
	}
	return answer{w.Code, w.Header(), w.Body.String()}
}

// must is send for what has to succeed.
func (h *house) must(t testing.TB, in request) answer {
	t.Helper()
	a := h.send(in)
	if !a.ok() {
		t.Fatalf("%s %s: %v", in.method, in.target, a)
	}
	return a
}

// at follows a dotted path through a JSON answer; "" where it leads nowhere.
func (a answer) at(path string) string {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return ""
	}
	for step := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	text, _ := v.(string)
	return text
}

func object(pairs ...string) string {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "true" || pairs[i+1] == "false" {
			m[pairs[i]] = pairs[i+1] == "true"
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and booleans marshal
	}
	return string(text)
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

const formType = "application/x-www-form-urlencoded"

// The ways in, one for each door that has one.
var signIns = map[identity.Door]func(login, password string) request{
	nx.Door: func(login, password string) request {
		return request{method: "POST", target: "/auth/authenticate/signin", body: object("Username", login, "Password", password, "KeepLoggedIn", "false")}
	},
	nx.CloudDoor: func(login, password string) request {
		return request{method: "POST", target: "/cdb/oauth2/token", body: object("grant_type", "password", "response_type", "token", "client_id", "3rdParty", "username", login, "password", password)}
	},
	insights.Door: func(login, password string) request {
		return request{method: "POST", target: "/oauth/token", contentType: formType, body: form("grant_type", "password",
			"username", login, "password", password, "client_id", "app", "client_secret", clientSecret)}
	},
	titan.Door: func(login, password string) request {
		return request{method: "POST", target: "/auth", body: object("user", login, "password", password)}
	},
	openwifi.Door: func(login, password string) request {
		return request{method: "POST", target: "/api/v1/oauth2", body: object("userId", login, "password", password)}
	},
	openwifi.SubscriberDoor: func(login, password string) request {
		return request{method: "POST", target: "/api/v1/suboauth2", body: object("userId", login, "password", password)}
	},
}

// doors lists those of signIns that let everybody in, in a fixed order.
var doors = []identity.Door{nx.Door, nx.CloudDoor, insights.Door, titan.Door, openwifi.Door}

// code is what tia's authenticator shows, in a time step of its own for each call: no code works twice.
func (h *house) code(t testing.TB) string {
	t.Helper()
	h.Clock.Advance(30 * time.Second)
	return h.codeNow(t)
}

func (h *house) codeNow(t testing.TB) string {
	t.Helper()
	code, err := totp.Code(sharedSecret, h.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// The kinds of tokens that the house gives out.
const (
	nxAccess, nxRefresh             = "nx access", "nx refresh"
	nxOldRefresh                    = "nx refresh of an older client" // which keeps what it spent
	nxReset                         = "nx reset link"
	nxTotp, nxPageCode              = "nx code step", "nx page code"
	cloudAccess, cloudRefresh       = "nx-cloud access", "nx-cloud refresh"
	cloudLimited                    = "nx-cloud limited" // until a second factor lifts it
	insightsAccess, insightsRefresh = "insights access", "insights refresh"
	titanFull, titanCode            = "titan full", "titan code"
	titanSpent                      = "titan spent" // of the generation before, its grace over
	titanVerify                     = "titan verification link"
	titanRecovery                   = "titan recovery link"
	wifiAccess, wifiRefresh         = "openwifi access", "openwifi refresh"
	wifiChallenge                   = "openwifi challenge"
	wifiReset, wifiVerify           = "openwifi reset link", "openwifi verification link"
	subAccess, subRefresh           = "openwifi-sub access", "openwifi-sub refresh"
	wifiKey                         = "openwifi API key"
	oidcOwn, oidcAccess, oidcRefr   = "oidc client's own", "oidc access", "oidc refresh"
)

var tokenKinds = []string{
	nxAccess, nxRefresh, nxOldRefresh, nxReset, nxTotp, nxPageCode, cloudAccess, cloudRefresh, cloudLimited, insightsAccess, insightsRefresh, titanFull, titanCode, titanSpent, titanVerify, titanRecovery,
	wifiAccess, wifiRefresh, wifiChallenge, wifiKey, wifiReset, wifiVerify, subAccess, subRefresh, oidcOwn, oidcAccess, oidcRefr,
}

// ofTicket says which kinds belong to somebody half way in.
func ofTicket(kind string) bool {
	return slices.Contains([]string{titanCode, wifiChallenge, nxReset, wifiReset, wifiVerify, nxTotp, nxPageCode, cloudLimited, titanVerify, titanRecovery}, kind)
}

// print gets a fresh token of a kind, of the person with the login; where a second factor is asked for she has one.
func (h *house) print(t testing.TB, kind, login string) string {
	t.Helper()
	token := h.printed(t, kind, login)
	h.log.keepSecret(token)
	return token
}

func (h *house) printed(t testing.TB, kind, login string) string {
	t.Helper()
	from := func(door identity.Door, path string) string {
		t.Helper()
		raw := h.must(t, signIns[door](login, passphrase)).at(path)
		if raw == "" {
			t.Fatalf("no %s of %s", kind, login)
		}
		return raw
	}
	switch kind {
	case nxAccess:
		return from(nx.Door, "AccessToken")
	case nxRefresh:
		return from(nx.Door, "RefreshToken")
	case nxOldRefresh:
		return h.must(t, request{method: "POST", target: "/auth/authenticate/signin", body: object("Email", login, "Password", passphrase)}).at("RefreshToken")
	case nxReset:
		return h.resetLink(t, login)
	case nxTotp:
		return h.must(t, request{method: "POST", target: "/auth/nx/login", body: object("Email", login, "Password", passphrase)}).at("TotpAccessCode")
	case nxPageCode:
		a := h.send(atPage(login))
		back, err := url.Parse(a.header.Get("Location"))
		must(t, err)
		if a.status != http.StatusSeeOther || back.Query().Get("code") == "" {
			t.Fatalf("at the page: %v", a)
		}
		return back.Query().Get("code")
	case cloudAccess, cloudLimited:
		return from(nx.CloudDoor, "access_token")
	case cloudRefresh:
		return from(nx.CloudDoor, "refresh_token")
	case insightsAccess:
		return from(insights.Door, "access_token")
	case insightsRefresh:
		return from(insights.Door, "refresh_token")
	case titanFull, titanCode:
		return from(titan.Door, "data.token")
	case titanSpent:
		old := from(titan.Door, "data.token")
		h.Clock.Advance(time.Second) // so that the successor is another text
		h.must(t, request{method: "POST", target: "/auth/refresh", bearer: old})
		h.Clock.Advance(31 * time.Second)
		return old
	case wifiAccess:
		return from(openwifi.Door, "access_token")
	case wifiRefresh:
		return from(openwifi.Door, "refresh_token")
	case wifiChallenge:
		return from(openwifi.Door, "uuid")
	case subAccess, subRefresh:
		if !strings.HasSuffix(login, "@customer.test") {
			login = "sue@customer.test" // nobody else comes in there
		}
		return from(openwifi.SubscriberDoor, map[string]string{subAccess: "access_token", subRefresh: "refresh_token"}[kind])
	case wifiReset: // of somebody new, who is mailed as often as this is asked
		_, login := h.newPerson(t, false)
		h.must(t, request{method: "POST", target: "/api/v1/oauth2?forgotPassword=true", body: object("userId", login), from: h.newNetwork()})
		return h.mailedTo(t, login, "&id=")
	case titanVerify:
		id, login := h.newPerson(t, false)
		if _, err := h.Recovery.StartVerification(t.Context(), identity.Caller{Door: "cli"}, id, h.Doors.Titan.VerifyLink()); err != nil {
			t.Fatal(err)
		}
		return h.titanLink(t, login)
	case titanRecovery:
		_, login := h.newPerson(t, true)
		h.must(t, request{method: "POST", target: "/auth/recovery/initiate", body: object("user", login), from: h.newNetwork()})
		return h.titanLink(t, login)
	case wifiVerify: // the same, since she may not sign in before she follows it
		id, login := h.newPerson(t, false)
		if _, err := h.Recovery.StartVerification(t.Context(), identity.Caller{Door: openwifi.Door}, id, recovery.Link{
			TTL: 24 * time.Hour, Form: link.UUID, Address: func(s identity.Secret) string { return "https://sec.example.test/?a=b&id=" + s.Reveal() },
		}); err != nil {
			t.Fatal(err)
		}
		return h.mailedTo(t, login, "&id=")
	case wifiKey:
		_, key := h.apiKey(t, "printed", h.liveOf(t, from(openwifi.Door, "access_token")))
		return key
	case oidcOwn:
		return h.must(t, request{method: "POST", target: "/oauth2/token", contentType: formType, body: form("grant_type", "client_credentials",
			"client_id", "robot", "client_secret", clientSecret)}).at("access_token")
	case oidcRefr:
		return h.oidcRefresh(t, login)
	case oidcAccess:
		return h.must(t, request{method: "POST", target: "/oauth2/token", contentType: formType, body: form("grant_type", "refresh_token",
			"refresh_token", h.oidcRefresh(t, login), "client_id", "robot", "client_secret", clientSecret)}).at("access_token")
	}
	t.Fatalf("unknown kind of token %q", kind)
	return ""
}

// liveOf is whose access token of openwifi it is; nil where it is none.
func (h *house) liveOf(t testing.TB, token string) *session.Live {
	t.Helper()
	return h.liveAt(t, openwifi.Door, token)
}

func (h *house) liveAt(t testing.TB, door identity.Door, token string) *session.Live {
	t.Helper()
	for _, form := range h.Doors.OpenWiFi.Forms() {
		if form.Door() != door {
			continue
		}
		if live, err := h.Sessions.Check(t.Context(), form, token, identity.AccessToken); err == nil {
			return live
		}
	}
	return nil
}

// apiKey makes somebody one for a day. Of a kind she has three at most: the oldest give way.
func (h *house) apiKey(t testing.TB, kind string, live *session.Live) (identity.APIKeyID, string) {
	t.Helper()
	caller := identity.Caller{Door: openwifi.Door, SubjectID: live.Subject.ID, SessionID: live.Session.ID}
	all, err := h.APIKeys.List(t.Context(), caller, live, live.Subject.ID)
	must(t, err)
	var same []identity.APIKeyID
	for _, k := range all {
		if strings.HasPrefix(k.Name, kind) {
			same = append(same, k.ID)
		}
	}
	for ; len(same) >= 3; same = same[1:] {
		must(t, h.APIKeys.Delete(t.Context(), caller, live, live.Subject.ID, same[0]))
	}
	k, raw, err := h.APIKeys.Create(t.Context(), caller, live, apikey.New{Owner: live.Subject.ID, Name: h.newName(kind), ExpiresAt: h.Clock.Now().Add(24 * time.Hour).Truncate(time.Second)})
	must(t, err)
	return k.ID, raw.Reveal()
}

// oidcRefresh begins a session at the door that has no page to sign in at yet.
func (h *house) oidcRefresh(t testing.TB, login string) string {
	t.Helper()
	out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
		Caller: identity.Caller{Door: oidc.Door, Address: "192.0.2.1"}, Login: login, Password: passphrase,
		Way: signin.Way{ClientID: "robot", Scopes: []string{"read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.Sessions.Opaque(out.Session, identity.RefreshToken)
}

func (h *house) resetLink(t testing.TB, login string) string {
	t.Helper()
	h.Clock.Advance(time.Millisecond) // mails of one millisecond have no order
	h.must(t, request{method: "POST", target: "/auth/authenticate/forgot-password", body: object("Email", login), from: h.newNetwork()})
	mails := h.Mails(t)
	if len(mails) == 0 || mails[len(mails)-1].Recipient != login {
		t.Fatalf("no mail to %s", login)
	}
	_, rest, _ := strings.Cut(mails[len(mails)-1].Text, "token=")
	return strings.Fields(rest)[0]
}

// titanLink is what the link in the only mail to somebody new carries, as one word.
func (h *house) titanLink(t testing.TB, login string) string {
	t.Helper()
	return strings.NewReplacer("&signature=", ".", "&type=email", "", "&type=recovery", "").Replace(h.mailedTo(t, login, "?verification="))
}

// waiting is the recovery of somebody that waits for an operator; recoveryCode is what she is mailed once he has approved it.
func (h *house) waiting(t testing.TB, id identity.SubjectID, login string) identity.RecoveryID {
	t.Helper()
	h.must(t, request{method: "POST", target: "/auth/recovery/initiate", body: object("user", login), from: h.newNetwork()})
	h.must(t, verification(t, h, h.titanLink(t, login)))
	var found identity.RecoveryID
	h.view(t, func(ctx context.Context, r identity.Reader) error {
		all, err := r.RecoveriesOf(ctx, id)
		if len(all) == 1 {
			found = all[0].ID
		}
		return err
	})
	return found
}

func (h *house) recoveryCode(t testing.TB, id identity.SubjectID, login string) string {
	t.Helper()
	_, err := h.Recovery.Approve(t.Context(), operator, h.waiting(t, id, login))
	must(t, err)
	for _, m := range h.Mails(t) {
		if code := tenLetters.FindString(m.Text); code != "" && m.Recipient == login {
			return code
		}
	}
	t.Fatal("no code was mailed")
	return ""
}

var tenLetters = regexp.MustCompile(`\b[2-9A-HJ-NP-Z]{10}\b`)

// verification follows such a link.
func verification(_ testing.TB, _ *house, token string) request {
	hash, signature, _ := strings.Cut(token, ".")
	if signature == "" {
		signature = token
	}
	return request{method: "POST", target: "/auth/verification/" + url.PathEscape(hash) + "?" + form("signature", signature)}
}

// mailedTo gives what stands behind a word in the link that somebody new was mailed.
func (h *house) mailedTo(t testing.TB, login, word string) string {
	t.Helper()
	for _, m := range h.Mails(t) {
		if _, rest, found := strings.Cut(m.Text, word); found && m.Recipient == login {
			return strings.Fields(rest)[0]
		}
	}
	t.Fatalf("no mail to %s", login)
	return ""
}

// codeTo is the code that was sent to a number last.
func (h *house) codeTo(t testing.TB, number string) string {
	t.Helper()
	code := ""
	for _, m := range h.Mails(t) {
		if m.Recipient == number {
			code = sixDigits.FindString(m.Text)
		}
	}
	if code == "" {
		t.Fatalf("no code was sent to %s", number)
	}
	return code
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// holderOf is whose token of a kind the tests use: only somebody with a second factor gets half way.
func holderOf(kind string) string {
	if slices.Contains([]string{titanCode, wifiChallenge, nxTotp, cloudLimited}, kind) {
		return "tia@example.test"
	}
	return "ada@example.test"
}

// holder is holderOf, but somebody new where the recipe changes her password.
func (h *house) holder(t testing.TB, r recipe, kind string) string {
	t.Helper()
	if r.by != "" {
		return r.by
	}
	login := holderOf(kind)
	if r.op == "updatePassword" || r.op == "resetPassword" || r.op == "submitReset" {
		_, login = h.newPerson(t, false)
	}
	return login
}

// recipe is a way to ask for an operation such that nothing but the right token is missing.
type recipe struct {
	door identity.Door
	op   string // operationId in the door's document
	job  string // where one operation has several
	// takes are the kinds of token that it accepts; nil: it asks for none.
	takes []string
	// inBody: the token is not the Authorization header but a field or a parameter, whose refusals have other statuses.
	inBody bool
	by     string // whose token it has to be; "": holderOf's
	idle   int    // the status of the right token's answer where this house has nothing to do; 0: a success
	make   func(t testing.TB, h *house, token string) request
}

func (r recipe) name() string {
	return strings.TrimSpace(string(r.door) + " " + r.op + " " + r.job)
}

// plain is a request with a bearer token and a constant body.
func plain(method, target, body string) func(testing.TB, *house, string) request {
	return func(_ testing.TB, _ *house, token string) request {
		return request{method: method, target: target, body: body, bearer: token}
	}
}

// byService is a request of another service of the installation.
func (h *house) byService(method, target, body string) request {
	return request{method: method, target: target, body: body, service: true, header: [][2]string{
		{"X-API-KEY", h.Doors.OpenWiFi.Key.Reveal()}, {"X-INTERNAL-NAME", "https://gw.example.test:16002"},
	}}
}

func formOf(target string, pairs ...string) func(testing.TB, *house, string) request {
	return func(_ testing.TB, _ *house, token string) request {
		filled := slices.Clone(pairs)
		for i, v := range filled {
			filled[i] = strings.ReplaceAll(v, "{token}", token)
		}
		return request{method: "POST", target: target, contentType: formType, body: form(filled...)}
	}
}

func linkTo(action string) func(testing.TB, *house, string) request {
	return func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/actionLink?" + form("action", action, "id", token)}
	}
}

func jsonOf(target string, pairs ...string) func(testing.TB, *house, string) request {
	return func(t testing.TB, h *house, token string) request {
		filled := slices.Clone(pairs)
		for i, v := range filled {
			if v == "{code}" {
				v = h.codeNow(t)
			}
			filled[i] = strings.ReplaceAll(v, "{token}", token)
		}
		return request{method: "POST", target: target, body: object(filled...)}
	}
}

// The upload of an avatar as a browser's form.
const (
	avatarType = "multipart/form-data; boundary=b"
	avatarBody = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"me.svg\"\r\n\r\n" + avatarFile + "\r\n--b--\r\n"
	avatarFile = `<svg xmlns="http://www.w3.org/2000/svg"><rect width="8" height="8"/></svg>`
)

// withAvatar asks about an avatar that is there.
func withAvatar(method, path string, id identity.SubjectID) func(t testing.TB, h *house, token string) request {
	return func(t testing.TB, h *house, token string) request {
		h.givePicture(t, id)
		return request{method: method, target: path + string(id), bearer: token}
	}
}

func (h *house) givePicture(t testing.TB, id identity.SubjectID) {
	t.Helper()
	may := func(context.Context, identity.Reader) error { return nil }
	caller := identity.Caller{Door: "cli", SubjectID: rootID}
	if err := h.Manage.SetPicture(t.Context(), caller, id, manage.NewPicture{Data: []byte(avatarFile), May: may}); err != nil {
		t.Fatal(err)
	}
}

// recipes has every operation of every door; TestPromisesKnowEveryOperation fails on a gap.
var recipes = []recipe{
	{door: nx.Door, op: "status", make: plain("GET", "/auth/status", "")},
	{door: nx.Door, op: "statusAtRoot", make: plain("GET", "/auth/", "")},
	{door: nx.Door, op: "configuration", takes: []string{nxAccess}, make: plain("GET", "/auth/configuration", "")},
	{door: nx.Door, op: "configurationAsGlobal", takes: []string{nxAccess}, make: plain("GET", "/auth/global", "")},
	{door: nx.Door, op: "signIn", make: jsonOf("/auth/authenticate/signin", "Username", "ada@example.test", "Password", passphrase, "KeepLoggedIn", "false")},
	{door: nx.Door, op: "refresh", takes: []string{nxRefresh, nxOldRefresh}, make: plain("POST", "/auth/authenticate/refresh-token", `{"GrantType":"AccessToken"}`)},
	{door: nx.Door, op: "refreshShort", takes: []string{nxRefresh, nxOldRefresh}, make: plain("POST", "/auth/authenticate/refresh", `{"GrantType":"RefreshToken"}`)},
	{door: nx.Door, op: "signOut", takes: []string{nxAccess}, make: plain("POST", "/auth/authenticate/signout", "")},
	{door: nx.Door, op: "passwordStrength", make: jsonOf("/auth/authenticate/password-strength", "Password", "abc", "Email", "a@b.test", "Name", "A")},
	{door: nx.Door, op: "forgotPassword", make: jsonOf("/auth/authenticate/forgot-password", "Email", "eve@works.test")},
	{door: nx.Door, op: "resetPassword", takes: []string{nxReset}, inBody: true, make: jsonOf("/auth/authenticate/reset-password", "Token", "{token}", "Password", anotherOne)},
	{door: nx.Door, op: "openReset", takes: []string{nxReset}, inBody: true, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/auth/reset-password?" + form("token", token)}
	}},
	{door: nx.Door, op: "submitReset", takes: []string{nxReset}, inBody: true, make: formOf("/auth/reset-password", "token", "{token}", "password", anotherOne+"!", "again", anotherOne+"!")},
	{door: nx.Door, op: "updatePassword", takes: []string{nxAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "POST", target: "/auth/authenticate/update-password", bearer: token, body: object("CurrentPassword", passphrase, "NewPassword", anotherOne)}
	}},
	{door: nx.Door, op: "register", make: func(t testing.TB, h *house, _ string) request {
		return request{method: "POST", target: "/auth/user", body: object("Email", h.newAddress(t), "Password", passphrase, "Name", "New", "Company", "New Company", "AcceptEULA", "true")}
	}},
	{door: nx.Door, op: "listLicenses", takes: []string{nxAccess}, make: plain("GET", "/auth/licenses?OrderBy=-ExpiresAt,AgreementName&q=edge&Kind=subscription&Limit=5&Device="+boxOfAcme, "")},
	{door: nx.Door, op: "listLicensesAsLicense", takes: []string{nxAccess}, make: plain("GET", "/auth/license?Offset=0", "")},
	{door: nx.Door, op: "readLicense", takes: []string{nxAccess}, make: plain("GET", "/auth/license/"+licenceOfAcme, "")},
	{door: nx.Door, op: "licenseDocument", takes: []string{nxAccess}, make: plain("GET", "/auth/licences/"+licenceOfAcme+"/document?Device="+boxOfAcme, "")},
	{door: nx.Door, op: "readUser", takes: []string{nxAccess}, make: plain("GET", "/auth/user/"+string(adaID), "")},
	{door: nx.Door, op: "changeUser", takes: []string{nxAccess}, make: plain("PATCH", "/auth/user/"+string(adaID), `{"Name":"Ada L","Newsletter":true,"PhoneNumber":"+49"}`)},

	{door: nx.Door, op: "nxLogin", make: jsonOf("/auth/nx/login", "Email", "ada@example.test", "Password", passphrase)},
	{door: nx.Door, op: "nxTOTP", takes: []string{nxTotp}, inBody: true, make: jsonOf("/auth/nx/totp", "token", "{token}", "totp", "{code}")},
	{door: nx.Door, op: "nxCSRF", make: jsonOf("/auth/nx/csrf", "AuthenticationEndpoint", "http://gatehouse.test/auth/nx/authorize", "RedirectURL", portal)},
	{door: nx.Door, op: "nxCode", takes: []string{nxPageCode}, inBody: true, make: func(t testing.TB, h *house, token string) request {
		state := h.must(t, jsonOf("/auth/nx/csrf", "AuthenticationEndpoint", "http://gatehouse.test/", "RedirectURL", portal)(t, h, "")).at("State")
		return request{method: "POST", target: "/auth/nx/code", body: object("code", token, "state", state)}
	}},
	{door: nx.Door, op: "nxPlugin", takes: []string{cloudRefresh}, inBody: true, make: jsonOf("/auth/nx/plugin", "refresh_token", "{token}", "system_nxid", harbour)},
	{door: nx.Door, op: "nxRefresh", takes: []string{nxRefresh, nxOldRefresh}, make: plain("POST", "/auth/nx/refresh-token", `{"GrantType":"AccessToken","Password":""}`)},
	{door: nx.Door, op: "nxRefresh", job: "password", takes: []string{nxAccess}, make: plain("POST", "/auth/nx/refresh-token", object("GrantType", "Password", "Password", passphrase))},
	{door: nx.Door, op: "nxRefreshShort", takes: []string{nxRefresh, nxOldRefresh}, make: plain("POST", "/auth/nx/refresh", `{"GrantType":"RefreshToken","Password":""}`)},
	{door: nx.Door, op: "nxLogout", takes: []string{nxAccess}, make: plain("POST", "/auth/nx/logout", `{"GrantType":"","Password":""}`)},
	{door: nx.Door, op: "nxLink", takes: []string{nxAccess}, idle: http.StatusNotFound, make: plain("POST", "/auth/nx/link", object("Email", "ada@cloud.test", "Password", passphrase))},
	{door: nx.Door, op: "nxLink", job: "code", takes: []string{nxAccess}, idle: http.StatusNotFound, make: plain("POST", "/auth/nx/link", object("code", "x", "state", "y"))},
	{door: nx.Door, op: "nxUnlink", takes: []string{nxAccess}, idle: http.StatusNotFound, make: plain("POST", "/auth/nx/unlink", "")},
	{door: nx.Door, op: "openAuthorize", make: plain("GET", "/auth/nx/authorize?"+form("redirect_url", portal, "client_id", "gatehouse", "state", "x"), "")},
	{door: nx.Door, op: "submitAuthorize", make: func(testing.TB, *house, string) request { return atPage("ada@example.test") }},
	{door: nx.Door, op: "cloudToken", job: "password", make: func(testing.TB, *house, string) request {
		return signIns[nx.CloudDoor]("ada@example.test", passphrase)
	}},
	{door: nx.Door, op: "cloudToken", job: "refresh", takes: []string{cloudRefresh}, inBody: true, make: jsonOf("/cdb/oauth2/token", "grant_type", "refresh_token", "client_id", "3rdParty", "refresh_token", "{token}")},
	{door: nx.Door, op: "cloudToken", job: "code", takes: []string{nxPageCode}, inBody: true, make: jsonOf("/cdb/oauth2/token", "grant_type", "authorization_code", "client_id", "gatehouse", "code", "{token}", "redirect_uri", portal)},
	{door: nx.Door, op: "cloudLookUp", takes: []string{cloudAccess, cloudRefresh}, make: aboutToken("GET")},
	{door: nx.Door, op: "cloudRevoke", takes: []string{cloudAccess, cloudRefresh}, make: aboutToken("DELETE")},
	{door: nx.Door, op: "cloudTOTP", takes: []string{cloudLimited}, inBody: true, make: func(t testing.TB, h *house, token string) request {
		return request{method: "GET", target: "/cdb/account/self/2fa/totp/key/" + h.codeNow(t) + "?" + form("token", token)}
	}},
	{door: nx.Door, op: "cloudAccount", takes: []string{cloudAccess}, make: plain("GET", "/cdb/account/self", "")},
	{door: nx.Door, op: "cloudSystems", takes: []string{cloudAccess}, make: plain("GET", "/cdb/systems", "")},

	{door: insights.Door, op: "token", job: "password", make: formOf("/oauth/token", "grant_type", "password", "username", "ada@example.test", "password", passphrase,
		"client_id", "app", "client_secret", clientSecret, "scope", "read")},
	{door: insights.Door, op: "token", job: "refresh", takes: []string{insightsRefresh}, inBody: true, make: formOf("/oauth/token", "grant_type", "refresh_token",
		"refresh_token", "{token}", "client_id", "app", "client_secret", clientSecret)},
	{door: insights.Door, op: "loggedInDetail", takes: []string{insightsAccess}, make: plain("GET", "/api/v2/users/loggedIn/detail", "")},
	{door: insights.Door, op: "sites", takes: []string{insightsAccess}, make: plain("GET", "/api/v2/sites", "")},

	{door: titan.Door, op: "signIn", make: jsonOf("/auth", "user", "ada", "password", passphrase, "hub", "true", "remember", "false")},
	{door: titan.Door, op: "enterCode", takes: []string{titanCode}, make: func(t testing.TB, h *house, token string) request {
		return request{method: "POST", target: "/auth/code", bearer: token, body: object("code", h.codeNow(t))}
	}},
	{door: titan.Door, op: "enterHub", takes: []string{titanFull}, make: plain("POST", "/auth/hub/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1", "")},
	{door: titan.Door, op: "impersonate", takes: []string{titanFull}, make: plain("POST", "/auth/impersonation/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb4", "")},
	{door: titan.Door, op: "stopImpersonating", takes: []string{titanFull}, make: plain("POST", "/auth/impersonation/invalidate", "")},
	{door: titan.Door, op: "leaveHub", takes: []string{titanFull}, make: plain("POST", "/auth/hub/invalidate", "")},
	{door: titan.Door, op: "signOut", takes: []string{titanFull, titanCode}, make: plain("POST", "/auth/invalidate", "")},
	{door: titan.Door, op: "ping", takes: []string{titanFull}, make: plain("POST", "/auth/ping", "")},
	{door: titan.Door, op: "refresh", takes: []string{titanFull}, make: plain("POST", "/auth/refresh", "")},
	{door: titan.Door, op: "initiateRecovery", make: jsonOf("/auth/recovery/initiate", "user", "eve@works.test")},
	{door: titan.Door, op: "verify", takes: []string{titanVerify, titanRecovery}, inBody: true, make: verification},
	{door: titan.Door, op: "signIn", job: "token", make: jsonOf("/auth", "token", "of-nobody", "hub", "true", "remember", "false")},
	{door: titan.Door, op: "providerState", job: "link", takes: []string{titanFull}, make: plain("GET", "/auth/provider/oauth/state", "")},
	{door: titan.Door, op: "providerState", job: "login", make: plain("GET", "/auth/provider/oauth/state?intent=login", "")},
	// Where these lead needs a provider: internal/dialect/titan and e2e go there.
	{door: titan.Door, op: "providerIdentity", make: plain("GET", "/auth/provider/oauth/identity/google?state=of-nobody", "")},
	{door: titan.Door, op: "providerCallback", make: plain("GET", "/auth/provider/oauth/callback/google?state=of-nobody&code=x", "")},

	{door: openwifi.Door, op: "token", job: "sign in", make: jsonOf("/api/v1/oauth2", "userId", "ada@example.test", "password", passphrase)},
	{door: openwifi.Door, op: "token", job: "requirements", make: plain("POST", "/api/v1/oauth2?requirements=true", "")},
	{door: openwifi.Door, op: "token", job: "refresh", takes: []string{wifiRefresh}, inBody: true, make: jsonOf("/api/v1/oauth2?grant_type=refresh_token", "refreshToken", "{token}")},
	{door: openwifi.Door, op: "token", job: "challenge", takes: []string{wifiChallenge}, inBody: true, make: jsonOf("/api/v1/oauth2?completeMFAChallenge=true", "uuid", "{token}", "answer", "{code}")},
	{door: openwifi.Door, op: "token", job: "forgotten", make: jsonOf("/api/v1/oauth2?forgotPassword=true", "userId", "eve@works.test")},
	{door: openwifi.Door, op: "openLink", job: "reset", takes: []string{wifiReset}, inBody: true, make: linkTo("password_reset")},
	{door: openwifi.Door, op: "openLink", job: "verify", takes: []string{wifiVerify}, inBody: true, make: linkTo("email_verification")},
	{door: openwifi.Door, op: "submitLink", takes: []string{wifiReset}, inBody: true, make: formOf("/api/v1/actionLink?action=password_reset", "id", "{token}", "password1", anotherOne, "password2", anotherOne)},
	{door: openwifi.Door, op: "getSubscribers", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/subusers?limit=3", "")},
	{door: openwifi.Door, op: "getSubscribers", job: "inside", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/subusers?countOnly=true", bearer: token, service: true}
	}},
	{door: openwifi.Door, op: "getSubscriber", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/subuser/sue@customer.test?byEmail=true", "")},
	{door: openwifi.Door, op: "createSubscriber", takes: []string{wifiAccess}, by: "bob@example.test", make: func(t testing.TB, h *house, token string) request {
		return request{method: "POST", target: "/api/v1/subuser/0", bearer: token, body: object("email", h.newAddress(t), "name", "New", "currentPassword", passphrase)}
	}},
	{door: openwifi.Door, op: "updateSubscriber", takes: []string{wifiAccess}, by: "bob@example.test", make: func(t testing.TB, h *house, token string) request {
		return request{method: "PUT", target: "/api/v1/subuser/" + string(h.newCustomer(t)), bearer: token, body: `{"name":"Mia","description":"first","locale":"en"}`}
	}},
	{door: openwifi.Door, op: "deleteSubscriber", takes: []string{wifiAccess}, by: "bob@example.test", make: func(t testing.TB, h *house, token string) request {
		return request{method: "DELETE", target: "/api/v1/subuser/" + string(h.newCustomer(t)), bearer: token}
	}},
	{door: openwifi.Door, op: "setSubscriberAvatar", takes: []string{subAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "POST", target: "/api/v1/subavatar/" + string(sueID), bearer: token, contentType: avatarType, body: avatarBody}
	}},
	{door: openwifi.Door, op: "subscriberAvatar", takes: []string{subAccess}, make: withAvatar("GET", "/api/v1/subavatar/", sueID)},
	{door: openwifi.Door, op: "removeSubscriberAvatar", takes: []string{subAccess}, make: withAvatar("DELETE", "/api/v1/subavatar/", sueID)},
	{door: openwifi.Door, op: "subscriberPreferences", takes: []string{subAccess}, make: plain("GET", "/api/v1/subpreferences", "")},
	{door: openwifi.Door, op: "saveSubscriberPreferences", takes: []string{subAccess}, make: plain("PUT", "/api/v1/subpreferences", `{"data":[{"tag":"a","value":"1"}]}`)},
	{door: openwifi.Door, op: "startSubscriberAuthenticator", takes: []string{subAccess}, make: plain("GET", "/api/v1/subtotp", "")},
	{door: openwifi.Door, op: "confirmSubscriberAuthenticator", takes: []string{subAccess}, make: confirmation(openwifi.SubscriberDoor, "/api/v1/subtotp")},
	{door: openwifi.Door, op: "subscriberMFA", takes: []string{subAccess}, make: plain("GET", "/api/v1/submfa", "")},
	{door: openwifi.Door, op: "setSubscriberMFA", takes: []string{subAccess}, make: plain("PUT", "/api/v1/submfa", `{"type":"disabled"}`)},
	{door: openwifi.Door, op: "signUp", make: func(t testing.TB, h *house, _ string) request {
		return request{method: "POST", target: "/api/v1/signup?" + form("email", h.newAddress(t), "signupUUID", string(acme), "owner", string(works), "operatorName", "Harbour Net"), from: h.newNetwork()}
	}},
	{door: openwifi.Door, op: "subscriberToken", job: "sign in", make: jsonOf("/api/v1/suboauth2", "userId", "sue@customer.test", "password", passphrase)},
	{door: openwifi.Door, op: "subscriberToken", job: "refresh", takes: []string{subRefresh}, inBody: true, make: jsonOf("/api/v1/suboauth2?grant_type=refresh_token", "refreshToken", "{token}")},
	{door: openwifi.Door, op: "subscriberMe", takes: []string{subAccess}, make: plain("GET", "/api/v1/suboauth2?me=true", "")},
	{door: openwifi.Door, op: "subscriberSignOut", takes: []string{subAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "DELETE", target: "/api/v1/suboauth2/" + url.PathEscape(token), bearer: token}
	}},
	{door: openwifi.Door, op: "validateSubToken", takes: []string{subAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/validateSubToken?" + form("token", token), bearer: token}
	}},
	{door: openwifi.Door, op: "validateSubToken", job: "by an administrator", takes: []string{subAccess}, inBody: true, make: func(t testing.TB, h *house, token string) request {
		return request{method: "GET", target: "/api/v1/validateSubToken?" + form("token", token), bearer: h.print(t, wifiAccess, "bob@example.test")}
	}},
	{door: openwifi.Door, op: "me", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/oauth2?me=true", "")},
	{door: openwifi.Door, op: "signOut", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "DELETE", target: "/api/v1/oauth2/" + token, bearer: token}
	}},
	{door: openwifi.Door, op: "validateToken", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/validateToken?" + form("token", token), bearer: token}
	}},
	{door: openwifi.Door, op: "validateToken", job: "by an administrator", takes: []string{wifiAccess}, inBody: true, make: func(t testing.TB, h *house, token string) request {
		return request{method: "GET", target: "/api/v1/validateToken?" + form("token", token), bearer: h.print(t, wifiAccess, "bob@example.test")}
	}},
	{door: openwifi.Door, op: "me", job: "by key", takes: []string{wifiKey}, make: func(_ testing.TB, h *house, token string) request {
		// From anywhere else each time: a network has so many tries only.
		return request{method: "GET", target: "/api/v1/oauth2?me=true", header: [][2]string{{"X-API-KEY", token}}, from: h.newNetwork()}
	}},
	{door: openwifi.Door, op: "preferences", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/preferences", "")},
	{door: openwifi.Door, op: "savePreferences", takes: []string{wifiAccess}, make: plain("PUT", "/api/v1/preferences", `{"data":[{"tag":"a","value":"1"}]}`)},
	{door: openwifi.Door, op: "userPreferences", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/userPreferences", "")},
	{door: openwifi.Door, op: "saveUserPreferences", takes: []string{wifiAccess}, make: plain("POST", "/api/v1/userPreferences", `{"data":[{"tag":"a","value":"1"}]}`)},
	{door: openwifi.Door, op: "startAuthenticator", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/totp", "")},
	{door: openwifi.Door, op: "confirmAuthenticator", takes: []string{wifiAccess}, make: confirmation(openwifi.Door, "/api/v1/totp")},
	{door: openwifi.Door, op: "apiKeys", takes: []string{wifiAccess}, make: withKey("GET", "/api/v1/apiKey/"+string(adaID), "")},
	{door: openwifi.Door, op: "createApiKey", takes: []string{wifiAccess}, make: func(t testing.TB, h *house, token string) request {
		h.apiKey(t, "made", h.liveOf(t, h.print(t, wifiAccess, "ada@example.test"))) // so that there is room
		return request{method: "POST", target: "/api/v1/apiKey/" + string(adaID), bearer: token,
			body: fmt.Sprintf(`{"name":%q,"description":"x","expiresOn":%d,"rights":{"acls":[{"service":"owgw","access":"read"}]}}`, h.newName("made"), h.Clock.Now().Unix()+3600)}
	}},
	{door: openwifi.Door, op: "describeApiKey", takes: []string{wifiAccess}, make: withKey("PUT", "/api/v1/apiKey/"+string(adaID), `{"id":"{id}","description":"y"}`)},
	{door: openwifi.Door, op: "deleteApiKey", takes: []string{wifiAccess}, make: withKey("DELETE", "/api/v1/apiKey/"+string(adaID)+"?keyUuid={id}", "")},
	{door: openwifi.Door, op: "validateApiKey", takes: []string{wifiAccess}, make: withKey("GET", "/api/v1/validateApiKey?apikey={key}", "")},
	{door: openwifi.Door, op: "validateApiKey", job: "by an administrator", takes: []string{wifiKey}, inBody: true, make: func(t testing.TB, h *house, token string) request {
		return request{method: "GET", target: "/api/v1/validateApiKey?" + form("apikey", token), bearer: h.print(t, wifiAccess, "bob@example.test"), from: h.newNetwork()}
	}},
	{door: openwifi.Door, op: "systemEndpoints", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/systemEndpoints", "")},
	{door: openwifi.Door, op: "systemEndpoints", job: "inside", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/systemEndpoints", bearer: token, service: true}
	}},
	{door: openwifi.Door, op: "getUsers", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/users?limit=3&emailSearch=example", "")},
	{door: openwifi.Door, op: "getUsers", job: "inside", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/users?idOnly=true&select=" + string(adaID), bearer: token, service: true}
	}},
	// About whom the caller may not remove: the damaged ones are sent by every method.
	{door: openwifi.Door, op: "getUser", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/user/"+string(rootID), "")},
	{door: openwifi.Door, op: "getUser", job: "inside", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/user/bob@example.test?byEmail=true", bearer: token, service: true}
	}},
	{door: openwifi.Door, op: "createUser", takes: []string{wifiAccess}, by: "bob@example.test", make: func(t testing.TB, h *house, token string) request {
		return request{method: "POST", target: "/api/v1/user/0", bearer: token, body: object("email", h.newAddress(t), "name", "New", "currentPassword", passphrase, "userRole", "noc")}
	}},
	{door: openwifi.Door, op: "updateUser", takes: []string{wifiAccess}, by: "root@example.test", make: plain("PUT", "/api/v1/user/"+string(rootID), `{"name":"Root","description":"first","locale":"en"}`)},
	{door: openwifi.Door, op: "deleteUser", takes: []string{wifiAccess}, by: "bob@example.test", make: func(t testing.TB, h *house, token string) request {
		id, _ := h.newPerson(t, false)
		return request{method: "DELETE", target: "/api/v1/user/" + string(id), bearer: token}
	}},
	{door: openwifi.Door, op: "setAvatar", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "POST", target: "/api/v1/avatar/" + string(adaID), bearer: token, contentType: avatarType, body: avatarBody}
	}},
	{door: openwifi.Door, op: "avatar", takes: []string{wifiAccess}, make: withAvatar("GET", "/api/v1/avatar/", adaID)},
	{door: openwifi.Door, op: "removeAvatar", takes: []string{wifiAccess}, make: withAvatar("DELETE", "/api/v1/avatar/", adaID)},
	{door: openwifi.Door, op: "system", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/system?command=info", "")},
	{door: openwifi.Door, op: "system", job: "inside", takes: []string{wifiAccess}, make: func(_ testing.TB, _ *house, token string) request {
		return request{method: "GET", target: "/api/v1/system?command=extraConfiguration", bearer: token, service: true}
	}},
	{door: openwifi.Door, op: "systemCommand", takes: []string{wifiAccess}, make: plain("POST", "/api/v1/system", `{"command":"getloglevels"}`)},
	{door: openwifi.Door, op: "systemCommand", job: "set", takes: []string{wifiAccess}, by: "root@example.test", make: plain("POST", "/api/v1/system", `{"command":"setloglevel","subsystems":[{"tag":"keys","value":"debug"}]}`)},
	{door: openwifi.Door, op: "systemServices", takes: []string{wifiAccess}, by: "root@example.test", make: plain("GET", "/api/v1/systemServices", "")},
	{door: openwifi.Door, op: "joinServices", make: func(_ testing.TB, h *house, _ string) request {
		return h.byService("PUT", "/api/v1/systemServices", object("type", "owprov", "publicURI", "https://prov.example.test", "key", "key-of-provisioning"))
	}},
	{door: openwifi.Door, op: "leaveServices", make: func(t testing.TB, h *house, _ string) request {
		h.must(t, h.byService("PUT", "/api/v1/systemServices", object("type", "owls", "publicURI", "https://ls.example.test")))
		return h.byService("DELETE", "/api/v1/systemServices?"+form("type", "owls", "publicURI", "https://ls.example.test"), "")
	}},
	{door: openwifi.Door, op: "readSecret", takes: []string{wifiAccess}, by: "root@example.test", make: plain("GET", "/api/v1/systemSecret/0?all=true", "")},
	{door: openwifi.Door, op: "saveSecret", takes: []string{wifiAccess}, by: "root@example.test", make: plain("PUT", "/api/v1/systemSecret/maps", `{"value":"x"}`)},
	{door: openwifi.Door, op: "deleteSecret", takes: []string{wifiAccess}, by: "root@example.test", make: func(t testing.TB, h *house, token string) request {
		h.must(t, request{method: "PUT", target: "/api/v1/systemSecret/gone", bearer: h.print(t, wifiAccess, "root@example.test"), body: `{"value":"x"}`})
		return request{method: "DELETE", target: "/api/v1/systemSecret/gone", bearer: token}
	}},
	{door: openwifi.Door, op: "securityProfiles", takes: []string{wifiAccess}, make: plain("GET", "/api/v1/securityProfiles", "")},
	{door: openwifi.Door, op: "sendEmail", takes: []string{wifiAccess}, by: "bob@example.test", make: plain("POST", "/api/v1/email",
		`{"from":"noc@example.test","subject":"Works","recipients":["ada@example.test"],"text":"It works."}`)},
	{door: openwifi.Door, op: "sendSMS", takes: []string{wifiAccess}, by: "bob@example.test", make: func(_ testing.TB, h *house, token string) request {
		// To another number each time: one gets so many only.
		return request{method: "POST", target: "/api/v1/sms", bearer: token, body: object("to", h.newNumber(), "text", "It works.")}
	}},
	// A person is sent ten codes in an hour, so these are two persons'.
	{door: openwifi.Door, op: "sendSMS", job: "code", takes: []string{wifiAccess}, by: "eve@works.test", make: func(_ testing.TB, h *house, token string) request {
		return request{method: "POST", target: "/api/v1/sms?validateNumber=true", bearer: token, body: object("to", h.newNumber()), from: h.newNetwork()}
	}},
	{door: openwifi.Door, op: "sendSMS", job: "proof", takes: []string{wifiAccess}, make: proofOfNumber},
	{door: openwifi.Door, op: "asset", make: plain("GET", "/wwwassets/password_policy.html", "")},

	{door: oidc.Door, op: "openidConfiguration", make: plain("GET", "/.well-known/openid-configuration", "")},
	{door: oidc.Door, op: "authorizationServer", make: plain("GET", "/.well-known/oauth-authorization-server", "")},
	{door: oidc.Door, op: "jwks", make: plain("GET", "/oauth2/jwks", "")},
	{door: oidc.Door, op: "token", job: "own", make: formOf("/oauth2/token", "grant_type", "client_credentials", "client_id", "robot", "client_secret", clientSecret, "scope", "read")},
	{door: oidc.Door, op: "token", job: "refresh", takes: []string{oidcRefr}, inBody: true, make: formOf("/oauth2/token", "grant_type", "refresh_token", "refresh_token", "{token}",
		"client_id", "robot", "client_secret", clientSecret)},
	{door: oidc.Door, op: "introspect", make: formOf("/oauth2/introspect", "token", "{token}x", "client_id", "robot", "client_secret", clientSecret)},
	{door: oidc.Door, op: "revoke", make: formOf("/oauth2/revoke", "token", "{token}x", "client_id", "robot", "client_secret", clientSecret)},
}

// atPage is the form of the page at which people sign in with their Nx account.
func atPage(login string) request {
	return request{
		method: "POST", target: "/auth/nx/authorize", contentType: formType, header: [][2]string{{"Sec-Fetch-Site", "same-origin"}},
		body: form("redirect_url", portal, "client_id", "gatehouse", "state", "x", "email", login, "password", passphrase),
	}
}

// aboutToken is a call of the cloud about the token that is shown.
func aboutToken(method string) func(testing.TB, *house, string) request {
	return func(_ testing.TB, _ *house, token string) request {
		return request{method: method, target: "/cdb/oauth2/token/" + url.PathEscape(token), bearer: token}
	}
}

// withKey is a request about an API key of ada's, one of its own each time.
func withKey(method, target, body string) func(testing.TB, *house, string) request {
	return func(t testing.TB, h *house, token string) request {
		t.Helper()
		id, key := h.apiKey(t, "made", h.liveOf(t, h.print(t, wifiAccess, "ada@example.test")))
		fill := strings.NewReplacer("{id}", string(id), "{key}", key)
		return request{method: method, target: fill.Replace(target), body: fill.Replace(body), bearer: token}
	}
}

// confirmation is the first code of an authenticator that whoever holds the token has begun to set up.
func confirmation(door identity.Door, path string) func(testing.TB, *house, string) request {
	return func(t testing.TB, h *house, token string) request {
		t.Helper()
		code := "000000"
		if live := h.liveAt(t, door, token); live != nil {
			started, err := h.Enrol.Start(t.Context(), identity.Caller{Door: door}, live, true)
			must(t, err)
			code, err = totp.Code(started.Secret.Reveal(), h.Clock.Now())
			must(t, err)
		}
		return request{method: "PUT", target: path + "?index=1&value=" + code, bearer: token}
	}
}

// proofOfNumber brings back the code that was sent to a number for whoever holds the token.
func proofOfNumber(t testing.TB, h *house, token string) request {
	t.Helper()
	number, code := h.newNumber(), "000000"
	if live := h.liveOf(t, token); live != nil {
		caller := identity.Caller{Door: openwifi.Door, SubjectID: live.Subject.ID, ActorID: live.Subject.ID, SessionID: live.Session.ID, Address: h.newNetwork()}
		must(t, h.Phones.StartProof(t.Context(), caller, number))
		code = h.codeTo(t, number)
	}
	return request{method: "POST", target: "/api/v1/sms?completeValidation=true&validationCode=" + code, bearer: token, body: object("to", number)}
}

// asks finds the recipe that asks with a kind of token and changes least.
func asks(kind string) recipe {
	name := map[string]string{
		nxAccess: "nx configuration", nxRefresh: "nx refresh", nxOldRefresh: "nx refresh", nxReset: "nx openReset",
		nxTotp: "nx nxTOTP", nxPageCode: "nx nxCode", cloudAccess: "nx cloudAccount", cloudRefresh: "nx cloudToken refresh", cloudLimited: "nx cloudTOTP",
		insightsAccess: "insights sites", insightsRefresh: "insights token refresh", titanFull: "titan ping", titanSpent: "titan ping", titanCode: "titan enterCode", titanVerify: "titan verify", titanRecovery: "titan verify",
		wifiAccess: "openwifi me", wifiRefresh: "openwifi token refresh", wifiChallenge: "openwifi token challenge", wifiKey: "openwifi me by key",
		wifiReset: "openwifi openLink reset", wifiVerify: "openwifi openLink verify", subAccess: "openwifi subscriberMe", subRefresh: "openwifi subscriberToken refresh", oidcRefr: "oidc token refresh",
	}[kind]
	for _, r := range recipes {
		if r.name() == name {
			return r
		}
	}
	panic("no recipe asks with " + kind)
}

// honoured says whether a token is still good for what it is for. Tokens of the oidc door open nothing here, so it is asked.
func (h *house) honoured(t testing.TB, kind, token string) bool {
	t.Helper()
	if kind == oidcOwn || kind == oidcAccess {
		return h.active(t, token)
	}
	a := h.send(asks(kind).make(t, h, token))
	if a.status >= 500 {
		t.Errorf("%s: %v", kind, a)
	}
	return a.ok()
}

func (h *house) active(t testing.TB, token string) bool {
	t.Helper()
	a := h.send(formOf("/oauth2/introspect", "token", "{token}", "client_id", "robot", "client_secret", clientSecret)(t, h, token))
	if a.status != http.StatusOK && a.status != http.StatusBadRequest { // bytes that are no text at all are a bad request
		t.Errorf("introspection: %v", a)
	}
	return strings.HasPrefix(a.body, `{"active":true,`)
}

var addresses struct {
	sync.Mutex
	n int
}

// newAddress is nobody's yet.
func (h *house) newAddress(testing.TB) string {
	addresses.Lock()
	defer addresses.Unlock()
	addresses.n++
	return fmt.Sprintf("new%d@example.test", addresses.n)
}

// newName is nobody's yet, in letters and digits.
func (h *house) newName(kind string) string {
	addresses.Lock()
	defer addresses.Unlock()
	addresses.n++
	return fmt.Sprint(kind, addresses.n)
}

// newNumber is a phone's to which nothing was sent yet.
func (h *house) newNumber() string {
	addresses.Lock()
	defer addresses.Unlock()
	addresses.n++
	return fmt.Sprintf("+1514555%04d", addresses.n%10000)
}

// newNetwork is an address that asked for nothing yet.
func (h *house) newNetwork() string {
	addresses.Lock()
	defer addresses.Unlock()
	addresses.n++
	return fmt.Sprintf("10.%d.%d.%d", addresses.n>>16&255, addresses.n>>8&255, addresses.n&255)
}

// newCustomer makes somebody whom the operator serves.
func (h *house) newCustomer(t testing.TB) identity.SubjectID {
	t.Helper()
	s, err := h.Manage.Create(t.Context(), identity.Caller{Door: "cli"}, manage.NewSubject{Kind: identity.Customer, Email: h.newAddress(t), Name: "New", Verified: true})
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// newPerson makes somebody with passphrase, of ACME; with a second factor if asked.
func (h *house) newPerson(t testing.TB, factor bool) (identity.SubjectID, string) {
	t.Helper()
	op := identity.Caller{Door: "cli"}
	email := h.newAddress(t)
	hash, err := h.Passwords.Hasher.Hash(t.Context(), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.Manage.Create(t.Context(), op, manage.NewSubject{Email: email, Name: "New", PasswordHash: hash, Verified: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Manage.SaveMembership(t.Context(), op, identity.Membership{SubjectID: s.ID, OrganisationID: acme}); err != nil {
		t.Fatal(err)
	}
	if factor {
		if err := h.Manage.EnrolTOTP(t.Context(), op, s.ID, sharedSecret); err != nil {
			t.Fatal(err)
		}
	}
	return s.ID, email
}

// documents are the doors' own, as they serve them.
var documentPaths = map[identity.Door]string{
	nx.Door: "/auth/openapi.json", insights.Door: "/oauth/openapi.json", titan.Door: "/auth/titan/openapi.json",
	openwifi.Door: "/api/v1/openapi.json", oidc.Door: "/oauth2/openapi.json",
}

// operation is one of a door's document.
type operation struct {
	door     identity.Door
	doc      *openapi3.T
	method   string
	path     string
	item     *openapi3.PathItem
	spec     *openapi3.Operation
	security bool // it asks for a bearer token always
}

func (o operation) name() string { return string(o.door) + " " + o.spec.OperationID }

// operations reads every door's document.
func (h *house) operations(t testing.TB) []operation {
	t.Helper()
	var all []operation
	for door, path := range documentPaths {
		doc, err := openapi3.NewLoader().LoadFromData([]byte(h.must(t, request{method: "GET", target: path}).body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		doc.Servers = nil
		for path, item := range doc.Paths.Map() {
			for method, spec := range item.Operations() {
				needs := doc.Security
				if spec.Security != nil {
					needs = *spec.Security
				}
				secured := len(needs) > 0 && !slices.ContainsFunc(needs, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 }) &&
					slices.ContainsFunc(needs, func(r openapi3.SecurityRequirement) bool { return r["ServiceKey"] == nil }) // not for services alone
				all = append(all, operation{door, doc, method, path, item, spec, secured})
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.name(), b.name()) })
	return all
}

// The table of recipes has every operation that any document has, and asks for a token where the document does.
func TestPromisesKnowEveryOperation(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	known := map[string][]recipe{}
	for _, r := range recipes {
		known[string(r.door)+" "+r.op] = append(known[string(r.door)+" "+r.op], r)
	}
	all := h.operations(t)
	if len(all) < 30 {
		t.Errorf("only %d operations in all documents: the reader of documents is broken", len(all))
	}
	for _, o := range all {
		if len(known[o.name()]) == 0 {
			t.Errorf("%s is in its document and in no recipe", o.name())
		}
		for _, r := range known[o.name()] {
			if o.security && r.takes == nil {
				t.Errorf("%s needs a token and its recipe sends none", o.name())
			}
		}
		delete(known, o.name())
	}
	for name := range known {
		t.Errorf("%s is in a recipe and in no document", name)
	}
}

// count reads something off the store.
func (h *house) view(t testing.TB, read func(ctx context.Context, r identity.Reader) error) {
	t.Helper()
	if err := h.Store.View(t.Context(), func(r identity.Reader) error { return read(t.Context(), r) }); err != nil {
		t.Fatal(err)
	}
}

// state is what a refusal must leave as it is: the world, sessions, mails, and what other nodes were told.
func (h *house) state(t testing.TB) string {
	t.Helper()
	world, err := h.Worlds.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.Write(world)
	h.view(t, func(ctx context.Context, r identity.Reader) error {
		sessions, err := r.Sessions(ctx, "", 1000)
		if err != nil {
			return err
		}
		messages, err := r.Messages(ctx, "", "", 1000)
		if err != nil {
			return err
		}
		recoveries, err := r.Recoveries(ctx, "", "", 1000)
		if err != nil {
			return err
		}
		change, err := r.LastChange(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(&out).Encode([]any{sessions, messages, recoveries, change})
	})
	return out.String()
}

// events lists the audit rows written since a mark, oldest first.
func (h *house) events(t testing.TB, since int64) []identity.Event {
	t.Helper()
	var list []identity.Event
	h.view(t, func(ctx context.Context, r identity.Reader) (err error) {
		list, err = r.Events(ctx, identity.EventFilter{Limit: 100})
		for err == nil && len(list) > 0 && len(list)%100 == 0 && list[len(list)-1].Seq > since {
			var more []identity.Event
			if more, err = r.Events(ctx, identity.EventFilter{Limit: 100, Before: list[len(list)-1].Seq}); len(more) == 0 {
				break
			}
			list = append(list, more...)
		}
		return err
	})
	list = slices.DeleteFunc(list, func(e identity.Event) bool { return e.Seq <= since })
	slices.Reverse(list)
	return list
}

func (h *house) lastEvent(t testing.TB) int64 {
	t.Helper()
	var seq int64
	h.view(t, func(ctx context.Context, r identity.Reader) error {
		list, err := r.Events(ctx, identity.EventFilter{Limit: 1})
		if len(list) == 1 {
			seq = list[0].Seq
		}
		return err
	})
	return seq
}
