package federation_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/federated"
	"gatehouse/internal/factor/federated/providertest"
	"gatehouse/internal/identity"
	"gatehouse/internal/outbound"
	"gatehouse/internal/store/storetest"
)

const back = "https://house.test/callback"

type house struct {
	*coretest.Core
	below
	provider *providertest.Provider
	t        *testing.T
}

// below gives the verbs their names where the core has none of the same.
type below struct{ *federation.Service }

func newHouse(t *testing.T, store identity.Store) *house {
	t.Helper()
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	m := &manage.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box, Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}
	providers := &federated.Service{Limits: federated.DefaultLimits, Now: core.Clock.Now, Rand: core.SignIn.Rand}
	providers.Client = outbound.Client(outbound.Options{Inside: providers.Inside})
	store.OnCommit(providers.Changed)
	h := &house{core, below{&federation.Service{
		Store: store, Manage: m, SignIn: core.SignIn, Sessions: core.Sessions, Providers: providers, Log: core.Passwords.Log, Box: core.Box,
		Now: core.Clock.Now, Rand: core.SignIn.Rand,
	}}, providertest.New(t, core.Clock.Now), t}
	h.configure("google", identity.GoogleProvider, func(*identity.IdentityProvider) {})
	h.configure("house", identity.OpenIDProvider, func(p *identity.IdentityProvider) { p.CreateAccounts = false })
	return h
}

// configure writes a provider that is the test's.
func (h *house) configure(key string, kind identity.ProviderKind, change func(*identity.IdentityProvider)) {
	h.t.Helper()
	p := identity.IdentityProvider{Key: key, Kind: kind, Issuer: h.provider.URL, ClientID: providertest.ClientID, CreateAccounts: true}
	change(&p)
	h.Core.Update(func(tx identity.Tx) error {
		_, err := h.Manage.SaveProviderIn(h.t.Context(), tx, identity.Caller{Door: "cli"}, p, providertest.Secret)
		return err
	})
}

// says changes who comes from the provider.
func (h *house) says(claims map[string]any) {
	h.provider.Change(func(p *providertest.Provider) {
		for name, value := range claims {
			p.Claims[name] = value
		}
	})
}

var caller = coretest.Caller(coretest.Door)

// signedIn gives a live session of somebody.
func (h *house) signedIn(who identity.Subject) *session.Live {
	h.t.Helper()
	out, err := h.SignIn.Password(h.t.Context(), signin.PasswordInput{Caller: caller, Login: who.Email, Password: coretest.Password})
	if err != nil {
		h.t.Fatal(err)
	}
	return &session.Live{Session: out.Session, Subject: who}
}

// begun starts a state and gives what the browser brings back.
func (h *house) begun(state federation.State, provider string) federation.CallbackInput {
	h.t.Helper()
	started, err := h.Start(h.t.Context(), federation.StartInput{
		Caller: caller, Provider: provider, State: state.Secret, Browser: state.Browser, RedirectURI: back,
	})
	if err != nil {
		h.t.Fatalf("start: %v", err)
	}
	return h.brought(started.Address, started.Browser, provider)
}

func (h *house) brought(address string, browser identity.Secret, provider string) federation.CallbackInput {
	h.t.Helper()
	query := h.provider.Approve(address)
	return federation.CallbackInput{
		Caller: caller, Provider: provider, State: identity.Secret(query.Get("state")), Browser: browser, Code: identity.Secret(query.Get("code")), RedirectURI: back,
	}
}

func (h *house) login(provider string) (federation.Outcome, error) {
	h.t.Helper()
	state, err := h.Login(h.t.Context(), caller)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.Callback(h.t.Context(), h.begun(state, provider))
}

func (h *house) link(live *session.Live) (federation.Outcome, error) {
	h.t.Helper()
	state, err := h.Link(h.t.Context(), caller, live)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.Callback(h.t.Context(), h.begun(state, "google"))
}

