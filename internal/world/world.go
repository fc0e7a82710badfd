package world

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// Doors whose own words have a place of their own in the file.
const (
	titan    identity.Door = "titan"
	nx       identity.Door = "nx"
	insights identity.Door = "insights"
	openwifi identity.Door = "openwifi"
)

var doors = []identity.Door{titan, nx, insights, openwifi}

// World is what a file says. A nil list or pointer is something that it leaves out.
type World struct {
	File          string
	Organisations []Organisation
	Policies      []Policy // inline ones too, under keys of their own
	Roles         []Role
	Subjects      []Subject
	Clients       []Client
	Services      []Listed
	Providers     []Provider
	Agreements    []Agreement
	Devices       []Device
	Licences      []Licence
	has           map[string]bool // the lists that the file has
}

// record is where something stands in the file, and where each of its fields does.
type record struct {
	place
	fields map[string]place
}

// at gives the place of a field, by its own name or by the one that a verb has for it.
func (r record) at(field string) place {
	switch field {
	case "":
		return r.place
	case manage.FieldAlias:
		field = "aliases"
	case "device":
		if _, ok := r.fields[field]; !ok {
			field = "devices"
		}
	case "policy":
		if _, ok := r.fields[field]; !ok {
			field = "security_policy"
		}
	}
	// What is not there at all is missed in whatever is nearest around it.
	for near := field; near != ""; near = near[:max(0, strings.LastIndexAny(near, ".["))] {
		if p, ok := r.fields[near]; ok {
			return place{p.line, p.field + field[len(near):]}
		}
	}
	return place{r.line, join(r.field, field)}
}

// Organisation of the file.
type Organisation struct {
	record
	Key        string
	ID         identity.OrganisationID
	Hash       string
	Name       *string
	Sites      []Site
	Policy     *string // key
	ExpiresAt  *time.Time
	Attributes identity.Attributes
}

// Site of an organisation.
type Site struct {
	record
	Key  string
	ID   identity.SiteID
	Name *string
}

// Policy of the file: the whole record.
type Policy struct {
	record
	identity.Policy
}

// Role of the file: the whole record.
type Role struct {
	record
	identity.Role
}

// Subject of the file.
type Subject struct {
	record
	ID           identity.SubjectID
	Hash         string
	Kind         identity.SubjectKind
	Email        string
	Aliases      []string
	Name         *string
	GivenName    *string
	MiddleName   *string
	FamilyName   *string
	Phone        *string
	Locale       *string
	Password     identity.Secret
	PasswordHash string
	MustChange   *bool
	Verified     *bool
	MustVerify   *bool
	Suspended    *bool
	Superadmin   *bool
	Owner        *string
	Policy       *string // key
	Memberships  []Membership
	Identities   []Linked
	Factors      *Factors
	Attributes   identity.Attributes
}

// name is how people recognise the record.
func (s Subject) name() string {
	switch {
	case s.Email != "":
		return s.Email
	case len(s.Aliases) > 0:
		return s.Aliases[0]
	}
	return string(s.ID)
}

// Membership of a subject. What it leaves out of role and attributes, it has not.
type Membership struct {
	record
	Organisation string
	Site         string
	Role         string
	Attributes   identity.Attributes
}

// Factors of a subject.
type Factors struct {
	record
	TOTP   identity.Secret
	TOTPID identity.CredentialID // of an exported secret, which is sealed for it
	Sealed []byte
	Email  *string // "": her own address
	SMS    string
}

// Client of the file.
type Client struct {
	record
	ID           identity.ClientID
	Name         *string
	Secret       identity.Secret
	SecretHash   string
	Public       bool
	Grants       *[]string
	Scopes       *[]string
	RedirectURIs *[]string
	Audiences    *[]string
	SigningAlg   *string
	Organisation *string // "": the house's
	Device       *string // "": none
	Suspended    *bool
	Attributes   identity.Attributes
}

// Listed is a service of the file: the whole record.
type Listed struct {
	record
	identity.Service
}

