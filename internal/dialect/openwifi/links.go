package openwifi

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/core/system"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// The pages that links in mails open (openwifi.md 1.12). They work without JavaScript, in English and German.

const (
	actionLink = base + "/actionLink"
	linkTTL    = 24 * time.Hour
	signUpTTL  = time.Hour
	maxForm    = 16 << 10

	maxOperator = 200 // bytes of an operator's name
)

// The actions of a link.
const (
	passwordReset      = "password_reset"
	emailVerification  = "email_verification"
	signupVerification = "signup_verification" // shows the form that posts to …
	signupCompletion   = "signup_completion"
)

// linkRoutes are /actionLink, /signup (openwifi.md 1.12, 2.7).
func (d *Dialect) linkRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.pageRoute(http.MethodGet, "openLink", d.openLink),
		d.pageRoute(http.MethodPost, "submitLink", d.submitLink),
		d.route(http.MethodPost, base+"/signup", "signUp", d.signUp),
	}
}

// pageRoute is route for what answers a person: its refusals are pages.
func (d *Dialect) pageRoute(method, op string, h handler) httpkit.Route {
	return httpkit.Route{Method: method, Path: actionLink, Op: op, Handler: httpkit.Deadline(deadline, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			d.refusePage(w, r, err)
		}
	})}
}

// resetLink is for a mail that lets somebody set a new password.
func (d *Dialect) resetLink() recovery.Link { return d.link(passwordReset, linkTTL) }

// verificationLink is for a mail that has somebody confirm her address.
func (d *Dialect) verificationLink() recovery.Link { return d.link(emailVerification, linkTTL) }

func (d *Dialect) link(action string, ttl time.Duration) recovery.Link {
	return recovery.Link{TTL: ttl, Form: link.UUID, Address: func(secret identity.Secret) string {
		return d.Issuer + d.Prefix + actionLink + "?action=" + action + "&id=" + secret.Reveal()
	}}
}

// noLink is one answer for all that is no link, or no longer one (openwifi.md 1.12).
var noLink = identity.TicketInvalid.Because("this link is no longer good")

// openLink answers GET /actionLink. A link to confirm an address is followed at once, as the contract has it, though mail
// scanners open links: all that they can do is what its reader would. A new password needs the form.
func (d *Dialect) openLink(w http.ResponseWriter, r *http.Request) error {
	action, id, err := linkOf(r)
	if err != nil {
		return err
	}
	named(r, action)
	switch action {
	case passwordReset, signupVerification:
		_, holder, err := d.holder(r, id)
		if err != nil {
			return err
		}
		if !holder.Subject.SuspendedAt.IsZero() {
			return identity.Suspended
		}
		if action == signupVerification {
			return d.writePage(w, r, http.StatusOK, linkPage{form: id, rule: holder.Rule, action: signupCompletion}, sayFirst)
		}
		return d.writePage(w, r, http.StatusOK, linkPage{form: id, rule: holder.Rule, action: action, locale: holder.Subject.Locale}, sayNew)
	case emailVerification:
		return d.verify(w, r, id)
	}
	return noLink
}

// linkOf reads what a link says.
func linkOf(r *http.Request) (action string, id identity.Secret, err error) {
	q, err := queryOf(r)
	if err != nil {
		return "", "", noLink
	}
	if action, err = q.text("action"); err != nil {
		return "", "", noLink
	}
	text, err := q.text("id")
	if err != nil {
		return "", "", noLink
	}
	return action, identity.Secret(text), nil
}

// holder says whose link it is to set a new password, and which half of the door she belongs to.
func (d *Dialect) holder(r *http.Request, id identity.Secret) (*Dialect, recovery.Holder, error) {
	for _, half := range []*Dialect{d, d.forSubscribers()} {
		holder, err := d.Recovery.Look(r.Context(), half.caller(r), id)
		if identity.KindOf(err) == identity.TicketInvalid {
			continue
		}
		if e := httpkit.EventOf(r); e != nil {
			e.SubjectID = holder.Subject.ID // whoever reads her mail acts as her
		}
		return half, holder, err
	}
	return nil, recovery.Holder{}, noLink
}

