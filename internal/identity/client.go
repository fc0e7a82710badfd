package identity

import "time"

// Client is who asks for tokens on a subject's behalf or its own (RFC 6749, section 2).
type Client struct {
	ID           ClientID
	Name         string
	SecretHash   string   // "{SHA256}hex" for secrets that we generated, a password hash for chosen ones, "": public
	Grants       []string // RFC 6749 and extension grant types that it may use
	Scopes       []string // allowed, in the order in which answers list them
	RedirectURIs []string
	Audiences    []string // resource servers that its tokens are for
	SigningAlg   string   // of its tokens; "": ES256
	// OrganisationID is whose program it is; "": the house's. DeviceID is the device of that organisation's as which it signs in; "": none.
	// It goes when they do: a client that outlived its device would pass for the whole organisation, or for the house.
	OrganisationID OrganisationID
	DeviceID       DeviceID
	Attributes     Attributes
	CreatedAt      time.Time
	UpdatedAt      time.Time
	SuspendedAt    time.Time
}

// SigningKey is one key of the ring. Published before it is used, kept until the last token that it signed has ended.
type SigningKey struct {
	ID          KeyID
	Algorithm   string // JWS alg: ES256, EdDSA, RS256
	Public      []byte // JWK
	Sealed      []byte // private key, PKCS #8, sealed with the master key
	CreatedAt   time.Time
	ActivatesAt time.Time // signs from here
	RetiresAt   time.Time // signs until here
	ExpiresAt   time.Time // verifies until here
}

// Setting is a value that belongs to the whole house and that no file holds: a server secret, a flag.
type Setting struct {
	Name      string
	Sealed    []byte
	UpdatedAt time.Time
}
