package openwifi

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
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
	return append(managed.subscriberManagement(d.by),
		d.route(http.MethodGet, base+"/subpreferences", "subscriberPreferences", half.preferences),
		d.route(http.MethodPut, base+"/subpreferences", "saveSubscriberPreferences", half.savePreferences),
		d.route(http.MethodGet, base+"/subtotp", "startSubscriberAuthenticator", half.startAuthenticator),
		d.route(http.MethodPut, base+"/subtotp", "confirmSubscriberAuthenticator", half.confirmAuthenticator),
		d.route(http.MethodPost, base+"/subavatar/{id}", "setSubscriberAvatar", half.setAvatar),
		d.route(http.MethodGet, base+"/subavatar/{id}", "subscriberAvatar", half.avatar),
		d.route(http.MethodDelete, base+"/subavatar/{id}", "removeSubscriberAvatar", half.removeAvatar),
		d.route(http.MethodGet, base+"/submfa", "subscriberMFA", half.readMFA),
		d.route(http.MethodPut, base+"/submfa", "setSubscriberMFA", d.asking(half.by, half.setMFA)),
		d.route(http.MethodPost, base+"/suboauth2", "subscriberSignIn", half.oauth2),
		d.route(http.MethodGet, base+"/suboauth2", "subscriberMe", half.me),
		d.route(http.MethodDelete, base+"/suboauth2/{token}", "subscriberSignOut", half.signOut),
		d.route(http.MethodGet, base+"/validateSubToken", "validateSubToken", d.validateSubscriberForUser),
	)
}

// subscriberManagement is what the internal listener has too: a portal for subscribers manages them by its key (openwifi.md 2.6).
func (d *Dialect) subscriberManagement(asks asker) []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/subusers", "getSubscribers", d.asking(asks, d.subscriberList)),
		d.route(http.MethodGet, base+"/subuser/{id}", "getSubscriber", d.asking(asks, d.user)),
		d.route(http.MethodPost, base+"/subuser/{id}", "createSubscriber", d.asking(asks, d.createUser)),
		d.route(http.MethodPut, base+"/subuser/{id}", "updateSubscriber", d.asking(asks, d.updateUser)),
		d.route(http.MethodDelete, base+"/subuser/{id}", "deleteSubscriber", d.asking(asks, d.deleteUser)),
	}
}

type count struct {
	Count int `json:"count"`
}

// subscriberList answers GET /subusers: as /users, or how many there are.
func (d *Dialect) subscriberList(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	if !q.flag("countOnly") {
		return d.users(w, r, by, q)
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
	return append(d.aboutSubscribers().subscriberManagement(d.byOrService),
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

// validateSubscriberForUser answers it for a subscriber about her own token, and for whoever sees all, with a token of theirs,
// about every one.
func (d *Dialect) validateSubscriberForUser(w http.ResponseWriter, r *http.Request) error {
	half := d.forSubscribers()
	asked, err := tokenAsked(r)
	if err != nil {
		return err
	}
	shown, err := httpkit.Bearer(r)
	if err != nil && len(r.Header["X-Api-Key"]) == 0 {
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
		if !seesAll(live) {
			return identity.Denied.Because("you may validate your own token only")
		}
	} else if _, _, err := half.signedIn(r); err != nil {
		return err
	}
	return half.validate(w, r, asked)
}

// subMFA is SubMfaConfig.
type subMFA struct {
	ID    string `json:"id"`
	Type  string `json:"type"`
	SMS   string `json:"sms"`
	Email string `json:"email"`
}

// noMFA is the contract's word for none; the others are those of methods.
const noMFA = "disabled"

func mfaOf(p *profile.Profile) subMFA {
	c := subMFA{ID: string(p.Subject.ID), Type: cmp.Or(methodOf(p.Factors), noMFA)}
	switch c.Type {
	case "sms":
		c.SMS = p.Targets[identity.SMSCode]
	case "email":
		c.Email = p.Targets[identity.EmailCode]
	}
	return c
}

// readMFA answers GET /submfa.
func (d *Dialect) readMFA(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	p, err := d.ownProfile(r, live)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, mfaOf(&p))
}

// setMFA answers PUT /submfa. SMS takes two calls: one has a code sent, the other brings it back.
func (d *Dialect) setMFA(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	word := strings.ToLower(body.needed("type"))
	number, _ := body.text("sms")
	if body.mistake != nil {
		return body.mistake
	}
	factor := staff.Factor{On: word != noMFA, Kind: kindOf(word), Number: number}
	switch {
	case factor.On && factor.Kind == "":
		return numbered{identity.Invalid.In("type", "must be disabled, email, sms or authenticator"), badMFAMethod}
	case factor.Kind == identity.SMSCode && number == "":
		return numbered{identity.Invalid.In("sms", "is required"), badNumber}
	case factor.Kind == identity.SMSCode && q.flag("startValidation"):
		named(r, "startSubscriberSMS")
		if err := d.Phones.StartProof(r.Context(), by.Caller, number); err != nil {
			return atProof(err, "sms")
		}
		return writeDone(w, r)
	case factor.Kind == identity.SMSCode:
		code, err := q.text("challengeCode")
		if err != nil {
			return err
		}
		if !q.flag("completeValidation") || code == "" {
			return identity.Invalid.Because("with startValidation a code is sent; completeValidation and challengeCode bring it back")
		}
		if err := d.Phones.CompleteProof(r.Context(), by.Caller, number, strings.TrimSpace(code)); err != nil {
			return atProof(err, "sms")
		}
	}
	p, err := d.Staff.Change(r.Context(), by, by.SubjectID, staff.Change{Kind: d.people(), Factor: &factor})
	if err != nil {
		return atUser(err)
	}
	return writeJSON(w, http.StatusOK, mfaOf(&p))
}

// atProof: what is wrong with a number, or with the code that was sent to it, is a 400 (openwifi.md 1.11, 2.6). The field is the body's
// name of the number.
func atProof(err error, field string) error {
	switch {
	case errors.Is(err, phone.ErrShut):
		return numbered{err, smsOff}
	case errors.Is(err, identity.BadCode):
		return &at{err, answer{400, 0, notChecked, "The code is wrong or too late.", true}}
	case errors.Is(err, identity.Invalid) && identity.Describe(err).Field == phone.FieldNumber:
		return numbered{phone.In(field, err), badNumber}
	}
	return err
}