// Linked is an identity of a subject at another house.
type Linked struct {
	record
	identity.LinkedIdentity
}

// Provider of the file: the whole record.
type Provider struct {
	record
	identity.IdentityProvider
	Secret    identity.Secret
	Suspended bool
}

// Parse reads a file; file is its name for mistakes. The error is Mistakes.
func Parse(file string, text []byte) (*World, error) {
	r := &reader{file: file}
	w := &World{File: file, has: map[string]bool{}}
	if doc := r.document(text); doc != nil {
		r.world(w, doc)
	}
	if err := r.mistakes.err(); err != nil {
		return nil, err
	}
	return w, nil
}

type fields = map[string]func(n *yaml.Node, field string)

func (r *reader) world(w *World, doc *yaml.Node) {
	section := func(name string, read func(n *yaml.Node, field string)) func(n *yaml.Node, field string) {
		return func(n *yaml.Node, field string) {
			w.has[name] = true
			r.list(n, field, read)
		}
	}
	known := fields{
		"organisations": section("organisations", func(n *yaml.Node, field string) { r.organisation(w, n, field) }),
		"policies": section("policies", func(n *yaml.Node, field string) {
			if p := r.policy(n, field, ""); p != nil {
				w.Policies = append(w.Policies, *p)
			}
		}),
		"roles":              section("roles", func(n *yaml.Node, field string) { r.role(w, n, field) }),
		"subjects":           section("subjects", func(n *yaml.Node, field string) { r.subject(w, n, field) }),
		"clients":            section("clients", func(n *yaml.Node, field string) { r.client(w, n, field) }),
		"services":           section("services", func(n *yaml.Node, field string) { r.service(w, n, field) }),
		"identity_providers": section("identity_providers", func(n *yaml.Node, field string) { r.provider(w, n, field) }),
		"agreements":         section("agreements", func(n *yaml.Node, field string) { r.agreement(w, n, field) }),
		"devices":            section("devices", func(n *yaml.Node, field string) { r.device(w, n, field) }),
		"licences":           section("licences", func(n *yaml.Node, field string) { r.licence(w, n, field) }),
	}
	r.object(doc, "", known)
	r.repeats(w)
}

// record reads a mapping and remembers where its fields stand.
func (r *reader) record(n *yaml.Node, field string, known fields) (record, bool) {
	rec := record{place: place{n.Line, field}, fields: map[string]place{}}
	noting := make(fields, len(known))
	for name, read := range known {
		noting[name] = func(n *yaml.Node, field string) {
			rec.fields[name] = place{n.Line, field}
			read(n, field)
		}
	}
	return rec, r.object(n, field, noting)
}

// need notes a field that must be there.
func (r *reader) need(rec record, name string, has bool) {
	if _, given := rec.fields[name]; !has && !given { // an empty one has its own mistake
		r.mistakes.add(r.file, place{rec.line, join(rec.field, name)}, "is needed")
	}
}

func (r *reader) intoText(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if s, ok := r.text(n, field); ok {
			if s == "" {
				r.mistake(n, field, "is empty")
			}
			*into = s
		}
	}
}

// intoAnyText takes an empty one too.
func (r *reader) intoAnyText(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if s, ok := r.text(n, field); ok {
			*into = s
		}
	}
}

func (r *reader) intoOptional(into **string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if s, ok := r.text(n, field); ok {
			*into = &s
		}
	}
}

func (r *reader) intoTruth(into **bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if b, ok := r.truth(n, field); ok {
			*into = &b
		}
	}
}

func (r *reader) intoTexts(into **[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		all := r.texts(n, field)
		*into = &all
	}
}

func (r *reader) intoInstant(into **time.Time) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if at, ok := r.instant(n, field); ok {
			*into = &at
		}
	}
}

func intoID[ID ~string](r *reader, into *ID) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		s, ok := r.text(n, field)
		if ok && !identity.ValidID(s) {
			r.mistake(n, field, "must be a UUID in lower case")
		}
		*into = ID(s)
	}
}

