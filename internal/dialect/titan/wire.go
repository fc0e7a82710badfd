package titan

import (
	"crypto/sha1" //nolint:gosec // the contract's change mark, no protection
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// success is the envelope of what went well (titan.md 1.2).
type success struct {
	Success   bool            `json:"success"`
	Hash      string          `json:"hash"`
	Data      json.RawMessage `json:"data"`
	Timestamp int64           `json:"timestamp"` // milliseconds
}

// refusal is the envelope of what did not.
type refusal struct {
	Success   bool    `json:"success"`
	Error     failure `json:"error"`
	Timestamp int64   `json:"timestamp"`
}

type failure struct {
	Code    int                  `json:"code"`
	Type    string               `json:"type"`
	Message string               `json:"message"`
	Errors  *map[string][]string `json:"errors,omitempty"` // of a validation, always; otherwise never
}

// emptyHash is that of the bytes "[]", which the vendor's server hashes where there is no data.
const emptyHash = "97d170e1550eee4afc0af065b78cda302a97674c"

// answer puts data into the envelope; nil is nothing to say.
func (d *Dialect) answer(w http.ResponseWriter, l language, data any) error {
	envelope := success{Success: true, Hash: emptyHash, Data: json.RawMessage("{}"), Timestamp: d.Now().UnixMilli()}
	if data != nil {
		text, err := httpkit.Marshal(data)
		if err != nil {
			return err
		}
		sum := sha1.Sum(text) //nolint:gosec // see above
		envelope.Hash, envelope.Data = hex.EncodeToString(sum[:]), text
	}
	body, err := httpkit.Marshal(envelope)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, l, body)
	return nil
}

// write sends an answer. None belongs into a cache: they carry tokens or personal data.
func write(w http.ResponseWriter, status int, l language, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Language", l.String())
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body))) // or longer ones go out in chunks
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has hung up reads no answer
}

// redirect sends a browser on. What is in the address is for that page only.
func redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
}

// codeDue is the answer when a second factor is to come (titan.md 3.1).
type codeDue struct {
	Token        string       `json:"token"`
	Confirmation confirmation `json:"confirmation"`
}

type confirmation struct {
	Required bool `json:"required"`
	Channel  int  `json:"channel"`
}

// The channels of a second factor, weakest first (titan.md 2.2).
const (
	channelMail = 1
	channelSMS  = 2
	channelApp  = 3
)

// channelOf names the strongest of the factors that are offered.
func channelOf(offered []identity.CredentialKind) int {
	switch {
	case slices.Contains(offered, identity.TOTP):
		return channelApp
	case slices.Contains(offered, identity.SMSCode):
		return channelSMS
	}
	return channelMail
}

// sessionObject is titan.md 2.1.
type sessionObject struct {
	Token         string         `json:"token"`
	User          user           `json:"user"`
	Hub           *hub           `json:"hub"`
	Role          *int           `json:"role"`
	Features      map[string]any `json:"features"` // booleans and integers
	Impersonation bool           `json:"impersonation"`
}

// user is titan.md 2.2.
type user struct {
	ID                   int64        `json:"id"`
	Hash                 string       `json:"hash"`
	Name                 string       `json:"name"`
	FirstName            string       `json:"first_name"`
	LastName             string       `json:"last_name"`
	Email                string       `json:"email"`
	PasswordType         int          `json:"password_type"`
	PasswordModifiedTime *string      `json:"password_modified_time"`
	PasswordAge          int          `json:"password_age"`
	PasswordAgeRelative  *string      `json:"password_age_relative_time"`
	PasswordUpdate       bool         `json:"password_update"`
	LoginConfirmation    bool         `json:"login_confirmation"`
	Language             int          `json:"language"`
	Settings             userSettings `json:"settings"`
	RegistrationTime     string       `json:"registration_time"`
	TermsAcceptedTime    *string      `json:"terms_accepted_time"`
	TermsConfirmation    bool         `json:"terms_confirmation"`
	TermsReconfirmation  bool         `json:"terms_reconfirmation"`
	Status               int          `json:"status"`
	Model                string       `json:"model"`
	Image                *struct{}    `json:"image"` // always null: the house keeps no pictures
	Hubs                 []shortHub   `json:"hubs"`
}

type userSettings struct {
	Locale       int  `json:"locale"`
	Statefulness bool `json:"statefulness"`
}

