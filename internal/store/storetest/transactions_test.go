package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

// What may happen once happens once: sixteen goroutines, one winner.
func TestOneWinner(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		s := session(t, store, who)
		ending := session(t, store, who)
		credential := identity.Credential{ID: "c", SubjectID: who, Kind: identity.TOTP}
		ticket := identity.Ticket{ID: "t", Hash: []byte("t"), TriesLeft: 1, ExpiresAt: epoch.Add(time.Hour)}
		waiting := identity.Recovery{ID: "w", SubjectID: who, State: identity.RecoveryWaiting, ExpiresAt: epoch.Add(time.Hour)}
		approved := identity.Recovery{ID: "a", SubjectID: who, State: identity.RecoveryApproved, ExpiresAt: epoch.Add(time.Hour)}
		tries := identity.Ticket{ID: "u", Hash: []byte("u"), TriesLeft: 1, ExpiresAt: epoch.Add(time.Hour)}
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.CreateCredential(ctx, credential) },
				func() error { return tx.CreateTicket(ctx, ticket) }, func() error { return tx.CreateTicket(ctx, tries) },
				func() error { return tx.Enqueue(ctx, identity.Message{ID: "m"}) },
				func() error { return tx.CreateRecovery(ctx, waiting) }, func() error { return tx.CreateRecovery(ctx, approved) })
		})
		for name, once := range map[string]func(tx identity.Tx, i int) (bool, error){
			"AdvanceSession": func(tx identity.Tx, _ int) (bool, error) {
				return tx.AdvanceSession(ctx, s.ID, 0, epoch, epoch.Add(time.Hour))
			},
			"EndSession":  func(tx identity.Tx, _ int) (bool, error) { return tx.EndSession(ctx, ending.ID, "", epoch) },
			"SpendTicket": func(tx identity.Tx, _ int) (bool, error) { return tx.SpendTicket(ctx, ticket.ID, epoch) },
			"DecideRecovery": func(tx identity.Tx, i int) (bool, error) {
				return tx.DecideRecovery(ctx, identity.Recovery{
					ID: waiting.ID, State: []identity.RecoveryState{identity.RecoveryApproved, identity.RecoveryDenied}[i%2], ExpiresAt: waiting.ExpiresAt,
				}, epoch)
			},
			"SpendRecovery":    func(tx identity.Tx, _ int) (bool, error) { return tx.SpendRecovery(ctx, approved.ID, epoch) },
			"SpendStep":        func(tx identity.Tx, _ int) (bool, error) { return tx.SpendStep(ctx, credential.ID, 99) },
			"UpdateCredential": func(tx identity.Tx, _ int) (bool, error) { return tx.UpdateCredential(ctx, credential) },
			"CreateSetting": func(tx identity.Tx, i int) (bool, error) {
				return tx.CreateSetting(ctx, identity.Setting{Name: "s", Sealed: []byte{byte(i)}})
			},
			"Lease": func(tx identity.Tx, i int) (bool, error) {
				return tx.Lease(ctx, "leader", fmt.Sprint(i), epoch, time.Minute)
			},
			"TryTicket": func(tx identity.Tx, _ int) (bool, error) {
				_, tried, err := tx.TryTicket(ctx, tries.ID, epoch)
				return tried, err
			},
			"ClaimMessages": func(tx identity.Tx, i int) (bool, error) {
				claimed, err := tx.ClaimMessages(ctx, fmt.Sprint(i), epoch, time.Minute, 1)
				return len(claimed) > 0, err
			},
			"CreateLogin": func(tx identity.Tx, _ int) (bool, error) {
				err := tx.CreateLogin(ctx, identity.Login{SubjectID: who, Folded: "ada", Skeleton: "ada"})
				return err == nil, err
			},
		} {
			t.Run(name, func(t *testing.T) {
				won := race(t, 16, func(ctx context.Context, i int) (won bool, err error) {
					err = store.Update(ctx, func(tx identity.Tx) (err error) {
						won, err = once(tx, i)
						return err
					})
					if errors.Is(err, identity.Conflict) {
						return false, nil
					}
					return won, err
				})
				if won != 1 {
					t.Errorf("%d winners", won)
				}
			})
		}
	})
}

