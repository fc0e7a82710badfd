package titan_test

import (
	"os"
	"testing"
	"time"

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
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, _ string) dialecttest.House {
		h := newHouse(t)
		return dialecttest.House{Public: h.Handler, Advance: h.Clock.Advance, Captured: map[string]string{
			"code": h.code(t, 0), "next code": h.code(t, 30*time.Second), "stale code": h.code(t, -2*time.Minute),
		}}
	}})
}