// hubFacts are what both forms of a hub begin with.
type hubFacts struct {
	ID             int64   `json:"id"`
	Hash           string  `json:"hash"`
	Name           string  `json:"name"`
	Type           int     `json:"type"`
	ExpirationTime *string `json:"expiration_time"` // null, as the next two: never
	RemainingDays  *int    `json:"remaining_days"`
	RemainingTime  *string `json:"remaining_time"`
	Model          string  `json:"model"`
}

// shortHub is a hub in a user's list (titan.md 2.2).
type shortHub struct {
	hubFacts
	IdentityProvider *struct{} `json:"identity_provider"` // always null: no hub has one of its own yet
}

// hub is titan.md 2.3.
type hub struct {
	hubFacts
	Settings hubSettings `json:"settings"`
}

type hubSettings struct {
	ProgramLevel             bool `json:"program_level"`
	LoginConfirmation        bool `json:"login_confirmation"`
	LoginConfirmationChannel int  `json:"login_confirmation_channel"`
	OfficePreview            bool `json:"office_preview"`
	PDFPreview               bool `json:"pdf_preview"`
	Support                  bool `json:"support"`
	PasswordAge              int  `json:"password_age"`
	SessionLimit             int  `json:"session_limit"`
	SSO                      bool `json:"sso"`
}

const (
	passwordTemporary = 2
	passwordChosen    = 3

	statusActive = 1 // nobody else gets an answer

	languageGerman  = 0
	languageEnglish = 1
)

// roles are the numbers of titan.md 2.1 for the words that a membership has.
var roles = map[string]int{"owner": 5, "administrator": 4, "user": roleUser}

const roleUser = 1

// Owner is what this door keeps of the membership of whoever founded an organisation.
var Owner = []byte(`{"role":"owner"}`)

// knownFeatures are those of titan.md 2.1 with their values where a hub says nothing.
var knownFeatures = map[string]any{
	"accounting": false, "attachments": false, "audit": false, "effect_freeze": false, "effect_provenience": false, "impersonation": false,
	"network_filter": false, "password_age": 0, "report_preferences": false, "security_settings": false, "session_limit": 0,
}

func printSession(raw string, who *profile.Profile, at profile.Access, in bool, now time.Time, l language) sessionObject {
	out := sessionObject{Token: raw, User: printUser(who, now, l), Features: featuresOf(nil)}
	if in {
		role := roleOf(at)
		out.Hub = &hub{printHub(&at.Organisation, now, l), settingsOf(&at.Organisation)}
		out.Role, out.Features = &role, featuresOf(&at.Organisation)
		if who.HasPassword && tooOld(now.Sub(who.PasswordSetAt), out.Hub.Settings.PasswordAge) {
			out.User.PasswordUpdate = true
		}
	}
	return out
}

// tooOld judges a password by a bound in days; 0 is none.
func tooOld(age time.Duration, days int) bool { return days > 0 && age > time.Duration(days)*day }

func printUser(who *profile.Profile, now time.Time, l language) user {
	s := &who.Subject
	own := personalOf(s)
	u := user{
		ID: s.Number, Hash: s.Hash, Name: strings.TrimSpace(s.GivenName + " " + s.FamilyName), FirstName: s.GivenName, LastName: s.FamilyName,
		Email: s.Email, PasswordType: passwordChosen, PasswordUpdate: who.MustChange, LoginConfirmation: own.LoginConfirmation,
		Language: own.Language, Settings: own.Settings, RegistrationTime: instant(s.CreatedAt), Status: statusActive, Model: "User", Hubs: []shortHub{},
	}
	if u.Name == "" {
		u.Name = s.Name
	}
	if who.MustChange {
		u.PasswordType = passwordTemporary
	}
	if who.HasPassword {
		age := max(0, now.Sub(who.PasswordSetAt))
		since, ago := instant(who.PasswordSetAt), relative(age, l)
		u.PasswordModifiedTime, u.PasswordAgeRelative, u.PasswordAge = &since, &ago, int(age/day)
		if tooOld(age, who.Policy.Password.MaxAgeDays) {
			u.PasswordUpdate = true
		}
	}
	for _, kind := range who.Factors {
		u.LoginConfirmation = u.LoginConfirmation || kind != identity.RecoveryCode && policy.Allows(who.Policy, kind)
	}
	for i := range who.Organisations {
		u.Hubs = append(u.Hubs, shortHub{hubFacts: printHub(&who.Organisations[i].Organisation, now, l)})
	}
	return u
}

