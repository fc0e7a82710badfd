package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// how a call of the store fails.
type how string

const (
	before   how = "before anything happened"
	rolled   how = "after the writes, which are rolled back"
	answered how = "after the commit: the answer is lost"
	within   how = "within, at a read" // the n-th read of a row, not the n-th call
)

// faulty is a real store whose n-th call fails.
type faulty struct {
	identity.Store

	mu     sync.Mutex
	at     int // the call that fails, from 1, or everyCall; 0: none
	how    how
	calls  int
	fired  bool
	writes atomic.Int64              // of the rows that sign-in and recovery write
	looks  atomic.Int64              // reads
	refuse func(identity.Event) bool // audit rows that cannot be written; nil: none
}

// everyCall: the store is away.
const everyCall = -1

var errInjected = errors.New("injected")

func (f *faulty) arm(at int, how how) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.how, f.calls, f.fired = at, how, 0, false
}

// disarm says whether the fault happened, and how many calls there were.
func (f *faulty) disarm() (fired bool, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = 0
	return f.fired, f.calls
}

func (f *faulty) next() (how, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.at == 0 || f.how == within || f.at != everyCall && f.calls != f.at {
		return "", false
	}
	f.fired = true
	return f.how, true
}

// read fails the n-th read.
func (f *faulty) read() error {
	f.looks.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == 0 || f.how != within {
		return nil
	}
	if f.at--; f.at > 0 {
		return nil
	}
	f.fired = true
	return unavailable()
}

func (f *faulty) happened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired && f.how == within
}

func unavailable() error { return identity.Unavailable.Wrap(errInjected) } // as the engines say it

func (f *faulty) View(ctx context.Context, read func(identity.Reader) error) error {
	if how, now := f.next(); now {
		if how != before {
			_ = f.Store.View(ctx, read) // what it read is lost
		}
		return unavailable()
	}
	return f.Store.View(ctx, func(r identity.Reader) error { return read(frail{reads{r, f}, readerBox{r}}) })
}

func (f *faulty) Update(ctx context.Context, write func(identity.Tx) error) error {
	guarded := func(tx identity.Tx) error {
		before := f.happened()
		if err := write(deaf{reads{tx, f}, txBox{tx}}); err != nil || before == f.happened() {
			return err
		}
		return unavailable() // as the engines do: a statement that failed spoils its transaction
	}
	how, now := f.next()
	if !now {
		return f.Store.Update(ctx, guarded)
	}
	switch how {
	case rolled:
		return f.Store.Update(ctx, func(tx identity.Tx) error {
			if err := guarded(tx); err != nil {
				return err
			}
			return unavailable()
		})
	case answered:
		if err := f.Store.Update(ctx, guarded); err != nil {
			return err
		}
	}
	return unavailable()
}

// reads are those that requests rest on; each may be the one that fails.
type reads struct {
	r identity.Reader
	f *faulty
}

func one[T any](f *faulty, read func() (T, error)) (T, error) {
	if err := f.read(); err != nil {
		var none T
		return none, err
	}
	return read()
}

func (x reads) Subject(ctx context.Context, id identity.SubjectID) (identity.Subject, error) {
	return one(x.f, func() (identity.Subject, error) { return x.r.Subject(ctx, id) })
}

func (x reads) SubjectByLogin(ctx context.Context, folded string) (identity.Subject, error) {
	return one(x.f, func() (identity.Subject, error) { return x.r.SubjectByLogin(ctx, folded) })
}

func (x reads) Memberships(ctx context.Context, id identity.SubjectID) ([]identity.Membership, error) {
	return one(x.f, func() ([]identity.Membership, error) { return x.r.Memberships(ctx, id) })
}

func (x reads) Organisation(ctx context.Context, id identity.OrganisationID) (identity.Organisation, error) {
	return one(x.f, func() (identity.Organisation, error) { return x.r.Organisation(ctx, id) })
}

func (x reads) Policies(ctx context.Context) ([]identity.Policy, error) {
	return one(x.f, func() ([]identity.Policy, error) { return x.r.Policies(ctx) })
}

