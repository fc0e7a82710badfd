package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

// people makes subjects with one login each.
func people(t *testing.T, store identity.Store, names ...string) []identity.Subject {
	t.Helper()
	var all []identity.Subject
	for _, name := range names {
		s := identity.Subject{ID: identity.SubjectID(newID()), Name: name, Email: name + "@Example.com"}
		update(t, store, func(tx identity.Tx) error {
			if err := tx.CreateSubject(t.Context(), &s); err != nil {
				return err
			}
			folded := strings.ToLower(name)
			return tx.CreateLogin(t.Context(), identity.Login{SubjectID: s.ID, Typed: name, Folded: folded, Skeleton: folded})
		})
		all = append(all, s)
	}
	return all
}

func names(all []identity.Subject) (out []string) {
	for _, s := range all {
		out = append(out, s.Name)
	}
	return out
}

func TestSubjectLists(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		all := people(t, store, "Zoe", "ada", "adam", "100%", "a_b", "axb", "Ünal", "été", "ada!b", "Straße")
		org := organisation(t, store)
		for _, i := range []int{0, 2, 6} {
			update(t, store, func(tx identity.Tx) error {
				return tx.SaveMembership(ctx, identity.Membership{ID: identity.MembershipID(newID()), SubjectID: all[i].ID, OrganisationID: org})
			})
		}
		// Several logins and several memberships are still one person.
		site := identity.Site{ID: identity.SiteID(newID()), OrganisationID: org}
		all[2].SuspendedAt = epoch
		update(t, store, func(tx identity.Tx) error {
			return firstError(
				func() error {
					return tx.CreateLogin(ctx, identity.Login{SubjectID: all[2].ID, Folded: "adamant", Skeleton: "adamant"})
				},
				func() error { return tx.SaveSite(ctx, site) },
				func() error {
					return tx.SaveMembership(ctx, identity.Membership{ID: "m", SubjectID: all[2].ID, OrganisationID: org, SiteID: site.ID})
				},
				func() error { return tx.UpdateSubject(ctx, all[2]) },
			)
		})
		yes, no := true, false
		for name, tt := range map[string]struct {
			filter identity.SubjectFilter
			want   []string
		}{
			"all by id":            {identity.SubjectFilter{}, names(all)},
			"a page":               {identity.SubjectFilter{After: all[1].ID, Limit: 2}, []string{"adam", "100%"}},
			"an offset":            {identity.SubjectFilter{Offset: 8}, []string{"ada!b", "Straße"}},
			"past the end":         {identity.SubjectFilter{Offset: 1 << 40}, nil},
			"prefix by login":      {identity.SubjectFilter{Prefix: "ada"}, []string{"ada", "ada!b", "adam"}},
			"prefix, a page":       {identity.SubjectFilter{Prefix: "ada", After: all[1].ID, Limit: 1}, []string{"ada!b"}},
			"prefix, last page":    {identity.SubjectFilter{Prefix: "ada", After: all[2].ID}, nil},
			"prefix not ASCII":     {identity.SubjectFilter{Prefix: "é"}, []string{"été"}},
			"members":              {identity.SubjectFilter{OrganisationID: org}, []string{"Zoe", "adam", "Ünal"}},
			"members, a page":      {identity.SubjectFilter{OrganisationID: org, After: all[0].ID, Limit: 1}, []string{"adam"}},
			"members by prefix":    {identity.SubjectFilter{OrganisationID: org, Prefix: "a"}, []string{"adam"}},
			"part of a name":       {identity.SubjectFilter{Name: "DA"}, []string{"ada", "adam", "ada!b"}},
			"a wildcard is itself": {identity.SubjectFilter{Name: "%"}, []string{"100%"}},
			"another wildcard":     {identity.SubjectFilter{Name: "A_B"}, []string{"a_b"}},
			"the escape is itself": {identity.SubjectFilter{Name: "!"}, []string{"ada!b"}},
			"case beyond ASCII":    {identity.SubjectFilter{Name: "ünAL"}, []string{"Ünal"}},
			"folding":              {identity.SubjectFilter{Name: "STRASSE"}, []string{"Straße"}},
			"part of an address":   {identity.SubjectFilter{Email: "zoe@EXAMPLE"}, []string{"Zoe"}},
			"suspended":            {identity.SubjectFilter{Suspended: &yes}, []string{"adam"}},
			"not suspended":        {identity.SubjectFilter{Suspended: &no, Name: "ada"}, []string{"ada", "ada!b"}},
		} {
			t.Run(name, func(t *testing.T) {
				same(t, names(read(t, store, func(r identity.Reader) ([]identity.Subject, error) { return r.Subjects(ctx, tt.filter) })), tt.want)
			})
		}
		refusedView := store.View(ctx, func(r identity.Reader) error {
			_, err := r.Subjects(ctx, identity.SubjectFilter{Prefix: "ada", After: "gone"})
			return err
		})
		if identity.KindOf(refusedView) != identity.Invalid {
			t.Errorf("a cursor of somebody who went: %v", refusedView)
		}
		asked := []identity.SubjectID{all[3].ID, "nobody", all[0].ID, all[3].ID}
		got := read(t, store, func(r identity.Reader) ([]identity.Subject, error) { return r.SubjectsByID(ctx, asked) })
		same(t, names(got), []string{"100%", "Zoe", "100%"})
	})
}

