package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The walk ends at the first answer that is not as expected: nobody should have to compare by eye.
func TestWalkEndsAtOtherAnswers(t *testing.T) {
	house := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"user":{"name":"Dana","hubs":[{"id":1}]},"token":"abc","none":null}`)
	}))
	defer house.Close()
	tests := []struct{ name, show, keep, want string }{
		{"as expected", `user.name="Dana"`, "token", ""},
		{"in a list", `user.hubs.0.id=1`, "user.name", ""},
		{"null", "none=null", "token", ""},
		{"another value", `user.name="Tove"`, "token", `answered user.name = "Dana", want "Tove"`},
		{"nothing there", "user.hubs.1.id", "token", "the answer has no user.hubs.1.id"},
		{"no object", "token.of", "token", "the answer has no token.of"},
		{"before the list", "user.hubs.-1", "token", "the answer has no user.hubs.-1"},
		{"nothing to keep", "token", "secret", "the answer has no secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &walk{e: &environment{Process: Process{Out: io.Discard}}, base: house.URL, vars: map[string]string{}}
			err := d.play(t.Context(), exchange{method: "GET", path: "/", status: 200, show: []string{tt.show}, keep: map[string]string{"kept": tt.keep}})
			if tt.want == "" && (err != nil || d.vars["kept"] == "" || strings.Contains(d.vars["kept"], `"`)) || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("play = %v, kept %q; want %q", err, d.vars["kept"], tt.want)
			}
			if err := d.play(t.Context(), exchange{method: "GET", path: "/", status: 401, show: []string{tt.show}}); err == nil || err.Error() != "answered 200 OK, want 401" {
				t.Errorf("another status: %v", err)
			}
		})
	}
}
