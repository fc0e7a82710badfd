package titan

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// codeTTL is how long the code of a sign-in may take (titan.md 3.1).
const codeTTL = 10 * time.Minute

// signIn answers POST /auth, with a password or a one-time token (titan.md 3.1).
func (d *Dialect) signIn(r *http.Request, c *call) (any, error) {
	in, err := read(r)
	if err != nil {
		return nil, err
	}
	byToken := in.given("token")
	var login, password, token string
	if byToken {
		token = in.text("token")
		in.refuse("password", notBeside)
	} else {
		login, password = in.text("user"), in.text("password")
	}
	toHub, remember := in.flag("hub", true), in.flag("remember", false)
	if err := in.mistakes(); err != nil {
		return nil, err
	}
	landing := signin.NoOrganisation
	if toHub {
		landing = signin.LastOrOnly
	}
	if byToken {
		return d.signInByToken(r, c, token, landing, remember)
	}
	out, err := d.SignIn.Password(r.Context(), signin.PasswordInput{
		Caller: c.Caller, Login: login, Password: identity.Secret(password), OwnDemand: ownDemand,
		Devices: signin.Devices{Mark: markOf(r), TTL: deviceTTL, CheckStrange: d.CheckStrange},
		Way:     d.way(landing, remember),
	})
	return d.outcome(r, c, out, err)
}

// way is that of both variants.
func (d *Dialect) way(landing signin.Landing, remember bool) signin.Way {
	return signin.Way{
		Remember: remember, Landing: landing, Steps: signin.Steps{Proof: true}, TicketTTL: codeTTL,
		Demand: hubDemand, DemandKinds: hubKinds, CodeLink: d.page(signin.CodeLink),
	}
}

// code answers POST /auth/code (titan.md 3.2).
func (d *Dialect) code(r *http.Request, c *call) (any, error) {
	in, err := read(r)
	if err != nil {
		return nil, err
	}
	code := in.text("code")
	if err := in.mistakes(); err != nil {
		return nil, err
	}
	out, err := d.SignIn.Proof(r.Context(), signin.ProofInput{Caller: c.Caller, Ticket: signin.TicketRef{ID: c.ticket}, Code: code})
	if errors.Is(err, identity.Denied) {
		err = hubClosed // the code was for a hub that she may no longer enter
	}
	return d.outcome(r, c, out, err)
}

// enterHub answers POST /auth/hub/{hub} (titan.md 3.3). A hub that is unknown, expired or not hers gets one answer.
func (d *Dialect) enterHub(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	if err := c.live.Herself(); err != nil {
		return nil, err // whichever hub it is (titan.md 3.3)
	}
	who, err := d.profile(r.Context(), &c.live.Session)
	if err != nil {
		return nil, err
	}
	hub, ok := named(&who, r.PathValue("hub"))
	if !ok {
		return nil, hubClosed
	}
	out, err := d.SignIn.Enter(r.Context(), signin.EnterInput{
		Caller: c.Caller, Live: c.live, Organisation: hub.ID, TicketTTL: codeTTL, Demand: hubDemand(hub),
		Kinds: hubKinds(hub), CodeLink: d.page(signin.CodeLink),
	})
	if errors.Is(err, identity.Denied) {
		err = hubClosed
	}
	return d.outcome(r, c, out, err)
}

// leaveHub answers POST /auth/hub/invalidate (titan.md 3.4).
func (d *Dialect) leaveHub(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	left, err := d.Sessions.Enter(r.Context(), c.Caller, c.live.Session.ID, "")
	if err != nil {
		return nil, err
	}
	return d.session(r.Context(), c, &left)
}

// ping answers POST /auth/ping: looking at the token has set the idle clock back (titan.md 1.6).
func (d *Dialect) ping(r *http.Request, _ *call) (any, error) {
	_, err := read(r)
	return nil, err
}

// refresh answers POST /auth/refresh (titan.md 1.6). Inside the grace a spent token is answered with the same successor.
func (d *Dialect) refresh(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	live, err := d.Sessions.Refresh(r.Context(), session.RefreshInput{
		Caller: c.Caller, Form: d.Form(), Raw: c.raw, Kind: identity.AccessToken, Rotate: true, Live: c.live,
	})
	if err != nil {
		return nil, err
	}
	return d.session(r.Context(), c, &live.Session)
}

// signOut answers POST /auth/invalidate, half way through a sign-in too (titan.md 3.8).
func (d *Dialect) signOut(r *http.Request, c *call) (any, error) {
	if _, err := read(r); err != nil {
		return nil, err
	}
	if c.ticket != "" {
		return nil, d.SignIn.Abandon(r.Context(), c.Caller, signin.TicketRef{ID: c.ticket}, signin.ProofDue)
	}
	// First: whoever's sign-out fails half way tries again, and until then is rather asked for a code.
	if err := d.SignIn.Forget(r.Context(), c.Caller, c.live, markOf(r)); err != nil {
		return nil, err
	}
	d.forget(c)
	ended, err := d.Sessions.SignOut(r.Context(), c.Caller, c.live.Session.ID)
	if err == nil && !ended {
		err = identity.TokenRevoked // another sign-out was first
	}
	return nil, err
}

