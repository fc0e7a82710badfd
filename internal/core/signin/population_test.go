package signin_test

import (
	"errors"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A door for some kinds of subjects does not know the others, and counts guesses for them as for strangers.
func TestADoorForOneKind(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core := coretest.New(t, store)
		for door, kind := range map[identity.Door]identity.SubjectKind{coretest.Door: identity.Person, coretest.Lax: identity.Customer} {
			rules := core.Sessions.Rules[door]
			rules.Kinds = []identity.SubjectKind{kind}
			core.Sessions.Rules[door] = rules
		}
		person := core.Person()
		customer := core.Person(func(s *identity.Subject, _ *identity.Credential) { s.Kind = identity.Customer })
		for _, tt := range []struct {
			who  identity.Subject
			door identity.Door
			want error
		}{
			{person, coretest.Door, nil}, {person, coretest.Lax, identity.BadCredential},
			{customer, coretest.Lax, nil}, {customer, coretest.Door, identity.BadCredential},
		} {
			in := signin.PasswordInput{Caller: coretest.Caller(tt.door), Login: tt.who.Email, Password: coretest.Password}
			if _, err := core.SignIn.Password(t.Context(), in); !errors.Is(err, tt.want) {
				t.Errorf("a %s at %s: %v, want %v", tt.who.Kind, tt.door, err, tt.want)
			}
			err := store.Update(t.Context(), func(tx identity.Tx) error {
				_, err := core.Sessions.Begin(t.Context(), tx, session.Start{Caller: in.Caller, Subject: tt.who})
				return err
			})
			if (err == nil) != (tt.want == nil) || err != nil && !errors.Is(err, identity.Denied) {
				t.Errorf("a session of a %s at %s: %v", tt.who.Kind, tt.door, err)
			}
		}
		for range 9 {
			_, _ = core.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Lax), Login: person.Email, Password: "wrong"})
		}
		_, err := core.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Lax), Login: person.Email, Password: "wrong"})
		if !errors.Is(err, identity.Locked) {
			t.Errorf("after ten guesses: %v, want %v", err, identity.Locked)
		}
	})
}
