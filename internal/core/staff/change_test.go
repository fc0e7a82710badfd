package staff_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// Both populations, on both engines: made, found, changed and removed by the same verbs, and blind to each other.
func TestPopulations(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		admin := by(h.person(staff.Admin))
		for _, tt := range []struct{ kind, other identity.SubjectKind }{{identity.Person, identity.Customer}, {identity.Customer, identity.Person}} {
			email := string(tt.kind) + "@example.test"
			pw := identity.Secret("Loud-Sea-12 of hers")
			made, err := h.Create(ctx, admin, staff.Person{Kind: tt.kind, Email: "  " + string(tt.kind) + "@EXAMPLE.test", Password: &pw, Notes: []string{"first", " "}})
			if err != nil {
				t.Fatal(err)
			}
			id := made.Subject.ID
			if s := made.Subject; s.Kind != tt.kind || s.Email != email || s.Name != email || s.VerifiedAt.IsZero() || len(words.Read(&s).Notes) != 1 {
				t.Errorf("made %+v", s)
			}
			if _, err := h.Create(ctx, admin, staff.Person{Kind: tt.other, Email: email}); !errors.Is(err, identity.Conflict) {
				t.Errorf("the same address in the other population: %v", err)
			}
			if _, err := h.ReadByEmail(ctx, admin, tt.kind, " "+email); err != nil {
				t.Error(err)
			}
			for name, got := range map[string]error{
				"read":    second(h.Read(ctx, admin, tt.other, id)),
				"find":    second(h.ReadByEmail(ctx, admin, tt.other, email)),
				"change":  second(h.Change(ctx, admin, id, staff.Change{Kind: tt.other})),
				"delete":  h.Delete(ctx, admin, tt.other, id),
				"nobody":  h.Delete(ctx, admin, tt.kind, "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7aff"),
				"no name": second(h.ReadByEmail(ctx, admin, tt.kind, "who@example.test")),
			} {
				if !errors.Is(got, identity.NotFound) {
					t.Errorf("%s %s as %s: %v", name, tt.kind, tt.other, got)
				}
			}
			if list, err := h.ByIDs(ctx, admin, tt.other, []identity.SubjectID{id}); err != nil || len(list) != 0 {
				t.Errorf("%d of them, %v", len(list), err)
			}
			changed, err := h.Change(ctx, admin, id, staff.Change{Kind: tt.kind, Suspended: ptr(true), Owner: ptr("5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10")})
			if err != nil || changed.Subject.SuspendedAt.IsZero() || changed.Subject.Owner == "" {
				t.Errorf("changed %+v, %v", changed.Subject, err)
			}
			if n, err := h.Count(ctx, admin, tt.kind, "5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10"); n != 1 || err != nil {
				t.Errorf("%d of that owner, %v", n, err)
			}
			if err := h.Delete(ctx, admin, tt.kind, id); err != nil {
				t.Error(err)
			}
		}
		// A customer is a subscriber, whatever is written about her, and is made nothing else.
		served := h.Person(func(s *identity.Subject, _ *identity.Credential) {
			s.Kind, s.Superadmin = identity.Customer, false
			s.Attributes = identity.Attributes{coretest.Door: words.Patch(staff.Facts{Role: staff.Admin})}
		})
		if err := h.Delete(ctx, by(served), "", admin.SubjectID); !errors.Is(err, identity.Denied) {
			t.Errorf("a customer with an admin's word deletes: %v", err)
		}
		if _, err := h.Change(ctx, admin, served.ID, staff.Change{Kind: identity.Customer, Role: ptr("csr")}); !errors.Is(err, identity.Denied) {
			t.Errorf("made a csr: %v", err)
		}
		if _, err := h.Create(ctx, admin, staff.Person{Kind: identity.Customer, Email: "x@example.test", Role: ptr("csr")}); !errors.Is(err, identity.Invalid) {
			t.Errorf("created as csr: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A root is a superadmin, and the other way round.
func TestRootIsSuperadmin(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	root := by(h.person(staff.Root))
	her := h.person(staff.CSR)
	for _, step := range []struct {
		role  string
		rules bool
	}{{"ROOT", true}, {"root", true}, {"partner", false}} {
		p, err := h.Change(t.Context(), root, her.ID, staff.Change{Role: &step.role})
		if err != nil || p.Subject.Superadmin != step.rules || (words.RoleOf(&p.Subject) == staff.Root) != step.rules {
			t.Errorf("%s: %+v, %v", step.role, p.Subject, err)
		}
	}
	for _, s := range []identity.Subject{
		{Kind: identity.Person, Attributes: identity.Attributes{coretest.Door: words.Patch(staff.Facts{Role: staff.Root})}},
		{Kind: identity.Person, Attributes: identity.Attributes{coretest.Door: words.Patch(staff.Facts{Role: staff.Peer})}},
	} {
		if role := words.RoleOf(&s); role != staff.Subscriber {
			t.Errorf("the word alone makes %s", role)
		}
	}
}

// What is changed leaves a trace in the audit log, what is not leaves none, and the feed hears of both populations' coming and going.
func TestChangesAreRecordedAndAnnounced(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	var heard []identity.ChangeKind
	h.Core.Store.OnCommit(func(changes []identity.Change) {
		for _, c := range changes {
			heard = append(heard, c.Kind)
		}
	})
	admin := by(h.person(staff.Admin))
	made, err := h.Create(t.Context(), admin, staff.Person{Email: "new@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(heard, identity.PopulationChanged) {
		t.Errorf("after the creation: %v", heard)
	}
	heard = nil
	record := made.Subject
	role := "subscriber"
	if _, err := h.Change(t.Context(), admin, record.ID, staff.Change{Name: &record.Name, Role: &role, Suspended: ptr(false), Owner: ptr(""), MustChange: ptr(true)}); err != nil || len(heard) != 0 {
		t.Errorf("a change that changes nothing: %v, %v", heard, err)
	}
	if _, err := h.Change(t.Context(), admin, record.ID, staff.Change{Name: ptr("Other")}); err != nil || !slices.Equal(heard, []identity.ChangeKind{identity.SubjectChanged}) {
		t.Errorf("a change: %v, %v", heard, err)
	}
	h.View(func(r identity.Reader) error {
		list, err := r.Events(t.Context(), identity.EventFilter{SubjectID: record.ID, Limit: 10})
		var actions []string
		for _, e := range list {
			actions = append(actions, e.Action)
			if e.ActorID != admin.SubjectID {
				t.Errorf("%s by %s", e.Action, e.ActorID)
			}
		}
		if !slices.Equal(actions, []string{"subject.update", "subject.create"}) {
			t.Errorf("recorded %v", actions)
		}
		return err
	})
}

// Only she herself, at a session of her own, changes her password and second factor: not a program of hers, nor who acts as her.
func TestHerselfOnly(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	her := h.person(staff.CSR)
	pw := identity.Secret("Loud-Sea-12 of hers")
	program, other := by(her), by(her)
	program.SessionID = ""
	other.ActorID = h.person(staff.Root).ID
	for name, who := range map[string]staff.By{"a program": program, "another": other} {
		for _, change := range []staff.Change{{Password: &pw}, {Factor: &staff.Factor{}}, {ResetFactors: true}} {
			if _, err := h.Change(t.Context(), who, her.ID, change); !errors.Is(err, identity.Denied) {
				t.Errorf("%s, %+v: %v", name, change, err)
			}
		}
		if err := h.Delete(t.Context(), who, "", her.ID); !errors.Is(err, identity.Denied) {
			t.Errorf("%s deletes: %v", name, err)
		}
		if _, err := h.Change(t.Context(), who, her.ID, staff.Change{Name: ptr("New")}); err != nil {
			t.Errorf("%s, name: %v", name, err)
		}
	}
	// Who is suspended acts no more, though her session is still believed.
	h.Update(func(tx identity.Tx) error {
		s, err := tx.Subject(t.Context(), her.ID)
		s.SuspendedAt = time.Unix(1, 0)
		return errors.Join(err, tx.UpdateSubject(t.Context(), s))
	})
	if _, err := h.Read(t.Context(), by(her), "", her.ID); !errors.Is(err, identity.TokenRevoked) {
		t.Errorf("suspended, she reads: %v", err)
	}
}
