package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// hersAlone are the operations that nobody may ask for while acting as another person: they change what she proves herself with, what
// she is found and reached by, or who else may come in as her. A request stands here where the recipe's would not do.
var hersAlone = map[string]func(token string) request{
	"nx updatePassword":                       nil,
	"nx changeUser":                           nil, // with a phone number
	"titan enterHub":                          nil, // it is for one hub only
	"titan leaveHub":                          nil,
	"titan impersonate":                       nil, // never chained
	"titan providerState link":                nil, // another way in as her
	"openwifi setSubscriberMFA":               nil,
	"openwifi startSubscriberAuthenticator":   nil,
	"openwifi confirmSubscriberAuthenticator": asHer("PUT", "/api/v1/subtotp?index=1&value=000000", ""),
	"openwifi startAuthenticator":             nil,
	"openwifi confirmAuthenticator":           asHer("PUT", "/api/v1/totp?index=1&value=000000", ""),
	"openwifi createApiKey":                   asHer("POST", "/api/v1/apiKey/"+string(adaID), `{"name":"mine","description":"x","expiresOn":1893456000,"rights":{"acls":[{"service":"owgw","access":"read"}]}}`),
	"openwifi describeApiKey":                 nil,
	"openwifi deleteApiKey":                   nil,
	"openwifi sendSMS code":                   nil,
	"openwifi sendSMS proof":                  asHer("POST", "/api/v1/sms?completeValidation=true&validationCode=000000", `{"to":"+15145550199"}`),
}

// moreOfHers are ways of recipes that are not hers alone, with what makes them so.
var moreOfHers = []struct {
	name  string
	token string
	login string
	in    func(token string) request
}{
	{"her own password", wifiAccess, "bob@example.test", asHer("PUT", "/api/v1/user/"+string(bobID), `{"currentPassword":"`+anotherOne+`"}`)},
	{"her own second factor", wifiAccess, "bob@example.test", asHer("PUT", "/api/v1/user/"+string(bobID), `{"userTypeProprietaryInfo":{"mfa":{"enabled":true,"method":"email"}}}`)},
	{"a link to her own new password", wifiAccess, "bob@example.test", asHer("PUT", "/api/v1/user/"+string(bobID)+"?forgotPassword=true", `{}`)},
	{"taking her second factors away", wifiAccess, "bob@example.test", asHer("PUT", "/api/v1/user/"+string(bobID)+"?resetMFA=true", `{}`)},
	{"her own end", wifiAccess, "bob@example.test", asHer("DELETE", "/api/v1/user/"+string(bobID), "")},
}

func asHer(method, target, body string) func(string) request {
	return func(token string) request {
		return request{method: method, target: target, body: body, bearer: token}
	}
}

// Whoever acts as another person changes nothing that is hers alone: every operation of every door that takes a token of a session
// is tried with one in which somebody acts, and afterwards she has the credentials, logins, keys and sessions that she had.
func TestActingTouchesNothingOfHers(t *testing.T) {
	engine := &actingStore{Store: storetest.SQLite(t)}
	h := newHouse(t, apptest.Options{Store: engine})
	var origin identity.SessionID
	must(t, h.Store.Update(t.Context(), func(tx identity.Tx) error {
		origin = "01a0d000-0000-7000-8000-00000000000f"
		return tx.CreateSession(t.Context(), identity.Session{
			ID: origin, SubjectID: tiaID, Door: "cli", Generation: 1, CreatedAt: coretest.Start, SeenAt: coretest.Start,
			ExpiresAt: coretest.Start.AddDate(1, 0, 0), AbsoluteAt: coretest.Start.AddDate(1, 0, 0),
		})
	}))
	try := func(t *testing.T, kind, login string, in func(token string) request, forbidden bool) {
		engine.actor, engine.origin = tiaID, origin
		token := h.print(t, kind, login)
		engine.actor = ""
		in0 := in(token) // may prepare something of hers
		id := h.idOf(t, login)
		before := h.belongings(t, id)
		a := h.send(in0)
		if a.status >= 500 {
			t.Errorf("%v", a)
		}
		if after := h.belongings(t, id); after != before {
			t.Errorf("it was %s\nand is  %s\n%v", before, after, a)
		}
		if forbidden && (a.ok() || a.status == http.StatusNotFound) {
			t.Errorf("not refused: %v", a)
		}
	}
	tried := map[string]bool{}
	for _, r := range recipes {
		for _, kind := range r.takes {
			if !slices.Contains([]string{nxAccess, nxRefresh, insightsAccess, insightsRefresh, titanFull, wifiAccess, wifiRefresh, subAccess, subRefresh}, kind) {
				continue
			}
			instead, forbidden := hersAlone[r.name()]
			tried[r.name()] = true
			t.Run(r.name()+" with "+kind, func(t *testing.T) {
				login := h.holder(t, r, kind)
				if strings.HasPrefix(kind, "openwifi-sub") {
					login = "sue@customer.test"
				}
				try(t, kind, login, func(token string) request {
					if instead != nil {
						return instead(token)
					}
					return r.make(t, h, token)
				}, forbidden)
			})
		}
	}
	for _, m := range moreOfHers {
		t.Run(m.name, func(t *testing.T) { try(t, m.token, m.login, m.in, true) })
	}
	for name := range hersAlone {
		if !tried[name] {
			t.Errorf("no operation is called %q", name)
		}
	}
}

