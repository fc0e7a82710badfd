package cloud_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const (
	edge     = coretest.Door          // whose people sign in by a cloud
	clouds   = identity.Door("cloud") // of this house as one
	client   = "edge"
	portal   = "https://portal.test/back"
	other    = "https://other.test/back"
	harbour  = "8d1c9d0a-53f4-4bb8-8a15-0c3f6b7e2d41"
	vault    = "3f0b9a52-6d0e-4a8f-9d5e-1f1f7c7d9b10" // wants a second factor
	password = "correct horse 7 battery"              // of everybody at the upstream cloud
)

var (
	atEdge  = coretest.Caller(edge)
	atCloud = coretest.Caller(clouds)
)

// form reads the cloud's tokens as they are printed, without the door's prefix.
type form struct{}

func (form) Door() identity.Door   { return clouds }
func (form) Looks(raw string) bool { return len(raw) == 64 || len(raw) == 43 }
func (f form) Read(raw string) (token.Facts, error) {
	if !f.Looks(raw) {
		return token.Facts{}, identity.TokenInvalid.Because("not a token")
	}
	sum := sha256.Sum256([]byte(raw))
	return token.Facts{Door: clouds, Opaque: sum[:]}, nil
}

type house struct {
	*coretest.Core
	below
	upstream *nxcloudtest.Cloud
	t        *testing.T
}

// below gives the verbs their names where the core has none of the same.
type below struct{ *cloud.Service }

// newHouse is a house whose own people are the accounts.
func newHouse(t *testing.T, store identity.Store) *house {
	t.Helper()
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	core.Sessions.Rules[clouds] = session.Rules{
		AccessTTL: time.Hour, SessionTTL: 30 * 24 * time.Hour, MaxTTL: 365 * 24 * time.Hour, Rotates: true,
		Opaque: []identity.TokenKind{identity.AccessToken, identity.RefreshToken},
	}
	m := &manage.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box, Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}
	s := &cloud.Service{
		ClientID: client, Store: store, SignIn: core.SignIn, Sessions: core.Sessions, Manage: m, Audit: core.Passwords.Log, Box: core.Box,
		Federation: &federation.Service{
			Store: store, Manage: m, SignIn: core.SignIn, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box, Now: core.Clock.Now, Rand: core.SignIn.Rand,
		},
		Log: slog.New(slog.DiscardHandler), Now: core.Clock.Now, Wall: time.Now, Rand: core.SignIn.Rand, Door: clouds, Form: form{},
		Systems: func(o identity.Organisation) (list []cloud.System) {
			for id := range strings.FieldsSeq(o.Name) { // what its members may enter
				list = append(list, cloud.System{ID: id, WantsFactor: id == vault})
			}
			return list
		},
	}
	return &house{core, below{s}, nil, t}
}

