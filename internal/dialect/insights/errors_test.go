package insights

import (
	"net/http"
	"testing"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, kind := range identity.Kinds() {
		a, ok := answers[kind]
		if !ok || a.status < 400 || a.code == "" || a.words == "" {
			t.Errorf("%v has no whole answer: %+v", kind, a)
		}
		if a.status >= 500 && kind != identity.Internal && kind != identity.Unavailable && kind != identity.Busy {
			t.Errorf("%v is answered with %d: the sender's fault looks like ours", kind, a.status)
		}
	}
}

func TestRefuse(t *testing.T) {
	at := func(method oauth.Method, err error) error { return &atToken{err, method} }
	tests := []struct {
		name      string
		err       error
		status    int
		want      refusal
		challenge string
		retry     string
	}{
		{"client by parameters", at(oauth.Form, identity.ClientInvalid.Because("x")), 401,
			refusal{Error: "invalid_client", Description: "Bad client credentials"},
			`Form realm="oauth2/client", error="invalid_client", error_description="Bad client credentials"`, ""},
		{"client by Basic", at(oauth.Basic, identity.ClientInvalid), 401,
			refusal{Error: "invalid_client", Description: "Bad client credentials"}, `Basic realm="oauth2/client"`, ""},
		{"no client", at(oauth.NoClient, identity.ClientMissing), 401,
			refusal{Error: "unauthorized", Description: fullAuthentication}, `Basic realm="oauth2/client"`, ""},
		{"expired refresh token", at(oauth.Form, identity.TokenExpired), 401,
			refusal{Error: "invalid_token", Description: "Invalid refresh token (expired)"},
			`Form realm="oauth2/client", error="invalid_token", error_description="Invalid refresh token (expired)"`, ""},
		{"expired access token", identity.TokenExpired, 401,
			refusal{Error: "invalid_token", Description: "Access token expired"},
			`Bearer realm="oauth2-resource", error="invalid_token", error_description="Access token expired"`, ""},
		{"no access token", identity.TokenMissing, 401,
			refusal{Error: "unauthorized", Description: fullAuthentication},
			`Bearer realm="oauth2-resource", error="unauthorized", error_description="` + fullAuthentication + `"`, ""},
		{"locked", at(oauth.Form, identity.Locked.After(90*time.Second+time.Millisecond, "x")), 429,
			refusal{Error: "temporarily_unavailable", Description: "Too many failures, try again later"}, "", "91"},
		{"busy", at(oauth.Form, identity.Busy), 503,
			refusal{Error: "temporarily_unavailable", Description: "Service is busy"}, "", "1"},
		{"an error that nobody classified", at(oauth.Form, http.ErrBodyNotAllowed), 500,
			refusal{Error: "server_error", Description: internalError}, "", ""},
		{"scope", at(oauth.Form, wrongScope("read write")), 400,
			refusal{Error: "invalid_scope", Description: "Invalid scope", Scope: "read write"}, "", ""},
		{"broken request", at(oauth.NoClient, identity.Invalid.Because("a parameter is repeated")), 400,
			refusal{Error: "invalid_request", Description: "a parameter is repeated"}, "", ""},
		{"wrong words of the core stay inside", at(oauth.Form, identity.BadCredential.Because("login or password is wrong")), 400,
			refusal{Error: "invalid_grant", Description: "Bad credentials"}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			status, got := refuse(h, tt.err)
			if status != tt.status || got != tt.want {
				t.Errorf("refuse = %d %+v, want %d %+v", status, got, tt.status, tt.want)
			}
			if c := h.Get("WWW-Authenticate"); c != tt.challenge {
				t.Errorf("WWW-Authenticate: %s, want %s", c, tt.challenge)
			}
			if r := h.Get("Retry-After"); r != tt.retry {
				t.Errorf("Retry-After: %s, want %s", r, tt.retry)
			}
			if h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" {
				t.Errorf("a refusal may be cached: %v", h)
			}
		})
	}
}
