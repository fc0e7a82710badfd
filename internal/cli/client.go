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
	List         clientListCmd         `cmd:"" help:"List them."`
	RotateSecret clientRotateSecretCmd `cmd:"" help:"Give it a new secret, shown once."`
}

type clientAddCmd struct {
	ID          string   `arg:"" help:"Its client_id."`
	Name        string   `help:"For people; the id if not given."`
	Grant       []string `help:"Grant types that it may use." default:"client_credentials"`
	Scope       []string `help:"Scopes that it may have."`
	Redirect    []string `help:"Redirect URIs."`
	Audience    []string `help:"Resource servers that its tokens are for."`
	Public      bool     `help:"It can keep no secret, and gets none."`
	SecretStdin bool     `help:"Read its secret from standard input instead of making one."`
	JSON        bool     `name:"json" help:"As JSON."`
}

type clientJSON struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Public       bool     `json:"public"`
	Grants       []string `json:"grants"`
	Scopes       []string `json:"scopes"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Audiences    []string `json:"audiences,omitempty"`
	Suspended    bool     `json:"suspended"`
	Secret       string   `json:"secret,omitempty"` // only in the answer that makes it
}

func clientObject(c identity.Client) clientJSON {
	return clientJSON{
		ID: string(c.ID), Name: c.Name, Public: c.SecretHash == "", Grants: c.Grants, Scopes: c.Scopes, RedirectURIs: c.RedirectURIs,
		Audiences: c.Audiences, Suspended: !c.SuspendedAt.IsZero(),
	}
}

func (c *clientAddCmd) Run(e *environment) error {
	in := manage.NewClient{
		ID: identity.ClientID(c.ID), Name: c.Name, Public: c.Public, Grants: c.Grant, Scopes: c.Scope, RedirectURIs: c.Redirect, Audiences: c.Audience,
	}
	if c.SecretStdin {
		secret, err := e.secret()
		if err != nil {
			return err
		}
		in.Secret = secret
	}
	return e.with(func(h *app.House) error {
		client, secret, err := h.Manage.CreateClient(e.ctx, e.caller(), in)
		if err != nil {
			return err
		}
		if c.SecretStdin {
			secret = ""
		}
		return showSecret(e, c.JSON, client, secret)
	})
}

func showSecret(e *environment, asJSON bool, client identity.Client, secret identity.Secret) error {
	if asJSON {
		out := clientObject(client)
		out.Secret = secret.Reveal()
		return object(e.Out, out)
	}
	if secret == "" {
		_, err := fmt.Fprintf(e.Out, "client %s is registered\n", client.ID)
		return err
	}
	_, err := fmt.Fprintf(e.Out, "client %s has the secret\n%s\nIt is stored as a hash and cannot be shown again.\n", client.ID, secret.Reveal())
	return err
}

type clientListCmd struct{ listFlags }

func (c *clientListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "ID", "NAME", "PUBLIC", "GRANTS", "SCOPES", "SUSPENDED")
		defer t.end()
		after := identity.ClientID("")
		for {
			list, err := h.Profiles.Clients(e.ctx, after, page)
			if err != nil {
				return err
			}
			for _, cl := range list {
				t.row(clientObject(cl), string(cl.ID), cl.Name, yes(cl.SecretHash == ""), strings.Join(cl.Grants, " "), strings.Join(cl.Scopes, " "), yes(!cl.SuspendedAt.IsZero()))
				after = cl.ID
			}
			if len(list) < page {
				return nil
			}
		}
	})
}

type clientRotateSecretCmd struct {
	ID   string `arg:"" help:"Its client_id."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (c *clientRotateSecretCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		secret, err := h.Manage.RotateSecret(e.ctx, e.caller(), identity.ClientID(c.ID), "")
		if err != nil {
			return err
		}
		client, err := h.Profiles.Client(e.ctx, identity.ClientID(c.ID))
		if err != nil {
			return err
		}
		return showSecret(e, c.JSON, client, secret)
	})
}
