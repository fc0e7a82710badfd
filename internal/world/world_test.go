package world_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/world"
)

// house is a core with a world service on one store.
type house struct {
	*coretest.Core
	*world.Service
	t *testing.T
}

func newHouse(t *testing.T, store identity.Store) *house {
	t.Helper()
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	return &house{core, &world.Service{Store: store, Manage: &manage.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box,
		Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}, Licences: &licence.Service{
		Store: store, Log: core.Passwords.Log, Outbox: core.Outbox, Terms: licence.Terms{Lease: 720 * time.Hour, Grace: 336 * time.Hour},
		Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}}, t}
}

func (h *house) parse(text string) *world.World {
	h.t.Helper()
	w, err := world.Parse("world.yaml", []byte(text))
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

func (h *house) apply(text string, o world.Options) []string {
	h.t.Helper()
	w := h.parse(text)
	planned, err := h.Plan(h.t.Context(), w, o)
	if err != nil {
		h.t.Fatalf("plan: %v", err)
	}
	steps, err := h.Apply(h.t.Context(), w, o)
	if err != nil {
		h.t.Fatalf("apply: %v", err)
	}
	if got, want := texts(planned), texts(steps); !slices.Equal(got, want) {
		h.t.Errorf("planned %q, did %q", got, want)
	}
	return texts(steps)
}

func (h *house) refuse(text string, want ...string) {
	h.t.Helper()
	before := h.export()
	w, err := world.Parse("world.yaml", []byte(text))
	if err == nil {
		_, err = h.Apply(h.t.Context(), w, world.Options{})
	}
	var m world.Mistakes
	if !errors.As(err, &m) {
		h.t.Fatalf("got %v, want mistakes", err)
	}
	for _, line := range want {
		if !strings.Contains(err.Error(), line) {
			h.t.Errorf("mistakes\n%v\ndo not say %q", err, line)
		}
	}
	if !bytes.Equal(before, h.export()) {
		h.t.Error("a mistake changed something")
	}
}

func (h *house) export() []byte {
	h.t.Helper()
	text, err := h.Export(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

func (h *house) signIn(login string, pw identity.Secret) (signin.Outcome, error) {
	return h.SignIn.Password(h.t.Context(), signin.PasswordInput{
		Caller: coretest.Caller(coretest.Door), Login: login, Password: pw,
		Way: signin.Way{Steps: signin.Steps{Proof: true, Change: true}},
	})
}

func texts(steps []world.Step) []string {
	all := []string{}
	for _, s := range steps {
		all = append(all, s.String())
	}
	return all
}

func sample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "world.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSampleAppliesOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		if steps := h.apply(sample(t), world.Options{}); len(steps) == 0 {
			t.Fatal("nothing was made")
		}
		if steps := h.apply(sample(t), world.Options{Prune: true}); len(steps) != 0 {
			t.Errorf("applied again, it did %q", steps)
		}
		out, err := h.signIn("DANA@resolve.io", "Harbour-42-lantern!")
		if err != nil || out.Session.ID == "" {
			t.Errorf("dana: %+v, %v", out, err)
		}
		out, err = h.signIn("tove", "Quiet-meadow-77-bell!")
		if err != nil || out.Ticket == nil || out.Ticket.Purpose != signin.ProofDue {
			t.Fatalf("tove: %+v, %v", out, err)
		}
		out, err = h.SignIn.Proof(t.Context(), signin.ProofInput{
			Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: h.Code(),
		})
		if err != nil || out.Session.ID == "" {
			t.Errorf("tove's code: %+v, %v", out, err)
		}
		out, err = h.signIn("root@openwifi.example.test", "Change-me-9-please!")
		if err != nil || out.Ticket == nil || out.Ticket.Purpose != signin.ChangeDue {
			t.Errorf("root: %+v, %v", out, err)
		}
		if _, err := h.signIn("sam@example.test", "Winter-orchard-58-gate!"); !errors.Is(err, identity.Suspended) {
			t.Errorf("sam: %v", err)
		}
		if _, err := h.Grants.Authenticate(t.Context(), identity.Caller{}, "fixstreamapp", "fixstream"); err != nil {
			t.Errorf("fixstreamapp: %v", err)
		}
	})
}

// odd is a world of names that are hard to write down.
const odd = `
organisations:
  - {key: "odd:one", name: "yes", expiration_time: 2031-02-03T04:05:06.789Z}
  - {key: "2024-01-01", name: "- : # 'a' \"b\"", policy: {second_factor: off, session: {idle: 90m}}}
subjects:
  - email: null-island@example.test
    name: "~"
    given_name: "line\u0085none"
    password_hash: $2a$04$abcdefghijklmnopqrstuuJ9gk1eRCCcYgrbTp1MbSRgbmkV5sK2e
    titan: {language: 1, deep: {a: [1, 2.5, -0.0, 1e300, null, true, "on", 18446744073709551615], z: {}}}
    attributes: {oidc: {nested: {empty: []}}}
    memberships: [{organisation: "odd:one", titan: {role: user, extra: 1}}]
    factors: {email: true, sms: "+15145550100", totp: "jbsw y3dp ehpk 3pxp"}
    identities: [{authority: https://accounts.google.com, id: "0123", provider: google, email: null@example.test}, {authority: nx, id: "~"}]
    verified: false
  - aliases: [0x10, robot-7]
    kind: machine
    security_policy:
      description: "no: on"
      lockout: {tries: 3, window: 1h}
      hours: [{from: 08:00, until: 18:30}, {days: [sat, sun], from: "22:00", until: 06:00}]
      zone: America/St_Johns
      networks: [0.0.0.0/0, "::1/128"]
clients:
  - {id: "1", grants: [authorization_code], redirect_uris: ["https://app.example.test/cb?a=1&b=2"], attributes: {nx: {a: 1}}}
  - {id: "0x1", grants: [], device: "0x1"}
  - {id: "on", grants: [], organisation: "2024-01-01"}
identity_providers:
  - {key: google, kind: google, client_id: app, client_secret: said-to-google}
  - {key: "1", kind: oidc, issuer: "http://127.0.0.1:1/x", client_id: "2", name: "off", email: never, create_accounts: false, suspended: true}
  - {key: microsoft, kind: microsoft, client_id: m, client_secret: "null", tenants: [5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10], email: always}
agreements:
  - {key: "odd:draft", name: "null", kind: "1", published_at: null}
  - {key: "odd:pro", name: "- : #", kind: "on", provides: ["yes", "2", "a b"], published_at: 2025-01-01}
devices:
  - {key: "0x1", name: "~", organisation: "odd:one"}
  - {key: "odd:2", organisation: "odd:one"}
licences:
  - {key: "1", agreement: "odd:pro", organisation: "odd:one", provider: "2024-01-01", devices: ["odd:2", "0x1"], seats: 9, starts_at: 2025-02-01T00:00:00.123456Z,
     expires_at: 2031-01-01, grace: 90m, paid_until: 2026-06-01, amount_per_month: 1000000000000, discount_bp: 10000, code: "Code 1",
     catalogues: [01a0ca00-0000-7000-8000-000000000001], signed_by: null-island@example.test, signed_at: 2025-01-31}
  - {key: "2", agreement: "odd:pro", organisation: "odd:one", revoked: true, revoked_for: "null # not paid", grace: 0s}
  - {key: "3", id: 01a0f000-0000-7000-8000-000000000003, agreement: "odd:draft", organisation: "odd:one"} # taken back since
`

