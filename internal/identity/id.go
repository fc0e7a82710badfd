package identity

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// Ids are UUID text in lower case (version 7 where we make them), opaque to everybody but the store. Distinct types keep
// one from being passed for another.
type (
	SubjectID      string // who a session or token is about; never reused (OpenID Connect Core, section 2: sub)
	OrganisationID string
	SiteID         string
	MembershipID   string
	PolicyID       string
	CredentialID   string
	SessionID      string
	TicketID       string
	ClientID       string // chosen by the operator, not a UUID (RFC 6749, section 2.2)
	KeyID          string // kid
	EventID        string
	MessageID      string
	APIKeyID       string
	RecoveryID     string
)

// Door is one dialect as the core sees it: a name in a session and an audience in a token.
type Door string

// Attributes are what one dialect knows about a record and the core does not understand, as JSON by door.
type Attributes map[Door][]byte

// NewID makes an id: a UUID of version 7 (RFC 9562, section 5.7) from the clock and the randomness given, so that a test with
// both fixed gets the same ids again. It shows when it was made, so it is never a secret.
func NewID(now time.Time, rand io.Reader) (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(rand, u[6:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	ms := now.UnixMilli()
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	text := hex.AppendEncode(make([]byte, 0, 32), u[:])
	return string(text[:8]) + "-" + string(text[8:12]) + "-" + string(text[12:16]) + "-" + string(text[16:20]) + "-" + string(text[20:]), nil
}

// ValidID says whether text is a UUID in the one spelling that ids have: lower case, with dashes.
func ValidID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
