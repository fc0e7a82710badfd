package nx

import (
	"bytes"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// The page at which people sign in with their Nx account where this house's people are the accounts (nx.md 5.3). It works without
// JavaScript, sends browsers back to configured addresses only, and what it sends along is good for a minute, once, for one client.

const authorizePath = "/nx/authorize"

//go:embed authorize.html
var authorizeText string

var authorizeTemplate = template.Must(template.New("authorize").Parse(authorizeText))

// authorization is what a client wants, and how far the person has come.
type authorization struct {
	Redirect string
	Client   string
	State    string
	Ticket   string // "": the password comes first
	Email    string
	Problem  string
	Action   string
}

func (authorization) Style() template.HTML { return page{}.Style() }

const maxParameter = 512

// wanted reads what the browser was sent with. It comes back in the form, and is not believed there either.
func (d *Dialect) wanted(r *http.Request, values url.Values) (authorization, error) {
	if d.Cloud.Upstream != nil {
		return authorization{}, identity.NotFound.Because("People sign in at the Nx Cloud, not here.")
	}
	if httpkit.Repeated(values) != "" {
		return authorization{}, identity.Invalid.Because("A parameter of the address comes twice.")
	}
	a := authorization{Redirect: values.Get("redirect_url"), Client: values.Get("client_id"), State: values.Get("state")}
	switch {
	case !slices.Contains(d.RedirectURLs, a.Redirect):
		return a, identity.Invalid.Because("The address to go back to is not a configured one.")
	case a.Client == "" || len(a.Client) > maxParameter || len(a.State) > maxParameter:
		return a, identity.Invalid.Because("The address names no client, or too much.")
	}
	same, err := d.Cloud.SameState(r.Context(), Door, identity.Secret(a.State), a.Redirect)
	if err == nil && !same {
		err = identity.Invalid.Because("This sign-in was begun for another page.")
	}
	return a, err
}

// openAuthorize answers GET /nx/authorize.
func (d *Dialect) openAuthorize(w http.ResponseWriter, r *http.Request) error {
	query, err := httpkit.ParseForm(r.URL.RawQuery)
	if err != nil {
		return err
	}
	a, err := d.wanted(r, query)
	if err != nil {
		return err
	}
	return d.writeAuthorize(w, http.StatusOK, a)
}

// cloudCaller is who asks this house as a cloud.
func (d *Dialect) cloudCaller(r *http.Request) identity.Caller { return httpkit.Caller(r, CloudDoor) }

// submitAuthorize takes a step of the page's form: the password, or the code after it.
func (d *Dialect) submitAuthorize(w http.ResponseWriter, r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return &identity.Error{Kind: identity.Denied, Public: "Please begin to sign in again, and use the form here.", Err: err}
	}
	form, err := httpkit.Form(r, maxBody)
	if err != nil {
		return err
	}
	a, err := d.wanted(r, form)
	if err != nil {
		return err
	}
	a.Ticket, a.Email = form.Get("ticket"), form.Get("email")
	var out signin.Outcome
	switch code := strings.TrimSpace(form.Get("code")); {
	case a.Ticket != "":
		out, err = d.SignIn.Proof(r.Context(), signin.ProofInput{Caller: d.cloudCaller(r), Ticket: signin.TicketRef{Secret: identity.Secret(a.Ticket)}, Code: code})
	case a.Email == "" || form.Get("password") == "":
		a.Problem = "Please type your e-mail address and your password."
		return d.writeAuthorize(w, http.StatusBadRequest, a)
	default:
		out, err = d.Cloud.Authorize(r.Context(), cloud.AuthorizeInput{
			Caller: d.cloudCaller(r), Login: a.Email, Password: identity.Secret(form.Get("password")), Client: a.Client, Redirect: a.Redirect,
		})
	}
	switch {
	case err != nil:
		return d.tryAgain(w, r, a, err)
	case out.Ticket != nil:
		a.Ticket = out.Ticket.Secret.Reveal()
		return d.writeAuthorize(w, http.StatusOK, a)
	}
	return d.goBack(w, a, out.Token)
}

// tryAgain shows the form once more, with what was wrong.
func (d *Dialect) tryAgain(w http.ResponseWriter, r *http.Request, a authorization, err error) error {
	switch kind := identity.KindOf(err); kind {
	case identity.BadCode:
	case identity.TicketInvalid:
		a.Ticket = ""
		err = identity.BadCredential.In("again", "That took too long, or too many tries. Please sign in again.")
	case identity.BadCredential, identity.Locked, identity.Suspended, identity.Unverified, identity.Restricted, identity.PasswordDue, identity.PasswordExpired, identity.Busy:
	case identity.FactorRequired:
		err = identity.FactorRequired.Because("This account needs a second factor and has none. Please set one up first.")
	default:
		return err
	}
	note(r, identity.KindOf(err))
	status, m := refusal(err)
	refusalHeaders(w.Header(), status, err)
	a.Problem = said(m)
	return d.writeAuthorize(w, status, a)
}

// goBack sends the browser where it came from, with the code.
func (d *Dialect) goBack(w http.ResponseWriter, a authorization, code identity.Secret) error {
	if code == "" {
		return errors.New("a sign-in at the page ended without a code")
	}
	address, err := url.Parse(a.Redirect)
	if err != nil {
		return err
	}
	query := address.Query()
	query.Set("code", code.Reveal())
	if a.State != "" {
		query.Set("state", a.State)
	}
	address.RawQuery = query.Encode()
	h := w.Header()
	h.Set("Location", address.String())
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (d *Dialect) writeAuthorize(w http.ResponseWriter, status int, a authorization) error {
	a.Action = d.Prefix + d.Base + authorizePath
	var body bytes.Buffer
	if err := authorizeTemplate.Execute(&body, a); err != nil {
		return err
	}
	address, err := url.Parse(a.Redirect)
	if err != nil {
		return err
	}
	// Browsers hold the redirect after a form against the same directive.
	w.Header().Set("Content-Security-Policy", strings.Replace(pagePolicy, "form-action 'self'", "form-action 'self' "+cloud.Origin(address), 1))
	// Not "no-referrer": without an origin the form could not be told from another site's.
	w.Header().Set("Referrer-Policy", "same-origin")
	write(w, status, "text/html; charset=utf-8", body.Bytes())
	return nil
}
