package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List events, newest first."`
	Verify auditVerifyCmd `cmd:"" help:"Prove that nothing sealed was changed, removed or put between."`
}

type auditListCmd struct {
	listFlags
	Subject string `help:"About or by whoever has this login or id."`
	Door    string `help:"Through this door."`
	Action  string `help:"Of this kind: signin, session.end, …"`
	Since   string `help:"Not older than this: a duration such as 24h, or an RFC 3339 time."`
	Limit   int    `help:"At most this many." default:"100"`
}

type eventJSON struct {
	Seq          int64           `json:"seq"`
	ID           string          `json:"id"`
	At           string          `json:"at"`
	Action       string          `json:"action"`
	Outcome      string          `json:"outcome"`
	Actor        string          `json:"actor,omitempty"`
	Subject      string          `json:"subject,omitempty"`
	Session      string          `json:"session,omitempty"`
	Client       string          `json:"client,omitempty"`
	Organisation string          `json:"organisation,omitempty"`
	Door         string          `json:"door"`
	Address      string          `json:"address,omitempty"`
	Request      string          `json:"request,omitempty"`
	Detail       json.RawMessage `json:"detail,omitempty"`
	Position     int64           `json:"position,omitempty"`
}

func (c *auditListCmd) Run(e *environment) error {
	if c.Limit < 1 {
		return misuse{fmt.Errorf("--limit must be at least 1")}
	}
	return e.with(func(h *app.House) error {
		f := identity.EventFilter{Door: identity.Door(c.Door), Action: c.Action}
		if c.Subject != "" {
			p, err := who{c.Subject}.find(e, h)
			if err != nil {
				return err
			}
			f.SubjectID = p.Subject.ID
		}
		if c.Since != "" {
			since, err := parseSince(c.Since, h.Now())
			if err != nil {
				return misuse{err}
			}
			f.Since = since
		}
		t := newTable(e.Out, c.JSON, "AT", "ACTION", "OUTCOME", "SUBJECT", "ACTOR", "DOOR", "ADDRESS", "SESSION")
		defer t.end()
		for left := c.Limit; left > 0; {
			f.Limit = min(left, page)
			list, err := h.Events(e.ctx, f)
			if err != nil {
				return err
			}
			for _, ev := range list {
				var detail json.RawMessage
				if json.Valid(ev.Detail) {
					detail = ev.Detail
				}
				t.row(eventJSON{
					ev.Seq, string(ev.ID), when(ev.At), ev.Action, ev.Outcome, string(ev.ActorID), string(ev.SubjectID), string(ev.SessionID),
					string(ev.ClientID), string(ev.OrganisationID), string(ev.Door), ev.Address, ev.RequestID, detail, ev.Position,
				}, when(ev.At), ev.Action, ev.Outcome, string(ev.SubjectID), string(ev.ActorID), string(ev.Door), ev.Address, string(ev.SessionID))
				f.Before = ev.Seq
			}
			left -= len(list)
			if len(list) < f.Limit {
				return nil
			}
		}
		return nil
	})
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--since %q is neither a duration such as 24h nor a time such as 2026-01-02T15:04:05Z", text)
	}
	return at, nil
}

type auditVerifyCmd struct {
	JSON bool `name:"json" help:"As JSON, one problem a line, the summary last."`
}

func (c *auditVerifyCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		sum, err := h.Sealer.Verify(e.ctx, func(p audit.Problem) {
			if c.JSON {
				_ = object(e.Out, p)
				return
			}
			fmt.Fprintf(e.Out, "%s at %d: %s\n", p.Kind, p.Position, p.Text)
		})
		if err != nil {
			return err
		}
		if c.JSON {
			if err := object(e.Out, sum); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(e.Out, "%d sealed rows up to position %d, signed up to %d: %d problems\n", sum.Rows, sum.Position, sum.Signed, sum.Problems)
		}
		if sum.Problems > 0 {
			return errSilent
		}
		return nil
	})
}
