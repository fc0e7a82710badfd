package openwifi

import (
	"net/http"
	"strings"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// defaultPage is how many users a list has where nothing else is asked for.
const defaultPage = 100

// userRoutes are /user and /users (openwifi.md 1.8).
func (d *Dialect) userRoutes() []httpkit.Route {
	return append(d.userReads(d.by),
		d.route(http.MethodPost, base+"/user/{id}", "createUser", d.asking(d.by, d.createUser)),
		d.route(http.MethodPut, base+"/user/{id}", "updateUser", d.asking(d.by, d.updateUser)),
		d.route(http.MethodDelete, base+"/user/{id}", "deleteUser", d.asking(d.by, d.deleteUser)),
	)
}

// asker says who asks.
type asker func(*http.Request) (staff.By, error)

// asked is a handler that knows who asks, and with what parameters.
type asked func(w http.ResponseWriter, r *http.Request, by staff.By, q query) error

func (d *Dialect) asking(asks asker, h asked) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		by, err := asks(r)
		if err != nil {
			return err
		}
		q, err := queryOf(r)
		if err != nil {
			return err
		}
		return h(w, r, by, q)
	}
}

// userReads are those that the internal listener has too, where another service may ask.
func (d *Dialect) userReads(asks asker) []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/users", "getUsers", d.asking(asks, d.users)),
		d.route(http.MethodGet, base+"/user/{id}", "getUser", d.asking(asks, d.user)),
	}
}

// by is who shows an access token.
func (d *Dialect) by(r *http.Request) (staff.By, error) {
	live, _, err := d.signedIn(r)
	if err != nil {
		return staff.By{}, err
	}
	return staff.By{Caller: live.Caller(d.caller(r))}, nil
}

// byOrService is by, or another service that shows our key.
func (d *Dialect) byOrService(r *http.Request) (staff.By, error) {
	service, err := d.byService(r)
	if err != nil {
		return staff.By{}, err
	}
	if service {
		return d.peerOf(r), nil
	}
	return d.by(r)
}

// userList is the answer of a list, of users or of their ids.
type userList[T userInfo | identity.SubjectID] struct {
	Users []T `json:"users"`
}

// users answers GET /users.
func (d *Dialect) users(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	list, err := d.usersAsked(r, by, q)
	if err != nil {
		return atUser(err)
	}
	if q.flag("idOnly") {
		ids := userList[identity.SubjectID]{Users: make([]identity.SubjectID, len(list))}
		for i := range list {
			ids.Users[i] = list[i].Subject.ID
		}
		return writeJSON(w, http.StatusOK, ids)
	}
	users := userList[userInfo]{Users: make([]userInfo, len(list))}
	for i := range list {
		users.Users[i] = userOf(&list[i])
	}
	return writeJSON(w, http.StatusOK, users)
}

// usersAsked are those named by select, or a page.
func (d *Dialect) usersAsked(r *http.Request, by staff.By, q query) ([]profile.Profile, error) {
	selected, err := q.text("select")
	if err != nil {
		return nil, err
	}
	if selected != "" {
		// Counted before they are taken apart: a thousand ids are a page, a million are an attack.
		if strings.Count(selected, ",") >= staff.MaxPage {
			return nil, identity.Invalid.In("select", "names too many users")
		}
		var ids []identity.SubjectID
		for id := range strings.SplitSeq(selected, ",") {
			if id = strings.TrimSpace(id); identity.ValidID(id) {
				ids = append(ids, identity.SubjectID(id))
			}
		}
		return d.Staff.ByIDs(r.Context(), by, d.people(), ids)
	}
	page := staff.Query{Kind: d.people(), Offset: q.number("offset", 0), Limit: q.number("limit", defaultPage)}
	if page.Owner, err = d.ownerAsked(q); err != nil {
		return nil, err
	}
	if page.Name, err = q.text("nameSearch"); err != nil {
		return nil, err
	}
	if page.Email, err = q.text("emailSearch"); err != nil {
		return nil, err
	}
	return d.Staff.List(r.Context(), by, page)
}

// user answers GET /user/{id}.
func (d *Dialect) user(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	id, err := userID(r)
	if err != nil {
		return err
	}
	var p profile.Profile
	if q.flag("byEmail") {
		p, err = d.Staff.ReadByEmail(r.Context(), by, d.people(), string(id))
	} else {
		p, err = d.Staff.Read(r.Context(), by, d.people(), id)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userOf(&p))
}

// userID is what the path names; ids have one spelling.
func userID(r *http.Request) (identity.SubjectID, error) {
	id := r.PathValue("id")
	if strings.TrimSpace(id) == "" {
		return "", numbered{identity.Invalid.In("id", "is missing"), idMissing}
	}
	return identity.SubjectID(id), nil
}

