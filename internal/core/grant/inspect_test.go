package grant_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// signedDoor prints tokens that state themselves what they are.
const signedDoor identity.Door = "signed"

// signed reads them. A test writes down what each states, in place of a signature.
type signed map[string]token.Facts

func (signed) Door() identity.Door   { return signedDoor }
func (signed) Looks(raw string) bool { return strings.HasPrefix(raw, "signed.") }
func (s signed) Read(raw string) (token.Facts, error) {
	facts, ok := s[raw]
	if !ok {
		return token.Facts{}, identity.TokenInvalid.Because("not a token")
	}
	return facts, nil
}

// The clients of these tests. No secret is asked for here.
var (
	app      = identity.Client{ID: "app", SecretHash: grant.HashGenerated("a"), Scopes: []string{"read"}}
	api      = identity.Client{ID: "api", SecretHash: grant.HashGenerated("b")} // a resource server that tokens are meant for
	stranger = identity.Client{ID: "stranger", SecretHash: grant.HashGenerated("c"), Scopes: []string{"read"}}
	gateway  = identity.Client{ID: "gateway", SecretHash: grant.HashGenerated("d"), Scopes: []string{grant.InspectScope}}
	janitor  = identity.Client{ID: "janitor", SecretHash: grant.HashGenerated("e"), Scopes: []string{grant.RevokeScope}}
)

type house struct {
	*coretest.Core
	t       *testing.T
	tokens  signed
	printed int
}

func build(t *testing.T, store identity.Store) *house {
	t.Helper()
	h := &house{Core: coretest.New(t, store), t: t, tokens: signed{}}
	h.Sessions.Rules[signedDoor] = session.Rules{AccessTTL: time.Hour, SessionTTL: 8 * time.Hour}
	h.Grants.Forms = append(h.Grants.Forms, h.tokens)
	create(t, h.Core, app, api, stranger, gateway, janitor)
	return h
}

// begin begins a session at a door for a client.
func (h *house) begin(door identity.Door, client identity.ClientID, change ...func(*signin.PasswordInput)) identity.Session {
	h.t.Helper()
	in := signin.PasswordInput{
		Caller: coretest.Caller(door), Login: h.Person().Email, Password: coretest.Password,
		Way: signin.Way{ClientID: client, Scopes: []string{"read"}},
	}
	for _, f := range change {
		f(&in)
	}
	out, err := h.SignIn.Password(h.t.Context(), in)
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Session
}

func (h *house) access(s identity.Session) string { return h.Sessions.Opaque(s, identity.AccessToken) }
func (h *house) refresh(s identity.Session) string {
	return h.Sessions.Opaque(s, identity.RefreshToken)
}

// print gives a signed token; of a session (zero: a client's own).
func (h *house) print(s identity.Session, client identity.ClientID, change ...func(*token.Facts)) string {
	h.printed++
	id := "jti-" + string(rune('a'+h.printed))
	facts := token.Facts{
		ID: id, Kind: identity.AccessToken, Door: signedDoor, SessionID: s.ID, SubjectID: s.SubjectID, ClientID: client,
		Audience: []string{string(api.ID)}, IssuedAt: h.Clock.Now(), ExpiresAt: h.Clock.Now().Add(time.Hour),
	}
	for _, f := range change {
		f(&facts)
	}
	h.tokens["signed."+id] = facts
	return "signed." + id
}

