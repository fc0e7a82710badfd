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
	Subject string `help:"About or by whoever has this login or id; the id works also when she is deleted." placeholder:"LOGIN"`
	Door    string `help:"Through this door: nx, insights, titan, openwifi, oidc or cli."`
	Action  string `help:"Of this kind: signin, session.end, …"`
	Since   string `help:"Not older than this: a duration such as 24h, or a time such as 2026-01-02T15:04:05Z." placeholder:"WHEN"`
	Limit   int    `help:"At most this many." default:"100" placeholder:"N"`
	listFlags
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

func eventObject(ev identity.Event) eventJSON {
	out := eventJSON{
		Seq: ev.Seq, ID: string(ev.ID), At: ev.At.UTC().Format(time.RFC3339Nano), Action: ev.Action, Outcome: ev.Outcome,
		Actor: string(ev.ActorID), Subject: string(ev.SubjectID), Session: string(ev.SessionID), Client: string(ev.ClientID),
		Organisation: string(ev.OrganisationID), Door: string(ev.Door), Address: ev.Address, Request: ev.RequestID, Position: ev.Position,
	}
	if json.Valid(ev.Detail) { // a row that somebody tampered with is listed too
		out.Detail = ev.Detail
	}
	return out
}

func (c *auditListCmd) Run(e *environment) error {
	if c.Limit < 1 {
		return misuse{fmt.Errorf("--limit must be at least 1")}
	}
	f := identity.EventFilter{Door: identity.Door(c.Door), Action: c.Action}
	if c.Since != "" {
		var err error
		if f.Since, err = parseSince(c.Since, time.Now()); err != nil {
			return misuse{err}
		}
	}
	return e.with(func(h *app.House) error {
		if c.Subject != "" {
			p, err := who{c.Subject}.find(e, h)
			switch {
			case err == nil:
				f.SubjectID = p.Subject.ID
			case identity.KindOf(err) == identity.NotFound && identity.ValidID(c.Subject):
				f.SubjectID = identity.SubjectID(c.Subject) // what the deleted did is on record
			default:
				return err
			}
		}
		t := newTable(e.Out, c.JSON, "AT", "ACTION", "OUTCOME", "ABOUT", "BY", "DOOR", "ADDRESS", "SESSION")
		for left := c.Limit; left > 0; {
			f.Limit = min(left, page)
			list, err := h.Events(e.ctx, f)
			if err != nil {
				return t.end(err)
			}
			if err := eventRows(t, names{e, h}, list); err != nil {
				return t.end(err)
			}
			if left -= len(list); len(list) < f.Limit {
				break
			}
			f.Before = list[len(list)-1].Seq
		}
		return t.end(nil)
	})
}

// eventRows prints events, with logins where people read them.
func eventRows(t *table, n names, list []identity.Event) error {
	logins, err := n.of(subjects(list))
	if err != nil {
		return err
	}
	name := func(id identity.SubjectID) string {
		if login := logins[id]; login != "" {
			return login
		}
		return string(id)
	}
	for _, ev := range list {
		about := name(ev.SubjectID)
		if about == "" {
			about = string(ev.ClientID)
		}
		t.row(eventObject(ev), when(ev.At), ev.Action, ev.Outcome, about, name(ev.ActorID), string(ev.Door), ev.Address, string(ev.SessionID))
	}
	return nil
}

// subjects are all that events name.
func subjects(list []identity.Event) (ids []identity.SubjectID) {
	for _, ev := range list {
		for _, id := range []identity.SubjectID{ev.SubjectID, ev.ActorID} {
			if id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
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
	JSON bool `name:"json" help:"Print one problem as JSON a line, the summary last."`
}

func (c *auditVerifyCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		var printing error
		sum, err := h.Sealer.Verify(e.ctx, func(p audit.Problem) {
			if printing != nil {
				return
			}
			if c.JSON {
				printing = object(e.Out, p)
				return
			}
			_, printing = fmt.Fprintf(e.Out, "%s at position %d: %s\n", p.Kind, p.Position, p.Text)
		})
		if err == nil {
			err = printing
		}
		if err != nil {
			return err
		}
		if c.JSON {
			err = object(e.Out, sum)
		} else {
			err = c.summary(e, h, sum)
		}
		if err == nil && sum.Problems > 0 {
			err = errSilent
		}
		return err
	})
}

func (c *auditVerifyCmd) summary(e *environment, h *app.House, sum audit.Summary) error {
	verdict := "the audit log is whole"
	if sum.Problems > 0 {
		verdict = "the audit log was tampered with: " + countWord(sum.Problems, "problem")
	}
	verdict += fmt.Sprintf("; %s", countWord(int(sum.Rows), "sealed row"))
	if sum.Rows > 0 {
		verdict += fmt.Sprintf(" up to position %d", sum.Position)
	}
	if sum.Signed > 0 {
		verdict += fmt.Sprintf(", signed up to %d", sum.Signed)
	}
	newest, err := h.Events(e.ctx, identity.EventFilter{Limit: 1})
	if err != nil {
		return err
	}
	if len(newest) > 0 && newest[0].Position == 0 {
		verdict += "; the newest rows wait for a serving node to seal them"
	}
	return say(e, verdict)
}