// newUpstream is one whose accounts another cloud knows.
func newUpstream(t *testing.T, store identity.Store) *house {
	t.Helper()
	h := newHouse(t, store)
	h.upstream = nxcloudtest.New(t, h.Clock.Now, []nxcloudtest.Account{
		{ID: "c-clara", Email: "clara@cloud.test", Name: "Clara", Password: password},
		{ID: "c-otto", Email: "otto@cloud.test", Name: "Otto", Password: password, TOTP: coretest.Secret},
		{ID: "c-olga", Email: "olga@cloud.test", Name: "Olga", Password: password, TOTP: coretest.Secret},
		{ID: "c-odd", Email: "odd@cloud..test", Name: "Odd", Password: password},
	}, []nxcloudtest.System{{ID: harbour, Name: "Harbour", Users: []string{"clara@cloud.test", "otto@cloud.test"}}})
	var err error
	h.Upstream, err = nxcloud.New(nxcloud.Options{Base: h.upstream.URL, ClientID: client, Now: h.Clock.Now, Log: h.Log})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) want(what string, err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// member makes somebody who may enter the systems.
func (h *house) member(who identity.Subject, systems ...string) identity.Membership {
	h.t.Helper()
	op := identity.Caller{Door: "cli"}
	o, err := h.Manage.CreateOrganisation(h.t.Context(), op, manage.NewOrganisation{Name: strings.Join(systems, " ")})
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := h.Manage.SaveMembership(h.t.Context(), op, identity.Membership{SubjectID: who.ID, OrganisationID: o.ID})
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// state opens one; with live, to link.
func (h *house) state(live *session.Live, redirect string) identity.Secret {
	h.t.Helper()
	caller := atEdge
	if live != nil {
		caller = live.Caller(caller)
	}
	secret, err := h.OpenState(h.t.Context(), caller, live, redirect)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// code is what the page of this house gives somebody.
func (h *house) code(who identity.Subject, clientID, redirect string) identity.Secret {
	h.t.Helper()
	out, err := h.Authorize(h.t.Context(), cloud.AuthorizeInput{Caller: atCloud, Login: who.Email, Password: coretest.Password, Client: clientID, Redirect: redirect})
	if err != nil || out.Token == "" || out.Session.ID != "" {
		h.t.Fatalf("at the page: %+v, %v", out, err)
	}
	return out.Token
}

func (h *house) signedIn(who identity.Subject) *session.Live {
	h.t.Helper()
	out, err := h.SignIn.Password(h.t.Context(), signin.PasswordInput{Caller: atEdge, Login: who.Email, Password: coretest.Password})
	if err != nil {
		h.t.Fatal(err)
	}
	return &session.Live{Session: out.Session, Subject: who}
}

func (h *house) access(s identity.Session) string { return h.Sessions.Opaque(s, identity.AccessToken) }
func (h *house) refresh(s identity.Session) string {
	return h.Sessions.Opaque(s, identity.RefreshToken)
}

func (h *house) linkedTo(id identity.SubjectID) (list []string) {
	h.t.Helper()
	h.Core.View(func(r identity.Reader) error {
		list = nil
		all, err := r.LinkedIdentitiesOf(h.t.Context(), id)
		for _, l := range all {
			list = append(list, l.ExternalID)
		}
		return err
	})
	return list
}

// sixteen runs at once and counts who wins; all others must be refused with want.
func (h *house) sixteen(what string, want error, do func() error) {
	h.t.Helper()
	var winners atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	for range 16 {
		all.Go(func() {
			<-gate
			if err := do(); err == nil {
				winners.Add(1)
			} else if !errors.Is(err, want) {
				h.t.Errorf("%s: %v, want %v", what, err, want)
			}
		})
	}
	close(gate)
	all.Wait()
	if n := winners.Load(); n != 1 {
		h.t.Errorf("%s: %d winners", what, n)
	}
}

// The page's way in, of this house: a state is good once, for ten minutes, for its address; a code once, for a minute, for its client
// and address.
func TestCode(t *testing.T) {
	stranger := atEdge
	stranger.Door = coretest.Lax
	type given struct {
		in       cloud.CodeInput
		clientID string
		redirect string // that the code was made for
	}
	tests := []struct {
		name       string
		spoil      func(h *house, g *given)
		state      time.Duration // before the code is made
		code       time.Duration // before it is brought
		want       error         // nil: signed in
		stateStays bool          // good for its own page still
	}{
		{name: "right"},
		{name: "from its page", spoil: func(_ *house, g *given) { g.in.Origin = "https://PORTAL.test:443" }},
		{name: "at the last moment", state: 10*time.Minute - time.Microsecond},
		{name: "a code at its last moment", code: time.Minute - time.Microsecond},
		{name: "ten minutes", state: 10 * time.Minute, want: cloud.ErrState},
		{name: "a code of a minute", code: time.Minute, want: identity.BadCredential},
		{name: "no such state", spoil: func(_ *house, g *given) { g.in.State = "x" }, want: cloud.ErrState, stateStays: true},
		{name: "no state", spoil: func(_ *house, g *given) { g.in.State = "" }, want: cloud.ErrState, stateStays: true},
		{name: "another door's", spoil: func(_ *house, g *given) { g.in.Caller = stranger }, want: cloud.ErrState, stateStays: true},
		{name: "from another page", spoil: func(_ *house, g *given) { g.in.Origin = "https://portal.test.evil.test" }, want: cloud.ErrState, stateStays: true},
		{name: "from a page without a name", spoil: func(_ *house, g *given) { g.in.Origin = "null" }, want: cloud.ErrState, stateStays: true},
		{name: "a code for another address", spoil: func(_ *house, g *given) { g.redirect = other }, want: cloud.ErrState},
		{name: "a code for another client", spoil: func(_ *house, g *given) { g.clientID = "thief" }, want: identity.BadCredential},
		{name: "no such code", spoil: func(_ *house, g *given) { g.in.Code = "x" }, want: identity.BadCredential},
		{name: "a state for a code", spoil: func(_ *house, g *given) { g.in.Code = g.in.State }, want: identity.BadCredential},
		{name: "a code for a state", spoil: func(h *house, g *given) { g.in.State = h.code(h.Person(), client, portal) }, want: cloud.ErrState, stateStays: true},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				ctx, who := t.Context(), h.Person()
				own := h.state(nil, portal)
				g := given{cloud.CodeInput{Caller: atEdge, State: own}, client, portal}
				h.Clock.Advance(tt.state)
				if tt.spoil != nil {
					tt.spoil(h, &g)
				}
				if g.in.Code == "" {
					g.in.Code = h.code(who, g.clientID, g.redirect)
				}
				h.Clock.Advance(tt.code)
				out, err := h.Service.Code(ctx, g.in)
				h.want("code", err, tt.want)
				if tt.want == nil && (out.Subject.ID != who.ID || out.Session.Door != edge || out.Session.SubjectID != who.ID) {
					t.Errorf("signed in: %+v", out)
				}
				if tt.want != nil && out.Session.ID != "" {
					t.Errorf("refused, and yet a session: %+v", out)
				}
				// The state again, with a code that is good.
				_, err = h.Service.Code(ctx, cloud.CodeInput{Caller: atEdge, State: own, Code: h.code(who, client, portal)})
				if tt.stateStays {
					h.want("its own state afterwards", err, nil)
				} else {
					h.want("the state again", err, cloud.ErrState)
				}
				if tt.want == nil { // and the code
					_, err = h.Service.Code(ctx, cloud.CodeInput{Caller: atEdge, State: h.state(nil, portal), Code: g.in.Code})
					h.want("the code again", err, identity.BadCredential)
				}
			})
		}
		h.t = t
		in := cloud.CodeInput{Caller: atEdge, State: h.state(nil, portal), Code: h.code(h.Person(), client, portal)}
		h.sixteen("a state", cloud.ErrState, func() error { _, err := h.Service.Code(t.Context(), in); return err })
		in.Code = h.code(h.Person(), client, portal)
		states := make(chan identity.Secret, 16)
		for range 16 {
			states <- h.state(nil, portal)
		}
		h.sixteen("a code", identity.BadCredential, func() error {
			mine := in
			mine.State = <-states
			_, err := h.Service.Code(t.Context(), mine)
			return err
		})
	})
}

