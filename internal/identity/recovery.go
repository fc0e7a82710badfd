package identity

import "time"

// RecoveryState is how far a request of somebody who lost her second factor has come.
type RecoveryState string

const (
	RecoveryWaiting  RecoveryState = "waiting" // confirmed by mail; an operator decides
	RecoveryApproved RecoveryState = "approved"
	RecoveryDenied   RecoveryState = "denied"
	RecoveryUsed     RecoveryState = "used"
)

// Recovery is the request of somebody who lost her second factor and has confirmed it by mail. Approved, it holds a code that works
// once in the place of that factor.
type Recovery struct {
	ID        RecoveryID
	SubjectID SubjectID
	Door      Door   // where she asked
	Address   string // where the mails went; another one by now, and the code is void
	State     RecoveryState
	Hash      []byte // of the code, keyed; nil: none yet
	CreatedAt time.Time
	DecidedAt time.Time
	UsedAt    time.Time
	ExpiresAt time.Time // of the request while it waits, then of the code
}

// Browser is one in which somebody entered a code and asked to be remembered: her own wish for codes rests there.
type Browser struct {
	Hash      []byte // SHA-256 of the mark that the browser keeps
	SubjectID SubjectID
	Door      Door
	SessionID SessionID // the session that it was seen with last; its sign-out forgets the browser
	UserAgent string
	CreatedAt time.Time
	ExpiresAt time.Time
}
