package openwifi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// errorBody is the one envelope of every refusal (openwifi.md 1.2).
type errorBody struct {
	ErrorCode        int
	ErrorDetails     string // the request's method
	ErrorDescription string
}

// done is the success of what has nothing to say (openwifi.md 1.2).
type done struct {
	Code      int
	Operation string // the request's method
	Details   string
}

// webToken is WebTokenResult. Its fields stand in the contract's order, like those of all structs here.
type webToken struct {
	AccessToken            string      `json:"access_token"`
	RefreshToken           string      `json:"refresh_token"`
	TokenType              string      `json:"token_type"`
	ExpiresIn              int64       `json:"expires_in"`
	IdleTimeout            int64       `json:"idle_timeout"`
	Created                int64       `json:"created"`
	Username               string      `json:"username"`
	UserMustChangePassword bool        `json:"userMustChangePassword"`
	ErrorCode              int         `json:"errorCode"`
	ACLTemplate            aclTemplate `json:"aclTemplate"`
	LastRefresh            int64       `json:"lastRefresh"`
}

type aclTemplate struct{ Read, ReadWrite, ReadWriteCreate, Delete, PortalLogin bool }

// everything is what every answer says (openwifi.md 1.5).
var everything = aclTemplate{true, true, true, true, true}

const idleTimeout = 300 // said by the contract, enforced by nobody

// tokenOf prints a token that was made at an instant of a generation and ends at another.
func tokenOf(subject *identity.Subject, access string, made, ends time.Time, generation int64) webToken {
	t := webToken{
		AccessToken: access, TokenType: "Bearer", ExpiresIn: ends.Unix() - made.Unix(), IdleTimeout: idleTimeout, Created: made.Unix(),
		Username: strings.ToLower(subject.Email), ACLTemplate: everything,
	}
	if generation > 1 {
		t.LastRefresh = made.Unix()
	}
	return t
}

// challenge asks for the second factor. Clients know it by method and created being there (openwifi.md 1.6).
type challenge struct {
	UUID     string `json:"uuid"`
	Created  int64  `json:"created"`
	Question string `json:"question"`
	Method   string `json:"method"`
}

// methods are the contract's words for second factors, strongest first.
var methods = []struct {
	kind identity.CredentialKind
	word string
}{{identity.TOTP, "authenticator"}, {identity.SMSCode, "sms"}, {identity.EmailCode, "email"}}

// methodOf gives the word for the strongest of some factors, "" where the contract has none for any.
func methodOf(factors []identity.CredentialKind) string {
	for _, m := range methods {
		if slices.Contains(factors, m.kind) {
			return m.word
		}
	}
	return ""
}

// kindOf gives what a word means, "" where it means none.
func kindOf(word string) identity.CredentialKind {
	for _, m := range methods {
		if m.word == word {
			return m.kind
		}
	}
	return ""
}

type requirements struct {
	PasswordPattern string `json:"passwordPattern"`
	AccessPolicy    string `json:"accessPolicy"`
	PasswordPolicy  string `json:"passwordPolicy"`
}

type validation struct {
	TokenInfo webToken `json:"tokenInfo"`
	UserInfo  userInfo `json:"userInfo"`
}

type endpointList struct {
	Endpoints []endpoint `json:"endpoints"`
}

type endpoint struct {
	Type               string `json:"type"`
	ID                 int64  `json:"id"`
	Vendor             string `json:"vendor"`
	URI                string `json:"uri"`
	AuthenticationType string `json:"authenticationType"`
}

// ownType is ours among the services; UIs add it themselves.
const ownType = "owsec"

func endpointsOf(services []identity.Service) endpointList {
	list := endpointList{Endpoints: []endpoint{}}
	for _, s := range services {
		if kind := strings.ToLower(s.Type); kind != ownType {
			list.Endpoints = append(list.Endpoints, endpoint{
				Type: kind, ID: s.Number, Vendor: "OpenWiFi", URI: strings.TrimSuffix(strings.TrimRight(s.PublicURI, "/"), base),
				AuthenticationType: "internal_v1",
			})
		}
	}
	return list
}

