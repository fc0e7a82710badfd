package oidc_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
)

// The two operations that must cost little more than their cryptography. Ratios against a floor over loopback are worked out
// elsewhere, on the whole server; these show where the time goes.

func (h *house) run(b *testing.B, path, client string, form url.Values) {
	b.Helper()
	body := form.Encode()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(client, secret)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	newHouse(b).run(b, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}})
}

func BenchmarkIntrospect(b *testing.B) {
	h := newHouse(b)
	b.Run("opaque", func(b *testing.B) {
		raw := h.Sessions.Opaque(h.session(b, coretest.Door, ""), identity.AccessToken)
		h.run(b, "/oauth2/introspect", "gateway", url.Values{"token": {raw}})
	})
	b.Run("jwt", func(b *testing.B) {
		_, got := h.ask(b, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}})
		h.run(b, "/oauth2/introspect", "gateway", url.Values{"token": {got.Access}})
	})
}
