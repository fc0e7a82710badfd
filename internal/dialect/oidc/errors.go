package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
	"gatehouse/internal/oauth"
)

type said struct {
	status int
	code   string
	words  string // where the core gave none
}

// answers has this door's word for every Kind (RFC 6749, section 5.2). Whatever is wrong with a grant is invalid_grant: who
// shows a stolen token does not learn whether it was spent, ended or never was.
var answers = map[identity.Kind]said{
	identity.Internal:         {500, oauth.ServerError, "something went wrong here"},
	identity.Unavailable:      {503, oauth.TemporarilyUnavailable, "try again"},
	identity.Busy:             {503, oauth.TemporarilyUnavailable, "too much work is queued; try again"},
	identity.Invalid:          {400, oauth.InvalidRequest, "the request cannot be understood"},
	identity.TooLarge:         {413, oauth.InvalidRequest, "the request is too large"},
	identity.MediaType:        {400, oauth.InvalidRequest, "the body must be " + oauth.FormType},
	identity.NotFound:         {404, "not_found", "there is nothing here"},
	identity.Conflict:         {409, oauth.InvalidRequest, "this clashes with what stands"},
	identity.Denied:           {400, oauth.UnauthorizedClient, "this client may not do this"},
	identity.BadCredential:    {400, oauth.InvalidGrant, invalidGrant},
	identity.Locked:           {429, oauth.TemporarilyUnavailable, "too many failed tries"},
	identity.Throttled:        {429, oauth.TemporarilyUnavailable, "too many calls"},
	identity.Suspended:        {400, oauth.InvalidGrant, invalidGrant},
	identity.Unverified:       {400, oauth.InvalidGrant, invalidGrant},
	identity.PasswordExpired:  {400, oauth.InvalidGrant, invalidGrant},
	identity.PasswordDue:      {400, oauth.InvalidGrant, invalidGrant},
	identity.Restricted:       {400, oauth.AccessDenied, "not at this hour or from this address"}, // not invalid_grant: the token is good again later
	identity.FactorRequired:   {400, oauth.InvalidGrant, invalidGrant},
	identity.BadCode:          {400, oauth.InvalidGrant, invalidGrant},
	identity.WeakPassword:     {400, oauth.InvalidRequest, "the password is too weak"},
	identity.PasswordReused:   {400, oauth.InvalidRequest, "the password was used before"},
	identity.TokenMissing:     {400, oauth.InvalidRequest, "a token is needed"},
	identity.TokenInvalid:     {400, oauth.InvalidGrant, invalidGrant},
	identity.TokenExpired:     {400, oauth.InvalidGrant, invalidGrant},
	identity.TokenRevoked:     {400, oauth.InvalidGrant, invalidGrant},
	identity.TokenReused:      {400, oauth.InvalidGrant, invalidGrant},
	identity.TicketInvalid:    {400, oauth.InvalidGrant, invalidGrant},
	identity.ClientInvalid:    {401, oauth.InvalidClient, "unknown client or wrong secret"},
	identity.ClientMissing:    {401, oauth.InvalidClient, "a client is needed"},
	identity.GrantDenied:      {400, oauth.UnauthorizedClient, "this client may not use this grant"},
	identity.GrantUnsupported: {400, oauth.UnsupportedGrantType, "this grant type is not supported"},
	identity.ScopeInvalid:     {400, oauth.InvalidScope, "scope not allowed"},
}

// invalidGrant is one text for all that is wrong with a refresh token.
const invalidGrant = "the grant is invalid, expired, revoked or another client's"

// challenge goes with every 401 (RFC 9110, section 15.5.2; RFC 6749, section 5.2).
const challenge = `Basic realm="oauth2", charset="UTF-8"`

func refuse(e *identity.Error) (said, refusal) {
	a := answers[e.Kind]
	words := cmp.Or(e.Public, a.words)
	if a.code == oauth.InvalidGrant || e.Kind == identity.Internal {
		words = a.words // whatever the core said
	}
	return a, refusal{a.code, words}
}

// fail answers with this door's words, and logs what nobody foresaw.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.DeadlineExceeded) || r.Context().Err() != nil {
		err = identity.Unavailable.Wrap(err) // the deadline has passed, or the client has gone
	}
	e := identity.Describe(err)
	if event := httpkit.EventOf(r); event != nil {
		event.Refused, event.Kind = true, e.Kind
	}
	if e.Kind == identity.Internal {
		logs.In(nil, logs.Doors).ErrorContext(r.Context(), "unexpected", "door", Door, "path", r.URL.Path, "err", err)
	}
	row, body := refuse(e)
	h := w.Header()
	if row.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge)
	}
	if row.status == http.StatusServiceUnavailable || row.status == http.StatusTooManyRequests {
		wait := max(time.Second, e.RetryAfter)
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	send(w, row.status, body)
}

// wrongMethod refuses what no operation of the path answers to.
func wrongMethod(w http.ResponseWriter, r *http.Request, allow []string) {
	if event := httpkit.EventOf(r); event != nil {
		event.Refused, event.Kind = true, identity.Invalid
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	send(w, http.StatusMethodNotAllowed, refusal{oauth.InvalidRequest, "this method is not supported here"})
}

func send(w http.ResponseWriter, status int, body refusal) {
	text, err := httpkit.Marshal(body)
	if err != nil {
		logs.In(nil, logs.Doors).Error("a refusal cannot be printed", "door", Door, "err", err)
	}
	h := w.Header()
	noStore(h)
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// noStore keeps tokens, and what is said of them, out of every cache (RFC 6749, section 5.1).
func noStore(h http.Header) {
	h["Cache-Control"], h["Pragma"] = noStoreValue, noCacheValue
}

// Header values that are the same in every answer; they are shared, never changed.
var (
	noStoreValue = []string{"no-store"}
	noCacheValue = []string{"no-cache"}
	jsonValue    = []string{"application/json"}
)

// write answers with JSON that no cache may keep.
func write(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	answer(w, body)
	return nil
}

func answer(w http.ResponseWriter, body []byte) {
	h := w.Header()
	noStore(h)
	h["Content-Type"] = jsonValue
	_, _ = w.Write(body) // it fails where the client has gone
}
