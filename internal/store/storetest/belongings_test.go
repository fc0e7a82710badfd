package storetest

import (
	"testing"
	"time"

	"gatehouse/internal/identity"
)

func TestPictures(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		p := filled[identity.Picture](t)
		p.SubjectID = subject(t, store)
		picture := func(r identity.Reader) (identity.Picture, error) { return r.Picture(ctx, p.SubjectID) }
		head := func(r identity.Reader) (identity.Picture, error) { return r.PictureHead(ctx, p.SubjectID) }
		absent(t, store, picture)
		absent(t, store, head)
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.SavePicture(ctx, p) })
			same(t, read(t, store, picture), p)
			without := p
			without.Bytes = nil
			same(t, read(t, store, head), without)
			next := filled[identity.Picture](t)
			next.SubjectID = p.SubjectID
			p = next
		}
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SavePicture(ctx, identity.Picture{SubjectID: "nobody"})
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeletePicture(ctx, p.SubjectID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeletePicture(ctx, p.SubjectID) })
		update(t, store, func(tx identity.Tx) error { return tx.SavePicture(ctx, p) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, p.SubjectID) })
		absent(t, store, picture)
	})
}

func TestPreferences(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		p := filled[identity.Preferences](t)
		p.SubjectID = subject(t, store)
		get := func(r identity.Reader) (identity.Preferences, error) { return r.Preferences(ctx, p.SubjectID, p.Door) }
		absent(t, store, get)
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.SavePreferences(ctx, p) })
			same(t, read(t, store, get), p)
			p.Data, p.UpdatedAt = []byte(`[]`), p.UpdatedAt.Add(time.Hour)
		}
		absent(t, store, func(r identity.Reader) (identity.Preferences, error) {
			return r.Preferences(ctx, p.SubjectID, "another")
		})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, p.SubjectID) })
		absent(t, store, get)
	})
}

func TestAPIKeys(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		a, b := filled[identity.APIKey](t), filled[identity.APIKey](t)
		a.ID, b.ID, a.SubjectID, b.SubjectID = "k1", "k2", who, who
		update(t, store, func(tx identity.Tx) error {
			return firstError(func() error { return tx.CreateAPIKey(ctx, b) }, func() error { return tx.CreateAPIKey(ctx, a) })
		})
		same(t, read(t, store, func(r identity.Reader) ([]identity.APIKey, error) { return r.APIKeysOf(ctx, who) }), []identity.APIKey{a, b})
		same(t, read(t, store, func(r identity.Reader) (identity.APIKey, error) { return r.APIKeyByHash(ctx, b.Hash) }), b)
		for _, clash := range []func(*identity.APIKey){
			func(k *identity.APIKey) { k.Name = a.Name },
			func(k *identity.APIKey) { k.Hash = a.Hash },
			func(k *identity.APIKey) { k.SubjectID = "nobody" },
		} {
			k := filled[identity.APIKey](t)
			k.SubjectID = who
			clash(&k)
			refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateAPIKey(ctx, k) })
		}
		a.Description, a.Rights = "changed", nil
		update(t, store, func(tx identity.Tx) error {
			k := a
			k.Name, k.Hash, k.ExpiresAt = "stays", []byte("stays"), epoch
			return tx.UpdateAPIKey(ctx, k)
		})
		later := a.LastUseAt.Add(time.Hour)
		for _, at := range []time.Time{later, epoch} {
			update(t, store, func(tx identity.Tx) error { return tx.TouchAPIKey(ctx, a.ID, at) })
		}
		a.LastUseAt = later
		same(t, read(t, store, func(r identity.Reader) (identity.APIKey, error) { return r.APIKey(ctx, a.ID) }), a)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteAPIKey(ctx, a.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteAPIKey(ctx, a.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.UpdateAPIKey(ctx, a) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, who) })
		absent(t, store, func(r identity.Reader) (identity.APIKey, error) { return r.APIKeyByHash(ctx, b.Hash) })
	})
}

// Landmarks and counts see one kind only, in the order of the lists.
func TestNthSubject(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		var customers []identity.SubjectID
		for i := range 10 {
			s := identity.Subject{ID: identity.SubjectID(newID()), Kind: identity.Person}
			if i%2 == 1 {
				s.Kind, s.Owner = identity.Customer, "o"+string(rune('0'+i%4))
				customers = append(customers, s.ID)
			}
			update(t, store, func(tx identity.Tx) error { return tx.CreateSubject(ctx, &s) })
		}
		for skip, want := range customers {
			got := read(t, store, func(r identity.Reader) (identity.SubjectID, error) {
				return r.NthSubject(ctx, identity.Customer, "", skip)
			})
			if got != want {
				t.Errorf("NthSubject(%d) = %s, want %s", skip, got, want)
			}
		}
		same(t, read(t, store, func(r identity.Reader) (identity.SubjectID, error) {
			return r.NthSubject(ctx, identity.Customer, customers[1], 1)
		}), customers[3])
		absent(t, store, func(r identity.Reader) (identity.SubjectID, error) {
			return r.NthSubject(ctx, identity.Customer, "", len(customers))
		})
		for owner, want := range map[string]int{"": 5, "o1": 3, "o3": 2, "nobody": 0} {
			if n := read(t, store, func(r identity.Reader) (int, error) { return r.CountSubjects(ctx, identity.Customer, owner) }); n != want {
				t.Errorf("CountSubjects(%q) = %d, want %d", owner, n, want)
			}
		}
		listed := read(t, store, func(r identity.Reader) ([]identity.Subject, error) {
			return r.Subjects(ctx, identity.SubjectFilter{Kind: identity.Customer, Owner: "o1", After: customers[0], Limit: 1})
		})
		if len(listed) != 1 || listed[0].ID != customers[2] {
			t.Errorf("listed %v, want %s alone", listed, customers[2])
		}
	})
}

func TestSettingLists(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		for _, name := range []string{"a/1", "a/2", "b", "a", "a%"} {
			update(t, store, func(tx identity.Tx) error { return tx.SaveSetting(ctx, identity.Setting{Name: name, UpdatedAt: epoch}) })
		}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Setting, error) { return r.Settings(ctx, "a/") }),
			[]identity.Setting{{Name: "a/1", UpdatedAt: epoch}, {Name: "a/2", UpdatedAt: epoch}})
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSetting(ctx, "a/1") })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteSetting(ctx, "a/1") })
	})
}

func TestRecoveries(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, other := subject(t, store), subject(t, store)
		end := epoch.Add(time.Hour)
		made := func(id identity.RecoveryID, whose identity.SubjectID, state identity.RecoveryState) identity.Recovery {
			v := filled[identity.Recovery](t)
			v.ID, v.SubjectID, v.State, v.ExpiresAt = id, whose, state, end
			update(t, store, func(tx identity.Tx) error { return tx.CreateRecovery(ctx, v) })
			return v
		}
		a, b, c := made("r1", who, identity.RecoveryWaiting), made("r2", who, identity.RecoveryApproved), made("r3", other, identity.RecoveryWaiting)
		for _, list := range []struct {
			want []identity.Recovery
			get  func(identity.Reader) ([]identity.Recovery, error)
		}{
			{[]identity.Recovery{b, a}, func(r identity.Reader) ([]identity.Recovery, error) { return r.RecoveriesOf(ctx, who) }},
			{[]identity.Recovery{a, b, c}, func(r identity.Reader) ([]identity.Recovery, error) { return r.Recoveries(ctx, "", "", 10) }},
			{[]identity.Recovery{a, c}, func(r identity.Reader) ([]identity.Recovery, error) {
				return r.Recoveries(ctx, identity.RecoveryWaiting, "", 10)
			}},
			{[]identity.Recovery{c}, func(r identity.Reader) ([]identity.Recovery, error) {
				return r.Recoveries(ctx, identity.RecoveryWaiting, a.ID, 1)
			}},
		} {
			same(t, read(t, store, list.get), list.want)
		}
		step := func(what string, want bool, do func(tx identity.Tx) (bool, error)) {
			t.Helper()
			update(t, store, func(tx identity.Tx) error {
				done, err := do(tx)
				if done != want {
					t.Errorf("%s = %v, want %v", what, done, want)
				}
				return err
			})
		}
		spend := func(id identity.RecoveryID, at time.Time) func(tx identity.Tx) (bool, error) {
			return func(tx identity.Tx) (bool, error) { return tx.SpendRecovery(ctx, id, at) }
		}
		next := a
		next.State, next.Hash, next.DecidedAt, next.ExpiresAt = identity.RecoveryApproved, []byte("code"), epoch, end.Add(time.Hour)
		decide := func(at time.Time) func(tx identity.Tx) (bool, error) {
			return func(tx identity.Tx) (bool, error) {
				changed := next
				changed.Address, changed.SubjectID = "stays", other
				return tx.DecideRecovery(ctx, changed, at)
			}
		}
		step("spending what waits", false, spend(a.ID, epoch))
		step("deciding too late", false, decide(end))
		step("deciding", true, decide(epoch))
		step("deciding again", false, decide(epoch))
		same(t, read(t, store, func(r identity.Reader) (identity.Recovery, error) { return r.Recovery(ctx, a.ID) }), next)
		step("spending too late", false, spend(a.ID, next.ExpiresAt))
		step("spending", true, spend(a.ID, end))
		step("spending again", false, spend(a.ID, end))
		next.State, next.UsedAt = identity.RecoveryUsed, end
		same(t, read(t, store, func(r identity.Reader) (identity.Recovery, error) { return r.Recovery(ctx, a.ID) }), next)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateRecovery(ctx, a) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, who) })
		absent(t, store, func(r identity.Reader) (identity.Recovery, error) { return r.Recovery(ctx, a.ID) })
	})
}

func TestBrowsers(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who, other := subject(t, store), subject(t, store)
		made := func(whose identity.SubjectID) identity.Browser {
			d := filled[identity.Browser](t)
			d.SubjectID = whose
			update(t, store, func(tx identity.Tx) error { return tx.CreateBrowser(ctx, d) })
			return d
		}
		a, b, c, foreign := made(who), made(who), made(who), made(other)
		get := func(d identity.Browser) func(r identity.Reader) (identity.Browser, error) {
			return func(r identity.Reader) (identity.Browser, error) { return r.Browser(ctx, d.Hash) }
		}
		same(t, read(t, store, get(a)), a)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.CreateBrowser(ctx, a) })
		a.SessionID = "seen"
		update(t, store, func(tx identity.Tx) error { return tx.SeeBrowser(ctx, a.Hash, a.SessionID) })
		same(t, read(t, store, get(a)), a)
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.SeeBrowser(ctx, []byte("x"), "s") })
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.DeleteBrowsersOf(ctx, who, a.SessionID) })
			absent(t, store, get(a))
			same(t, read(t, store, get(b)), b)
		}
		update(t, store, func(tx identity.Tx) error { return tx.DeleteBrowsersOf(ctx, who, "") })
		absent(t, store, get(b))
		absent(t, store, get(c))
		same(t, read(t, store, get(foreign)), foreign)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, other) })
		absent(t, store, get(foreign))
	})
}