func TestExportMovesBetweenStores(t *testing.T) {
	// \u0085 is a control character, which names may not hold.
	text := strings.ReplaceAll(odd, `line\u0085none`, `tabs and 🦫 and ünï`)
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		a := newHouse(t, store)
		a.apply(sample(t), world.Options{})
		a.apply(text, world.Options{})
		exported := a.export()
		if steps := a.apply(string(exported), world.Options{Prune: true}); len(steps) != 0 {
			t.Errorf("applying the export did %q", steps)
		}
		for _, secret := range []string{"Harbour-42", "fixstream\n", "GEZDGNBV", "JBSWY3DP", "said-to-google"} {
			if bytes.Contains(exported, []byte(secret)) {
				t.Errorf("the export tells %q", secret)
			}
		}
		// To the other engine, where other people are.
		storetest.EachEngine(t, func(t *testing.T, other identity.Store) {
			b := newHouse(t, other)
			b.Clock.Advance(time.Hour) // or its seeded ids would be those of the first house
			b.apply("organisations: [{key: gone, sites: [{key: x}]}]\nroles: [{key: gone}]\n"+
				"subjects: [{email: gone@example.test, memberships: [{organisation: gone, site: x, role: gone}]}]\n"+
				"services: [{type: gone, uri: 'http://gone.example.test'}]\nclients: [{id: gone, device: gone}, {id: '1', device: gone}]\npolicies: [{key: gone}]\n"+
				"identity_providers: [{key: gone, kind: google, client_id: x}]\n"+
				"agreements: [{key: gone, kind: trial}]\ndevices: [{key: gone, organisation: gone}]\n"+
				"licences: [{key: gone, agreement: gone, organisation: gone, device: gone}]\n", world.Options{})
			b.apply(string(exported), world.Options{Prune: true})
			if again := b.export(); !bytes.Equal(exported, again) {
				t.Errorf("the export of the copy differs:\n%s\nwas\n%s", again, exported)
			}
			if _, err := b.signIn("dana", "Harbour-42-lantern!"); err != nil {
				t.Errorf("dana in the copy: %v", err)
			}
			out, err := b.signIn("tove", "Quiet-meadow-77-bell!")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.SignIn.Proof(t.Context(), signin.ProofInput{
				Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: b.Code(),
			}); err != nil {
				t.Errorf("tove's code in the copy: %v", err)
			}
		})
	})
}

func TestUpdates(t *testing.T) {
	const base = `
policies: [{key: strict, password: {min_length: 12}}]
organisations: [{key: acme, name: ACME, sites: [{key: berlin, name: BERLIN}, {key: paris}]}]
roles: [{key: operator, privileges: [B, A]}]
subjects:
  - email: ada@example.test
    aliases: [ada]
    name: Ada
    password: correct horse battery
    titan: {language: 0, settings: {locale: 1}}
    memberships: [{organisation: acme, role: operator}, {organisation: acme, site: berlin, titan_role: owner}]
clients: [{id: app, secret: first secret, grants: [password], scopes: [read]}]
services: [{type: owgw, uri: "https://gw.example.test"}]
identity_providers: [{key: house, kind: oidc, issuer: "https://id.example.test", client_id: us, client_secret: first}]
`
	tests := []struct {
		name, text string
		prune      bool
		want       []string
	}{
		{"what is left out stays", "organisations: [{key: acme}]\nsubjects: [{email: ADA@example.test}]\nclients: [{id: app}]\n", false,
			[]string{`update subject ADA@example.test: email "ada@example.test" → "ADA@example.test"`}},
		{"own fields", "subjects: [{email: ada@example.test, name: Ada L., locale: en, security_policy: strict}]\n", false,
			[]string{`update subject ada@example.test: name "Ada" → "Ada L.", locale "" → "en", security_policy "strict"`}},
		{"password", "subjects: [{email: ada@example.test, password: another horse battery}]\n", false,
			[]string{`update subject ada@example.test: password`}},
		{"a door's words are patched", "subjects: [{email: ada@example.test, titan: {language: 1}, nx: {newsletter: true}}]\n", false,
			[]string{`update subject ada@example.test: nx, titan`}},
		{"a door's word that stands", "subjects: [{email: ada@example.test, titan: {settings: {locale: 1.0}}}]\n", false, nil},
		{"site", "organisations: [{key: acme, sites: [{key: berlin, name: Berlin}, {key: rome}]}]\n", false,
			[]string{`update site acme/berlin: name "BERLIN" → "Berlin"`, `create site acme/rome`}},
		{"policy", "organisations: [{key: acme, policy: strict}]\n", false, []string{`update organisation acme: policy "strict"`}},
		{"a policy's description, hours and networks", "policies: [{key: strict, description: At work, password: {min_length: 12}, " +
			"hours: [{days: [mon, fri], from: '08:00', until: '24:00'}], zone: Europe/Berlin, networks: [10.0.0.0/8, '2001:db8::/32']}]\n", false,
			[]string{`update policy strict: description "" → "At work", hours "" → "mon fri 08:00-24:00 (Europe/Berlin)", networks "" → "10.0.0.0/8 2001:db8::/32"`}},
		{"and without them", "policies: [{key: strict, password: {min_length: 12}, hours: [], networks: []}]\n", false,
			nil},
		{"role", "roles: [{key: operator, privileges: [A, B]}]\n", false, nil},
		{"role's privileges", "roles: [{key: operator, privileges: [A]}]\n", false, []string{`update role operator: privileges "A B" → "A"`}},
		{"membership", "subjects: [{email: ada@example.test, memberships: [{organisation: acme, titan_role: user}]}]\n", false,
			[]string{`update subject ada@example.test: membership acme changed`}},
		{"lists are pruned", "subjects: [{email: ada@example.test, aliases: [lovelace], memberships: [{organisation: acme, role: operator}]}]\n", true,
			[]string{`update subject ada@example.test: alias "ada" removed, alias "lovelace" added, membership removed`}},
		{"absent lists are not", "clients: []\n", true, []string{`delete client app`}},
		{"sites are pruned", "organisations: [{key: acme, sites: []}]\n", true, []string{`delete site acme/berlin`, `delete site acme/paris`}},
		{"secret", "clients: [{id: app, secret: second secret}]\n", false, []string{`update client app: secret`}},
		{"public", "clients: [{id: app, public: true, grants: []}]\n", false, []string{`update client app: grants "password" → "", secret`}},
		{"service", "services: [{type: owgw, uri: 'https://gw.example.test', private_uri: 'https://10.0.0.1'}]\n", false,
			[]string{`update service owgw https://gw.example.test: private_uri "" → "https://10.0.0.1"`}},
		{"factors", "subjects: [{email: ada@example.test, factors: {totp: GEZDGNBVGY3TQOJQ, sms: '+1 (514) 555-0100'}}]\n", false,
			[]string{`update subject ada@example.test: factor totp, factor sms`}},
		{"identities", "subjects: [{email: ada@example.test, identities: [{authority: nx, id: '7'}, {authority: 'https://id.example.test', id: a}]}]\n", false,
			[]string{`update subject ada@example.test: identity of nx added, identity of https://id.example.test added`}},
		{"provider", "identity_providers: [{key: house, kind: oidc, issuer: 'https://id.example.test/', client_id: us, client_secret: second, email: always}]\n", false,
			[]string{`update identity provider house: issuer "https://id.example.test" → "https://id.example.test/", email verified → always, client_secret`}},
		{"a provider without secret", "identity_providers: [{key: house, kind: oidc, issuer: 'https://id.example.test', client_id: us, suspended: true}]\n", false,
			[]string{`update identity provider house: suspended false → true, client_secret`}},
		{"suspended", "subjects: [{email: ada@example.test, suspended: true}]\n", false,
			[]string{`update subject ada@example.test: suspended false → true`}},
		{"everything", "organisations: []\nroles: []\nsubjects: []\nclients: []\nservices: []\npolicies: []\nidentity_providers: []\n", true, []string{
			`delete client app`, `delete subject ada@example.test`, `delete service owgw https://gw.example.test`, `delete identity provider house`, `delete organisation acme`,
			`delete role operator`, `delete policy strict`,
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		empty := "organisations: []\nroles: []\nsubjects: []\nclients: []\nservices: []\npolicies: []\nidentity_providers: []\n"
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				h.apply(base, world.Options{})
				if got := h.apply(tt.text, world.Options{Prune: tt.prune}); !slices.Equal(got, tt.want) {
					t.Errorf("did\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
				if again := h.apply(tt.text, world.Options{Prune: tt.prune}); len(again) != 0 {
					t.Errorf("again it did %q", again)
				}
				h.apply(empty, world.Options{Prune: true})
			})
		}
	})
}