func (x reads) Credential(ctx context.Context, id identity.SubjectID, kind identity.CredentialKind) (identity.Credential, error) {
	return one(x.f, func() (identity.Credential, error) { return x.r.Credential(ctx, id, kind) })
}

func (x reads) Credentials(ctx context.Context, id identity.SubjectID) ([]identity.Credential, error) {
	return one(x.f, func() ([]identity.Credential, error) { return x.r.Credentials(ctx, id) })
}

func (x reads) Attempts(ctx context.Context, key string) (identity.Attempts, error) {
	return one(x.f, func() (identity.Attempts, error) { return x.r.Attempts(ctx, key) })
}

func (x reads) Session(ctx context.Context, id identity.SessionID) (identity.Session, error) {
	return one(x.f, func() (identity.Session, error) { return x.r.Session(ctx, id) })
}

func (x reads) OpaqueToken(ctx context.Context, hash []byte) (identity.OpaqueToken, error) {
	return one(x.f, func() (identity.OpaqueToken, error) { return x.r.OpaqueToken(ctx, hash) })
}

func (x reads) RevokedToken(ctx context.Context, id string) (identity.RevokedToken, error) {
	return one(x.f, func() (identity.RevokedToken, error) { return x.r.RevokedToken(ctx, id) })
}

func (x reads) Ticket(ctx context.Context, id identity.TicketID) (identity.Ticket, error) {
	return one(x.f, func() (identity.Ticket, error) { return x.r.Ticket(ctx, id) })
}

func (x reads) TicketByHash(ctx context.Context, hash []byte) (identity.Ticket, error) {
	return one(x.f, func() (identity.Ticket, error) { return x.r.TicketByHash(ctx, hash) })
}

func (x reads) APIKeyByHash(ctx context.Context, hash []byte) (identity.APIKey, error) {
	return one(x.f, func() (identity.APIKey, error) { return x.r.APIKeyByHash(ctx, hash) })
}

func (x reads) Client(ctx context.Context, id identity.ClientID) (identity.Client, error) {
	return one(x.f, func() (identity.Client, error) { return x.r.Client(ctx, id) })
}

func (x reads) Licence(ctx context.Context, id identity.LicenceID) (identity.Licence, error) {
	return one(x.f, func() (identity.Licence, error) { return x.r.Licence(ctx, id) })
}

func (x reads) LicenceOf(ctx context.Context, org identity.OrganisationID, id identity.LicenceID) (identity.Licence, error) {
	return one(x.f, func() (identity.Licence, error) { return x.r.LicenceOf(ctx, org, id) })
}

func (x reads) Licences(ctx context.Context, filter identity.LicenceFilter) ([]identity.Licence, error) {
	return one(x.f, func() ([]identity.Licence, error) { return x.r.Licences(ctx, filter) })
}

func (x reads) CountLicences(ctx context.Context, filter identity.LicenceFilter) (int, error) {
	return one(x.f, func() (int, error) { return x.r.CountLicences(ctx, filter) })
}

func (x reads) Agreement(ctx context.Context, id identity.AgreementID) (identity.Agreement, error) {
	return one(x.f, func() (identity.Agreement, error) { return x.r.Agreement(ctx, id) })
}

func (x reads) Device(ctx context.Context, id identity.DeviceID) (identity.Device, error) {
	return one(x.f, func() (identity.Device, error) { return x.r.Device(ctx, id) })
}

func (x reads) DevicesOfLicence(ctx context.Context, id identity.LicenceID) ([]identity.Device, error) {
	return one(x.f, func() ([]identity.Device, error) { return x.r.DevicesOfLicence(ctx, id) })
}

func (x reads) OrganisationsByID(ctx context.Context, ids []identity.OrganisationID) ([]identity.Organisation, error) {
	return one(x.f, func() ([]identity.Organisation, error) { return x.r.OrganisationsByID(ctx, ids) })
}

func (x reads) SubjectsByID(ctx context.Context, ids []identity.SubjectID) ([]identity.Subject, error) {
	return one(x.f, func() ([]identity.Subject, error) { return x.r.SubjectsByID(ctx, ids) })
}

