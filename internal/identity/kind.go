package identity

import (
	"errors"
	"fmt"
	"time"
)

// Kind is why the core said no. It is itself an error: errors.Is(err, identity.Locked).
// Each dialect holds one table with its own word for every Kind.
type Kind int

const (
	Internal         Kind = iota // zero value: an error nobody classified tells the client nothing
	Unavailable                  // the store or another part cannot be reached now; the same request may succeed later
	Busy                         // too much work is queued here; try again after RetryAfter
	Invalid                      // the request cannot mean anything
	TooLarge                     // the request is over a size limit
	MediaType                    // the body is of a type that the door does not read
	NotFound                     // no such record, or none that the caller may know about
	Conflict                     // the record clashes with one that stands
	Denied                       // the caller is known, and may not do this
	BadCredential                // unknown login and wrong password share this Kind, on purpose
	Locked                       // too many failures for this login or from this address
	Throttled                    // too many calls
	Suspended                    // right credential, suspended subject
	Unverified                   // right credential, address not confirmed yet
	PasswordExpired              // right credential, password past its age, and the door has no step to change it
	PasswordDue                  // right credential, must be changed first, and the door has no step to change it
	Restricted                   // right credential, but not at this hour or from this address
	FactorRequired               // right credential, second factor due, and the door has no second step
	BadCode                      // wrong, stale or used second factor
	WeakPassword                 // the new password breaks the rule
	PasswordReused               // the new password is among the remembered ones
	TokenMissing                 // no token where one is needed
	TokenInvalid                 // malformed, unknown, another door's or another kind's token
	TokenExpired                 // a token of ours past its end
	TokenRevoked                 // its session was ended
	TokenReused                  // a spent refresh token came again after its grace; the family is ended
	TicketInvalid                // unknown, spent or expired ticket, one answer for all
	ClientInvalid                // unknown client or wrong client secret
	ClientMissing                // no client named where one is needed
	GrantDenied                  // the client may not use this grant
	GrantUnsupported             // nobody may use this grant here
	ScopeInvalid                 // the scope is not allowed
	kinds                        // how many there are
)

var kindNames = [...]string{
	Internal: "internal", Unavailable: "unavailable", Busy: "busy", Invalid: "invalid", TooLarge: "too large",
	MediaType: "media type", NotFound: "not found", Conflict: "conflict", Denied: "denied",
	BadCredential: "bad credential", Locked: "locked", Throttled: "throttled", Suspended: "suspended",
	Unverified: "unverified", PasswordExpired: "password expired", PasswordDue: "password due",
	Restricted: "restricted", FactorRequired: "factor required", BadCode: "bad code", WeakPassword: "weak password",
	PasswordReused: "password reused", TokenMissing: "token missing", TokenInvalid: "token invalid",
	TokenExpired: "token expired", TokenRevoked: "token revoked", TokenReused: "token reused",
	TicketInvalid: "ticket invalid", ClientInvalid: "client invalid", ClientMissing: "client missing",
	GrantDenied: "grant denied", GrantUnsupported: "grant unsupported", ScopeInvalid: "scope invalid",
}

// Kinds lists every Kind, so that a dialect's test can find the gap in its table.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error gives the Kind's name; it is for logs, never for clients.
func (k Kind) Error() string {
	if k < 0 || k >= kinds {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Because attaches words that are safe to show to whoever sent the request.
func (k Kind) Because(public string) error { return &Error{Kind: k, Public: public} }

// In is Because for one field of the request, by the name that the sender used.
func (k Kind) In(field, public string) error { return &Error{Kind: k, Field: field, Public: public} }

// After is Because with the time after which the same request may succeed.
func (k Kind) After(wait time.Duration, public string) error {
	return &Error{Kind: k, Public: public, RetryAfter: wait}
}

// Wrap classifies an error from below. Its text stays inside.
func (k Kind) Wrap(err error) error { return &Error{Kind: k, Err: err} }

// Error is a Kind with what a door may say about it.
type Error struct {
	Kind       Kind
	Public     string        // safe to show to whoever sent the request; may be empty
	Field      string        // the request's field at fault; may be empty
	RetryAfter time.Duration // Busy, Locked, Throttled, Unavailable: when to try again; may be 0
	TriesLeft  int           // BadCode: tries that the ticket has left
	Err        error         // the cause, for the log
}

func (e *Error) Error() string {
	text := e.Kind.Error()
	if e.Field != "" {
		text += " " + e.Field
	}
	if e.Public != "" {
		text += ": " + e.Public
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes errors.Is(err, identity.Locked) hold.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the outermost Kind of err, Internal where nobody classified it.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Internal
}

// Describe gives the outermost Error of err; an unclassified error becomes an Internal one.
func Describe(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var k Kind
	if errors.As(err, &k) {
		return &Error{Kind: k}
	}
	return &Error{Kind: Internal, Err: err}
}