// userInfo is UserInfo. Every field is always there, empty rather than missing or null (openwifi.md 1.5).
type userInfo struct {
	ID                   string      `json:"id"`
	OldID                string      `json:"Id"` // the 2.4 UI reads this spelling
	Name                 string      `json:"name"`
	Description          string      `json:"description"`
	Avatar               string      `json:"avatar"`
	Email                string      `json:"email"`
	Validated            bool        `json:"validated"`
	ValidationEmail      string      `json:"validationEmail"`
	ValidationDate       int64       `json:"validationDate"`
	Created              int64       `json:"created"`
	CreationDate         int64       `json:"creationDate"` // the code's and the UIs' name of created
	ValidationURI        string      `json:"validationURI"`
	ChangePassword       bool        `json:"changePassword"`
	LastLogin            int64       `json:"lastLogin"`
	CurrentLoginURI      string      `json:"currentLoginURI"`
	LastPasswordChange   int64       `json:"lastPasswordChange"`
	LastEmailCheck       int64       `json:"lastEmailCheck"`
	WaitingForEmailCheck bool        `json:"waitingForEmailCheck"`
	Locale               string      `json:"locale"`
	Notes                []note      `json:"notes"`
	Location             string      `json:"location"`
	Owner                string      `json:"owner"`
	Suspended            bool        `json:"suspended"`
	BlackListed          bool        `json:"blackListed"`
	UserRole             string      `json:"userRole"`
	Proprietary          proprietary `json:"userTypeProprietaryInfo"`
	SecurityPolicy       string      `json:"securityPolicy"`
	SecurityPolicyChange int64       `json:"securityPolicyChange"`
	CurrentPassword      string      `json:"currentPassword"` // write only: always blank
	LastPasswords        []string    `json:"lastPasswords"`   // always empty
	OAuthType            string      `json:"oauthType"`
	OAuthUserInfo        string      `json:"oauthUserInfo"`
	Modified             int64       `json:"modified"`
	SigningUp            string      `json:"signingUp"`
}

type note struct {
	Created   int64  `json:"created"`
	CreatedBy string `json:"createdBy"`
	Note      string `json:"note"`
}

type proprietary struct {
	Mobiles             []mobile `json:"mobiles"`
	MFA                 mfa      `json:"mfa"`
	AuthenticatorSecret string   `json:"authenticatorSecret"` // never shown
}

type mobile struct {
	Number   string `json:"number"`
	Verified bool   `json:"verified"`
	Primary  bool   `json:"primary"`
}

type mfa struct {
	Enabled bool   `json:"enabled"`
	Method  string `json:"method"`
}

// attributes are what this door keeps about a subject and the core does not understand, by the contract's names.
type attributes struct {
	Role                 string `json:"role"`
	Description          string `json:"description"`
	Avatar               string `json:"avatar"`
	ValidationEmail      string `json:"validationEmail"`
	ValidationURI        string `json:"validationURI"`
	CurrentLoginURI      string `json:"currentLoginURI"`
	Location             string `json:"location"`
	Notes                []note `json:"notes"`
	BlackListed          bool   `json:"blackListed"` // says why she is suspended
	Suspended            bool   `json:"suspended"`   // for another reason too
	SecurityPolicyChange int64  `json:"securityPolicyChange"`
	OAuthUserInfo        string `json:"oauthUserInfo"`
	SigningUp            string `json:"signingUp"`
}

// attributesOf reads them. What cannot be read is as if nothing were there: the least role.
func attributesOf(s *identity.Subject) attributes {
	var a attributes
	if json.Unmarshal(s.Attributes[Door], &a) != nil {
		return attributes{}
	}
	return a
}

// Words is how this door keeps what the core knows of an operator's people, by the contract's names.
var Words = staff.Words{Door: Door, Read: factsOf, Patch: patchOf}

