package titan_test

import (
	"os"
	"testing"
	"time"

	"gatehouse/internal/dialect/dialecttest"
)

func TestExchanges(t *testing.T) {
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
