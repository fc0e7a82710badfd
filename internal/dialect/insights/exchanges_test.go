package insights_test

import (
	"os"
	"testing"

	"gatehouse/internal/core/session"
	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/store/storetest"
)

func TestExchanges(t *testing.T) { exchanges(t) }

// The same bytes come from the other engine.
func TestExchangesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	exchanges(t)
}

func exchanges(t *testing.T) {
	t.Helper()
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(r *session.Rules) { r.Rotates = story == "refresh_rotating" })
		return dialecttest.House{Public: h.handler, Advance: h.Clock.Advance}
	}})
}