func TestCountersLoseNothing(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		const n = 100
		race(t, n, func(ctx context.Context, _ int) (bool, error) {
			return true, store.Update(ctx, func(tx identity.Tx) error {
				_, err := tx.CountAttempt(ctx, "k", epoch, time.Hour)
				return err
			})
		})
		a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), "k") })
		if a.Count != n {
			t.Errorf("counted %d of %d", a.Count, n)
		}
	})
}

// Looking and then writing in one transaction is safe: of many who each see that nobody was counted, one commits first and
// the others see it.
func TestUpdatesAreSerializable(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		const n = 16
		won := race(t, n, func(ctx context.Context, i int) (won bool, err error) {
			err = store.Update(ctx, func(tx identity.Tx) error {
				won = false
				for other := range n {
					a, err := tx.Attempts(ctx, fmt.Sprint("k", other))
					if err != nil || a.Count > 0 {
						return err
					}
				}
				won = true
				_, err := tx.CountAttempt(ctx, fmt.Sprint("k", i), epoch, time.Hour)
				return err
			})
			return won, err
		})
		if won != 1 {
			t.Errorf("%d saw nobody before them", won)
		}
	})
}

// Updates that fail after they wrote leave nothing, and take nobody with them, whoever shares their commit.
func TestFailingNeighbours(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		const n = 90
		mine := errors.New("mine")
		errs := make([]error, n)
		race(t, n, func(ctx context.Context, i int) (bool, error) {
			errs[i] = store.Update(ctx, func(tx identity.Tx) error {
				key := fmt.Sprint("k", i)
				if i%3 == 1 && i%2 == 0 { // before it has written anything
					return fmt.Errorf("%d is %w", i, mine)
				}
				if _, err := tx.CountAttempt(ctx, key, epoch, time.Hour); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return fmt.Errorf("%d is %w", i, mine)
				case 2:
					// A statement fails and the function hides it: nothing may be committed.
					_ = tx.SaveSite(ctx, identity.Site{ID: identity.SiteID(key), OrganisationID: "nowhere"})
				}
				return nil
			})
			return true, nil
		})
		for i, err := range errs {
			a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), fmt.Sprint("k", i)) })
			switch i % 3 {
			case 0:
				if err != nil || a.Count != 1 {
					t.Errorf("update %d: count %d, %v", i, a.Count, err)
				}
			case 1:
				if !errors.Is(err, mine) || err.Error() != fmt.Sprintf("%d is mine", i) || a.Count != 0 {
					t.Errorf("failing update %d: count %d, %v", i, a.Count, err)
				}
			case 2:
				if !errors.Is(err, identity.Conflict) || a.Count != 0 {
					t.Errorf("spoilt update %d: count %d, %v", i, a.Count, err)
				}
			}
		}
	})
}

func TestPanicStaysWithItsCaller(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		const n = 48
		race(t, n, func(ctx context.Context, i int) (bool, error) {
			key := fmt.Sprint("k", i)
			if i%4 == 0 {
				defer func() {
					if recover() == nil {
						t.Errorf("update %d did not panic in its caller", i)
					}
				}()
			}
			return true, store.Update(ctx, func(tx identity.Tx) error {
				_, err := tx.CountAttempt(ctx, key, epoch, time.Hour)
				if i%4 == 0 {
					panic(key)
				}
				return err
			})
		})
		for i := range n {
			a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), fmt.Sprint("k", i)) })
			if want := min(i%4, 1); a.Count != want {
				t.Errorf("update %d: count %d, want %d", i, a.Count, want)
			}
		}
		panicked := func() (v any) {
			defer func() { v = recover() }()
			_ = store.View(t.Context(), func(r identity.Reader) error { panic("in a view") })
			return nil
		}()
		if panicked == nil {
			t.Error("View swallowed a panic")
		}
		read(t, store, func(r identity.Reader) (bool, error) { return r.AnySubject(t.Context()) })
	})
}

