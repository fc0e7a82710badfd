package oidc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/session"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

// token answers POST /oauth2/token.
func (d *Dialect) token(w http.ResponseWriter, r *http.Request) error {
	p, err := params(r)
	if err != nil {
		return err
	}
	ctx, cancel := httpkit.Bounded(r.Context(), deadline)
	defer cancel()
	client, err := d.client(ctx, r, p)
	if err != nil {
		return err
	}
	grantType := p.Get("grant_type")
	switch grantType {
	case oauth.ClientCredentials, oauth.RefreshToken:
	case "":
		return identity.Invalid.In("grant_type", "grant_type is missing")
	default:
		return identity.GrantUnsupported
	}
	if err := grant.MayUse(client, grantType); err != nil {
		return err
	}
	if grantType == oauth.RefreshToken {
		return d.refresh(ctx, w, r, p, client)
	}
	return d.own(ctx, w, p, client)
}

// own gives a client a token of its own (RFC 6749, section 4.4). It writes nothing, and reads the store for what a device or an
// organisation may use alone, once in a while: what makes it fast.
func (d *Dialect) own(ctx context.Context, w http.ResponseWriter, p oauth.Params, client identity.Client) error {
	if err := confidential(client); err != nil {
		return err
	}
	scopes, err := grant.Scopes(client, oauth.Words(p.Get("scope"), ""), nil)
	if err != nil {
		return err
	}
	scope := strings.Join(scopes, " ")
	now, life := d.Now(), d.Sessions.Rules[Door].AccessTTL
	access, err := d.printOwn(ctx, client, scope, now, now.Add(life))
	if err != nil {
		return err
	}
	return write(w, &tokenAnswer{AccessToken: access, TokenType: "Bearer", ExpiresIn: int64(life.Seconds()), Scope: scope})
}

// refresh spends a refresh token for its successor and a new access token (RFC 6749, section 6; RFC 9700, section 4.14.2).
func (d *Dialect) refresh(ctx context.Context, w http.ResponseWriter, r *http.Request, p oauth.Params, client identity.Client) error {
	var scopes []string
	live, err := d.Sessions.Refresh(ctx, session.RefreshInput{
		Caller: httpkit.Caller(r, Door), Form: d.Form(), Raw: p.Get("refresh_token"), Rotate: true,
		// Asked before the token is spent, so that neither a stranger nor a slip in the scope can end the family.
		Admit: func(live session.Live) (err error) {
			if live.Session.ClientID != client.ID {
				return identity.TokenInvalid.Because("another client's")
			}
			granted := append([]string{}, live.Session.Scopes...) // not nil: no scope granted is not any scope
			scopes, err = grant.Scopes(client, oauth.Words(p.Get("scope"), ""), granted)
			return err
		},
	})
	if err != nil {
		return err
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = live.Session.SubjectID, live.Session.ID
	}
	scope, ends := strings.Join(scopes, " "), d.Sessions.AccessEnds(live.Session)
	access, err := d.printAccess(ctx, client, &live.Session, scope, ends)
	if err != nil {
		return err
	}
	return write(w, &tokenAnswer{
		AccessToken: access, TokenType: "Bearer", ExpiresIn: max(0, int64(ends.Sub(d.Now()).Seconds())),
		RefreshToken: d.Sessions.Opaque(live.Session, identity.RefreshToken), Scope: scope,
	})
}

// introspect answers POST /oauth2/introspect (RFC 7662), for tokens of every door.
func (d *Dialect) introspect(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := httpkit.Bounded(r.Context(), deadline)
	defer cancel()
	client, raw, err := d.about(ctx, r)
	if err != nil {
		return err
	}
	if err := confidential(client); err != nil {
		return identity.ClientInvalid.Because("only clients with a secret may introspect") // RFC 7662, section 2.1
	}
	live, err := d.Grants.Introspect(ctx, client, raw)
	if err != nil {
		return err
	}
	if live == nil {
		answer(w, inactive)
		return nil
	}
	about := d.describe(live)
	if about.Entitlements, err = d.entitlements(ctx, licence.HolderOf(live)); err != nil {
		return err
	}
	return write(w, about)
}

// inactive is the whole answer about a token that is none, has ended, or is not this client's to know (RFC 7662, section 2.2).
var inactive = []byte(`{"active":false}`)