// The same code at the cloud's own call: once, for a minute, for its client, and for its address where one is named.
func TestGrantCode(t *testing.T) {
	tests := []struct {
		name, client, redirect string
		late                   time.Duration
		want                   error
	}{
		{"no address named", client, "", 0, nil},
		{"the address", client, portal, 0, nil},
		{"another address", client, other, 0, identity.BadCredential},
		{"another spelling", client, portal + "/", 0, identity.BadCredential},
		{"another client", "thief", "", 0, identity.BadCredential},
		{"another client with the address", "thief", portal, 0, identity.BadCredential},
		{"no client", "", portal, 0, identity.BadCredential},
		{"at the last moment", client, portal, time.Minute - time.Microsecond, nil},
		{"a minute", client, portal, time.Minute, identity.BadCredential},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				who := h.Person()
				code := h.code(who, client, portal)
				h.Clock.Advance(tt.late)
				g, err := h.GrantCode(t.Context(), cloud.GrantInput{Caller: atCloud, Client: tt.client}, code, tt.redirect)
				h.want("code", err, tt.want)
				if got := g.Session.SubjectID == who.ID; got != (tt.want == nil) {
					t.Errorf("signed in: %+v", g)
				}
				_, err = h.GrantCode(t.Context(), cloud.GrantInput{Caller: atCloud, Client: client}, code, portal)
				h.want("again: whoever shows it wrongly has spent it", err, identity.BadCredential)
			})
		}
		h.t = t
		code := h.code(h.Person(), client, portal)
		h.sixteen("a code", identity.BadCredential, func() error {
			_, err := h.GrantCode(t.Context(), cloud.GrantInput{Caller: atCloud, Client: client}, code, portal)
			return err
		})
	})
}

