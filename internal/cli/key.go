package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/identity"
)

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List them, newest first."`
	Rotate keyRotateCmd `cmd:"" help:"Make a successor: published now, signing later."`
}

type keyJSON struct {
	ID          string `json:"id"`
	Algorithm   string `json:"algorithm"`
	CreatedAt   string `json:"created_at"`
	ActivatesAt string `json:"activates_at"`
	RetiresAt   string `json:"retires_at,omitempty"`
	ExpiresAt   string `json:"expires_at,omitempty"`
}

func keyRow(t *table, k identity.SigningKey) {
	t.row(keyJSON{string(k.ID), k.Algorithm, when(k.CreatedAt), when(k.ActivatesAt), when(k.RetiresAt), when(k.ExpiresAt)},
		string(k.ID), k.Algorithm, when(k.CreatedAt), when(k.ActivatesAt), when(k.RetiresAt), when(k.ExpiresAt))
}

type keyListCmd struct{ listFlags }

func (c *keyListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "ID", "ALGORITHM", "MADE", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL")
		defer t.end()
		for _, k := range h.Ring.Keys() {
			keyRow(t, k)
		}
		return nil
	})
}

type keyRotateCmd struct {
	Algorithm string `arg:"" optional:"" default:"ES256" help:"ES256, EdDSA or RS256." enum:"ES256,EdDSA,RS256"`
}

func (c *keyRotateCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		if err := h.Ring.Ensure(e.ctx, c.Algorithm); err != nil {
			return err
		}
		k, err := h.Ring.Rotate(e.ctx, c.Algorithm)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.Out, "key %s (%s) is published and signs from %s\n", k.ID, k.Algorithm, when(k.ActivatesAt))
		return err
	})
}