func factsOf(s *identity.Subject) staff.Facts {
	own := attributesOf(s)
	f := staff.Facts{
		Role: staff.Role(strings.ToLower(own.Role)), Description: own.Description, Location: own.Location, AuthInfo: own.OAuthUserInfo,
		BlackListed: own.BlackListed, Suspended: own.Suspended,
	}
	if own.SecurityPolicyChange != 0 {
		f.PolicyAt = time.Unix(own.SecurityPolicyChange, 0)
	}
	for _, n := range own.Notes {
		f.Notes = append(f.Notes, staff.Note{At: time.Unix(n.Created, 0), By: n.CreatedBy, Text: n.Note})
	}
	return f
}

// patchOf leaves out what is not so, and leaves alone what is none of the core's.
func patchOf(f staff.Facts) []byte {
	patch := map[string]any{
		"role": orNull(string(f.Role)), "description": orNull(f.Description), "location": orNull(f.Location),
		"oauthUserInfo": orNull(f.AuthInfo), "blackListed": orNull(f.BlackListed), "suspended": orNull(f.BlackListed && f.Suspended),
		"securityPolicyChange": orNull(unix(f.PolicyAt)), "notes": nil,
	}
	if len(f.Notes) > 0 {
		patch["notes"] = notesOf(f.Notes)
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return nil // texts, numbers and truths marshal
	}
	return text
}

func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func notesOf(notes []staff.Note) []note {
	list := make([]note, 0, len(notes))
	for _, n := range notes {
		list = append(list, note{Created: unix(n.At), CreatedBy: n.By, Note: n.Text})
	}
	return list
}

// roleOf gives the contract's word.
func roleOf(s *identity.Subject) string { return string(Words.RoleOf(s)) }

// userOf prints a profile.
func userOf(p *profile.Profile) userInfo {
	s := &p.Subject
	own := attributesOf(s)
	suspended, blackListed := factsOf(s).ShutOut(s)
	u := userInfo{
		ID: string(s.ID), OldID: string(s.ID), Name: cmp.Or(s.Name, s.Email), Description: own.Description, Avatar: own.Avatar,
		Email: strings.ToLower(s.Email), Validated: !s.VerifiedAt.IsZero(), ValidationEmail: own.ValidationEmail,
		ValidationDate: unix(s.VerifiedAt), Created: unix(s.CreatedAt), CreationDate: unix(s.CreatedAt), ValidationURI: own.ValidationURI,
		ChangePassword: p.MustChange, LastLogin: unix(s.LastSignInAt), CurrentLoginURI: own.CurrentLoginURI,
		LastPasswordChange: unix(p.PasswordSetAt), LastEmailCheck: unix(s.VerifiedAt), WaitingForEmailCheck: s.AwaitsVerification(),
		Locale: s.Locale, Notes: append([]note{}, own.Notes...), Location: own.Location, Owner: s.Owner,
		Suspended: suspended, BlackListed: blackListed, UserRole: roleOf(s),
		Proprietary:    proprietary{Mobiles: []mobile{}, MFA: mfa{Method: methodOf(p.Factors)}},
		SecurityPolicy: p.OwnPolicy, SecurityPolicyChange: own.SecurityPolicyChange, LastPasswords: []string{},
		OAuthUserInfo: own.OAuthUserInfo, Modified: unix(s.UpdatedAt), SigningUp: own.SigningUp,
	}
	u.ChangePassword = u.ChangePassword || own.SigningUp != "" && p.PasswordSetAt.IsZero() // she has yet to choose one
	u.Proprietary.MFA.Enabled = u.Proprietary.MFA.Method != ""
	if number := p.Targets[identity.SMSCode]; number != "" {
		u.Proprietary.Mobiles = append(u.Proprietary.Mobiles, mobile{Number: number, Verified: true, Primary: true})
	}
	return u
}

// unix is the contract's time; never is 0.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// object is a request's body, read as leniently as the contract says (openwifi.md 1.1): its media type does not matter, unknown
// fields do not either, and a string may come as a number. It keeps the first mistake.
type object struct {
	fields  map[string]json.RawMessage
	mistake error
}

