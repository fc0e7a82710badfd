package oidc

import (
	"encoding/json"
	"net/http"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/oauth"
)

// Paths of the door.
const (
	configurationPath = "/.well-known/openid-configuration"
	serverPath        = "/.well-known/oauth-authorization-server"
	jwksPath          = "/oauth2/jwks"
	tokenPath         = "/oauth2/token"
	introspectPath    = "/oauth2/introspect"
	revokePath        = "/oauth2/revoke"
	openAPIPath       = "/oauth2/openapi.json"
)

// describeItself lists what works, and nothing else. Without an authorization endpoint there is no response type and no ID
// token yet; see DIVERGENCES.md.
func (d *Dialect) describeItself() httpkit.Document {
	secrets := []string{"client_secret_basic", "client_secret_post"}
	anyClient := append(secrets[:2:2], "none")
	body, err := json.Marshal(metadata{
		Issuer: d.Issuer, TokenEndpoint: d.Issuer + tokenPath, JWKSURI: d.Issuer + jwksPath,
		IntrospectionEndpoint: d.Issuer + introspectPath, RevocationEndpoint: d.Issuer + revokePath,
		GrantTypes: []string{oauth.ClientCredentials, oauth.RefreshToken}, ResponseTypes: []string{},
		SubjectTypes: []string{"public"}, IDTokenSigningAlgs: []string{},
		TokenAuthMethods: anyClient, IntrospectionAuthMethods: secrets, RevocationAuthMethods: anyClient,
	})
	if err != nil {
		panic("oidc: " + err.Error()) // strings in a struct always marshal
	}
	return httpkit.NewDocument(body, "application/json", published)
}

// published is how long others may keep what we publish: short beside the day for which a new key is shown before it signs.
const published = "public, max-age=300"

// jwks answers GET /oauth2/jwks (RFC 7517, section 5).
func (d *Dialect) jwks(w http.ResponseWriter, r *http.Request) {
	body, etag := d.Keys.JWKS()
	httpkit.Document{Body: body, ETag: etag, ContentType: "application/json", CacheControl: published}.ServeHTTP(w, r)
}
