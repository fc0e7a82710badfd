package nx

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/identity"
)

// answer is this door's word for one Kind.
type answer struct {
	status int
	text   string // said where the core says nothing that may be shown
	ended  bool   // AuthorizationInvalid: drop the tokens and sign in again
	field  string // the field at fault where the core names none
}

const (
	tryLater   = "The service is not available right now. Please try again."
	signIn     = "Please sign in again."
	checkField = "Please check the marked field."
)

// answers follow nx.md 1.8. Texts are short: the public client reads no answer of 400 bytes (nx.md 1.4).
var answers = map[identity.Kind]answer{
	identity.Internal:         {http.StatusInternalServerError, "Something went wrong on our side.", false, ""},
	identity.Unavailable:      {http.StatusServiceUnavailable, tryLater, false, ""},
	identity.Busy:             {http.StatusServiceUnavailable, "The service is busy. Please try again.", false, ""},
	identity.Invalid:          {http.StatusBadRequest, "The request could not be understood.", false, ""},
	identity.TooLarge:         {http.StatusRequestEntityTooLarge, "The request is too large.", false, ""},
	identity.MediaType:        {http.StatusUnsupportedMediaType, "The body must be application/json.", false, ""},
	identity.NotFound:         {http.StatusNotFound, "Not found.", false, ""},
	identity.Conflict:         {http.StatusConflict, "This clashes with something that exists.", false, ""},
	identity.Denied:           {http.StatusForbidden, "You are not allowed to do this.", false, ""},
	identity.BadCredential:    {http.StatusUnauthorized, "E-mail or password is wrong.", false, ""}, // no session was lost
	identity.Locked:           {http.StatusTooManyRequests, "Too many tries. Please wait and try again.", false, ""},
	identity.Throttled:        {http.StatusTooManyRequests, "Too many requests. Please wait and try again.", false, ""},
	identity.Suspended:        {http.StatusForbidden, "This account is blocked.", false, ""},
	identity.Unverified:       {http.StatusForbidden, "This account is not activated yet.", false, ""},
	identity.PasswordExpired:  {http.StatusForbidden, "The password has expired. Please ask for a new one.", false, ""},
	identity.PasswordDue:      {http.StatusForbidden, "The password must be changed. Please ask for a new one.", false, ""},
	identity.Restricted:       {http.StatusForbidden, "Signing in is not allowed at this hour or from this address.", false, ""},
	identity.FactorRequired:   {http.StatusForbidden, "A second factor is needed: sign in with /nx/login and /nx/totp.", false, ""},
	identity.BadCode:          {http.StatusUnauthorized, "The code is wrong.", false, ""},
	identity.WeakPassword:     {http.StatusBadRequest, "is too weak", false, "Password"},
	identity.PasswordReused:   {http.StatusBadRequest, "was used before", false, "Password"},
	identity.TokenMissing:     {http.StatusUnauthorized, signIn, true, ""},
	identity.TokenInvalid:     {http.StatusUnauthorized, signIn, true, ""},
	identity.TokenExpired:     {http.StatusUnauthorized, signIn, true, ""},
	identity.TokenRevoked:     {http.StatusUnauthorized, signIn, true, ""},
	identity.TokenReused:      {http.StatusUnauthorized, signIn, true, ""},
	identity.TicketInvalid:    {http.StatusBadRequest, "is no longer good; please ask for a new one", false, "Token"},
	identity.ClientInvalid:    {http.StatusUnauthorized, "Unknown client.", false, ""},
	identity.ClientMissing:    {http.StatusUnauthorized, "Unknown client.", false, ""},
	identity.GrantDenied:      {http.StatusForbidden, "You are not allowed to do this.", false, ""},
	identity.GrantUnsupported: {http.StatusBadRequest, "This is not supported.", false, ""},
	identity.ScopeInvalid:     {http.StatusBadRequest, "This is not supported.", false, ""},
}

// ownWords are Kinds whose text here always wins: the core's would say more than a client may act on, or name steps that
// this door does not have.
var ownWords = map[identity.Kind]bool{
	identity.Internal: true, identity.Unavailable: true, identity.BadCredential: true, identity.PasswordDue: true, identity.PasswordExpired: true, identity.TicketInvalid: true,
	identity.TokenMissing: true, identity.TokenInvalid: true, identity.TokenExpired: true, identity.TokenRevoked: true, identity.TokenReused: true,
}

// fieldNames are this door's words for the fields that the core names.
var fieldNames = map[string]string{
	manage.FieldEmail: "Email", signup.FieldPassword: "Password", signup.FieldName: "Name", signup.FieldCompany: "Company",
	manage.FieldPhone: "PhoneNumber",
}

// fieldName keeps out what a stranger invents: a name that she gave twice comes back in a refusal, and would make it long.
var fieldName = regexp.MustCompile(`^[A-Za-z_]{1,40}$`)

// refusal is what a client reads of an error.
func refusal(err error) (int, message) {
	e := identity.Describe(err)
	a, known := answers[e.Kind]
	if !known {
		a = answers[identity.Internal]
	}
	text := a.text
	if e.Public != "" && (!ownWords[e.Kind] || e.Field != "") {
		text = e.Public
	}
	m := message{AuthorizationInvalid: a.ended, Message: sentence(text)}
	name := cmp.Or(fieldNames[e.Field], e.Field, a.field)
	if fieldName.MatchString(name) {
		m.Field = &field{Message: text, Name: name}
		m.Message = checkField
	}
	return a.status, m
}

// sentence makes one of words that the core has no need to punctuate.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "!") {
		text += "."
	}
	return text
}

// at names the field that a refusal of the core is about, for the Kinds given: only the handler knows what its sender called
// it.
func at(err error, name string, kinds ...identity.Kind) error {
	var e *identity.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, k := range kinds {
		if e.Kind == k {
			named := *e
			named.Field = name
			return &named
		}
	}
	return err
}
