package cli

import (
	"fmt"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

type clientCmd struct {
	Add          clientAddCmd          `cmd:"" help:"Register one; its secret is shown once."`
	List         clientListCmd         `cmd:"" help:"List all."`
	RotateSecret clientRotateSecretCmd `cmd:"" help:"Give one a new secret, shown once; the old one stops working."`
}

type clientAddCmd struct {
	ID           string   `arg:"" help:"Its client_id."`
	Name         string   `help:"For people; the id if not given."`
	Grant        []string `help:"Grant types that it may use, comma-separated." default:"client_credentials" placeholder:"GRANTS"`
	Scope        []string `help:"Scopes that it may have." placeholder:"SCOPES"`
	Redirect     []string `help:"Redirect URIs." placeholder:"URIS"`
	Audience     []string `help:"Resource servers that its tokens are for." placeholder:"URIS"`
	Organisation string   `name:"org" aliases:"organisation" help:"Key of the organisation whose program it is; the house's, without it." placeholder:"KEY"`
	Device       string   `help:"Key or id of the device as which it signs in, and with which it goes; the organisation follows." placeholder:"KEY"`
	Public       bool     `help:"It can keep no secret, and gets none."`
	SecretStdin  bool     `help:"Read its secret from standard input instead of making one."`
	jsonFlag
}

type clientJSON struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Public       bool     `json:"public"`
	Grants       []string `json:"grants"`
	Scopes       []string `json:"scopes"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Audiences    []string `json:"audiences,omitempty"`
	Organisation string   `json:"organisation,omitempty"`
	Device       string   `json:"device,omitempty"`
	Suspended    bool     `json:"suspended"`
	Secret       string   `json:"secret,omitempty"` // only in the answer that makes it
}

func clientObject(c identity.Client) clientJSON {
	return clientJSON{
		ID: string(c.ID), Name: c.Name, Public: c.SecretHash == "", Grants: orNone(c.Grants), Scopes: orNone(c.Scopes), RedirectURIs: c.RedirectURIs,
		Audiences: c.Audiences, Organisation: string(c.OrganisationID), Device: string(c.DeviceID), Suspended: !c.SuspendedAt.IsZero(),
	}
}

func (c *clientAddCmd) Run(e *environment) error {
	in := manage.NewClient{
		ID: identity.ClientID(c.ID), Name: c.Name, Public: c.Public, Grants: c.Grant, Scopes: c.Scope, RedirectURIs: c.Redirect, Audiences: c.Audience,
	}
	if c.Public && c.SecretStdin {
		return misuse{fmt.Errorf("a public client has no secret: give --public or --secret-stdin")}
	}
	if c.SecretStdin {
		secret, err := e.secret("secret")
		if err != nil {
			return err
		}
		in.Secret = secret
	}
	return e.making(func(h *app.House) error {
		var err error
		if in.OrganisationID, err = orgOf(e, h, c.Organisation); err != nil {
			return err
		}
		if c.Device != "" {
			d, err := findDevice(e, h, c.Device)
			if err != nil {
				return err
			}
			in.DeviceID = d.ID
		}
		client, made, err := h.Manage.CreateClient(e.ctx, e.caller(), in)
		if identity.KindOf(err) == identity.Conflict {
			return identity.Conflict.Because(fmt.Sprintf("a client has the id %q already; `gatehouse client list` shows all", c.ID))
		}
		if err != nil {
			return err
		}
		if c.SecretStdin {
			made = "" // who gave it knows it
		}
		return showClient(e, c.JSON, client, made, "is registered")
	})
}

// showClient shows a secret that was made here: this once.
func showClient(e *environment, asJSON bool, client identity.Client, made identity.Secret, said string) error {
	if asJSON {
		out := clientObject(client)
		out.Secret = made.Reveal()
		return object(e.Out, out)
	}
	if made == "" {
		return say(e, "client "+string(client.ID)+" "+said)
	}
	if !strings.HasSuffix(said, "secret") {
		said += " with a secret"
	}
	_, err := fmt.Fprintf(e.Out, "client %s %s, which is kept as a hash and cannot be shown again:\n%s\n", tame(string(client.ID)), said, made.Reveal())
	return err
}

type clientListCmd struct{ listFlags }

func (c *clientListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "ID", "NAME", "PUBLIC", "GRANTS", "SCOPES", "ORGANISATION", "DEVICE", "SUSPENDED")
		after := identity.ClientID("")
		return t.end(each(func(limit int) ([]identity.Client, error) {
			return h.Profiles.Clients(e.ctx, after, limit)
		}, func(cl identity.Client) {
			after = cl.ID
			t.row(clientObject(cl), string(cl.ID), cl.Name, yes(cl.SecretHash == ""), strings.Join(cl.Grants, " "), strings.Join(cl.Scopes, " "),
				string(cl.OrganisationID), string(cl.DeviceID), yes(!cl.SuspendedAt.IsZero()))
		}))
	})
}

type clientRotateSecretCmd struct {
	ID          string `arg:"" help:"Its client_id."`
	SecretStdin bool   `help:"Read the new secret from standard input instead of making one."`
	jsonFlag
}

func (c *clientRotateSecretCmd) Run(e *environment) error {
	var chosen identity.Secret
	if c.SecretStdin {
		var err error
		if chosen, err = e.secret("secret"); err != nil {
			return err
		}
	}
	return e.with(func(h *app.House) error {
		made, err := h.Manage.RotateSecret(e.ctx, e.caller(), identity.ClientID(c.ID), chosen)
		if identity.KindOf(err) == identity.NotFound {
			return identity.NotFound.Because(fmt.Sprintf("no client has the id %q; `gatehouse client list` shows all", c.ID))
		}
		if err != nil {
			return err
		}
		client, err := h.Profiles.Client(e.ctx, identity.ClientID(c.ID))
		if err != nil {
			return err
		}
		if c.SecretStdin {
			made = ""
		}
		return showClient(e, c.JSON, client, made, "has a new secret")
	})
}