func (h *house) rotate(s identity.Session) identity.Session {
	h.t.Helper()
	live, err := h.Sessions.Refresh(h.t.Context(), session.RefreshInput{
		Caller: coretest.Caller(s.Door), Form: coretest.Form(s.Door), Raw: h.refresh(s), Rotate: true,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return live.Session
}

// inspect says whether the client is told that the token is active.
func (h *house) inspect(client identity.Client, raw string) bool {
	h.t.Helper()
	live, err := h.Grants.Introspect(h.t.Context(), client, raw)
	if err != nil {
		h.t.Fatalf("Introspect = %v", err)
	}
	return live != nil
}

func (h *house) revoke(client identity.Client, raw string) error {
	return h.Grants.Revoke(h.t.Context(), coretest.Caller(coretest.Door), client, raw)
}

func TestWhoMayIntrospect(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		opaque, unnamed, stated := h.begin(coretest.Door, app.ID), h.begin(coretest.Lax, ""), h.begin(signedDoor, app.ID)
		tests := []struct {
			name, raw string
			told      []identity.Client
		}{
			{"an access token", h.access(opaque), []identity.Client{app, gateway}},
			{"a refresh token", h.refresh(opaque), []identity.Client{app, gateway}},
			{"an access token of a door without clients", h.access(unnamed), []identity.Client{gateway}},
			{"a refresh token of a door without clients", h.refresh(unnamed), []identity.Client{gateway}},
			{"one with an audience", h.print(stated, app.ID), []identity.Client{app, api, gateway}},
			{"one with many audiences", h.print(stated, app.ID, func(f *token.Facts) { f.Audience = []string{"x", "api", "stranger"} }), []identity.Client{app, api, stranger, gateway}},
			{"one with no audience", h.print(stated, app.ID, func(f *token.Facts) { f.Audience = nil }), []identity.Client{app, gateway}},
			{"a client's own", h.print(identity.Session{}, app.ID), []identity.Client{app, api, gateway}},
		}
		for _, tt := range tests {
			for _, client := range []identity.Client{app, api, stranger, gateway, janitor} {
				want := false
				for _, told := range tt.told {
					want = want || told.ID == client.ID
				}
				for range 2 { // read, then remembered
					if got := h.inspect(client, tt.raw); got != want {
						t.Errorf("%s, asked by %s: %v, want %v", tt.name, client.ID, got, want)
					}
				}
			}
		}
		live, err := h.Grants.Introspect(t.Context(), gateway, h.access(opaque))
		if err != nil || live.Session.ID != opaque.ID || live.Subject.ID != opaque.SubjectID || live.Token.ClientID != app.ID ||
			live.Token.Kind != identity.AccessToken || strings.Join(live.Token.Scopes, " ") != "read" {
			t.Errorf("introspected %+v, %v", live, err)
		}
	})
}

// What is no longer good is not active for anybody, and why is nobody's business.
func TestWhatIsNotActive(t *testing.T) {
	change := func(h *house, id identity.SubjectID, write func(*identity.Subject)) {
		h.Update(func(tx identity.Tx) error {
			s, err := tx.Subject(h.t.Context(), id)
			if err != nil {
				return err
			}
			write(&s)
			if err := tx.UpdateSubject(h.t.Context(), s); err != nil {
				return err
			}
			return tx.Announce(h.t.Context(), identity.SubjectChanged, string(id), h.Clock.Now())
		})
	}
	tests := []struct {
		name string
		raw  func(h *house) string
	}{
		{"nothing", func(*house) string { return "" }},
		{"nonsense", func(*house) string { return "nonsense" }},
		{"unknown, of the right length", func(*house) string { return strings.Repeat("0", 64) }},
		{"very long", func(*house) string { return strings.Repeat("0", token.MaxLength+1) }},
		{"forged", func(*house) string { return "signed.jti-unknown" }},
		{"an ID token", func(h *house) string {
			return h.print(h.begin(signedDoor, app.ID), app.ID, func(f *token.Facts) { f.Kind = identity.IDToken })
		}},
		{"a step of a sign-in", func(h *house) string {
			return h.print(h.begin(signedDoor, app.ID), app.ID, func(f *token.Facts) { f.TicketID = "ticket" })
		}},
		{"of another person's session", func(h *house) string {
			return h.print(h.begin(signedDoor, app.ID), app.ID, func(f *token.Facts) { f.SubjectID = "somebody" })
		}},
		{"of a session at another door", func(h *house) string { return h.print(h.begin(coretest.Lax, app.ID), app.ID) }},
		{"not valid yet", func(h *house) string {
			return h.print(h.begin(signedDoor, app.ID), app.ID, func(f *token.Facts) { f.NotBefore = h.Clock.Now().Add(time.Minute) })
		}},
		{"a client's own, the client unknown", func(h *house) string { return h.print(identity.Session{}, "nobody") }},
		{"expired access", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			h.Clock.Advance(time.Hour)
			return h.access(s)
		}},
		{"expired refresh", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			h.Clock.Advance(8 * time.Hour)
			return h.refresh(s)
		}},
		{"idle too long", func(h *house) string {
			s := h.begin(coretest.Door, app.ID)
			h.Clock.Advance(2 * time.Hour)
			return h.refresh(s)
		}},
		{"the session was ended", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			if !h.inspect(app, h.access(s)) {
				h.t.Error("not active before")
			}
			if _, err := h.Sessions.End(h.t.Context(), coretest.Caller(coretest.Lax), s.ID, "test"); err != nil {
				h.t.Fatal(err)
			}
			return h.access(s)
		}},
		{"the session was ended, its refresh token", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			if _, err := h.Sessions.End(h.t.Context(), coretest.Caller(coretest.Lax), s.ID, "test"); err != nil {
				h.t.Fatal(err)
			}
			return h.refresh(s)
		}},
		{"she was suspended", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			if !h.inspect(app, h.access(s)) {
				h.t.Error("not active before")
			}
			change(h, s.SubjectID, func(subject *identity.Subject) { subject.SuspendedAt = h.Clock.Now() })
			return h.access(s)
		}},
		{"replaced access", func(h *house) string {
			s := h.begin(coretest.Door, app.ID)
			h.rotate(s)
			return h.access(s)
		}},
		{"spent refresh", func(h *house) string {
			s := h.begin(coretest.Door, app.ID)
			h.rotate(s)
			return h.refresh(s)
		}},
		{"spent refresh inside its grace", func(h *house) string {
			s := h.begin(coretest.Lax, app.ID)
			h.rotate(s)
			return h.refresh(s)
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				raw := tt.raw(h)
				for _, client := range []identity.Client{app, api, stranger, gateway} {
					if h.inspect(client, raw) {
						t.Errorf("%s is told that it is active", client.ID)
					}
				}
			})
		}
		// Looking is not presenting: a spent one that was looked at is no theft.
		s := h.begin(coretest.Door, app.ID)
		next := h.rotate(s)
		if h.inspect(app, h.refresh(s)) || !h.inspect(app, h.refresh(next)) || !h.inspect(app, h.access(next)) {
			t.Error("looking at a spent refresh token ended the family")
		}
		kept := h.begin(coretest.Lax, app.ID, func(in *signin.PasswordInput) { in.KeepsSpent = true })
		h.rotate(kept)
		if !h.inspect(app, h.refresh(kept)) {
			t.Error("one that its contract keeps good is not active")
		}
		// A door whose tokens cannot be introspected.
		s = h.begin(coretest.Lax, app.ID)
		h.Grants.Forms = []token.Form{coretest.Form(coretest.Door), h.tokens}
		if h.inspect(gateway, h.access(s)) || h.inspect(gateway, h.refresh(s)) {
			t.Error("another door's token is active")
		}
	})
}

