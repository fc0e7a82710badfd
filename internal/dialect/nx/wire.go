package nx

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

// message is the answer of whatever has no object of its own, refusals included (nx.md 1.7).
type message struct {
	AuthorizationInvalid bool
	BackendMessage       string `json:",omitempty"`
	Email                string `json:",omitempty"`
	Field                *field `json:",omitempty"`
	Message              string
	UUID                 string `json:",omitempty"`
}

type field struct{ Message, Name string }

// tokens hold what was asked for and no more: both in one answer would be longer than clients read (nx.md 1.4).
type tokens struct {
	AccessToken  string `json:",omitempty"`
	RefreshToken string `json:",omitempty"`
}

type status struct {
	Online   bool
	Services map[string]bool
}

type configuration struct{ Features map[string]bool }

type strength struct {
	Strong  bool
	Score   int
	Message string
}

type user struct {
	Email        string
	IsSuperAdmin bool
	Name         string
	NxID         string            `json:",omitempty"`
	Organisation *userOrganisation `json:",omitempty"`
	UUID         string
}

type userOrganisation struct{ Name, UUID string }

// attributes are what this door keeps about a subject and the core does not understand.
type attributes struct {
	Newsletter bool   `json:"newsletter,omitempty"`
	Phone      string `json:"phone,omitempty"`
	JobTitle   string `json:"job_title,omitempty"`
}

func (a attributes) keep() (identity.Attributes, error) {
	text, err := json.Marshal(a)
	return identity.Attributes{Door: text}, err
}

// asUser shows a profile with one of her organisations: the one in use if she belongs to it, else the one she used last, else
// the first.
func asUser(p profile.Profile, nxID string, inUse identity.OrganisationID) user {
	u := user{
		Email: p.Subject.Email, IsSuperAdmin: p.Subject.Superadmin, Name: p.Subject.Name, NxID: nxID, UUID: string(p.Subject.ID),
	}
	for _, id := range []identity.OrganisationID{inUse, p.Subject.LastOrgID} {
		if a, ok := p.In(id); ok && u.Organisation == nil {
			u.Organisation = &userOrganisation{Name: a.Organisation.Name, UUID: string(a.Organisation.ID)}
		}
	}
	if u.Organisation == nil && len(p.Organisations) > 0 {
		o := p.Organisations[0].Organisation
		u.Organisation = &userOrganisation{Name: o.Name, UUID: string(o.ID)}
	}
	return u
}

// object is a request's body. Its methods read fields by their exact name (encoding/json would take any case) and keep the
// first mistake; null counts as a value of the wrong type unless a method says otherwise (nx.md 1.3).
type object struct {
	fields  map[string]json.RawMessage
	mistake error
}

const (
	required  = "is required"
	notString = "must be a string"
	notFlag   = "must be true or false"
)

func (o *object) wrong(name, what string) {
	if o.mistake == nil {
		o.mistake = identity.Invalid.In(name, what)
	}
}

func (o *object) has(name string) bool {
	_, ok := o.fields[name]
	return ok
}

// text is a string, "" where it is absent.
func (o *object) text(name string) string {
	raw, ok := o.fields[name]
	if !ok {
		return ""
	}
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil {
		o.wrong(name, notString)
		return ""
	}
	return *text
}

// filled is a string that must be there and not empty.
func (o *object) filled(name string) string {
	text := o.text(name)
	if text == "" {
		o.wrong(name, required)
	}
	return text
}

// present is a string that must be there, and may be empty.
func (o *object) present(name string) string {
	if !o.has(name) {
		o.wrong(name, required)
	}
	return o.text(name)
}

// nullable is a string or null, "" for null and where it is absent.
func (o *object) nullable(name string) string {
	if string(o.fields[name]) == "null" {
		return ""
	}
	return o.text(name)
}

// flag is a boolean, false where it is absent.
func (o *object) flag(name string) bool {
	raw, ok := o.fields[name]
	if !ok {
		return false
	}
	var flag *bool
	if json.Unmarshal(raw, &flag) != nil || flag == nil {
		o.wrong(name, notFlag)
		return false
	}
	return *flag
}

// given is a boolean that must be there.
func (o *object) given(name string) bool {
	if !o.has(name) {
		o.wrong(name, required)
	}
	return o.flag(name)
}

// The limits of names are ours: nx.md 4.4 states them for the name of a user.
const maxName = 200

// name is what a person or a company is called: one line of 1 to 200 characters, not only blanks.
func (o *object) name(name string) string {
	trimmed := strings.TrimSpace(o.filled(name))
	if trimmed == "" {
		o.wrong(name, required)
	}
	return o.short(name, trimmed)
}

// title is like a name, but may be null or absent.
func (o *object) title(name string) string { return o.short(name, strings.TrimSpace(o.nullable(name))) }

func (o *object) short(name, text string) string {
	switch {
	case utf8.RuneCountInString(text) > maxName:
		o.wrong(name, "must not be longer than 200 characters")
	case strings.ContainsFunc(text, unicode.IsControl):
		o.wrong(name, "must not hold control characters")
	}
	return text
}

var phone = regexp.MustCompile(`^[+0-9 ()-]{0,32}$`)

// phone is a number as people write it, or "" (nx.md 4.4).
func (o *object) phone(name string) string {
	text := o.nullable(name)
	if !phone.MatchString(text) {
		o.wrong(name, "may hold +, digits, spaces, (, ) and -, at most 32")
	}
	return strings.TrimSpace(text)
}
