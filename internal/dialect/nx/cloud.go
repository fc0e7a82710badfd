package nx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// nxAnswer is what the operations below /nx answer, refusals that are the client's business included (nx.md 5.1). The last two are
// there where a token of ours is finished, as at the other operations.
type nxAnswer struct {
	AccessToken          string
	RefreshToken         string
	Error                string
	TotpAccessCode       string
	AuthorizationInvalid bool   `json:",omitempty"`
	Message              string `json:",omitempty"`
}

const (
	factorRequired = "second_factor_required" // Nx Cloud's own word
	factorMissing  = "2fa_disabled_for_the_user"
	accountExists  = "account_exists"
	accountLinked  = "account_linked"
	cloudAway      = "nx_cloud_unavailable"
	invalidState   = "invalid_state"
)

// nxWord is the word of a Kind for the Nx answer. Kinds that have none are said in a message object: they are mistakes of the
// caller's or trouble of ours, and no outcome of a sign-in.
type nxWord struct {
	status int
	word   string
}

var nxWords = map[identity.Kind]nxWord{
	identity.BadCredential:   {http.StatusUnauthorized, "invalid_grant"},
	identity.TokenMissing:    {http.StatusUnauthorized, "invalid_grant"},
	identity.TokenInvalid:    {http.StatusUnauthorized, "invalid_grant"},
	identity.TokenExpired:    {http.StatusUnauthorized, "invalid_grant"},
	identity.TokenRevoked:    {http.StatusUnauthorized, "invalid_grant"},
	identity.TokenReused:     {http.StatusUnauthorized, "invalid_grant"},
	identity.TicketInvalid:   {http.StatusUnauthorized, "invalid_grant"}, // a TotpAccessCode that is spent or too old
	identity.BadCode:         {http.StatusUnauthorized, "invalid_totp"},
	identity.FactorRequired:  {http.StatusForbidden, factorMissing},
	identity.Suspended:       {http.StatusForbidden, "account_blocked"},
	identity.Unverified:      {http.StatusForbidden, "account_not_activated"},
	identity.PasswordDue:     {http.StatusForbidden, "password_expired"},
	identity.PasswordExpired: {http.StatusForbidden, "password_expired"},
	identity.Denied:          {http.StatusForbidden, "forbidden"},
	identity.Restricted:      {http.StatusForbidden, "forbidden"},
	identity.Locked:          {http.StatusTooManyRequests, "too_many_requests"},
	identity.Throttled:       {http.StatusTooManyRequests, "too_many_requests"},
}

func wordOf(err error) (nxWord, bool) {
	switch {
	case errors.Is(err, cloud.ErrState):
		return nxWord{http.StatusBadRequest, invalidState}, true
	case errors.Is(err, cloud.ErrAccountExists):
		return nxWord{http.StatusForbidden, accountExists}, true
	case errors.Is(err, cloud.ErrTaken), errors.Is(err, cloud.ErrLinked):
		return nxWord{http.StatusConflict, accountLinked}, true
	case errors.Is(err, cloud.ErrAway):
		return nxWord{http.StatusServiceUnavailable, cloudAway}, true
	}
	w, ok := nxWords[identity.KindOf(err)]
	return w, ok
}

// refuseNx says no as the Nx answer does.
func (d *Dialect) refuseNx(w http.ResponseWriter, r *http.Request, err error) {
	word, ok := wordOf(err)
	if !ok {
		d.refuse(w, r, err)
		return
	}
	err = d.judged(r, err)
	refusalHeaders(w.Header(), word.status, err)
	out := nxAnswer{Error: word.word}
	if ended := answers[identity.KindOf(err)].ended; ended {
		out.AuthorizationInvalid, out.Message = true, signIn
	}
	_ = writeJSON(w, word.status, out) // it marshals
}

