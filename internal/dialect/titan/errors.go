package titan

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// answer is this door's word for one Kind (titan.md 1.2, 1.3).
type answer struct {
	status int
	say    words
}

var (
	failed        = words{"These credentials do not match our records.", "Diese Zugangsdaten sind nicht bekannt."}
	unauthorized  = words{"Unauthenticated.", "Nicht angemeldet."}
	forbidden     = words{"You are not allowed to do this.", "Sie dürfen dies nicht tun."}
	invalidData   = words{"The given data was invalid.", "Die angegebenen Daten sind ungültig."}
	tooMany       = words{"Too many failed attempts. Please try again later.", "Zu viele Fehlversuche. Bitte versuchen Sie es später erneut."}
	changeFirst   = words{"Your password must be changed before you can sign in.", "Ihr Passwort muss vor der Anmeldung geändert werden."}
	weakPassword  = words{"The new password is too weak.", "Das neue Passwort ist zu schwach."}
	unavailable   = words{"The service is not available right now. Please try again later.", "Der Dienst ist zurzeit nicht verfügbar. Bitte versuchen Sie es später erneut."}
	notPermitted  = words{"This method is not allowed here.", "Diese Methode ist hier nicht erlaubt."}
	hubNotAllowed = words{"This hub cannot be entered.", "Dieser Hub kann nicht betreten werden."}
)

// answers has a word for every Kind. The core's own sentences are never shown: they are in one language.
var answers = map[identity.Kind]answer{
	identity.Internal:    {500, words{"Something went wrong.", "Es ist ein Fehler aufgetreten."}},
	identity.Unavailable: {503, unavailable},
	identity.Busy:        {503, words{"The service is busy. Please try again shortly.", "Der Dienst ist ausgelastet. Bitte versuchen Sie es gleich erneut."}},
	identity.Invalid:     {422, invalidData},
	identity.TooLarge:    {413, words{"The request is too large.", "Die Anfrage ist zu groß."}},
	identity.MediaType:   {415, words{"The content type must be application/json.", "Der Content-Type muss application/json sein."}},
	identity.NotFound:    {404, words{"Not found.", "Nicht gefunden."}},
	identity.Conflict:    {422, invalidData},
	identity.Denied:      {403, forbidden},

	identity.BadCredential:   {401, failed},
	identity.Locked:          {429, tooMany},
	identity.Throttled:       {429, words{"Too many requests. Please try again later.", "Zu viele Anfragen. Bitte versuchen Sie es später erneut."}},
	identity.Suspended:       {401, failed}, // the contract has one answer for these (titan.md 1.3)
	identity.Unverified:      {403, words{"Your mail address has not been confirmed yet.", "Ihre Mailadresse wurde noch nicht bestätigt."}},
	identity.PasswordExpired: {403, changeFirst},
	identity.PasswordDue:     {403, changeFirst},
	identity.Restricted:      {403, words{"You may not sign in at this hour or from this address.", "Sie dürfen sich zu dieser Zeit oder von dieser Adresse aus nicht anmelden."}},
	identity.FactorRequired:  {403, words{"A second factor is required that your account does not have.", "Es ist ein zweiter Faktor nötig, den Ihr Konto nicht hat."}},
	identity.BadCode:         {401, words{"The code is wrong or was used before.", "Der Code ist falsch oder wurde bereits verwendet."}},
	identity.WeakPassword:    {422, weakPassword},
	identity.PasswordReused:  {422, weakPassword},

	identity.TokenMissing:  {401, unauthorized},
	identity.TokenInvalid:  {401, unauthorized},
	identity.TokenExpired:  {401, unauthorized},
	identity.TokenRevoked:  {401, unauthorized},
	identity.TokenReused:   {401, unauthorized},
	identity.TicketInvalid: {401, words{"The code can no longer be entered. Please sign in again.", "Der Code kann nicht mehr eingegeben werden. Bitte melden Sie sich erneut an."}},

	identity.ClientInvalid:    {401, unauthorized},
	identity.ClientMissing:    {401, unauthorized},
	identity.GrantDenied:      {403, forbidden},
	identity.GrantUnsupported: {422, invalidData},
	identity.ScopeInvalid:     {422, invalidData},
}

