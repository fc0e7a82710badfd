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

func sessionTable(e *environment, asJSON bool) *table {
	return newTable(e.Out, asJSON, "ID", "SUBJECT", "DOOR", "PROOF", "ADDRESS", "SINCE", "SEEN", "ENDS")
}

func sessionRow(t *table, s identity.Session) {
	t.row(sessionJSON{
		ID: string(s.ID), Subject: string(s.SubjectID), Door: string(s.Door), Client: string(s.ClientID), Organisation: string(s.OrganisationID),
		Actor: string(s.ActorID), AMR: s.AMR, Address: s.Address, UserAgent: s.UserAgent, CreatedAt: when(s.CreatedAt), SeenAt: when(s.SeenAt), EndsAt: when(s.Ends()),
	}, string(s.ID), string(s.SubjectID), string(s.Door), strings.Join(s.AMR, " "), s.Address, when(s.CreatedAt), when(s.SeenAt), when(s.Ends()))
}

type sessionListCmd struct{ listFlags }

func (c *sessionListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		t := sessionTable(e, c.JSON)
		defer t.end()
		after := identity.SessionID("")
		for {
			list, err := h.Profiles.Sessions(e.ctx, after, page)
			if err != nil {
				return err
			}
			for _, s := range list {
				after = s.ID
				if s.EndedAt.IsZero() && s.Ends().After(h.Now()) {
					sessionRow(t, s)
				}
			}
			if len(list) < page {
				return nil
			}
		}
	})
}

type sessionEndCmd struct {
	ID string `arg:"" help:"Its id."`
}

func (c *sessionEndCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		ended, err := h.Sessions.End(e.ctx, e.caller(), identity.SessionID(c.ID), "ended by an operator")
		if err == nil && !ended {
			err = identity.NotFound.Because(fmt.Sprintf("no session %q is alive", c.ID))
		}
		return err
	})
}
