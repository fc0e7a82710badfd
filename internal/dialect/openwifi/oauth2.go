package openwifi

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// challengeTTL is the life of a second factor's challenge (openwifi.md 1.6).
const challengeTTL = 300 * time.Second

// oauth2 answers POST /oauth2: several jobs on one path, chosen by the query in the contract's order. None needs a token, so an
// Authorization header does not matter, but to the refresh.
func (d *Dialect) oauth2(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	grant, err := q.text("grant_type")
	if err != nil {
		return err
	}
	switch {
	case grant == "refresh_token":
		named(r, "refresh")
		return d.refresh(w, r, body)
	case q.flag("requirements"):
		named(r, "requirements")
		return d.requirements(w, r)
	case q.flag("forgotPassword"):
		named(r, "forgotPassword")
		return d.forgot(w, r, body)
	case q.flag("resendMFACode"):
		named(r, "resendCode")
		return d.resend(w, r, body)
	case q.flag("completeMFAChallenge"):
		named(r, "answerChallenge")
		return d.answer(w, r, body)
	}
	return d.signIn(w, r, q, body)
}

// named names the job in the log.
func named(r *http.Request, op string) {
	if e := httpkit.EventOf(r); e != nil {
		e.Op = op
	}
}

// signIn signs a person in, with a new password where she sends one: that is also how she changes her own.
func (d *Dialect) signIn(w http.ResponseWriter, r *http.Request, q query, body *object) error {
	login, current := body.needed("userId"), body.needed("password")
	next, given := body.text("newPassword")
	if body.mistake != nil {
		return body.mistake
	}
	if !given {
		var err error
		if next, err = q.text("newPassword"); err != nil {
			return err
		}
	}
	out, err := d.SignIn.Password(r.Context(), signin.PasswordInput{
		Caller: d.caller(r), Login: strings.TrimSpace(login), Password: identity.Secret(current), NewPassword: identity.Secret(next),
		Way: signin.Way{Steps: signin.Steps{Proof: true}, TicketForm: signin.UUIDTicket, TicketTTL: challengeTTL},
	})
	if err != nil {
		return err
	}
	return d.proceed(w, r, out)
}

// proceed prints where the sign-in stands: a token, or the challenge of a second factor.
func (d *Dialect) proceed(w http.ResponseWriter, r *http.Request, out signin.Outcome) error {
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = out.Subject.ID, out.Session.ID
	}
	if out.Ticket == nil {
		return d.writeToken(w, &out.Session, &out.Subject)
	}
	method := methodOf(out.Ticket.Factors)
	if method == "" {
		return identity.FactorRequired // she has one, and this API has no word for it
	}
	return writeJSON(w, http.StatusOK, challenge{
		UUID: out.Ticket.Secret.Reveal(), Created: out.Ticket.CreatedAt.Unix(), Question: "mfa challenge", Method: method,
	})
}

func (d *Dialect) writeToken(w http.ResponseWriter, s *identity.Session, subject *identity.Subject) error {
	t := tokenOf(subject, d.Sessions.Opaque(*s, identity.AccessToken), s.RefreshedAt, d.Sessions.AccessEnds(*s), s.Generation)
	t.RefreshToken = d.Sessions.Opaque(*s, identity.RefreshToken)
	return writeJSON(w, http.StatusOK, t)
}

// answer completes a challenge.
func (d *Dialect) answer(w http.ResponseWriter, r *http.Request, body *object) error {
	uuid, code := body.needed("uuid"), body.needed("answer")
	if body.mistake != nil {
		return body.mistake
	}
	out, err := d.SignIn.Proof(r.Context(), signin.ProofInput{
		Caller: d.caller(r), Ticket: signin.TicketRef{Secret: identity.Secret(uuid)}, Code: strings.TrimSpace(code),
	})
	if err != nil {
		return err
	}
	return d.proceed(w, r, out)
}

// resend sends the code of a challenge once more. What an authenticator shows is not sent: to who asks for that, there is no such
// challenge.
func (d *Dialect) resend(w http.ResponseWriter, r *http.Request, body *object) error {
	uuid := body.needed("uuid")
	if body.mistake != nil {
		return body.mistake
	}
	err := d.SignIn.Resend(r.Context(), signin.ResendInput{
		Caller: d.caller(r), Ticket: signin.TicketRef{Secret: identity.Secret(uuid)},
	})
	switch identity.KindOf(err) {
	case identity.TicketInvalid, identity.Invalid:
		return &at{err, noResend}
	}
	if err != nil {
		return err
	}
	return writeDone(w, r)
}

