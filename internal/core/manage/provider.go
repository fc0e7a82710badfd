package manage

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/login"
	"gatehouse/internal/identity"
)

// Issuers of providers that have one for everybody.
const (
	GoogleIssuer    = "https://accounts.google.com"
	MicrosoftIssuer = "https://login.microsoftonline.com/common/v2.0"
)

// maxExternalID is what OpenID Connect Core, section 2, allows a sub.
const maxExternalID = 255

// maxIdentities of one person, whoever knows her.
const maxIdentities = 20

// ProviderPurpose is what a provider's client secret is sealed for: one provider, so that a sealed secret moved to another row is
// sent to nobody.
func ProviderPurpose(key string) string { return "identity-provider:" + key }

// SaveProviderIn makes or changes an identity provider, in the caller's transaction. The secret is sealed; where it is "", p.Sealed
// is taken as it is. A change that changes nothing writes nothing.
func (s *Service) SaveProviderIn(ctx context.Context, tx identity.Tx, caller identity.Caller, p identity.IdentityProvider, secret identity.Secret) (identity.IdentityProvider, error) {
	p = ProviderDefaults(p)
	if err := CheckProvider(p); err != nil {
		return p, err
	}
	if secret == "" {
		var err error
		if secret, err = s.ProviderSecret(p); err != nil {
			return p, identity.Invalid.In("client_secret_sealed", "was sealed with another master key or for another provider, or is damaged")
		}
	} else {
		p.Sealed = s.Box.Seal(ProviderPurpose(p.Key), []byte(secret.Reveal()))
	}
	if err := line("client_secret", secret.Reveal(), maxURI); err != nil {
		return p, err
	}
	now := s.Now()
	var before any
	old, err := tx.IdentityProvider(ctx, p.Key)
	switch {
	case err == nil:
		same, err := s.sameSecret(old, secret)
		if err != nil {
			return p, err
		}
		if same {
			p.Sealed = old.Sealed
		}
		if same && SameProvider(p, old) {
			return old, nil
		}
		p.CreatedAt, before = old.CreatedAt, viewProvider(old)
		if !p.SuspendedAt.IsZero() && !old.SuspendedAt.IsZero() {
			p.SuspendedAt = old.SuspendedAt
		}
	case !errors.Is(err, identity.NotFound):
		return p, err
	default:
		p.CreatedAt = now
	}
	p.UpdatedAt = now
	if err := tx.SaveIdentityProvider(ctx, p); err != nil {
		return p, err
	}
	return p, s.finish(ctx, tx, caller, identity.ProvidersChanged, p.Key, audit.Entry{
		Action: "provider.save", Before: before, After: viewProvider(p),
	})
}

// ProviderDefaults fills in what a provider of its kind need not say.
func ProviderDefaults(p identity.IdentityProvider) identity.IdentityProvider {
	if p.EmailTrust == "" {
		p.EmailTrust = identity.TrustVerified
	}
	if p.Issuer == "" {
		p.Issuer = map[identity.ProviderKind]string{
			identity.GoogleProvider: GoogleIssuer, identity.MicrosoftProvider: MicrosoftIssuer,
		}[p.Kind]
	}
	if p.Name == "" {
		p.Name = p.Key
	}
	return p
}

// ProviderSecret opens our client secret at a provider; "": we have none there.
func (s *Service) ProviderSecret(p identity.IdentityProvider) (identity.Secret, error) {
	if p.Sealed == nil {
		return "", nil
	}
	plain, err := s.Box.Open(ProviderPurpose(p.Key), p.Sealed)
	return identity.Secret(plain), err
}

func (s *Service) sameSecret(old identity.IdentityProvider, secret identity.Secret) (bool, error) {
	stored, err := s.ProviderSecret(old)
	return subtle.ConstantTimeCompare([]byte(stored.Reveal()), []byte(secret.Reveal())) == 1, err
}

// SameProvider says whether two are the same but for their secrets and times.
func SameProvider(a, b identity.IdentityProvider) bool {
	a, b = ProviderDefaults(a), ProviderDefaults(b)
	return a.Key == b.Key && a.Kind == b.Kind && a.Name == b.Name && a.Issuer == b.Issuer && a.ClientID == b.ClientID &&
		slices.Equal(a.Tenants, b.Tenants) && a.EmailTrust == b.EmailTrust && a.CreateAccounts == b.CreateAccounts &&
		a.SuspendedAt.IsZero() == b.SuspendedAt.IsZero()
}