// A scope is narrowed and never widened, and asks again whether its holder may enter.
func TestScopes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx, who := t.Context(), h.Person()
		const mill, foreign = "5b1d7c1e-3a55-4c55-8b1e-2f0d9a1c7e33", "6c2e8d2f-4b66-4d66-9c2f-3a1e0b2d8f44"
		membership := h.member(who, harbour, vault, mill)
		ask := func(system string) cloud.GrantInput {
			in := cloud.GrantInput{Caller: atCloud, Client: client}
			if system != "" {
				in.Scope = cloud.ScopeOf(system)
			}
			return in
		}
		again := func(of identity.Session, system string) (cloud.Granted, error) {
			return h.GrantRefresh(ctx, ask(system), identity.Secret(h.refresh(of)))
		}
		whole, err := h.GrantPassword(ctx, ask(""), who.Email, coretest.Password, "")
		h.want("the whole cloud", err, nil)
		narrow, err := again(whole.Session, harbour)
		h.want("narrowed", err, nil)
		if scopes := narrow.Session.Scopes; len(scopes) != 1 || scopes[0] != cloud.ScopeOf(harbour) || narrow.Session.ID == whole.Session.ID {
			t.Errorf("narrowed: %+v", narrow.Session)
		}
		if narrow.Session.AbsoluteAt.After(whole.Session.AbsoluteAt) {
			t.Errorf("it ends at %v, and what it came from at %v", narrow.Session.AbsoluteAt, whole.Session.AbsoluteAt)
		}
		for system, want := range map[string]error{
			harbour: nil, strings.ToUpper(harbour): nil, "": nil, vault: cloud.ErrForbidden, mill: cloud.ErrForbidden, foreign: cloud.ErrForbidden,
		} {
			g, err := again(narrow.Session, system)
			h.want("refreshed for "+system, err, want)
			if want == nil && (len(g.Session.Scopes) != 1 || g.Session.Scopes[0] != cloud.ScopeOf(harbour) || g.Session.ID != narrow.Session.ID) {
				t.Errorf("refreshed for %q: %+v", system, g.Session)
			}
		}
		_, err = again(whole.Session, foreign)
		h.want("a system that is not hers", err, cloud.ErrForbidden)
		_, err = again(whole.Session, vault)
		h.want("one that wants a second factor", err, identity.FactorRequired)
		_, err = h.GrantPassword(ctx, ask(vault), who.Email, coretest.Password, "")
		h.want("the same by password", err, identity.FactorRequired)
		_, err = h.GrantRefresh(ctx, ask(""), identity.Secret(h.access(whole.Session)))
		h.want("an access token", err, identity.TokenInvalid)

		// A plugin enters where its token may, and nowhere else: not all systems of hers by a token for one of them.
		plugin := func(of identity.Session, system string) error {
			out, err := h.Plugin(ctx, cloud.PluginInput{Caller: atEdge, Refresh: identity.Secret(h.refresh(of)), System: cloud.ScopeOf(system)})
			if (err == nil) != (out.Session.ID != "") || err == nil && out.Session.Door != edge {
				t.Errorf("a plugin at %s: %+v, %v", system, out.Session, err)
			}
			return err
		}
		for system, want := range map[string]error{harbour: nil, strings.ToUpper(harbour): nil, mill: nil, vault: identity.FactorRequired, foreign: cloud.ErrForbidden} {
			h.want("a plugin by the whole token at "+system, plugin(whole.Session, system), want)
		}
		for system, want := range map[string]error{harbour: nil, strings.ToUpper(harbour): nil, mill: cloud.ErrForbidden, vault: cloud.ErrForbidden, foreign: cloud.ErrForbidden} {
			h.want("a plugin by the narrow token at "+system, plugin(narrow.Session, system), want)
		}

		live := func(of identity.Session) *session.Live {
			t.Helper()
			l, err := h.Access(ctx, h.access(of))
			h.want("access", err, nil)
			return l
		}
		systems := func(of identity.Session) int {
			t.Helper()
			list, err := h.SystemsFor(ctx, live(of))
			h.want("systems", err, nil)
			return len(list)
		}
		if all, one := systems(whole.Session), systems(narrow.Session); all != 3 || one != 1 {
			t.Errorf("%d and %d systems", all, one)
		}

		// Nobody enters the systems of an organisation that has ended.
		ends := func(at time.Time) {
			t.Helper()
			if _, err := h.Manage.UpdateOrganisation(ctx, identity.Caller{Door: "cli"}, membership.OrganisationID, manage.OrganisationChange{ExpiresAt: &at}); err != nil {
				t.Fatal(err)
			}
		}
		of := live(narrow.Session)
		ends(h.Clock.Now())
		h.want("the organisation has ended", h.Stands(ctx, of), cloud.ErrForbidden)
		if n := systems(whole.Session); n != 0 {
			t.Errorf("%d systems of an organisation that has ended", n)
		}
		h.want("a plugin there", plugin(whole.Session, harbour), cloud.ErrForbidden)
		ends(time.Time{})

		// She leaves: what was narrowed is worth nothing, and can be ended.
		held := live(narrow.Session)
		h.want("stands", h.Stands(ctx, held), nil)
		if err := h.Manage.RemoveMembership(ctx, identity.Caller{Door: "cli"}, who.ID, membership.ID); err != nil {
			t.Fatal(err)
		}
		h.want("stands", h.Stands(ctx, held), cloud.ErrForbidden)
		_, err = h.Access(ctx, h.access(narrow.Session))
		h.want("access", err, cloud.ErrForbidden)
		_, err = again(narrow.Session, "")
		h.want("refresh", err, cloud.ErrForbidden)
		_, err = h.Look(ctx, h.access(whole.Session), h.access(narrow.Session))
		h.want("looked up", err, identity.NotFound)
		_, err = h.Look(ctx, h.access(narrow.Session), h.access(whole.Session))
		h.want("looked up with it", err, cloud.ErrForbidden)
		_, err = h.Look(ctx, h.refresh(whole.Session), h.access(whole.Session))
		h.want("the whole cloud", err, nil)
		eve, err := h.GrantPassword(ctx, ask(""), h.Person().Email, coretest.Password, "")
		h.want("somebody else", err, nil)
		h.want("ended by somebody else", h.Revoke(ctx, atCloud, h.access(eve.Session), h.access(narrow.Session)), identity.NotFound)
		h.want("ended", h.Revoke(ctx, atCloud, h.access(narrow.Session), h.refresh(narrow.Session)), nil)
		_, err = h.Access(ctx, h.access(narrow.Session))
		h.want("when it has ended", err, identity.TokenRevoked)
		_, err = h.Access(ctx, h.access(whole.Session))
		h.want("the whole cloud", err, nil)
	})
}

