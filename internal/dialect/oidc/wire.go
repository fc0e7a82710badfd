package oidc

import "gatehouse/internal/identity"

// tokenAnswer is the answer of the token endpoint (RFC 6749, section 5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// introspection is the answer about a token (RFC 7662, section 2.2).
type introspection struct {
	Active    bool               `json:"active"`
	Scope     string             `json:"scope,omitempty"`
	ClientID  identity.ClientID  `json:"client_id,omitempty"`
	Username  string             `json:"username,omitempty"`
	TokenType string             `json:"token_type,omitempty"` // access tokens only
	TokenUse  identity.TokenKind `json:"token_use,omitempty"`  // ours: access or refresh
	Door      identity.Door      `json:"door,omitempty"`       // ours: the API that the token is for
	Expires   int64              `json:"exp,omitempty"`
	IssuedAt  int64              `json:"iat,omitempty"`
	NotBefore int64              `json:"nbf,omitempty"`
	Subject   string             `json:"sub,omitempty"`
	Audience  any                `json:"aud,omitempty"`
	Issuer    string             `json:"iss,omitempty"`
	ID        string             `json:"jti,omitempty"`
	Session   identity.SessionID `json:"sid,omitempty"`
	// Ours: the organisation that she uses; of a client's own token whose program it is, and as which device of hers it signed in.
	Organisation identity.OrganisationID `json:"org,omitempty"`
	Device       identity.DeviceID       `json:"device,omitempty"`
	// Entitlements are ours: what the person's organisation, or the device, is licensed for.
	Entitlements []string `json:"entitlements,omitempty"`
	AuthTime     int64    `json:"auth_time,omitempty"`
	AMR          []string `json:"amr,omitempty"`
	Actor        *actor   `json:"act,omitempty"`
}

// metadata is the server's description of itself (RFC 8414, section 2; OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	Issuer                   string   `json:"issuer"`
	TokenEndpoint            string   `json:"token_endpoint"`
	JWKSURI                  string   `json:"jwks_uri"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint"`
	RevocationEndpoint       string   `json:"revocation_endpoint"`
	GrantTypes               []string `json:"grant_types_supported"`
	ResponseTypes            []string `json:"response_types_supported"`
	SubjectTypes             []string `json:"subject_types_supported"`
	IDTokenSigningAlgs       []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
}

// refusal is an error answer (RFC 6749, section 5.2).
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}