func (d *Dialect) verify(w http.ResponseWriter, r *http.Request, id identity.Secret) error {
	for _, half := range []*Dialect{d, d.forSubscribers()} {
		if r.Method == http.MethodHead { // asks what GET would answer, and may change nothing (RFC 9110, section 9.3.2)
			err := d.Recovery.LookAtVerification(r.Context(), half.caller(r), id)
			if identity.KindOf(err) == identity.TicketInvalid {
				continue
			}
			if err != nil {
				return err
			}
			return d.writePage(w, r, http.StatusOK, linkPage{}, sayVerified)
		}
		subject, err := d.Recovery.Verify(r.Context(), half.caller(r), id)
		if identity.KindOf(err) == identity.TicketInvalid {
			continue
		}
		if err != nil {
			return err
		}
		if e := httpkit.EventOf(r); e != nil {
			e.SubjectID = subject.ID
		}
		return d.writePage(w, r, http.StatusOK, linkPage{locale: subject.Locale, onward: d.onward(&subject)}, sayVerified)
	}
	return noLink
}

// onward is where the staff sign in. Subscribers have a portal of their own, which we do not know.
func (d *Dialect) onward(s *identity.Subject) string {
	if s.Kind == identity.Customer {
		return ""
	}
	return d.UI
}

// submitLink answers POST /actionLink: the form of a new password. What it refuses leaves the link good.
func (d *Dialect) submitLink(w http.ResponseWriter, r *http.Request) error {
	action, _, err := linkOf(r)
	if err != nil || action != passwordReset && action != signupCompletion {
		return noLink
	}
	named(r, action)
	form, err := httpkit.Form(r, maxForm)
	if err != nil {
		return err
	}
	if httpkit.Repeated(form) != "" {
		return identity.Invalid.Because("a field is given more than once")
	}
	id := identity.Secret(form.Get("id"))
	half, holder, err := d.holder(r, id)
	if err != nil {
		return err
	}
	again := linkPage{form: id, rule: holder.Rule, action: action, locale: holder.Subject.Locale}
	first := form.Get("password1")
	if first != form.Get("password2") {
		return d.writePage(w, r, http.StatusBadRequest, again, sayDiffer)
	}
	in := recovery.ResetInput{Caller: half.caller(r), Token: id, NewPassword: identity.Secret(first)}
	if action == signupCompletion {
		in.Then = d.tellProvisioning
	}
	err = d.Recovery.Reset(r.Context(), in)
	problem, mayRetry := map[identity.Kind]say{
		identity.WeakPassword: sayWeak, identity.Invalid: sayWeak, identity.PasswordReused: sayReused,
		identity.Conflict: sayLater, identity.Busy: sayLater,
	}[identity.KindOf(err)]
	switch {
	case err == nil:
		return d.writePage(w, r, http.StatusOK, linkPage{locale: holder.Subject.Locale, onward: d.onward(&holder.Subject)}, sayDone)
	case !mayRetry:
		return err
	}
	return d.writePage(w, r, pageStatus(w.Header(), r, d.noted(r, err)), again, problem)
}

// provisioning is the service that a completed sign-up is told to (openwifi.md 2.7).
const provisioning = "owprov"

// tellProvisioning says that somebody who signed up has confirmed her address.
func (d *Dialect) tellProvisioning(ctx context.Context, tx identity.Tx, subject identity.Subject) error {
	own := attributesOf(&subject)
	id := own.SigningUp[strings.LastIndexByte(own.SigningUp, ':')+1:]
	if id == "" {
		return nil // she came by another way
	}
	return d.System.TellIn(ctx, tx, system.Call{
		Type: provisioning, Method: http.MethodPut, Path: base + "/signup?" + url.Values{"signupUUID": {id}, "operation": {"emailVerified"}}.Encode(),
		Header: func(service identity.Service, key identity.Secret) map[string]string {
			return map[string]string{"X-API-KEY": d.keyOf(service, key), "X-INTERNAL-NAME": d.Issuer}
		},
	})
}