func TestWhileTheStoreIsAwayNothingIsSaid(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		raw := h.access(h.begin(coretest.Door, app.ID))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if live, err := h.Grants.Introspect(gone, app, raw); live != nil || !errors.Is(err, identity.Unavailable) {
			t.Errorf("Introspect = %v, %v, want %v", live, err, identity.Unavailable)
		}
		if err := h.Grants.Revoke(gone, coretest.Caller(coretest.Door), app, raw); !errors.Is(err, identity.Unavailable) {
			t.Errorf("Revoke = %v, want %v", err, identity.Unavailable)
		}
		if !h.inspect(app, raw) {
			t.Error("it is active once the store is back")
		}
	})
}

func TestRevoke(t *testing.T) {
	// Each token is one of a pair of one session, so that a test sees what else went with it.
	tests := []struct {
		name    string
		client  identity.Client
		owner   identity.ClientID
		door    identity.Door
		refresh bool
		want    error
	}{
		{name: "own access", client: app, owner: app.ID, door: coretest.Door},
		{name: "own refresh", client: app, owner: app.ID, door: coretest.Door, refresh: true},
		{name: "own signed access", client: app, owner: app.ID, door: signedDoor},
		{name: "foreign access", client: stranger, owner: app.ID, door: coretest.Door, want: identity.Denied},
		{name: "foreign refresh", client: stranger, owner: app.ID, door: coretest.Lax, refresh: true, want: identity.Denied},
		{name: "meant for it, but not its own", client: api, owner: app.ID, door: signedDoor, want: identity.Denied},
		{name: "who may look may not revoke", client: gateway, owner: app.ID, door: coretest.Door, want: identity.Denied},
		{name: "of a door without clients", client: app, owner: "", door: coretest.Door, want: identity.Denied},
		{name: "foreign access with the scope", client: janitor, owner: app.ID, door: coretest.Door},
		{name: "foreign refresh with the scope", client: janitor, owner: app.ID, door: coretest.Lax, refresh: true},
		{name: "foreign signed access with the scope", client: janitor, owner: app.ID, door: signedDoor},
		{name: "of a door without clients with the scope", client: janitor, owner: "", door: coretest.Lax},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := h.begin(tt.door, tt.owner)
				access, sibling := h.access(s), h.refresh(s)
				if tt.door == signedDoor {
					access, sibling = h.print(s, tt.owner), h.print(s, tt.owner)
				}
				for _, raw := range []string{access, sibling} {
					if !h.inspect(gateway, raw) {
						t.Fatal("not active before")
					}
				}
				target, rest := access, sibling
				if tt.refresh {
					target, rest = sibling, access
				}
				if err := h.revoke(tt.client, target); !errors.Is(err, tt.want) {
					t.Fatalf("Revoke = %v, want %v", err, tt.want)
				}
				if got, want := h.inspect(gateway, target), tt.want != nil; got != want {
					t.Errorf("afterwards it is active: %v, want %v", got, want)
				}
				// A refresh token takes its session along, an access token nothing (RFC 7009, section 2.1).
				if got, want := h.inspect(gateway, rest), tt.want != nil || !tt.refresh; got != want {
					t.Errorf("afterwards the other one is active: %v, want %v", got, want)
				}
				if tt.want == nil {
					if err := h.revoke(tt.client, target); err != nil {
						t.Errorf("a second time: %v", err)
					}
				}
				action := "token.revoke"
				if tt.refresh {
					action = "session.end"
				}
				h.View(func(r identity.Reader) error {
					events, err := r.Events(t.Context(), identity.EventFilter{Action: action, SubjectID: s.SubjectID, Limit: 10})
					if want := map[bool]int{true: 1}[tt.want == nil]; len(events) != want {
						t.Errorf("%d audit rows %s, want %d", len(events), action, want)
					}
					if len(events) == 1 && !tt.refresh && events[0].ClientID != tt.client.ID {
						t.Errorf("recorded for %s", events[0].ClientID)
					}
					return err
				})
			})
		}
		own := h.print(identity.Session{}, app.ID)
		if err := h.revoke(app, own); err != nil || h.inspect(gateway, own) {
			t.Errorf("a client's own token: %v, and still active: %v", err, h.inspect(gateway, own))
		}
	})
}

