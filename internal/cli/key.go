package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List all, newest first in each algorithm."`
	Rotate keyRotateCmd `cmd:"" help:"Make a successor: published now, signing later."`
	JWKS   keyJWKSCmd   `cmd:"" name:"jwks" help:"Print the published keys (RFC 7517), as the server's jwks_uri does."`
}

type keyJSON struct {
	ID          string `json:"id"`
	Algorithm   string `json:"algorithm"`
	CreatedAt   string `json:"created_at"`
	ActivatesAt string `json:"activates_at"`
	RetiresAt   string `json:"retires_at,omitempty"`
	ExpiresAt   string `json:"expires_at,omitempty"`
}

func keyObject(k identity.SigningKey) keyJSON {
	return keyJSON{string(k.ID), k.Algorithm, when(k.CreatedAt), when(k.ActivatesAt), when(k.RetiresAt), when(k.ExpiresAt)}
}

type keyListCmd struct{ listFlags }

func (c *keyListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "ID", "ALGORITHM", "MADE", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL")
		for _, k := range h.Ring.Keys() {
			o := keyObject(k)
			t.row(o, o.ID, o.Algorithm, o.CreatedAt, o.ActivatesAt, o.RetiresAt, o.ExpiresAt)
		}
		return t.end(nil)
	})
}

type keyRotateCmd struct {
	Algorithm string `arg:"" optional:"" default:"ES256" help:"ES256, EdDSA or RS256." enum:"ES256,EdDSA,RS256"`
	jsonFlag
}

func (c *keyRotateCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		k, err := h.Ring.Rotate(e.ctx, c.Algorithm)
		if err == nil {
			err = e.record(h, audit.Entry{Action: "key.rotate", After: keyObject(k)})
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, keyObject(k))
		}
		return say(e, fmt.Sprintf("key %s (%s) is published and signs from %s", k.ID, k.Algorithm, when(k.ActivatesAt)))
	})
}

type keyJWKSCmd struct {
	JSON bool `name:"json" hidden:"" help:"It is JSON anyway."`
}

func (c *keyJWKSCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		body, _ := h.Ring.JWKS()
		return whole(e, string(body))
	})
}