// keyOf is the key that opens another service: the one it told, or the vendor's form of it.
func (d *Dialect) keyOf(service identity.Service, told identity.Secret) string {
	if told == "" && d.Derived {
		return derive(service.PublicURI)
	}
	return told.Reveal()
}

// signUp answers POST /signup: somebody becomes a subscriber (openwifi.md 2.7). All that she sends stands in the query.
func (d *Dialect) signUp(w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	asked := map[string]string{"email": "", "signupUUID": "", "owner": "", "operatorName": ""}
	for _, name := range []string{"email", "signupUUID", "owner", "operatorName"} {
		if asked[name], err = q.text(name); err != nil {
			return err
		}
		if asked[name] == "" {
			return identity.Invalid.In(name, "is required")
		}
	}
	for _, name := range []string{"signupUUID", "owner"} {
		if asked[name] = strings.ToLower(asked[name]); !identity.ValidID(asked[name]) {
			return identity.Invalid.In(name, "must be a UUID")
		}
	}
	if audit.Line(asked["operatorName"], maxOperator) != asked["operatorName"] {
		return identity.Invalid.In("operatorName", "must be one line of at most 200 bytes")
	}
	own, err := httpkit.Marshal(struct {
		SigningUp string `json:"signingUp"`
	}{asked["operatorName"] + ":" + asked["signupUUID"]})
	if err != nil {
		return err
	}
	subject, err := d.SignUp.Customer(r.Context(), signup.CustomerInput{
		Caller: httpkit.Caller(r, SubscriberDoor), Email: strings.ToLower(asked["email"]), Owner: asked["owner"],
		Locale: languageOf(r, ""), Attributes: identity.Attributes{Door: own}, Link: d.link(signupVerification, signUpTTL),
	})
	if identity.KindOf(err) == identity.Conflict {
		return numbered{identity.Conflict.Because("this address is registered, or its sign-up is under way"), notSignedUp}
	}
	if e := identity.Describe(err); e.Kind == identity.Invalid && e.Field == manage.FieldEmail {
		return numbered{err, badEmail}
	}
	if err != nil {
		return err
	}
	p, err := d.Profiles.Of(r.Context(), subject.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, userOf(&p))
}

// refusePage says no to a person.
func (d *Dialect) refusePage(w http.ResponseWriter, r *http.Request, err error) {
	err = d.noted(r, err)
	what := sayWrong
	switch identity.KindOf(err) {
	case identity.TicketInvalid:
		what = sayOver
	case identity.Suspended:
		what = saySuspended
	case identity.Unavailable, identity.Busy, identity.Internal:
		what = sayLater
	}
	if err := d.writePage(w, r, pageStatus(w.Header(), r, err), linkPage{}, what); err != nil {
		d.refuse(w, r, err)
	}
}

// pageStatus is 404 for what is no link, and 400 for whatever else is wrong with a request (openwifi.md 1.12).
func pageStatus(h http.Header, r *http.Request, err error) int {
	if identity.KindOf(err) == identity.TicketInvalid {
		return http.StatusNotFound
	}
	if status, _ := refusal(h, r.Method, err); status >= http.StatusInternalServerError {
		return status
	}
	return http.StatusBadRequest
}

// linkStyle is pageStyle with a form.
const linkStyle = pageStyle + `main{max-width:26rem}label{display:block;margin:1rem 0 .25rem;font-weight:600}` +
	`input{box-sizing:border-box;width:100%;font:inherit;padding:.6rem;border:1px solid #6b7480;border-radius:.25rem}` +
	`button{margin-top:1.5rem;width:100%;font:inherit;padding:.7rem;border:0;border-radius:.25rem;color:#fff;background:#0b5cad}` +
	`input:focus-visible,button:focus-visible{outline:3px solid #7fb2e5;outline-offset:1px}` +
	`ul{padding-left:1.25rem}.problem{padding:.5rem .75rem;border-left:.25rem solid #b3261e;background:#fdecea}` +
	`@media(max-width:30rem){body{background:#fff}main{margin:0;padding:1.5rem 1rem;border:0}}`