// writeNx answers with where a sign-in stands: signed in, half way, or neither where that was not what was asked.
func (d *Dialect) writeNx(w http.ResponseWriter, out signin.Outcome) error {
	switch {
	case out.Ticket != nil:
		return writeJSON(w, http.StatusOK, nxAnswer{Error: factorRequired, TotpAccessCode: out.Ticket.Secret.Reveal()})
	case out.Session.ID == "":
		return writeJSON(w, http.StatusOK, nxAnswer{})
	}
	return d.writeBoth(w, out.Session, out.Subject)
}

func (d *Dialect) writeBoth(w http.ResponseWriter, s identity.Session, subject identity.Subject) error {
	access, err := d.accessToken(s, subject)
	if err != nil {
		return err
	}
	refresh, err := d.refreshToken(s)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nxAnswer{AccessToken: access, RefreshToken: refresh})
}

// nxLogin answers POST /nx/login.
func (d *Dialect) nxLogin(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	ask := credentials(d.caller(r), in)
	if in.mistake != nil {
		return in.mistake
	}
	out, err := d.Cloud.Login(r.Context(), ask)
	if err != nil {
		return err
	}
	return d.writeNx(w, out)
}

func credentials(caller identity.Caller, in *object) cloud.LoginInput {
	return cloud.LoginInput{Caller: caller, Email: in.filled("Email"), Password: identity.Secret(in.filled("Password"))}
}

