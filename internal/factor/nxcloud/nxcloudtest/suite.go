package nxcloudtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

// Suite is what nx.md 5.3 has every cloud answer, as a client sees it. The small cloud passes it, so that it stands for the real one, and
// a house that is a cloud does, so that clients of the one work with the other.
type Suite struct {
	Client *nxcloud.Client
	Now    func() time.Time
	Code   func(email string) string // as the cloud's page gives one to whoever signs in there

	Plain, Factor Account // the second with TOTP, of which no code was used yet
	Shut          Account // Blocked
	New           Account // NotActivated
	Open          System  // of Plain and Factor
	Strict        System  // of Plain alone, and WantsFactor
	Nobodys       string  // id of a system that none of them may enter
}

// Run holds the cloud against it.
func (s Suite) Run(t *testing.T) {
	t.Run("password", s.password)
	t.Run("second factor", s.factor)
	t.Run("code", s.code)
	t.Run("scopes", s.scopes)
	t.Run("refresh", s.refresh)
	if !s.Client.Reachable() {
		t.Error("refusals are answers")
	}
}

func refused(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func (s Suite) signIn(t *testing.T, a Account, system string) nxcloud.Grant {
	t.Helper()
	g, err := s.Client.Password(t.Context(), a.Email, identity.Secret(a.Password), scope(t, system))
	if err != nil || a.TOTP == "" && (g.Access == "" || g.FactorDue()) || a.TOTP != "" && (g.Access != "" || !g.FactorDue()) || g.Refresh == "" {
		t.Fatalf("%s: factor due %v, %v", a.Email, g.FactorDue(), err)
	}
	if !g.ExpiresAt.After(s.Now()) || g.Scope != scope(t, system) {
		t.Errorf("%s: ends at %v, for %q", a.Email, g.ExpiresAt, g.Scope)
	}
	return g
}

func scope(t *testing.T, system string) string {
	t.Helper()
	if system == "" {
		return ""
	}
	text, err := nxcloud.SystemScope(system)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s Suite) is(t *testing.T, access identity.Secret, a Account) {
	t.Helper()
	who, err := s.Client.Account(t.Context(), access)
	if err != nil || who != (nxcloud.Account{ID: a.ID, Email: a.Email, Name: a.Name}) {
		t.Errorf("%+v, %v, want %s", who, err, a.Email)
	}
}

func (s Suite) systems(t *testing.T, access identity.Secret) (ids []string) {
	t.Helper()
	list, err := s.Client.Systems(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range list {
		ids = append(ids, system.ID)
	}
	slices.Sort(ids)
	return ids
}

func (s Suite) password(t *testing.T) {
	ctx := t.Context()
	g := s.signIn(t, s.Plain, "")
	s.is(t, g.Access, s.Plain)
	info, err := s.Client.Token(ctx, g.Access)
	if err != nil || info.Username != s.Plain.Email || info.Scope != "" || info.ExpiresAt.Sub(g.ExpiresAt).Abs() > time.Minute {
		t.Errorf("%+v, %v", info, err)
	}
	both := []string{s.Open.ID, s.Strict.ID}
	slices.Sort(both)
	if ids := s.systems(t, g.Access); !slices.Equal(ids, both) {
		t.Errorf("systems %v, want %v", ids, both)
	}
	for what, call := range map[string]func(context.Context, identity.Secret) error{
		"account": func(ctx context.Context, token identity.Secret) error { return second(s.Client.Account(ctx, token)) },
		"systems": func(ctx context.Context, token identity.Secret) error { return second(s.Client.Systems(ctx, token)) },
	} {
		refused(t, what+" by a refresh token", call(ctx, g.Refresh), identity.TokenInvalid)
		refused(t, what+" by no token of the cloud", call(ctx, "nxcdb-none"), identity.TokenInvalid)
	}
	for range 2 {
		if err := s.Client.Revoke(ctx, g.Access); err != nil {
			t.Errorf("revoked: %v", err)
		}
	}
	refused(t, "account of a revoked token", second(s.Client.Account(ctx, g.Access)), identity.TokenInvalid)
	refused(t, "look-up of a revoked token", second(s.Client.Token(ctx, g.Access)), identity.TokenInvalid)
	refused(t, "systems of a revoked token", second(s.Client.Systems(ctx, g.Access)), identity.TokenInvalid)

	refused(t, "a wrong password", second(s.Client.Password(ctx, s.Plain.Email, "wrong", "")), identity.BadCredential)
	refused(t, "somebody unknown", second(s.Client.Password(ctx, "nobody@nowhere.test", "wrong", "")), identity.BadCredential)
	refused(t, "a blocked account", second(s.Client.Password(ctx, s.Shut.Email, identity.Secret(s.Shut.Password), "")), identity.Suspended)
	refused(t, "one not activated", second(s.Client.Password(ctx, s.New.Email, identity.Secret(s.New.Password), "")), identity.Unverified)
	refused(t, "a blocked account's wrong password", second(s.Client.Password(ctx, s.Shut.Email, "wrong", scope(t, s.Open.ID))), identity.BadCredential)
}

func second[T any](_ T, err error) error { return err }

func (s Suite) factor(t *testing.T) {
	ctx := t.Context()
	g := s.signIn(t, s.Factor, "")
	refused(t, "the limited token as a bearer", second(s.Client.Account(ctx, g.Limited)), identity.TokenInvalid)
	refused(t, "its refresh token before the code", limited(s.Client.Refresh(ctx, g.Refresh, "")), identity.TokenInvalid)
	code, err := totp.Code(s.Factor.TOTP, s.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "12345", "1234567", "12345a", "../../", other(code)} {
		refused(t, wrong, s.Client.TOTP(ctx, g.Limited, wrong), identity.BadCode)
	}
	if err := s.Client.TOTP(ctx, g.Limited, code); err != nil {
		t.Fatal(err)
	}
	s.is(t, g.Limited, s.Factor) // lifted
	if again, err := s.Client.Refresh(ctx, g.Refresh, ""); err != nil || again.FactorDue() {
		t.Errorf("the refresh token after the code: %v", err)
	}
	again := s.signIn(t, s.Factor, "")
	refused(t, "a code twice", s.Client.TOTP(ctx, again.Limited, code), identity.BadCode)
	refused(t, "a code for an unknown token", s.Client.TOTP(ctx, "nxcdb-none", code), identity.BadCode)
}

// limited takes tokens that are still limited for a refusal: both keep whoever has no code out.
func limited(g nxcloud.Grant, err error) error {
	if err == nil && g.FactorDue() && g.Access == "" {
		return identity.TokenInvalid
	}
	return err
}

func other(code string) string {
	if code[0] == '9' {
		return "0" + code[1:]
	}
	return string(code[0]+1) + code[1:]
}

func (s Suite) code(t *testing.T) {
	code := identity.Secret(s.Code(s.Plain.Email))
	g, err := s.Client.Code(t.Context(), code)
	if err != nil || g.FactorDue() || g.Refresh == "" {
		t.Fatalf("%v", err)
	}
	s.is(t, g.Access, s.Plain)
	refused(t, "a code twice", second(s.Client.Code(t.Context(), code)), identity.TicketInvalid)
	refused(t, "an unknown code", second(s.Client.Code(t.Context(), "unknown")), identity.TicketInvalid)
}

func (s Suite) scopes(t *testing.T) {
	ctx := t.Context()
	whole := s.signIn(t, s.Plain, "")
	narrow, err := s.Client.Refresh(ctx, whole.Refresh, scope(t, s.Open.ID))
	if err != nil || narrow.Scope != scope(t, s.Open.ID) || narrow.Access == "" {
		t.Fatalf("%q, %v", narrow.Scope, err)
	}
	s.is(t, narrow.Access, s.Plain)
	if ids := s.systems(t, narrow.Access); !slices.Equal(ids, []string{s.Open.ID}) {
		t.Errorf("systems %v by a token of one", ids)
	}
	refused(t, "a scope widened", second(s.Client.Refresh(ctx, narrow.Refresh, scope(t, s.Strict.ID))), identity.Denied)
	err = second(s.Client.Refresh(ctx, whole.Refresh, scope(t, s.Strict.ID)))
	refused(t, "a system that wants a factor", err, identity.FactorRequired)
	refused(t, "a system that wants a factor", err, nxcloud.ErrNoFactor)
	refused(t, "a system of others", second(s.Client.Refresh(ctx, whole.Refresh, scope(t, s.Nobodys))), identity.Denied)
	refused(t, "a password for a system of others", second(s.Client.Password(ctx, s.Factor.Email, identity.Secret(s.Factor.Password), scope(t, s.Strict.ID))), identity.Denied)
	s.signIn(t, s.Plain, s.Open.ID)
}

func (s Suite) refresh(t *testing.T) {
	ctx := t.Context()
	g := s.signIn(t, s.Plain, "")
	refused(t, "an access token", second(s.Client.Refresh(ctx, g.Access, "")), identity.TokenInvalid)
	refused(t, "an unknown token", second(s.Client.Refresh(ctx, "nxcdb-none", "")), identity.TokenInvalid)
	next, err := s.Client.Refresh(ctx, g.Refresh, "")
	if err != nil || next.Scope != "" {
		t.Fatalf("%q, %v", next.Scope, err)
	}
	s.is(t, next.Access, s.Plain)
	if err := s.Client.Revoke(ctx, next.Refresh); err != nil {
		t.Error(err)
	}
	refused(t, "a revoked refresh token", second(s.Client.Refresh(ctx, next.Refresh, "")), identity.TokenInvalid)
}
