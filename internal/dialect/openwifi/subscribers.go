package openwifi

import (
	"crypto/subtle"
	"net/http"
	"strings"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// Subscribers are a population of their own beside the staff (openwifi.md 2.6): customers of the operator, with the same
// operations below names that begin with "sub". The door has two halves for them, which differ in whose sessions they know: one
// is an unknown person at the other, and so is her token.

// forSubscribers is the other half.
func (d *Dialect) forSubscribers() *Dialect {
	half := *d
	half.subscribers, half.customers = true, true
	return &half
}

// aboutSubscribers is for the staff who manage them.
func (d *Dialect) aboutSubscribers() *Dialect {
	managed := *d
	managed.customers = true
	return &managed
}

// people are whom the operations are about.
func (d *Dialect) people() identity.SubjectKind {
	if d.customers {
		return identity.Customer
	}
	return identity.Person
}

// door is the half's name in sessions.
func (d *Dialect) door() identity.Door {
	if d.subscribers {
		return SubscriberDoor
	}
	return Door
}

func (d *Dialect) form() form { return form(d.door()) }

func (d *Dialect) caller(r *http.Request) identity.Caller { return httpkit.Caller(r, d.door()) }

// subscriberRoutes are the sub… calls (openwifi.md 2.6).
func (d *Dialect) subscriberRoutes() []httpkit.Route {
	half, managed := d.forSubscribers(), d.aboutSubscribers()
	return append(managed.subscriberReads(d.by),
		d.route(http.MethodPost, base+"/subuser/{id}", "createSubscriber", managed.createUser),
		d.route(http.MethodPut, base+"/subuser/{id}", "updateSubscriber", managed.updateUser),
		d.route(http.MethodDelete, base+"/subuser/{id}", "deleteSubscriber", managed.deleteUser),
		d.route(http.MethodPost, base+"/suboauth2", "subscriberSignIn", half.oauth2),
		d.route(http.MethodGet, base+"/suboauth2", "subscriberMe", half.me),
		d.route(http.MethodDelete, base+"/suboauth2/{token}", "subscriberSignOut", half.signOut),
		d.route(http.MethodGet, base+"/validateSubToken", "validateSubToken", d.validateSubscriberForUser),
	)
}

// subscriberReads are those that the internal listener has too.
func (d *Dialect) subscriberReads(asks asker) []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/subusers", "getSubscribers", func(w http.ResponseWriter, r *http.Request) error { return d.subscriberList(w, r, asks) }),
		d.route(http.MethodGet, base+"/subuser/{id}", "getSubscriber", func(w http.ResponseWriter, r *http.Request) error { return d.user(w, r, asks) }),
	}
}

type count struct {
	Count int `json:"count"`
}

// subscriberList answers GET /subusers: as /users, or how many there are.
func (d *Dialect) subscriberList(w http.ResponseWriter, r *http.Request, asks asker) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	if !q.flag("countOnly") {
		return d.users(w, r, asks)
	}
	by, err := asks(r)
	if err != nil {
		return err
	}
	owner, err := d.ownerAsked(q)
	if err != nil {
		return err
	}
	n, err := d.Staff.Count(r.Context(), by, d.people(), owner)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, count{n})
}

// ownerAsked is the operator whose subscribers a list is of; "": all.
func (d *Dialect) ownerAsked(q query) (string, error) {
	if !d.customers {
		return "", nil
	}
	owner, err := q.text("operatorId")
	if owner = strings.ToLower(owner); err == nil && owner != "" && !identity.ValidID(owner) {
		err = identity.Invalid.In("operatorId", "must be a UUID")
	}
	return owner, err
}

// subscriberServiceRoutes are those of the internal listener.
func (d *Dialect) subscriberServiceRoutes() []httpkit.Route {
	return append(d.aboutSubscribers().subscriberReads(d.byOrService),
		d.route(http.MethodGet, base+"/validateSubToken", "validateSubToken", d.validateSubscriberForService))
}

// validateSubscriberForService answers GET /validateSubToken on the internal listener.
func (d *Dialect) validateSubscriberForService(w http.ResponseWriter, r *http.Request) error {
	service, err := d.byService(r)
	if err != nil {
		return err
	}
	if !service {
		return d.validateSubscriberForUser(w, r)
	}
	asked, err := tokenAsked(r)
	if err != nil {
		return err
	}
	return d.forSubscribers().validate(w, r, asked)
}

// validateSubscriberForUser answers it for a subscriber about her own token, and for root and admin, with a token of theirs, about
// every one.
func (d *Dialect) validateSubscriberForUser(w http.ResponseWriter, r *http.Request) error {
	half := d.forSubscribers()
	asked, err := tokenAsked(r)
	if err != nil {
		return err
	}
	shown, err := httpkit.Bearer(r)
	if err != nil {
		return err
	}
	if asked == "" || subtle.ConstantTimeCompare([]byte(asked), []byte(shown)) != 1 {
		if _, _, err := half.signedIn(r); err == nil {
			return identity.Denied.Because("you may validate your own token only")
		} else if identity.KindOf(err) != identity.TokenInvalid {
			return err
		}
		live, _, err := d.signedIn(r)
		if err != nil {
			return err
		}
		if role := roleOf(&live.Subject); role != root && role != admin {
			return identity.Denied.Because("you may validate your own token only")
		}
	} else if _, _, err := half.signedIn(r); err != nil {
		return err
	}
	return half.validate(w, r, asked)
}
