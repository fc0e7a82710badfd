package licence_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
	verify "gatehouse/verify/licence"
)

const day = 24 * time.Hour

var (
	operator = identity.Caller{Door: "cli"}
	yearEnd  = coretest.Start.AddDate(1, 0, 0)
)

// world is a house with two organisations, an agreement and two devices.
type world struct {
	*coretest.Core
	*licence.Service
	t           testing.TB
	ring        *keys.Ring
	acme, other identity.Organisation
	pro         identity.Agreement
	one, two    identity.Device
	foreign     identity.Device
}

func newWorld(t testing.TB, store identity.Store) *world {
	t.Helper()
	c := coretest.New(t, store)
	ring, err := keys.NewRing(keys.Options{Store: store, Box: c.Box, Now: c.Clock.Now, Rand: coretest.SeededRand()})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ensure(t.Context(), keys.EdDSA); err != nil {
		t.Fatal(err)
	}
	w := &world{Core: c, t: t, ring: ring, Service: &licence.Service{
		Store: store, Log: &audit.Log{Now: c.Clock.Now, Rand: coretest.SeededRand()}, Keys: ring, Outbox: c.Outbox, Issuer: "https://id.example.test",
		Terms: licence.Terms{Lease: 30 * day, Grace: 14 * day, EndsSoon: 30 * day, Webhook: "https://hooks.example.test/licences", WebhookKey: "0123456789abcdef"},
		Told:  func(m identity.Membership) bool { return m.Role == "owner" },
		Stale: c.Stale.Load, Now: c.Clock.Now, Rand: coretest.SeededRand(),
	}}
	store.OnCommit(w.Changed)
	w.acme, w.other = w.organisation("ACME"), w.organisation("Other")
	w.pro = must[identity.Agreement](t)(w.SaveAgreement(t.Context(), operator, identity.Agreement{
		Key: "edge-pro", Name: "Edge Pro", Kind: "subscription", Provides: []string{"manager", "inference"}, PublishedAt: coretest.Start,
	}))
	w.one, w.two, w.foreign = w.device("camera-1", w.acme), w.device("camera-2", w.acme), w.device("camera-3", w.other)
	return w
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

var serial atomic.Int64

func (w *world) organisation(name string) identity.Organisation {
	id := fmt.Sprintf("01a0b000-0000-7000-8000-%012x", serial.Add(1))
	o := identity.Organisation{ID: identity.OrganisationID(id), Key: strings.ToLower(name) + id, Name: name, CreatedAt: w.Clock.Now()}
	w.Core.Update(func(tx identity.Tx) error { return tx.CreateOrganisation(w.t.Context(), &o) })
	return o
}

func (w *world) device(key string, o identity.Organisation) identity.Device {
	w.t.Helper()
	return must[identity.Device](w.t)(w.SaveDevice(w.t.Context(), operator, identity.Device{Key: key, OrganisationID: o.ID}))
}

func (w *world) member(o identity.Organisation, role string) identity.Subject {
	w.t.Helper()
	s := w.Person()
	w.Core.Update(func(tx identity.Tx) error {
		if err := tx.SaveRole(w.t.Context(), identity.Role{Key: role}); err != nil {
			return err
		}
		return tx.SaveMembership(w.t.Context(), identity.Membership{ID: identity.MembershipID(s.ID), SubjectID: s.ID, OrganisationID: o.ID, Role: role})
	})
	return s
}

func (w *world) licence(change ...func(*licence.New)) identity.Licence {
	w.t.Helper()
	in := licence.New{AgreementID: w.pro.ID, OrganisationID: w.acme.ID, ExpiresAt: yearEnd}
	for _, f := range change {
		f(&in)
	}
	return must[identity.Licence](w.t)(w.Create(w.t.Context(), operator, in))
}

func (w *world) events(action string) (all []identity.Event) {
	w.View(func(r identity.Reader) (err error) {
		all, err = r.Events(w.t.Context(), identity.EventFilter{Action: action, Limit: 100})
		return err
	})
	return all
}

// check verifies a document as a device does.
func (w *world) check(document string, device identity.DeviceID, lists ...string) (verify.Claims, verify.State, error) {
	w.t.Helper()
	jwks, _ := w.ring.JWKS()
	known := must[*verify.Keys](w.t)(verify.ParseKeys(jwks))
	v := &verify.Verifier{Keys: known, Issuer: "https://id.example.test", Now: w.Clock.Now}
	for _, list := range lists {
		v.Revocations = must[*verify.Revocations](w.t)(verify.ParseRevocations(list, known))
	}
	return v.Verify(document, verify.Binding{Device: string(device), Organisation: string(w.acme.ID)})
}

func (w *world) revocations() string {
	w.t.Helper()
	text, _, err := w.Revocations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func TestCreate(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		l := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID, w.two.ID} })
		if l.Seats != 2 || l.Taken != 2 || l.Grace != 14*day || l.Key != string(l.ID) || !identity.ValidID(l.Code) || !l.StartsAt.Equal(coretest.Start) {
			t.Errorf("%+v", l)
		}
		if got := w.events("licence.create"); len(got) != 1 || got[0].OrganisationID != w.acme.ID || len(w.events("licence.assign")) != 2 {
			t.Errorf("%v", got)
		}
		draft := must[identity.Agreement](t)(w.SaveAgreement(t.Context(), operator, identity.Agreement{Key: "draft", Kind: "trial"}))
		before := len(w.events("licence.create"))
		tooLong, negative := licence.MaxGrace+1, -time.Second
		for name, tt := range map[string]struct {
			change func(*licence.New)
			want   identity.Kind
			field  string
		}{
			"no agreement":        {func(n *licence.New) { n.AgreementID = "none" }, identity.Invalid, "agreement"},
			"a draft":             {func(n *licence.New) { n.AgreementID = draft.ID }, identity.Conflict, "agreement"},
			"no organisation":     {func(n *licence.New) { n.OrganisationID = "none" }, identity.Invalid, "organisation"},
			"no provider":         {func(n *licence.New) { n.ProviderID = "none" }, identity.Invalid, "provider"},
			"no signer":           {func(n *licence.New) { n.SignedBy = "none" }, identity.Invalid, "signed_by"},
			"over before it is":   {func(n *licence.New) { n.ExpiresAt = coretest.Start }, identity.Invalid, "expires_at"},
			"far ahead":           {func(n *licence.New) { n.ExpiresAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, identity.Invalid, "expires_at"},
			"grace without end":   {func(n *licence.New) { n.Grace = &tooLong }, identity.Invalid, "grace"},
			"grace below nothing": {func(n *licence.New) { n.Grace = &negative }, identity.Invalid, "grace"},
			"more than all off":   {func(n *licence.New) { n.DiscountBP = 10_001 }, identity.Invalid, "discount_bp"},
			"a gift":              {func(n *licence.New) { n.AmountPerMonth = -1 }, identity.Invalid, "amount_per_month"},
			"no catalogue":        {func(n *licence.New) { n.Catalogues = []string{"x"} }, identity.Invalid, "catalogues"},
			"too many seats":      {func(n *licence.New) { n.Seats = 1001 }, identity.Invalid, "seats"},
			"another's device":    {func(n *licence.New) { n.Devices = []identity.DeviceID{w.foreign.ID} }, identity.Invalid, "device"},
			"no device":           {func(n *licence.New) { n.Devices = []identity.DeviceID{"x"} }, identity.Invalid, "device"},
			"too few seats":       {func(n *licence.New) { n.Seats, n.Devices = 1, []identity.DeviceID{w.one.ID, w.two.ID} }, identity.Conflict, "device"},
			"a key that is taken": {func(n *licence.New) { n.Key = l.Key }, identity.Conflict, "key"},
			"a code that is":      {func(n *licence.New) { n.Code = strings.ToUpper(l.Code) }, identity.Conflict, "key"},
			"a key with a space":  {func(n *licence.New) { n.Key = "a b" }, identity.Invalid, "key"},
			"an id that is none":  {func(n *licence.New) { n.ID = "x" }, identity.Invalid, "id"},
		} {
			t.Run(name, func(t *testing.T) {
				in := licence.New{AgreementID: w.pro.ID, OrganisationID: w.acme.ID}
				tt.change(&in)
				_, err := w.Create(t.Context(), operator, in)
				if !errors.Is(err, tt.want) || identity.Describe(err).Field != tt.field {
					t.Errorf("%v, want %v of %s", err, tt.want, tt.field)
				}
			})
		}
		if n := len(w.events("licence.create")); n != before {
			t.Errorf("%d licences were made by refusals", n-before)
		}
	})
}