// A limited token opens nothing until a code lifts it, once, and is then the token that it was told to be.
func TestLift(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx, who := t.Context(), h.Person()
		h.WithTOTP(who)
		h.member(who, vault)
		limited := func() cloud.Granted {
			t.Helper()
			h.Clock.Advance(30 * time.Second) // a new code
			g, err := h.GrantPassword(ctx, cloud.GrantInput{Caller: atCloud, Client: client, Scope: cloud.ScopeOf(vault)}, who.Email, coretest.Password, "")
			if err != nil || g.Limited == nil || g.Session.ID != "" || g.LimitedRefresh == "" {
				t.Fatalf("%+v, %v", g, err)
			}
			return g
		}
		g := limited()
		secret := g.Limited.Secret
		closed := func() {
			t.Helper()
			_, err := h.Access(ctx, secret.Reveal())
			h.want("access", err, identity.TokenInvalid)
			_, err = h.GrantRefresh(ctx, cloud.GrantInput{Caller: atCloud, Client: client}, identity.Secret(g.LimitedRefresh))
			h.want("refresh", err, identity.TokenInvalid)
			_, err = h.Sessions.Check(ctx, coretest.Form(edge), secret.Reveal(), identity.AccessToken)
			h.want("at another door", err, identity.TokenInvalid)
		}
		closed()
		h.want("a wrong code", h.Lift(ctx, atCloud, secret, "000000"), identity.BadCode)
		h.want("at another door", h.Lift(ctx, atEdge, secret, h.Core.Code()), identity.TicketInvalid)
		closed()
		h.sixteen("lifting", identity.TicketInvalid, func() error {
			err := h.Lift(ctx, atCloud, secret, h.Core.Code())
			if errors.Is(err, identity.BadCode) { // who was late: the code was spent, or the ticket's tries
				err = identity.TicketInvalid.Wrap(err)
			}
			return err
		})
		live, err := h.Access(ctx, secret.Reveal())
		h.want("access when it was lifted", err, nil)
		if live.Session.Scopes[0] != cloud.ScopeOf(vault) || live.Subject.ID != who.ID {
			t.Errorf("%+v", live.Session)
		}
		again, err := h.GrantRefresh(ctx, cloud.GrantInput{Caller: atCloud, Client: client}, identity.Secret(g.LimitedRefresh))
		h.want("refresh when it was lifted", err, nil)
		if again.Session.ID != live.Session.ID {
			t.Errorf("another session: %+v", again.Session)
		}
		h.Clock.Advance(30 * time.Second)
		h.want("lifted twice", h.Lift(ctx, atCloud, secret, h.Core.Code()), identity.TicketInvalid)
		g = limited()
		secret = g.Limited.Secret
		h.Clock.Advance(signin.DefaultLimits.TicketTTL)
		h.want("too late", h.Lift(ctx, atCloud, secret, h.Core.Code()), identity.TicketInvalid)
		closed()
	})
}