// testing's FailNow inside an update ends the goroutine that runs it. The store must live on for the others.
func TestGoexitInUpdate(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		var group sync.WaitGroup
		for i := range 24 {
			group.Go(func() {
				err := store.Update(t.Context(), func(tx identity.Tx) error {
					_, err := tx.CountAttempt(t.Context(), fmt.Sprint("k", i), epoch, time.Hour)
					if i%8 == 0 {
						runtime.Goexit()
					}
					return err
				})
				if err != nil && i%8 != 0 {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		group.Wait()
		for i := range 24 {
			a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), fmt.Sprint("k", i)) })
			if want := min(i%8, 1); a.Count != want {
				t.Errorf("update %d: count %d, want %d", i, a.Count, want)
			}
		}
	})
}

func TestViewIsOneSnapshot(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		count := func() {
			update(t, store, func(tx identity.Tx) error {
				_, err := tx.CountAttempt(ctx, "k", epoch, time.Hour)
				return err
			})
		}
		count()
		if err := store.View(ctx, func(r identity.Reader) error {
			for range 3 {
				a, err := r.Attempts(ctx, "k")
				if err != nil {
					return err
				}
				if a.Count != 1 {
					t.Errorf("count %d inside the snapshot, want 1", a.Count)
				}
				count() // readers do not hold writers up either
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(ctx, "k") }); a.Count != 4 {
			t.Errorf("count %d after it, want 4", a.Count)
		}
	})
}

func TestUpdateSeesItsOwnWritesAndViewsDoNot(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		update(t, store, func(tx identity.Tx) error {
			if _, err := tx.CountAttempt(ctx, "k", epoch, time.Hour); err != nil {
				return err
			}
			inside, err := tx.Attempts(ctx, "k")
			outside := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(ctx, "k") })
			if inside.Count != 1 || outside.Count != 0 {
				t.Errorf("count %d inside and %d outside", inside.Count, outside.Count)
			}
			return err
		})
	})
}

func TestCancelledContexts(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		check := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, context.Canceled) || !errors.Is(err, identity.Unavailable) {
				t.Errorf("%s = %v", what, err)
			}
		}
		check("Update", store.Update(over, func(identity.Tx) error {
			t.Error("the update ran")
			return nil
		}))
		check("View", store.View(over, func(identity.Reader) error {
			t.Error("the view ran")
			return nil
		}))
		// A caller that leaves while its function runs leaves nothing behind.
		leaving, cancel := context.WithCancel(t.Context())
		check("Update left", store.Update(leaving, func(tx identity.Tx) error {
			if _, err := tx.CountAttempt(leaving, "k", epoch, time.Hour); err != nil {
				return err
			}
			cancel()
			_, err := tx.CountAttempt(leaving, "k", epoch, time.Hour)
			return err
		}))
		if a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), "k") }); a.Count != 0 {
			t.Errorf("count %d of an update that was left", a.Count)
		}
		// The same at the very end, when only the commit is missing; and others of its group stay.
		leaving, cancel = context.WithCancel(t.Context())
		check("Update left at its end", store.Update(leaving, func(tx identity.Tx) error {
			_, err := tx.CountAttempt(leaving, "k", epoch, time.Hour)
			cancel()
			return err
		}))
		running, release := make(chan struct{}), make(chan struct{})
		begun := sync.OnceFunc(func() { close(running) }) // it runs again when one behind it takes the transaction with it
		var group sync.WaitGroup
		group.Go(func() {
			update(t, store, func(identity.Tx) error {
				begun()
				<-release
				return nil
			})
		})
		<-running
		for i := range 8 {
			group.Go(func() {
				one, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := store.Update(one, func(tx identity.Tx) error {
					_, err := tx.CountAttempt(one, fmt.Sprint("group", i), epoch, time.Hour)
					if i%2 == 0 {
						cancel()
					}
					return err
				})
				if i%2 == 0 {
					check("Update left in a group", err)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		close(release)
		group.Wait()
		for i := range 8 {
			if a := read(t, store, func(r identity.Reader) (identity.Attempts, error) {
				return r.Attempts(t.Context(), fmt.Sprint("group", i))
			}); a.Count != i%2 {
				t.Errorf("update %d of the group: count %d", i, a.Count)
			}
		}
		if a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), "k") }); a.Count != 0 {
			t.Errorf("count %d of an update that was left at its end", a.Count)
		}
	})
}