func TestAgreementsAndDevices(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	ctx := t.Context()
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("%03d%s", i, strings.Repeat("x", 80))
	}
	for name, tt := range map[string]struct {
		change func(*identity.Agreement)
		field  string
	}{
		"no key":             {func(a *identity.Agreement) { a.Key = "" }, "key"},
		"no kind":            {func(a *identity.Agreement) { a.Kind = "" }, "kind"},
		"a long kind":        {func(a *identity.Agreement) { a.Kind = strings.Repeat("k", 129) }, "kind"},
		"a long name":        {func(a *identity.Agreement) { a.Name = strings.Repeat("n", 201) }, "name"},
		"a word twice":       {func(a *identity.Agreement) { a.Provides = []string{"a", "a"} }, "provides"},
		"an empty word":      {func(a *identity.Agreement) { a.Provides = []string{""} }, "provides"},
		"more than can hold": {func(a *identity.Agreement) { a.Provides = many }, "provides"},
		"long words":         {func(a *identity.Agreement) { a.Provides = []string{strings.Repeat("ü", 100)} }, "provides"},
	} {
		t.Run(name, func(t *testing.T) {
			a := identity.Agreement{Key: "new", Kind: "trial"}
			tt.change(&a)
			if _, err := w.SaveAgreement(ctx, operator, a); !errors.Is(err, identity.Invalid) || identity.Describe(err).Field != tt.field {
				t.Errorf("%v, want a mistake in %s", err, tt.field)
			}
		})
	}
	saved := len(w.events("agreement.save"))
	if same, err := w.SaveAgreement(ctx, operator, w.pro); err != nil || same.Name != "Edge Pro" || len(w.events("agreement.save")) != saved {
		t.Errorf("saving what stands: %v, and a row in the log", err)
	}
	if _, err := w.SaveAgreement(ctx, operator, identity.Agreement{Key: w.pro.Key, Kind: "x"}); !errors.Is(err, identity.Conflict) {
		t.Errorf("a key that is taken: %v", err)
	}
	if _, err := w.SaveDevice(ctx, operator, identity.Device{Key: "camera-1", OrganisationID: w.acme.ID}); !errors.Is(err, identity.Conflict) {
		t.Errorf("a device's key that is taken: %v", err)
	}
	if _, err := w.SaveDevice(ctx, operator, identity.Device{ID: w.one.ID, Key: "camera-1", OrganisationID: w.other.ID}); !errors.Is(err, identity.Conflict) {
		t.Errorf("a device that moves: %v", err)
	}
	if _, err := w.SaveDevice(ctx, operator, identity.Device{OrganisationID: "none"}); !errors.Is(err, identity.Invalid) {
		t.Errorf("a device of nobody: %v", err)
	}
	l := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
	w.Core.Update(func(tx identity.Tx) error { return w.DeleteDeviceIn(ctx, tx, operator, w.one.ID) })
	if d := must[licence.Details](t)(w.Find(ctx, l.Key)); d.Taken != 0 || len(d.Devices) != 0 {
		t.Errorf("%d seats are taken by a device that is gone", d.Taken)
	}
	err := w.Core.Store.Update(ctx, func(tx identity.Tx) error { return w.DeleteAgreementIn(ctx, tx, operator, w.pro.ID) })
	if !errors.Is(err, identity.Conflict) {
		t.Errorf("deleting an agreement in use: %v", err)
	}
}