func TestFirstPasswordStaysHers(t *testing.T) {
	const text = "subjects: [{email: ada@example.test, password: first of all passwords, must_change_password: true}]\n"
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.apply(text, world.Options{})
		out, err := h.signIn("ada@example.test", "first of all passwords")
		if err != nil || out.Ticket == nil {
			t.Fatal(out, err)
		}
		if _, err := h.SignIn.Change(t.Context(), signin.ChangeInput{
			Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, NewPassword: "a password of her own",
		}); err != nil {
			t.Fatal(err)
		}
		if steps := h.apply(text, world.Options{}); len(steps) != 0 {
			t.Errorf("it did %q", steps)
		}
		if _, err := h.signIn("ada@example.test", "a password of her own"); err != nil {
			t.Error(err)
		}
		if _, err := h.signIn("ada@example.test", "first of all passwords"); !errors.Is(err, identity.BadCredential) {
			t.Errorf("the first password: %v", err)
		}
	})
}

func TestSuperadminIsReplacedNotLost(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.apply("subjects: [{email: ada@example.test, superadmin: true}, {email: bob@example.test}]\n", world.Options{})
		h.refuse("subjects: [{email: ada@example.test, superadmin: false}]\n", "world.yaml:1: subjects[0]", "last active superadmin")
		h.refuse("subjects: [{email: ada@example.test, suspended: true}]\n", "last active superadmin")
		h.apply("subjects: [{email: ada@example.test, superadmin: false}, {email: bob@example.test, superadmin: true}]\n", world.Options{})
	})
}

