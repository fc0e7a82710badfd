package openwifi_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkValidateToken is the hot path of the other services; Floor is the least that could answer it.
func BenchmarkValidateToken(b *testing.B) {
	h := newHouse(b)
	h.world(b)
	got := h.signedIn(b, "ines@example.com", "Harbour-42")
	request := func() *http.Request {
		r := httptest.NewRequest("GET", "/api/v1/validateToken?token="+got.Access, nil)
		r.Header.Set("X-API-KEY", serviceKey)
		r.Header.Set("X-INTERNAL-NAME", "https://gw.example.com:16002")
		return r
	}
	body := serve(h.service, request()).Body.Bytes()
	known := map[[32]byte][]byte{sha256.Sum256([]byte(got.Access)): body}
	floor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(known[sha256.Sum256([]byte(r.URL.Query().Get("token")))])
	})
	for _, side := range []struct {
		name    string
		handler http.Handler
	}{{"Floor", floor}, {"Door", h.service}} {
		b.Run(side.name, func(b *testing.B) {
			r := request()
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				side.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
