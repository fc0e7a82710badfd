package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/identity"
)

type orgCmd struct {
	List orgListCmd `cmd:"" help:"List all."`
	Show orgShowCmd `cmd:"" help:"Show one with its sites."`
}

type orgJSON struct {
	ID        string     `json:"id"`
	Number    int64      `json:"number"`
	Key       string     `json:"key"`
	Name      string     `json:"name"`
	ExpiresAt string     `json:"expires_at,omitempty"`
	Sites     []siteJSON `json:"sites,omitempty"`
}

type siteJSON struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Name string `json:"name"`
}

func orgObject(o identity.Organisation) orgJSON {
	return orgJSON{ID: string(o.ID), Number: o.Number, Key: o.Key, Name: o.Name, ExpiresAt: when(o.ExpiresAt)}
}

func findOrg(e *environment, h *app.House, key string) (identity.Organisation, error) {
	o, err := h.Profiles.OrganisationByKey(e.ctx, key)
	if identity.KindOf(err) == identity.NotFound {
		err = identity.NotFound.Because(fmt.Sprintf("no organisation has the key %q; `gatehouse org list` shows all", key))
	}
	return o, err
}

type orgListCmd struct{ listFlags }

func (c *orgListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "KEY", "NAME", "EXPIRES", "ID")
		after := identity.OrganisationID("")
		return t.end(each(func(limit int) ([]identity.Organisation, error) {
			return h.Profiles.Organisations(e.ctx, after, limit)
		}, func(o identity.Organisation) {
			after = o.ID
			t.row(orgObject(o), o.Key, o.Name, when(o.ExpiresAt), string(o.ID))
		}))
	})
}

type orgShowCmd struct {
	Key string `arg:"" help:"Its key."`
	jsonFlag
}

func (c *orgShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		o, err := findOrg(e, h, c.Key)
		if err != nil {
			return err
		}
		sites, err := h.Profiles.Sites(e.ctx, o.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			out := orgObject(o)
			for _, s := range sites {
				out.Sites = append(out.Sites, siteJSON{string(s.ID), s.Key, s.Name})
			}
			return object(e.Out, out)
		}
		t := newTable(e.Out, false, o.Key, o.Name)
		t.row(nil, "id", string(o.ID))
		t.row(nil, "expires", when(o.ExpiresAt))
		for _, s := range sites {
			t.row(nil, "site", s.Key+" ("+s.Name+")")
		}
		return t.end(nil)
	})
}