func TestMistakes(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"no YAML", "a: [", []string{"world.yaml:1: not YAML"}},
		{"tabs", "subjects:\n\t- x\n", []string{"world.yaml:2: not YAML"}},
		{"not a mapping", "- a\n", []string{"world.yaml:1: must be a mapping"}},
		{"two documents", "roles: []\n---\nroles: []\n", []string{"second document"}},
		{"unknown section", "subject: []\n", []string{"world.yaml:1: subject: is not known here; did you mean subjects?"}},
		{"unknown field", "subjects:\n  - email: a@example.test\n    memberhips: []\n", []string{"world.yaml:3: subjects[0].memberhips: is not known here; did you mean memberships?"}},
		{"twice", "roles: []\nroles: []\n", []string{"world.yaml:2: roles: is given twice, first on line 1"}},
		{"all at once", "organisations:\n  - name: x\nsubjects:\n  - email: nobody\n    superadmin: 1\n    password: [x]\nclients:\n  - id: a\n    secret: x\n    secret_hash: y\n", []string{
			"world.yaml:2: organisations[0].key: is needed", "world.yaml:4: subjects[0].email: must be an e-mail address",
			"world.yaml:5: subjects[0].superadmin: must be true or false", "world.yaml:6: subjects[0].password: must be text",
			"world.yaml:10: clients[0].secret_hash: is given beside secret",
		}},
		{"dangling", "organisations: [{key: acme, sites: [{key: a}], policy: no}]\nsubjects:\n  - email: a@example.test\n    security_policy: nope\n    memberships:\n      - {organisation: acm}\n      - {organisation: acme, site: b}\n      - {organisation: acme, role: r}\n", []string{
			`world.yaml:1: organisations[0].policy: there is no policy "no"`, `world.yaml:4: subjects[0].security_policy: there is no policy "nope"`,
			`world.yaml:6: subjects[0].memberships[0].organisation: there is no organisation "acm"`,
			`world.yaml:7: subjects[0].memberships[1].site: organisation "acme" has no site "b"`,
			`world.yaml:8: subjects[0].memberships[2].role: there is no role "r"`,
		}},
		{"same place", "subjects:\n  - email: a@example.test\n    memberships:\n      - {organisation: x}\n      - {organisation: x, role: r}\n", []string{"world.yaml:5: subjects[0].memberships[1]: is at the same place as the membership on line 4"}},
		{"same login", "subjects:\n  - email: a@example.test\n  - email: b@example.test\n    aliases: [A@Example.test]\n", []string{`world.yaml:4: subjects[1].aliases: "A@Example.test" is, or looks like, another subject's login, first on line 2`}},
		{"policy", "policies:\n  - key: p\n    password: {min_length: 1000}\n    second_factor: maybe\n  - key: q\n    lockout: {tries: 3}\n", []string{"world.yaml:4: policies[0].second_factor: must be one of", "policies[1].lockout: needs both"}},
		{"a policy's hours", "policies:\n  - key: p\n    hours:\n      - {days: [monday], from: '8:00'}\n      - {from: '08:00', until: '25:00'}\n  - key: q\n    zone: Europe/Berlin\n  - key: r\n    zone: Moon\n    hours: [{from: '08:00', until: '09:00'}]\n  - key: s\n    hours: {from: '08:00'}\n", []string{
			"world.yaml:4: policies[0].hours[0].days[0]: must be one of sun, mon", `world.yaml:4: policies[0].hours[0].from: must be a time of the day such as "08:30"`,
			"world.yaml:4: policies[0].hours[0].until: is needed", "world.yaml:5: policies[0].hours[1].until: must be a time", "world.yaml:7: policies[1].zone: is of no use without hours",
			"world.yaml:12: policies[3].hours: must be a list",
		}},
		{"a policy's zone", "policies:\n  - key: r\n    zone: Moon\n    hours: [{from: '08:00', until: '09:00'}]\n", []string{"world.yaml:3: policies[0].zone: is not the name of a time zone"}},
		{"a policy's networks", "policies:\n  - key: p\n    description: x\n    networks: [10.0.0.1/8]\n", []string{"world.yaml:4: policies[0].networks: holds a block that is not spelt as 10.0.0.0/8"}},
		{"openwifi role", "subjects:\n  - email: a@example.test\n    openwifi: {role: king}\n", []string{"world.yaml:3: subjects[0].openwifi.role: must be one of root"}},
		{"titan role", "subjects:\n  - email: a@example.test\n    memberships: [{organisation: x, titan_role: king}]\n", []string{"titan_role: must be one of owner, administrator, user"}},
		{"totp", "subjects:\n  - email: a@example.test\n    factors: {totp: '1'}\n", []string{"world.yaml:3: subjects[0].factors.totp: must be base32"}},
		{"sms without a country", "subjects:\n  - email: a@example.test\n    factors:\n      sms: '5145550100'\n", []string{"world.yaml:4: subjects[0].factors.sms: must begin with + and the country"}},
		{"impossible sms", "subjects:\n  - email: a@example.test\n    factors: {sms: '+1514'}\n", []string{"world.yaml:3: subjects[0].factors.sms: is not a possible phone number"}},
		{"email", "subjects:\n  - email: a@example.test\n    factors: {email: nowhere}\n", []string{"world.yaml:3: subjects[0].factors.email: must be true or an e-mail address"}},
		{"sealed elsewhere", "subjects:\n  - email: a@example.test\n    factors: {totp_sealed: '01900000-0000-7000-8000-000000000001:AAAA'}\n", []string{"factors.totp_sealed: was sealed with another master key"}},
		{"id", "subjects:\n  - {id: X, email: a@example.test}\n", []string{"subjects[0].id: must be a UUID"}},
		{"nobody", "subjects:\n  - name: x\n", []string{"world.yaml:2: subjects[0].email: is needed"}},
		{"provider", "identity_providers:\n  - key: Google\n    kind: google\n    client_id: x\n", []string{"world.yaml:2: identity_providers[0].key: must be 1 to 50 small letters"}},
		{"half a provider", "identity_providers:\n  - key: a\n    kind: saml\n    client_secret: x\n    client_secret_sealed: eA==\n", []string{
			"world.yaml:3: identity_providers[0].kind: must be one of microsoft", "world.yaml:2: identity_providers[0].client_id: is needed",
			"world.yaml:5: identity_providers[0].client_secret_sealed: is given beside client_secret",
		}},
		{"no issuer", "identity_providers:\n  - {key: a, kind: oidc, client_id: x}\n", []string{"identity_providers[0].issuer: is needed"}},
		{"an issuer that anybody can be", "identity_providers:\n  - key: a\n    kind: oidc\n    client_id: x\n    issuer: http://id.example.test\n", []string{"world.yaml:5: identity_providers[0].issuer: must be an https address; http is for this machine only"}},
		{"an issuer with a query", "identity_providers:\n  - {key: a, kind: oidc, client_id: x, issuer: 'https://id.example.test/?a'}\n", []string{"issuer: must be an https address without query"}},
		{"addresses that anybody chooses", "identity_providers:\n  - key: a\n    kind: microsoft\n    client_id: x\n    email: always\n", []string{"world.yaml:5: identity_providers[0].email: always needs tenants"}},
		{"tenants of none", "identity_providers:\n  - {key: a, kind: oidc, client_id: x, issuer: 'https://id.example.test', tenants: [x]}\n", []string{"tenants: are known of microsoft and google only"}},
		{"a secret sealed elsewhere", "identity_providers:\n  - {key: a, kind: google, client_id: x, client_secret_sealed: eHh4}\n", []string{"client_secret_sealed: was sealed with another master key"}},
		{"an identity of two", "subjects:\n  - {email: a@example.test, identities: [{authority: nx, id: x}]}\n  - {email: b@example.test, identities: [{authority: nx, id: x}]}\n", []string{"world.yaml:3: subjects[1].identities[0]: is given twice, first on line 2"}},
		{"no secret", "clients:\n  - {id: a, grants: [client_credentials]}\n", []string{"world.yaml:2: clients[0].secret: is needed for client_credentials"}},
		{"redirect", "clients:\n  - id: a\n    redirect_uris: ['javascript:alert(1)']\n", []string{"world.yaml:3: clients[0].redirect_uris: must not be of this scheme"}},
		{"must change nothing", "subjects:\n  - email: a@example.test\n    must_change_password: true\n", []string{"world.yaml:3: subjects[0].must_change_password: needs a password"}},
		{"late, and nothing stays", "organisations: [{key: kept}]\nservices:\n  - {type: x, uri: 'gopher://x'}\n", []string{"world.yaml:3: services[0].uri: must be an http or https address"}},
		{"what the house refuses, all at once", `organisations:
  - {key: one, name: "two\nlines"}
  - {key: two}
agreements:
  - {key: pro, name: Pro, kind: subscription, provides: [inference]}
  - {key: draft, name: Draft, kind: subscription, provides: [inference], published_at: null}
devices:
  - {key: camera, name: Camera, organisation: one}
  - {key: other, name: Other, organisation: two}
  - {key: lost, name: Lost, organisation: nobody}
licences:
  - {key: a, agreement: pro, organisation: one, device: other}
  - {key: b, agreement: pro, organisation: one, starts_at: 2027-01-01, expires_at: 2026-01-01}
  - {key: c, agreement: draft, organisation: one}
  - {key: d, agreement: pro, organisation: one, devices: [camera, lost], seats: 1}
  - {key: e, agreement: none, organisation: one}
  - {key: f, agreement: pro, organisation: two, seats: 0}
clients:
  - {id: g, secret: a secret of some length, grants: [client_credentials], organisation: one, device: other}
services:
  - {type: x, uri: 'gopher://x'}
`, []string{
			"world.yaml:2: organisations[0].name: ",
			`world.yaml:10: devices[2].organisation: there is no organisation "nobody"`,
			"world.yaml:12: licences[0].device: the organisation has no such device",
			"world.yaml:13: licences[1].expires_at: must be after starts_at",
			"world.yaml:14: licences[2].agreement: is not published yet",
			`world.yaml:16: licences[4].agreement: there is no agreement "none"`,
			"world.yaml:17: licences[5].seats: must be at least 1",
			`world.yaml:19: clients[0].device: device "other" is of organisation "two"`,
			"world.yaml:21: services[0].uri: must be an http or https address",
		}},
		{"endless alias", "roles: &a\n  - *a\n", []string{"world.yaml:"}},
		{"bomb", "x: &a [1,1,1,1,1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", []string{"is not known here"}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.apply("organisations: [{key: acme}]\n", world.Options{})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				h.refuse(tt.text, tt.want...)
			})
		}
	})
}

