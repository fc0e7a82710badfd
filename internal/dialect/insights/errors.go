package insights

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

// answer is one row of insights.md 2.5. The words are protocol: clients match them, so no other text ever stands there, but for
// the requests that only we refuse.
type answer struct {
	status int
	code   string
	words  string
}

const (
	unauthorized     = "unauthorized"
	methodNotAllowed = "method_not_allowed"

	fullAuthentication = "Full authentication is required to access this resource"
	internalError      = "Internal Server Error"
)

// answers has this door's words for every Kind.
var answers = map[identity.Kind]answer{
	identity.Internal:         {500, oauth.ServerError, internalError},
	identity.Unavailable:      {503, oauth.TemporarilyUnavailable, "Service is temporarily unavailable"},
	identity.Busy:             {503, oauth.TemporarilyUnavailable, "Service is busy"},
	identity.Invalid:          {400, oauth.InvalidRequest, "Invalid request"},
	identity.TooLarge:         {413, oauth.InvalidRequest, "Request is too large"},
	identity.MediaType:        {415, oauth.InvalidRequest, "Unsupported media type"},
	identity.NotFound:         {404, "not_found", "Not Found"},
	identity.Conflict:         {409, oauth.InvalidRequest, "Conflict"},
	identity.Denied:           {403, oauth.InsufficientScope, "Insufficient scope for this resource"},
	identity.BadCredential:    {400, oauth.InvalidGrant, "Bad credentials"},
	identity.Locked:           {429, oauth.TemporarilyUnavailable, "Too many failures, try again later"},
	identity.Throttled:        {429, oauth.TemporarilyUnavailable, "Too many requests, try again later"},
	identity.Suspended:        {400, oauth.InvalidGrant, "User is disabled"},
	identity.Unverified:       {400, oauth.InvalidGrant, "User account is locked"},
	identity.PasswordExpired:  {400, oauth.InvalidGrant, "User credentials have expired"},
	identity.PasswordDue:      {400, oauth.InvalidGrant, "User credentials have expired"},
	identity.Restricted:       {400, oauth.AccessDenied, "Access is restricted by hour or address"}, // not invalid_grant: scripts would drop a token that is good again later
	identity.FactorRequired:   {400, oauth.InvalidGrant, "User needs a second factor"},
	identity.BadCode:          {400, oauth.InvalidGrant, "Bad credentials"},
	identity.WeakPassword:     {400, oauth.InvalidRequest, "Invalid request"},
	identity.PasswordReused:   {400, oauth.InvalidRequest, "Invalid request"},
	identity.TokenMissing:     {401, unauthorized, fullAuthentication},
	identity.TokenInvalid:     {401, oauth.InvalidToken, "Invalid access token"},
	identity.TokenExpired:     {401, oauth.InvalidToken, "Access token expired"},
	identity.TokenRevoked:     {401, oauth.InvalidToken, "Invalid access token"},
	identity.TokenReused:      {401, oauth.InvalidToken, "Invalid access token"},
	identity.TicketInvalid:    {401, oauth.InvalidToken, "Invalid access token"},
	identity.ClientInvalid:    {401, oauth.InvalidClient, "Bad client credentials"},
	identity.ClientMissing:    {401, unauthorized, fullAuthentication},
	identity.GrantDenied:      {401, oauth.InvalidClient, "Unauthorized grant type"},
	identity.GrantUnsupported: {400, oauth.UnsupportedGrantType, "Unsupported grant type"},
	identity.ScopeInvalid:     {400, oauth.InvalidScope, "Invalid scope"},
}

// grantAnswers are those that the token endpoint words otherwise: there a token is a refresh token.
var grantAnswers = map[identity.Kind]answer{
	identity.Denied:       {400, oauth.InvalidGrant, "Wrong client for this refresh token"},
	identity.TokenMissing: {400, oauth.InvalidRequest, "refresh_token parameter not provided"},
	identity.TokenInvalid: {400, oauth.InvalidGrant, "Invalid refresh token"},
	identity.TokenExpired: {401, oauth.InvalidToken, "Invalid refresh token (expired)"},
	identity.TokenRevoked: {400, oauth.InvalidGrant, "Invalid refresh token"},
	identity.TokenReused:  {400, oauth.InvalidGrant, "Invalid refresh token"},
}

// exact is a case of a Kind for which the contract has words of its own.
type exact struct {
	kind identity.Kind
	answer
	scope string // the member of that name
	allow string // the header of that name
}

func (e *exact) Error() string { return e.words }
func (e *exact) Unwrap() error { return e.kind }

var (
	missingGrantType = &exact{kind: identity.Invalid, answer: answer{400, oauth.InvalidRequest, "Missing grant type"}}
	implicitGrant    = &exact{kind: identity.GrantUnsupported, answer: answer{400, oauth.InvalidGrant, "Implicit grant type not supported from token endpoint"}}
	otherClient      = &exact{kind: identity.ClientInvalid, answer: answer{401, oauth.InvalidClient, "Given client ID does not match authenticated client"}}
)

func wrongMethod(method, allow string) error {
	return &exact{
		kind: identity.Invalid, allow: allow,
		answer: answer{http.StatusMethodNotAllowed, methodNotAllowed, "Request method '" + method + "' not supported"},
	}
}

func wrongScope(allowed string) error {
	return &exact{kind: identity.ScopeInvalid, answer: answers[identity.ScopeInvalid], scope: allowed}
}

// atToken is a refusal of the token endpoint: a token is a refresh token there, and the challenge depends on how the client
// named itself.
type atToken struct {
	error
	method oauth.Method
}

func (e *atToken) Unwrap() error { return e.error }

// refuse words an error: the one place that knows statuses.
func refuse(h http.Header, err error) (status int, body refusal) {
	kind := identity.KindOf(err)
	a := answers[kind]
	var there *atToken
	if errors.As(err, &there) {
		a = cmp.Or(grantAnswers[kind], a)
	}
	var special *exact
	if errors.As(err, &special) {
		a = special.answer
		body.Scope = special.scope
		if special.allow != "" {
			h.Set("Allow", special.allow)
		}
	}
	if e := identity.Describe(err); kind == identity.Invalid && special == nil {
		a.words = cmp.Or(e.Public, a.words) // requests that only we refuse, so that their words help
	}
	body.Error, body.Description = a.code, a.words
	if a.status == http.StatusUnauthorized || a.code == oauth.InsufficientScope {
		h.Set("WWW-Authenticate", challenge(there, a))
	}
	if wait := identity.Describe(err).RetryAfter; wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	} else if a.code == oauth.TemporarilyUnavailable {
		h.Set("Retry-After", "1")
	}
	noStore(h)
	return a.status, body
}

// challenge is the one WWW-Authenticate header of a 401. Its parameters are ours, none needs quoting.
func challenge(there *atToken, a answer) string {
	scheme := `Bearer realm="oauth2-resource"`
	if there != nil {
		if there.method != oauth.Form {
			return `Basic realm="oauth2/client"`
		}
		scheme = `Form realm="oauth2/client"`
	}
	return scheme + `, error="` + a.code + `", error_description="` + a.words + `"`
}

func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}