// attributes adds the places where a record keeps what doors know of it. Where all that is in there stands goes into places, by the
// names that checkers of doors have for it ("nx.systems[0].id"); nil: nobody asks.
func (r *reader) attributes(known fields, into *identity.Attributes, places map[string]place) {
	keep := func(door identity.Door, n *yaml.Node, field string) {
		if places != nil {
			r.note = func(n *yaml.Node, inner string) {
				places[string(door)+strings.TrimPrefix(inner, field)] = place{n.Line, inner}
			}
			defer func() { r.note = nil }()
		}
		v, isObject := r.free(n, field, 0).(map[string]any)
		if !isObject {
			r.mistake(n, field, "must be a mapping of names to values")
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			r.mistake(n, field, "is not JSON")
			return
		}
		if *into == nil {
			*into = identity.Attributes{}
		}
		if _, twice := (*into)[door]; twice {
			r.mistake(n, field, "is given twice")
			return
		}
		(*into)[door] = text
	}
	for _, door := range doors {
		known[string(door)] = func(n *yaml.Node, field string) { keep(door, n, field) }
	}
	known["attributes"] = func(n *yaml.Node, field string) {
		all, _ := r.members(n, field)
		for _, m := range all {
			keep(identity.Door(m.name), m.value, join(field, m.name))
		}
	}
}

func (r *reader) organisation(w *World, n *yaml.Node, field string) {
	var o Organisation
	var inline *yaml.Node
	known := fields{
		"key": r.intoText(&o.Key), "id": intoID(r, &o.ID), "hash": r.intoText(&o.Hash), "name": r.intoOptional(&o.Name),
		"expiration_time": r.intoInstant(&o.ExpiresAt),
		"policy":          r.policyOf(&o.Policy, &inline),
		"sites": func(n *yaml.Node, field string) {
			o.Sites = []Site{}
			r.list(n, field, func(n *yaml.Node, field string) {
				var s Site
				s.record, _ = r.record(n, field, fields{"key": r.intoText(&s.Key), "id": intoID(r, &s.ID), "name": r.intoOptional(&s.Name)})
				r.need(s.record, "key", s.Key != "")
				o.Sites = append(o.Sites, s)
			})
		},
	}
	places := map[string]place{}
	r.attributes(known, &o.Attributes, places)
	o.record, _ = r.record(n, field, known)
	for name, at := range places {
		if _, taken := o.fields[name]; !taken {
			o.fields[name] = at
		}
	}
	r.need(o.record, "key", o.Key != "")
	r.hubExpiry(&o)
	if inline != nil {
		o.Policy = r.inline(w, inline, o.at("policy").field, policy.OfOrganisation+o.Key)
	}
	w.Organisations = append(w.Organisations, o)
}

// hubExpiry lifts the end of an organisation out of what TITAN says of it: every door must hold to it, so the core keeps it.
func (r *reader) hubExpiry(o *Organisation) {
	var hub map[string]json.RawMessage
	if json.Unmarshal(o.Attributes[titan], &hub) != nil || hub["expiration_time"] == nil {
		return
	}
	var text string
	if string(hub["expiration_time"]) != "null" {
		at, err := time.Time{}, json.Unmarshal(hub["expiration_time"], &text)
		if err == nil {
			at, err = parseInstant(text)
		}
		switch {
		case err != nil:
			r.mistakes.add(r.file, o.at("titan"), "expiration_time must be an instant such as 2030-01-01T00:00:00Z")
		case o.ExpiresAt != nil && !o.ExpiresAt.Equal(at):
			r.mistakes.add(r.file, o.at("titan"), "expiration_time is given twice, differently")
		default:
			o.ExpiresAt = &at
		}
	}
	delete(hub, "expiration_time")
	o.Attributes[titan], _ = json.Marshal(hub) // it was JSON before
	if len(hub) == 0 {
		delete(o.Attributes, titan)
	}
}

