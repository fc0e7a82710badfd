package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/identity"
)

// epoch is the time in these tests.
var epoch = time.Date(2026, 3, 14, 9, 26, 53, 589_793_000, time.UTC)

var serial atomic.Int64

// newID gives ids that grow, spelled like the real ones.
func newID() string { return fmt.Sprintf("01900000-0000-7000-8000-%012x", serial.Add(1)) }

// filled gives a T whose every field has a value of its own, so that a column that is forgotten, or read into the wrong
// field, shows. Nouns grow; the tests that use this grow with them.
func filled[T any](tb testing.TB) T {
	tb.Helper()
	var v T
	fill(tb, reflect.ValueOf(&v).Elem())
	return v
}

func fill(tb testing.TB, v reflect.Value) {
	n := serial.Add(1)
	switch value := v.Addr().Interface().(type) {
	case *time.Time:
		*value = epoch.Add(time.Duration(n) * time.Second)
		return
	case *time.Duration:
		*value = time.Duration(n) * time.Second
		return
	case *[]byte:
		*value = fmt.Appendf(nil, `{"n":%d}`, n)
		return
	case *identity.Attributes:
		*value = identity.Attributes{"nx": fmt.Appendf(nil, `{"n": %d}`, n), "titan": []byte(`["Ä\u0000<"]`)}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("Ünï%d'\\", n))
	case reflect.Int, reflect.Int64:
		v.SetInt(n)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(tb, v.Index(0))
		fill(tb, v.Index(1))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(tb, v.Field(i))
		}
	default:
		tb.Fatalf("no way to fill a %s", v.Type())
	}
}

func update(tb testing.TB, store identity.Store, write func(tx identity.Tx) error) {
	tb.Helper()
	if err := store.Update(tb.Context(), write); err != nil {
		tb.Fatalf("Update: %v", err)
	}
}

// refused is update for what must fail.
func refused(tb testing.TB, store identity.Store, want identity.Kind, write func(tx identity.Tx) error) {
	tb.Helper()
	if err := store.Update(tb.Context(), write); !errors.Is(err, want) {
		tb.Errorf("Update = %v, want %v", err, want)
	}
}

// read gives what a read gives on a snapshot of its own.
func read[T any](tb testing.TB, store identity.Store, get func(identity.Reader) (T, error)) T {
	tb.Helper()
	var v T
	err := store.View(tb.Context(), func(r identity.Reader) (err error) {
		v, err = get(r)
		return err
	})
	if err != nil {
		tb.Fatalf("View: %v", err)
	}
	return v
}

// absent sees that a read finds nothing.
func absent[T any](tb testing.TB, store identity.Store, get func(identity.Reader) (T, error)) {
	tb.Helper()
	err := store.View(tb.Context(), func(r identity.Reader) error {
		_, err := get(r)
		return err
	})
	if !errors.Is(err, identity.NotFound) {
		tb.Errorf("View = %v, want %v", err, identity.NotFound)
	}
}

func same[T any](tb testing.TB, got, want T) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("not what was stored (-want +got):\n%s", diff)
	}
}

// subject makes a subject with nothing but what a reference needs.
func subject(tb testing.TB, store identity.Store) identity.SubjectID {
	tb.Helper()
	s := identity.Subject{ID: identity.SubjectID(newID()), Kind: identity.Person, CreatedAt: epoch}
	update(tb, store, func(tx identity.Tx) error { return tx.CreateSubject(tb.Context(), &s) })
	return s.ID
}

func organisation(tb testing.TB, store identity.Store) identity.OrganisationID {
	tb.Helper()
	id := newID()
	o := identity.Organisation{ID: identity.OrganisationID(id), Key: "org-" + id, CreatedAt: epoch}
	update(tb, store, func(tx identity.Tx) error { return tx.CreateOrganisation(tb.Context(), &o) })
	return o.ID
}

func session(tb testing.TB, store identity.Store, who identity.SubjectID) identity.Session {
	tb.Helper()
	s := identity.Session{
		ID: identity.SessionID(newID()), SubjectID: who, Door: "oidc", CreatedAt: epoch, SeenAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
	update(tb, store, func(tx identity.Tx) error { return tx.CreateSession(tb.Context(), s) })
	return s
}

// race runs one function in n goroutines that start together, and counts how many report success.
func race(tb testing.TB, n int, run func(ctx context.Context, i int) (bool, error)) int {
	tb.Helper()
	var winners atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			won, err := run(tb.Context(), i)
			if err != nil {
				tb.Errorf("goroutine %d: %v", i, err)
			}
			if won {
				winners.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	return int(winners.Load())
}
