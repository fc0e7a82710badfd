package oidc

import (
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, kind := range identity.Kinds() {
		a, ok := answers[kind]
		if !ok || a.status < 400 || a.code == "" {
			t.Errorf("%v has no answer: %+v", kind, a)
		}
		if _, said := refuse(&identity.Error{Kind: kind}); said.Description == "" {
			t.Errorf("%v is refused without words", kind)
		}
		if a.status >= 500 && kind != identity.Internal && kind != identity.Unavailable && kind != identity.Busy {
			t.Errorf("%v is answered with %d: the sender's fault looks like ours", kind, a.status)
		}
	}
}

func TestRefusalsOfAGrantAreOne(t *testing.T) {
	want := refusal{oauth.InvalidGrant, invalidGrant}
	for _, kind := range []identity.Kind{identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked, identity.TokenReused} {
		if a, said := refuse(&identity.Error{Kind: kind, Public: "something else"}); a.status != 400 || said != want {
			t.Errorf("%v: %d %+v, want 400 %+v", kind, a.status, said, want)
		}
	}
}

func TestWhatBrokeStaysInside(t *testing.T) {
	if _, said := refuse(&identity.Error{Kind: identity.Internal, Public: "no such table"}); said.Description != "something went wrong here" {
		t.Errorf("refused with %q", said.Description)
	}
}