// policyOf reads the key of a policy, or remembers where one stands inline.
func (r *reader) policyOf(into **string, inline **yaml.Node) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		at, ok := r.resolve(n, field)
		if !ok {
			return
		}
		if at.Kind == yaml.MappingNode {
			*inline = at
			return
		}
		if null(at) {
			none := ""
			*into = &none
			return
		}
		if key, ok := r.text(n, field); ok {
			*into = &key
		}
	}
}

func (r *reader) inline(w *World, n *yaml.Node, field, key string) *string {
	p := r.policy(n, field, key)
	if p == nil {
		return nil
	}
	w.Policies = append(w.Policies, *p)
	return &p.Key
}

// policy reads one; key is an inline one's, "" where it has its own.
func (r *reader) policy(n *yaml.Node, field, key string) *Policy {
	var p Policy
	var hours identity.Schedule
	p.Policy.Key = key
	known := fields{
		"description": r.intoAnyText(&p.Description),
		"hours":       func(n *yaml.Node, field string) { hours.Windows = r.windows(n, field) },
		"zone":        r.intoText(&hours.Zone),
		"networks": func(n *yaml.Node, field string) {
			if blocks := r.texts(n, field); len(blocks) > 0 {
				p.Networks = [][]string{blocks}
			}
		},
		"password": func(n *yaml.Node, field string) {
			r.object(n, field, fields{
				"min_length":   func(n *yaml.Node, field string) { p.Password.MinLength = r.whole(n, field) },
				"classes":      func(n *yaml.Node, field string) { p.Password.Classes = r.whole(n, field) },
				"history":      func(n *yaml.Node, field string) { p.Password.History = r.whole(n, field) },
				"max_age_days": func(n *yaml.Node, field string) { p.Password.MaxAgeDays = r.whole(n, field) },
				"min_score":    func(n *yaml.Node, field string) { p.Password.MinScore = r.whole(n, field) },
			})
		},
		"second_factor": func(n *yaml.Node, field string) {
			if at, ok := r.resolve(n, field); ok && at.ShortTag() == "!!bool" && at.Value == "off" {
				p.SecondFactor = identity.FactorOff // YAML 1.1 takes this word for a truth value
				return
			}
			p.SecondFactor = identity.Demand(r.word(n, field, "off", "optional", "required"))
		},
		"factors": func(n *yaml.Node, field string) {
			for _, kind := range r.texts(n, field) {
				p.Factors = append(p.Factors, identity.CredentialKind(kind))
			}
		},
		"session": func(n *yaml.Node, field string) {
			r.object(n, field, fields{
				"idle":     func(n *yaml.Node, field string) { p.SessionIdle = r.duration(n, field) },
				"absolute": func(n *yaml.Node, field string) { p.SessionMax = r.duration(n, field) },
			})
		},
		"lockout": func(n *yaml.Node, field string) {
			r.object(n, field, fields{
				"tries":  func(n *yaml.Node, field string) { p.Lockout.Tries = r.whole(n, field) },
				"window": func(n *yaml.Node, field string) { p.Lockout.Window = r.duration(n, field) },
			})
		},
	}
	if key == "" {
		known["key"] = r.intoText(&p.Policy.Key)
	}
	before := len(r.mistakes)
	ok := false
	if p.record, ok = r.record(n, field, known); !ok {
		return nil
	}
	r.need(p.record, "key", p.Policy.Key != "")
	switch {
	case len(hours.Windows) > 0:
		p.Hours = []identity.Schedule{hours}
	case hours.Zone != "":
		r.mistakes.add(r.file, p.at("zone"), "is of no use without hours")
	}
	if len(r.mistakes) == before {
		r.judged(p.record, manage.CheckPolicy(p.Policy))
	}
	return &p
}

