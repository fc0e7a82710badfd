package nx

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// Nx Cloud's own calls, for programs that know no other cloud than the vendor's: they change the host and nothing else (nx.md 5.3).
// Their tokens are sessions of a door of their own, so that no other takes them.

// CloudDoor names the calls below /cdb, and the sign-in page, in sessions and tokens.
const CloudDoor identity.Door = "nx-cloud"

const cloudBase = "/cdb"

// CloudRules are the lives of the cloud's sessions and tokens.
func CloudRules(cfg config.Nx) session.Rules {
	return session.Rules{
		AccessTTL: cfg.CloudAccessLife, SessionTTL: cfg.CloudRefreshLife, MaxTTL: max(yearOfRefreshing, cfg.CloudRefreshLife), Rotates: true,
		Opaque: []identity.TokenKind{identity.AccessToken, identity.RefreshToken},
	}
}

// tokenPrefix is how clients tell the cloud's tokens from a system's.
const tokenPrefix = "nxcdb-"

// CloudForm reads the cloud's tokens: opaque, so the store knows what they are.
type CloudForm struct{}

var _ token.Form = CloudForm{}

// Door names the cloud's.
func (CloudForm) Door() identity.Door { return CloudDoor }

// Looks accepts the two spellings that are printed: 64 hex digits, and for a token that a second factor lifted 43 of base64url.
func (CloudForm) Looks(raw string) bool {
	text, ok := strings.CutPrefix(raw, tokenPrefix)
	if !ok {
		return false
	}
	return len(text) == 64 && !strings.ContainsFunc(text, func(c rune) bool { return !strings.ContainsRune("0123456789abcdef", c) }) ||
		len(text) == 43 && !strings.ContainsFunc(text, func(c rune) bool { return !strings.ContainsRune(base64url, c) })
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Read gives what the text names.
func (f CloudForm) Read(raw string) (token.Facts, error) {
	if !f.Looks(raw) {
		return token.Facts{}, identity.TokenInvalid.Because("not a token of this door")
	}
	sum := sha256.Sum256([]byte(strings.TrimPrefix(raw, tokenPrefix)))
	return token.Facts{Door: CloudDoor, Opaque: sum[:]}, nil
}

// cloudOperations is what is served of the cloud.
var cloudOperations = []operation{
	{name: "token", method: "POST", paths: []string{"/oauth2/token"}, deadline: 15 * time.Second, open: (*Dialect).cloudToken, refuse: (*Dialect).refuseCloud},
	{name: "look-up", method: "GET", paths: []string{"/oauth2/token/{token}"}, deadline: 5 * time.Second, open: (*Dialect).cloudLookUp, refuse: (*Dialect).refuseCloud},
	{name: "revoke", method: "DELETE", paths: []string{"/oauth2/token/{token}"}, deadline: 5 * time.Second, open: (*Dialect).cloudRevoke, refuse: (*Dialect).refuseCloud},
	{name: "totp", method: "GET", paths: []string{"/account/self/2fa/totp/key/{totp}"}, deadline: 5 * time.Second, open: (*Dialect).cloudTOTP, refuse: (*Dialect).refuseCloud},
	{name: "account", method: "GET", paths: []string{"/account/self"}, deadline: 5 * time.Second, open: (*Dialect).cloudAccount, refuse: (*Dialect).refuseCloud},
	{name: "systems", method: "GET", paths: []string{"/systems"}, deadline: 5 * time.Second, open: (*Dialect).cloudSystems, refuse: (*Dialect).refuseCloud},
}

// CloudRoutes is the cloud as the router sees it.
func (d *Dialect) CloudRoutes() httpkit.Door {
	return httpkit.Door{
		Name: CloudDoor, Routes: d.routes(cloudBase, cloudOperations), Claims: []string{cloudBase + "/"}, Wrap: d.cloudWrap,
		NotFound: func(w http.ResponseWriter, r *http.Request) { d.refuseCloud(w, r, identity.NotFound) },
		MethodNotAllowed: func(w http.ResponseWriter, r *http.Request, allow []string) {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			note(r, identity.Invalid)
			_ = writeCloud(w, http.StatusMethodNotAllowed, result{"notImplemented", "This method is not served here."}) // it marshals
		},
	}
}

// secretPaths have a token or a code behind them, which is none of the log's business however short it is: another door's ticket may
// be put there, and a code that was refused may still be good.
var secretPaths = []string{cloudBase + "/oauth2/token/", cloudBase + "/account/self/2fa/totp/key/"}

func (d *Dialect) cloudWrap(next http.Handler) http.Handler {
	next = d.Wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range secretPaths {
			if e := httpkit.EventOf(r); e != nil && strings.HasPrefix(r.URL.Path, d.Prefix+path) {
				e.Path = d.Prefix + path + "…"
			}
		}
		next.ServeHTTP(w, r)
	})
}