// What the engine refuses ends its transaction: whoever stands behind it in the file is not blamed for that.
func TestMistakeOfTheEngine(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		w := h.parse(`organisations:
  - {key: one, name: "two\nlines"}
  - {key: p, hash: 0123456789abcdef0123456789abcdef01234567}
  - {key: q, hash: 0123456789abcdef0123456789abcdef01234567}
  - {key: r}
agreements:
  - {key: pro, name: Pro, kind: subscription, provides: [inference]}
licences:
  - {key: a, agreement: pro, organisation: r}
`)
		_, err := h.Apply(t.Context(), w, world.Options{})
		var m world.Mistakes
		if !errors.As(err, &m) || len(m) != 2 || m[0].Line != 2 || m[1].Line != 4 {
			t.Errorf("got %v, want mistakes in lines 2 and 4", err)
		}
	})
}

// An alias bomb inside what a door keeps is the only place where anything is unfolded freely.
func TestBomb(t *testing.T) {
	var text strings.Builder
	text.WriteString("subjects:\n  - email: a@example.test\n    nx:\n      a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n")
	for i := range 12 {
		from := string(rune('0'+i%10)) + strings.Repeat("x", i/10)
		to := string(rune('0'+(i+1)%10)) + strings.Repeat("x", (i+1)/10)
		text.WriteString("      a" + to + ": &a" + to + " [" + strings.TrimSuffix(strings.Repeat("*a"+from+",", 10), ",") + "]\n")
	}
	_, err := world.Parse("world.yaml", []byte(text.String()))
	if err == nil || !strings.Contains(err.Error(), "too many aliases") {
		t.Errorf("a bomb: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "world.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(odd))
	f.Add([]byte("subjects: [{email: a@example.test, nx: &a {b: *a}}]"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Add([]byte("roles: !!binary aGk=\n<<: {a: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := world.Parse("f", text)
		var m world.Mistakes
		switch {
		case err == nil && w == nil, err != nil && w != nil:
			t.Error("neither a world nor a mistake")
		case err != nil && !errors.As(err, &m):
			t.Errorf("%T is not Mistakes", err)
		}
		for _, one := range m {
			if one.File != "f" || one.Line < 0 || one.Problem == "" {
				t.Errorf("a mistake that tells nothing: %+v", one)
			}
		}
	})
}

func TestWhatOpenWiFiImplies(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	h.apply(`
subjects:
  - {email: root@example.test, password: &p correct horse battery staple, openwifi: {role: root}}
  - {email: black@example.test, password: *p, openwifi: {role: csr, blackListed: true}}
  - {email: word@example.test, password: *p, superadmin: false, openwifi: {role: root}}
  - {email: served@example.test, password: *p, kind: customer, owner: 5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10}
`, world.Options{})
	for email, check := range map[string]func(identity.Subject) bool{
		"root@example.test":   func(s identity.Subject) bool { return s.Superadmin },
		"black@example.test":  func(s identity.Subject) bool { return !s.SuspendedAt.IsZero() },
		"word@example.test":   func(s identity.Subject) bool { return !s.Superadmin },
		"served@example.test": func(s identity.Subject) bool { return s.Kind == identity.Customer && s.Owner != "" },
	} {
		h.View(func(r identity.Reader) error {
			s, err := r.SubjectByLogin(t.Context(), email)
			if err == nil && !check(s) {
				t.Errorf("%s: %+v", email, s)
			}
			return err
		})
	}
	if again := h.apply(string(h.export()), world.Options{}); len(again) != 0 {
		t.Errorf("applying the export changes %v", again)
	}
}

// licensed is a world with one licence of everything.
const licensed = `
organisations: [{key: acme}, {key: reseller}]
subjects: [{email: ada@example.test, aliases: [ada]}]
agreements:
  - {key: edge-pro, name: Edge Pro, kind: subscription, provides: [manager, inference]}
devices:
  - {key: camera-1, name: Camera 1, organisation: acme, id: 0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a01}
  - {key: camera-2, organisation: acme}
licences:
  - {key: lic-1, agreement: edge-pro, organisation: acme, provider: reseller, device: camera-1, starts_at: 2026-01-01T00:00:00Z, expires_at: 2027-01-01T00:00:00Z, signed_by: ada}
`

func TestLicensing(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		made := h.apply(licensed, world.Options{})
		for _, want := range []string{"create agreement edge-pro", "create device camera-1", "create device camera-2", "create licence lic-1"} {
			if !slices.Contains(made, want) {
				t.Errorf("%q is not among %q", want, made)
			}
		}
		h.apply(licensed, world.Options{Prune: true})
		d, err := h.Licences.Find(t.Context(), "lic-1")
		if err != nil || d.Taken != 1 || d.Seats != 1 || d.Provider.Key != "reseller" || d.Signed.Email != "ada@example.test" || d.Agreement.PublishedAt.IsZero() ||
			d.Devices[0].ID != "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a01" || d.Grace != 336*time.Hour {
			t.Fatalf("%+v, %v", d, err)
		}
		for name, tt := range map[string]struct{ from, to, want string }{
			"renewed":       {"expires_at: 2027-01-01T00:00:00Z", "expires_at: 2028-01-01", "update licence lic-1: expires_at 2027-01-01T00:00:00Z → 2028-01-01T00:00:00Z"},
			"for ever":      {"expires_at: 2027-01-01T00:00:00Z", "expires_at: null", "update licence lic-1: expires_at 2027-01-01T00:00:00Z → none"},
			"revoked":       {"signed_by: ada", "revoked: true", "update licence lic-1: revoked false → true"},
			"its device":    {"device: camera-1", "device: camera-2", `update licence lic-1: devices "camera-1" → "camera-2"`},
			"no device":     {"device: camera-1", "devices: []", `update licence lic-1: devices "camera-1" → ""`},
			"every device":  {"device: camera-1", "devices: [], every_device: true", `update licence lic-1: every_device false → true, devices "camera-1" → ""`},
			"two devices":   {"device: camera-1", "seats: 2, devices: [camera-2, camera-1]", `update licence lic-1: seats 1 → 2, devices "camera-1" → "camera-1 camera-2"`},
			"no provider":   {"provider: reseller", "provider: null", `update licence lic-1: provider ""`},
			"its agreement": {"provides: [manager, inference]", "provides: [manager]", `update agreement edge-pro: provides "inference manager" → "manager"`},
			"a draft":       {"kind: subscription", "kind: subscription, published_at: null", "update agreement edge-pro: published_at 2026-01-01T00:00:00Z → none"},
			"its name":      {"name: Camera 1", "name: Camera One", `update device camera-1: name "Camera 1" → "Camera One"`},
		} {
			t.Run(name, func(t *testing.T) {
				if !strings.Contains(licensed, tt.from) {
					t.Fatal(tt.from)
				}
				if steps := h.apply(strings.Replace(licensed, tt.from, tt.to, 1), world.Options{}); !slices.Equal(steps, []string{tt.want}) {
					t.Errorf("it did %q, want %q", steps, tt.want)
				}
				back := strings.Replace(licensed, "signed_by: ada", "signed_by: ada, seats: 1, revoked: false", 1)
				if name == "a draft" {
					back = strings.Replace(back, "kind: subscription", "kind: subscription, published_at: 2026-01-01", 1)
				}
				h.apply(back, world.Options{})
			})
		}
		// Whom a licence without a device is for stays with it: everybody, or whoever is named next.
		of := func() (named bool) {
			t.Helper()
			d, err := h.Licences.Find(t.Context(), "lic-1")
			if err != nil || d.Taken != 0 {
				t.Fatalf("%+v, %v", d, err)
			}
			exported := string(h.export())
			if steps := h.apply(exported, world.Options{}); len(steps) > 0 || !strings.Contains(exported, fmt.Sprint("every_device: ", !d.Named)) {
				t.Errorf("applying the export did %q:\n%s", steps, exported)
			}
			return d.Named
		}
		h.apply(strings.Replace(licensed, "device: camera-1", "devices: []", 1), world.Options{})
		if !of() {
			t.Error("a licence that lost its device is for every device")
		}
		h.apply(strings.Replace(licensed, "device: camera-1", "every_device: true", 1), world.Options{})
		if of() {
			t.Error("every_device: true has no effect")
		}
		h.apply(strings.Replace(licensed, "device: camera-1", "every_device: false", 1), world.Options{})
		if !of() {
			t.Error("every_device: false has no effect")
		}
		h.apply(licensed, world.Options{})
		h.apply("licences: [{key: lic-2, agreement: edge-pro, organisation: acme, every_device: false}]", world.Options{})
		if d, err = h.Licences.Find(t.Context(), "lic-2"); err != nil || !d.Named {
			t.Errorf("made for devices that are named later: %+v, %v", d, err)
		}
		h.apply("licences: [{key: lic-1, agreement: edge-pro, organisation: acme}]", world.Options{Prune: true})
		if d, err = h.Licences.Find(t.Context(), "lic-1"); err != nil || len(d.Renewals) == 0 {
			t.Errorf("no history: %+v, %v", d.Renewals, err)
		}
		for name, tt := range map[string]struct{ from, to, want string }{
			"no such agreement":    {"agreement: edge-pro", "agreement: edge", `world.yaml:10: licences[0].agreement: there is no agreement "edge"`},
			"no such organisation": {"organisation: acme, provider", "organisation: acm, provider", `world.yaml:10: licences[0].organisation: there is no organisation "acm"`},
			"no such provider":     {"provider: reseller", "provider: nobody", `world.yaml:10: licences[0].provider: there is no organisation "nobody"`},
			"no such device":       {"device: camera-1", "device: camera-9", `world.yaml:10: licences[0].device: there is no device "camera-9"`},
			"a device twice":       {"device: camera-1", "devices: [camera-1, camera-1]", `world.yaml:10: licences[0].devices: holds "camera-1" twice`},
			"device and devices":   {"device: camera-1", "device: camera-1, devices: []", "world.yaml:10: licences[0].devices: is given beside device"},
			"a device and every":   {"device: camera-1", "device: camera-1, every_device: true", "world.yaml:10: licences[0].every_device: is given beside devices"},
			"too few seats":        {"device: camera-1", "seats: 1, devices: [camera-1, camera-2]", "world.yaml:10: licences[0].devices: no seat is free: all 1 are taken"},
			"nobody signed":        {"signed_by: ada", "signed_by: bob", `world.yaml:10: licences[0].signed_by: there is nobody with the login "bob"`},
			"no instant":           {"2027-01-01T00:00:00Z", "soon", "world.yaml:10: licences[0].expires_at: must be an instant"},
			"over before it is":    {"2027-01-01T00:00:00Z", "2025-01-01", "world.yaml:10: licences[0].expires_at: must be after starts_at"},
			"more than all off":    {"signed_by: ada", "discount_bp: 10001", "world.yaml:10: licences[0].discount_bp: must be from 0 to 10000"},
			"less than nothing":    {"signed_by: ada", "amount_per_month: -1", "world.yaml:10: licences[0].amount_per_month: must be a whole number, 0 or more"},
			"half a month":         {"signed_by: ada", "amount_per_month: 1.5", "world.yaml:10: licences[0].amount_per_month: must be a whole number, 0 or more"},
			"another organisation": {"organisation: acme, provider", "organisation: reseller, provider", "world.yaml:10: licences[0].organisation: a licence stays with its organisation"},
			"a device that moves":  {"name: Camera 1, organisation: acme", "name: Camera 1, organisation: reseller", "world.yaml:7: devices[0].organisation: a device stays in its organisation"},
			"another id":           {"6d1b6f6f7a01", "6d1b6f6f7a02", "world.yaml:7: devices[0].id: the record with this key has another id"},
			"no UUID":              {"id: 0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a01", "id: x", "world.yaml:7: devices[0].id: must be a UUID"},
			"no kind":              {"kind: subscription", "kind: ''", "world.yaml:5: agreements[0].kind: is needed"},
			"a word twice":         {"[manager, inference]", "[manager, manager]", "world.yaml:5: agreements[0].provides: must not hold an entry twice"},
			"no organisation":      {"key: camera-2, organisation: acme", "key: camera-2", "world.yaml:8: devices[1].organisation: is needed"},
			"a key twice":          {"key: camera-2", "key: camera-1", "world.yaml:8: devices[1].key: is given twice, first on line 7"},
			"unknown":              {"signed_by: ada", "signed: ada", "world.yaml:10: licences[0].signed: is not known here"},
			"no licence's key":     {"key: lic-1, ", "", "world.yaml:10: licences[0].key: is needed"},
		} {
			t.Run(name, func(t *testing.T) {
				if !strings.Contains(licensed, tt.from) {
					t.Fatal(tt.from)
				}
				h.refuse(strings.Replace(licensed, tt.from, tt.to, 1), tt.want)
			})
		}
		pruned := h.apply("agreements: []\ndevices: []\nlicences: []\n", world.Options{Prune: true})
		if want := []string{"delete licence lic-1", "delete device camera-1", "delete device camera-2", "delete agreement edge-pro"}; len(pruned) != len(want) || pruned[0] != want[0] || pruned[3] != want[3] {
			t.Errorf("pruning did %q", pruned)
		}
		h.apply("agreements: [{key: draft, kind: trial, published_at: null}]\n", world.Options{})
		h.refuse("licences: [{key: new, agreement: draft, organisation: acme}]\n", "world.yaml:1: licences[0].agreement: is not published yet")
	})
}

// Every field of a licence goes from the file to where it is used, when it is made and when it is changed, and back. That an export applied
// changes nothing does not show it: a field that is never read is the same twice.
func TestEveryFieldOfALicence(t *testing.T) {
	const rest = `
organisations: [{key: acme}, {key: reseller}, {key: vendor}]
subjects: [{email: ada@example.test, aliases: [ada]}, {email: bob@example.test}]
agreements:
  - {key: edge-pro, id: 01a0d000-0000-7000-8000-000000000001, name: Edge Pro, kind: subscription, provides: [manager, inference], published_at: 2025-12-01}
  - {key: trial, kind: trial}
devices:
  - {key: camera-1, id: 01a0e000-0000-7000-8000-000000000001, name: Camera 1, organisation: acme}
  - {key: camera-2, organisation: acme}
`
	at := func(text string) time.Time {
		t.Helper()
		when, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	const catalogue = "01a0ca00-0000-7000-8000-00000000000"
	fields := []struct {
		name, before, after string
		read                func(d licence.Details) any
		is, becomes         any
		step                string // "": name, before → after
	}{
		{"code", "Code 1", "Code 2", func(d licence.Details) any { return d.Code }, "Code 1", "Code 2", `code "Code 1" → "Code 2"`},
		{"seats", "3", "4", func(d licence.Details) any { return d.Seats }, 3, 4, ""},
		{"grace", "48h", "24h", func(d licence.Details) any { return d.Grace }, 48 * time.Hour, 24 * time.Hour, "grace 48h0m0s → 24h0m0s"},
		{"amount_per_month", "4900", "5900", func(d licence.Details) any { return d.AmountPerMonth }, int64(4900), int64(5900), ""},
		{"discount_bp", "1250", "0", func(d licence.Details) any { return d.DiscountBP }, 1250, 0, ""},
		{"catalogues", "[" + catalogue + "1]", "[" + catalogue + "2]", func(d licence.Details) any { return strings.Join(d.Catalogues, " ") }, catalogue + "1", catalogue + "2",
			`catalogues "` + catalogue + `1" → "` + catalogue + `2"`},
		{"revoked_for", "not paid", "stolen", func(d licence.Details) any { return d.RevokedFor }, "not paid", "stolen", `revoked_for "not paid" → "stolen"`},
		{"starts_at", "2026-01-01", "2026-01-02", func(d licence.Details) any { return d.StartsAt.UTC() }, at("2026-01-01"), at("2026-01-02"), "starts_at 2026-01-01T00:00:00Z → 2026-01-02T00:00:00Z"},
		{"expires_at", "2027-01-01", "2028-01-01", func(d licence.Details) any { return d.ExpiresAt.UTC() }, at("2027-01-01"), at("2028-01-01"), "expires_at 2027-01-01T00:00:00Z → 2028-01-01T00:00:00Z"},
		{"paid_until", "2026-06-01", "2026-07-01", func(d licence.Details) any { return d.PaidUntilAt.UTC() }, at("2026-06-01"), at("2026-07-01"), "paid_until 2026-06-01T00:00:00Z → 2026-07-01T00:00:00Z"},
		{"signed_at", "2025-12-30", "2025-12-31", func(d licence.Details) any { return d.SignedAt.UTC() }, at("2025-12-30"), at("2025-12-31"), "signed_at 2025-12-30T00:00:00Z → 2025-12-31T00:00:00Z"},
		{"agreement", "edge-pro", "trial", func(d licence.Details) any { return d.Agreement.Key }, "edge-pro", "trial", `agreement "trial"`},
		{"provider", "reseller", "vendor", func(d licence.Details) any { return d.Provider.Key }, "reseller", "vendor", `provider "vendor"`},
		{"signed_by", "ada", "bob@example.test", func(d licence.Details) any { return d.Signed.Email }, "ada@example.test", "bob@example.test", `signed_by "bob@example.test"`},
		{"devices", "[camera-1]", "[camera-2]", func(d licence.Details) any { return d.Devices[0].Key }, "camera-1", "camera-2", `devices "camera-1" → "camera-2"`},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		file := func(changed string) string {
			var b strings.Builder
			b.WriteString(rest + "licences:\n  - {key: lic-1, id: 01a0f000-0000-7000-8000-000000000001, organisation: acme, revoked: true")
			for _, f := range fields {
				if b.WriteString(", " + f.name + ": "); f.name == changed {
					b.WriteString(f.after)
				} else {
					b.WriteString(f.before)
				}
			}
			return b.String() + "}\n"
		}
		find := func() licence.Details {
			t.Helper()
			d, err := h.Licences.Find(t.Context(), "lic-1")
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		h.apply(file(""), world.Options{})
		made := find()
		if a := made.Agreement; made.ID != "01a0f000-0000-7000-8000-000000000001" || made.RevokedAt.IsZero() || made.Organisation.Key != "acme" || a.ID != "01a0d000-0000-7000-8000-000000000001" ||
			a.Name != "Edge Pro" || a.Kind != "subscription" || !slices.Equal(a.Provides, []string{"inference", "manager"}) || !a.PublishedAt.Equal(at("2025-12-01")) ||
			made.Devices[0].ID != "01a0e000-0000-7000-8000-000000000001" || made.Devices[0].Name != "Camera 1" {
			t.Errorf("%+v", made)
		}
		for _, f := range fields {
			if got := f.read(made); got != f.is {
				t.Errorf("%s: made with %v, want %v", f.name, got, f.is)
			}
			step := f.step
			if step == "" {
				step = f.name + " " + f.before + " → " + f.after
			}
			if steps := h.apply(file(f.name), world.Options{}); !slices.Equal(steps, []string{"update licence lic-1: " + step}) {
				t.Errorf("%s: it did %q, want %q", f.name, steps, step)
			}
			if got := f.read(find()); got != f.becomes {
				t.Errorf("%s: changed to %v, want %v", f.name, got, f.becomes)
			}
			if steps := h.apply(string(h.export()), world.Options{Prune: true}); len(steps) != 0 {
				t.Errorf("%s: applying the export did %q", f.name, steps)
			}
			h.apply(file(""), world.Options{})
		}
		h.refuse(strings.Replace(file(""), "revoked: true", "revoked: false", 1), "licences[0].revoked_for: is the reason of a licence that is revoked")
	})
}

const programs = `
organisations:
  - {key: acme}
  - {key: globex}
devices:
  - {key: camera-1, organisation: acme}
  - {key: camera-2, organisation: acme}
  - {key: drill, organisation: globex}
clients:
  - {id: camera, secret: first secret, grants: [client_credentials], organisation: acme, device: camera-1}
  - {id: reports, secret: first secret, grants: [client_credentials], organisation: acme}
  - {id: robot, secret: first secret, grants: [client_credentials]}
`

// Clients are bound by keys, to what the same file makes, and go with it.
func TestPrograms(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.apply(programs, world.Options{})
		bound := func(id identity.ClientID) string {
			t.Helper()
			var text string
			if err := store.View(t.Context(), func(r identity.Reader) error {
				c, err := r.Client(t.Context(), id)
				if err != nil {
					return err
				}
				if c.OrganisationID != "" {
					o, err := r.Organisation(t.Context(), c.OrganisationID)
					if err != nil {
						return err
					}
					text = o.Key
				}
				if c.DeviceID != "" {
					d, err := r.Device(t.Context(), c.DeviceID)
					if err != nil {
						return err
					}
					text += " " + d.Key
				}
				return nil
			}); err != nil {
				text = err.Error()
			}
			return text
		}
		if got := []string{bound("camera"), bound("reports"), bound("robot")}; !slices.Equal(got, []string{"acme camera-1", "acme", ""}) {
			t.Errorf("bound to %q", got)
		}
		if steps := h.apply(programs, world.Options{Prune: true}); len(steps) != 0 {
			t.Errorf("applied again, it did %q", steps)
		}
		camera := func(rest string) string {
			return strings.Replace(programs, "organisation: acme, device: camera-1}", rest+"}", 1)
		}
		for _, tt := range []struct{ name, rest, want, bound string }{
			{"left out", "name: camera", "", "acme camera-1"},
			{"its device", "device: camera-2", `update client camera: device "camera-1" → "camera-2"`, "acme camera-2"},
			{"a device elsewhere", "device: drill", `update client camera: organisation "acme" → "globex", device "camera-2" → "drill"`, "globex drill"},
			{"no device", "device: null", `update client camera: device "drill" → ""`, "globex"},
			{"the house's", "organisation: null", `update client camera: organisation "globex" → ""`, ""},
			{"and back", "organisation: acme, device: camera-1", `update client camera: organisation "" → "acme", device "" → "camera-1"`, "acme camera-1"},
			{"of neither", "organisation: '', device: ''", `update client camera: organisation "acme" → "", device "camera-1" → ""`, ""},
		} {
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			if steps := h.apply(camera(tt.rest), world.Options{}); !slices.Equal(steps, want) {
				t.Errorf("%s: it did %q, want %q", tt.name, steps, want)
			}
			if got := bound("camera"); got != tt.bound {
				t.Errorf("%s: bound to %q", tt.name, got)
			}
		}
		h.apply(programs, world.Options{})
		for name, tt := range map[string]struct{ text, want string }{
			"no such organisation":          {camera("organisation: acm"), `world.yaml:10: clients[0].organisation: there is no organisation "acm"`},
			"no such device":                {camera("organisation: acme, device: camera-9"), `world.yaml:10: clients[0].device: there is no device "camera-9"`},
			"a device of another's":         {camera("organisation: acme, device: drill"), `world.yaml:10: clients[0].device: device "drill" is of organisation "globex"`},
			"a stored device of another's":  {"clients:\n  - {id: camera, organisation: globex, device: camera-2}\n", `world.yaml:2: clients[0].device: device "camera-2" is of organisation "acme"`},
			"a device of the house's":       {camera("organisation: null, device: drill"), `world.yaml:10: clients[0].device: device "drill" is of organisation "globex"`},
			"an organisation not its own":   {"clients:\n  - {id: camera, organisation: globex}\n", `world.yaml:2: clients[0].organisation: must be that of its device`},
			"no organisation with a device": {"clients:\n  - {id: camera, organisation: null}\n", `world.yaml:2: clients[0].organisation: must be that of its device`},
			"no text":                       {camera("device: [camera-1]"), `world.yaml:10: clients[0].device: must be`},
		} {
			t.Run(name, func(t *testing.T) { h.refuse(tt.text, tt.want) })
		}
		// Whose device or organisation is pruned goes too, and the plan says so; a file that has the one and not the other is mistaken.
		without := strings.Replace(programs, "  - {key: camera-1, organisation: acme}\n", "", 1)
		for _, text := range []string{without, strings.Replace(programs, "  - {key: acme}\n", "", 1)} {
			w, err := world.Parse("world.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Apply(t.Context(), w, world.Options{Prune: true}); err == nil || !strings.Contains(err.Error(), `the client "camera" is bound to the`) {
				t.Errorf("pruned under the client: %v", err)
			}
		}
		for _, tt := range []struct {
			text string
			want []string
		}{
			{"devices: [{key: camera-2, organisation: acme}, {key: drill, organisation: globex}]\n", []string{"delete client camera", "delete device camera-1"}},
			{"organisations: [{key: globex}]\n", []string{"delete client reports", "delete organisation acme"}},
			{"clients: []\n", []string{"delete client robot"}},
		} {
			if steps := h.apply(tt.text, world.Options{Prune: true}); !slices.Equal(steps, tt.want) {
				t.Errorf("pruning did %q, want %q", steps, tt.want)
			}
		}
	})
}