// The boxes keep what they hold one step further away, so that the methods above win.
type (
	readerBox struct{ identity.Reader }
	txBox     struct{ identity.Tx }
)

type frail struct {
	reads
	readerBox
}

// deaf is a transaction in which some reads fail and some audit rows cannot be written.
type deaf struct {
	reads
	txBox
}

func (d deaf) Record(ctx context.Context, e *identity.Event) error {
	if d.f.refuse != nil && d.f.refuse(*e) {
		return unavailable()
	}
	d.f.writes.Add(1)
	return d.Tx.Record(ctx, e)
}

func (d deaf) CountAttempt(ctx context.Context, key string, now time.Time, window time.Duration) (identity.Attempts, error) {
	d.f.writes.Add(1)
	return d.Tx.CountAttempt(ctx, key, now, window)
}

func (d deaf) CreateTicket(ctx context.Context, t identity.Ticket) error {
	d.f.writes.Add(1)
	return d.Tx.CreateTicket(ctx, t)
}

func (d deaf) Enqueue(ctx context.Context, m identity.Message) error {
	d.f.writes.Add(1)
	return d.Tx.Enqueue(ctx, m)
}

// story is one thing that a client wants, and how it gets it after all.
type story struct {
	name string
	// begin prepares what comes before and gives the request, and what the client does when it was refused: it sends the same
	// again, and where that cannot be good any more, what people do then.
	begin func(t *testing.T, h *house) (ask request, again func(t *testing.T) bool)
	never bool // it is refused, and no fault may open it
}

