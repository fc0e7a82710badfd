package cli

import (
	"fmt"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

type providerCmd struct {
	List providerListCmd `cmd:"" help:"List all, with the address to register at each."`
}

type providerJSON struct {
	Key            string   `json:"key"`
	Kind           string   `json:"kind"`
	Name           string   `json:"name"`
	Issuer         string   `json:"issuer"`
	ClientID       string   `json:"client_id"`
	Tenants        []string `json:"tenants"`
	Email          string   `json:"email"`
	CreateAccounts bool     `json:"create_accounts"`
	Suspended      bool     `json:"suspended"`
	Callback       string   `json:"callback"`
}

type providerListCmd struct{ listFlags }

func (c *providerListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		all, err := h.Federation.Configured(e.ctx)
		t := newTable(e.Out, c.JSON, "KEY", "KIND", "ISSUER", "ACCOUNTS", "STATE", "CALLBACK")
		for _, p := range all {
			accounts, state := "made", "in use"
			if !p.CreateAccounts {
				accounts = "linked only"
			}
			if !p.SuspendedAt.IsZero() {
				state = "suspended"
			}
			callback := h.Doors.Titan.Callback(p.Key)
			t.row(providerJSON{
				Key: p.Key, Kind: string(p.Kind), Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, Tenants: orNone(p.Tenants),
				Email: string(p.EmailTrust), CreateAccounts: p.CreateAccounts, Suspended: state == "suspended", Callback: callback,
			}, p.Key, string(p.Kind), p.Issuer, accounts, state, callback)
		}
		return t.end(err)
	})
}

type linkedJSON struct {
	Authority string `json:"authority"`
	ID        string `json:"id"`
	Provider  string `json:"provider,omitempty"`
	Email     string `json:"email,omitempty"`
	CreatedAt string `json:"created_at"`
	LastUseAt string `json:"last_use_at,omitempty"`
}

type userIdentitiesCmd struct {
	who
	listFlags
}

func (c *userIdentitiesCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		all, err := h.Federation.Identities(e.ctx, p.Subject.ID)
		t := newTable(e.Out, c.JSON, "AUTHORITY", "ID", "PROVIDER", "EMAIL", "SINCE", "USED")
		for _, l := range all {
			t.row(linkedJSON{l.Authority, l.ExternalID, l.Provider, l.Email, when(l.CreatedAt), when(l.LastUseAt)},
				l.Authority, l.ExternalID, l.Provider, l.Email, when(l.CreatedAt), when(l.LastUseAt))
		}
		return t.end(err)
	})
}

type userUnlinkCmd struct {
	userVerb
	Authority string `arg:"" help:"Who knows her by it, as gatehouse user identities shows."`
	ID        string `arg:"" help:"What it calls her."`
}

func (c *userUnlinkCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		err := h.Federation.Unlink(e.ctx, e.caller(), p.Subject.ID, c.Authority, c.ID)
		switch identity.KindOf(err) {
		case identity.NotFound:
			err = identity.NotFound.Because(fmt.Sprintf("%s has no such identity; `gatehouse user identities %s` shows hers", called(p.Subject), strings.TrimSpace(c.Login)))
		case identity.Conflict:
			err = identity.Conflict.Because(explain(err) + ": give her a password first, with `gatehouse user set-password`")
		}
		return called(p.Subject) + " has one identity less and is signed out", err
	})
}