// A caller that gives up in the queue is passed over.
func TestLeavingTheQueue(t *testing.T) {
	store := SQLite(t)
	running, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		update(t, store, func(identity.Tx) error {
			close(running)
			<-release
			return nil
		})
	})
	<-running
	leaving, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		left <- store.Update(leaving, func(identity.Tx) error {
			t.Error("an update ran whose caller had left")
			return nil
		})
	}()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v", err)
	}
	close(release)
	group.Wait()
	update(t, store, func(identity.Tx) error { return nil })
}

// PostgreSQL runs an update again when another came between; what the first run announced is forgotten.
func TestUpdateRunsAgain(t *testing.T) {
	url := PostgresURL(t)
	store, other := OpenPostgres(t, url), OpenPostgres(t, url)
	var heard []identity.Change
	store.OnCommit(func(c []identity.Change) { heard = append(heard, c...) })
	who := subject(t, store)
	s := session(t, store, who)
	runs := 0
	update(t, store, func(tx identity.Tx) error {
		runs++
		got, err := tx.Session(t.Context(), s.ID)
		if err != nil {
			return err
		}
		if err := tx.Announce(t.Context(), identity.SessionChanged, fmt.Sprint("run ", runs), epoch); err != nil {
			return err
		}
		if runs == 1 { // between our look and our write
			update(t, other, func(tx identity.Tx) error {
				_, err := tx.AdvanceSession(t.Context(), s.ID, 0, epoch, epoch.Add(time.Hour))
				return err
			})
		}
		_, err = tx.AdvanceSession(t.Context(), s.ID, got.Generation, epoch, epoch.Add(time.Hour))
		return err
	})
	if runs != 2 {
		t.Errorf("ran %d times, want 2", runs)
	}
	if len(heard) != 1 || heard[0].ID != "run 2" {
		t.Errorf("listeners heard %v, want the second run alone", heard)
	}
	got := read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(t.Context(), s.ID) })
	if got.Generation != 2 {
		t.Errorf("generation %d, want 2", got.Generation)
	}
}

func TestListeners(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		var first, second [][]identity.Change
		store.OnCommit(func(c []identity.Change) { first = append(first, slices.Clone(c)) })
		store.OnCommit(func(c []identity.Change) { second = append(second, slices.Clone(c)) })
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.Announce(ctx, identity.SessionChanged, "s", epoch) },
				func() error { return tx.Announce(ctx, identity.KeysChanged, "", epoch) })
		})
		if len(first) != 1 || len(second) != 1 {
			t.Fatalf("heard %d and %d times before Update returned, want once", len(first), len(second))
		}
		stored := read(t, store, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(ctx, 0, 10) })
		same(t, first[0], stored)
		same(t, second[0], stored)
		if stored[0].ID != "s" || stored[1].Kind != identity.KeysChanged {
			t.Errorf("changes out of order: %v", stored)
		}
		refused(t, store, identity.Locked, func(tx identity.Tx) error {
			return firstError(func() error { return tx.Announce(ctx, identity.KeysChanged, "", epoch) }, func() error { return identity.Locked })
		})
		update(t, store, func(tx identity.Tx) error { return nil })
		if len(first) != 1 {
			t.Errorf("heard of what was not committed: %v", first[1:])
		}
		if n := read(t, store, func(r identity.Reader) (int64, error) { return r.LastChange(ctx) }); n != stored[1].Seq {
			t.Errorf("LastChange = %d, want %d", n, stored[1].Seq)
		}
	})
}

