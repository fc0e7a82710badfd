package manage_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestPrograms(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ctx := t.Context()
		organisation := func(key string) identity.OrganisationID {
			o, err := h.CreateOrganisation(ctx, operator, manage.NewOrganisation{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			return o.ID
		}
		acme, globex := organisation("acme"), organisation("globex")
		const camera, drill identity.DeviceID = "01a0b000-0000-7000-8000-0000000000d1", "01a0b000-0000-7000-8000-0000000000d2"
		h.core.Update(func(tx identity.Tx) error {
			return errors.Join(tx.SaveDevice(ctx, identity.Device{ID: camera, Key: "camera", OrganisationID: acme}),
				tx.SaveDevice(ctx, identity.Device{ID: drill, Key: "drill", OrganisationID: globex}))
		})
		own := []string{"client_credentials"}
		for _, tt := range []struct {
			id     identity.ClientID
			org    identity.OrganisationID
			device identity.DeviceID
			field  string
		}{
			{"house", "", "", ""}, {"reports", acme, "", ""}, {"camera", acme, camera, ""}, {"implied", "", camera, ""}, {"drill", "", drill, ""},
			{"wrong", globex, camera, "device"}, {"lost", acme, "nothing", "device"}, {"nobodys", "nobody", "", "organisation"}, {"neither", "nobody", camera, "device"},
		} {
			client, _, err := h.CreateClient(ctx, operator, manage.NewClient{ID: tt.id, Grants: own, OrganisationID: tt.org, DeviceID: tt.device})
			if tt.field != "" {
				wantField(t, err, identity.Invalid, tt.field)
				continue
			}
			want := tt.org
			if tt.device == camera {
				want = acme
			} else if tt.device == drill {
				want = globex
			}
			if err != nil || client.OrganisationID != want || client.DeviceID != tt.device {
				t.Errorf("%s is of %q as %q, %v", tt.id, client.OrganisationID, client.DeviceID, err)
			}
		}
		if e := h.recorded("client.create"); e.OrganisationID != globex || !bytes.Contains(e.Detail, []byte(globex)) || !bytes.Contains(e.Detail, []byte(drill)) {
			t.Errorf("the audit log says %+v %s", e, e.Detail)
		}

		none, noDevice := identity.OrganisationID(""), identity.DeviceID("")
		change := func(org *identity.OrganisationID, device *identity.DeviceID) (identity.Client, error) {
			return h.UpdateClient(ctx, operator, "camera", manage.ClientChange{OrganisationID: org, DeviceID: device})
		}
		bound := func(c identity.Client, err error) func(identity.OrganisationID, identity.DeviceID) {
			return func(org identity.OrganisationID, device identity.DeviceID) {
				t.Helper()
				if err != nil || c.OrganisationID != org || c.DeviceID != device {
					t.Errorf("of %q as %q, %v; want %q as %q", c.OrganisationID, c.DeviceID, err, org, device)
				}
			}
		}
		refused := func(org *identity.OrganisationID, device *identity.DeviceID, field string) {
			t.Helper()
			_, err := change(org, device)
			wantField(t, err, identity.Invalid, field)
		}
		to := func(d identity.DeviceID) *identity.DeviceID { return &d }
		refused(&globex, nil, "organisation") // with acme's device
		refused(&none, nil, "organisation")
		refused(&globex, to(camera), "organisation")
		refused(&acme, to(drill), "device")
		refused(nil, to("nothing"), "device")
		bound(change(nil, nil))(acme, camera)
		bound(change(nil, to(drill)))(globex, drill)
		if e := h.recorded("client.update"); !bytes.Contains(e.Detail, []byte(camera)) || !bytes.Contains(e.Detail, []byte(drill)) || e.OrganisationID != globex {
			t.Errorf("the audit log says %+v %s", e, e.Detail)
		}
		bound(change(nil, &noDevice))(globex, "")
		bound(change(&acme, nil))(acme, "")
		bound(change(&none, nil))("", "")
		bound(change(&acme, to(camera)))(acme, camera)
		bound(change(&none, &noDevice))("", "")
		bound(change(nil, to(camera)))(acme, camera)

		// They go with their organisation, and are told of.
		if err := h.DeleteOrganisation(ctx, operator, acme); err != nil {
			t.Fatal(err)
		}
		var left []identity.ClientID
		h.core.View(func(r identity.Reader) error {
			clients, err := r.Clients(ctx, "", 100)
			for _, c := range clients {
				left = append(left, c.ID)
			}
			return err
		})
		if !slices.Equal(left, []identity.ClientID{"drill", "house"}) {
			t.Errorf("left are %q", left)
		}
		for _, id := range []string{"reports", "camera", "implied"} {
			h.announced(identity.ClientChanged, id)
		}
		if e := h.recorded("client.delete"); e.OrganisationID != acme || !bytes.Contains(e.Detail, []byte("organisation deleted")) {
			t.Errorf("the audit log says %+v %s", e, e.Detail)
		}
	})
}
