package insights

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

// token answers POST /oauth/token. Every refusal says how the client named itself, because the challenge depends on it.
func (d *Dialect) token(w http.ResponseWriter, r *http.Request) error {
	method, err := d.tokenRequest(w, r)
	if err != nil {
		return &atToken{err, method}
	}
	return nil
}

// tokenRequest checks in the order that insights.md 2.5 states: client, scope, grant type present, grant type known, grant.
func (d *Dialect) tokenRequest(w http.ResponseWriter, r *http.Request) (oauth.Method, error) {
	p, err := params(r)
	if err != nil {
		return oauth.NoClient, err
	}
	claim, err := claimed(r, p)
	if err != nil {
		return claim.Method, err
	}
	client, err := d.Grants.Authenticate(r.Context(), httpkit.Caller(r, Door), claim.ID, claim.Secret)
	if err != nil {
		return claim.Method, err
	}
	note(r, func(e *httpkit.Event) { e.ClientID = client.ID })
	if named := p.Get("client_id"); named != "" && named != string(client.ID) {
		return claim.Method, otherClient
	}
	if r.Method != http.MethodPost {
		return claim.Method, wrongMethod(r.Method, http.MethodPost)
	}
	asked := oauth.Words(p.Get("scope"), ",")
	scopes, err := scopesOf(client, asked, nil)
	if err != nil {
		return claim.Method, err
	}
	grantType := p.Get("grant_type")
	switch grantType {
	case oauth.Password, oauth.RefreshToken:
	case "":
		return claim.Method, missingGrantType
	case oauth.Implicit:
		return claim.Method, implicitGrant
	default:
		return claim.Method, identity.GrantUnsupported
	}
	if err := grant.MayUse(client, grantType); err != nil {
		return claim.Method, err
	}
	if grantType == oauth.RefreshToken {
		return claim.Method, d.refresh(w, r, p.Get("refresh_token"), client, asked)
	}
	return claim.Method, d.password(w, r, p, client, scopes)
}

// password signs a person in. The contract has no second step: whoever needs one is refused.
func (d *Dialect) password(w http.ResponseWriter, r *http.Request, p oauth.Params, client identity.Client, scopes []string) error {
	out, err := d.SignIn.Password(r.Context(), signin.PasswordInput{
		Caller: httpkit.Caller(r, Door), Login: p.Get("username"), Password: p.Secret("password"),
		Way: signin.Way{ClientID: client.ID, Scopes: scopes},
	})
	if err != nil {
		return err
	}
	who, err := d.Profiles.Of(r.Context(), out.Subject.ID)
	if err != nil {
		return gone(err)
	}
	note(r, about(&out.Session))
	return d.answer(w, &out.Session, &who, scopes, "")
}

// refresh prints a new access token. The same refresh token comes back, unless the operator wants it rotated.
func (d *Dialect) refresh(w http.ResponseWriter, r *http.Request, raw string, client identity.Client, asked []string) error {
	var scopes []string
	rotates := d.Sessions.Rules[Door].Rotates
	live, err := d.Sessions.Refresh(r.Context(), session.RefreshInput{
		Caller: httpkit.Caller(r, Door), Form: d.Form(), Raw: raw, Rotate: rotates,
		Admit: func(live session.Live) (err error) {
			if live.Session.ClientID != client.ID {
				return identity.Denied
			}
			granted := append([]string{}, live.Session.Scopes...) // not nil: no scope granted is not any scope
			scopes, err = scopesOf(client, asked, granted)
			return err
		},
	})
	if err != nil {
		return err
	}
	who, err := d.Profiles.OfSession(r.Context(), &live.Session)
	if err != nil {
		return gone(err)
	}
	note(r, about(&live.Session))
	reused := raw
	if rotates {
		reused = ""
	}
	return d.answer(w, &live.Session, &who, scopes, reused)
}

// gone: she was deleted between the grant and this look at her.
func gone(err error) error {
	if identity.KindOf(err) == identity.NotFound {
		return identity.TokenRevoked
	}
	return err
}