// Somebody who acts is found in every row that the audit log keeps of it, beside the person as whom.
func TestActingLeavesBothNames(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	owner := h.print(t, titanFull, "ada@example.test")
	acting := h.must(t, request{method: "POST", target: "/auth/impersonation/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb4", bearer: owner}).at("data.token")
	h.log.keepSecret(acting)
	about := h.must(t, formOf("/oauth2/introspect", "token", "{token}", "client_id", "robot", "client_secret", clientSecret)(t, h, acting))
	if about.at("sub") != string(melID) || about.at("act.sub") != string(adaID) { // RFC 8693, section 4.1
		t.Errorf("introspected: %v", about)
	}
	h.must(t, request{method: "POST", target: "/auth/impersonation/invalidate", bearer: acting})
	rows := 0
	must(t, h.Store.View(t.Context(), func(r identity.Reader) error {
		events, err := r.Events(t.Context(), identity.EventFilter{SubjectID: melID, Limit: 10})
		for _, e := range events {
			if e.SessionID == "" {
				continue // of the world file
			}
			rows++
			if e.ActorID != adaID || e.SubjectID != melID {
				t.Errorf("%s: actor %s, subject %s", e.Action, e.ActorID, e.SubjectID)
			}
		}
		return err
	}))
	if rows != 2 {
		t.Errorf("%d rows, want the beginning and the end", rows)
	}
}

func (h *house) idOf(t *testing.T, login string) (id identity.SubjectID) {
	t.Helper()
	must(t, h.Store.View(t.Context(), func(r identity.Reader) error {
		s, err := r.SubjectByLogin(t.Context(), login)
		id = s.ID
		return err
	}))
	return id
}

// belongings are what is somebody's alone, as text.
func (h *house) belongings(t *testing.T, id identity.SubjectID) string {
	t.Helper()
	var all []any
	must(t, h.Store.View(t.Context(), func(r identity.Reader) error {
		s, err := r.Subject(t.Context(), id)
		if err != nil {
			return err
		}
		logins, err := r.Logins(t.Context(), id)
		if err != nil {
			return err
		}
		credentials, err := r.Credentials(t.Context(), id)
		if err != nil {
			return err
		}
		keys, err := r.APIKeysOf(t.Context(), id)
		if err != nil {
			return err
		}
		identities, err := r.LinkedIdentitiesOf(t.Context(), id)
		if err != nil {
			return err
		}
		sessions, err := r.SessionsOf(t.Context(), id)
		if err != nil {
			return err
		}
		var own []identity.SessionID
		for _, s := range sessions {
			if s.ActorID == "" {
				own = append(own, s.ID)
			}
		}
		for i := range keys {
			keys[i].LastUseAt = keys[i].CreatedAt
		}
		all = []any{s.Email, s.Phone, s.Superadmin, s.VerifiedAt, s.SuspendedAt, s.PolicyID, logins, credentials, keys, identities, own}
		return nil
	}))
	text, err := json.Marshal(all)
	must(t, err)
	return string(text)
}

// actingStore begins sessions in which somebody acts, at whichever door: the doors that let nobody begin one must hold to what is
// forbidden all the same.
type actingStore struct {
	identity.Store
	actor  identity.SubjectID
	origin identity.SessionID
}

func (s *actingStore) Update(ctx context.Context, write func(identity.Tx) error) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return write(&actingTx{tx, s}) })
}

type actingTx struct {
	identity.Tx
	store *actingStore
}

func (t *actingTx) CreateSession(ctx context.Context, s identity.Session) error {
	if t.store.actor != "" {
		s.ActorID, s.OriginID = t.store.actor, t.store.origin
	}
	return t.Tx.CreateSession(ctx, s)
}
