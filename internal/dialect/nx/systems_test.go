package nx_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/identity"
	"gatehouse/internal/world"
)

// What an organisation's systems may look like, and which field is at fault where they do not.
func TestCheckOrganisation(t *testing.T) {
	for text, field := range map[string]string{
		`{}`:                                     "",
		`{"systems":null}`:                       "",
		`{"systems":[]}`:                         "",
		`{"systems":[{"id":"` + harbour + `"}]}`: "",
		`{"systems":[{"id":"{` + harbour + `}","name":"Harbour","status":"x","version":"6.0","second_factor":true},{"id":"` + mill + `"}]}`: "",

		`[]`:                                     "nx",
		`{"system":[]}`:                          "nx.system",
		`{"Systems":[]}`:                         "nx.Systems",
		`{"systems":{}}`:                         "nx.systems",
		`{"systems":"x"}`:                        "nx.systems",
		`{"systems":["x"]}`:                      "nx.systems",
		`{"systems":[null]}`:                     "nx.systems[0]",
		`{"systems":[{}]}`:                       "nx.systems[0].id",
		`{"systems":[{"id":""}]}`:                "nx.systems[0].id",
		`{"systems":[{"id":7}]}`:                 "nx.systems[0].id",
		`{"systems":[{"id":"a b"}]}`:             "nx.systems[0].id",
		`{"systems":[{"id":"x&scope=y"}]}`:       "nx.systems[0].id",
		`{"systems":[{"Id":"` + harbour + `"}]}`: "nx.systems[0].Id",
		`{"systems":[{"id":"` + mill + `"},{"id":"` + harbour + `","name":7}]}`:                                    "nx.systems[1].name",
		`{"systems":[{"id":"` + harbour + `","version":6.0}]}`:                                                     "nx.systems[0].version",
		`{"systems":[{"id":"` + harbour + `","status":null}]}`:                                                     "nx.systems[0].status",
		`{"systems":[{"id":"` + harbour + `","second_factor":"yes"}]}`:                                             "nx.systems[0].second_factor",
		`{"systems":[{"id":"` + harbour + `","secondFactor":true}]}`:                                               "nx.systems[0].secondFactor",
		`{"systems":[{"id":"` + harbour + `"},{"id":"` + mill + `"},{"id":"{` + strings.ToUpper(harbour) + `}"}]}`: "nx.systems[2].id",
	} {
		err := nx.CheckOrganisation([]byte(text))
		if (err == nil) != (field == "") || err != nil && (!errors.Is(err, identity.Invalid) || identity.Describe(err).Field != field || identity.Describe(err).Public == "") {
			t.Errorf("%s: %v, field %q; want %q", text, err, identity.Describe(err).Field, field)
		}
		if list := nx.Systems(identity.Organisation{Attributes: identity.Attributes{nx.Door: []byte(text)}}); field == "" && strings.Count(text, `"id"`) != len(list) {
			t.Errorf("%s: %d systems are read", text, len(list))
		}
	}
}

// A file says where it is wrong, in plans as well, and changes nothing; the verbs that keep what this door knows of an organisation
// refuse the same.
func TestMalformedSystemsAreReported(t *testing.T) {
	h := newHouse(t)
	for text, want := range map[string]string{
		"organisations:\n  - key: one\n    nx:\n      systems:\n        - id: " + harbour + "\n          version: 6.0\n":     "world.yaml:6: organisations[0].nx.systems[0].version: must be a string",
		"organisations:\n  - key: one\n  - key: two\n    nx: {systems: [{id: " + harbour + "},\n" + "      {name: Mill}]}\n": "world.yaml:5: organisations[1].nx.systems[1].id: must be the id of a system",
		"organisations:\n  - key: one\n    attributes:\n      nx:\n        system: []\n":                                     "world.yaml:5: organisations[0].attributes.nx.system: is not known here; it takes systems",
		"organisations:\n  - key: acme\n    name: ACME\n    nx: {systems:\n      7}\n":                                       "world.yaml:5: organisations[0].nx.systems: must be a list of systems, each with an id",
	} {
		w := must[*world.World](t)(world.Parse("world.yaml", []byte(text)))
		before := h.stand(t)
		for what, run := range map[string]func() error{
			"plan":  func() error { return second(h.Worlds.Plan(t.Context(), w, world.Options{})) },
			"apply": func() error { return second(h.Worlds.Apply(t.Context(), w, world.Options{})) },
		} {
			if err := run(); err == nil || err.Error() != want {
				t.Errorf("%s of\n%s%v, want %s", what, text, err, want)
			}
		}
		if h.stand(t) != before {
			t.Errorf("something was written by\n%s", text)
		}
	}
	op := identity.Caller{Door: "cli"}
	bad := identity.Attributes{nx.Door: []byte(`{"systems":[{"id":"` + harbour + `","second_factor":"yes"}]}`)}
	name := "Another"
	before := h.stand(t)
	for what, err := range map[string]error{
		"create": second(h.Manage.CreateOrganisation(t.Context(), op, manage.NewOrganisation{Key: "new", Attributes: bad})),
		"set":    second(h.Manage.UpdateOrganisation(t.Context(), op, acmeID, manage.OrganisationChange{Name: &name, Attributes: bad})),
		"merge":  second(h.Manage.UpdateOrganisation(t.Context(), op, acmeID, manage.OrganisationChange{Name: &name, Merge: bad})),
	} {
		if !errors.Is(err, identity.Invalid) || identity.Describe(err).Field != "nx.systems[0].second_factor" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if h.stand(t) != before {
		t.Error("something was written")
	}
	// What stood there before anybody looked keeps nobody from changing the rest.
	if err := h.Store.Update(t.Context(), func(tx identity.Tx) error {
		o, err := tx.Organisation(t.Context(), acmeID)
		if err != nil {
			return err
		}
		o.Attributes = bad
		return tx.UpdateOrganisation(t.Context(), o)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Manage.UpdateOrganisation(t.Context(), op, acmeID, manage.OrganisationChange{Name: &name}); err != nil {
		t.Errorf("another name: %v", err)
	}
	good := identity.Attributes{nx.Door: []byte(`{"systems":[]}`)}
	if _, err := h.Manage.UpdateOrganisation(t.Context(), op, acmeID, manage.OrganisationChange{Attributes: good}); err != nil {
		t.Errorf("put right: %v", err)
	}
}
