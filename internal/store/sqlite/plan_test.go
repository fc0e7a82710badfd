package sqlite

import (
	"context"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

// A plan that reads a table row by row, or sorts what it found, costs more the more there is.
var slow = regexp.MustCompile(`^SCAN (\w+)$|TEMP B-TREE FOR (ORDER BY|GROUP BY|DISTINCT)`)

// But for these.
var allowed = []*regexp.Regexp{
	regexp.MustCompile(`FROM (policies|roles|services|signing_keys|identity_providers)\b`),      // read whole, and small whoever lives here
	regexp.MustCompile(`FROM (events|checkpoints|changes) ORDER BY \w+( DESC)? LIMIT`),          // from the end of the key on
	regexp.MustCompile(`FROM logins WHERE subject_id = \$1 ORDER BY is_primary`),                // one person's few
	regexp.MustCompile(`FROM licences l .*WHERE l\.organisation_id = \$1`),                      // one organisation's, sorted; not scanned: see below
	regexp.MustCompile(`FROM licence_devices d CROSS JOIN licences l WHERE d\.device_id = \$1`), // one device's, sorted
}

// allLicences are the statements of the list over all organisations, which may pass over licences in an index, sort ids, and read all
// agreements.
var allLicences = regexp.MustCompile(`^(WITH sellers|SELECT (COUNT\(\*\)|l\.id|l\.starts_at|l\.expires_at) FROM (licences l|\(SELECT x\.code_folded)|SELECT a\.id, a\.name_folded, \(SELECT COUNT)`)

// Of them, these read the licences themselves, one after another: where a text is looked for, and where an agreement's are wanted by code.
var everyLicence = regexp.MustCompile(`^WITH sellers|l\.agreement_id \|\| ''\) .*ORDER BY \(l\.code_folded`)

// licenceScan is a look at every licence, device or agreement, which no list of one organisation's may take.
var licenceScan = regexp.MustCompile(`^SCAN (l|a|d|x|p|v|licences|agreements|devices|organisations)( |$)`)

// Every statement walks an index, so that cost does not depend on how much is already there.
func TestEveryStatementWalksAnIndex(t *testing.T) {
	ctx := context.Background()
	e, err := open(ctx, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	store := sqlstore.New(e)
	t.Cleanup(func() { _ = store.Close() })
	// Every method once, with arguments that match nothing; it is the statements that count.
	each := func(v any) {
		methods := reflect.ValueOf(v)
		for i := range methods.NumMethod() {
			m := methods.Method(i)
			args := []reflect.Value{reflect.ValueOf(ctx)}
			for j := 1; j < m.Type().NumIn(); j++ {
				args = append(args, argument(m.Type().In(j)))
			}
			m.Call(args)
		}
	}
	suspended := true
	if err := store.View(ctx, func(r identity.Reader) error {
		each(r)
		for _, f := range []identity.SubjectFilter{
			{After: "a"}, {Prefix: "a"}, {Prefix: "a", After: "a"}, {OrganisationID: "o"}, {OrganisationID: "o", Prefix: "a"}, {Suspended: &suspended}, {Kind: "k"}, {Kind: "k", After: "a"}, {Owner: "o"}, {Owner: "o", Kind: "k", After: "a"},
		} {
			_, _ = r.Subjects(ctx, f)
		}
		for _, f := range []identity.EventFilter{
			{}, {Before: 5}, {SubjectID: "s"}, {Door: "d"}, {Action: "a"}, {Since: time.Unix(1, 0)}, {SubjectID: "s", Before: 5, Door: "d"},
		} {
			_, _ = r.Events(ctx, f)
		}
		for _, org := range []identity.OrganisationID{"o", ""} {
			for _, f := range []identity.LicenceFilter{
				{}, {Text: "a"}, {DeviceID: "d"}, {Kind: "k"}, {Agreement: "a"}, {Text: "a", DeviceID: "d", Kind: "k", Agreement: "a", Offset: 5},
			} {
				f.OrganisationID = org
				for _, by := range []identity.LicenceColumn{identity.ByAgreementName, identity.ByLicenceCode, identity.ByStart, identity.ByExpiry} {
					f.Order = []identity.LicenceOrder{{By: by}, {By: identity.ByStart, Descending: true}}
					_, _ = r.Licences(ctx, f)
				}
				_, _ = r.CountLicences(ctx, f)
			}
			_, _ = r.Devices(ctx, org, "d", 1)
		}
		_, _ = r.ClientsOf(ctx, "o", "", "c", 1)
		_, _ = r.Entitling(ctx, "o", "", time.Unix(1, 0))
		_, _ = r.Entitling(ctx, "o", "d", time.Unix(1, 0))
		for _, state := range []identity.MessageState{"", identity.MessageWaiting, identity.MessageSent, identity.MessageGivenUp} {
			_, _ = r.Messages(ctx, state, "", 1)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	methods := reflect.TypeFor[identity.Tx]()
	for i := range methods.NumMethod() { // one transaction each, for a refused statement spoils its own
		_ = store.Update(ctx, func(tx identity.Tx) error {
			m := reflect.ValueOf(tx).MethodByName(methods.Method(i).Name)
			args := []reflect.Value{reflect.ValueOf(ctx)}
			for j := 1; j < m.Type().NumIn(); j++ {
				args = append(args, argument(m.Type().In(j)))
			}
			m.Call(args)
			return nil
		})
	}
	texts := map[string]bool{}
	for _, c := range append([]*conn{e.writer.conn}, e.readers.idle...) {
		for text := range c.statements {
			if strings.HasPrefix(text, "SELECT") || strings.HasPrefix(text, "WITH") || strings.HasPrefix(text, "INSERT") || strings.HasPrefix(text, "UPDATE") || strings.HasPrefix(text, "DELETE") {
				texts[text] = true
			}
		}
	}
	if len(texts) < 100 {
		t.Fatalf("only %d statements were prepared", len(texts))
	}
	c, err := e.dialReader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		r, err := c.query("EXPLAIN QUERY PLAN "+text, make([]any, 40)...)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		for r.Next() {
			step, _ := r.statement.values[3].(string)
			if allLicences.MatchString(text) && !strings.Contains(text, `l.organisation_id = $1`) {
				if step == "SCAN l" && !everyLicence.MatchString(text) {
					t.Errorf("%s\n\t%s", text, step)
				}
				continue
			}
			if licenceScan.MatchString(step) {
				t.Errorf("%s\n\t%s", text, step)
			}
			if slow.MatchString(step) && !slices.ContainsFunc(allowed, func(a *regexp.Regexp) bool { return a.MatchString(text) }) {
				t.Errorf("%s\n\t%s", text, step)
			}
		}
		r.Close()
	}
}

func argument(kind reflect.Type) reflect.Value {
	if kind.Kind() == reflect.Pointer {
		return reflect.New(kind.Elem())
	}
	v := reflect.New(kind).Elem()
	switch kind.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(kind, 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(kind))
		v.SetMapIndex(reflect.New(kind.Key()).Elem(), reflect.New(kind.Elem()).Elem())
	}
	return v
}