// outcome prints where the state machine stands: signed in, or a code is due.
func (d *Dialect) outcome(r *http.Request, c *call, out signin.Outcome, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	note(r, out)
	d.remember(c, out.Device)
	if out.Ticket == nil {
		return d.session(r.Context(), c, &out.Session)
	}
	raw, err := d.codeToken(&out)
	if err != nil {
		return nil, err
	}
	return codeDue{Token: raw, Confirmation: confirmation{Required: true, Channel: channelOf(out.Ticket.Factors)}}, nil
}

// note tells the request's log line who came in.
func note(r *http.Request, out signin.Outcome) {
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = out.Subject.ID, out.Session.ID
	}
}

// session prints a session with a token of its present generation.
func (d *Dialect) session(ctx context.Context, c *call, s *identity.Session) (*sessionObject, error) {
	who, err := d.profile(ctx, s)
	if err != nil {
		return nil, err
	}
	var actor identity.Subject
	if s.ActorID != "" {
		real, err := d.Profiles.Of(ctx, s.ActorID)
		if err != nil {
			return nil, gone(err)
		}
		actor = real.Subject
	}
	now := d.Now()
	at, in := hubOf(&who, s, now)
	raw, err := d.fullToken(s, &who, at, in, actor)
	if err != nil {
		return nil, err
	}
	object := printSession(raw, &who, at, in, now, c.language)
	object.Impersonation = s.ActorID != ""
	return &object, nil
}

func (d *Dialect) profile(ctx context.Context, s *identity.Session) (profile.Profile, error) {
	who, err := d.Profiles.OfSession(ctx, s)
	return who, gone(err)
}

// gone: who was deleted this very moment has no session any more.
func gone(err error) error {
	if errors.Is(err, identity.NotFound) {
		return identity.TokenRevoked
	}
	return err
}

// hubOf gives the session's hub, if she is a member still and it has not expired.
func hubOf(who *profile.Profile, s *identity.Session, now time.Time) (profile.Access, bool) {
	if s.OrganisationID == "" {
		return profile.Access{}, false
	}
	at, in := who.In(s.OrganisationID)
	return at, in && !at.Organisation.ExpiredAt(now)
}

// named finds one of her hubs by what a path says: digits are an id, anything else is a hash (titan.md 1.1).
func named(who *profile.Profile, text string) (identity.Organisation, bool) {
	number, hash := reference(text)
	for i := range who.Organisations {
		o := &who.Organisations[i].Organisation
		if number > 0 && o.Number == number || hash != "" && o.Hash == hash {
			return *o, true
		}
	}
	return identity.Organisation{}, false
}

// reference reads what a path says of a record: its number or its hash; neither, if it can be no record's.
func reference(text string) (number int64, hash string) {
	if !digits(text) {
		return 0, text
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n, ""
	}
	return 0, ""
}

// A hash of digits only would not be one here.
func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

func hubDemand(o identity.Organisation) identity.Demand {
	return demand(settingsOf(&o).LoginConfirmation)
}

// hubKinds are the factors that reach the weakest channel that a hub allows; nil: all.
func hubKinds(o identity.Organisation) []identity.CredentialKind {
	kinds := []identity.CredentialKind{identity.TOTP, identity.WebAuthn}
	switch settingsOf(&o).LoginConfirmationChannel {
	case channelApp:
		return kinds
	case channelSMS:
		return append(kinds, identity.SMSCode)
	}
	return nil
}

func ownDemand(s identity.Subject) identity.Demand {
	return demand(personalOf(&s).LoginConfirmation)
}

func demand(on bool) identity.Demand {
	if on {
		return identity.FactorNeeded
	}
	return identity.FactorOptional
}

// fields are a request's members, and what is wrong with them.
type fields struct {
	members map[string]json.RawMessage
	wrong   map[string][]words
}

// read takes a JSON object. Operations without fields accept none, and a body of none is an empty object to the others, too
// (titan.md 1.1).
func read(r *http.Request) (*fields, error) {
	body, err := httpkit.ReadBody(r, httpkit.MaxBody)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return &fields{}, nil
	}
	if err := httpkit.RequireJSON(r); err != nil {
		return nil, err
	}
	members, err := httpkit.Object(body)
	if err != nil {
		return nil, err
	}
	return &fields{members: members}, nil
}

func (f *fields) refuse(name string, w words) {
	if f.given(name) {
		f.note(name, w)
	}
}

func (f *fields) note(name string, w words) {
	if f.wrong == nil {
		f.wrong = map[string][]words{}
	}
	f.wrong[name] = append(f.wrong[name], w)
}

// given: null is as good as nothing.
func (f *fields) given(name string) bool {
	raw, ok := f.members[name]
	return ok && string(raw) != "null"
}

// text gives a string that must be there.
func (f *fields) text(name string) string {
	var v string
	switch {
	case !f.given(name):
		f.note(name, required)
	case json.Unmarshal(f.members[name], &v) != nil:
		f.note(name, notText)
	case v == "":
		f.note(name, required)
	}
	return v
}

// flag gives a boolean that may be absent.
func (f *fields) flag(name string, absent bool) bool {
	v := absent
	if f.given(name) && json.Unmarshal(f.members[name], &v) != nil {
		f.note(name, notFlag)
	}
	return v
}

func (f *fields) mistakes() error {
	if len(f.wrong) == 0 {
		return nil
	}
	return &invalid{f.wrong}
}
