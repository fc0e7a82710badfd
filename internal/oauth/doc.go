// Package oauth holds the words of RFC 6749 that several doors borrow: grant types, error codes, the parameters of a request and
// the ways in which a client names itself. What a door says to which case stays with the door.
package oauth

// Grant types (RFC 6749, sections 4 and 6).
const (
	Password          = "password"
	RefreshToken      = "refresh_token"
	ClientCredentials = "client_credentials"
	Implicit          = "implicit" // never at a token endpoint; named to be refused
)

// Error codes (RFC 6749, sections 4.1.2.1 and 5.2; RFC 6750, section 3.1).
const (
	InvalidRequest         = "invalid_request"
	InvalidClient          = "invalid_client"
	InvalidGrant           = "invalid_grant"
	UnauthorizedClient     = "unauthorized_client"
	UnsupportedGrantType   = "unsupported_grant_type"
	InvalidScope           = "invalid_scope"
	InvalidToken           = "invalid_token"
	InsufficientScope      = "insufficient_scope"
	AccessDenied           = "access_denied"
	ServerError            = "server_error"
	TemporarilyUnavailable = "temporarily_unavailable"
)
