// Package token holds what a token says, whichever door printed it. Each dialect prints and reads its own form; the house
// acts on Facts alone.
package token

import (
	"time"

	"gatehouse/internal/identity"
)

// MaxLength is the longest text that is looked at as a token, in bytes.
const MaxLength = 8 << 10

// Facts are what a token of ours states. A signed token states them itself; of an opaque one the store knows them.
type Facts struct {
	ID         string // jti, or for an opaque token the hex of its hash
	Kind       identity.TokenKind
	Door       identity.Door
	SessionID  identity.SessionID // "": a client's own token, or a ticket
	TicketID   identity.TicketID  // the token is only good for the next step of this ticket
	SubjectID  identity.SubjectID
	ClientID   identity.ClientID
	Scopes     []string
	Audience   []string
	Generation int64     // of the session's refresh family when it was printed
	IssuedAt   time.Time // zero: the form has no room to say it
	NotBefore  time.Time // zero: at once
	ExpiresAt  time.Time

	// Of a client's own token: whose program it is ("": the house's), and as which device of hers it signed in ("": none).
	OrganisationID identity.OrganisationID
	DeviceID       identity.DeviceID

	// Opaque is the SHA-256 under which the store knows the token; all but Door is read from there.
	Opaque []byte
}

// Form is how one door reads its tokens. Read checks signature, algorithm, type and issuer, but no times: those are judged in
// one place, core/session. Whatever is not a token of this form is identity.TokenInvalid.
type Form interface {
	Door() identity.Door
	// Looks says at a glance whether raw might be of this form. It proves nothing.
	Looks(raw string) bool
	Read(raw string) (Facts, error)
}