// createUser answers POST /user/0.
func (d *Dialect) createUser(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	if r.PathValue("id") != "0" {
		return numbered{identity.Invalid.In("id", "must be 0"), idNotZero}
	}
	entity, err := q.text("entity")
	if err != nil {
		return err
	}
	text := func(name string) string {
		value, _ := body.text(name)
		return value
	}
	truth := func(name string) bool {
		value := body.truth(name)
		return value != nil && *value
	}
	in := staff.Person{
		Kind: d.people(), Email: text("email"), Role: body.choice("userRole"), Name: text("name"), Description: text("description"),
		Locale: text("locale"), Location: strings.ToLower(text("location")), Owner: strings.ToLower(text("owner")), Entity: strings.ToLower(entity),
		AuthInfo: text("oauthUserInfo"), Policy: text("securityPolicy"), Notes: notesAsked(body), MustChange: truth("changePassword"),
		Suspended: truth("suspended"), BlackListed: truth("blackListed"),
	}
	if q.flag("email_verification") {
		in.Check = d.verificationLink()
	}
	if password := text("currentPassword"); password != "" {
		in.Password = (*identity.Secret)(&password)
	}
	if body.mistake != nil {
		return body.mistake
	}
	p, err := d.Staff.Create(r.Context(), by, in)
	if err != nil {
		return atUser(err)
	}
	return writeJSON(w, http.StatusOK, userOf(&p))
}

// notesAsked are the texts of new notes; what an entry says about who wrote it, and when, does not count.
func notesAsked(body *object) []string {
	var texts []string
	notes, _ := body.list("notes")
	for _, n := range notes {
		text, _ := n.text("note")
		body.fail(n.mistake)
		texts = append(texts, text)
	}
	return texts
}

// updateUser answers PUT /user/{id}.
func (d *Dialect) updateUser(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	id, err := userID(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	change := staff.Change{Kind: d.people()}
	switch {
	case q.flag("resetMFA"):
		named(r, "resetUserMFA")
		change.ResetFactors = true
	case q.flag("forgotPassword"), d.customers && q.flag("resetPassword"): // openwifi.md 2.6
		named(r, "mailUserReset")
		change.MailReset = d.resetLink()
	default:
		if change, err = d.changeAsked(body); err != nil {
			return err
		}
		if q.flag("email_verification") {
			change.Check = d.verificationLink()
		}
	}
	p, err := d.Staff.Change(r.Context(), by, id, change)
	if err != nil {
		return atUser(err)
	}
	if change.MailReset.Address != nil {
		return writeDone(w, r)
	}
	return writeJSON(w, http.StatusOK, userOf(&p))
}

// changeAsked reads those fields that a change may name.
func (d *Dialect) changeAsked(body *object) (staff.Change, error) {
	lower := func(name string) *string {
		text := body.choice(name)
		if text != nil {
			*text = strings.ToLower(*text)
		}
		return text
	}
	in := staff.Change{
		Kind: d.people(), Name: body.choice("name"), Description: body.choice("description"), Locale: body.choice("locale"),
		Location: lower("location"), Owner: lower("owner"), AuthInfo: body.choice("oauthUserInfo"), Policy: body.choice("securityPolicy"),
		Role: body.choice("userRole"), Notes: notesAsked(body), Suspended: body.truth("suspended"), BlackListed: body.truth("blackListed"),
		MustChange: body.truth("changePassword"), Password: (*identity.Secret)(body.choice("currentPassword")),
	}
	own := body.inner("userTypeProprietaryInfo")
	method := own.inner("mfa")
	if on := method.truth("enabled"); on != nil {
		in.Factor = &staff.Factor{On: *on}
		if *on {
			word, _ := method.text("method")
			in.Factor.Kind = kindOf(strings.ToLower(word))
			if mobiles, _ := own.list("mobiles"); len(mobiles) > 0 && in.Factor.Kind == identity.SMSCode {
				in.Factor.Number, _ = mobiles[0].text("number")
				own.fail(mobiles[0].mistake)
			}
		}
	}
	for _, o := range []*object{body, own, method} {
		if o.mistake != nil {
			return in, o.mistake
		}
	}
	return in, nil
}

// deleteUser answers DELETE /user/{id}: 200 with nothing in it, as the vendor's tests insist.
func (d *Dialect) deleteUser(w http.ResponseWriter, r *http.Request, by staff.By, _ query) error {
	id, err := userID(r)
	if err != nil {
		return err
	}
	if err := d.Staff.Delete(r.Context(), by, d.people(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