func (h *house) redeem(token identity.Secret) (signin.Outcome, error) {
	h.t.Helper()
	return h.SignIn.Token(h.t.Context(), signin.TokenInput{Caller: caller, Token: token, Way: signin.Way{Steps: signin.Steps{Proof: true}}})
}

func (h *house) audited(action string) (outcomes []string) {
	h.t.Helper()
	h.Core.View(func(r identity.Reader) error {
		list, err := r.Events(h.t.Context(), identity.EventFilter{Action: action, Limit: 100})
		outcomes = nil
		for _, e := range list {
			outcomes = append(outcomes, e.Outcome)
		}
		return err
	})
	return outcomes
}

// Whose account a stranger's identity opens.
func TestLogin(t *testing.T) {
	verified := func(s *identity.Subject, _ *identity.Credential) { s.Email = "ada@example.test" }
	tests := []struct {
		name     string
		provider string
		claims   map[string]any
		trust    identity.EmailTrust
		there    func(*identity.Subject, *identity.Credential) // who has the address already; nil: nobody
		want     error
	}{
		{name: "nobody has the address: an account is made", provider: "google"},
		{name: "nobody has the address, and no account is made", provider: "house", want: federation.ErrNoAccount},
		{name: "hers, confirmed", provider: "house", there: verified},
		{name: "hers, in other letters", provider: "house", claims: map[string]any{"email": "ADA@Example.TEST"}, there: verified},
		{name: "hers, never confirmed", provider: "google", want: federation.ErrAccountExists, there: func(s *identity.Subject, c *identity.Credential) {
			verified(s, c)
			s.VerifiedAt = time.Time{}
		}},
		{name: "hers, suspended", provider: "google", want: federation.ErrNoAccount, there: func(s *identity.Subject, c *identity.Credential) {
			verified(s, c)
			s.SuspendedAt = coretest.Start
		}},
		{name: "not verified there", provider: "google", claims: map[string]any{"email_verified": false}, want: federation.ErrUnverified, there: verified},
		{name: "not verified there, and nobody's", provider: "google", claims: map[string]any{"email_verified": nil}, want: federation.ErrUnverified},
		{name: "not verified there, but the operator vouches", provider: "google", claims: map[string]any{"email_verified": false}, trust: identity.TrustAlways, there: verified},
		{name: "verified there, but the operator believes nothing", provider: "google", trust: identity.TrustNever, want: federation.ErrUnverified, there: verified},
		{name: "no address", provider: "google", claims: map[string]any{"email": nil}, want: federation.ErrUnverified},
		{name: "an address that is none", provider: "google", claims: map[string]any{"email": "ada"}, want: federation.ErrUnverified},
		{name: "an address of two lines", provider: "google", claims: map[string]any{"email": "ada@example.test\nx"}, want: federation.ErrUnverified},
		{name: "an address of two alphabets", provider: "google", claims: map[string]any{"email": "аda@example.test"}, want: federation.ErrUnverified, there: verified},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				h.forget()
				h.configure("google", identity.GoogleProvider, func(*identity.IdentityProvider) {})
				sub := fmt.Sprint("ada-", i)
				h.says(map[string]any{"sub": sub, "email": "ada@example.test", "email_verified": true})
				refusals := len(h.audited("identity.signin"))
				var there identity.Subject
				if tt.there != nil {
					there = h.Person(tt.there)
				}
				if tt.trust != "" {
					h.configure("google", identity.GoogleProvider, func(p *identity.IdentityProvider) { p.EmailTrust = tt.trust })
				}
				h.says(tt.claims)
				out, err := h.login(tt.provider)
				if !errors.Is(err, tt.want) {
					t.Fatalf("%+v, %v, want %v", out, err, tt.want)
				}
				if tt.want != nil {
					if out.Token != "" || len(h.audited("identity.signin")) != refusals+1 {
						t.Errorf("refused with a token %v, audited %v", out.Token != "", h.audited("identity.signin"))
					}
					return
				}
				if tt.there != nil && out.SubjectID != there.ID {
					t.Errorf("it is %s's, want %s's", out.SubjectID, there.ID)
				}
				in, err := h.redeem(out.Token)
				if err != nil || in.Session.SubjectID != out.SubjectID || len(in.Session.AMR) != 1 || in.Session.AMR[0] != federated.AMR {
					t.Fatalf("%+v, %v", in, err)
				}
				// Known from now on, whatever becomes of the address.
				h.says(map[string]any{"email": "other@example.test", "email_verified": false})
				again, err := h.login(tt.provider)
				if err != nil || again.SubjectID != out.SubjectID {
					t.Errorf("again: %+v, %v", again, err)
				}
				all, err := h.Identities(t.Context(), out.SubjectID)
				if err != nil || len(all) != 1 || all[0].Authority != h.provider.URL || all[0].ExternalID != sub || all[0].LastUseAt.IsZero() {
					t.Errorf("%+v, %v", all, err)
				}
			})
		}
	})
}

