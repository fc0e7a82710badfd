package identity

import "time"

// Session is one subject signed in through one door, until its end. Tokens are its printed forms.
type Session struct {
	ID              SessionID
	SubjectID       SubjectID
	Door            Door
	ClientID        ClientID // "": the door has no clients
	OrganisationID  OrganisationID
	ActorID         SubjectID // while impersonating: who really acts
	OriginID        SessionID // while impersonating: the session from which it began, and with which it ends
	AMR             []string  // how she proved it (RFC 8176)
	Scopes          []string
	Remember        bool
	KeepsSpent      bool   // contract-bound: a spent refresh token stays good until its own end, and is no theft signal
	Generation      int64  // of the refresh family; only the newest is good
	Address         string // client address at sign-in
	UserAgent       string
	Attributes      []byte // the door's own JSON
	PreviousSignIn  time.Time
	AuthenticatedAt time.Time // when she last proved who she is
	CreatedAt       time.Time
	RefreshedAt     time.Time     // when Generation last went up
	SeenAt          time.Time     // for the idle clock; written at most once a minute
	IdleTTL         time.Duration // 0: no idle end
	ExpiresAt       time.Time     // the end; a refresh may move it, never past AbsoluteAt
	AbsoluteAt      time.Time
	EndedAt         time.Time // zero: alive
	EndReason       string
}

// Ends gives the instant at which the session ends if nobody uses it again.
func (s Session) Ends() time.Time {
	if s.IdleTTL > 0 {
		if idle := s.SeenAt.Add(s.IdleTTL); idle.Before(s.ExpiresAt) {
			return idle
		}
	}
	return s.ExpiresAt
}

// Acting chooses sessions in which somebody acts as another person. Empty fields choose all.
type Acting struct {
	OriginID       SessionID
	SubjectID      SubjectID      // as whom somebody acts
	OrganisationID OrganisationID // in which
	PersonID       SubjectID      // who acts, or as whom
}

// TokenKind keeps access, refresh and ID tokens and tickets from passing for one another.
type TokenKind string

const (
	AccessToken  TokenKind = "access"
	RefreshToken TokenKind = "refresh"
	IDToken      TokenKind = "id"
)

// OpaqueToken is the record of a token that carries nothing but randomness.
type OpaqueToken struct {
	Hash       []byte // SHA-256 of the token
	SessionID  SessionID
	Kind       TokenKind
	Generation int64 // of the session when it was printed
	CreatedAt  time.Time
	ExpiresAt  time.Time // swept some time later, so that "expired" can be told from "unknown"
}

// RevokedToken is a token without a session (client credentials) that was revoked before its end.
type RevokedToken struct {
	ID        string // jti
	ExpiresAt time.Time
}

// Ticket is a limited proof of having come half way: opaque, one purpose, minutes long, counted tries, spent once.
type Ticket struct {
	ID        TicketID
	Hash      []byte // SHA-256 of what its holder shows
	Purpose   string // "signin", "password-reset", …
	Door      Door
	SubjectID SubjectID
	Data      []byte // JSON of the verb that made it
	TriesLeft int
	CreatedAt time.Time
	ExpiresAt time.Time
	SpentAt   time.Time
}

// Attempts counts failures under one key (a login, an address) since its window began.
type Attempts struct {
	Key       string
	Count     int
	StartedAt time.Time
	ExpiresAt time.Time // when the window ends and the count starts anew
}

// LockedAt says whether tries are refused now, by the limit given.
func (a Attempts) LockedAt(now time.Time, tries int) bool {
	return tries > 0 && a.Count >= tries && now.Before(a.ExpiresAt)
}