// weekdays by their words in the file, as time.Weekday counts them.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// windows reads the hours of a policy.
func (r *reader) windows(n *yaml.Node, field string) []identity.Window {
	var all []identity.Window
	r.list(n, field, func(n *yaml.Node, field string) {
		var w identity.Window
		rec, _ := r.record(n, field, fields{
			"days": func(n *yaml.Node, field string) {
				r.list(n, field, func(n *yaml.Node, field string) {
					if word := r.word(n, field, weekdays...); word != "" {
						w.Days = append(w.Days, time.Weekday(slices.Index(weekdays, word)))
					}
				})
			},
			"from":  func(n *yaml.Node, field string) { w.From = r.clock(n, field) },
			"until": func(n *yaml.Node, field string) { w.Until = r.clock(n, field) },
		})
		_, from := rec.fields["from"]
		_, until := rec.fields["until"]
		r.need(rec, "from", from)
		r.need(rec, "until", until)
		all = append(all, w)
	})
	return all
}

func (r *reader) role(w *World, n *yaml.Node, field string) {
	var role Role
	role.record, _ = r.record(n, field, fields{
		"key":        r.intoText(&role.Key),
		"privileges": func(n *yaml.Node, field string) { role.Privileges = r.texts(n, field) },
	})
	r.need(role.record, "key", role.Key != "")
	w.Roles = append(w.Roles, role)
}

var (
	openwifiRoles = []string{"root", "partner", "admin", "subscriber", "csr", "system", "installer", "noc", "accounting"}
	titanRoles    = []string{"owner", "administrator", "user"}
)

func (r *reader) subject(w *World, n *yaml.Node, field string) {
	var s Subject
	var inline *yaml.Node
	secret := func(into *identity.Secret) func(*yaml.Node, string) {
		return func(n *yaml.Node, field string) { r.intoText((*string)(into))(n, field) }
	}
	known := fields{
		"id": intoID(r, &s.ID), "hash": r.intoText(&s.Hash), "email": r.intoText(&s.Email),
		"kind": func(n *yaml.Node, field string) {
			s.Kind = identity.SubjectKind(r.word(n, field, string(identity.Person), string(identity.Customer), string(identity.Machine)))
		},
		"aliases": func(n *yaml.Node, field string) { s.Aliases = r.texts(n, field) },
		"name":    r.intoOptional(&s.Name), "given_name": r.intoOptional(&s.GivenName), "middle_name": r.intoOptional(&s.MiddleName),
		"family_name": r.intoOptional(&s.FamilyName), "phone": r.intoOptional(&s.Phone), "locale": r.intoOptional(&s.Locale),
		"password": secret(&s.Password), "password_hash": r.intoText(&s.PasswordHash), "must_change_password": r.intoTruth(&s.MustChange),
		"verified": r.intoTruth(&s.Verified), "must_verify": r.intoTruth(&s.MustVerify), "suspended": r.intoTruth(&s.Suspended),
		"superadmin": r.intoTruth(&s.Superadmin), "owner": r.intoOptional(&s.Owner), "security_policy": r.policyOf(&s.Policy, &inline),
		"memberships": func(n *yaml.Node, field string) {
			s.Memberships = []Membership{}
			r.list(n, field, func(n *yaml.Node, field string) { r.membership(&s, n, field) })
		},
		"identities": func(n *yaml.Node, field string) {
			s.Identities = []Linked{}
			r.list(n, field, func(n *yaml.Node, field string) { r.linked(&s, n, field) })
		},
		"factors": func(n *yaml.Node, field string) { r.factors(&s, n, field) },
	}
	r.attributes(known, &s.Attributes, nil)
	rec, ok := r.record(n, field, known)
	if s.record = rec; !ok {
		return
	}
	r.roleWord(s.record, s.Attributes, openwifi, openwifiRoles)
	s.impliedByOpenWiFi()
	if s.Email == "" && len(s.Aliases) == 0 && s.ID == "" {
		r.need(s.record, "email", false)
	}
	if s.Password != "" && s.PasswordHash != "" {
		r.mistakes.add(r.file, s.at("password_hash"), "is given beside password; one of them is enough")
	}
	if inline != nil {
		s.Policy = r.inline(w, inline, s.at("security_policy").field, policy.OfSubject+s.name())
	}
	w.Subjects = append(w.Subjects, s)
}

