package app_test

import (
	"net/http"
	"net/http/httptest"
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