// CheckProvider refuses what no provider can be, and what would open accounts to strangers.
func CheckProvider(p identity.IdentityProvider) error {
	if !providerKey(p.Key) {
		return identity.Invalid.In("key", "must be 1 to 50 small letters, digits and dashes: it stands in addresses")
	}
	if !slices.Contains([]identity.ProviderKind{identity.OpenIDProvider, identity.GoogleProvider, identity.MicrosoftProvider}, p.Kind) {
		return identity.Invalid.In("kind", "must be microsoft, google or oidc")
	}
	if p.ClientID == "" {
		return identity.Invalid.In("client_id", "is needed")
	}
	if err := errors.Join(line("name", p.Name, maxName), line("client_id", p.ClientID, maxName), lines("tenants", p.Tenants, maxName)); err != nil {
		return err
	}
	if err := issuer(p.Issuer); err != nil {
		return err
	}
	switch p.EmailTrust {
	case identity.TrustVerified, identity.TrustNever:
	case identity.TrustAlways:
		// In a tenant of her own anybody gives herself any address.
		if p.Kind == identity.MicrosoftProvider && len(p.Tenants) == 0 {
			return identity.Invalid.In("email", "always needs tenants: whoever administers one chooses its addresses")
		}
	default:
		return identity.Invalid.In("email", "must be verified, always or never")
	}
	if p.Kind == identity.OpenIDProvider && len(p.Tenants) > 0 {
		return identity.Invalid.In("tenants", "are known of microsoft and google only")
	}
	if p.Kind == identity.MicrosoftProvider && slices.ContainsFunc(p.Tenants, func(t string) bool { return !identity.ValidID(t) }) {
		return identity.Invalid.In("tenants", "must be tenant ids: UUIDs in lower case")
	}
	return nil
}

func providerKey(key string) bool {
	for _, r := range key {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return key != "" && len(key) <= 50
}

// issuer accepts an https address without query and fragment (OpenID Connect Discovery, section 3); http on this machine only,
// where nobody stands between.
func issuer(text string) error {
	if text == "" {
		return identity.Invalid.In("issuer", "is needed")
	}
	if err := line("issuer", text, maxURI); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(text, "?#") {
		return identity.Invalid.In("issuer", "must be an https address without query and fragment")
	}
	address, _ := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || address.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !here) {
		return identity.Invalid.In("issuer", "must be an https address; http is for this machine only")
	}
	return nil
}

func viewProvider(p identity.IdentityProvider) map[string]any {
	return map[string]any{
		"key": p.Key, "kind": p.Kind, "name": p.Name, "issuer": p.Issuer, "client_id": p.ClientID, "secret": p.Sealed != nil,
		"tenants": p.Tenants, "email": p.EmailTrust, "create_accounts": p.CreateAccounts, "suspended": !p.SuspendedAt.IsZero(),
	}
}

// DeleteProviderIn removes a provider, in the caller's transaction. Identities that came through it stay, and open nothing.
func (s *Service) DeleteProviderIn(ctx context.Context, tx identity.Tx, caller identity.Caller, key string) error {
	p, err := tx.IdentityProvider(ctx, key)
	if err != nil {
		return err
	}
	if err := tx.DeleteIdentityProvider(ctx, key); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.ProvidersChanged, key, audit.Entry{Action: "provider.delete", Before: viewProvider(p)})
}

// LinkIn gives somebody an identity, in the caller's transaction. Its refusals are Conflict where somebody has it, and Invalid.
func (s *Service) LinkIn(ctx context.Context, tx identity.Tx, caller identity.Caller, l identity.LinkedIdentity, reason string) error {
	for _, f := range []struct {
		field, value string
		limit        int
	}{{"authority", l.Authority, maxURI}, {"id", l.ExternalID, maxExternalID}, {"provider", l.Provider, maxKey}, {"email", l.Email, maxURI}} {
		if err := line(f.field, f.value, f.limit); err != nil {
			return err
		}
	}
	if l.Authority == "" || l.ExternalID == "" {
		return identity.Invalid.In("id", "is needed, and who gave it")
	}
	if l.Email != "" && !login.ValidEmail(l.Email) {
		l.Email = "" // for display only
	}
	hers, err := tx.LinkedIdentitiesOf(ctx, l.SubjectID)
	if err != nil {
		return err
	}
	if len(hers) >= maxIdentities {
		return identity.Conflict.Because("no more identities can be linked to this account")
	}
	if _, err := tx.LinkedIdentity(ctx, l.Authority, l.ExternalID); err == nil {
		return identity.Conflict.In("id", "is linked to another account") // asked first: a refused statement spoils the transaction
	} else if !errors.Is(err, identity.NotFound) {
		return err
	}
	l.CreatedAt, l.LastUseAt = s.Now(), identity.LinkedIdentity{}.LastUseAt
	if err := tx.CreateLinkedIdentity(ctx, l); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(l.SubjectID), audit.Entry{
		Action: "identity.link", SubjectID: l.SubjectID, After: viewLinked(l), Reason: reason,
	})
}

// UnlinkIn takes an identity away from somebody, in the caller's transaction, and ends her sessions but the one kept: they may rest
// on it. Who may ask, and what she is left with, was decided before.
func (s *Service) UnlinkIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, authority, externalID string, keep identity.SessionID) error {
	l, err := tx.LinkedIdentity(ctx, authority, externalID)
	if err != nil {
		return err
	}
	if err := tx.DeleteLinkedIdentity(ctx, id, authority, externalID); err != nil {
		return err
	}
	if err := s.Sessions.EndAllIn(ctx, tx, caller, id, keep, "identity unlinked"); err != nil {
		return err
	}
	if err := tx.DeleteTicketsOf(ctx, id, ""); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(id), audit.Entry{
		Action: "identity.unlink", SubjectID: id, Before: viewLinked(l),
	})
}

func viewLinked(l identity.LinkedIdentity) map[string]any {
	return map[string]any{"authority": l.Authority, "id": l.ExternalID, "provider": l.Provider, "email": l.Email}
}