// impliedByOpenWiFi: who is root at that door is a superadmin, and who is blacklisted is suspended, unless the file says
// otherwise.
func (s *Subject) impliedByOpenWiFi() {
	var own struct {
		Role        string `json:"role"`
		BlackListed bool   `json:"blackListed"`
	}
	if json.Unmarshal(s.Attributes[openwifi], &own) != nil {
		return
	}
	yes := true
	if own.Role == openwifiRoles[0] && s.Superadmin == nil {
		s.Superadmin = &yes
	}
	if own.BlackListed && s.Suspended == nil {
		s.Suspended = &yes
	}
}

// roleWord checks the role that a door knows, where one is given.
func (r *reader) roleWord(rec record, attributes identity.Attributes, door identity.Door, allowed []string) {
	var own struct {
		Role *string `json:"role"`
	}
	if attributes[door] == nil {
		return
	}
	at := rec.at(string(door))
	at.field = join(at.field, "role")
	problem := "must be one of " + strings.Join(allowed, ", ")
	if json.Unmarshal(attributes[door], &own) != nil {
		r.mistakes.add(r.file, at, problem)
		return
	}
	for _, word := range allowed {
		if own.Role == nil || *own.Role == word {
			return
		}
	}
	r.mistakes.add(r.file, at, problem)
}

func (r *reader) membership(s *Subject, n *yaml.Node, field string) {
	var m Membership
	var titanRole string
	known := fields{
		"organisation": r.intoText(&m.Organisation), "site": r.intoText(&m.Site), "role": r.intoText(&m.Role),
		"titan_role": func(n *yaml.Node, field string) { titanRole = r.word(n, field, titanRoles...) },
	}
	r.attributes(known, &m.Attributes, nil)
	rec, ok := r.record(n, field, known)
	if m.record = rec; !ok {
		return
	}
	r.need(m.record, "organisation", m.Organisation != "")
	r.roleWord(m.record, m.Attributes, titan, titanRoles)
	if titanRole != "" {
		own := map[string]json.RawMessage{}
		_ = json.Unmarshal(m.Attributes[titan], &own) // nil, or an object that was made above
		if own["role"] != nil {
			r.mistakes.add(r.file, m.at("titan_role"), "is given beside titan.role; one of them is enough")
		}
		own["role"], _ = json.Marshal(titanRole)
		if m.Attributes == nil {
			m.Attributes = identity.Attributes{}
		}
		m.Attributes[titan], _ = json.Marshal(own)
	}
	for _, other := range s.Memberships {
		if other.Organisation == m.Organisation && other.Site == m.Site {
			r.mistakes.add(r.file, m.place, fmt.Sprintf("is at the same place as the membership on line %d; put both into one", other.line))
		}
	}
	s.Memberships = append(s.Memberships, m)
}

func (r *reader) factors(s *Subject, n *yaml.Node, field string) {
	f := &Factors{}
	known := fields{
		"totp": func(n *yaml.Node, field string) {
			text, ok := r.text(n, field)
			if !ok {
				return
			}
			secret, err := manage.ParseTOTP(identity.Secret(text))
			if err != nil {
				r.mistake(n, field, identity.Describe(err).Public)
			}
			f.TOTP = secret
		},
		"totp_sealed": func(n *yaml.Node, field string) {
			text, ok := r.text(n, field)
			if !ok {
				return
			}
			id, sealed, _ := strings.Cut(text, ":")
			plain, err := base64.StdEncoding.DecodeString(sealed)
			if err != nil || len(plain) == 0 || !identity.ValidID(id) {
				r.mistake(n, field, "must be as export wrote it: an id, a colon, and base64")
			}
			f.TOTPID, f.Sealed = identity.CredentialID(id), plain
		},
		"email": func(n *yaml.Node, field string) {
			if at, ok := r.resolve(n, field); ok && at.ShortTag() == "!!bool" {
				if on, ok := r.truth(n, field); ok && on {
					own := ""
					f.Email = &own
				}
				return
			}
			if address, ok := r.text(n, field); ok {
				if _, err := manage.NewLogin(manage.FieldEmail, address, time.Time{}); err != nil {
					r.mistake(n, field, "must be true or an e-mail address")
				}
				f.Email = &address
			}
		},
		"sms": func(n *yaml.Node, field string) {
			if number, ok := r.text(n, field); ok {
				var err error
				if f.SMS, err = manage.ParseTarget(identity.SMSCode, number); err != nil {
					r.mistake(n, field, identity.Describe(err).Public)
				}
			}
		},
	}
	rec, ok := r.record(n, field, known)
	if f.record = rec; !ok {
		return
	}
	if f.TOTP != "" && f.Sealed != nil {
		r.mistakes.add(r.file, f.at("totp_sealed"), "is given beside totp; one of them is enough")
	}
	s.Factors = f
}

