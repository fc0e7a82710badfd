package titan_test

import (
	"net/http"
	"os"
	"strings"
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
		h, provider := newHouseWithProvider(t)
		provider.Code = "code-of-the-provider"
		// Whoever is sent to the provider agrees there.
		agreeing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.Handler.ServeHTTP(w, r)
			if to := w.Header().Get("Location"); strings.HasPrefix(to, provider.URL+"/authorize") {
				provider.Approve(to)
			}
		})
		return dialecttest.House{Public: agreeing, Advance: h.Clock.Advance, Captured: map[string]string{
			"provider": provider.URL,
			"code":     h.code(t, 0), "next code": h.code(t, 30*time.Second), "stale code": h.code(t, -2*time.Minute),
		}}
	}})
}