// A token that is none is no error, whoever asks: the client wanted it gone, and it is (RFC 7009, section 2.2).
func TestRevokingWhatIsNoTokenIsNoError(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		ended, expired := h.begin(coretest.Door, app.ID), h.begin(coretest.Lax, app.ID)
		if _, err := h.Sessions.End(t.Context(), coretest.Caller(coretest.Door), ended.ID, "test"); err != nil {
			t.Fatal(err)
		}
		stated := h.print(h.begin(signedDoor, app.ID), app.ID)
		h.Clock.Advance(8 * time.Hour)
		for name, raw := range map[string]string{
			"nothing": "", "nonsense": "nonsense", "unknown": strings.Repeat("0", 64), "very long": strings.Repeat("0", token.MaxLength+1),
			"forged": "signed.jti-unknown", "of an ended session": h.access(ended), "refresh of an ended session": h.refresh(ended),
			"expired": h.access(expired), "expired refresh": h.refresh(expired), "expired, signed": stated,
		} {
			for _, client := range []identity.Client{app, stranger} {
				if err := h.revoke(client, raw); err != nil {
					t.Errorf("%s, by %s: %v", name, client.ID, err)
				}
			}
		}
	})
}

func TestManyRevokeAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		opaque, stated := h.begin(coretest.Door, app.ID), h.begin(signedDoor, app.ID)
		for _, raw := range []string{h.access(opaque), h.print(stated, app.ID), h.refresh(opaque)} {
			if !h.inspect(app, raw) {
				t.Fatal("not active before")
			}
			var all sync.WaitGroup
			for n := range 16 {
				client := app
				if n%2 == 1 {
					client = janitor
				}
				all.Go(func() {
					if err := h.revoke(client, raw); err != nil {
						t.Errorf("Revoke = %v", err)
					}
				})
			}
			all.Wait()
			if h.inspect(app, raw) || h.inspect(gateway, raw) {
				t.Error("still active")
			}
		}
		h.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{Action: "session.end", Limit: 50})
			if len(events) != 1 || events[0].SessionID != opaque.ID {
				t.Errorf("ended %d times: %+v", len(events), events)
			}
			return err
		})
	})
}