// On PostgreSQL a row may be committed after one with a higher number. Whoever reads a little back finds it.
func TestFeedOutOfOrder(t *testing.T) {
	store := Postgres(t)
	ctx := t.Context()
	announced, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var group sync.WaitGroup
	group.Go(func() {
		update(t, store, func(tx identity.Tx) error {
			err := tx.Announce(ctx, identity.SessionChanged, "slow", epoch)
			once.Do(func() { close(announced) })
			<-release
			return err
		})
	})
	<-announced
	update(t, store, func(tx identity.Tx) error { return tx.Announce(ctx, identity.SessionChanged, "quick", epoch) })
	first := read(t, store, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(ctx, 0, 10) })
	if len(first) != 1 || first[0].ID != "quick" {
		t.Fatalf("before the slow one commits: %v", first)
	}
	close(release)
	group.Wait()
	again := read(t, store, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(ctx, first[0].Seq-10, 10) })
	if len(again) != 2 || again[0].ID != "slow" || again[0].Seq >= first[0].Seq {
		t.Errorf("after it: %v", again)
	}
}

// What one node announces wakes the others.
func TestWake(t *testing.T) {
	url := PostgresURL(t)
	a, b := OpenPostgres(t, url), OpenPostgres(t, url)
	<-b.Wake() // it listens
	update(t, a, func(tx identity.Tx) error { return tx.Announce(t.Context(), identity.KeysChanged, "", epoch) })
	<-b.Wake()
	if got := read(t, b, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(t.Context(), 0, 10) }); len(got) != 1 {
		t.Errorf("woken for %v", got)
	}
	if SQLite(t).Wake() != nil {
		t.Error("SQLite has nobody to be woken by")
	}
}

func TestClosed(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		if err := store.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v", err)
		}
		for range 2 {
			if err := store.Close(); err != nil {
				t.Fatalf("Close = %v", err)
			}
		}
		refused(t, store, identity.Unavailable, func(identity.Tx) error { return nil })
		if err := store.View(t.Context(), func(identity.Reader) error { return nil }); !errors.Is(err, identity.Unavailable) {
			t.Errorf("View = %v", err)
		}
		if err := store.Ping(t.Context()); !errors.Is(err, identity.Unavailable) {
			t.Errorf("Ping = %v", err)
		}
	})
}

// Updates that were accepted before Close are committed, the others are refused.
func TestCloseFinishes(t *testing.T) {
	dir, url := SQLiteDir(t), PostgresURL(t)
	for name, open := range map[string]func() identity.Store{
		"sqlite":   func() identity.Store { return OpenSQLite(t, dir) },
		"postgres": func() identity.Store { return OpenPostgres(t, url) },
	} {
		t.Run(name, func(t *testing.T) {
			store := open()
			errs := make([]error, 64)
			race(t, len(errs), func(ctx context.Context, i int) (bool, error) {
				if i == 32 {
					return true, store.Close()
				}
				errs[i] = store.Update(ctx, func(tx identity.Tx) error {
					_, err := tx.CountAttempt(ctx, fmt.Sprint("k", i), epoch, time.Hour)
					return err
				})
				return true, nil
			})
			store = open()
			for i, err := range errs {
				if i == 32 {
					continue
				}
				a := read(t, store, func(r identity.Reader) (identity.Attempts, error) { return r.Attempts(t.Context(), fmt.Sprint("k", i)) })
				if (err == nil) != (a.Count == 1) || (err != nil && !errors.Is(err, identity.Unavailable)) {
					t.Errorf("update %d: count %d, %v", i, a.Count, err)
				}
			}
		})
	}
}
