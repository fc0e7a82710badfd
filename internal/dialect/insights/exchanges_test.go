package insights_test

import (
	"os"
	"testing"

	"gatehouse/internal/core/session"
	"gatehouse/internal/dialect/dialecttest"
)

func TestExchanges(t *testing.T) {
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(r *session.Rules) { r.Rotates = story == "refresh_rotating" })
		return dialecttest.House{Public: h.handler, Advance: h.Clock.Advance}
	}})
}
