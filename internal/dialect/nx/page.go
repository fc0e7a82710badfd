package nx

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"

	"gatehouse/internal/core/recovery"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// The page that the link in a mail opens. It works without JavaScript. Mail scanners open links, so opening it spends nothing;
// only its form does (nx.md 3.4).

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

const (
	pageStyle = `body{font:1rem/1.5 system-ui,sans-serif;margin:0;color:#1b1f24;background:#f4f5f7}` +
		`main{max-width:24rem;margin:10vh auto;padding:2rem;background:#fff;border:1px solid #d5d9de;border-radius:.5rem}` +
		`h1{font-size:1.3rem;margin:0 0 1rem}label{display:block;margin:1rem 0 .25rem}` +
		`input{box-sizing:border-box;width:100%;font:inherit;padding:.5rem;border:1px solid #6b7480;border-radius:.25rem}` +
		`button{margin-top:1.5rem;width:100%;font:inherit;padding:.6rem;border:0;border-radius:.25rem;color:#fff;background:#0b5cad}` +
		`.problem{padding:.5rem .75rem;border-left:.25rem solid #b3261e;background:#fdecea}`

	titleNew  = "Set a new password"
	titleDone = "Your password has been reset!"
	titleOver = "This link is no longer good"
	titleStop = "That did not work"
)

// pagePolicy lets the page style itself by this one sheet and post to where it came from, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

type page struct {
	Title   string
	Problem string
	Token   string // "": no form
	Action  string
	Text    string
}

// Style is a whole element, because the policy names the sum of what stands between its tags.
func (page) Style() template.HTML { return "<style>" + pageStyle + "</style>" }

// resetLink is the address in the mail.
func (d *Dialect) resetLink(secret identity.Secret) string {
	return d.Issuer + d.Prefix + d.Base + resetPath + "?token=" + url.QueryEscape(secret.Reveal())
}

// openReset shows the form, if the link is still good.
func (d *Dialect) openReset(w http.ResponseWriter, r *http.Request) error {
	query, err := httpkit.ParseForm(r.URL.RawQuery)
	if err != nil || len(query["token"]) != 1 {
		return identity.TicketInvalid
	}
	secret := query.Get("token")
	if _, err := d.Recovery.Look(r.Context(), d.caller(r), identity.Secret(secret)); err != nil {
		return err
	}
	return d.writePage(w, http.StatusOK, page{Title: titleNew, Token: secret})
}

// submitReset sets the password that was typed.
func (d *Dialect) submitReset(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return &identity.Error{Kind: identity.Denied, Public: "Please open the link in the mail again, and use the form there.", Err: err}
	}
	form, err := httpkit.Form(r, maxBody)
	if err != nil {
		return err
	}
	if httpkit.Repeated(form) != "" || form.Get("token") == "" {
		return identity.TicketInvalid
	}
	password := form.Get("password")
	again := page{Title: titleNew, Token: form.Get("token")}
	switch {
	case password == "":
		again.Problem = "Please type a password."
		return d.writePage(w, http.StatusBadRequest, again)
	case password != form.Get("again"):
		again.Problem = "The two passwords differ. Please type them again."
		return d.writePage(w, http.StatusBadRequest, again)
	}
	err = d.Recovery.Reset(r.Context(), recovery.ResetInput{
		Caller: d.caller(r), Token: identity.Secret(again.Token), NewPassword: identity.Secret(password),
	})
	switch kind := identity.KindOf(err); kind {
	case identity.WeakPassword, identity.PasswordReused, identity.Invalid, identity.Busy: // the link is still good
		note(r, kind)
		status, m := refusal(err)
		refusalHeaders(w.Header(), status, err)
		again.Problem = said(m)
		return d.writePage(w, status, again)
	}
	if err != nil {
		return err
	}
	return d.writePage(w, http.StatusOK, page{Title: titleDone, Text: "You can sign in with it now. Wherever you were signed in, you have to sign in again."})
}

// said is a refusal as a sentence.
func said(m message) string {
	if m.Field == nil {
		return m.Message
	}
	return sentence(m.Field.Message)
}

// refusePage says no in HTML: a person is looking.
func (d *Dialect) refusePage(w http.ResponseWriter, r *http.Request, err error) {
	err = d.judged(r, err)
	status, m := refusal(err)
	refusalHeaders(w.Header(), status, err)
	p := page{Title: titleStop, Text: said(m)}
	if identity.KindOf(err) == identity.TicketInvalid {
		p = page{Title: titleOver, Text: "It was used before, or it is too old. Please ask for a new one."}
	}
	if err := d.writePage(w, status, p); err != nil {
		d.refuse(w, r, err)
	}
}

func (d *Dialect) writePage(w http.ResponseWriter, status int, p page) error {
	p.Action = d.Prefix + d.Base + resetPath
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Referrer-Policy", "no-referrer") // the address holds the token
	write(w, status, "text/html; charset=utf-8", body.Bytes())
	return nil
}
