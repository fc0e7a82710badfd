package openwifi

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
)

// The reasons of a 403 (openwifi.md 1.2). This API never answers 401.
const (
	passwordChangeRequired = 1
	invalidCredentials     = 2
	passwordAlreadyUsed    = 3
	pendingVerification    = 4
	passwordInvalid        = 5
	accessDenied           = 7
	invalidToken           = 8
	expiredToken           = 9
	rateLimitExceeded      = 10
	badMFATransaction      = 11
	mfaFailure             = 12
	cannotRefresh          = 14
	accountSuspended       = 15
)

// The numbers before the words of a 400, as later releases have them, so that logs of both sides compare.
const (
	badJSON       = 1003
	badMethod     = 1004
	notUpdated    = 1012
	badParameters = 1018
	badCommand    = 1031
	idMissing     = 1037
	idNotZero     = 1038
	badRole       = 1039
	badEmail      = 1040
	passwordUsed  = 1041
	badNumber     = 1044
	badMFAMethod  = 1045
	badPassword   = 1047
	notSetUp      = 1055 // the authenticator
	notChecked    = 1057 // a code by SMS
	userExists    = 1061
	notBuilt      = 1062
	smsOff        = 1084
	mailOff       = 1085
	notSignedUp   = 1091
)

// answer is this door's word for one Kind.
type answer struct {
	status int
	code   int    // of a 403; elsewhere the code repeats the status
	number int    // before the words of a 400
	words  string // where the core says nothing that may be shown
	fixed  bool   // these words, whatever the core says
}

const (
	tokenWords = "The token is missing, unknown or revoked."
	restricted = "Signing in is not allowed at this hour or from this address."
	tryLater   = "The service is not available right now; try again."
)

var answers = map[identity.Kind]answer{
	identity.Internal:         {500, 0, 0, "Something went wrong on our side.", true},
	identity.Unavailable:      {503, 0, 0, tryLater, true},
	identity.Busy:             {503, 0, 0, "The service is busy; try again.", true},
	identity.Invalid:          {400, 0, badParameters, "The request cannot be understood.", false},
	identity.TooLarge:         {400, 0, badJSON, "The body is too large.", false},
	identity.MediaType:        {400, 0, badJSON, "The body is of a type that is not read here.", false},
	identity.NotFound:         {404, 0, 0, "There is no such record.", false},
	identity.Conflict:         {400, 0, notUpdated, "This clashes with a record that stands.", false},
	identity.Denied:           {403, accessDenied, 0, "You may not do this.", false},
	identity.BadCredential:    {403, invalidCredentials, 0, "The e-mail address or the password is wrong.", true},
	identity.Locked:           {403, rateLimitExceeded, 0, "Too many failed tries; wait and try again.", false},
	identity.Throttled:        {403, rateLimitExceeded, 0, "Too many calls; wait a second.", false},
	identity.Suspended:        {403, accountSuspended, 0, "This account is suspended.", true},
	identity.Unverified:       {403, pendingVerification, 0, "The e-mail address is not confirmed yet.", true},
	identity.PasswordExpired:  {403, passwordChangeRequired, 0, "The password has expired and must be changed.", true},
	identity.PasswordDue:      {403, passwordChangeRequired, 0, "The password must be changed first.", true},
	identity.Restricted:       {403, accessDenied, 0, restricted, false},
	identity.FactorRequired:   {403, mfaFailure, 0, "A second factor is needed, and this account has none that can be used here.", true},
	identity.BadCode:          {403, mfaFailure, 0, "The code is wrong or too late.", true},
	identity.WeakPassword:     {403, passwordInvalid, 0, "The new password breaks the password rule.", false},
	identity.PasswordReused:   {403, passwordAlreadyUsed, 0, "The new password was used before.", true},
	identity.TokenMissing:     {403, invalidToken, 0, tokenWords, true},
	identity.TokenInvalid:     {403, invalidToken, 0, tokenWords, true},
	identity.TokenExpired:     {403, expiredToken, 0, "The token has expired.", true},
	identity.TokenRevoked:     {403, invalidToken, 0, tokenWords, true},
	identity.TokenReused:      {403, cannotRefresh, 0, "The token cannot be refreshed; sign in again.", true},
	identity.TicketInvalid:    {403, mfaFailure, 0, "The code is wrong or too late.", true}, // as a wrong code: nobody learns which challenges are open
	identity.ClientInvalid:    {403, invalidToken, 0, "The service key is wrong.", true},
	identity.ClientMissing:    {403, invalidToken, 0, "A service key is needed.", true},
	identity.GrantDenied:      {403, accessDenied, 0, "You may not do this.", true},
	identity.GrantUnsupported: {400, 0, badParameters, "This grant is not supported.", true},
	identity.ScopeInvalid:     {400, 0, badParameters, "This scope is not supported.", true},
}