func (d *Dialect) describe(live *session.Live) *introspection {
	t, s := &live.Token, &live.Session
	about := &introspection{
		Active: true, Scope: strings.Join(t.Scopes, " "), ClientID: t.ClientID, TokenUse: t.Kind, Door: t.Door,
		Expires: t.ExpiresAt.Unix(), Issuer: d.Issuer, Session: s.ID,
	}
	if !t.IssuedAt.IsZero() {
		about.IssuedAt = t.IssuedAt.Unix()
	}
	if t.Kind == identity.AccessToken {
		about.TokenType = "Bearer"
	}
	if t.Opaque == nil {
		about.ID = t.ID
	}
	if !t.NotBefore.IsZero() {
		about.NotBefore = t.NotBefore.Unix()
	}
	switch len(t.Audience) {
	case 0:
	case 1:
		about.Audience = t.Audience[0]
	default:
		about.Audience = t.Audience
	}
	if s.ID == "" {
		about.Subject, about.Organisation, about.Device = string(t.ClientID), t.OrganisationID, t.DeviceID
		return about
	}
	about.Subject, about.Username, about.Organisation = string(s.SubjectID), live.Subject.Email, s.OrganisationID
	about.AuthTime, about.AMR, about.Actor = s.AuthenticatedAt.Unix(), s.AMR, actorOf(s)
	return about
}

// revoke answers POST /oauth2/revoke (RFC 7009), for tokens of every door.
func (d *Dialect) revoke(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := httpkit.Bounded(r.Context(), deadline)
	defer cancel()
	client, raw, err := d.about(ctx, r)
	if err != nil {
		return err
	}
	if err := d.Grants.Revoke(ctx, httpkit.Caller(r, Door), client, raw); err != nil {
		return err
	}
	noStore(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

// about reads a request about a token. token_type_hint is not looked at: a token says itself what it is.
func (d *Dialect) about(ctx context.Context, r *http.Request) (identity.Client, string, error) {
	p, err := params(r)
	if err != nil {
		return identity.Client{}, "", err
	}
	client, err := d.client(ctx, r, p)
	if err != nil {
		return identity.Client{}, "", err
	}
	raw := p.Get("token")
	if raw == "" {
		return identity.Client{}, "", identity.Invalid.In("token", "token is missing")
	}
	return client, raw, nil
}

// params reads a form. What came in the address would be written to logs on its way, so it is refused rather than overlooked
// (RFC 6749, section 2.3.1).
func params(r *http.Request) (oauth.Params, error) {
	if r.URL.RawQuery != "" {
		return nil, identity.Invalid.Because("parameters belong into the body")
	}
	if !oauth.IsForm(r) {
		return nil, identity.MediaType
	}
	body, err := httpkit.ReadBody(r, httpkit.MaxBody)
	if err != nil {
		return nil, err
	}
	return oauth.ParseParams(string(body))
}

// client says which client this is: client_secret_basic, client_secret_post, or a public client by its name alone. Two ways at
// once are refused (RFC 6749, section 2.3).
func (d *Dialect) client(ctx context.Context, r *http.Request, p oauth.Params) (identity.Client, error) {
	claim, err := claimed(r, p)
	if err != nil {
		return identity.Client{}, err
	}
	client, err := d.Grants.Authenticate(ctx, httpkit.Caller(r, Door), claim.ID, claim.Secret)
	if err != nil {
		return identity.Client{}, err
	}
	if e := httpkit.EventOf(r); e != nil {
		e.ClientID = client.ID
	}
	return client, nil
}

func claimed(r *http.Request, p oauth.Params) (oauth.Claim, error) {
	scheme, rest, err := oauth.Authorization(r)
	if err != nil {
		return oauth.Claim{}, err
	}
	id := p.Get("client_id")
	switch scheme {
	case "":
		return oauth.Claim{Method: oauth.Form, ID: identity.ClientID(id), Secret: p.Secret("client_secret")}, nil
	case "basic":
	default:
		return oauth.Claim{}, identity.ClientInvalid.Because("this way of naming a client is not supported")
	}
	name, secret, err := oauth.ParseBasic(rest)
	if err != nil {
		return oauth.Claim{}, err
	}
	// Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
	if name, err = url.QueryUnescape(name); err != nil {
		return oauth.Claim{}, identity.ClientInvalid
	}
	if secret, err = url.QueryUnescape(secret); err != nil {
		return oauth.Claim{}, identity.ClientInvalid
	}
	if p.Get("client_secret") != "" || id != "" && id != name {
		return oauth.Claim{}, identity.Invalid.Because("the client is named in two ways")
	}
	return oauth.Claim{Method: oauth.Basic, ID: identity.ClientID(name), Secret: identity.Secret(secret)}, nil
}

// confidential refuses clients without a secret what only a proven client may do (RFC 6749, section 4.4; RFC 7662, section 2.1).
func confidential(client identity.Client) error {
	if client.SecretHash == "" {
		return identity.GrantDenied.Because("only clients with a secret may do this")
	}
	return nil
}
