package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/identity"
)

const maxSwept = 1000

// Whatever is said to both engines, they answer alike (security.md, P14): thousands of random calls with the values that
// clash, overflow and do not exist.
func TestEnginesAnswerAlike(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := caller{rand.New(rand.NewPCG(seed, 14))}
			left, right := SQLite(t), Postgres(t)
			methods := reflect.TypeFor[identity.Tx]()
			refusals, answers := 0, 0
			for n := range 1500 {
				m := methods.Method(c.IntN(methods.NumMethod()))
				if strings.Contains(m.Name, "ByNumber") || slices.Contains([]string{"DeleteService", "Changes", "LastChange", "SealEvents", "RevocationEpoch"}, m.Name) {
					continue // numbers are each engine's own
				}
				var args []reflect.Value
				for i := 1; i < m.Type.NumIn(); i++ { // but for the context
					arg := reflect.New(m.Type.In(i)).Elem()
					c.fill(arg)
					args = append(args, arg)
				}
				if m.Name == "Sweep" {
					args[1].SetInt(maxSwept) // which of those that ended together go first is each engine's choice
				}
				a, errA := call(t, left, m.Name, args)
				b, errB := call(t, right, m.Name, args)
				if kindA, kindB := kind(errA), kind(errB); kindA != kindB || kindA == identity.Internal.Error() {
					t.Fatalf("call %d: %s(%s)\nSQLite: %v\nPostgreSQL: %v", n, m.Name, show(args), errA, errB)
				}
				if diff := cmp.Diff(a, b); diff != "" {
					t.Fatalf("call %d: %s(%s): -SQLite +PostgreSQL\n%s", n, m.Name, show(args), diff)
				}
				if errA != nil {
					refusals++
				} else {
					answers++
				}
			}
			t.Logf("%d answers, %d refusals", answers, refusals)
		})
	}
}

func show(args []reflect.Value) string {
	var all []string
	for _, a := range args {
		if a.Kind() == reflect.Pointer && !a.IsNil() {
			a = a.Elem()
		}
		all = append(all, fmt.Sprintf("%+v", a.Interface()))
	}
	return strings.Join(all, ", ")
}

func kind(err error) string {
	if err == nil {
		return ""
	}
	return identity.KindOf(err).Error()
}

// call calls a method in a transaction of its own and gives what it returned, and what it set through pointers, without
// the numbers that each engine counts for itself.
func call(t *testing.T, store identity.Store, method string, args []reflect.Value) (out []any, err error) {
	err = store.Update(t.Context(), func(tx identity.Tx) error {
		out = nil
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for _, a := range args {
			if a.Kind() == reflect.Pointer {
				copied := reflect.New(a.Type().Elem())
				copied.Elem().Set(a.Elem())
				a = copied
			}
			in = append(in, a)
		}
		results := reflect.ValueOf(tx).MethodByName(method).Call(in)
		last := len(results) - 1
		for _, r := range results[:last] {
			copied := reflect.New(r.Type()).Elem()
			copied.Set(r)
			forgetNumbers(copied)
			out = append(out, copied.Interface())
		}
		err, _ := results[last].Interface().(error)
		return err
	})
	return out, err
}

func forgetNumbers(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			forgetNumbers(v.Index(i))
		}
	case reflect.Struct:
		for _, name := range []string{"Number", "Seq", "Epoch"} {
			if f := v.FieldByName(name); f.IsValid() {
				f.SetInt(0)
			}
		}
	}
}

// caller chooses arguments from few values, so that calls meet each other's rows.
type caller struct{ *rand.Rand }

func pick[T any](c caller, values ...T) T { return values[c.IntN(len(values))] }

func (c caller) fill(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = pick(c, time.Time{}, epoch, epoch.Add(time.Second), epoch.Add(time.Hour), time.Unix(-5, 0).UTC(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		return
	case *time.Duration:
		*p = pick(c, 0, time.Second, time.Hour, -time.Hour)
		return
	case *[]byte:
		*p = pick(c, nil, []byte("a"), []byte(`{"a":1}`), []byte{})
		return
	case *identity.Attributes:
		*p = pick(c, nil, identity.Attributes{"nx": []byte(`{"a": [1]}`)}, identity.Attributes{}, identity.Attributes{"nx": []byte(`{`)})
		return
	case *identity.CredentialKind:
		*p = pick(c, identity.Password, identity.TOTP)
		return
	case *identity.LicenceColumn:
		*p = pick(c, identity.ByAgreementName, identity.ByLicenceCode, identity.ByStart, identity.ByExpiry, "no column")
		return
	case *identity.Event:
		*p = identity.Event{ID: "e", Action: pick(c, "a", "b"), SubjectID: pick[identity.SubjectID](c, "a", "b", ""), ActorID: pick[identity.SubjectID](c, "a", "c"), At: epoch}
		return
	case *identity.EventFilter:
		*p = identity.EventFilter{Action: pick(c, "", "a"), SubjectID: pick[identity.SubjectID](c, "", "a", "c"), Since: pick(c, time.Time{}, epoch, epoch.Add(time.Second)), Limit: pick(c, 0, 2)}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(pick(c, "a", "b", "c", "a", "b", "c", "", "é", "A", "a%", "\x00", "\xff"))
	case reflect.Int, reflect.Int64:
		v.SetInt(pick[int64](c, 0, 1, 2, 3, -1, math.MaxInt64, math.MaxInt32))
	case reflect.Bool:
		v.SetBool(c.IntN(2) == 0)
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*bool]() && c.IntN(2) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		c.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), c.IntN(3), 3))
		for i := range v.Len() {
			c.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		c.fill(key)
		c.fill(value)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			// Most fields of most records are beside the point, and a bad one hides what the others do.
			if name := v.Type().Field(i).Name; strings.HasSuffix(name, "ID") || c.IntN(4) == 0 {
				c.fill(v.Field(i))
			}
		}
	default:
		panic(fmt.Sprintf("no way to choose a %s", v.Type()))
	}
}
