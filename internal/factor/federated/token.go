package federated

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/identity"
)

// claims are what we read of an ID token and of userinfo.
type claims struct {
	Issuer        string  `json:"iss"`
	Subject       string  `json:"sub"`
	Party         text    `json:"azp"`
	IssuedAt      instant `json:"iat"`
	Email         text    `json:"email"`
	EmailVerified truth   `json:"email_verified"`
	DomainOwner   truth   `json:"xms_edov"` // Microsoft: the address's domain belongs to the tenant
	Tenant        text    `json:"tid"`      // Microsoft
	Hosted        text    `json:"hd"`       // Google: the organisation that hosts the account
	Name          text    `json:"name"`
	GivenName     text    `json:"given_name"`
	FamilyName    text    `json:"family_name"`
	Locale        text    `json:"locale"`
}

// maxSubject bounds a sub (Core, section 2: 255 ASCII characters).
const maxSubject = 255

func (c *claims) identity(kind identity.ProviderKind) Identity {
	return Identity{
		Authority: c.Issuer, ExternalID: c.Subject, Email: string(c.Email), Name: string(c.Name), GivenName: string(c.GivenName),
		FamilyName: string(c.FamilyName), Locale: string(c.Locale),
		Verified: bool(c.EmailVerified) || kind == identity.MicrosoftProvider && bool(c.DomainOwner),
	}
}

// verify makes every check of Core, section 3.1.3.7.
func (s *Service) verify(ctx context.Context, p *provider, m metadata, r Registration, raw, nonce, access string) (*claims, error) {
	allowed := algorithms
	if len(m.Algorithms) > 0 {
		allowed = slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(m.Algorithms, a) })
		if len(allowed) == 0 {
			return nil, refused(errors.New("the provider signs with no algorithm that is believed"))
		}
	}
	many := m.many(p.kind)
	signed := &keySet{s: s, p: p, m: m}
	verifier := oidc.NewVerifier(m.Issuer, signed, &oidc.Config{
		ClientID: r.Provider.ClientID, SupportedSigningAlgs: allowed, SkipIssuerCheck: many,
		Now: func() time.Time { return s.Now().Add(-skew) }, // it has no tolerance for exp of its own
	})
	token, err := verifier.Verify(ctx, raw)
	if signed.away != nil {
		return nil, signed.away
	}
	if err != nil {
		return nil, refused(err)
	}
	var c claims
	if err := token.Claims(&c); err != nil {
		return nil, refused(err)
	}
	if p.kind == identity.GoogleProvider {
		c.Issuer = m.Issuer // it may leave "https://" out, and is the same all the same
	}
	switch {
	case !m.issues(p.kind, c.Issuer):
		return nil, refused(fmt.Errorf("the token is of issuer %q, not of %q", c.Issuer, m.Issuer))
	case many && c.Issuer != strings.Replace(m.Issuer, tenantID, string(c.Tenant), 1):
		return nil, refused(fmt.Errorf("the token is of issuer %q and of tenant %q", c.Issuer, c.Tenant))
	case !printable(c.Subject):
		return nil, refused(errors.New("the token is about nobody"))
	case len(token.Audience) > 1 && c.Party == "", c.Party != "" && string(c.Party) != r.Provider.ClientID:
		return nil, refused(fmt.Errorf("the token is for %q (azp)", c.Party))
	case token.Nonce == "" || !same(token.Nonce, nonce):
		return nil, refused(errors.New("the token answers another request (nonce)"))
	case c.IssuedAt.time().After(s.Now().Add(skew)):
		return nil, refused(errors.New("the token is not issued yet (iat)"))
	}
	if token.AccessTokenHash != "" && access != "" {
		if err := token.VerifyAccessToken(access); err != nil {
			return nil, refused(err)
		}
	}
	return &c, allowedTenant(r.Provider, &c)
}

// allowedTenant holds to the operator's list, where there is one.
func allowedTenant(p identity.IdentityProvider, c *claims) error {
	tenant := c.Tenant
	if p.Kind == identity.GoogleProvider {
		tenant = c.Hosted
	}
	if len(p.Tenants) > 0 && !slices.Contains(p.Tenants, string(tenant)) {
		return &identity.Error{Kind: identity.Denied, Public: "this identity provider is for other organisations", Err: fmt.Errorf("tenant %q", tenant)}
	}
	return nil
}

func printable(sub string) bool {
	return sub != "" && len(sub) <= maxSubject && !strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r > '~' })
}

// keys are a provider's, and when they were looked for.
type keys struct {
	set     []jose.JSONWebKey
	readAt  time.Time
	askedAt time.Time
}

const (
	maxKeys    = 50
	minRSABits = 2048
)

// keySet checks signatures with a provider's keys. A key that it does not have makes it look again, but rarely: key ids come from
// strangers.
type keySet struct {
	s    *Service
	p    *provider
	m    metadata
	away error // the keys cannot be had: no word on the token
}

// VerifySignature gives the payload of a token that one of the keys signed. The algorithm was looked at before.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	allowed := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		allowed[i] = jose.SignatureAlgorithm(a)
	}
	token, err := jose.ParseSigned(raw, allowed)
	if err != nil {
		return nil, err
	}
	header := token.Signatures[0].Header
	for _, again := range []bool{false, true} {
		set, err := k.read(ctx, again)
		if err != nil {
			k.away = err // go-oidc would only quote it
			return nil, err
		}
		for i := range set {
			key := &set[i]
			if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
				continue
			}
			if payload, err := token.Verify(key); err == nil {
				return payload, nil
			}
			if header.KeyID != "" {
				return nil, errors.New("the signature is not this key's")
			}
		}
	}
	return nil, errors.New("signed with no key of the provider's")
}

// read gives the keys; again: those that are known were not enough.
func (k *keySet) read(ctx context.Context, again bool) ([]jose.JSONWebKey, error) {
	now, limits := k.s.Now(), k.s.Limits
	k.p.mu.Lock()
	have := k.p.keys
	fresh := have.set != nil && now.Sub(have.readAt) < limits.FreshFor
	enough := fresh && !again || have.set != nil && now.Sub(have.askedAt) < limits.KeyInterval
	k.p.mu.Unlock()
	if enough {
		return have.set, nil
	}
	err := k.s.once(ctx, k.p, "keys", func(ctx context.Context) error {
		k.p.mu.Lock()
		k.p.keys.askedAt = k.s.Now()
		k.p.mu.Unlock()
		var document struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if err := k.s.get(ctx, k.m.KeysURL, "", &document); err != nil {
			return err
		}
		set := usable(document.Keys)
		if len(set) == 0 {
			return errors.New("the provider publishes no key that can be used")
		}
		k.p.mu.Lock()
		k.p.keys.set, k.p.keys.readAt = set, k.s.Now()
		k.p.mu.Unlock()
		return nil
	})
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	if err != nil && (k.p.keys.set == nil || now.Sub(k.p.keys.readAt) > limits.StaleFor) {
		return nil, err
	}
	return k.p.keys.set, nil
}

// usable gives the public keys for signatures; what we do not know, and what is too short, is left out.
func usable(raw []json.RawMessage) []jose.JSONWebKey {
	var set []jose.JSONWebKey
	for _, one := range raw[:min(len(raw), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(one, &key) != nil || !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
			continue
		}
		if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSABits {
			continue
		}
		set = append(set, key)
	}
	return set
}
