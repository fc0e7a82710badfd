package world

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gatehouse/internal/identity"
)

// boundTo is what a client of the file is to be bound to; nil fields stay.
type boundTo struct {
	organisation *identity.OrganisationID
	device       *identity.DeviceID
}

// bound finds what a client names, and says how that differs from what is stored. Of a device alone the organisation follows.
func (a *applier) bound(ctx context.Context, c Client, old identity.Client, changes *[]string) (boundTo, error) {
	var to boundTo
	if c.Organisation != nil {
		to.organisation = new(identity.OrganisationID)
		if *c.Organisation != "" {
			o, err := a.tx.OrganisationByKey(ctx, *c.Organisation)
			if err != nil {
				return to, err
			}
			*to.organisation = o.ID
		}
	}
	if c.Device != nil {
		to.device = new(identity.DeviceID)
		if *c.Device != "" {
			d, err := a.tx.DeviceByKey(ctx, *c.Device)
			if err != nil {
				return to, err
			}
			if *to.device = d.ID; to.organisation == nil {
				to.organisation = &d.OrganisationID
			}
		}
	}
	if to.organisation != nil && *to.organisation != old.OrganisationID {
		before, err := a.organisationKey(ctx, old.OrganisationID)
		if err != nil {
			return to, err
		}
		after, err := a.organisationKey(ctx, *to.organisation)
		if err != nil {
			return to, err
		}
		differs(changes, "organisation", before, &after)
	}
	if to.device != nil && *to.device != old.DeviceID {
		before := ""
		if old.DeviceID != "" {
			d, err := a.tx.Device(ctx, old.DeviceID)
			if err != nil {
				return to, err
			}
			before = d.Key
		}
		differs(changes, "device", before, c.Device)
	}
	return to, nil
}

func (a *applier) organisationKey(ctx context.Context, id identity.OrganisationID) (string, error) {
	if id == "" {
		return "", nil
	}
	o, err := a.tx.Organisation(ctx, id)
	return o.Key, err
}

// clientReferences is the part of references that is about clients: what they name stands, and the device is the organisation's.
func (a *applier) clientReferences(ctx context.Context, m *Mistakes, organisation, device func(key string, at place) error) error {
	described := map[string]string{}
	for _, d := range a.w.Devices {
		described[d.Key] = d.Organisation
	}
	for _, c := range a.w.Clients {
		if c.Organisation != nil {
			if err := organisation(*c.Organisation, c.at("organisation")); err != nil {
				return err
			}
		}
		if c.Device == nil || *c.Device == "" {
			continue
		}
		if err := device(*c.Device, c.at("device")); err != nil {
			return err
		}
		if c.Organisation == nil {
			continue
		}
		whose, inFile := described[*c.Device]
		if !inFile {
			var err error
			if whose, err = a.organisationOf(ctx, *c.Device); errors.Is(err, identity.NotFound) {
				continue // said already
			} else if err != nil {
				return err
			}
		}
		if whose != *c.Organisation {
			m.add(a.w.File, c.at("device"), fmt.Sprintf("device %q is of organisation %q", *c.Device, whose))
		}
	}
	return nil
}

// organisationOf gives the key of the organisation whose a stored device is.
func (a *applier) organisationOf(ctx context.Context, device string) (string, error) {
	d, err := a.tx.DeviceByKey(ctx, device)
	if err != nil {
		return "", err
	}
	return a.organisationKey(ctx, d.OrganisationID)
}

// clientsGo says which clients go with a device or an organisation that is pruned. One that the file has is no such client: then the
// file says two things.
func (a *applier) clientsGo(ctx context.Context, org identity.OrganisationID, device identity.DeviceID, what string) error {
	var after identity.ClientID
	for {
		page, err := a.tx.ClientsOf(ctx, org, device, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			after = c.ID
			if slices.ContainsFunc(a.w.Clients, func(in Client) bool { return in.ID == c.ID }) {
				return identity.Conflict.Because(fmt.Sprintf("the client %q is bound to %s, which is not in the file", c.ID, what))
			}
			a.step(Delete, "client", string(c.ID))
		}
	}
}
