package app_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// race sends requests at the same moment.
func (h *house) race(in []request) []answer {
	answers := make([]answer, len(in))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range in {
		all.Go(func() {
			<-start
			answers[i] = h.send(in[i])
		})
	}
	close(start)
	all.Wait()
	return answers
}

const racers = 16

func same(in request) []request {
	all := make([]request, racers)
	for i := range all {
		all[i] = in
	}
	return all
}

// What may be used once is used once, though sixteen try at the same moment (P4). The rest is refused, never an error of ours.
func TestOnceMeansOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, apptest.Options{Store: store})
		won := func(t *testing.T, answers []answer, want int) []answer {
			t.Helper()
			var winners []answer
			for _, a := range answers {
				if a.ok() {
					winners = append(winners, a)
				} else if a.status >= 500 {
					t.Errorf("a loser: %v", a)
				}
			}
			if len(winners) != want {
				t.Errorf("%d winners, want %d: %v", len(winners), want, answers)
			}
			return winners
		}
		t.Run("reset link", func(t *testing.T) {
			_, login := h.newPerson(t, false)
			link := h.resetLink(t, login)
			in := make([]request, racers)
			for i := range in {
				in[i] = request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", link, "Password", fmt.Sprint(anotherOne, "-", i))}
			}
			answers := h.race(in)
			won(t, answers, 1)
			for i, a := range answers {
				if a.ok() {
					h.must(t, signIns["nx"](login, fmt.Sprint(anotherOne, "-", i)))
				} else if i < 4 && h.send(signIns["nx"](login, fmt.Sprint(anotherOne, "-", i))).ok() {
					t.Errorf("password %d was refused and stands", i)
				}
			}
		})
		t.Run("TOTP code across doors", func(t *testing.T) {
			_, login := h.newPerson(t, true)
			h.Clock.Advance(30 * time.Second)
			in := make([]request, racers)
			for i := range in {
				if i%2 == 0 {
					in[i] = asks(titanCode).make(t, h, h.print(t, titanCode, login))
				} else {
					in[i] = asks(wifiChallenge).make(t, h, h.print(t, wifiChallenge, login))
				}
			}
			won(t, h.race(in), 1)
		})
		for _, kind := range []string{titanVerify, titanRecovery} {
			t.Run(kind, func(t *testing.T) { won(t, h.race(same(verification(t, h, h.print(t, kind, "")))), 1) })
		}
		t.Run("recovery codes across doors", func(t *testing.T) {
			id, login := h.newPerson(t, true)
			printed, err := h.Recovery.PrintCodes(t.Context(), operator, id)
			must(t, err)
			for _, code := range []string{h.recoveryCode(t, id, login), printed[0].Reveal()} {
				in := make([]request, racers)
				for i := range in {
					kind := []string{titanCode, wifiChallenge}[i%2]
					in[i] = asks(kind).make(t, h, h.print(t, kind, login))
					in[i].body = strings.ReplaceAll(in[i].body, h.codeNow(t), code)
				}
				won(t, h.race(in), 1)
				h.Clock.Advance(16 * time.Minute) // the losers' tries are over
			}
		})
		for _, kind := range []string{titanCode, wifiChallenge, nxTotp, cloudLimited} {
			t.Run(kind, func(t *testing.T) {
				_, login := h.newPerson(t, true)
				h.Clock.Advance(30 * time.Second)
				won(t, h.race(same(asks(kind).make(t, h, h.print(t, kind, login)))), 1)
			})
		}
		t.Run(nxPageCode, func(t *testing.T) {
			_, login := h.newPerson(t, false)
			won(t, h.race(same(jsonOf("/cdb/oauth2/token", "grant_type", "authorization_code", "client_id", "gatehouse", "code", h.print(t, nxPageCode, login))(t, h, ""))), 1)
		})
		// Doors with a grace take everybody who comes within it to the one successor; openwifi has none: one wins, and that two hold
		// the token ends the family.
		for kind, path := range map[string]string{titanFull: "data.token", oidcRefr: "refresh_token", insightsRefresh: "refresh_token", nxRefresh: "RefreshToken", wifiRefresh: "refresh_token"} {
			t.Run("family of "+kind, func(t *testing.T) {
				id, login := h.newPerson(t, false)
				ask := asks(kind).make(t, h, h.print(t, kind, login))
				h.Clock.Advance(time.Second)
				switch kind {
				case titanFull:
					ask.target = "/auth/refresh"
				case nxRefresh:
					ask.body = `{"GrantType":"RefreshToken"}`
				}
				answers := h.race(same(ask))
				want := racers
				if kind == wifiRefresh {
					want = 1
				}
				winners := won(t, answers, want)
				var alive []identity.Session
				h.view(t, func(ctx context.Context, r identity.Reader) (err error) {
					alive, err = r.SessionsOf(ctx, id)
					return err
				})
				if kind == wifiRefresh {
					if len(alive) != 0 || h.honoured(t, kind, winners[0].at(path)) {
						t.Error("two held one refresh token, and the family goes on")
					}
					return
				}
				if len(alive) != 1 || alive[0].Generation != 2 {
					t.Fatalf("sessions %+v, want one of generation 2", alive)
				}
				if !h.honoured(t, kind, winners[0].at(path)) {
					t.Error("the successor is refused")
				}
			})
		}
		t.Run("address", func(t *testing.T) {
			address := h.newAddress(t)
			won(t, h.race(same(request{method: "POST", target: "/auth/user", body: object("Email", address, "Password", passphrase, "Name", "N", "Company", "C", "AcceptEULA", "true")})), 1)
			h.view(t, func(ctx context.Context, r identity.Reader) error {
				_, err := r.SubjectByLogin(ctx, address)
				return err
			})
		})
		t.Run("sign-out", func(t *testing.T) {
			_, login := h.newPerson(t, false)
			won(t, h.race(same(request{method: "POST", target: "/auth/authenticate/signout", bearer: h.print(t, nxAccess, login)})), 1)
		})
	})
}

// Guesses at the same moment do not slip past the lock: as many are judged as the limit says, and no more.
func TestGuessesAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, apptest.Options{Store: store})
		_, login := h.newPerson(t, false)
		in := make([]request, 4*racers)
		for i := range in {
			in[i] = signIns[doors[i%len(doors)]](login, fmt.Sprint("guess ", i))
		}
		before := h.lastEvent(t)
		h.race(in)
		judged := 0
		for _, e := range h.events(t, before) {
			if e.Action == "signin" && e.Outcome == identity.BadCredential.Error() {
				judged++
			}
		}
		if judged != 10 {
			t.Errorf("%d guesses were judged before the lock, want 10", judged)
		}
	})
}