// typeOf gives an error's type by its status. The contract's list has no word for 413 and 415; both are about what was sent.
func typeOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "unauthorized"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound:
		return "not_found"
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusTooManyRequests:
		return "too_many_requests"
	}
	if status >= 500 {
		return "server"
	}
	return "validation"
}

// exact is a case of a Kind for which the contract has an answer of its own.
type exact struct {
	kind identity.Kind
	answer
}

func (e *exact) Error() string { return e.say[english] }
func (e *exact) Unwrap() error { return e.kind }

var (
	wrongMethod = &exact{identity.Invalid, answer{http.StatusMethodNotAllowed, notPermitted}}
	// hubClosed: 401 is the only refusal that the contract lists (titan.md 3.3).
	// noVerification: unknown, used, expired and wrongly signed ones are one (titan.md 3.7).
	noVerification = &exact{identity.TicketInvalid, answer{http.StatusNotFound, words{"This link is no longer good.", "Dieser Link gilt nicht mehr."}}}
	hubClosed      = &exact{identity.Denied, answer{http.StatusUnauthorized, hubNotAllowed}}
)

// invalid says of each field what is wrong with it.
type invalid struct{ fields map[string][]words }

func (*invalid) Error() string { return "fields are wrong" }
func (*invalid) Unwrap() error { return identity.Invalid }

// describe words an error.
func describe(err error, l language) (int, failure) {
	kind := identity.KindOf(err)
	a, known := answers[kind]
	if !known {
		a = answers[identity.Internal]
	}
	var special *exact
	if errors.As(err, &special) {
		a = special.answer
	}
	f := failure{Code: a.status, Type: typeOf(a.status), Message: a.say[l]}
	if f.Type != "validation" {
		return a.status, f
	}
	f.Errors = &map[string][]string{}
	var wrong *invalid
	switch e := identity.Describe(err); {
	case errors.As(err, &wrong):
		for name, sentences := range wrong.fields {
			for _, w := range sentences {
				(*f.Errors)[name] = append((*f.Errors)[name], w.in(l, name))
			}
		}
	case kind == identity.Invalid && e.Field != "":
		(*f.Errors)[e.Field] = []string{givenTwice.in(l, e.Field)} // all that httpkit.Object has against a field
	}
	return a.status, f
}

// refuse answers with an error. It is the only place that picks a refusal's status.
func (d *Dialect) refuse(w http.ResponseWriter, r *http.Request, l language, err error) {
	if identity.KindOf(err) == identity.Internal && r.Context().Err() != nil {
		err = identity.Unavailable.Wrap(errors.Join(r.Context().Err(), err)) // cut off by the deadline, or nobody waits any more
	}
	kind := identity.KindOf(err)
	if e := httpkit.EventOf(r); e != nil {
		e.Kind, e.Refused = kind, true
	}
	if kind == identity.Internal {
		d.log().ErrorContext(r.Context(), "request failed", "door", Door, "path", r.Pattern, "err", err)
	}
	status, f := describe(err, l)
	h := w.Header()
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2: with every 401
	}
	if wait := identity.Describe(err).RetryAfter; wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	} else if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	body, err := httpkit.Marshal(refusal{Error: f, Timestamp: d.Now().UnixMilli()})
	if err != nil { // a refusal marshals
		d.log().ErrorContext(r.Context(), "a refusal cannot be printed", "door", Door, "err", err)
	}
	write(w, status, l, body)
}

func (d *Dialect) log() *slog.Logger {
	if d.Log != nil {
		return d.Log
	}
	return slog.Default()
}
