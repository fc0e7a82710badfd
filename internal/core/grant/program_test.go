package grant_test

import (
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const (
	acme   identity.OrganisationID = "01a0b000-0000-7000-8000-0000000000a1"
	globex identity.OrganisationID = "01a0b000-0000-7000-8000-0000000000a2"
	camera identity.DeviceID       = "01a0b000-0000-7000-8000-0000000000d1"
	drill  identity.DeviceID       = "01a0b000-0000-7000-8000-0000000000d2"
)

// program is a house with two organisations, their devices, and a client that signs in as acme's camera.
func program(t *testing.T, store identity.Store) (*house, identity.Client) {
	t.Helper()
	h := build(t, store)
	h.Update(func(tx identity.Tx) error {
		for org, device := range map[identity.OrganisationID]identity.DeviceID{acme: camera, globex: drill} {
			if err := tx.CreateOrganisation(t.Context(), &identity.Organisation{ID: org, Key: string(org), Name: string(org)}); err != nil {
				return err
			}
			if err := tx.SaveDevice(t.Context(), identity.Device{ID: device, Key: string(device), OrganisationID: org}); err != nil {
				return err
			}
		}
		return nil
	})
	client := identity.Client{ID: "camera", SecretHash: grant.HashGenerated(generated), OrganisationID: acme, DeviceID: camera}
	create(t, h.Core, client)
	return h, client
}

// expires moves an organisation's end, as core/manage does.
func (h *house) expires(id identity.OrganisationID, at time.Time) {
	h.t.Helper()
	h.Update(func(tx identity.Tx) error {
		o, err := tx.Organisation(h.t.Context(), id)
		if err != nil {
			return err
		}
		o.ExpiresAt = at
		if err := tx.UpdateOrganisation(h.t.Context(), o); err != nil {
			return err
		}
		return tx.Announce(h.t.Context(), identity.PolicyChanged, string(id), h.Clock.Now())
	})
}

// What an organisation's program may do ends with the organisation, at that instant and on word of it: no new tokens, and those that
// are out are worth nothing, its own as those of people who came through it. It all comes back if she does.
func TestProgramsEndWithTheirOrganisation(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, client := program(t, store)
		person := h.begin(coretest.Lax, client.ID)
		own, hers := h.print(identity.Session{}, client.ID, asCamera), h.access(person)
		alive := func(what string, want bool) {
			t.Helper()
			for range 2 { // read, then remembered
				var refusal error
				if !want {
					refusal = identity.ClientInvalid
				}
				authenticate(t, h.Grants, client.ID, generated, refusal)
				if h.inspect(api, own) != want || h.inspect(gateway, hers) != want {
					t.Errorf("%s: its own token active %v, a person's %v", what, h.inspect(api, own), h.inspect(gateway, hers))
				}
			}
			_, err := h.Sessions.Refresh(t.Context(), session.RefreshInput{Caller: coretest.Caller(coretest.Lax), Form: coretest.Form(coretest.Lax), Raw: h.refresh(person)})
			if (err == nil) != want {
				t.Errorf("%s: refreshing gives %v", what, err)
			}
		}
		alive("at first", true)
		h.expires(acme, h.Clock.Now().Add(time.Minute))
		alive("before the end", true)
		h.Clock.Advance(time.Minute)
		alive("at the end", false)
		h.expires(acme, time.Time{})
		alive("for ever", true)
		h.expires(globex, h.Clock.Now())
		alive("another's end", true)
		h.expires(acme, h.Clock.Now())
		alive("ended now", false)
		// Who has not proven to be the client does not learn of it.
		for secret, want := range map[identity.Secret]string{generated: "the client's organisation has ended", "guess": "unknown client or wrong secret"} {
			if _, err := h.Grants.Authenticate(t.Context(), coretest.Caller(coretest.Door), client.ID, secret); identity.Describe(err).Public != want {
				t.Errorf("with %s: %v", secret.Reveal(), err)
			}
		}
		h.expires(acme, time.Time{})
		h.Update(func(tx identity.Tx) error { // by a version that knows of no programs: nobody is told of the client
			if err := tx.DeleteOrganisation(t.Context(), acme); err != nil {
				return err
			}
			return tx.Announce(t.Context(), identity.PolicyChanged, string(acme), h.Clock.Now())
		})
		alive("deleted", false)
	})
}

func asCamera(f *token.Facts) { f.OrganisationID, f.DeviceID = acme, camera }

// A token of a program's own is about whom it says: one that was printed for others, or before it was bound, is old.
func TestOwnTokensAreOfWhomTheClientIsBoundTo(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, client := program(t, store)
		bind := func(org identity.OrganisationID, device identity.DeviceID) {
			client.OrganisationID, client.DeviceID = org, device
			save(t, h.Core, client, func(tx identity.Tx, c identity.Client) error { return tx.UpdateClient(t.Context(), c) })
		}
		tokens := map[string]string{}
		for name, of := range map[string]struct {
			org    identity.OrganisationID
			device identity.DeviceID
		}{"camera": {acme, camera}, "acme": {acme, ""}, "drill": {globex, drill}, "house": {"", ""}} {
			tokens[name] = h.print(identity.Session{}, client.ID, func(f *token.Facts) { f.OrganisationID, f.DeviceID = of.org, of.device })
		}
		only := func(want string) {
			t.Helper()
			for name, raw := range tokens {
				for range 2 {
					if h.inspect(api, raw) != (name == want) {
						t.Errorf("bound to %s, the token of %s is active: %v", want, name, h.inspect(api, raw))
					}
				}
			}
		}
		only("camera")
		bind(globex, drill)
		only("drill")
		bind(acme, "")
		only("acme")
		bind("", "")
		only("house")
		bind(acme, camera)
		only("camera")
		live, err := h.Grants.Introspect(t.Context(), api, tokens["camera"])
		if err != nil || live == nil || live.Token.OrganisationID != acme || live.Token.DeviceID != camera {
			t.Errorf("%+v, %v", live, err)
		}
	})
}
