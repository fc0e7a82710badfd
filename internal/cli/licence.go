package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
	verify "gatehouse/verify/licence"
)

type agreementCmd struct {
	List agreementListCmd `cmd:"" help:"List all."`
	Add  agreementAddCmd  `cmd:"" help:"Make one, or change the one of that key."`
}

type agreementJSON struct {
	ID          string   `json:"id"`
	Key         string   `json:"key"`
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`
	Provides    []string `json:"provides"`
	PublishedAt string   `json:"published_at,omitempty"`
}

func agreementObject(a identity.Agreement) agreementJSON {
	return agreementJSON{string(a.ID), a.Key, a.Name, a.Kind, orNone(a.Provides), when(a.PublishedAt)}
}

type agreementListCmd struct{ listFlags }

func (c *agreementListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "KEY", "NAME", "KIND", "PROVIDES", "PUBLISHED")
		after := identity.AgreementID("")
		return t.end(each(func(limit int) ([]identity.Agreement, error) {
			return h.Licences.Agreements(e.ctx, after, limit)
		}, func(a identity.Agreement) {
			after = a.ID
			t.row(agreementObject(a), a.Key, a.Name, a.Kind, strings.Join(a.Provides, " "), when(a.PublishedAt))
		}))
	})
}

type agreementAddCmd struct {
	Key      string   `arg:"" help:"Its key."`
	Name     string   `help:"What people call it."`
	Kind     string   `help:"trial, subscription, …" required:""`
	Provides []string `help:"What it entitles to, separated by commas." placeholder:"WORD,…"`
	Draft    bool     `help:"Publish it later: no licence is made of a draft."`
	jsonFlag
}

func (c *agreementAddCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		a := identity.Agreement{Key: c.Key, Name: c.Name, Kind: c.Kind, Provides: c.Provides}
		old, err := h.Licences.AgreementByKey(e.ctx, c.Key)
		switch identity.KindOf(err) {
		case identity.NotFound:
		default:
			if err != nil {
				return err
			}
			a.ID, a.PublishedAt = old.ID, old.PublishedAt
		}
		if c.Draft {
			a.PublishedAt = time.Time{}
		} else if a.PublishedAt.IsZero() {
			a.PublishedAt = h.Now()
		}
		if a, err = h.Licences.SaveAgreement(e.ctx, e.caller(), a); err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, agreementObject(a))
		}
		return say(e, "agreement "+a.Key+" stands")
	})
}

type deviceCmd struct {
	List   deviceListCmd   `cmd:"" help:"List all, or those of one organisation."`
	Add    deviceAddCmd    `cmd:"" help:"Register one."`
	Remove deviceRemoveCmd `cmd:"" help:"Remove one with its clients; its seats are free, and what it holds of licences is revoked."`
}

type deviceJSON struct {
	ID           string `json:"id"`
	Key          string `json:"key"`
	Name         string `json:"name"`
	Organisation string `json:"organisation"`
}

func deviceObject(d identity.Device) deviceJSON {
	return deviceJSON{string(d.ID), d.Key, d.Name, string(d.OrganisationID)}
}

func findDevice(e *environment, h *app.House, name string) (identity.Device, error) {
	d, err := h.Licences.Device(e.ctx, name)
	if identity.KindOf(err) == identity.NotFound {
		err = identity.NotFound.Because(fmt.Sprintf("no device has the key or id %q; `gatehouse device list` shows all", name))
	}
	return d, err
}

// orgOf gives the id of the organisation that a flag names, "" where it names none.
func orgOf(e *environment, h *app.House, key string) (identity.OrganisationID, error) {
	if key == "" {
		return "", nil
	}
	o, err := findOrg(e, h, key)
	return o.ID, err
}

type deviceListCmd struct {
	Org string `help:"Of the organisation with this key." placeholder:"KEY"`
	listFlags
}

func (c *deviceListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		org, err := orgOf(e, h, c.Org)
		if err != nil {
			return err
		}
		t := newTable(e.Out, c.JSON, "KEY", "NAME", "ORGANISATION", "ID")
		after := identity.DeviceID("")
		return t.end(each(func(limit int) ([]identity.Device, error) {
			return h.Licences.Devices(e.ctx, org, after, limit)
		}, func(d identity.Device) {
			after = d.ID
			t.row(deviceObject(d), d.Key, d.Name, string(d.OrganisationID), string(d.ID))
		}))
	})
}

type deviceAddCmd struct {
	Key  string `arg:"" help:"Its key."`
	Org  string `help:"Key of the organisation that it belongs to." required:"" placeholder:"KEY"`
	ID   string `help:"Its UUID, where it has one; else one is made." placeholder:"UUID"`
	Name string `help:"What people call it."`
	jsonFlag
}

func (c *deviceAddCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		org, err := orgOf(e, h, c.Org)
		if err != nil {
			return err
		}
		if c.ID != "" {
			if d, err := h.Licences.Device(e.ctx, c.ID); err == nil {
				return identity.Conflict.Because(fmt.Sprintf("the device %q has this id", d.Key))
			} else if identity.KindOf(err) != identity.NotFound {
				return err
			}
		}
		d, err := h.Licences.SaveDevice(e.ctx, e.caller(), identity.Device{ID: identity.DeviceID(c.ID), Key: c.Key, Name: c.Name, OrganisationID: org})
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, deviceObject(d))
		}
		return say(e, "device "+d.Key+" is registered as "+string(d.ID))
	})
}

type deviceRemoveCmd struct {
	Device string `arg:"" help:"Its key or id."`
	jsonFlag
}

func (c *deviceRemoveCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		d, err := findDevice(e, h, c.Device)
		if err != nil {
			return err
		}
		if err := h.Licences.DeleteDevice(e.ctx, e.caller(), d.ID); err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, map[string]any{"id": d.ID, "removed": true})
		}
		return say(e, "device "+d.Key+" is removed")
	})
}

type licenceCmd struct {
	List        licenceListCmd        `cmd:"" help:"List all, or those of one organisation, latest start first."`
	Show        licenceShowCmd        `cmd:"" help:"Show one with its devices and its history."`
	Add         licenceAddCmd         `cmd:"" help:"Make one."`
	Renew       licenceRenewCmd       `cmd:"" help:"Let one end later; what held before is kept as history."`
	Assign      licenceAssignCmd      `cmd:"" help:"Have one name a device, if a seat is free."`
	Release     licenceReleaseCmd     `cmd:"" help:"Free a device's seat; documents that are out are revoked."`
	Revoke      licenceRevokeCmd      `cmd:"" help:"End one now; documents that are out are on the next revocation list."`
	Issue       licenceIssueCmd       `cmd:"" help:"Print a signed document of one, which a device checks without a network."`
	Revocations licenceRevocationsCmd `cmd:"" help:"Print the signed revocation list, to be carried to devices."`
	Verify      licenceVerifyCmd      `cmd:"" help:"Check a document as a device does: with files alone, no store and no network."`
}

type licenceJSON struct {
	ID             string        `json:"id"`
	Key            string        `json:"key"`
	Code           string        `json:"code"`
	State          string        `json:"state"`
	Agreement      string        `json:"agreement"`
	Organisation   string        `json:"organisation"`
	Provider       string        `json:"provider,omitempty"`
	StartsAt       string        `json:"starts_at"`
	ExpiresAt      string        `json:"expires_at,omitempty"`
	Grace          string        `json:"grace"`
	PaidUntil      string        `json:"paid_until,omitempty"`
	AmountPerMonth int64         `json:"amount_per_month"`
	DiscountBP     int           `json:"discount_bp"`
	Catalogues     []string      `json:"catalogues"`
	Seats          int           `json:"seats"`
	Taken          int           `json:"taken"`
	EveryDevice    bool          `json:"every_device"`
	SignedBy       string        `json:"signed_by,omitempty"`
	SignedAt       string        `json:"signed_at,omitempty"`
	RevokedAt      string        `json:"revoked_at,omitempty"`
	RevokedFor     string        `json:"revoked_for,omitempty"`
	Devices        []deviceJSON  `json:"devices,omitempty"`
	Renewals       []renewalJSON `json:"renewals,omitempty"`
}

type renewalJSON struct {
	At           string `json:"at"`
	By           string `json:"by,omitempty"`
	OldExpiresAt string `json:"old_expires_at,omitempty"`
	NewExpiresAt string `json:"new_expires_at,omitempty"`
	OldPaidUntil string `json:"old_paid_until,omitempty"`
	NewPaidUntil string `json:"new_paid_until,omitempty"`
	OldAmount    int64  `json:"old_amount"`
	NewAmount    int64  `json:"new_amount"`
}

func licenceObject(l licence.Shown, now time.Time) licenceJSON {
	return licenceJSON{
		ID: string(l.ID), Key: l.Key, Code: l.Code, State: string(l.StateAt(now)), Agreement: l.Agreement.Key, Organisation: l.Organisation.Key,
		Provider: l.Provider.Key, StartsAt: when(l.StartsAt), ExpiresAt: when(l.ExpiresAt), Grace: policy.Span(l.Grace), PaidUntil: when(l.PaidUntilAt),
		AmountPerMonth: l.AmountPerMonth, DiscountBP: l.DiscountBP, Catalogues: orNone(l.Catalogues), Seats: l.Seats, Taken: l.Taken, EveryDevice: !l.Named,
		SignedBy: string(l.SignedBy), SignedAt: when(l.SignedAt), RevokedAt: when(l.RevokedAt), RevokedFor: l.RevokedFor,
	}
}

// named is the argument of most verbs about one licence.
type named struct {
	Licence string `arg:"" help:"Its key or id."`
}

func (n named) find(e *environment, h *app.House) (licence.Details, error) {
	d, err := h.Licences.Find(e.ctx, n.Licence)
	if identity.KindOf(err) == identity.NotFound {
		err = identity.NotFound.Because(fmt.Sprintf("no licence has the key or id %q; `gatehouse licence list` shows all", n.Licence))
	}
	return d, err
}

// changed prints what became of a licence.
func (n named) changed(e *environment, h *app.House, asJSON bool, l identity.Licence, words string) error {
	if !asJSON {
		return say(e, "licence "+l.Key+" "+words)
	}
	d, err := n.find(e, h)
	if err != nil {
		return err
	}
	return object(e.Out, detailsObject(d, h.Now()))
}

func detailsObject(d licence.Details, now time.Time) licenceJSON {
	out := licenceObject(d.Shown, now)
	for _, v := range d.Devices {
		out.Devices = append(out.Devices, deviceObject(v))
	}
	for _, r := range d.Renewals {
		out.Renewals = append(out.Renewals, renewalJSON{
			when(r.At), string(r.By), when(r.OldExpiresAt), when(r.NewExpiresAt), when(r.OldPaidUntilAt), when(r.NewPaidUntilAt), r.OldAmount, r.NewAmount,
		})
	}
	return out
}

type licenceListCmd struct {
	Org string `help:"Of the organisation with this key." placeholder:"KEY"`
	listFlags
}

func (c *licenceListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		org, err := orgOf(e, h, c.Org)
		if err != nil {
			return err
		}
		t := newTable(e.Out, c.JSON, "KEY", "STATE", "AGREEMENT", "ORGANISATION", "STARTS", "EXPIRES", "SEATS", "ID")
		after, offset := identity.LicenceID(""), int64(0)
		return t.end(each(func(limit int) ([]licence.Shown, error) {
			return h.Licences.All(e.ctx, org, after, offset, limit)
		}, func(l licence.Shown) {
			after = l.ID
			offset++
			o := licenceObject(l, h.Now())
			t.row(o, o.Key, o.State, o.Agreement, o.Organisation, o.StartsAt, o.ExpiresAt, fmt.Sprintf("%d of %d", o.Taken, o.Seats), o.ID)
		}))
	})
}

type licenceShowCmd struct {
	named
	jsonFlag
}

func (c *licenceShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		d, err := c.find(e, h)
		if err != nil {
			return err
		}
		o := detailsObject(d, h.Now())
		if c.JSON {
			return object(e.Out, o)
		}
		t := newTable(e.Out, false, o.Key, o.State)
		for _, row := range [][2]string{
			{"id", o.ID}, {"code", o.Code}, {"agreement", o.Agreement + " (" + strings.Join(d.Agreement.Provides, " ") + ")"}, {"organisation", o.Organisation},
			{"provider", o.Provider}, {"starts", o.StartsAt}, {"expires", o.ExpiresAt}, {"grace", o.Grace}, {"paid until", o.PaidUntil},
			{"amount per month", strconv.FormatInt(o.AmountPerMonth, 10)}, {"seats", fmt.Sprintf("%d of %d", o.Taken, o.Seats)},
			{"signed by", d.Signed.Email}, {"revoked", strings.TrimSpace(o.RevokedAt + " " + o.RevokedFor)},
		} {
			if row[1] != "" {
				t.row(nil, row[0], row[1])
			}
		}
		if o.EveryDevice {
			t.row(nil, "device", "every one of the organisation")
		}
		for _, v := range d.Devices {
			t.row(nil, "device", v.Key+" ("+string(v.ID)+")")
		}
		for _, r := range o.Renewals {
			t.row(nil, "renewal", r.At+": "+orDash(r.OldExpiresAt)+" → "+orDash(r.NewExpiresAt))
		}
		return t.end(nil)
	})
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type licenceAddCmd struct {
	Key       string         `arg:"" help:"Its key."`
	Agreement string         `help:"Key of what it is of." required:"" placeholder:"KEY"`
	Org       string         `help:"Key of the organisation that it is for." required:"" placeholder:"KEY"`
	Provider  string         `help:"Key of the organisation that sells it." placeholder:"KEY"`
	Device    []string       `help:"Key or id of a device that it names; may be given several times." placeholder:"KEY"`
	Seats     int            `help:"How many devices it may name; as many as are given, without it."`
	Starts    string         `help:"A day or an instant; now, without it." placeholder:"WHEN"`
	Expires   string         `help:"A day or an instant; never, without it." placeholder:"WHEN"`
	Grace     *time.Duration `help:"How long it goes on after its end; the setting licence.grace, without it." placeholder:"DURATION"`
	jsonFlag
}

func (c *licenceAddCmd) Run(e *environment) error {
	starts, err := parseWhen("--starts", c.Starts)
	if err != nil {
		return err
	}
	expires, err := parseWhen("--expires", c.Expires)
	if err != nil {
		return err
	}
	return e.with(func(h *app.House) error {
		in := licence.New{Key: c.Key, StartsAt: starts, ExpiresAt: expires, Seats: c.Seats, Grace: c.Grace}
		a, err := h.Licences.AgreementByKey(e.ctx, c.Agreement)
		if identity.KindOf(err) == identity.NotFound {
			err = identity.NotFound.Because(fmt.Sprintf("no agreement has the key %q; `gatehouse agreement list` shows all", c.Agreement))
		}
		if err != nil {
			return err
		}
		in.AgreementID = a.ID
		if in.OrganisationID, err = orgOf(e, h, c.Org); err != nil {
			return err
		}
		if in.ProviderID, err = orgOf(e, h, c.Provider); err != nil {
			return err
		}
		for _, name := range c.Device {
			d, err := findDevice(e, h, name)
			if err != nil {
				return err
			}
			in.Devices = append(in.Devices, d.ID)
		}
		l, err := h.Licences.Create(e.ctx, e.caller(), in)
		if err != nil {
			return err
		}
		return named{l.Key}.changed(e, h, c.JSON, l, "is made")
	})
}

// parseWhen reads a day or an instant, zero where there is none.
func parseWhen(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return at, misuse{fmt.Errorf("%s must be a day such as 2027-01-01 or an instant such as 2027-01-01T00:00:00Z", flag)}
	}
	return at.UTC(), nil
}

type licenceRenewCmd struct {
	named
	Until     string `help:"When it ends from now on, a day or an instant." required:"" placeholder:"WHEN"`
	PaidUntil string `help:"Until when it is paid." placeholder:"WHEN"`
	jsonFlag
}

func (c *licenceRenewCmd) Run(e *environment) error {
	until, err := parseWhen("--until", c.Until)
	if err != nil {
		return err
	}
	term := licence.Term{ExpiresAt: until}
	if c.PaidUntil != "" {
		paid, err := parseWhen("--paid-until", c.PaidUntil)
		if err != nil {
			return err
		}
		term.PaidUntilAt = &paid
	}
	return e.with(func(h *app.House) error {
		d, err := c.find(e, h)
		if err != nil {
			return err
		}
		l, err := h.Licences.Renew(e.ctx, e.caller(), d.ID, term)
		if err != nil {
			return err
		}
		return c.changed(e, h, c.JSON, l, "ends on "+when(l.ExpiresAt))
	})
}

type licenceAssignCmd struct {
	named
	Device string `arg:"" help:"Key or id of the device."`
	jsonFlag
}

func (c *licenceAssignCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		l, d, err := c.both(e, h, c.Device)
		if err != nil {
			return err
		}
		after, err := h.Licences.Assign(e.ctx, e.caller(), l.ID, d.ID)
		if err != nil {
			return err
		}
		return c.changed(e, h, c.JSON, after, fmt.Sprintf("names %s; %d of %d seats are taken", d.Key, after.Taken, after.Seats))
	})
}

func (n named) both(e *environment, h *app.House, device string) (licence.Details, identity.Device, error) {
	l, err := n.find(e, h)
	if err != nil {
		return l, identity.Device{}, err
	}
	d, err := findDevice(e, h, device)
	return l, d, err
}

type licenceReleaseCmd struct {
	named
	Device      string `arg:"" help:"Key or id of the device."`
	EveryDevice bool   `help:"It was the last one: have the licence be for every device of the organisation from now on."`
	jsonFlag
}

func (c *licenceReleaseCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		l, d, err := c.both(e, h, c.Device)
		if err != nil {
			return err
		}
		if c.EveryDevice && len(l.Devices) > 1 {
			return identity.Conflict.Because(fmt.Sprintf("the licence names %s; release the others first", countWord(len(l.Devices), "device")))
		}
		after, err := h.Licences.Release(e.ctx, e.caller(), l.ID, d.ID)
		if err == nil && c.EveryDevice {
			named := false
			after, err = h.Licences.Update(e.ctx, e.caller(), l.ID, licence.Change{Named: &named})
		}
		if err != nil {
			return err
		}
		said := fmt.Sprintf("does not name %s any more; %d of %d seats are taken", d.Key, after.Taken, after.Seats)
		switch {
		case !after.Named:
			said += ": it is for every device of the organisation"
		case after.Taken == 0:
			said += ": it is for none until it names one"
		}
		return c.changed(e, h, c.JSON, after, said)
	})
}

type licenceRevokeCmd struct {
	named
	Reason string `help:"Why, for the audit log."`
	jsonFlag
}

func (c *licenceRevokeCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		d, err := c.find(e, h)
		if err != nil {
			return err
		}
		l, err := h.Licences.Revoke(e.ctx, e.caller(), d.ID, c.Reason)
		if err != nil {
			return err
		}
		return c.changed(e, h, c.JSON, l, "is revoked; `gatehouse licence revocations` prints the list for devices")
	})
}

type documentJSON struct {
	Document     string   `json:"document,omitempty"`
	ID           string   `json:"id"`
	Licence      string   `json:"licence"`
	Organisation string   `json:"organisation"`
	Device       string   `json:"device,omitempty"`
	Agreement    string   `json:"agreement"`
	Entitlements []string `json:"entitlements"`
	IssuedAt     string   `json:"issued_at"`
	NotBefore    string   `json:"not_before"`
	LeaseEnd     string   `json:"lease_end"`
	GraceEnd     string   `json:"grace_end"`
	Epoch        int64    `json:"revocation_epoch"`
	Issuer       string   `json:"issuer"`
	State        string   `json:"state,omitempty"`
}

func documentObject(c verify.Claims) documentJSON {
	return documentJSON{
		ID: c.ID, Licence: c.Licence, Organisation: c.Organisation, Device: c.Device, Agreement: c.AgreementName, Entitlements: orNone(c.Entitlements),
		IssuedAt: when(c.IssuedAt), NotBefore: when(c.NotBefore), LeaseEnd: when(c.ExpiresAt), GraceEnd: when(c.GraceEndsAt), Epoch: c.RevocationEpoch, Issuer: c.Issuer,
	}
}

type licenceIssueCmd struct {
	named
	Device string `help:"Key or id of the device that it is for, where the licence names several." placeholder:"KEY"`
	jsonFlag
}

func (c *licenceIssueCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		l, err := c.find(e, h)
		if err != nil {
			return err
		}
		var device identity.DeviceID
		if c.Device != "" {
			d, err := findDevice(e, h, c.Device)
			if err != nil {
				return err
			}
			device = d.ID
		}
		doc, err := h.Licences.Issue(e.ctx, e.caller(), l.ID, device)
		if err != nil {
			return err
		}
		if c.JSON {
			o := documentObject(doc.Claims)
			o.Document = doc.Text
			return object(e.Out, o)
		}
		return whole(e, doc.Text)
	})
}

// whole prints a signed text, of which no character may be left out.
func whole(e *environment, text string) error {
	_, err := fmt.Fprintln(e.Out, text)
	return err
}

type licenceRevocationsCmd struct{ jsonFlag }

func (c *licenceRevocationsCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		text, list, err := h.Licences.Revocations(e.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, map[string]any{
				"document": text, "epoch": list.Epoch, "issued_at": when(list.IssuedAt), "licences": list.Licences, "organisations": list.Organisations,
			})
		}
		return whole(e, text)
	})
}

type licenceVerifyCmd struct {
	File         string `arg:"" help:"The document; - is standard input."`
	Keys         string `help:"The issuer's public keys: the JWKS that its discovery document names." required:"" placeholder:"FILE"`
	Revocations  string `help:"A revocation list." placeholder:"FILE"`
	Device       string `help:"UUID of the device that it must be for; whichever, if neither is given." placeholder:"UUID"`
	Organisation string `help:"UUID of the organisation that it must be for." placeholder:"UUID"`
	IssuedBy     string `help:"Issuer whose it must be; anybody whose key is among the keys, without it." placeholder:"URL"`
	State        string `help:"Where the newest time and list seen are kept, so that a clock set back is noticed." placeholder:"FILE"`
	At           string `help:"As if it were then." placeholder:"WHEN"`
	jsonFlag
}

// maxDocument bounds what is read of a file: a revocation list is the longest.
const maxDocument = 5 << 20

func (c *licenceVerifyCmd) Run(e *environment) error {
	now := time.Now
	if c.At != "" {
		at, err := parseWhen("--at", c.At)
		if err != nil {
			return err
		}
		now = func() time.Time { return at }
	}
	document, err := c.read(e, c.File)
	if err != nil {
		return err
	}
	keys, err := c.read(e, c.Keys)
	if err != nil {
		return err
	}
	list := ""
	if c.Revocations != "" {
		if list, err = c.read(e, c.Revocations); err != nil {
			return err
		}
	}
	var memory verify.Store
	if c.State != "" {
		memory = verify.File(c.State)
	}
	seen, err := licence.Verify(document, keys, list, c.IssuedBy, verify.Binding{
		Device: c.Device, Organisation: c.Organisation, Anybody: c.Device == "" && c.Organisation == "",
	}, memory, now)
	if err != nil {
		return err
	}
	if seen.Refused != nil {
		if c.JSON {
			if err := object(e.Out, map[string]any{"state": "refused", "why": seen.Refused.Error()}); err != nil {
				return err
			}
			return errSilent
		}
		return identity.Invalid.Because(strings.TrimPrefix(seen.Refused.Error(), "licence: "))
	}
	o := documentObject(seen.Claims)
	o.State = seen.State.String()
	if c.JSON {
		return object(e.Out, o)
	}
	t := newTable(e.Out, false, o.Agreement, o.State)
	whom := "every device of the organisation"
	if o.Device != "" {
		whom = o.Device
	}
	for _, row := range [][2]string{
		{"entitlements", strings.Join(o.Entitlements, " ")}, {"device", whom}, {"organisation", strings.TrimSpace(o.Organisation + " " + seen.OrganisationName)},
		{"licence", o.Licence}, {"issued", o.IssuedAt}, {"lease", o.NotBefore + " to " + o.LeaseEnd}, {"grace until", o.GraceEnd}, {"issuer", o.Issuer},
	} {
		t.row(nil, row[0], row[1])
	}
	return t.end(nil)
}

func (c *licenceVerifyCmd) read(e *environment, name string) (string, error) {
	in := e.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", misuse{fmt.Errorf("cannot read: %w", err)}
		}
		defer f.Close()
		in = f
	}
	text, err := e.read(io.LimitReader(in, maxDocument+1))
	switch {
	case e.ctx.Err() != nil:
		return "", e.ctx.Err()
	case err != nil:
		return "", misuse{fmt.Errorf("cannot read %s: %w", name, err)}
	case len(text) > maxDocument:
		return "", misuse{errors.New("cannot read " + name + ": it is too large")}
	}
	return strings.TrimSpace(string(text)), nil
}
