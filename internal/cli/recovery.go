package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

type recoveryCmd struct {
	List    recoveryListCmd    `cmd:"" default:"withargs" help:"List requests that wait, oldest first."`
	Approve recoveryApproveCmd `cmd:"" help:"Mail her a code that works once, for a day."`
	Deny    recoveryDenyCmd    `cmd:"" help:"Refuse a request; she is told nothing."`
	Codes   recoveryCodesCmd   `cmd:"" help:"Print ten new codes for somebody with a second factor; her earlier ones stop working."`
}

type recoveryJSON struct {
	ID        string `json:"id"`
	Subject   string `json:"subject"`
	Address   string `json:"address"`
	Door      string `json:"door"`
	State     string `json:"state"`
	CreatedAt string `json:"created_at"`
	DecidedAt string `json:"decided_at,omitempty"`
	UsedAt    string `json:"used_at,omitempty"`
	ExpiresAt string `json:"expires_at"`
}

func recoveryObject(r identity.Recovery) recoveryJSON {
	return recoveryJSON{
		ID: string(r.ID), Subject: string(r.SubjectID), Address: r.Address, Door: string(r.Door), State: string(r.State),
		CreatedAt: when(r.CreatedAt), DecidedAt: when(r.DecidedAt), UsedAt: when(r.UsedAt), ExpiresAt: when(r.ExpiresAt),
	}
}

type recoveryListCmd struct {
	All bool `help:"Those that were decided or used too."`
	listFlags
}

func (c *recoveryListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		state, after := identity.RecoveryWaiting, identity.RecoveryID("")
		if c.All {
			state = ""
		}
		t := newTable(e.Out, c.JSON, "ID", "WHO", "DOOR", "STATE", "CONFIRMED", "UNTIL")
		return t.end(each(func(limit int) ([]identity.Recovery, error) {
			return h.Recovery.Recoveries(e.ctx, state, after, limit)
		}, func(r identity.Recovery) {
			after = r.ID
			if !c.All && !h.Now().Before(r.ExpiresAt) {
				return // nobody can decide it any more
			}
			o := recoveryObject(r)
			t.row(o, o.ID, o.Address, o.Door, o.State, o.CreatedAt, o.ExpiresAt)
		}))
	})
}

// recoveryVerb is what the verbs about one request take.
type recoveryVerb struct {
	ID string `arg:"" help:"Its id."`
	jsonFlag
}

func (c recoveryVerb) do(e *environment, verb func(h *app.House, id identity.RecoveryID) (identity.Recovery, error), said string) error {
	return e.with(func(h *app.House) error {
		r, err := verb(h, identity.RecoveryID(c.ID))
		if identity.KindOf(err) == identity.NotFound {
			return identity.NotFound.Because(fmt.Sprintf("there is no request %q; `gatehouse recovery list` shows those that wait", c.ID))
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, recoveryObject(r))
		}
		return say(e, fmt.Sprintf(said, r.Address))
	})
}

type recoveryApproveCmd struct{ recoveryVerb }

func (c *recoveryApproveCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, id identity.RecoveryID) (identity.Recovery, error) {
		return h.Recovery.Approve(e.ctx, e.caller(), id)
	}, "%s is mailed a code")
}

type recoveryDenyCmd struct{ recoveryVerb }

func (c *recoveryDenyCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, id identity.RecoveryID) (identity.Recovery, error) {
		return h.Recovery.Deny(e.ctx, e.caller(), id)
	}, "the request of %s is denied")
}

type recoveryCodesCmd struct{ userVerb }

func (c *recoveryCodesCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		codes, err := h.Recovery.PrintCodes(e.ctx, e.caller(), p.Subject.ID)
		if err != nil {
			return err
		}
		shown := struct {
			Subject string   `json:"subject"`
			Codes   []string `json:"codes"`
		}{Subject: string(p.Subject.ID)}
		for _, code := range codes {
			shown.Codes = append(shown.Codes, code.Reveal())
		}
		if c.JSON {
			return object(e.Out, shown)
		}
		for _, code := range shown.Codes {
			if err := say(e, code); err != nil {
				return err
			}
		}
		return nil
	})
}

type userVerifyCmd struct{ userVerb }

func (c *userVerifyCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		_, err := h.Recovery.StartVerification(e.ctx, e.caller(), p.Subject.ID, h.Doors.Titan.VerifyLink())
		return called(p.Subject) + " is mailed a link, and signed out until she follows it", lastSuperadmin(err)
	})
}