// returned is what the browser brought back from the authority's page.
func returned(caller identity.Caller, r *http.Request, in *object) cloud.CodeInput {
	return cloud.CodeInput{
		Caller: caller, Code: identity.Secret(in.filled("code")), State: identity.Secret(in.filled("state")), Origin: r.Header.Get("Origin"),
	}
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// nxTOTP answers POST /nx/totp.
func (d *Dialect) nxTOTP(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	ticket, code := in.filled("token"), in.filled("totp")
	if !sixDigits.MatchString(code) {
		in.wrong("totp", "must be 6 digits")
	}
	if in.mistake != nil {
		return in.mistake
	}
	out, err := d.Cloud.Proof(r.Context(), cloud.ProofInput{Caller: d.caller(r), Ticket: identity.Secret(ticket), Code: code})
	if err != nil {
		return err
	}
	return d.writeNx(w, out)
}

type csrf struct{ State, URL string }

// nxCSRF answers POST /nx/csrf: what a browser needs to sign in at the authority's page and come back. Neither address is taken
// from whoever asks: both must be what the operator configured, or this would send people anywhere. Whoever shows a token begins to
// link, where accounts are linked.
func (d *Dialect) nxCSRF(w http.ResponseWriter, r *http.Request) error {
	caller := d.caller(r)
	var live *session.Live
	if d.Cloud.Links() && len(r.Header.Values("Authorization")) > 0 {
		c, err := d.signedIn(r)
		if err != nil {
			return err
		}
		caller, live = c.Caller, c.live
	}
	in, err := d.read(r)
	if err != nil {
		return err
	}
	page, redirect := in.filled("AuthenticationEndpoint"), in.filled("RedirectURL")
	address, err := url.Parse(page)
	if err != nil || address.User != nil || address.Fragment != "" || cloud.Origin(address) != d.authority() {
		in.wrong("AuthenticationEndpoint", "must be a page of "+d.authority())
	}
	if !slices.Contains(d.RedirectURLs, redirect) {
		in.wrong("RedirectURL", "is not among the configured addresses")
	}
	if in.mistake != nil {
		return in.mistake
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return identity.Invalid.In("AuthenticationEndpoint", "has a query that cannot be read")
	}
	if _, wait, ok := d.csrfCalls.Take(caller.Network()); !ok { // each is a row that lives for ten minutes
		return identity.Throttled.After(wait, "Too many requests. Please wait a minute.")
	}
	state, err := d.Cloud.OpenState(r.Context(), caller, live, redirect)
	if err != nil {
		return err
	}
	query.Set("redirect_url", redirect)
	query.Set("client_id", d.Cloud.ClientID)
	query.Set("state", state.Reveal())
	address.RawQuery = query.Encode()
	return writeJSON(w, http.StatusOK, csrf{State: state.Reveal(), URL: address.String()})
}

// authority is the origin of whoever signs people in: the upstream's, or ours.
func (d *Dialect) authority() string {
	base := d.Issuer
	if d.Cloud.Upstream != nil {
		base = d.Cloud.Upstream.Origin()
	}
	u, err := url.Parse(base)
	if err != nil {
		return base // the configuration was read, so it is one
	}
	return cloud.Origin(u)
}

// nxCode answers POST /nx/code.
func (d *Dialect) nxCode(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	back := returned(d.caller(r), r, in)
	if in.mistake != nil {
		return in.mistake
	}
	out, err := d.Cloud.Code(r.Context(), back)
	if err != nil {
		return err
	}
	return d.writeNx(w, out)
}

// nxPlugin answers POST /nx/plugin.
func (d *Dialect) nxPlugin(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	refresh, system := in.filled("refresh_token"), in.filled("system_nxid")
	scope, err := cloud.Scope(system)
	if err != nil {
		in.wrong("system_nxid", "must be the id of a system")
	}
	if in.mistake != nil {
		return in.mistake
	}
	out, err := d.Cloud.Plugin(r.Context(), cloud.PluginInput{Caller: d.caller(r), Refresh: identity.Secret(refresh), System: scope})
	if err != nil {
		if answers[identity.KindOf(err)].ended { // the cloud's token is finished: no session here was lost
			err = identity.BadCredential.Wrap(err)
		}
		return err
	}
	return d.writeNx(w, out)
}

// spelled makes the words of GrantType alike: they are compared without case and underscores (nx.md 5.2).
func spelled(grantType string) string {
	return strings.ToLower(strings.ReplaceAll(grantType, "_", ""))
}

// nxRefresh answers POST /nx/refresh-token. Which kind of token the bearer is depends on what it asks for.
func (d *Dialect) nxRefresh(w http.ResponseWriter, r *http.Request) error {
	raw, err := httpkit.Bearer(r)
	if err != nil {
		return err
	}
	in, err := d.read(r)
	if err != nil {
		return err
	}
	grantType, password := spelled(in.present("GrantType")), in.present("Password")
	switch grantType {
	case "refreshtoken", "accesstoken":
	case "password":
		if password == "" {
			in.wrong("Password", required)
		}
	default:
		in.wrong("GrantType", "must be RefreshToken, AccessToken or Password")
	}
	if in.mistake != nil {
		return in.mistake
	}
	if grantType == "password" {
		c, err := d.signedIn(r)
		if err != nil {
			return err
		}
		renewed, err := d.Cloud.Renew(r.Context(), c.Caller, c.live, identity.Secret(password))
		if err != nil {
			return err
		}
		return d.writeBoth(w, renewed, c.live.Subject)
	}
	rotate := grantType == "refreshtoken"
	live, err := d.renew(r, raw, rotate)
	if err != nil {
		return err
	}
	if rotate {
		return d.writeBoth(w, live.Session, live.Subject)
	}
	access, err := d.accessToken(live.Session, live.Subject)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nxAnswer{AccessToken: access, RefreshToken: raw})
}

// nxLogout answers POST /nx/logout.
func (d *Dialect) nxLogout(w http.ResponseWriter, r *http.Request, c call) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	in.present("GrantType") // any word: nobody knows the vendor's, and one that we lack must not keep a session open
	password := in.present("Password")
	if in.mistake != nil {
		return in.mistake
	}
	ended, err := d.Cloud.SignOut(r.Context(), c.Caller, c.live, identity.Secret(password))
	if err != nil {
		return err
	}
	if !ended {
		return identity.TokenRevoked // another sign-out was first
	}
	return writeJSON(w, http.StatusOK, nxAnswer{})
}