// refresh gives a new access token for a refresh token, which is spent. The access token that came with it is shown as bearer;
// one that has expired, or none at all, does as well, but another session's does not (openwifi.md 2.2).
func (d *Dialect) refresh(w http.ResponseWriter, r *http.Request, body *object) error {
	raw, given := body.text("refreshToken")
	if !given {
		raw, _ = body.text("refresh_token") // the definition's spelling
	}
	if body.mistake != nil {
		return body.mistake
	}
	access, err := httpkit.Bearer(r)
	if err != nil {
		return atRefresh(err)
	}
	live, err := d.Sessions.Refresh(r.Context(), session.RefreshInput{
		Caller: d.caller(r), Form: d.form(), Raw: raw, Rotate: true,
		Admit: func(l session.Live) error {
			// A spent one goes on: that it comes again ends the session, whatever it comes with.
			if access == "" || l.Token.Generation != l.Session.Generation {
				return nil
			}
			if subtle.ConstantTimeCompare([]byte(access), []byte(d.Sessions.Opaque(l.Session, identity.AccessToken))) != 1 {
				return identity.TokenInvalid.Because("the refresh token came with another access token")
			}
			return nil
		},
	})
	if err != nil {
		return atRefresh(err)
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = live.Subject.ID, live.Session.ID
	}
	return d.writeToken(w, &live.Session, &live.Subject)
}

// forgot mails a link to whoever has the login, and answers alike where nobody does (openwifi.md 1.6).
func (d *Dialect) forgot(w http.ResponseWriter, r *http.Request, body *object) error {
	login := body.needed("userId")
	if body.mistake != nil {
		return body.mistake
	}
	if err := d.Recovery.Forgot(r.Context(), recovery.ForgotInput{
		Caller: d.caller(r), Login: strings.TrimSpace(login), Link: d.resetLink(),
	}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, webToken{UserMustChangePassword: true, ACLTemplate: everything})
}

// requirements says the rule that holds for whoever is not known yet.
func (d *Dialect) requirements(w http.ResponseWriter, r *http.Request) error {
	rule, err := d.rule(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, requirements{
		PasswordPattern: password.Pattern(rule), AccessPolicy: d.Prefix + assets + accessPolicy, PasswordPolicy: d.Prefix + assets + passwordPolicy,
	})
}

func (d *Dialect) rule(r *http.Request) (identity.PasswordRule, error) {
	p, err := d.Profiles.DefaultPolicy(r.Context())
	return d.SignIn.Passwords.Rule(credential.Context{Policy: p}, d.door()), err
}

// signedIn says who shows an access token, or acts with an API key: raw is "" then, and there is no session.
func (d *Dialect) signedIn(r *http.Request) (live *session.Live, raw string, err error) {
	if len(r.Header["X-Api-Key"]) > 0 {
		live, err = d.byKey(r)
		return live, "", err
	}
	if raw, err = httpkit.Bearer(r); err != nil {
		return nil, "", err
	}
	if live, err = d.Sessions.Check(r.Context(), d.form(), raw, identity.AccessToken); err != nil {
		return nil, "", err
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID, e.SessionID = live.Subject.ID, live.Session.ID
	}
	return live, raw, nil
}

// me answers GET /oauth2?me=true.
func (d *Dialect) me(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	if !q.flag("me") {
		return identity.Invalid.In("me", "must be true")
	}
	p, err := d.ownProfile(r, live)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userOf(&p))
}

// ownProfile is of who is signed in; whoever is gone since her token was looked at is not.
func (d *Dialect) ownProfile(r *http.Request, live *session.Live) (profile.Profile, error) {
	p, err := d.Profiles.Of(r.Context(), live.Subject.ID)
	if errors.Is(err, identity.NotFound) {
		err = identity.TokenRevoked
	}
	return p, err
}

// signOut answers DELETE /oauth2/{token}: nobody ends another's session this way, root included.
func (d *Dialect) signOut(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Connection"] = []string{"close"}
	live, raw, err := d.signedIn(r)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(raw), []byte(r.PathValue("token"))) != 1 {
		return &at{identity.NotFound, noGoodToken}
	}
	// Whether it had ended a moment before does not matter: it has ended now.
	if _, err := d.Sessions.SignOut(r.Context(), live.Caller(d.caller(r)), live.Session.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
