package nx

import (
	"errors"
	"net/http"
	"time"

	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// Sentences that clients know by heart (nx.md 3.4).
const (
	saidForgot = "Password sent if user exists."
	saidReset  = "Your password has been reset!"
)

const resetTTL = time.Hour

// signIn answers POST /authenticate/signin.
func (d *Dialect) signIn(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	modern := in.has("Username")
	var login string
	var remember bool
	if modern {
		login, remember = in.filled("Username"), in.given("KeepLoggedIn")
	} else {
		login, remember = in.filled("Email"), in.flag("KeepLoggedIn")
		if !in.has("Email") {
			in.mistake = identity.Invalid.In("Username", required) // the documented name of the two
		}
	}
	password := in.filled("Password")
	if in.mistake != nil {
		return in.mistake
	}
	out, err := d.SignIn.Password(r.Context(), signin.PasswordInput{
		Caller: d.caller(r), Login: login, Password: identity.Secret(password),
		Way: signin.Way{Remember: remember, KeepsSpent: !modern, Landing: signin.LastOrFirst},
	})
	if errors.Is(err, identity.FactorRequired) {
		return identity.FactorRequired.Because("A second factor is needed. Sign in with /nx/login and then /nx/totp.")
	}
	if err != nil {
		return err
	}
	return d.writeTokens(w, out.Session, out.Subject, modern, true)
}

// refresh answers POST /authenticate/refresh-token.
func (d *Dialect) refresh(w http.ResponseWriter, r *http.Request) error {
	raw, err := httpkit.Bearer(r)
	if err != nil {
		return err
	}
	in, err := d.readOptional(r)
	if err != nil {
		return err
	}
	grantType := in.text("GrantType")
	if grantType != "" && grantType != "AccessToken" && grantType != "RefreshToken" {
		in.wrong("GrantType", "must be AccessToken or RefreshToken")
	}
	if in.mistake != nil {
		return in.mistake
	}
	rotate := grantType == "RefreshToken"
	live, err := d.renew(r, raw, rotate)
	if err != nil {
		return err
	}
	return d.writeTokens(w, live.Session, live.Subject, !rotate, rotate)
}

// renew checks a refresh token, and whom its holder may act for before anything is spent.
func (d *Dialect) renew(r *http.Request, raw string, rotate bool) (*session.Live, error) {
	return d.Sessions.Refresh(r.Context(), session.RefreshInput{
		Caller: d.caller(r), Form: d.Form(), Raw: raw, Rotate: rotate,
		Admit: func(live session.Live) error {
			_, _, err := d.actingFor(r, &live)
			return err
		},
	})
}

// signOut answers POST /authenticate/signout.
func (d *Dialect) signOut(w http.ResponseWriter, r *http.Request, c call) error {
	ended, err := d.Sessions.SignOut(r.Context(), c.Caller, c.live.Session.ID)
	if err != nil {
		return err
	}
	if !ended {
		return identity.TokenRevoked // another sign-out was first
	}
	d.Cloud.Ended(r.Context(), c.live.Session)
	return writeJSON(w, http.StatusOK, message{
		AuthorizationInvalid: true, Email: c.live.Subject.Email, Message: "You have signed out. See you soon!", UUID: string(c.live.Subject.ID),
	})
}

// passwordStrength answers POST /authenticate/password-strength.
func (d *Dialect) passwordStrength(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	password, email, name := in.filled("Password"), in.text("Email"), in.text("Name")
	if in.mistake != nil {
		return in.mistake
	}
	if _, wait, ok := d.strengthCalls.Take(d.caller(r).Network()); !ok {
		return identity.Throttled.After(wait, "Too many questions. Please wait a minute.")
	}
	judged, err := d.SignUp.Strength(r.Context(), d.caller(r), identity.Secret(password), email, name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, strength{Strong: judged.Strong, Score: judged.Score, Message: sentence(judged.Message)})
}

// register answers POST /user.
func (d *Dialect) register(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	email, password := in.filled("Email"), in.filled("Password")
	name, company := in.name("Name"), in.name("Company")
	if !in.given("AcceptEULA") {
		in.wrong("AcceptEULA", "must be accepted")
	}
	own := attributes{Newsletter: in.flag("NewsletterOptIn"), Phone: in.phone("PhoneNumber"), JobTitle: in.title("JobTitle")}
	if in.mistake != nil {
		return in.mistake
	}
	kept, err := own.keep()
	if err != nil {
		return err
	}
	out, err := d.SignUp.Register(r.Context(), signup.Input{
		Caller: d.caller(r), Email: email, Password: identity.Secret(password), Name: name, Company: company, Attributes: kept,
	})
	if err != nil {
		return err
	}
	return d.writeTokens(w, out.Session, out.Subject, true, true)
}

// forgotPassword answers POST /authenticate/forgot-password, alike whether anybody has the address.
func (d *Dialect) forgotPassword(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	email := in.filled("Email")
	if in.mistake != nil {
		return in.mistake
	}
	if err := d.Recovery.Forgot(r.Context(), recovery.ForgotInput{
		Caller: d.caller(r), Login: email, Link: recovery.Link{Address: d.resetLink, TTL: resetTTL},
	}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, message{Message: saidForgot})
}

// resetPassword answers POST /authenticate/reset-password.
func (d *Dialect) resetPassword(w http.ResponseWriter, r *http.Request) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	secret, password := in.filled("Token"), in.filled("Password")
	if in.mistake != nil {
		return in.mistake
	}
	if err := d.Recovery.Reset(r.Context(), recovery.ResetInput{
		Caller: d.caller(r), Token: identity.Secret(secret), NewPassword: identity.Secret(password),
	}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, message{Message: saidReset})
}

// updatePassword answers POST /authenticate/update-password.
func (d *Dialect) updatePassword(w http.ResponseWriter, r *http.Request, c call) error {
	in, err := d.read(r)
	if err != nil {
		return err
	}
	current, next := in.filled("CurrentPassword"), in.filled("NewPassword")
	if in.mistake != nil {
		return in.mistake
	}
	err = d.SignIn.ChangeOwn(r.Context(), c.Caller, c.live, identity.Secret(current), identity.Secret(next))
	if errors.Is(err, identity.BadCredential) {
		return identity.BadCredential.In("CurrentPassword", "is wrong")
	}
	if err != nil {
		return at(err, "NewPassword", identity.WeakPassword, identity.PasswordReused, identity.Invalid)
	}
	return writeJSON(w, http.StatusOK, message{Message: saidReset})
}

// writeTokens prints what was asked for of a session.
func (d *Dialect) writeTokens(w http.ResponseWriter, s identity.Session, subject identity.Subject, access, refresh bool) (err error) {
	var out tokens
	if access {
		if out.AccessToken, err = d.accessToken(s, subject); err != nil {
			return err
		}
	}
	if refresh {
		if out.RefreshToken, err = d.refreshToken(s); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, out)
}