// forget removes whom the test before made.
func (h *house) forget() {
	h.Core.Update(func(tx identity.Tx) error {
		all, err := tx.Subjects(h.t.Context(), identity.SubjectFilter{})
		for _, s := range all {
			err = errors.Join(err, tx.DeleteSubject(h.t.Context(), s.ID))
		}
		return err
	})
}

func TestNewAccount(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.says(map[string]any{"name": "Ada\u202e \x00Lovelace", "given_name": "Ada"})
		out, err := h.login("google")
		if err != nil {
			t.Fatal(err)
		}
		h.Core.View(func(r identity.Reader) error {
			s, err := r.Subject(t.Context(), out.SubjectID)
			if err != nil || s.Email != "ada@example.test" || s.VerifiedAt.IsZero() || s.GivenName != "Ada" || s.Superadmin {
				t.Errorf("%+v, %v", s, err)
			}
			if _, err := r.Credential(t.Context(), s.ID, identity.Password); !errors.Is(err, identity.NotFound) {
				t.Errorf("a password: %v", err)
			}
			return nil
		})
		// It has no other way in, and no password is as good as any.
		if err := h.Unlink(t.Context(), identity.Caller{Door: "cli"}, out.SubjectID, h.provider.URL, "ada-1"); !errors.Is(err, federation.ErrOnlyWay) {
			t.Errorf("unlink: %v", err)
		}
		if _, err := h.SignIn.Password(t.Context(), signin.PasswordInput{Caller: caller, Login: "ada@example.test"}); !errors.Is(err, identity.BadCredential) {
			t.Errorf("without a password: %v", err)
		}
	})
}

