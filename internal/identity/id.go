package identity

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
)

// Door is one dialect as the core sees it: a name in a session and an audience in a token.
type Door string

// Attributes are what one dialect knows about a record and the core does not understand, as JSON by door.
type Attributes map[Door][]byte