// at is a case of a Kind for which one operation has an answer of its own.
type at struct {
	error
	answer answer
}

func (e *at) Unwrap() error { return e.error }

// numbered puts another number before the words of a 400.
type numbered struct {
	error
	number int
}

func (e numbered) Unwrap() error { return e.error }

var (
	noOperation = numbered{identity.Invalid.Because("there is no operation with this method and path"), badMethod}
	// noResend is for unknown challenges, and for those whose codes are not sent (openwifi.md 1.6).
	noResend = answer{403, badMFATransaction, 0, "There is no challenge whose code could be sent again.", true}
	// noGoodToken: asked whether a token is good, this API says 404 where it is not (openwifi.md 1.13).
	noGoodToken = answer{404, 0, 0, "There is no such token.", true}
)

// atRefresh: whatever is wrong with the tokens of a refresh is one answer (openwifi.md 2.2).
func atRefresh(err error) error {
	switch identity.KindOf(err) {
	case identity.TokenMissing, identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked, identity.TokenReused:
		return &at{err, answers[identity.TokenReused]}
	case identity.Restricted: // the session stands: the same token is good again later
		return &at{err, answer{403, cannotRefresh, 0, restricted, false}}
	}
	return err
}

// userFields are the contract's names and numbers for the fields that the core's refusals speak of.
var userFields = map[string]struct {
	name   string
	number int
}{
	staff.FieldRole: {"userRole", badRole}, staff.FieldEmail: {"email", badEmail}, staff.FieldPolicy: {"securityPolicy", badParameters},
	staff.FieldFactor: {"mfa.method", badMFAMethod}, staff.FieldNumber: {"mobiles[0].number", badNumber},
	staff.FieldApp: {"The authenticator", notSetUp}, staff.FieldMailOff: {"", mailOff}, staff.FieldSMSOff: {"", smsOff},
	"auth_info": {"oauthUserInfo", badParameters},
}

// atUser: where users are made and changed, a bad password is a bad request, and refusals bear numbers of their own (openwifi.md
// 1.2, 1.8).
func atUser(err error) error {
	e := identity.Describe(err)
	switch e.Kind {
	case identity.WeakPassword:
		return &at{err, answer{400, 0, badPassword, "The password breaks the password rule.", false}}
	case identity.PasswordReused:
		return &at{err, answer{400, 0, passwordUsed, "The password was used before.", true}}
	case identity.Suspended: // of whom it is asked for, not the caller
		return &at{err, answer{400, 0, notUpdated, "She is suspended, and nothing is mailed to her.", true}}
	case identity.Conflict:
		if e.Field == staff.FieldEmail {
			return &at{err, answer{400, 0, userExists, "There is a user with this e-mail address.", true}}
		}
	case identity.Invalid:
		if f, ok := userFields[e.Field]; ok {
			return numbered{identity.Invalid.In(f.name, e.Public), f.number}
		}
	}
	return err
}

// refusal words an error: the one place that knows statuses.
func refusal(h http.Header, method string, err error) (int, errorBody) {
	e := identity.Describe(err)
	a, known := answers[e.Kind]
	if !known {
		a = answers[identity.Internal]
	}
	var special *at
	if errors.As(err, &special) {
		a = special.answer
	}
	var other numbered
	if errors.As(err, &other) && a.number != 0 {
		a.number = other.number
	}
	words := a.words
	if e.Public != "" && !a.fixed {
		words = sentence(e.Public)
		if e.Field != "" && e.Kind == identity.Invalid {
			words = e.Field + " " + strings.TrimSuffix(e.Public, ".") + "."
		}
	}
	number := cmp.Or(a.code, a.number)
	if number != 0 {
		words = strconv.Itoa(number) + ": " + words
	}
	if wait := e.RetryAfter; wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	} else if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	return a.status, errorBody{ErrorCode: cmp.Or(a.code, a.status), ErrorDetails: method, ErrorDescription: words}
}

// sentence is how a UI's toast wants the core's words.
func sentence(words string) string {
	first, size := utf8.DecodeRuneInString(words)
	words = string(unicode.ToUpper(first)) + words[size:]
	if !strings.HasSuffix(words, ".") {
		words += "."
	}
	return words
}