func printHub(o *identity.Organisation, now time.Time, l language) hubFacts {
	h := hubFacts{ID: o.Number, Hash: o.Hash, Name: o.Name, Type: hubType(o), Model: "Hub"}
	if !o.ExpiresAt.IsZero() {
		left := o.ExpiresAt.Sub(now)
		ends, days, text := instant(o.ExpiresAt), int(max(0, left)/day), remaining(left, l)
		h.ExpirationTime, h.RemainingDays, h.RemainingTime = &ends, &days, &text
	}
	return h
}

// instant is the one form of a date and time here.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// personal is what this door keeps of a subject.
type personal struct {
	LoginConfirmation bool
	Language          int
	Settings          userSettings
}

// personalOf reads it as far as it has the right types; the operator wrote it.
func personalOf(s *identity.Subject) personal {
	p := personal{Language: languageEnglish}
	if tag, _, _ := strings.Cut(s.Locale, "-"); strings.EqualFold(tag, "de") {
		p.Language = languageGerman
	}
	own := members(s.Attributes[Door])
	p.LoginConfirmation = switchedOn(own, "login_confirmation")
	if v := p.Language; take(own, "language", &v) && (v == languageGerman || v == languageEnglish) {
		p.Language = v
	}
	p.Settings.Locale = p.Language
	settings := members(own["settings"])
	_ = take(settings, "locale", &p.Settings.Locale)
	_ = take(settings, "statefulness", &p.Settings.Statefulness)
	return p
}

func hubType(o *identity.Organisation) (t int) {
	_ = take(members(o.Attributes[Door]), "type", &t)
	return t
}

// settingsOf reads a hub's settings.
func settingsOf(o *identity.Organisation) hubSettings {
	own := members(members(o.Attributes[Door])["settings"])
	h := hubSettings{LoginConfirmation: switchedOn(own, "login_confirmation"), LoginConfirmationChannel: channelMail}
	_ = take(own, "program_level", &h.ProgramLevel)
	if v := h.LoginConfirmationChannel; take(own, "login_confirmation_channel", &v) && v >= channelMail && v <= channelApp {
		h.LoginConfirmationChannel = v
	}
	_ = take(own, "office_preview", &h.OfficePreview)
	_ = take(own, "pdf_preview", &h.PDFPreview)
	_ = take(own, "support", &h.Support)
	_ = take(own, "password_age", &h.PasswordAge)
	_ = take(own, "session_limit", &h.SessionLimit)
	_ = take(own, "sso", &h.SSO)
	return h
}

// featuresOf gives the known features and whatever else the hub has that is a boolean or an integer.
func featuresOf(o *identity.Organisation) map[string]any {
	features := make(map[string]any, len(knownFeatures))
	for name, value := range knownFeatures {
		features[name] = value
	}
	if o == nil {
		return features
	}
	own := members(members(o.Attributes[Door])["features"])
	for name := range own {
		var on bool
		var n int
		if take(own, name, &on) {
			features[name] = on
		} else if take(own, name, &n) {
			features[name] = n
		}
	}
	return features
}

// RoleOf gives this door's word for what a member is, "" where it keeps none.
func RoleOf(m identity.Membership) string {
	var word string
	take(members(m.Attributes[Door]), "role", &word)
	return word
}

func roleOf(at profile.Access) int { return roleIn(at.Attributes(Door)) }

// roleIn reads what this door keeps of a membership.
func roleIn(own []byte) int {
	var word string
	if take(members(own), "role", &word) {
		if role, known := roles[word]; known {
			return role
		}
	}
	return roleUser
}

// members opens a JSON object; whatever is none has no members.
func members(raw []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// switchedOn reads a switch that guards. Whatever is not off is on: a mistake in its value must not open what it was to close.
func switchedOn(from map[string]json.RawMessage, name string) bool {
	switch string(from[name]) {
	case "", "null", "false":
		return false
	}
	return true
}

// take reads a member into a value of its type, if it is there and of that type.
func take[T any](from map[string]json.RawMessage, name string, into *T) bool {
	raw, given := from[name]
	if !given || string(raw) == "null" {
		return false
	}
	var v T
	if json.Unmarshal(raw, &v) != nil {
		return false
	}
	*into = v
	return true
}
