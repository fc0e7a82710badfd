package httpkit

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDocument(t *testing.T) {
	doc := OpenAPI([]byte("openapi: 3.1.0\nx: &a {b: [1]}\ny: *a\n"))
	tests := []struct {
		ifNoneMatch string
		status      int
	}{
		{"", 200}, {`"other"`, 200}, {doc.ETag, 304}, {"W/" + doc.ETag, 304}, {`"other", ` + doc.ETag, 304}, {"*", 304}, {"nonsense", 200},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", tt.ifNoneMatch)
		w := httptest.NewRecorder()
		doc.ServeHTTP(w, r)
		if w.Code != tt.status || w.Header().Get("ETag") != doc.ETag {
			t.Errorf("If-None-Match %q: %d with %q, want %d", tt.ifNoneMatch, w.Code, w.Header().Get("ETag"), tt.status)
		}
		want := `{"openapi":"3.1.0","x":{"b":[1]},"y":{"b":[1]}}`
		if tt.status == 304 {
			want = ""
		}
		if w.Body.String() != want {
			t.Errorf("If-None-Match %q: body %s", tt.ifNoneMatch, w.Body)
		}
	}
}