func TestLink(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada, bob := h.Person(), h.Person()
		live := h.signedIn(ada)
		for range 2 { // the second time it is hers already
			if out, err := h.link(live); err != nil || !out.Linked || out.SubjectID != ada.ID || out.Token != "" {
				t.Fatalf("%+v, %v", out, err)
			}
		}
		if _, err := h.link(h.signedIn(bob)); !errors.Is(err, federation.ErrTaken) {
			t.Errorf("another's: %v", err)
		}
		if out, err := h.login("house"); err != nil || out.SubjectID != ada.ID {
			t.Errorf("%+v, %v", out, err)
		}
		// Unlinked, it opens nothing, and what rested on it ends.
		in, err := h.login("google")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere, err := h.redeem(in.Token)
		if err != nil {
			t.Fatal(err)
		}
		herself := caller
		herself.SubjectID, herself.ActorID, herself.SessionID = ada.ID, ada.ID, live.Session.ID
		for _, who := range []identity.Caller{{SubjectID: bob.ID, ActorID: bob.ID, SessionID: "s"}, {SubjectID: ada.ID, ActorID: bob.ID, SessionID: "s"}} {
			if err := h.Unlink(t.Context(), who, ada.ID, h.provider.URL, "ada-1"); !errors.Is(err, identity.Denied) {
				t.Errorf("unlinked by %+v: %v", who, err)
			}
		}
		if err := h.Unlink(t.Context(), herself, ada.ID, h.provider.URL, "ada-1"); err != nil {
			t.Fatal(err)
		}
		if err := h.Unlink(t.Context(), herself, ada.ID, h.provider.URL, "ada-1"); !errors.Is(err, identity.NotFound) {
			t.Errorf("again: %v", err)
		}
		h.Core.View(func(r identity.Reader) error {
			kept, err := r.Session(t.Context(), live.Session.ID)
			gone, err2 := r.Session(t.Context(), elsewhere.Session.ID)
			if err != nil || err2 != nil || !kept.EndedAt.IsZero() || gone.EndedAt.IsZero() {
				t.Errorf("kept %v, gone %v", kept.EndedAt, gone.EndedAt)
			}
			return nil
		})
		h.says(map[string]any{"email_verified": false})
		if _, err := h.login("google"); !errors.Is(err, federation.ErrUnverified) {
			t.Errorf("after unlinking: %v", err)
		}
		if n := len(h.audited("identity.unlink")); n != 1 {
			t.Errorf("%d unlinkings are audited", n)
		}
	})
}