// The first sign-in by an upstream account makes one here; later ones find it by the cloud's id, whatever the address.
func TestUpstreamAccounts(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newUpstream(t, store)
		ctx := t.Context()
		login := func(email string) (signin.Outcome, error) {
			return h.Login(ctx, cloud.LoginInput{Caller: atEdge, Email: email, Password: password})
		}
		first, err := login("clara@cloud.test")
		h.want("first", err, nil)
		if s := first.Subject; s.Email != "clara@cloud.test" || s.Name != "Clara" || s.VerifiedAt.IsZero() || s.Superadmin || first.Session.ID == "" {
			t.Errorf("made: %+v", first)
		}
		if ids := h.linkedTo(first.Subject.ID); len(ids) != 1 || ids[0] != "c-clara" {
			t.Errorf("linked to %v", ids)
		}
		h.upstream.Change("clara@cloud.test", func(a *nxcloudtest.Account) { a.Email = "moved@cloud.test" })
		again, err := login("moved@cloud.test")
		h.want("with another address", err, nil)
		if again.Subject.ID != first.Subject.ID || again.Subject.Email != "clara@cloud.test" {
			t.Errorf("she became %+v", again.Subject)
		}
		_, err = login("odd@cloud..test")
		h.want("an account without an address", err, identity.Unverified)

		// An address that somebody here has joins nobody.
		here := h.Person()
		h.upstream.Change("olga@cloud.test", func(a *nxcloudtest.Account) { a.Email, a.TOTP = here.Email, "" })
		for range 2 {
			_, err = login(here.Email)
			h.want("an address of somebody here", err, cloud.ErrAccountExists)
		}
		if ids := h.linkedTo(here.ID); len(ids) != 0 {
			t.Errorf("linked to %v", ids)
		}
		link := func(live *session.Live, email string) error {
			out, err := h.Link(ctx, live, cloud.LoginInput{Caller: live.Caller(atEdge), Email: email, Password: password})
			if out.Session.ID != "" || out.Ticket != nil {
				t.Errorf("linking gave %+v", out)
			}
			return err
		}
		live, stranger := h.signedIn(here), h.signedIn(h.Person())
		h.want("linked", link(live, here.Email), nil)
		h.want("linked again", link(live, here.Email), nil)
		h.want("taken", link(stranger, here.Email), cloud.ErrTaken)
		h.want("another one", link(live, "moved@cloud.test"), cloud.ErrTaken)
		h.upstream.Change("otto@cloud.test", func(a *nxcloudtest.Account) { a.TOTP = "" })
		h.want("a second one", link(live, "otto@cloud.test"), cloud.ErrLinked)
		out, err := login(here.Email)
		h.want("by the linked account", err, nil)
		if out.Subject.ID != here.ID {
			t.Errorf("signed in as %+v", out.Subject)
		}
		if _, err := h.Sessions.End(ctx, atEdge, stranger.Session.ID, "test"); err != nil {
			t.Fatal(err)
		}
		h.want("by a session that has ended", link(stranger, "otto@cloud.test"), identity.TicketInvalid)
		h.want("unlinked", h.Unlink(ctx, live.Caller(atEdge), live), nil)
		_, err = login(here.Email)
		h.want("after that", err, cloud.ErrAccountExists)

		// Sixteen first sign-ins make one account.
		var all sync.WaitGroup
		ids := make([]identity.SubjectID, 16)
		for i := range ids {
			all.Go(func() {
				out, err := login("otto@cloud.test")
				h.want("at once", err, nil)
				ids[i] = out.Subject.ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("accounts %v", ids)
			}
		}
	})
}

// What is brought back to link is good for the session that began it, once, for ten minutes, for its page.
func TestLinkByCode(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newUpstream(t, store)
		ctx := t.Context()
		hers, his := h.signedIn(h.Person()), h.signedIn(h.Person())
		herOther := h.signedIn(hers.Subject)
		bring := func(live *session.Live, state identity.Secret, origin string) error {
			_, err := h.LinkByCode(ctx, live, cloud.CodeInput{
				Caller: live.Caller(atEdge), State: state, Code: identity.Secret(h.upstream.Code("clara@cloud.test")), Origin: origin,
			})
			return err
		}
		state := h.state(hers, portal)
		h.want("his", bring(hers, h.state(his, portal), ""), cloud.ErrState)
		h.want("to sign in with", bring(hers, h.state(nil, portal), ""), cloud.ErrState)
		h.want("of her other session", bring(hers, h.state(herOther, portal), ""), cloud.ErrState)
		h.want("hers, by him", bring(his, state, ""), cloud.ErrState)
		h.want("from another page", bring(hers, state, other), cloud.ErrState)
		_, err := h.Service.Code(ctx, cloud.CodeInput{Caller: atEdge, State: state, Code: identity.Secret(h.upstream.Code("clara@cloud.test"))})
		h.want("to sign in", err, cloud.ErrState)
		if n := h.upstream.Calls(nxcloudtest.TokenOp); n != 0 {
			t.Errorf("the cloud was shown %d codes", n)
		}
		late := h.state(hers, portal)
		h.Clock.Advance(10 * time.Minute)
		h.want("too late", bring(hers, late, ""), cloud.ErrState)
		state = h.state(hers, portal)
		h.sixteen("linking", cloud.ErrState, func() error { return bring(hers, state, "https://portal.test") })
		if ids := h.linkedTo(hers.Subject.ID); len(ids) != 1 || ids[0] != "c-clara" {
			t.Errorf("linked to %v", ids)
		}
		acting := *hers
		acting.Session.ActorID = his.Subject.ID
		_, err = h.OpenState(ctx, atEdge, &acting, portal)
		h.want("begun by somebody who acts as her", err, identity.Denied)
		h.want("brought by somebody who acts as her", bring(&acting, h.state(hers, portal), ""), identity.Denied)
		h.want("the account is another's", bring(his, h.state(his, portal), ""), cloud.ErrTaken)
		state = h.state(his, portal)
		if _, err := h.Sessions.End(ctx, atEdge, his.Session.ID, "test"); err != nil {
			t.Fatal(err)
		}
		h.want("by a session that has ended", bring(his, state, ""), identity.TicketInvalid)

		built := newHouse(t, store)
		_, err = built.LinkByCode(ctx, hers, cloud.CodeInput{Caller: atEdge, State: "x", Code: "y"})
		h.want("where the accounts are this house's", err, cloud.ErrNoUpstream)
		_, err = built.OpenState(ctx, atEdge, hers, portal)
		h.want("begun there", err, cloud.ErrNoUpstream)
	})
}