// Whatever is made, changed or removed leaves its row in the same transaction, with whose it is and what was before; what changes
// nothing leaves none.
func TestEveryVerbLeavesARow(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		yes, no, code := true, false, "another code"
		device := identity.Device{Key: "till", OrganisationID: w.acme.ID}
		agreement := identity.Agreement{Key: "extra", Kind: "trial", PublishedAt: coretest.Start}
		var l identity.Licence
		in := func(verb func(tx identity.Tx) error) error { return store.Update(ctx, verb) }
		change := func(c licence.Change) error {
			_, err := w.Service.Update(ctx, operator, l.ID, c)
			return err
		}
		for _, step := range []struct {
			action        string
			whose         identity.OrganisationID
			before, after bool
			do            func() error
		}{
			{"agreement.save", "", false, true, func() (err error) { agreement, err = w.SaveAgreement(ctx, operator, agreement); return err }},
			{"agreement.save", "", true, true, func() (err error) {
				agreement.Name = "Extra"
				agreement, err = w.SaveAgreement(ctx, operator, agreement)
				return err
			}},
			{"device.save", w.acme.ID, false, true, func() (err error) { device, err = w.SaveDevice(ctx, operator, device); return err }},
			{"device.save", w.acme.ID, true, true, func() (err error) {
				device.Name = "Till"
				device, err = w.SaveDevice(ctx, operator, device)
				return err
			}},
			{"", "", false, false, func() error { _, err := w.SaveDevice(ctx, operator, device); return err }},
			{"licence.create", w.acme.ID, false, true, func() error { l = w.licence(func(n *licence.New) { n.AgreementID = agreement.ID }); return nil }},
			{"licence.document", w.acme.ID, false, true, func() error { _, err := w.Issue(ctx, operator, l.ID, ""); return err }},
			{"licence.assign", w.acme.ID, false, true, func() error { _, err := w.Assign(ctx, operator, l.ID, device.ID); return err }},
			{"", "", false, false, func() error { _, err := w.Assign(ctx, operator, l.ID, device.ID); return err }},
			{"licence.update", w.acme.ID, true, true, func() error { return change(licence.Change{Code: &code}) }},
			{"", "", false, false, func() error { return change(licence.Change{Code: &code}) }},
			{"licence.renew", w.acme.ID, true, true, func() error {
				_, err := w.Renew(ctx, operator, l.ID, licence.Term{ExpiresAt: yearEnd.AddDate(1, 0, 0)})
				return err
			}},
			{"licence.revoke", w.acme.ID, true, true, func() error { return change(licence.Change{Revoked: &yes}) }},
			{"licence.restore", w.acme.ID, true, true, func() error { return change(licence.Change{Revoked: &no}) }},
			{"licence.release", w.acme.ID, true, false, func() error { _, err := w.Release(ctx, operator, l.ID, device.ID); return err }},
			{"device.delete", w.acme.ID, true, false, func() error { return w.DeleteDevice(ctx, operator, device.ID) }},
			{"licence.delete", w.acme.ID, true, false, func() error { return in(func(tx identity.Tx) error { return w.DeleteIn(ctx, tx, operator, l.ID) }) }},
			{"agreement.delete", "", true, false, func() error {
				return in(func(tx identity.Tx) error { return w.DeleteAgreementIn(ctx, tx, operator, agreement.ID) })
			}},
		} {
			last := func() (all []identity.Event) { return w.events("") }
			mark := len(last())
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.action, err)
			}
			rows := last()
			if added := len(rows) - mark; step.action == "" || added != 1 {
				if step.action != "" || added != 0 {
					t.Errorf("%q: %d rows", step.action, added)
				}
				continue
			}
			e := rows[0]
			var detail struct{ Before, After map[string]any }
			if err := json.Unmarshal(e.Detail, &detail); err != nil {
				t.Fatal(err)
			}
			if e.Action != step.action || e.Outcome != "ok" || e.OrganisationID != step.whose || e.Door != "cli" || (detail.Before != nil) != step.before || (detail.After != nil) != step.after {
				t.Errorf("want %s of %q: %+v %s", step.action, step.whose, e, e.Detail)
			}
		}
	})
}