func (r *reader) client(w *World, n *yaml.Node, field string) {
	var c Client
	var public *bool
	known := fields{
		"id":   func(n *yaml.Node, field string) { r.intoText((*string)(&c.ID))(n, field) },
		"name": r.intoOptional(&c.Name), "secret": func(n *yaml.Node, field string) { r.intoText((*string)(&c.Secret))(n, field) },
		"secret_hash": r.intoText(&c.SecretHash), "public": r.intoTruth(&public), "grants": r.intoTexts(&c.Grants), "scopes": r.intoTexts(&c.Scopes),
		"redirect_uris": r.intoTexts(&c.RedirectURIs), "audiences": r.intoTexts(&c.Audiences), "signing_alg": r.intoOptional(&c.SigningAlg),
		"organisation": orNull(r, &c.Organisation, r.text), "device": orNull(r, &c.Device, r.text), "suspended": r.intoTruth(&c.Suspended),
	}
	r.attributes(known, &c.Attributes, nil)
	rec, ok := r.record(n, field, known)
	if c.record = rec; !ok {
		return
	}
	r.need(c.record, "id", c.ID != "")
	c.Public = public != nil && *public
	switch {
	case c.Secret != "" && c.SecretHash != "":
		r.mistakes.add(r.file, c.at("secret_hash"), "is given beside secret; one of them is enough")
	case c.Public && (c.Secret != "" || c.SecretHash != ""):
		r.mistakes.add(r.file, c.at("public"), "a public client has no secret")
	}
	w.Clients = append(w.Clients, c)
}

func (r *reader) service(w *World, n *yaml.Node, field string) {
	var s Listed
	s.record, _ = r.record(n, field, fields{
		"type": r.intoText(&s.Type), "uri": r.intoText(&s.PublicURI), "private_uri": r.intoText(&s.PrivateURI),
	})
	r.need(s.record, "type", s.Type != "")
	r.need(s.record, "uri", s.PublicURI != "")
	w.Services = append(w.Services, s)
}

func (r *reader) linked(s *Subject, n *yaml.Node, field string) {
	var l Linked
	rec, ok := r.record(n, field, fields{
		"authority": r.intoText(&l.Authority), "id": r.intoText(&l.ExternalID), "provider": r.intoAnyText(&l.Provider),
		"email": r.intoAnyText(&l.Email),
	})
	if l.record = rec; !ok {
		return
	}
	r.need(l.record, "authority", l.Authority != "")
	r.need(l.record, "id", l.ExternalID != "")
	s.Identities = append(s.Identities, l)
}

