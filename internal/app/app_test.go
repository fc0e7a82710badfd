package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/app/apptest"
)

func TestHealth(t *testing.T) {
	h := apptest.New(t, apptest.Options{})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/nowhere": http.StatusNotFound, "//": http.StatusNotFound, "/auth/status": http.StatusOK,
		"/.well-known/openid-configuration": http.StatusOK, "/oauth2/jwks": http.StatusOK,
	} {
		w := httptest.NewRecorder()
		h.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("GET %s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
}

// Metrics are for the internal listener only, and count what was asked.
func TestMetrics(t *testing.T) {
	h := apptest.New(t, apptest.Options{})
	get := func(handler http.Handler, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if w := get(h.Handler, "/metrics"); w.Code != http.StatusNotFound {
		t.Errorf("the public listener answers %d for /metrics", w.Code)
	}
	get(h.Handler, "/auth/configuration") // without a token: refused
	body := get(h.Service, "/metrics").Body.String()
	for _, want := range []string{
		`gatehouse_requests_total{door="nx",op="configuration",status="401"} 1`, `gatehouse_refusals_total{door="nx",reason="token missing"} 1`,
		"gatehouse_hashes_running 0", "go_goroutines", "gatehouse_feed_age_seconds",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
}
