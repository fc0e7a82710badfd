package licence

import "errors"

// Why a document is refused; errors.Is finds them. The texts around them name times and ids, never a secret.
var (
	ErrMalformed  = errors.New("licence: malformed document")                    // not the one spelling of a licence document
	ErrType       = errors.New("licence: not this type of document")             // another token of the issuer, say
	ErrAlgorithm  = errors.New("licence: not signed with EdDSA")                 // whatever the key is
	ErrUnknownKey = errors.New("licence: signed with a key that is not known")   // fetch the issuer's keys again
	ErrSignature  = errors.New("licence: wrong signature")                       // altered, or made by somebody else
	ErrIssuer     = errors.New("licence: of another issuer")                     // not Verifier.Issuer
	ErrOther      = errors.New("licence: for somebody else")                     // for another device or organisation
	ErrRevoked    = errors.New("licence: revoked")                               // by the revocation list
	ErrOldList    = errors.New("licence: older revocation list than seen")       // or none, where one was seen
	ErrNotYet     = errors.New("licence: not valid yet")                         // before NotBefore
	ErrOver       = errors.New("licence: lease and grace are over")              // at or after GraceEndsAt
	ErrRolledBack = errors.New("licence: the clock is behind a time known past") // see the package's "Time"
	ErrMemory     = errors.New("licence: memory cannot be read or kept")         // Store fails: nothing is believed
)