// Nobody links while she acts as another person, or after her session has ended.
func TestLinkNeedsHerself(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person()
		live := h.signedIn(ada)
		acting := *live
		acting.Session.ActorID = "boss"
		for _, l := range []*session.Live{&acting, {Subject: ada}} {
			if _, err := h.Link(t.Context(), caller, l); !errors.Is(err, identity.Denied) {
				t.Errorf("linked by %+v: %v", l.Session, err)
			}
		}
		before, err := h.Link(t.Context(), caller, live)
		if err != nil {
			t.Fatal(err)
		}
		half, err := h.Link(t.Context(), caller, live)
		if err != nil {
			t.Fatal(err)
		}
		in := h.begun(half, "google")
		if _, err := h.Core.Sessions.End(t.Context(), caller, live.Session.ID, "signed out"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Callback(t.Context(), in); !errors.Is(err, federation.ErrState) {
			t.Errorf("ended half way: %v", err)
		}
		if _, err := h.Start(t.Context(), federation.StartInput{Caller: caller, Provider: "google", State: before.Secret, Browser: before.Browser, RedirectURI: back}); !errors.Is(err, federation.ErrState) {
			t.Errorf("ended before: %v", err)
		}
		if all, err := h.Identities(t.Context(), ada.ID); err != nil || len(all) != 0 {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// A state opens what it was made for, for whom it was made, once.
func TestStates(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		h.configure("gone", identity.OpenIDProvider, func(p *identity.IdentityProvider) { p.SuspendedAt = h.Clock.Now() })
		live := h.signedIn(h.Person())
		fresh := func() federation.StartInput {
			state, err := h.Login(t.Context(), caller)
			if err != nil {
				t.Fatal(err)
			}
			return federation.StartInput{Caller: caller, Provider: "google", State: state.Secret, Browser: state.Browser, RedirectURI: back}
		}
		starts := []struct {
			name  string
			spoil func(*federation.StartInput)
			want  error
		}{
			{"unknown", func(in *federation.StartInput) { in.State = "x" }, federation.ErrState},
			{"none", func(in *federation.StartInput) { in.State = "" }, federation.ErrState},
			{"another browser", func(in *federation.StartInput) { in.Browser = fresh().Browser }, federation.ErrState},
			{"no browser", func(in *federation.StartInput) { in.Browser = "" }, federation.ErrState},
			{"another door", func(in *federation.StartInput) { in.Caller.Door = coretest.Lax }, federation.ErrState},
			{"unknown provider", func(in *federation.StartInput) { in.Provider = "x" }, federation.ErrProvider},
			{"a provider out of use", func(in *federation.StartInput) { in.Provider = "gone" }, federation.ErrProvider},
			{"late", func(*federation.StartInput) { h.Clock.Advance(10 * time.Minute) }, federation.ErrState},
			{"used", func(in *federation.StartInput) {
				if _, err := h.Start(t.Context(), *in); err != nil {
					t.Fatal(err)
				}
			}, federation.ErrState},
		}
		for _, tt := range starts {
			in := fresh()
			tt.spoil(&in)
			if out, err := h.Start(t.Context(), in); !errors.Is(err, tt.want) {
				t.Errorf("start, %s: %+v, %v", tt.name, out, err)
			}
		}
		backs := []struct {
			name   string
			spoil  func(*federation.CallbackInput)
			want   error
			spends bool
		}{
			{"unknown", func(in *federation.CallbackInput) { in.State = "x" }, federation.ErrState, false},
			{"a state that was not started", func(in *federation.CallbackInput) {
				other := fresh()
				in.State, in.Browser = other.State, other.Browser
			}, federation.ErrState, false},
			{"another browser", func(in *federation.CallbackInput) { in.Browser = fresh().Browser }, federation.ErrState, false},
			{"no browser", func(in *federation.CallbackInput) { in.Browser = "" }, federation.ErrState, false},
			{"another provider's callback", func(in *federation.CallbackInput) { in.Provider = "house" }, federation.ErrState, false},
			{"another door", func(in *federation.CallbackInput) { in.Caller.Door = coretest.Lax }, federation.ErrState, false},
			{"another issuer", func(in *federation.CallbackInput) { in.Issuer = "https://evil.test" }, identity.BadCredential, true},
			{"a wrong code", func(in *federation.CallbackInput) { in.Code = "x" }, identity.BadCredential, true},
			{"another redirect", func(in *federation.CallbackInput) { in.RedirectURI += "/x" }, identity.BadCredential, true},
			{"no code", func(in *federation.CallbackInput) { in.Code = "" }, federation.ErrCancelled, true},
			{"refused there", func(in *federation.CallbackInput) { in.Refusal = "access_denied" }, federation.ErrCancelled, true},
			{"late", func(*federation.CallbackInput) { h.Clock.Advance(10 * time.Minute) }, federation.ErrState, true},
		}
		for _, tt := range backs {
			start := fresh()
			started, err := h.Start(t.Context(), start)
			if err != nil {
				t.Fatal(err)
			}
			good := h.brought(started.Address, started.Browser, "google")
			in := good
			tt.spoil(&in)
			if out, err := h.Callback(t.Context(), in); !errors.Is(err, tt.want) || out.Token != "" {
				t.Errorf("callback, %s: %+v, %v", tt.name, out, err)
			}
			if _, err := h.Callback(t.Context(), good); errors.Is(err, federation.ErrState) != tt.spends {
				t.Errorf("callback, %s, and then the right one: %v", tt.name, err)
			}
		}
		// A state to link may start where the page's cookie was not kept, unless a stranger's page sent the browser.
		for lured, want := range map[bool]error{false: nil, true: federation.ErrState} {
			state, err := h.Link(t.Context(), caller, live)
			if err != nil {
				t.Fatal(err)
			}
			in := federation.StartInput{Caller: caller, Provider: "google", State: state.Secret, Lured: lured, RedirectURI: back}
			started, err := h.Start(t.Context(), in)
			if !errors.Is(err, want) {
				t.Errorf("lured %v: %v", lured, err)
			}
			if err != nil {
				continue
			}
			// Whoever is sent to the provider's own address, past us, brings back what another browser began.
			if _, err := h.Callback(t.Context(), h.brought(started.Address, "", "google")); !errors.Is(err, federation.ErrState) {
				t.Errorf("past us: %v", err)
			}
			if started.Browser == "" || started.Browser == state.Browser {
				t.Error("the browser was given nothing to show")
			}
		}
	})
}

// A provider that is away leaves the state open; one that was taken out of use ends the flow.
func TestProviderAway(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		url := h.provider.URL
		h.configure("google", identity.GoogleProvider, func(p *identity.IdentityProvider) { p.Issuer = "http://127.0.0.1:1" })
		state, err := h.Login(t.Context(), caller)
		if err != nil {
			t.Fatal(err)
		}
		in := federation.StartInput{Caller: caller, Provider: "google", State: state.Secret, Browser: state.Browser, RedirectURI: back}
		if _, err := h.Start(t.Context(), in); !errors.Is(err, identity.Unavailable) {
			t.Errorf("away: %v", err)
		}
		h.configure("google", identity.GoogleProvider, func(p *identity.IdentityProvider) { p.Issuer = url })
		answer := h.begun(state, "google")
		h.configure("google", identity.GoogleProvider, func(p *identity.IdentityProvider) { p.SuspendedAt = h.Clock.Now() })
		for _, want := range []error{federation.ErrProvider, federation.ErrState} {
			if _, err := h.Callback(t.Context(), answer); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}

// One of sixteen wins, at each step.
func TestOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		state, err := h.Login(t.Context(), caller)
		if err != nil {
			t.Fatal(err)
		}
		race := func(what string, refusal error, do func(context.Context) error) {
			t.Helper()
			var won atomic.Int64
			var group sync.WaitGroup
			start := make(chan struct{})
			for range 16 {
				group.Go(func() {
					<-start
					switch err := do(t.Context()); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, refusal) && !errors.Is(err, identity.Busy):
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			close(start)
			group.Wait()
			if won.Load() != 1 {
				t.Errorf("%s: %d won", what, won.Load())
			}
		}
		var address atomic.Pointer[string]
		race("start", federation.ErrState, func(ctx context.Context) error {
			out, err := h.Start(ctx, federation.StartInput{Caller: caller, Provider: "google", State: state.Secret, Browser: state.Browser, RedirectURI: back})
			if err == nil {
				address.Store(&out.Address)
			}
			return err
		})
		in := h.brought(*address.Load(), state.Browser, "google")
		var token atomic.Pointer[identity.Secret]
		race("callback", federation.ErrState, func(ctx context.Context) error {
			out, err := h.Callback(ctx, in)
			if err == nil {
				token.Store(&out.Token)
			}
			return err
		})
		race("token", identity.BadCredential, func(ctx context.Context) error {
			_, err := h.SignIn.Token(ctx, signin.TokenInput{Caller: caller, Token: *token.Load()})
			return err
		})
	})
}

// People who come for the first time at once, with one identity, are one person.
func TestOneAccount(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		var group sync.WaitGroup
		ids := make([]identity.SubjectID, 8)
		for i := range ids {
			state, err := h.Login(t.Context(), caller)
			if err != nil {
				t.Fatal(err)
			}
			in := h.begun(state, "google")
			group.Go(func() {
				out, err := h.Callback(t.Context(), in)
				if err != nil {
					t.Error(err)
				}
				ids[i] = out.SubjectID
			})
		}
		group.Wait()
		for _, id := range ids {
			if id != ids[0] || id == "" {
				t.Fatalf("they are %v", ids)
			}
		}
	})
}

