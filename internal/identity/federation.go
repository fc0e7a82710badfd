package identity

import "time"

// ProviderKind says which provider's ways an OpenID provider has.
type ProviderKind string

const (
	OpenIDProvider    ProviderKind = "oidc"
	GoogleProvider    ProviderKind = "google"
	MicrosoftProvider ProviderKind = "microsoft" // one issuer for each of many tenants
)

// EmailTrust says which of a provider's addresses are believed to be the person's own.
type EmailTrust string

const (
	TrustVerified EmailTrust = "verified" // those that the provider says it has verified
	TrustAlways   EmailTrust = "always"   // all: the operator knows that this provider gives out no address that is not hers
	TrustNever    EmailTrust = "never"    // none: only identities that were linked before open an account
)

// IdentityProvider is another house's OpenID provider, at which people may prove who they are.
type IdentityProvider struct {
	Key            string // the operator's stable name for it; part of addresses that are registered there
	Kind           ProviderKind
	Name           string // as displayed
	Issuer         string // where its discovery document is found; for Microsoft perhaps that of many tenants
	ClientID       string // ours, given by the provider
	Sealed         []byte // our client secret there, sealed with the master key; nil: none (RFC 6749, section 2.1, public)
	Tenants        []string
	EmailTrust     EmailTrust
	CreateAccounts bool // whom nobody here knows gets an account, if her address is believed
	CreatedAt      time.Time
	UpdatedAt      time.Time
	SuspendedAt    time.Time // zero: in use
}

// LinkedIdentity says that whom an authority knows by an id is one of our subjects. Authority and id together are the key
// (OpenID Connect Core, section 5.7): an e-mail address is none, for it may be given to somebody else.
type LinkedIdentity struct {
	Authority  string // who knows her: an OpenID issuer, or a name of the house for one that speaks another protocol
	ExternalID string // what it calls her; compared byte by byte
	SubjectID  SubjectID
	Provider   string // key of the IdentityProvider through which she came; "": none
	Email      string // her address there when the link was made, for display
	CreatedAt  time.Time
	LastUseAt  time.Time // zero: never
}