func TestRenewalsKeepHistory(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		l := w.licence(func(n *licence.New) { n.AmountPerMonth = 4900 })
		price, paid := int64(5900), yearEnd.AddDate(1, 0, 0)
		for i, term := range []licence.Term{{ExpiresAt: yearEnd.AddDate(1, 0, 0), PaidUntilAt: &paid, AmountPerMonth: &price}, {ExpiresAt: time.Time{}}} {
			w.Clock.Advance(day)
			if _, err := w.Renew(ctx, operator, l.ID, term); err != nil {
				t.Fatal(i, err)
			}
		}
		d := must[licence.Details](t)(w.Find(ctx, l.Key))
		less, half := yearEnd, 5000
		must[identity.Licence](t)(w.Service.Update(ctx, identity.Caller{Door: "cli", SubjectID: "signer", ActorID: "actor"}, l.ID, licence.Change{PaidUntilAt: &less, DiscountBP: &half}))
		words := "another code"
		must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, licence.Change{Code: &words})) // no term, so no history
		if all := must[licence.Details](t)(w.Find(ctx, l.Key)).Renewals; len(all) != 3 || all[2].By != "actor" || !all[2].OldPaidUntilAt.Equal(paid) ||
			!all[2].NewPaidUntilAt.Equal(less) || all[2].OldDiscountBP != 0 || all[2].NewDiscountBP != 5000 || !all[0].OldPaidUntilAt.IsZero() || !all[0].NewPaidUntilAt.Equal(paid) {
			t.Errorf("%+v", all)
		}
		if len(d.Renewals) != 2 || !d.ExpiresAt.IsZero() || d.AmountPerMonth != 5900 || len(w.events("licence.renew")) != 2 {
			t.Fatalf("%+v", d)
		}
		first, second := d.Renewals[0], d.Renewals[1]
		if !first.OldExpiresAt.Equal(yearEnd) || !first.NewExpiresAt.Equal(yearEnd.AddDate(1, 0, 0)) || first.OldAmount != 4900 || first.NewAmount != 5900 ||
			!first.At.Equal(coretest.Start.Add(day)) || !second.NewExpiresAt.IsZero() || second.NewAmount != 5900 {
			t.Errorf("%+v", d.Renewals)
		}
		if _, err := w.Renew(ctx, operator, l.ID, licence.Term{ExpiresAt: yearEnd}); !errors.Is(err, identity.Invalid) {
			t.Errorf("a renewal that shortens: %v", err)
		}
		revoked := must[identity.Licence](t)(w.Revoke(ctx, operator, l.ID, "not paid"))
		if revoked.RevokedFor != "not paid" {
			t.Errorf("revoked for %q", revoked.RevokedFor)
		}
		if _, err := w.Revoke(ctx, operator, l.ID, ""); !errors.Is(err, identity.Conflict) {
			t.Errorf("revoked twice: %v", err)
		}
		if _, err := w.Renew(ctx, operator, l.ID, licence.Term{}); !errors.Is(err, identity.Conflict) {
			t.Errorf("renewed though revoked: %v", err)
		}
		if _, err := w.Assign(ctx, operator, l.ID, w.one.ID); !errors.Is(err, identity.Conflict) {
			t.Errorf("assigned though revoked: %v", err)
		}
		no := false
		if back := must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, licence.Change{Revoked: &no})); back.StateAt(w.Clock.Now()) != identity.LicenceActive {
			t.Errorf("given back: %s", back.StateAt(w.Clock.Now()))
		}
		if len(w.events("licence.revoke")) != 1 || len(w.events("licence.restore")) != 1 {
			t.Error("the log does not say so")
		}
		if _, err := w.Revoke(ctx, operator, "none", ""); !errors.Is(err, identity.NotFound) {
			t.Errorf("revoked what is not there: %v", err)
		}
	})
}

func TestLastSeatUnderARace(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		l := w.raceForLastSeat(w.Service)
		// The same device again takes no second seat.
		if again, err := w.Assign(t.Context(), operator, l.ID, w.one.ID); err != nil || again.Taken != 2 {
			t.Errorf("%d, %v", again.Taken, err)
		}
		if _, err := w.Service.Update(t.Context(), operator, l.ID, licence.Change{Seats: new(int)}); err == nil {
			t.Error("no seats at all")
		}
		one := 1
		if _, err := w.Service.Update(t.Context(), operator, l.ID, licence.Change{Seats: &one}); !errors.Is(err, identity.Conflict) {
			t.Errorf("fewer seats than are taken: %v", err)
		}
		if _, err := w.Release(t.Context(), operator, l.ID, w.two.ID); !errors.Is(err, identity.Conflict) {
			t.Errorf("released what it does not name: %v", err)
		}
		if free, err := w.Release(t.Context(), operator, l.ID, w.one.ID); err != nil || free.Taken != 1 {
			t.Errorf("%d, %v", free.Taken, err)
		}
	})
}

// Two nodes see each other's seats only in the database.
func TestLastSeatOnTwoNodes(t *testing.T) {
	database := storetest.PostgresURL(t)
	w := newWorld(t, storetest.OpenPostgres(t, database))
	first := w.Service
	other := &licence.Service{
		Store: storetest.OpenPostgres(t, database), Log: first.Log, Keys: w.ring, Outbox: first.Outbox, Terms: first.Terms, Stale: first.Stale, Now: first.Now, Rand: first.Rand,
	}
	for range 4 {
		w.raceForLastSeat(first, other)
	}
}