// result is the cloud's answer where there is nothing else to say.
type result struct {
	Code string `json:"resultCode"`
	Text string `json:"errorText"`
}

// results are the cloud's words for every Kind.
var results = map[identity.Kind]nxWord{
	identity.Internal:         {http.StatusInternalServerError, "unknownError"},
	identity.Unavailable:      {http.StatusServiceUnavailable, "serviceUnavailable"},
	identity.Busy:             {http.StatusServiceUnavailable, "retryLater"},
	identity.Invalid:          {http.StatusBadRequest, "badRequest"},
	identity.TooLarge:         {http.StatusRequestEntityTooLarge, "badRequest"},
	identity.MediaType:        {http.StatusUnsupportedMediaType, "badRequest"},
	identity.NotFound:         {http.StatusNotFound, "notFound"},
	identity.Conflict:         {http.StatusConflict, "alreadyExists"},
	identity.Denied:           {http.StatusForbidden, "forbidden"},
	identity.BadCredential:    {http.StatusUnauthorized, "notAuthorized"},
	identity.Locked:           {http.StatusTooManyRequests, "retryLater"},
	identity.Throttled:        {http.StatusTooManyRequests, "retryLater"},
	identity.Suspended:        {http.StatusForbidden, "accountBlocked"},
	identity.Unverified:       {http.StatusForbidden, "accountNotActivated"},
	identity.PasswordExpired:  {http.StatusForbidden, "forbidden"},
	identity.PasswordDue:      {http.StatusForbidden, "forbidden"},
	identity.Restricted:       {http.StatusForbidden, "forbidden"},
	identity.FactorRequired:   {http.StatusForbidden, "forbidden"},
	identity.BadCode:          {http.StatusForbidden, "invalidTotp"},
	identity.WeakPassword:     {http.StatusBadRequest, "badRequest"},
	identity.PasswordReused:   {http.StatusBadRequest, "badRequest"},
	identity.TokenMissing:     {http.StatusUnauthorized, "notAuthorized"},
	identity.TokenInvalid:     {http.StatusUnauthorized, "notAuthorized"},
	identity.TokenExpired:     {http.StatusUnauthorized, "notAuthorized"},
	identity.TokenRevoked:     {http.StatusUnauthorized, "notAuthorized"},
	identity.TokenReused:      {http.StatusUnauthorized, "notAuthorized"},
	identity.TicketInvalid:    {http.StatusUnauthorized, "notAuthorized"},
	identity.ClientInvalid:    {http.StatusUnauthorized, "notAuthorized"},
	identity.ClientMissing:    {http.StatusUnauthorized, "notAuthorized"},
	identity.GrantDenied:      {http.StatusForbidden, "forbidden"},
	identity.GrantUnsupported: {http.StatusBadRequest, "badRequest"},
	identity.ScopeInvalid:     {http.StatusBadRequest, "badRequest"},
}

// refuseCloud says no as the cloud does.
func (d *Dialect) refuseCloud(w http.ResponseWriter, r *http.Request, err error) {
	err = d.judged(r, err)
	kind := identity.KindOf(err)
	word, ok := results[kind]
	if !ok {
		word = results[identity.Internal]
	}
	refusalHeaders(w.Header(), word.status, err)
	_, m := refusal(err)
	text := m.Message
	if m.Field != nil {
		text = m.Field.Name + " " + m.Field.Message
	}
	_ = writeCloud(w, word.status, result{word.word, text}) // it marshals
}

