package licence_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A device may use what licences provide that name it or no device at all, whatever was assigned, released or revoked before and
// whoever was asked about first: never what is only others'. The seed is in the failure.
func TestDevicesHaveTheirOwnEntitlements(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		seed := uint64(w.Clock.Now().Unix())
		random := rand.New(rand.NewPCG(seed, 1))
		devices := []identity.Device{w.one, w.two, w.device("camera-4", w.acme)}
		type held struct {
			identity.Licence
			word    string
			named   map[identity.DeviceID]bool
			every   bool // device of the organisation: none was named, or all were released and the operator said so
			revoked bool
			endsAt  time.Time
		}
		var all []*held
		check := func(step string) {
			t.Helper()
			want := map[identity.DeviceID][]string{}
			for _, l := range all {
				if l.revoked || !w.Clock.Now().Before(l.endsAt) {
					continue
				}
				want[""] = append(want[""], l.word)
				for _, d := range devices {
					if l.every || l.named[d.ID] {
						want[d.ID] = append(want[d.ID], l.word)
					}
				}
			}
			whom := []identity.DeviceID{"", devices[0].ID, devices[1].ID, devices[2].ID}
			random.Shuffle(len(whom), func(i, j int) { whom[i], whom[j] = whom[j], whom[i] })
			for _, id := range slices.Concat(whom, whom) { // read, then remembered
				got := must[[]string](t)(w.Entitlements(ctx, licence.Holder{OrganisationID: w.acme.ID, DeviceID: id}))
				slices.Sort(want[id])
				if !slices.Equal(got, want[id]) {
					t.Fatalf("seed %d, %s: device %q may use %q, want %q", seed, step, id, got, want[id])
				}
			}
			if got := must[[]string](t)(w.Entitlements(ctx, licence.Holder{OrganisationID: w.other.ID, DeviceID: w.foreign.ID})); len(got) != 0 {
				t.Fatalf("seed %d, %s: another organisation's device may use %q", seed, step, got)
			}
		}
		for i := range 60 {
			step := fmt.Sprint("step ", i)
			device := devices[random.IntN(len(devices))]
			pick := func() *held { return all[random.IntN(len(all))] }
			switch kind := random.IntN(6); {
			case kind == 0 || len(all) == 0:
				word := fmt.Sprintf("word-%02d", i)
				a := must[identity.Agreement](t)(w.SaveAgreement(ctx, operator, identity.Agreement{Key: word, Kind: "x", Provides: []string{word}, PublishedAt: coretest.Start}))
				l := &held{word: word, every: true, named: map[identity.DeviceID]bool{}, endsAt: w.Clock.Now().Add(time.Duration(1+random.IntN(60)) * time.Minute)}
				in := licence.New{AgreementID: a.ID, OrganisationID: w.acme.ID, Seats: 3, ExpiresAt: l.endsAt, Grace: new(time.Duration(0))}
				if random.IntN(2) == 0 {
					in.Devices, l.named[device.ID], l.every = []identity.DeviceID{device.ID}, true, false
				}
				l.Licence = must[identity.Licence](t)(w.Create(ctx, operator, in))
				all = append(all, l)
				step += " made"
			case kind <= 2:
				if l := pick(); !l.revoked {
					must[identity.Licence](t)(w.Assign(ctx, operator, l.ID, device.ID))
					l.named[device.ID], l.every = true, false
					step += " assigned"
				}
			case kind == 3:
				if l := pick(); l.named[device.ID] {
					must[identity.Licence](t)(w.Release(ctx, operator, l.ID, device.ID))
					delete(l.named, device.ID)
					step += " released"
				} else if len(l.named) == 0 && !l.every {
					must[identity.Licence](t)(w.Service.Update(ctx, operator, l.ID, licence.Change{Named: new(false)}))
					l.every = true
					step += " for all"
				}
			case kind == 4 && i%3 == 0:
				if l := pick(); !l.revoked {
					must[identity.Licence](t)(w.Revoke(ctx, operator, l.ID, ""))
					l.revoked = true
					step += " revoked"
				}
			default:
				w.Clock.Advance(5 * time.Minute)
				step += " later"
			}
			check(step)
		}
	})
}

// Holders are remembered apart, and an end is noticed within ten seconds of a look.
func TestDevicesAreRemembered(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		of := func(id identity.DeviceID) []string {
			return must[[]string](t)(w.Entitlements(ctx, licence.Holder{OrganisationID: w.acme.ID, DeviceID: id}))
		}
		l := w.licence(func(n *licence.New) {
			n.Devices, n.ExpiresAt, n.Grace = []identity.DeviceID{w.one.ID}, w.Clock.Now().Add(time.Hour), new(time.Duration(0))
		})
		w.Clock.Advance(time.Hour - 5*time.Second)
		if len(of(w.one.ID)) != 2 || len(of(w.two.ID)) != 0 || len(of("")) != 2 {
			t.Errorf("%v, %v, %v", of(w.one.ID), of(w.two.ID), of(""))
		}
		// Behind the feed's back: what is remembered is told, and no longer than that.
		w.Core.Update(func(tx identity.Tx) error {
			_, err := tx.ReleaseSeat(ctx, l.ID, w.one.ID)
			return err
		})
		if len(of(w.one.ID)) != 2 || len(of(w.two.ID)) != 0 {
			t.Errorf("not from memory: %v, %v", of(w.one.ID), of(w.two.ID))
		}
		w.Clock.Advance(10 * time.Second)
		if len(of(w.one.ID)) != 0 || len(of(w.two.ID)) != 0 || len(of("")) != 0 {
			t.Errorf("after the end: %v, %v, %v", of(w.one.ID), of(w.two.ID), of(""))
		}
	})
}

// While a device is deleted, sixteen clients are bound to it: none outlives it, for its organisation or for the house.
func TestClientsGoWithTheirDevice(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		w := newWorld(t, store)
		ctx := t.Context()
		people := &manage.Service{Store: store, Passwords: w.Passwords, Sessions: w.Sessions, Log: w.Passwords.Log, Box: w.Box, Now: w.Clock.Now, Rand: coretest.SeededRand()}
		client := func(id string, device identity.DeviceID) error {
			_, _, err := people.CreateClient(ctx, operator, manage.NewClient{ID: identity.ClientID(id), Grants: []string{"client_credentials"}, DeviceID: device})
			return err
		}
		if err := errors.Join(client("first", w.one.ID), client("other", w.two.ID)); err != nil {
			t.Fatal(err)
		}
		w.licence(func(n *licence.New) { n.Devices = []identity.DeviceID{w.one.ID} })
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				if err := client(fmt.Sprintf("late-%02d", i), w.one.ID); err != nil && !errors.Is(err, identity.Invalid) {
					t.Error(err)
				}
			})
		}
		group.Go(func() {
			if err := w.DeleteDevice(ctx, operator, w.one.ID); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		w.View(func(r identity.Reader) error {
			clients, err := r.Clients(ctx, "", 100)
			if len(clients) != 1 || clients[0].ID != "other" || clients[0].DeviceID != w.two.ID {
				t.Errorf("left are %+v", clients)
			}
			return err
		})
		made, deleted := 0, w.events("client.delete")
		for _, e := range w.events("client.create") {
			if e.ClientID != "other" {
				made++
			}
		}
		if made == 0 || made != len(deleted) {
			t.Errorf("%d were made, %d deleted", made, len(deleted))
		}
		for _, e := range deleted {
			if e.OrganisationID != w.acme.ID {
				t.Errorf("%+v", e)
			}
		}
	})
}