// raceForLastSeat has sixteen devices want the last seat of a licence at once, at several nodes: one has it.
func (w *world) raceForLastSeat(nodes ...*licence.Service) identity.Licence {
	w.t.Helper()
	l := w.licence(func(n *licence.New) { n.Seats, n.Devices = 2, []identity.DeviceID{w.one.ID} })
	const racers = 16
	var devices []identity.Device
	for i := range racers {
		devices = append(devices, w.device(fmt.Sprintf("racer-%d-%d", serial.Add(1), i), w.acme))
	}
	var winners, losers atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		all.Go(func() {
			<-start
			_, err := nodes[i%len(nodes)].Assign(w.t.Context(), operator, l.ID, devices[i].ID)
			switch {
			case err == nil:
				winners.Add(1)
			case errors.Is(err, identity.Conflict):
				losers.Add(1)
			default:
				w.t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	d := must[licence.Details](w.t)(w.Find(w.t.Context(), l.Key))
	if winners.Load() != 1 || losers.Load() != racers-1 || d.Taken != 2 || len(d.Devices) != 2 {
		w.t.Errorf("%d won the last seat, %d did not; %d seats of 2 are taken, %d devices named", winners.Load(), losers.Load(), d.Taken, len(d.Devices))
	}
	return l
}

func TestWhoSeesWhat(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		signer := w.member(w.acme, "owner")
		mine := w.licence(func(n *licence.New) { n.ProviderID, n.SignedBy = w.other.ID, signer.ID })
		theirs := w.licence(func(n *licence.New) { n.OrganisationID = w.other.ID })
		member, stranger := w.member(w.acme, "user"), w.Person()
		root := w.Person(func(s *identity.Subject, _ *identity.Credential) { s.Superadmin = true })
		for name, tt := range map[string]struct {
			viewer licence.Viewer
			want   []identity.LicenceID
		}{
			"a member":                       {licence.Viewer{SubjectID: member.ID, OrganisationID: w.acme.ID}, []identity.LicenceID{mine.ID}},
			"a member of another":            {licence.Viewer{SubjectID: member.ID, OrganisationID: w.other.ID}, nil},
			"a member acting for another":    {licence.Viewer{SubjectID: member.ID, OrganisationID: w.other.ID, Acting: true}, nil},
			"a member of nothing":            {licence.Viewer{SubjectID: stranger.ID}, nil},
			"a superadmin":                   {licence.Viewer{SubjectID: root.ID, OrganisationID: w.acme.ID}, []identity.LicenceID{mine.ID, theirs.ID}},
			"a superadmin acting for one":    {licence.Viewer{SubjectID: root.ID, OrganisationID: w.other.ID, Acting: true}, []identity.LicenceID{theirs.ID}},
			"a superadmin acting as herself": {licence.Viewer{SubjectID: root.ID, Acting: true}, []identity.LicenceID{mine.ID, theirs.ID}},
		} {
			t.Run(name, func(t *testing.T) {
				page, err := w.List(ctx, tt.viewer, identity.LicenceFilter{})
				if err != nil || page.Total != len(tt.want) || len(page.Licences) != len(tt.want) {
					t.Fatalf("%d of %d, %v", len(page.Licences), page.Total, err)
				}
				for _, l := range page.Licences {
					if !slices.Contains(tt.want, l.ID) || l.Agreement.Name != "Edge Pro" {
						t.Errorf("sees %s", l.ID)
					}
				}
				for _, id := range []identity.LicenceID{mine.ID, theirs.ID, "none"} {
					shown, err := w.Show(ctx, tt.viewer, id)
					if slices.Contains(tt.want, id) != (err == nil) || err != nil && !errors.Is(err, identity.NotFound) {
						t.Errorf("%s: %v", id, err)
					}
					if id == mine.ID && err == nil && (shown.Provider.Name != "Other" || shown.Signed.Email != signer.Email) {
						t.Errorf("%+v", shown)
					}
					_, err = w.DocumentFor(ctx, operator, tt.viewer, id, "")
					if slices.Contains(tt.want, id) != (err == nil) || err != nil && !errors.Is(err, identity.NotFound) {
						t.Errorf("the document of %s: %v", id, err)
					}
				}
			})
		}
		if _, err := w.List(ctx, licence.Viewer{SubjectID: "gone"}, identity.LicenceFilter{}); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("somebody who is gone: %v", err)
		}
	})
}