func TestSubjectsByIDTakesMany(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		var ids []identity.SubjectID
		update(t, store, func(tx identity.Tx) error {
			ids = nil
			for range 100 {
				s := identity.Subject{ID: identity.SubjectID(newID())}
				if err := tx.CreateSubject(t.Context(), &s); err != nil {
					return err
				}
				ids = append(ids, s.ID)
			}
			return nil
		})
		slices.Reverse(ids)
		got := read(t, store, func(r identity.Reader) ([]identity.Subject, error) { return r.SubjectsByID(t.Context(), ids) })
		var found []identity.SubjectID
		for _, s := range got {
			found = append(found, s.ID)
		}
		same(t, found, ids)
		if none := read(t, store, func(r identity.Reader) ([]identity.Subject, error) { return r.SubjectsByID(t.Context(), nil) }); len(none) > 0 {
			t.Errorf("found %v for no ids", none)
		}
	})
}

// Pages by key neither repeat nor leave out what stands, whatever comes and goes between them.
func TestPagesAreStable(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		var standing []string
		for i := range 20 {
			standing = append(standing, fmt.Sprintf("p%02d", i))
		}
		all := people(t, store, standing...)
		walk := func(filter identity.SubjectFilter, passed identity.SubjectID) (seen []string) {
			for n := 0; ; n++ {
				filter.Limit = 3
				page := read(t, store, func(r identity.Reader) ([]identity.Subject, error) { return r.Subjects(ctx, filter) })
				if len(page) == 0 {
					return seen
				}
				for _, s := range page {
					if strings.HasPrefix(s.Name, "p") {
						seen = append(seen, s.Name)
					}
				}
				filter.After = page[len(page)-1].ID
				// Somebody comes before the cursor and somebody after it, and somebody who was passed goes.
				if n < 6 {
					people(t, store, fmt.Sprintf("n%02d%s", n, filter.Prefix), fmt.Sprintf("pz%02d-%s", n, filter.Prefix))
				}
				if n == 2 {
					update(t, store, func(tx identity.Tx) error { return tx.DeleteSubject(ctx, passed) })
				}
			}
		}
		got := walk(identity.SubjectFilter{}, all[0].ID)
		if !slices.Equal(got[:len(standing)], standing) {
			t.Errorf("walked %v, want it to begin with %v", got, standing)
		}
		got = walk(identity.SubjectFilter{Prefix: "p"}, all[1].ID)
		if !slices.Equal(got[:len(standing)-1], standing[1:]) {
			t.Errorf("walked %v by prefix, want it to begin with %v", got, standing[1:])
		}
	})
}