// linkPolicy is pagePolicy for a page that posts to where it came from.
var linkPolicy = func() string {
	sum := sha256.Sum256([]byte(linkStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}()

var (
	//go:embed links.html
	linksText string
	linksPage = template.Must(template.New("links").Parse(linksText))
)

// linkPage is what a page is about.
type linkPage struct {
	form   identity.Secret // the link's id, where the form is shown; "": it is not
	action string          // of the form
	rule   identity.PasswordRule
	locale string // of the person, where she is known
	onward string // where she goes from here; may be ""
}

// printed is what the template reads.
type printed struct {
	Language string
	Words    phrases
	Say      saying
	Form     string
	Action   string
	Pattern  string
	Least    int
	Rules    []string
	Onward   string
}

// Style is a whole element, because the policy names the sum of what stands between its tags.
func (printed) Style() template.HTML { return "<style>" + linkStyle + "</style>" }

func (d *Dialect) writePage(w http.ResponseWriter, r *http.Request, status int, p linkPage, what say) error {
	language := languageOf(r, p.locale)
	words := languages[language]
	out := printed{Language: language, Words: words, Say: words.says[what], Action: d.Prefix + actionLink + "?action=" + p.action, Onward: p.onward}
	if p.form != "" {
		out.Form, out.Pattern, out.Least, out.Rules = p.form.Reveal(), password.Pattern(p.rule), p.rule.MinLength, words.rules(p.rule)
	}
	var body bytes.Buffer
	if err := linksPage.Execute(&body, out); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", language)
	h.Add("Vary", "Accept-Language")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", linkPolicy)
	h.Set("Referrer-Policy", "no-referrer") // the address holds the link's secret
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // nothing is left to say to whoever hung up
	return nil
}

// languageOf gives the first language that the browser wants and we speak, else the person's, else English. Browsers send theirs
// in the order of preference.
func languageOf(r *http.Request, locale string) string {
	wanted := strings.SplitN(r.Header.Get("Accept-Language"), ",", 16)
	for _, tag := range append(wanted[:min(len(wanted), 15)], locale) {
		tag, quality, _ := strings.Cut(strings.TrimSpace(tag), ";")
		primary, _, _ := strings.Cut(strings.ReplaceAll(tag, "_", "-"), "-")
		if primary = strings.ToLower(strings.TrimSpace(primary)); strings.TrimSpace(quality) == "q=0" {
			continue
		}
		if _, spoken := languages[primary]; spoken {
			return primary
		}
	}
	return english
}

const english = "en"

// say is what a page tells.
type say int

const (
	sayNew say = iota
	sayFirst
	sayDiffer
	sayWeak
	sayReused
	sayLater
	sayDone
	sayVerified
	sayOver
	saySuspended
	sayWrong
)

type saying struct {
	Title   string
	Problem string // above the form
	Text    string // instead of it
}

// phrases are one language's words.
type phrases struct {
	New, Again, Set, AsListed, SignIn string
	says                              [sayWrong + 1]saying
	least, someClasses                string
	allClasses, previous              string
	hardToGuess, noCommon             string
}

// rules say what a new password must be.
func (p phrases) rules(rule identity.PasswordRule) []string {
	list := []string{fmt.Sprintf(p.least, max(rule.MinLength, 1))}
	switch {
	case rule.Classes >= 4:
		list = append(list, p.allClasses)
	case rule.Classes > 1:
		list = append(list, fmt.Sprintf(p.someClasses, rule.Classes))
	}
	if rule.History > 0 {
		list = append(list, fmt.Sprintf(p.previous, rule.History))
	}
	if rule.MinScore > 0 {
		list = append(list, p.hardToGuess)
	}
	return append(list, p.noCommon)
}

var languages = map[string]phrases{
	english: {
		New: "New password", Again: "The same again", Set: "Set the password", AsListed: "As the list above says", SignIn: "Sign in",
		least: "at least %d characters", someClasses: "%d of these: an upper-case letter, a lower-case letter, a digit, another character",
		allClasses:  "an upper-case letter (A–Z), a lower-case letter (a–z), a digit, and another character",
		previous:    "none of your last %d",
		hardToGuess: "hard to guess", noCommon: "neither a common one nor made of your name or address",
		says: [...]saying{
			sayNew:       {Title: "Set a new password"},
			sayFirst:     {Title: "Choose a password"},
			sayDiffer:    {Title: "Set a new password", Problem: "The two passwords differ. Please type them again."},
			sayWeak:      {Title: "Set a new password", Problem: "This password does not fit the rule. Please choose another."},
			sayReused:    {Title: "Set a new password", Problem: "You have used this password before. Please choose another."},
			sayLater:     {Title: "Please try again", Problem: "That did not work just now. Please try again.", Text: "That did not work just now. Please try again in a moment."},
			sayDone:      {Title: "Your password is set", Text: "You can sign in with it now. Wherever you were signed in, you have to sign in again."},
			sayVerified:  {Title: "Thank you", Text: "Your e-mail address is confirmed. You can sign in now."},
			sayOver:      {Title: "This link is not good", Text: "It was used before, is too old, or is not complete. Please ask for a new one."},
			saySuspended: {Title: "This account is suspended", Text: "Please ask whoever gave you the account."},
			sayWrong:     {Title: "That did not work", Text: "Please open the link in the mail again, and use the form there."},
		},
	},
	"de": {
		New: "Neues Passwort", Again: "Noch einmal dasselbe", Set: "Passwort setzen", AsListed: "Wie in der Liste darüber", SignIn: "Anmelden",
		least: "mindestens %d Zeichen", someClasses: "%d davon: ein Großbuchstabe, ein Kleinbuchstabe, eine Ziffer, ein anderes Zeichen",
		allClasses:  "ein Großbuchstabe (A–Z), ein Kleinbuchstabe (a–z), eine Ziffer und ein anderes Zeichen",
		previous:    "keines Ihrer letzten %d",
		hardToGuess: "schwer zu erraten", noCommon: "kein verbreitetes und keines aus Ihrem Namen oder Ihrer Adresse",
		says: [...]saying{
			sayNew:       {Title: "Neues Passwort setzen"},
			sayFirst:     {Title: "Wählen Sie ein Passwort"},
			sayDiffer:    {Title: "Neues Passwort setzen", Problem: "Die beiden Passwörter sind verschieden. Bitte geben Sie sie noch einmal ein."},
			sayWeak:      {Title: "Neues Passwort setzen", Problem: "Dieses Passwort entspricht nicht der Regel. Bitte wählen Sie ein anderes."},
			sayReused:    {Title: "Neues Passwort setzen", Problem: "Dieses Passwort hatten Sie schon einmal. Bitte wählen Sie ein anderes."},
			sayLater:     {Title: "Bitte versuchen Sie es noch einmal", Problem: "Das ging gerade nicht. Bitte versuchen Sie es noch einmal.", Text: "Das ging gerade nicht. Bitte versuchen Sie es gleich noch einmal."},
			sayDone:      {Title: "Ihr Passwort ist gesetzt", Text: "Sie können sich jetzt damit anmelden. Wo Sie angemeldet waren, müssen Sie sich neu anmelden."},
			sayVerified:  {Title: "Vielen Dank", Text: "Ihre E-Mail-Adresse ist bestätigt. Sie können sich jetzt anmelden."},
			sayOver:      {Title: "Dieser Link gilt nicht", Text: "Er wurde schon benutzt, ist zu alt oder nicht vollständig. Bitte fordern Sie einen neuen an."},
			saySuspended: {Title: "Dieses Konto ist gesperrt", Text: "Bitte wenden Sie sich an die Stelle, von der Sie es haben."},
			sayWrong:     {Title: "Das hat nicht geklappt", Text: "Bitte öffnen Sie den Link in der Mail noch einmal und benutzen Sie das Formular dort."},
		},
	},
}