func TestDocuments(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		l := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
		d := must[licence.Document](t)(w.Issue(ctx, operator, l.ID, ""))
		c, state, err := w.check(d.Text, w.one.ID)
		if err != nil || state != verify.Valid {
			t.Fatalf("%v, %v", state, err)
		}
		now := w.Clock.Now()
		if c.Licence != string(l.ID) || c.Device != string(w.one.ID) || !c.Has("inference") || c.Has("x") || !c.NotBefore.Equal(now) ||
			!c.ExpiresAt.Equal(now.Add(30*day)) || !c.GraceEndsAt.Equal(now.Add(44*day)) || c.OrganisationName != "ACME" || c.AgreementKind != "subscription" || c.RevocationEpoch != 0 {
			t.Errorf("%+v", c)
		}
		if _, _, err := w.check(d.Text, w.two.ID); !errors.Is(err, verify.ErrOther) {
			t.Errorf("at another device: %v", err)
		}
		if rows := w.events("licence.document"); len(rows) != 1 || !strings.Contains(string(rows[0].Detail), c.ID) {
			t.Errorf("the log: %v", rows)
		}
		two := must[licence.Document](t)(w.Issue(ctx, operator, l.ID, w.one.ID))
		if two.ID == d.ID {
			t.Error("two documents of one id")
		}

		whole := w.licence()
		if _, state, err := w.check(must[licence.Document](t)(w.Issue(ctx, operator, whole.ID, "")).Text, w.two.ID); err != nil || state != verify.Valid {
			t.Errorf("of the organisation: %v, %v", state, err)
		}
		several := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID, w.two.ID} })
		coming := w.licence(func(n *licence.New) { n.StartsAt = now.Add(90 * day) })
		short := w.licence(func(n *licence.New) { n.ExpiresAt = now.Add(day) })
		later := must[licence.Document](t)(w.Issue(ctx, operator, coming.ID, ""))
		if !later.NotBefore.Equal(now.Add(90*day)) || !later.ExpiresAt.Equal(now.Add(120*day)) {
			t.Errorf("%+v", later.Claims)
		}
		if brief := must[licence.Document](t)(w.Issue(ctx, operator, short.ID, "")); !brief.ExpiresAt.Equal(now.Add(day)) || !brief.GraceEndsAt.Equal(now.Add(15*day)) {
			t.Errorf("%+v", brief.Claims)
		}
		if other, err := w.Issue(ctx, operator, several.ID, w.two.ID); err != nil || other.Device != string(w.two.ID) {
			t.Errorf("%v %v", other.Device, err)
		}
		revoked := w.licence()
		must[identity.Licence](t)(w.Revoke(ctx, operator, revoked.ID, ""))
		for name, tt := range map[string]struct {
			licence identity.LicenceID
			device  identity.DeviceID
			after   time.Duration
			want    identity.Kind
		}{
			"no such licence":      {"none", "", 0, identity.NotFound},
			"which of several":     {several.ID, "", 0, identity.Invalid},
			"one it does not name": {l.ID, w.two.ID, 0, identity.Invalid},
			"names none":           {whole.ID, w.one.ID, 0, identity.Invalid},
			"revoked":              {revoked.ID, "", 0, identity.Denied},
			"expired, in grace":    {short.ID, "", day, identity.Denied},
			"long expired":         {short.ID, "", 20 * day, identity.Denied},
		} {
			t.Run(name, func(t *testing.T) {
				w.Clock.Advance(tt.after)
				defer w.Clock.Advance(-tt.after)
				if _, err := w.Issue(ctx, operator, tt.licence, tt.device); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			})
		}

		// An organisation that has ended yields none either, and may use nothing.
		w.acme.ExpiresAt = now.Add(time.Hour)
		w.Core.Update(func(tx identity.Tx) error { return tx.UpdateOrganisation(ctx, w.acme) })
		if _, err := w.Issue(ctx, operator, l.ID, ""); err != nil {
			t.Errorf("before its organisation ends: %v", err)
		}
		w.Clock.Advance(time.Hour)
		if d, err := w.Issue(ctx, operator, l.ID, ""); !errors.Is(err, identity.Denied) || d.Text != "" {
			t.Errorf("of an organisation that has ended: %q, %v", d.Text, err)
		}
		for _, of := range []licence.Holder{{OrganisationID: w.acme.ID}, {OrganisationID: w.acme.ID, DeviceID: w.one.ID}} {
			if got := must[[]string](t)(w.Entitlements(ctx, of)); len(got) != 0 {
				t.Errorf("when it has ended, %+v may use %v", of, got)
			}
		}
	})
}

func TestRevocationList(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		issue := func(l identity.Licence) string {
			t.Helper()
			return must[licence.Document](t)(w.Issue(ctx, operator, l.ID, "")).Text
		}
		good := func(document string, want bool) {
			t.Helper()
			_, _, err := w.check(document, w.one.ID, w.revocations())
			if want != (err == nil) || err != nil && !errors.Is(err, verify.ErrRevoked) {
				t.Errorf("with the list: %v, want it to count: %v", err, want)
			}
		}
		quiet, l, kept := w.licence(), w.licence(), w.licence()
		document, other := issue(l), issue(kept)
		must[identity.Licence](t)(w.Revoke(ctx, operator, quiet.ID, "")) // nothing is out of it
		if _, list, err := w.Revocations(ctx); err != nil || list.Epoch != 0 || len(list.Licences) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		good(document, true)
		must[identity.Licence](t)(w.Revoke(ctx, operator, l.ID, ""))
		good(document, false)
		good(other, true)

		// Given back, a new document counts and the old one does not.
		no := false
		l = must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, licence.Change{Revoked: &no}))
		good(document, false)
		again := issue(l)
		good(again, true)

		trial := must[identity.Agreement](t)(w.SaveAgreement(ctx, operator, identity.Agreement{Key: "trial", Kind: "trial", PublishedAt: coretest.Start}))
		for name, change := range map[string]licence.Change{
			"it ends sooner": {ExpiresAt: pointer(yearEnd.Add(-day))},
			"less grace":     {Grace: pointer(day)},
			"starts later":   {StartsAt: pointer(coretest.Start.Add(time.Second))},
			"for one device": {Devices: &[]identity.DeviceID{w.one.ID}},
			"another deal":   {AgreementID: &trial.ID},
		} {
			t.Run(name, func(t *testing.T) {
				l := w.licence()
				before := issue(l)
				w.Clock.Advance(time.Minute)
				must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, change))
				good(before, false)
				good(issue(l), true)
				w.Clock.Advance(-time.Minute)
			})
		}
		renewed := w.licence()
		before := issue(renewed)
		must[identity.Licence](t)(w.Renew(ctx, operator, renewed.ID, licence.Term{ExpiresAt: yearEnd.AddDate(1, 0, 0)}))
		good(before, true)

		// A device that is released, and a licence and an organisation that go.
		bound := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
		before = issue(bound)
		must[identity.Licence](t)(w.Release(ctx, operator, bound.ID, w.one.ID))
		good(before, false)
		// It names none now, and is not everybody's for that: whose seat was taken away would have one again.
		for _, device := range []identity.DeviceID{"", w.one.ID, w.two.ID} {
			if _, err := w.Issue(ctx, operator, bound.ID, device); !errors.Is(err, identity.Denied) {
				t.Errorf("a document for %q of a licence that names no device any more: %v", device, err)
			}
		}
		must[identity.Licence](t)(w.Assign(ctx, operator, bound.ID, w.one.ID))
		if _, err := w.Service.Update(ctx, operator, bound.ID, licence.Change{Named: new(false)}); !errors.Is(err, identity.Conflict) {
			t.Errorf("for all, while it names one: %v", err)
		}
		must[identity.Licence](t)(w.Service.Update(ctx, operator, bound.ID, licence.Change{Named: new(false), Devices: &[]identity.DeviceID{}}))
		before = issue(bound)
		must[identity.Licence](t)(w.Service.Update(ctx, operator, bound.ID, licence.Change{Named: new(true)}))
		good(before, false) // it was for all
		gone := w.licence()
		before = issue(gone)
		w.Core.Update(func(tx identity.Tx) error { return w.DeleteIn(ctx, tx, operator, gone.ID) })
		good(before, false)
		named := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
		before, other = issue(named), issue(kept)
		if err := w.DeleteDevice(ctx, operator, w.one.ID); err != nil {
			t.Fatal(err)
		}
		good(before, false)
		good(other, true)
		people := &manage.Service{Store: store, Passwords: w.Passwords, Sessions: w.Sessions, Log: w.Passwords.Log, Box: w.Box, Now: w.Clock.Now, Rand: coretest.SeededRand()}
		if err := people.DeleteOrganisation(ctx, operator, w.other.ID); err != nil {
			t.Fatal(err)
		}
		good(other, true)
		if _, list, err := w.Revocations(ctx); err != nil || len(list.Organisations) != 0 {
			t.Errorf("nothing was out of it: %+v, %v", list, err)
		}
		if err := people.DeleteOrganisation(ctx, operator, w.acme.ID); err != nil {
			t.Fatal(err)
		}
		good(other, false)

		// Nothing leaves the list before the grace of what it voids is over, and nothing stays on it for ever.
		w.Clock.Advance(44*day - time.Second)
		if _, state, err := w.check(other, w.one.ID); err != nil || state != verify.InGrace {
			t.Errorf("in the last second of its grace: %v, %v", state, err)
		}
		good(other, false)
		w.Clock.Advance(2 * day)
		if _, list, err := w.Revocations(ctx); err != nil || list.Epoch == 0 || len(list.Licences) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func pointer[T any](v T) *T { return &v }

func TestTelling(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		owner := w.member(w.acme, "owner")
		w.member(w.acme, "user")
		w.member(w.other, "owner")
		signer := w.Person(func(s *identity.Subject, _ *identity.Credential) { s.Locale = "de-CH" })
		suspended := w.member(w.acme, "owner")
		suspended.SuspendedAt = w.Clock.Now()
		unproven := w.member(w.acme, "owner")
		unproven.VerifiedAt = time.Time{}
		for _, s := range []identity.Subject{suspended, unproven} {
			w.Core.Update(func(tx identity.Tx) error { return tx.UpdateSubject(ctx, s) })
		}
		l := w.licence(func(n *licence.New) { n.Key, n.SignedBy, n.ProviderID = "lic-1", signer.ID, w.other.ID })
		w.licence(func(n *licence.New) { n.ExpiresAt = time.Time{} })
		w.licence(func(n *licence.New) { n.StartsAt, n.ExpiresAt = coretest.Start.Add(-2*day), coretest.Start.Add(-day) })
		revoked := w.licence()
		must[identity.Licence](t)(w.Revoke(ctx, operator, revoked.ID, ""))
		tell := func() int { // sixteen nodes at once
			t.Helper()
			before := len(w.Sent())
			var all sync.WaitGroup
			for range 16 {
				all.Go(func() {
					if err := w.Tell(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			return len(w.Sent()) - before
		}
		if n := tell(); n != 0 {
			t.Errorf("%d messages with a year to go", n)
		}
		w.Clock.Advance(yearEnd.Sub(coretest.Start) - 30*day)
		if n := tell(); n != 3 {
			t.Errorf("%d messages with a month to go, want two mails and a call", n)
		}
		if n := tell(); n != 0 {
			t.Errorf("%d messages again", n)
		}
		sent := w.Sent()
		slices.SortFunc(sent, func(a, b deliver.Content) int { return strings.Compare(a.Recipient, b.Recipient) })
		mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
		mac.Write([]byte(sent[0].Text))
		if sent[0].Recipient != "https://hooks.example.test/licences" || !strings.Contains(sent[0].Text, `"event":"licence.ends_soon"`) ||
			!strings.Contains(sent[0].Text, string(l.ID)) || sent[0].Header["X-Gatehouse-Signature"] != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("the call: %+v", sent[0])
		}
		for _, m := range sent[1:] {
			want := "ends on 2027-01-01, in 30 days"
			if m.Recipient == signer.Email {
				want = "endet am 2027-01-01, in 30 Tagen"
			}
			if m.Recipient != owner.Email && m.Recipient != signer.Email || !strings.Contains(m.Text, want) || !strings.Contains(m.Text, "ACME") || !strings.Contains(m.Text, "2027-01-15") {
				t.Errorf("to %s: %s", m.Recipient, m.Text)
			}
		}
		w.Clock.Advance(30 * day)
		if n := tell(); n != 3 || len(w.events("licence.expired")) != 1 || len(w.events("licence.ends_soon")) != 1 {
			t.Errorf("%d messages at the end", n)
		}
		if n := tell(); n != 0 {
			t.Errorf("%d messages after the end", n)
		}
		// A renewal is another end to be told of; a house that slept through the month tells of the end alone.
		must[identity.Licence](t)(w.Renew(ctx, operator, l.ID, licence.Term{ExpiresAt: yearEnd.AddDate(1, 0, 0)}))
		w.Clock.Advance(366 * day)
		if n := tell(); n != 3 || len(w.events("licence.expired")) != 2 || len(w.events("licence.ends_soon")) != 1 {
			t.Errorf("%d messages after the second end", n)
		}
		// An end that was over is put right, and still is over: that is no news.
		must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, licence.Change{ExpiresAt: pointer(yearEnd.AddDate(1, 0, -1))}))
		if n := tell(); n != 0 {
			t.Errorf("%d messages of another day in the past", n)
		}
	})
}

func TestEntitlements(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		want := func(what string, words ...string) {
			t.Helper()
			got, err := w.Entitlements(ctx, licence.Holder{OrganisationID: w.acme.ID})
			if err != nil || !slices.Equal(got, words) {
				t.Errorf("%s: %v, %v, want %v", what, got, err, words)
			}
		}
		want("at first")
		want("kept")
		l := w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
		want("with a licence", "inference", "manager")
		w.Clock.Advance(time.Minute)
		want("read", "inference", "manager")
		want("kept", "inference", "manager")
		pro := w.pro
		pro.Provides = []string{"manager", "rescue"}
		must[identity.Agreement](t)(w.SaveAgreement(ctx, operator, pro))
		want("another agreement", "manager", "rescue")
		if got := must[[]string](t)(w.Entitlements(ctx, licence.Holder{OrganisationID: w.acme.ID, DeviceID: w.two.ID})); len(got) != 0 {
			t.Errorf("another device may use %v", got)
		}
		if got := must[[]string](t)(w.Entitlements(ctx, licence.Holder{OrganisationID: w.acme.ID, DeviceID: w.one.ID})); len(got) != 2 {
			t.Errorf("the device may use %v", got)
		}
		w.Clock.Advance(yearEnd.Sub(w.Clock.Now()) + 14*day - time.Second)
		want("in its grace", "manager", "rescue")
		w.Clock.Advance(11 * time.Second)
		want("after it")
		must[identity.Licence](t)(w.Renew(ctx, operator, l.ID, licence.Term{ExpiresAt: yearEnd.AddDate(1, 0, 0)}))
		want("renewed", "manager", "rescue")
		must[identity.Licence](t)(w.Revoke(ctx, operator, l.ID, ""))
		want("revoked")
	})
}

// Who came before the organisation ended has nothing of it any more: no list, no document, nothing to use.
func TestOrganisationEnds(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		member, both, root := w.member(w.acme, "user"), w.member(w.acme, "user"), w.Person()
		l := w.licence()
		theirs := w.licence(func(n *licence.New) { n.OrganisationID = w.other.ID })
		w.Core.Update(func(tx identity.Tx) error {
			root.Superadmin = true
			if err := tx.UpdateSubject(ctx, root); err != nil {
				return err
			}
			w.acme.ExpiresAt = w.Clock.Now().Add(time.Hour)
			if err := tx.UpdateOrganisation(ctx, w.acme); err != nil {
				return err
			}
			return tx.SaveMembership(ctx, identity.Membership{ID: "01a0b000-0000-7000-8000-00000000ffff", SubjectID: both.ID, OrganisationID: w.other.ID})
		})
		v := licence.Viewer{SubjectID: member.ID, OrganisationID: w.acme.ID}
		check := func(when string, stands bool) {
			t.Helper()
			for what, of := range map[string]licence.Holder{
				"the organisation": {OrganisationID: w.acme.ID}, "a device": {OrganisationID: w.acme.ID, DeviceID: w.one.ID},
				"a member who uses it": {SubjectID: member.ID, OrganisationID: w.acme.ID}, "a member": {SubjectID: member.ID},
			} {
				if got := must[[]string](t)(w.Entitlements(ctx, of)); (len(got) == 2) != stands || !stands && len(got) > 0 {
					t.Errorf("%s: %s may use %v", when, what, got)
				}
			}
			if got := must[[]string](t)(w.Entitlements(ctx, licence.Holder{SubjectID: both.ID})); len(got) != 2 {
				t.Errorf("%s: a member of two may use %v", when, got)
			}
			page := must[licence.Page](t)(w.List(ctx, v, identity.LicenceFilter{Limit: 10}))
			if (page.Total == 1) != stands || (len(page.Licences) == 1) != stands {
				t.Errorf("%s: %d of %d are listed", when, len(page.Licences), page.Total)
			}
			if _, err := w.Show(ctx, v, l.ID); (err == nil) != stands || err != nil && !errors.Is(err, identity.NotFound) {
				t.Errorf("%s: shown: %v", when, err)
			}
			if page := must[licence.Page](t)(w.List(ctx, licence.Viewer{SubjectID: root.ID}, identity.LicenceFilter{Limit: 10})); page.Total != 2 {
				t.Errorf("%s: a superadmin sees %d", when, page.Total)
			}
			if _, err := w.Show(ctx, licence.Viewer{SubjectID: both.ID, OrganisationID: w.other.ID}, theirs.ID); err != nil {
				t.Errorf("%s: the other's: %v", when, err)
			}
		}
		check("before", true)
		w.Clock.Advance(time.Hour)
		w.Clock.Advance(10 * time.Second) // what is remembered ends so late
		check("after", false)
	})
}