// writeCloud answers as the cloud does: a public sample reads JSON only of exactly this type.
func writeCloud(w http.ResponseWriter, status int, v any) error {
	body, err := httpkit.Marshal(v)
	if err != nil {
		return err
	}
	write(w, status, "application/json", body)
	return nil
}

// cloudTokens is the answer of the token call.
type cloudTokens struct {
	Access    string `json:"access_token,omitempty"`
	Refresh   string `json:"refresh_token,omitempty"`
	ExpiresIn int64  `json:"expires_in"` // s
	ExpiresAt int64  `json:"expires_at"` // ms
	Type      string `json:"token_type"`
	Scope     string `json:"scope"`
	Username  string `json:"username,omitempty"`
	Error     string `json:"error,omitempty"`
}

// cloudClient is what the door keeps of who asked: any name goes, so it proves nothing.
type cloudClient struct {
	Client string `json:"client"`
}

// cloudToken answers POST /cdb/oauth2/token.
func (d *Dialect) cloudToken(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	grantType, client, scope := in.filled("grant_type"), in.filled("client_id"), in.text("scope")
	if kind := in.text("response_type"); kind != "" && kind != "token" {
		in.wrong("response_type", "must be token")
	}
	if len(client) > maxParameter {
		in.wrong("client_id", "is too long")
	}
	if scope != "" {
		system, named := strings.CutPrefix(scope, cloud.ScopeOf(""))
		if scope, err = cloud.Scope(system); err != nil || !named {
			in.wrong("scope", "must be "+cloud.ScopeOf("")+" and the id of a system, or nothing")
		}
	}
	kept, err := json.Marshal(cloudClient{client})
	if err != nil {
		return err
	}
	ask := cloud.GrantInput{Caller: d.cloudCaller(r), Client: client, Scope: scope, Attributes: kept}
	var grant func() (cloud.Granted, error)
	switch grantType {
	case "password":
		login, password, code := in.filled("username"), in.filled("password"), in.text("mfaCode")
		grant = func() (cloud.Granted, error) {
			return d.Cloud.GrantPassword(r.Context(), ask, login, identity.Secret(password), code)
		}
	case "refresh_token":
		raw := in.filled("refresh_token")
		grant = func() (cloud.Granted, error) { return d.Cloud.GrantRefresh(r.Context(), ask, identity.Secret(raw)) }
	case "authorization_code":
		code, redirect := in.filled("code"), in.text("redirect_uri") // OAuth's name, and the page's own
		if other := in.text("redirect_url"); redirect == "" {
			redirect = other
		} else if other != "" && other != redirect {
			in.wrong("redirect_url", "is not what redirect_uri says")
		}
		grant = func() (cloud.Granted, error) {
			return d.Cloud.GrantCode(r.Context(), ask, identity.Secret(code), redirect)
		}
	default:
		in.wrong("grant_type", "must be password, refresh_token or authorization_code")
	}
	if in.mistake != nil {
		return in.mistake
	}
	granted, err := grant()
	switch {
	case identity.KindOf(err) == identity.FactorRequired && err != nil:
		// The cloud answers its token call with success here, and says why there is no token (nx.md 5.1).
		note(r, identity.FactorRequired)
		return writeCloud(w, http.StatusOK, cloudTokens{Type: "bearer", Scope: scope, Error: factorMissing})
	case identity.KindOf(err) == identity.BadCode && err != nil:
		return identity.BadCredential.Wrap(err) // of a code that came with the password
	case grantType == "authorization_code" && err != nil && identity.KindOf(err) == identity.BadCredential:
		return &identity.Error{Kind: identity.BadCredential, Field: "code", Public: "is unknown, was used already or took too long", Err: err}
	case err != nil:
		return err
	}
	return writeCloud(w, http.StatusOK, d.printGranted(granted, scope))
}

func (d *Dialect) printGranted(g cloud.Granted, scope string) cloudTokens {
	if g.Limited != nil {
		out := d.lasting(g.Limited.ExpiresAt)
		out.Access, out.Refresh = tokenPrefix+g.Limited.Secret.Reveal(), tokenPrefix+g.LimitedRefresh
		out.Scope, out.Error = scope, factorRequired
		return out
	}
	out := d.lasting(d.Sessions.AccessEnds(g.Session))
	out.Access = tokenPrefix + d.Sessions.Opaque(g.Session, identity.AccessToken)
	out.Refresh = tokenPrefix + d.Sessions.Opaque(g.Session, identity.RefreshToken)
	out.Scope = strings.Join(g.Session.Scopes, " ")
	return out
}