// What the token opens is signin's to say.
func TestTokens(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person(func(s *identity.Subject, c *identity.Credential) { s.Email, c.MustChange = "ada@example.test", true })
		h.WithTOTP(ada)
		token := func() identity.Secret {
			t.Helper()
			out, err := h.login("google")
			if err != nil {
				t.Fatal(err)
			}
			return out.Token
		}
		// Neither her second factor nor the password that is due is asked for.
		if out, err := h.redeem(token()); err != nil || out.Session.ID == "" {
			t.Fatalf("%+v, %v", out, err)
		}
		late := token()
		h.Clock.Advance(time.Minute)
		for name, secret := range map[string]identity.Secret{"late": late, "unknown": "x", "none": ""} {
			if _, err := h.redeem(secret); !errors.Is(err, identity.BadCredential) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := h.SignIn.Token(t.Context(), signin.TokenInput{Caller: coretest.Caller(coretest.Lax), Token: token()}); !errors.Is(err, identity.BadCredential) {
			t.Errorf("at another door: %v", err)
		}
		if _, err := h.SignIn.Proof(t.Context(), signin.ProofInput{Caller: caller, Ticket: signin.TicketRef{Secret: token()}, Code: h.Code()}); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("as a ticket for a code: %v", err)
		}
		// A policy that demands a second factor is held to.
		h.Core.Update(func(tx identity.Tx) error {
			return tx.SavePolicy(t.Context(), identity.Policy{ID: "p", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded})
		})
		h.Policies.Changed([]identity.Change{{Kind: identity.PolicyChanged}})
		out, err := h.redeem(token())
		if err != nil || out.Ticket == nil || out.Ticket.Purpose != signin.ProofDue {
			t.Fatalf("%+v, %v", out, err)
		}
		in, err := h.SignIn.Proof(t.Context(), signin.ProofInput{Caller: caller, Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: h.Code()})
		if err != nil || in.Session.ID == "" || len(in.Session.AMR) != 3 {
			t.Errorf("after the code: %+v, %v", in.Session.AMR, err)
		}
		if _, err := h.SignIn.Token(t.Context(), signin.TokenInput{Caller: caller, Token: token()}); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("at a door without a step for it: %v", err)
		}
		waiting := token()
		h.Core.Update(func(tx identity.Tx) error {
			return h.Manage.SuspendIn(t.Context(), tx, identity.Caller{Door: "cli"}, ada.ID, "test")
		})
		if _, err := h.redeem(waiting); !errors.Is(err, identity.Suspended) && !errors.Is(err, identity.BadCredential) {
			t.Errorf("suspended: %v", err)
		}
	})
}

