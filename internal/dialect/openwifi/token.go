package openwifi

import (
	"crypto/sha256"

	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
)

// tokenLength: 32 bytes in lower-case hex (openwifi.md 1.1).
const tokenLength = 64

// form reads access and refresh tokens alike: they are opaque, so the store knows which is which, and whether they are of the
// half of the door that the form is named for.
type form identity.Door

func (f form) Door() identity.Door { return identity.Door(f) }

// Looks accepts the one spelling, so that no token has two.
func (form) Looks(raw string) bool {
	if len(raw) != tokenLength {
		return false
	}
	for i := range len(raw) {
		if !isHex(raw[i]) {
			return false
		}
	}
	return true
}

func (f form) Read(raw string) (token.Facts, error) {
	if !f.Looks(raw) {
		return token.Facts{}, identity.TokenInvalid.Because("not a token of this door")
	}
	sum := sha256.Sum256([]byte(raw))
	return token.Facts{Door: f.Door(), Opaque: sum[:]}, nil
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }
