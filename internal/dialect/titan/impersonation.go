package titan

import (
	"net/http"

	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// impersonate answers POST /auth/impersonation/{user} (titan.md 3.5).
func (d *Dialect) impersonate(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	number, hash := reference(r.PathValue("user"))
	acting, err := d.Sessions.Act(r.Context(), session.ActInput{
		Caller: c.Caller, Session: c.live.Session.ID, Number: number, Hash: hash, Standing: standingOf, Permits: permitsActing,
	})
	if err != nil {
		return nil, err
	}
	return d.session(r.Context(), c, &acting)
}

// stopImpersonating answers POST /auth/impersonation/invalidate: back to one's own account and hub.
func (d *Dialect) stopImpersonating(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	back, err := d.Sessions.StopActing(r.Context(), c.Caller, c.live.Session.ID)
	if err != nil {
		return nil, err
	}
	return d.session(r.Context(), c, &back)
}

// standings are what the contract's roles mean to the house.
var standings = map[int]session.Standing{roles["owner"]: session.Owner, roles["administrator"]: session.Administrator, roleUser: session.Member}

func standingOf(m identity.Membership) session.Standing { return standings[roleIn(m.Attributes[Door])] }

func permitsActing(o identity.Organisation) bool {
	on, _ := featuresOf(&o)["impersonation"].(bool)
	return on
}
