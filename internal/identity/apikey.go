package identity

import "time"

// APIKey lets a program act as the subject who made it, until it ends. Only the hash of what its holder shows is stored.
type APIKey struct {
	ID          APIKeyID
	SubjectID   SubjectID
	Name        string // unique per subject
	Description string
	Hash        []byte // SHA-256
	Rights      []byte // JSON that only the door's clients understand; may be empty
	CreatedAt   time.Time
	ExpiresAt   time.Time // swept then
	LastUseAt   time.Time // zero: never used
}