func stories() []story {
	var all []story
	add := func(name string, begin func(t *testing.T, h *house) (request, func(t *testing.T) bool)) {
		all = append(all, story{name: name, begin: begin})
	}
	never := func(name string, begin func(t *testing.T, h *house) request) {
		all = append(all, story{name: name, never: true, begin: func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			ask := begin(t, h)
			return ask, func(*testing.T) bool {
				a := h.send(ask)
				return a.status >= 400 && a.status < 500 || a.body == `{"active":false}`
			}
		}})
	}
	for _, door := range doors {
		add("sign-in at "+string(door), func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			_, login := h.newPerson(t, false)
			ask := signIns[door](login, passphrase)
			return ask, func(*testing.T) bool { return h.send(ask).ok() }
		})
		never("wrong password at "+string(door), func(t *testing.T, h *house) request {
			_, login := h.newPerson(t, false)
			return signIns[door](login, "wrong")
		})
		never("suspended at "+string(door), func(t *testing.T, h *house) request {
			id, login := h.newPerson(t, false)
			must(t, h.Manage.Suspend(t.Context(), operator, id, ""))
			return signIns[door](login, passphrase)
		})
		never("locked at "+string(door), func(t *testing.T, h *house) request {
			_, login := h.newPerson(t, false)
			for range policy.BuiltIn.Lockout.Tries {
				h.send(from(h.newNetwork(), signIns[door](login, "wrong")))
			}
			return signIns[door](login, passphrase)
		})
		never("due at "+string(door), func(*testing.T, *house) request { return signIns[door]("due@example.test", passphrase) })
		if door != titan.Door && door != openwifi.Door && door != nx.CloudDoor {
			never("a second factor missing at "+string(door), func(*testing.T, *house) request { return signIns[door]("tia@example.test", passphrase) })
		}
	}
	for _, kind := range []string{nxAccess, cloudAccess, cloudRefresh, insightsAccess, titanFull, wifiAccess, nxRefresh, insightsRefresh, wifiRefresh, oidcRefr} {
		revoke := func(t *testing.T, h *house) string {
			_, login := h.newPerson(t, false)
			token := h.print(t, kind, login)
			h.must(t, formOf("/oauth2/revoke", "token", token, "client_id", "robot", "client_secret", clientSecret)(t, h, ""))
			return token
		}
		never("revoked "+kind, func(t *testing.T, h *house) request { return asks(kind).make(t, h, revoke(t, h)) })
		if kind == nxAccess || kind == wifiAccess {
			never("introspection of revoked "+kind, func(t *testing.T, h *house) request {
				return formOf("/oauth2/introspect", "token", revoke(t, h), "client_id", "robot", "client_secret", clientSecret)(t, h, "")
			})
		}
		never("suspended with "+kind, func(t *testing.T, h *house) request {
			id, login := h.newPerson(t, false)
			token := h.print(t, kind, login)
			must(t, h.Manage.Suspend(t.Context(), operator, id, ""))
			return asks(kind).make(t, h, token)
		})
	}
	add("use of an API key", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		_, login := h.newPerson(t, false)
		ask := asks(wifiKey).make(t, h, h.print(t, wifiKey, login))
		return ask, func(*testing.T) bool { return h.send(ask).ok() }
	})
	never("suspended with an API key", func(t *testing.T, h *house) request {
		id, login := h.newPerson(t, false)
		key := h.print(t, wifiKey, login)
		must(t, h.Manage.Suspend(t.Context(), operator, id, ""))
		return asks(wifiKey).make(t, h, key)
	})
	never("an unknown API key", func(t *testing.T, h *house) request { return asks(wifiKey).make(t, h, strings.Repeat("0", 64)) })
	never("a stranger's API keys", func(t *testing.T, h *house) request {
		return request{method: "GET", target: "/api/v1/apiKey/" + string(eveID), bearer: h.print(t, wifiAccess, "ada@example.test")}
	})
	never("a link that was used", func(t *testing.T, h *house) request {
		_, login := h.newPerson(t, false)
		ask := request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", h.resetLink(t, login), "Password", anotherOne)}
		h.must(t, ask)
		return ask
	})
	never("a stranger's profile", func(t *testing.T, h *house) request {
		return request{method: "PATCH", target: "/auth/user/" + string(eveID), bearer: h.print(t, nxAccess, "ada@example.test"), body: `{"Name":"x"}`}
	})
	never("a stranger's hub", func(t *testing.T, h *house) request {
		return request{method: "POST", target: "/auth/hub/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2", bearer: h.print(t, titanFull, "ada@example.test")}
	})
	never("acting for a stranger", func(t *testing.T, h *house) request {
		return request{method: "GET", target: "/auth/configuration", bearer: h.print(t, nxAccess, "ada@example.test"), header: [][2]string{{"X-Act-As-Kind", "organization"}, {"X-Act-As-ID", string(works)}}}
	})
	for _, kind := range []string{nxRefresh, insightsRefresh, titanFull, wifiRefresh, oidcRefr} {
		add("refresh of "+kind, func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			_, login := h.newPerson(t, false)
			ask := asks(kind).make(t, h, h.print(t, kind, login))
			h.Clock.Advance(time.Second)
			switch kind {
			case nxRefresh:
				ask.body = `{"GrantType":"RefreshToken"}`
			case titanFull:
				ask.target = "/auth/refresh"
			}
			return ask, func(t *testing.T) bool {
				// openwifi has no grace: a spent token that comes again ends the session, and she signs in.
				return h.send(ask).ok() || kind == wifiRefresh && h.honoured(t, kind, h.print(t, kind, login))
			}
		})
	}
	for _, kind := range []string{titanCode, wifiChallenge} {
		add("code of "+kind, func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			_, login := h.newPerson(t, true)
			token := h.print(t, kind, login)
			h.Clock.Advance(30 * time.Second)
			ask := asks(kind).make(t, h, token)
			return ask, func(t *testing.T) bool {
				if h.send(ask).ok() {
					return true
				}
				token := h.print(t, kind, login) // the code was spent, and nobody heard of the session
				h.Clock.Advance(30 * time.Second)
				return h.send(asks(kind).make(t, h, token)).ok()
			}
		})
	}
	for kind, ask := range map[string]request{
		nxAccess: {method: "POST", target: "/auth/authenticate/signout"}, titanFull: {method: "POST", target: "/auth/invalidate"}, wifiAccess: {method: "DELETE", target: "/api/v1/oauth2/"},
	} {
		add("sign-out of "+kind, func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			_, login := h.newPerson(t, false)
			ask := ask
			ask.bearer = h.print(t, kind, login)
			if kind == wifiAccess {
				ask.target += ask.bearer
			}
			return ask, func(t *testing.T) bool {
				return (h.send(ask).ok() || true) && !h.honoured(t, kind, ask.bearer)
			}
		})
	}
	for kind, ask := range map[string]request{
		nxAccess: {method: "GET", target: "/auth/configuration"}, insightsAccess: {method: "GET", target: "/api/v2/users/loggedIn/detail"},
		titanFull: {method: "POST", target: "/auth/hub/invalidate"}, wifiAccess: {method: "GET", target: "/api/v1/oauth2?me=true"},
	} {
		add("use of "+kind, func(t *testing.T, h *house) (request, func(*testing.T) bool) {
			_, login := h.newPerson(t, false)
			ask := ask
			ask.bearer = h.print(t, kind, login)
			return ask, func(*testing.T) bool { return h.send(ask).ok() }
		})
	}
	add("registration", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		login := h.newAddress(t)
		ask := request{method: "POST", target: "/auth/user", from: h.newNetwork(), body: object("Email", login, "Password", passphrase, "Name", "N", "Company", "C "+login, "AcceptEULA", "true")}
		return ask, func(*testing.T) bool {
			a := h.send(ask)
			return a.ok() || a.status == http.StatusConflict && h.send(signIns["nx"](login, passphrase)).ok()
		}
	})
	add("forgotten password", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		_, login := h.newPerson(t, false)
		ask := request{method: "POST", target: "/auth/authenticate/forgot-password", body: object("Email", login)}
		return ask, func(t *testing.T) bool { return h.send(ask).ok() && h.resetLink(t, login) != "" }
	})
	add("reset by link", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		_, login := h.newPerson(t, false)
		ask := request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", h.resetLink(t, login), "Password", anotherOne)}
		return ask, func(*testing.T) bool {
			a := h.send(ask)
			return (a.ok() || a.status == http.StatusBadRequest) && h.send(signIns["nx"](login, anotherOne)).ok()
		}
	})
	add("change of one's own password", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		_, login := h.newPerson(t, false)
		ask := request{method: "POST", target: "/auth/authenticate/update-password", bearer: h.print(t, nxAccess, login), body: object("CurrentPassword", passphrase, "NewPassword", anotherOne)}
		return ask, func(*testing.T) bool {
			_ = h.send(ask)
			return h.send(signIns["nx"](login, anotherOne)).ok()
		}
	})
	add("a client's own token", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		ask := formOf("/oauth2/token", "grant_type", "client_credentials", "client_id", "robot", "client_secret", clientSecret)(t, h, "")
		return ask, func(*testing.T) bool { return h.send(ask).ok() }
	})
	add("introspection", func(t *testing.T, h *house) (request, func(*testing.T) bool) {
		ask := formOf("/oauth2/introspect", "token", h.print(t, nxAccess, "ada@example.test"), "client_id", "robot", "client_secret", clientSecret)(t, h, "")
		return ask, func(*testing.T) bool { return h.send(ask).body != `{"active":false}` }
	})
	return all
}

