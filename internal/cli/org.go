package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/identity"
)

type orgCmd struct {
	List orgListCmd `cmd:"" help:"List them."`
	Show orgShowCmd `cmd:"" help:"Show one with its sites."`
}

type orgJSON struct {
	ID        string   `json:"id"`
	Number    int64    `json:"number"`
	Key       string   `json:"key"`
	Name      string   `json:"name"`
	ExpiresAt string   `json:"expires_at,omitempty"`
	Sites     []string `json:"sites,omitempty"`
}

func orgObject(o identity.Organisation) orgJSON {
	return orgJSON{ID: string(o.ID), Number: o.Number, Key: o.Key, Name: o.Name, ExpiresAt: when(o.ExpiresAt)}
}

type orgListCmd struct{ listFlags }

func (c *orgListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "KEY", "NAME", "EXPIRES", "ID")
		defer t.end()
		after := identity.OrganisationID("")
		for {
			list, err := h.Profiles.Organisations(e.ctx, after, page)
			if err != nil {
				return err
			}
			for _, o := range list {
				t.row(orgObject(o), o.Key, o.Name, when(o.ExpiresAt), string(o.ID))
				after = o.ID
			}
			if len(list) < page {
				return nil
			}
		}
	})
}

type orgShowCmd struct {
	Key  string `arg:"" help:"Its key."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (c *orgShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		o, err := h.Profiles.OrganisationByKey(e.ctx, c.Key)
		if identity.KindOf(err) == identity.NotFound {
			return identity.NotFound.Because(fmt.Sprintf("no organisation has the key %q", c.Key))
		}
		if err != nil {
			return err
		}
		sites, err := h.Profiles.Sites(e.ctx, o.ID)
		if err != nil {
			return err
		}
		out := orgObject(o)
		for _, s := range sites {
			out.Sites = append(out.Sites, s.Key)
		}
		if c.JSON {
			return object(e.Out, out)
		}
		t := newTable(e.Out, false, o.Key, o.Name)
		defer t.end()
		t.row(nil, "id", string(o.ID))
		t.row(nil, "expires", when(o.ExpiresAt))
		for _, s := range sites {
			t.row(nil, "site", s.Key+" ("+s.Name+")")
		}
		return nil
	})
}