// fail keeps the first mistake.
func (o *object) fail(err error) {
	if o.mistake == nil {
		o.mistake = err
	}
}

// bodyOf reads it. An empty body is {}: the calls that need no field are sent with either.
func bodyOf(r *http.Request) (*object, error) {
	body, err := httpkit.ReadBody(r, httpkit.MaxBody)
	if err != nil {
		return nil, numbered{err, badJSON}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return &object{}, nil
	}
	fields, err := httpkit.Object(body)
	if err != nil {
		return nil, numbered{err, badJSON}
	}
	return &object{fields: fields}, nil
}

// text is a string or a number; given is false where it is absent or null.
func (o *object) text(name string) (text string, given bool) {
	raw := o.fields[name]
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return "", false
	case raw[0] == '"':
		if json.Unmarshal(raw, &text) == nil {
			return text, true
		}
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		return string(raw), true
	}
	o.fail(identity.Invalid.In(name, "must be a string"))
	return "", false
}

// choice is text for a change: nil where it is absent.
func (o *object) choice(name string) *string {
	if text, given := o.text(name); given {
		return &text
	}
	return nil
}

// truth is a boolean, which may come as a string; nil where it is absent.
func (o *object) truth(name string) *bool {
	raw := o.fields[name]
	if len(raw) == 0 || raw[0] == 'n' {
		return nil
	}
	var value bool
	switch string(raw) {
	case "true", `"true"`:
		value = true
	case "false", `"false"`:
	default:
		o.fail(identity.Invalid.In(name, "must be a boolean"))
		return nil
	}
	return &value
}

// inner is an object inside; empty where it is absent.
func (o *object) inner(name string) *object {
	raw := o.fields[name]
	if len(raw) == 0 || raw[0] == 'n' {
		return &object{}
	}
	fields, err := httpkit.Object(raw)
	if err != nil {
		o.fail(identity.Invalid.In(name, "must be an object"))
	}
	return &object{fields: fields}
}

// list is a field that holds objects; given is false where it is absent or null.
func (o *object) list(name string) (entries []*object, given bool) {
	raw := o.fields[name]
	if len(raw) == 0 || raw[0] == 'n' {
		return nil, false
	}
	var members []json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		o.fail(identity.Invalid.In(name, "must be a list of objects"))
		return nil, true
	}
	for _, member := range members {
		fields, err := httpkit.Object(member)
		if err != nil {
			o.fail(identity.Invalid.In(name, "must be a list of objects"))
			return nil, true
		}
		entries = append(entries, &object{fields: fields})
	}
	return entries, true
}

// needed is text that must be there; it may be empty.
func (o *object) needed(name string) string {
	text, given := o.text(name)
	if !given {
		o.fail(identity.Invalid.In(name, "is required"))
	}
	return text
}

// query are a request's parameters.
type query url.Values

func queryOf(r *http.Request) (query, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	values, err := httpkit.ParseForm(r.URL.RawQuery)
	return query(values), err
}

// flag is true for exactly "true"; whatever else stands there counts as absent (openwifi.md 1.1).
func (q query) flag(name string) bool { return len(q[name]) == 1 && q[name][0] == "true" }

// number is a parameter of digits only; whatever else stands there counts as absent (openwifi.md 1.1). One that is too large for
// anything is the largest.
func (q query) number(name string, absent int) int {
	if len(q[name]) != 1 || q[name][0] == "" || strings.Trim(q[name][0], "0123456789") != "" {
		return absent
	}
	n, err := strconv.Atoi(q[name][0])
	if err != nil {
		return math.MaxInt32
	}
	return n
}

// text is a parameter's value, "" where it is absent. Two would leave open which one counts.
func (q query) text(name string) (string, error) {
	switch len(q[name]) {
	case 0:
		return "", nil
	case 1:
		return q[name][0], nil
	}
	return "", identity.Invalid.In(name, "is given more than once")
}