func (d *Dialect) answer(w http.ResponseWriter, s *identity.Session, who *profile.Profile, scopes []string, reused string) error {
	printed, err := d.print(s, who, scopes, reused)
	if err != nil {
		return err
	}
	now := d.Now()
	return write(w, tokenAnswer{
		AccessToken: printed.access, TokenType: "bearer", RefreshToken: printed.refresh,
		ExpiresIn: max(0, int64(printed.accessEnds.Sub(now)/time.Second)), Scope: strings.Join(scopes, " "),
		User: personOf(who, s.PreviousSignIn, now), ID: printed.accessID,
	})
}

// scopesOf is what is granted of what is asked. No scope at all is refused too: such a token would open nothing.
func scopesOf(client identity.Client, asked, allowed []string) ([]string, error) {
	scopes, err := grant.Scopes(client, asked, allowed)
	if err == nil && len(scopes) > 0 {
		return scopes, nil
	}
	limit := client.Scopes
	if allowed != nil {
		limit = allowed
	}
	return nil, wrongScope(strings.Join(limit, " "))
}

// params reads the form and the query as one set (insights.md 2.1). A body of another type carries no parameters.
func params(r *http.Request) (oauth.Params, error) {
	var body string
	if r.Method == http.MethodPost && oauth.IsForm(r) {
		text, err := httpkit.ReadBody(r, httpkit.MaxBody)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	return oauth.ParseParams(body, r.URL.RawQuery)
}

// claimed reads who the client says it is: HTTP Basic, which is preferred, or parameters. Another scheme names no client.
func claimed(r *http.Request, p oauth.Params) (oauth.Claim, error) {
	scheme, rest, err := oauth.Authorization(r)
	if err != nil {
		return oauth.Claim{}, err
	}
	if scheme == "basic" {
		name, secret, err := oauth.ParseBasic(rest)
		return oauth.Claim{Method: oauth.Basic, ID: identity.ClientID(name), Secret: identity.Secret(secret)}, err
	}
	if id := p.Get("client_id"); id != "" {
		return oauth.Claim{Method: oauth.Form, ID: identity.ClientID(id), Secret: p.Secret("client_secret")}, nil
	}
	return oauth.Claim{}, nil
}

// mayRead is the scope that /api/v2 needs (insights.md 3.1).
const mayRead = "read"

// signedIn says who shows an access token that may read.
func (d *Dialect) signedIn(r *http.Request) (*session.Live, error) {
	scheme, raw, err := oauth.Authorization(r)
	if err != nil {
		return nil, err
	}
	if scheme != "bearer" || raw == "" {
		return nil, identity.TokenMissing
	}
	live, err := d.Sessions.Check(r.Context(), d.Form(), raw, identity.AccessToken)
	if err != nil {
		return nil, err
	}
	note(r, about(&live.Session))
	if !slices.Contains(live.Token.Scopes, mayRead) {
		return nil, &exact{kind: identity.Denied, answer: answers[identity.Denied], scope: mayRead}
	}
	return live, nil
}

// detail answers GET /api/v2/users/loggedIn/detail.
func (d *Dialect) detail(w http.ResponseWriter, r *http.Request) error {
	live, err := d.signedIn(r)
	if err != nil {
		return err
	}
	who, err := d.Profiles.OfSession(r.Context(), &live.Session)
	if err != nil {
		return gone(err)
	}
	return write(w, detailOf(&who, live.Session.PreviousSignIn, d.Now()))
}

// sites answers GET /api/v2/sites.
func (d *Dialect) sites(w http.ResponseWriter, r *http.Request) error {
	live, err := d.signedIn(r)
	if err != nil {
		return err
	}
	who, err := d.Profiles.OfSession(r.Context(), &live.Session)
	if err != nil {
		return gone(err)
	}
	return write(w, sitesOf(&who, d.Now()))
}