// The store fails at the n-th call, for every n, in three ways, and at the n-th read: the client reads success or 503 in the door's words, never
// another 5xx and never that it did something wrong; what happened is whole; and it gets what it wanted after all (P5, P6). What is
// to be refused stays refused, whatever fails.
func TestNthFault(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		f := &faulty{Store: store}
		h := newHouse(t, apptest.Options{Store: f})
		fired := 0
		ways := []how{before, rolled, answered}
		if t.Name() == "TestNthFault/sqlite" {
			ways = append(ways, within) // in which the engine has no part
		}
		for _, s := range stories() {
			for _, how := range ways {
				for n := 1; ; n++ {
					name := fmt.Sprintf("%s, call %d fails %s", s.name, n, how)
					h.Clock.Advance(h.SignIn.Limits.AddressWindow) // each begins with no failure counted
					ask, again := s.begin(t, h)
					h.forget()
					mark, first := h.mark(t)
					f.arm(n, how)
					a := h.send(ask)
					happened, _ := f.disarm()
					if !happened {
						if n == 1 {
							t.Fatalf("%s: the store was not asked at all", name)
						}
						break
					}
					fired++
					opened := a.ok() && a.body != `{"active":false}`
					if a.status != http.StatusServiceUnavailable && (s.never && opened || !s.never && !opened || a.status >= 500) {
						t.Errorf("%s: %v", name, a)
					}
					if a.status == http.StatusServiceUnavailable && a.header.Get("Content-Type") == "" {
						t.Errorf("%s: no body", name)
					}
					h.consistent(t, name, mark, first)
					if !again(t) {
						t.Errorf("%s: it does not work afterwards either", name)
					}
				}
			}
		}
		h.sealed(t)
		t.Logf("%d faults", fired)
		if fired < 350 {
			t.Errorf("only %d faults happened", fired)
		}
	})
}

