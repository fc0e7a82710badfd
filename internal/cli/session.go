package cli

import (
	"fmt"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/identity"
)

type sessionCmd struct {
	List sessionListCmd `cmd:"" help:"List those that are alive."`
	End  sessionEndCmd  `cmd:"" help:"End one; every node refuses its tokens within a second."`
}

type sessionJSON struct {
	ID           string   `json:"id"`
	Subject      string   `json:"subject"`
	Login        string   `json:"login,omitempty"`
	Door         string   `json:"door"`
	Client       string   `json:"client,omitempty"`
	Organisation string   `json:"organisation,omitempty"`
	Actor        string   `json:"actor,omitempty"`
	AMR          []string `json:"amr"`
	Address      string   `json:"address,omitempty"`
	UserAgent    string   `json:"user_agent,omitempty"`
	CreatedAt    string   `json:"created_at"`
	SeenAt       string   `json:"seen_at"`
	EndsAt       string   `json:"ends_at"`
}

// names gives subjects their logins, which people read more easily than ids.
type names struct {
	e *environment
	h *app.House
}

// of gives the login of each subject that has one; the deleted have none.
func (n names) of(ids []identity.SubjectID) (map[identity.SubjectID]string, error) {
	found := map[identity.SubjectID]string{}
	list, err := n.h.Profiles.SubjectsByID(n.e.ctx, ids)
	for _, s := range list {
		found[s.ID] = s.Email
	}
	return found, err
}

type sessionTable struct {
	*table
	names names
}

func newSessionTable(e *environment, h *app.House, asJSON bool) sessionTable {
	return sessionTable{newTable(e.Out, asJSON, "ID", "WHO", "DOOR", "PROOF", "ADDRESS", "SINCE", "SEEN", "ENDS"), names{e, h}}
}

func (t sessionTable) show(list []identity.Session) {
	ids := make([]identity.SubjectID, len(list))
	for i, s := range list {
		ids[i] = s.SubjectID
	}
	logins, err := t.names.of(ids)
	if err != nil && t.err == nil {
		t.err = err
	}
	for _, s := range list {
		login := logins[s.SubjectID]
		who := login
		if who == "" {
			who = string(s.SubjectID)
		}
		t.row(sessionJSON{
			ID: string(s.ID), Subject: string(s.SubjectID), Login: login, Door: string(s.Door), Client: string(s.ClientID),
			Organisation: string(s.OrganisationID), Actor: string(s.ActorID), AMR: orNone(s.AMR), Address: s.Address, UserAgent: s.UserAgent,
			CreatedAt: when(s.CreatedAt), SeenAt: when(s.SeenAt), EndsAt: when(s.Ends()),
		}, string(s.ID), who, string(s.Door), strings.Join(s.AMR, " "), s.Address, when(s.CreatedAt), when(s.SeenAt), when(s.Ends()))
	}
}

func alive(h *app.House, s identity.Session) bool {
	return s.EndedAt.IsZero() && s.Ends().After(h.Now())
}

func aliveOf(e *environment, h *app.House, id identity.SubjectID) (list []identity.Session, err error) {
	all, err := h.Profiles.SessionsOf(e.ctx, id)
	for _, s := range all {
		if alive(h, s) {
			list = append(list, s)
		}
	}
	return list, err
}

type sessionListCmd struct{ listFlags }

func (c *sessionListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := newSessionTable(e, h, c.JSON)
		after := identity.SessionID("")
		for {
			list, err := h.Profiles.Sessions(e.ctx, after, page)
			if err != nil {
				return t.end(err)
			}
			var living []identity.Session
			for _, s := range list {
				after = s.ID
				if alive(h, s) {
					living = append(living, s)
				}
			}
			t.show(living)
			if len(list) < page {
				return t.end(nil)
			}
		}
	})
}

type sessionEndCmd struct {
	ID string `arg:"" help:"Its id."`
	jsonFlag
}

func (c *sessionEndCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		ended, err := h.Sessions.End(e.ctx, e.caller(), identity.SessionID(c.ID), "ended by an operator")
		if err == nil && !ended {
			err = identity.NotFound.Because(fmt.Sprintf("no session %q is alive; `gatehouse session list` shows those that are", c.ID))
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, map[string]any{"id": c.ID, "ended": true})
		}
		return say(e, "session "+c.ID+" is ended")
	})
}