func TestOtherPages(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		for i := range 5 {
			session(t, store, who)
			organisation(t, store)
			update(t, store, func(tx identity.Tx) error {
				return tx.CreateClient(ctx, identity.Client{ID: identity.ClientID([]string{"b", "a", "Z", "ä", "_"}[i])})
			})
		}
		for name, walk := range map[string]func(after string) ([]string, error){
			"sessions": func(after string) ([]string, error) {
				return keys(store, ctx, func(r identity.Reader) ([]identity.Session, error) {
					return r.Sessions(ctx, identity.SessionID(after), 2)
				}, func(s identity.Session) string { return string(s.ID) })
			},
			"organisations": func(after string) ([]string, error) {
				return keys(store, ctx, func(r identity.Reader) ([]identity.Organisation, error) {
					return r.Organisations(ctx, identity.OrganisationID(after), 2)
				}, func(o identity.Organisation) string { return string(o.ID) })
			},
			"clients": func(after string) ([]string, error) {
				return keys(store, ctx, func(r identity.Reader) ([]identity.Client, error) {
					return r.Clients(ctx, identity.ClientID(after), 2)
				}, func(c identity.Client) string { return string(c.ID) })
			},
		} {
			t.Run(name, func(t *testing.T) {
				var all []string
				for after := ""; ; after = all[len(all)-1] {
					page, err := walk(after)
					if err != nil {
						t.Fatal(err)
					}
					if len(page) == 0 {
						break
					}
					all = append(all, page...)
				}
				// Byte order, on both engines.
				if len(all) != 5 || !slices.IsSorted(all) {
					t.Errorf("walked %q", all)
				}
			})
		}
	})
}

func keys[T any](store identity.Store, ctx context.Context, get func(identity.Reader) ([]T, error), key func(T) string) (out []string, err error) {
	err = store.View(ctx, func(r identity.Reader) error {
		some, err := get(r)
		out = nil
		for _, v := range some {
			out = append(out, key(v))
		}
		return err
	})
	return out, err
}

// Whatever is asked for, a list is bounded.
func TestLimits(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		update(t, store, func(tx identity.Tx) error {
			for range 1001 {
				if err := tx.Announce(ctx, identity.KeysChanged, "", epoch); err != nil {
					return err
				}
			}
			return nil
		})
		for _, limit := range []int{0, -1, 1001, 1 << 60} {
			if got := read(t, store, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(ctx, 0, limit) }); len(got) != 1000 {
				t.Errorf("%d changes for a limit of %d", len(got), limit)
			}
		}
	})
}