// nxLink answers POST /nx/link, which is ours: the contract wants accounts to be linked while signed in, and names no operation.
func (d *Dialect) nxLink(w http.ResponseWriter, r *http.Request, c call) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	var link func() (signin.Outcome, error)
	if in.has("code") || in.has("state") {
		for _, name := range []string{"Email", "Password"} {
			if in.has(name) {
				in.wrong(name, "must not be given beside a code")
			}
		}
		back := returned(c.Caller, r, in)
		link = func() (signin.Outcome, error) { return d.Cloud.LinkByCode(r.Context(), c.live, back) }
	} else {
		ask := credentials(c.Caller, in)
		link = func() (signin.Outcome, error) { return d.Cloud.Link(r.Context(), c.live, ask) }
	}
	if in.mistake != nil {
		return in.mistake
	}
	out, err := link()
	if err != nil {
		return err
	}
	return d.writeNx(w, out)
}

// nxUnlink answers POST /nx/unlink, which is ours, too.
func (d *Dialect) nxUnlink(w http.ResponseWriter, r *http.Request, c call) error {
	if _, err := d.readOptional(r); err != nil {
		return err
	}
	if err := d.Cloud.Unlink(r.Context(), c.Caller, c.live); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, nxAnswer{})
}

// kept is what the operator wrote down of an organisation for this door (`nx: {systems: […]}`).
type kept struct {
	Systems []keptSystem `json:"systems"`
}

// keptSystem is one that the organisation's members may enter. Its fields are those that CheckOrganisation knows.
type keptSystem struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Status       string `json:"status"`
	Version      string `json:"version"`
	SecondFactor bool   `json:"second_factor"`
}

// Systems are those that an organisation's members may enter.
func Systems(o identity.Organisation) []cloud.System {
	var own kept
	if len(o.Attributes[Door]) == 0 || json.Unmarshal(o.Attributes[Door], &own) != nil {
		return nil // CheckOrganisation lets nothing of that kind in
	}
	list := make([]cloud.System, 0, len(own.Systems))
	for _, s := range own.Systems {
		id := bareID(s.ID)
		if id == "" {
			continue
		}
		if s.Status == "" {
			s.Status = "activated" // the cloud's word for a system that is in use
		}
		list = append(list, cloud.System{ID: id, Name: s.Name, Status: s.Status, Version: s.Version, WantsFactor: s.SecondFactor})
	}
	return list
}

// bareID is a system's id without the braces that servers print their own with.
func bareID(id string) string { return strings.Trim(id, "{}") }

// CheckOrganisation refuses what Systems could not read, and what it would read otherwise than it was meant: a mistyped second_factor
// would let everybody in without one. Its refusals name the field by its path, as in "nx.systems[0].id".
func CheckOrganisation(text []byte) error {
	at := func(path, what string) error { return identity.Invalid.In(string(Door)+path, what) }
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return at("", "must be a JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name != "systems" {
			return at("."+name, "is not known here; it takes systems")
		}
	}
	var systems []map[string]json.RawMessage
	if raw, given := all["systems"]; given && json.Unmarshal(raw, &systems) != nil {
		return at(".systems", "must be a list of systems, each with an id")
	}
	seen := map[string]int{}
	for i, fields := range systems {
		path := fmt.Sprintf(".systems[%d]", i)
		if fields == nil {
			return at(path, "must be a system with an id")
		}
		system := object{fields: fields}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			switch name {
			case "id", "name", "status", "version":
				system.text(name)
			case "second_factor":
				system.flag(name)
			default:
				system.wrong(name, "is not known here; it takes id, name, status, version and second_factor")
			}
		}
		id := system.text("id")
		if _, err := cloud.Scope(id); err != nil {
			system.wrong("id", "must be the id of a system")
		}
		folded := strings.ToLower(bareID(id))
		if first, twice := seen[folded]; twice {
			system.wrong("id", fmt.Sprintf("is that of systems[%d], too", first))
		}
		seen[folded] = i
		if system.mistake != nil {
			e := identity.Describe(system.mistake)
			return at(path+"."+e.Field, e.Public)
		}
	}
	return nil
}
