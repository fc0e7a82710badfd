package nx

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

// Every Kind has its own answer, short enough for the clients of sign-in and refresh, and says nothing of our inside.
func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, kind := range identity.Kinds() {
		if _, known := answers[kind]; !known {
			t.Errorf("no answer for %q", kind)
			continue
		}
		status, m := refusal(kind.Wrap(errors.New("secret inside")))
		if status < 400 || status == http.StatusInternalServerError && kind != identity.Internal {
			t.Errorf("%v is answered with status %d", kind, status)
		}
		if m.Message == "" {
			t.Errorf("%v has no message", kind)
		}
		if m.AuthorizationInvalid && status != http.StatusUnauthorized {
			t.Errorf("%v finishes the client's tokens with status %d", kind, status)
		}
		if (status == http.StatusBadRequest) != (m.Field != nil) && kind != identity.Invalid && kind != identity.GrantUnsupported && kind != identity.ScopeInvalid {
			t.Errorf("%v: status %d, field %v", kind, status, m.Field)
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) <= 10 || len(body) >= 400 {
			t.Errorf("%v: body of %d bytes", kind, len(body))
		}
		if strings.Contains(string(body), "secret inside") || strings.Contains(string(body), "BackendMessage") {
			t.Errorf("%v tells the cause: %s", kind, body)
		}
	}
	for _, kind := range identity.Kinds() {
		word, known := results[kind]
		if !known || word.word == "" || word.status < 400 || word.status == http.StatusInternalServerError && kind != identity.Internal {
			t.Errorf("the cloud answers %q with %+v", kind, word)
		}
	}
	for kind, word := range nxWords {
		if word.status != answers[kind].status && kind != identity.TicketInvalid { // which is a field's elsewhere
			t.Errorf("%q has status %d in the Nx answer and %d elsewhere", kind, word.status, answers[kind].status)
		}
	}
	if len(answers) != len(identity.Kinds()) {
		t.Errorf("%d answers for %d kinds", len(answers), len(identity.Kinds()))
	}
}

func TestRefusal(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		want   message
	}{
		{"unclassified", errors.New("disk on fire"), 500, message{Message: "Something went wrong on our side."}},
		{"a field of ours", identity.Invalid.In("GrantType", "must be AccessToken or RefreshToken"), 400,
			message{Message: checkField, Field: &field{"must be AccessToken or RefreshToken", "GrantType"}}},
		{"a field of the core", identity.Conflict.In("email", "is taken"), 409, message{Message: checkField, Field: &field{"is taken", "Email"}}},
		{"the handler's word for it", at(identity.WeakPassword.In("password", "is short"), "NewPassword", identity.WeakPassword), 400,
			message{Message: checkField, Field: &field{"is short", "NewPassword"}}},
		{"another kind keeps its field", at(identity.Locked.After(time.Second, "wait"), "NewPassword", identity.WeakPassword), 429, message{Message: "Wait."}},
		{"a used token", identity.TokenReused.Because("was used"), 401, message{AuthorizationInvalid: true, Message: signIn}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, got := refusal(tt.err)
			gotText, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			wantText, err := json.Marshal(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if status != tt.status || string(gotText) != string(wantText) {
				t.Errorf("refusal = %d %s, want %d %s", status, gotText, tt.status, wantText)
			}
		})
	}
}