// forget empties the memory of the node, so that a story asks the store as a node that just started does.
func (h *house) forget() {
	all := []identity.Change{{Kind: identity.EverythingChanged}}
	h.Sessions.Changed(all)
	h.Policies.Changed(all)
	h.Grants.Changed(all)
}

// consistent: each session that began since a mark has its audit row, and each row its session.
func (h *house) consistent(t *testing.T, name string, mark int64, first identity.SessionID) {
	t.Helper()
	said := map[identity.SessionID]bool{}
	for _, e := range h.events(t, mark) {
		if e.Outcome != audit.OK || e.Action != "signin" && e.Action != "signup" && e.Action != "session.end" {
			continue
		}
		said[e.SessionID] = true
		h.view(t, func(ctx context.Context, r identity.Reader) error {
			s, err := r.Session(ctx, e.SessionID)
			if err != nil || (e.Action == "session.end") == s.EndedAt.IsZero() {
				t.Errorf("%s: the audit log says %s of session %s, which is %+v (%v)", name, e.Action, e.SessionID, s, err)
			}
			return nil
		})
	}
	h.view(t, func(ctx context.Context, r identity.Reader) error {
		list, err := r.Sessions(ctx, first, 100)
		for _, s := range list {
			if !said[s.ID] {
				t.Errorf("%s: nothing in the audit log of session %s", name, s.ID)
			}
		}
		return err
	})
}

// mark moves the clock to an instant whose ids are later than all before, and gives it as audit row and as session.
func (h *house) mark(t *testing.T) (int64, identity.SessionID) {
	t.Helper()
	h.Clock.Advance(time.Millisecond)
	id, err := identity.NewID(h.Clock.Now(), zeros{})
	must(t, err)
	return h.lastEvent(t), identity.SessionID(id)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// sealed chains what was recorded and verifies it.
func (h *house) sealed(t *testing.T) {
	t.Helper()
	for {
		n, err := h.Sealer.SealOnce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	sum, err := h.Sealer.Verify(t.Context(), func(p audit.Problem) { t.Errorf("audit log: %+v", p) })
	if err != nil {
		t.Fatal(err)
	}
	if sum.Rows == 0 {
		t.Error("the audit log is empty")
	}
}

// While the store is away every door says so in its words, and nothing that was refused opens: not a token that was never
// looked at, not a password (P6).
func TestStoreAway(t *testing.T) {
	f := &faulty{Store: storetest.SQLite(t)}
	h := newHouse(t, apptest.Options{Store: f})
	valid := newValidator(t, h)
	shown := map[string]string{}
	for _, kind := range tokenKinds {
		shown[kind] = h.print(t, kind, holderOf(kind))
	}
	for _, r := range recipes {
		tokens := r.takes
		if tokens == nil {
			tokens = []string{""}
		}
		for _, kind := range tokens {
			ask := r.make(t, h, shown[kind])
			h.forget()
			f.arm(everyCall, before)
			a := h.send(ask)
			if fired, _ := f.disarm(); !fired {
				continue // it needs no store
			}
			if a.status != http.StatusServiceUnavailable && !(r.op == "status" || r.op == "statusAtRoot") {
				t.Errorf("%s with %s, the store away: %v", r.name(), kind, a)
			} else if err := valid(r.door, ask, a); err != nil {
				t.Errorf("%s, the store away: %v", r.name(), err)
			}
			h.forget()
		}
	}
}