func (d *Dialect) lasting(ends time.Time) cloudTokens {
	return cloudTokens{ExpiresIn: int64(ends.Sub(d.Now()) / time.Second), ExpiresAt: ends.UnixMilli(), Type: "bearer"}
}

// cloudLookUp answers GET /cdb/oauth2/token/{token}.
func (d *Dialect) cloudLookUp(w http.ResponseWriter, r *http.Request) error {
	bearer, err := httpkit.Bearer(r)
	if err != nil {
		return err
	}
	live, err := d.Cloud.Look(r.Context(), bearer, r.PathValue("token"))
	if err != nil {
		return err
	}
	out := d.lasting(live.Token.ExpiresAt)
	out.Access, out.Username, out.Scope = r.PathValue("token"), live.Subject.Email, strings.Join(live.Session.Scopes, " ")
	return writeCloud(w, http.StatusOK, out)
}

// cloudRevoke answers DELETE /cdb/oauth2/token/{token}.
func (d *Dialect) cloudRevoke(w http.ResponseWriter, r *http.Request) error {
	bearer, err := httpkit.Bearer(r)
	if err != nil {
		return err
	}
	if err := d.Cloud.Revoke(r.Context(), d.cloudCaller(r), bearer, r.PathValue("token")); err != nil {
		return err
	}
	return writeCloud(w, http.StatusOK, result{Code: "ok"})
}

// cloudTOTP answers GET /cdb/account/self/2fa/totp/key/{totp}, which lifts the limited token in its query.
func (d *Dialect) cloudTOTP(w http.ResponseWriter, r *http.Request) error {
	code := r.PathValue("totp")
	query, err := httpkit.ParseForm(r.URL.RawQuery)
	if err != nil {
		return err
	}
	limited, ok := strings.CutPrefix(query.Get("token"), tokenPrefix)
	if !ok || len(query["token"]) != 1 {
		return identity.TokenInvalid
	}
	if !totp.WellFormed(code) {
		return identity.BadCode
	}
	if err := d.Cloud.Lift(r.Context(), d.cloudCaller(r), identity.Secret(limited), code); err != nil {
		return err
	}
	return writeCloud(w, http.StatusOK, result{Code: "ok"})
}

// cloudCall says whose access token of the cloud it is.
func (d *Dialect) cloudCall(r *http.Request) (*session.Live, error) {
	raw, err := httpkit.Bearer(r)
	if err != nil {
		return nil, err
	}
	live, err := d.Cloud.Access(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = live.Subject.ID, live.Session.ID
	}
	return live, nil
}

type cloudAccount struct {
	ID     string `json:"id"`
	Email  string `json:"email"`
	Name   string `json:"full_name"`
	Status string `json:"statusCode"`
	Factor bool   `json:"account2faEnabled"`
}

// cloudAccount answers GET /cdb/account/self.
func (d *Dialect) cloudAccount(w http.ResponseWriter, r *http.Request) error {
	live, err := d.cloudCall(r)
	if err != nil {
		return err
	}
	factor, err := d.Cloud.FactorOf(r.Context(), live.Subject.ID)
	if err != nil {
		return err
	}
	s := live.Subject
	return writeCloud(w, http.StatusOK, cloudAccount{ID: string(s.ID), Email: s.Email, Name: s.Name, Status: "activated", Factor: factor})
}

type cloudSystem struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Version string `json:"version"`
}

// cloudSystems answers GET /cdb/systems.
func (d *Dialect) cloudSystems(w http.ResponseWriter, r *http.Request) error {
	live, err := d.cloudCall(r)
	if err != nil {
		return err
	}
	all, err := d.Cloud.SystemsFor(r.Context(), live)
	if err != nil {
		return err
	}
	list := make([]cloudSystem, len(all))
	for i, s := range all {
		list[i] = cloudSystem{s.ID, s.Name, s.Status, s.Version}
	}
	return writeCloud(w, http.StatusOK, list)
}
