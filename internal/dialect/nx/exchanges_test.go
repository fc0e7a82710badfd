package nx_test

import (
	_ "embed"
	"strings"
	"testing"

	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/store/storetest"
)

//go:embed openapi.yaml
var openAPI []byte

func TestExchanges(t *testing.T) { exchanges(t) }

// The same bytes come from the other engine.
func TestExchangesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	exchanges(t)
}

func exchanges(t *testing.T) {
	t.Helper()
	dialecttest.Replay(t, dialecttest.Options{Spec: openAPI, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t)
		captured := map[string]string{}
		if strings.HasPrefix(story, "reset") {
			captured["mailed"] = h.forgot(t, "ada@example.test").Query().Get("token")
		}
		if strings.HasPrefix(story, "licen") {
			h.license(t)
		}
		return dialecttest.House{Public: h.handler, Advance: h.Clock.Advance, Captured: captured}
	}})
}