// Somebody without a password goes on through every step.
func TestStepsWithoutPassword(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	out, err := h.login("google")
	if err != nil {
		t.Fatal(err)
	}
	h.WithTOTP(identity.Subject{ID: out.SubjectID})
	h.Core.Update(func(tx identity.Tx) error {
		return tx.SavePolicy(t.Context(), identity.Policy{ID: "p", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded})
	})
	h.Policies.Changed([]identity.Change{{Kind: identity.PolicyChanged}})
	first, err := h.redeem(out.Token)
	if err != nil || first.Ticket == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	in, err := h.SignIn.Proof(t.Context(), signin.ProofInput{Caller: caller, Ticket: signin.TicketRef{Secret: first.Ticket.Secret}, Code: h.Code()})
	if err != nil || in.Session.ID == "" {
		t.Errorf("%+v, %v", in, err)
	}
}

// Neither the verifier nor the nonce of an open flow stands in the store as it is.
func TestChallengeIsSealed(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	state, err := h.Login(t.Context(), caller)
	if err != nil {
		t.Fatal(err)
	}
	started, err := h.Start(t.Context(), federation.StartInput{Caller: caller, Provider: "google", State: state.Secret, Browser: state.Browser, RedirectURI: back})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(started.Address)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("federation.flow\x00" + state.Secret.Reveal()))
	h.Core.View(func(r identity.Reader) error {
		open, err := r.TicketByHash(t.Context(), hash[:])
		if nonce := u.Query().Get("nonce"); nonce == "" || err != nil || bytes.Contains(open.Data, []byte(nonce)) || bytes.Contains(open.Data, []byte("verifier")) {
			t.Errorf("the flow keeps %s, %v", open.Data, err)
		}
		return nil
	})
}
