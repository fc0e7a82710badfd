package identity

import "time"

// Event is one row of the audit log: who did what to whom, through which door, and how it went. It is written in the
// transaction of what it records, and sealed into the chain afterwards.
type Event struct {
	ID             EventID
	Seq            int64 // order of insertion, given by the store
	At             time.Time
	Action         string // "signin", "session.end", "subject.update", …
	Outcome        string // "ok" or the Kind of the refusal
	ActorID        SubjectID
	SubjectID      SubjectID
	SessionID      SessionID
	ClientID       ClientID
	OrganisationID OrganisationID
	Door           Door
	Address        string
	RequestID      string
	Detail         []byte // JSON object: reason, before, after; never a secret

	Position int64  // in the chain, from 1; 0: not sealed yet
	Chain    []byte // SHA-256 over the position before and this row
}

// Checkpoint is a signed statement of where the chain stood.
type Checkpoint struct {
	Position  int64
	Chain     []byte
	At        time.Time
	Signature string // compact JWS
	Anchor    bool   // rows up to Position were removed by retention; the chain starts here
}

// EventFilter chooses audit rows, newest first.
type EventFilter struct {
	SubjectID SubjectID // as actor or subject
	Door      Door
	Action    string
	Since     time.Time
	Before    int64 // Seq of the last row of the page before; 0: from the newest
	Limit     int
}

// Channel is how a message leaves the house.
type Channel string

const (
	Mail    Channel = "mail"
	SMS     Channel = "sms"
	Webhook Channel = "webhook"
)

// Message is a row of the outbox: written with what causes it, sent after commit.
type Message struct {
	ID         MessageID
	Channel    Channel
	Recipient  string
	Template   string // what it is about: "password-reset", …
	Sealed     []byte // JSON of deliver.Content, sealed: it holds links and codes
	Attempts   int
	LastError  string
	LeaseOwner string
	CreatedAt  time.Time
	NextAt     time.Time // not before
	LeaseUntil time.Time
	SentAt     time.Time // zero: not sent
	GivenUpAt  time.Time // zero: still tried
	ExpiresAt  time.Time // swept then
}

// MessageState filters the outbox.
type MessageState string

const (
	MessageWaiting MessageState = "waiting"
	MessageSent    MessageState = "sent"
	MessageGivenUp MessageState = "given-up"
)

// ChangeKind says what other nodes must notice.
type ChangeKind string

const (
	SessionChanged  ChangeKind = "session" // ended, or a new generation: forget what was cached of it
	SubjectChanged  ChangeKind = "subject" // suspended, changed, deleted
	RevocationAdded ChangeKind = "token"   // RevokedToken added
	// PopulationChanged goes with a subject's creation and deletion: whoever stands after her in a list moves by one place.
	PopulationChanged ChangeKind = "population"
	KeysChanged       ChangeKind = "keys"
	ClientChanged     ChangeKind = "client"
	PolicyChanged     ChangeKind = "policy" // a policy, an organisation with its sites, a role, or which organisation or subject has which policy
	ServicesChanged   ChangeKind = "services"
	LevelsChanged     ChangeKind = "levels"    // log levels
	ProvidersChanged  ChangeKind = "providers" // identity providers
	// LicencesChanged goes with what an organisation may use: of a licence of hers, or of an agreement ("": anybody's).
	LicencesChanged ChangeKind = "licences"
	// EverythingChanged is never stored: a tail that lost its place tells its listeners to forget all they cached.
	EverythingChanged ChangeKind = "all"
)

// Change is one row of the feed that nodes tail. Sequence numbers may commit out of order.
type Change struct {
	Seq  int64
	Kind ChangeKind
	ID   string // of the session, subject, …; may be empty
	At   time.Time
}