// The sweeper removes what ended, in small steps, and nothing else.
func TestSweep(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		who := subject(t, store)
		const ended = 7
		now := epoch.AddDate(0, 1, 0)
		make := func(at time.Time) error {
			return store.Update(ctx, func(tx identity.Tx) error {
				id := newID()
				return firstError(
					func() error {
						return tx.CreateSession(ctx, identity.Session{ID: identity.SessionID(id), SubjectID: who, ExpiresAt: at})
					},
					func() error { return tx.CreateOpaqueToken(ctx, identity.OpaqueToken{Hash: []byte(id), ExpiresAt: at}) },
					func() error { return tx.RevokeToken(ctx, identity.RevokedToken{ID: id, ExpiresAt: at}) },
					func() error {
						return tx.CreateTicket(ctx, identity.Ticket{ID: identity.TicketID(id), Hash: []byte(id), ExpiresAt: at})
					},
					func() error {
						_, err := tx.CountAttempt(ctx, id, at.Add(-time.Minute), time.Minute)
						return err
					},
					func() error { return tx.Enqueue(ctx, identity.Message{ID: identity.MessageID(id), ExpiresAt: at}) },
					func() error { return tx.Announce(ctx, identity.KeysChanged, id, at) },
					func() error {
						return tx.CreateAPIKey(ctx, identity.APIKey{ID: identity.APIKeyID(id), SubjectID: who, Name: id, Hash: []byte(id), ExpiresAt: at})
					},
					func() error { return tx.SaveService(ctx, &identity.Service{Type: id, ExpiresAt: at}) },
					func() error {
						return tx.CreateRecovery(ctx, identity.Recovery{ID: identity.RecoveryID(id), SubjectID: who, ExpiresAt: at})
					},
					func() error {
						return tx.CreateBrowser(ctx, identity.Browser{Hash: []byte(id), SubjectID: who, ExpiresAt: at})
					},
				)
			})
		}
		var over, good []string
		for range ended {
			if err := make(epoch); err != nil {
				t.Fatal(err)
			}
			over = append(over, lastID())
		}
		for range 2 {
			if err := make(now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			good = append(good, lastID())
		}
		described := identity.Service{Type: "stays"}
		update(t, store, func(tx identity.Tx) error { return tx.SaveService(ctx, &described) }) // has no end
		// Refresh moved the end of one session.
		update(t, store, func(tx identity.Tx) error {
			_, err := tx.AdvanceSession(ctx, identity.SessionID(over[0]), 0, epoch.Add(-time.Minute), now.Add(time.Hour))
			return err
		})
		swept, steps := 0, 0
		for ; ; steps++ {
			var n int
			update(t, store, func(tx identity.Tx) (err error) {
				n, err = tx.Sweep(ctx, now, 3)
				return err
			})
			if n > 3*11 {
				t.Errorf("a step removed %d rows", n)
			}
			if n == 0 {
				break
			}
			swept += n
		}
		if want := ended*11 - 1; swept != want || steps != 3 {
			t.Errorf("swept %d rows in %d steps, want %d in 3", swept, steps, want)
		}
		for i, id := range append(over, good...) {
			stays := i >= ended
			for what, get := range map[string]func(r identity.Reader) error{
				"session": func(r identity.Reader) error { _, err := r.Session(ctx, identity.SessionID(id)); return err },
				"token":   func(r identity.Reader) error { _, err := r.OpaqueToken(ctx, []byte(id)); return err },
				"revoked": func(r identity.Reader) error { _, err := r.RevokedToken(ctx, id); return err },
				"ticket":  func(r identity.Reader) error { _, err := r.Ticket(ctx, identity.TicketID(id)); return err },
				"key":     func(r identity.Reader) error { _, err := r.APIKey(ctx, identity.APIKeyID(id)); return err },
				"recovery": func(r identity.Reader) error {
					_, err := r.Recovery(ctx, identity.RecoveryID(id))
					return err
				},
				"device":  func(r identity.Reader) error { _, err := r.Browser(ctx, []byte(id)); return err },
				"message": func(r identity.Reader) error { _, err := r.Message(ctx, identity.MessageID(id)); return err },
			} {
				err := store.View(ctx, get)
				if want := stays || (i == 0 && what == "session"); (err == nil) != want {
					t.Errorf("%s %d: %v", what, i, err)
				}
			}
		}
		if got := read(t, store, func(r identity.Reader) ([]identity.Change, error) { return r.Changes(ctx, 0, 100) }); len(got) != 2 {
			t.Errorf("%d changes left, want 2", len(got))
		}
		if got := read(t, store, func(r identity.Reader) ([]identity.Service, error) { return r.Services(ctx) }); len(got) != 3 {
			t.Errorf("%d services left, want 3", len(got))
		}
	})
}

func lastID() string { return fmt.Sprintf("01900000-0000-7000-8000-%012x", serial.Load()) }

// What has just ended stays for a while, so that a door can tell "expired" from "unknown".
func TestSweepRemembers(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		s := session(t, store, subject(t, store))
		update(t, store, func(tx identity.Tx) error {
			return tx.CreateOpaqueToken(ctx, identity.OpaqueToken{Hash: []byte("h"), SessionID: s.ID, ExpiresAt: s.ExpiresAt})
		})
		update(t, store, func(tx identity.Tx) error { _, err := tx.Sweep(ctx, s.ExpiresAt.Add(23*time.Hour), 100); return err })
		read(t, store, func(r identity.Reader) (identity.OpaqueToken, error) { return r.OpaqueToken(ctx, []byte("h")) })
		read(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) })
		update(t, store, func(tx identity.Tx) error { _, err := tx.Sweep(ctx, s.ExpiresAt.Add(25*time.Hour), 100); return err })
		absent(t, store, func(r identity.Reader) (identity.OpaqueToken, error) { return r.OpaqueToken(ctx, []byte("h")) })
		absent(t, store, func(r identity.Reader) (identity.Session, error) { return r.Session(ctx, s.ID) })
	})
}