// Whatever the cloud answers but a clear yes lets nobody in and writes nothing; that it was the cloud is told.
func TestUpstreamAnswers(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newUpstream(t, store)
		people := func() (n int) {
			h.Core.View(func(r identity.Reader) (err error) {
				n, err = r.CountSubjects(t.Context(), identity.Person, "")
				return err
			})
			return n
		}
		before := people()
		ways := map[string]func(ctx context.Context) (signin.Outcome, error){
			"password": func(ctx context.Context) (signin.Outcome, error) {
				return h.Login(ctx, cloud.LoginInput{Caller: atEdge, Email: "clara@cloud.test", Password: password})
			},
			"code": func(ctx context.Context) (signin.Outcome, error) {
				return h.Service.Code(ctx, cloud.CodeInput{Caller: atEdge, State: h.state(nil, portal), Code: identity.Secret(h.upstream.Code("clara@cloud.test"))})
			},
			"plugin": func(ctx context.Context) (signin.Outcome, error) {
				return h.Plugin(ctx, cloud.PluginInput{Caller: atEdge, Refresh: "nxcdb-x", System: cloud.ScopeOf(harbour)})
			},
		}
		for what, answer := range map[string]string{"garbage": `<html>`, "nothing": `{}`, "no token": `{"access_token":""}`, "a number": `{"access_token":7}`, "an error that nobody knows": `{"access_token":"nxcdb-1","error":"perhaps"}`} {
			h.upstream.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(200, answer))
			for way, enter := range ways {
				h.Clock.Advance(time.Hour) // a cloud that failed lately is left alone
				out, err := enter(t.Context())
				if !errors.Is(err, cloud.ErrAway) || !errors.Is(err, identity.Unavailable) || out.Session.ID != "" || out.Ticket != nil {
					t.Errorf("%s to a %s: %+v, %v", what, way, out, err)
				}
			}
		}
		h.upstream.Fail(nxcloudtest.TokenOp, -1, h.upstream.Silent)
		for way, enter := range ways {
			h.Clock.Advance(time.Hour)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := enter(ctx); !errors.Is(err, cloud.ErrAway) || ctx.Err() != nil {
				t.Errorf("silence to a %s: %v; the operation's own time: %v", way, err, ctx.Err())
			}
			cancel()
		}
		// A token with the word that a second factor is due opens the code step alone.
		h.Clock.Advance(time.Hour)
		h.upstream.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","refresh_token":"nxcdb-2","scope":"`+cloud.ScopeOf(harbour)+`","error":"second_factor_required","token_type":"bearer"}`))
		for way, enter := range ways {
			out, err := enter(t.Context())
			if err != nil || out.Ticket == nil || out.Session.ID != "" {
				t.Fatalf("%s: %+v, %v", way, out, err)
			}
			for _, raw := range []string{out.Ticket.Secret.Reveal(), "nxcdb-1"} {
				_, err = h.Sessions.Check(t.Context(), coretest.Form(edge), raw, identity.AccessToken)
				h.want(way+": a ticket is no token", err, identity.TokenInvalid)
			}
			_, err = h.Proof(t.Context(), cloud.ProofInput{Caller: atEdge, Ticket: out.Ticket.Secret, Code: "000000"})
			if err == nil {
				t.Errorf("%s: the cloud does not know the token, and yet: signed in", way)
			}
		}
		if n := h.upstream.Calls(nxcloudtest.AccountOp); n != 0 {
			t.Errorf("the account was read %d times", n)
		}
		if n := people(); n != before {
			t.Errorf("%d accounts were made", n-before)
		}
	})
}