func (r *reader) provider(w *World, n *yaml.Node, field string) {
	var p Provider
	create, suspended := true, false
	into := func(truth *bool) func(*yaml.Node, string) {
		return func(n *yaml.Node, field string) {
			if b, ok := r.truth(n, field); ok {
				*truth = b
			}
		}
	}
	var ok bool
	before := len(r.mistakes)
	p.record, ok = r.record(n, field, fields{
		"key": r.intoText(&p.Key), "issuer": r.intoText(&p.Issuer), "name": r.intoText(&p.Name), "client_id": r.intoText(&p.ClientID),
		"kind": func(n *yaml.Node, field string) {
			p.Kind = identity.ProviderKind(r.word(n, field, string(identity.MicrosoftProvider), string(identity.GoogleProvider), string(identity.OpenIDProvider)))
		},
		"client_secret": func(n *yaml.Node, field string) { r.intoText((*string)(&p.Secret))(n, field) },
		"client_secret_sealed": func(n *yaml.Node, field string) {
			text, ok := r.text(n, field)
			if !ok {
				return
			}
			var err error
			if p.Sealed, err = base64.StdEncoding.DecodeString(text); err != nil || len(p.Sealed) == 0 {
				r.mistake(n, field, "must be as export wrote it: base64")
			}
		},
		"tenants": func(n *yaml.Node, field string) { p.Tenants = r.texts(n, field) },
		"email": func(n *yaml.Node, field string) {
			p.EmailTrust = identity.EmailTrust(r.word(n, field, string(identity.TrustVerified), string(identity.TrustAlways), string(identity.TrustNever)))
		},
		"create_accounts": into(&create), "suspended": into(&suspended),
	})
	if !ok {
		return
	}
	p.CreateAccounts, p.Suspended = create, suspended
	r.need(p.record, "key", p.Key != "")
	r.need(p.record, "kind", p.Kind != "")
	r.need(p.record, "client_id", p.ClientID != "")
	if p.Secret != "" && p.Sealed != nil {
		r.mistakes.add(r.file, p.at("client_secret_sealed"), "is given beside client_secret; one of them is enough")
	}
	if len(r.mistakes) == before {
		r.judged(p.record, manage.CheckProvider(manage.ProviderDefaults(p.IdentityProvider)))
	}
	w.Providers = append(w.Providers, p)
}

// repeats notes what stands for the same record twice: the second would silently win.
func (r *reader) repeats(w *World) {
	seen := map[string]place{}
	once := func(kind, key string, at place, what string) {
		if key == "" {
			return
		}
		if first, twice := seen[kind+"\x00"+key]; twice {
			r.mistakes.add(r.file, at, fmt.Sprintf("%s, first on line %d", what, first.line))
			return
		}
		seen[kind+"\x00"+key] = at
	}
	for _, o := range w.Organisations {
		once("organisation", o.Key, o.at("key"), "is given twice")
		once("organisation id", string(o.ID), o.at("id"), "is given twice")
		for _, s := range o.Sites {
			once("site "+o.Key, s.Key, s.at("key"), "is given twice")
			once("site id", string(s.ID), s.at("id"), "is given twice")
		}
	}
	for _, p := range w.Policies {
		once("policy", p.Policy.Key, p.at("key"), "is given twice")
	}
	for _, role := range w.Roles {
		once("role", role.Key, role.at("key"), "is given twice")
	}
	for _, c := range w.Clients {
		once("client", string(c.ID), c.at("id"), "is given twice")
	}
	for _, p := range w.Providers {
		once("identity provider", p.Key, p.at("key"), "is given twice")
	}
	for _, s := range w.Services {
		once("service", s.Type+" "+s.PublicURI, s.at("uri"), "is given twice")
	}
	r.licenceRepeats(w, once)
	for _, s := range w.Subjects {
		once("subject id", string(s.ID), s.at("id"), "is given twice")
		for _, l := range s.Identities {
			once("identity", l.Authority+"\x00"+l.ExternalID, l.place, "is given twice")
		}
		own := map[string]bool{}
		check := func(field, typed string) {
			l, err := manage.NewLogin(field, typed, time.Time{})
			if err != nil {
				r.judged(s.record, err)
				return
			}
			if own[l.Skeleton] {
				r.mistakes.add(r.file, s.at(field), fmt.Sprintf("%q is, or looks like, another login of the same subject", typed))
				return
			}
			own[l.Skeleton] = true
			once("login", l.Skeleton, s.at(field), fmt.Sprintf("%q is, or looks like, another subject's login", typed))
		}
		if s.Email != "" {
			check(manage.FieldEmail, s.Email)
		}
		for _, alias := range s.Aliases {
			check(manage.FieldAlias, alias)
		}
	}
}