// The cloud's second factor: five tries a ticket, once, five minutes; wrong codes are counted by the login that was typed, and where
// none was, nobody pays for another's.
func TestUpstreamProof(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newUpstream(t, store)
		ctx := t.Context()
		byPassword := func(email string) identity.Secret {
			t.Helper()
			h.Clock.Advance(30 * time.Second)
			out, err := h.Login(ctx, cloud.LoginInput{Caller: atEdge, Email: email, Password: password})
			if err != nil || out.Ticket == nil {
				t.Fatalf("%s: %+v, %v", email, out, err)
			}
			return out.Ticket.Secret
		}
		byCode := func(email string) identity.Secret {
			t.Helper()
			h.Clock.Advance(30 * time.Second)
			out, err := h.Service.Code(ctx, cloud.CodeInput{Caller: atEdge, State: h.state(nil, portal), Code: identity.Secret(h.upstream.Code(email))})
			if err != nil || out.Ticket == nil {
				t.Fatalf("%s: %+v, %v", email, out, err)
			}
			return out.Ticket.Secret
		}
		proof := func(ticket identity.Secret, code string) error {
			_, err := h.Proof(ctx, cloud.ProofInput{Caller: atEdge, Ticket: ticket, Code: code})
			return err
		}
		ticket := byPassword("otto@cloud.test")
		h.want("a wrong code", proof(ticket, "000000"), identity.BadCode)
		// Each takes a try before the cloud is asked, so that no more than the ticket's reach it.
		h.sixteen("a right one", identity.TicketInvalid, func() error {
			err := proof(ticket, h.Core.Code())
			if errors.Is(err, identity.BadCode) {
				err = identity.TicketInvalid.Wrap(err)
			}
			return err
		})
		if n := h.upstream.Calls(nxcloudtest.TOTPOp); n > 5 {
			t.Errorf("the cloud was asked %d times with a ticket of five tries", n)
		}
		ticket = byPassword("otto@cloud.test")
		h.Clock.Advance(5 * time.Minute)
		h.want("too late", proof(ticket, h.Core.Code()), identity.TicketInvalid)

		for range 3 { // wrong codes where nobody typed a login
			ticket = byCode("otto@cloud.test")
			for range 5 {
				h.want("a wrong code", proof(ticket, "000000"), identity.BadCode)
			}
			h.want("no tries left", proof(ticket, h.Core.Code()), identity.TicketInvalid)
		}
		h.want("somebody else by the page", proof(byCode("olga@cloud.test"), h.Core.Code()), nil)
		h.want("and by a password", proof(byPassword("otto@cloud.test"), h.Core.Code()), nil)
		for range 2 {
			ticket = byPassword("otto@cloud.test")
			for range 5 {
				h.want("a wrong code", proof(ticket, "000000"), identity.BadCode)
			}
		}
		h.want("the eleventh", proof(byPassword("Otto@cloud.test"), h.Core.Code()), identity.Locked)
		h.want("somebody else", proof(byPassword("olga@cloud.test"), h.Core.Code()), nil)
	})
}

// Whoever let somebody in is asked for her password again: the cloud for whom it let in, as long as it is still her account there that
// has the address, and this house for all others.
func TestPasswordIsAskedOfWhoKnowsIt(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newUpstream(t, store)
		ctx := t.Context()
		login := func(email string) *session.Live {
			t.Helper()
			out, err := h.Login(ctx, cloud.LoginInput{Caller: atEdge, Email: email, Password: password})
			if err != nil {
				t.Fatal(err)
			}
			return &session.Live{Session: out.Session, Subject: out.Subject}
		}
		ask := func(live *session.Live, secret identity.Secret) (confirm, renew error) {
			confirm = h.Confirm(ctx, live.Caller(atEdge), live, secret)
			_, renew = h.Renew(ctx, live.Caller(atEdge), live, secret)
			return confirm, renew
		}
		both := func(what string, live *session.Live, secret identity.Secret, want error) {
			t.Helper()
			confirm, renew := ask(live, secret)
			h.want(what, confirm, want)
			h.want(what+", to renew", renew, want)
		}
		here := h.signedIn(h.Person())
		calls := h.upstream.Calls(nxcloudtest.TokenOp)
		both("her own, here", here, coretest.Password, nil)
		both("another, here", here, password, identity.BadCredential)
		if n := h.upstream.Calls(nxcloudtest.TokenOp) - calls; n != 0 {
			t.Errorf("the cloud was shown the password of somebody whom it did not let in, %d times", n)
		}
		clara := login("clara@cloud.test")
		both("the cloud's", clara, password, nil)
		both("a wrong one", clara, "wrong", identity.BadCredential)
		h.upstream.Change("clara@cloud.test", func(a *nxcloudtest.Account) { a.Email = "moved@cloud.test" })
		h.upstream.Change("odd@cloud..test", func(a *nxcloudtest.Account) { a.Email = "clara@cloud.test" })
		both("whoever has her address now", clara, password, identity.BadCredential)
	})
}
