package federated

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

// metadata is what we read of a discovery document (OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	Issuer      string   `json:"issuer"`
	AuthURL     string   `json:"authorization_endpoint"`
	TokenURL    string   `json:"token_endpoint"`
	KeysURL     string   `json:"jwks_uri"`
	UserInfoURL string   `json:"userinfo_endpoint"`
	Algorithms  []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Challenges  []string `json:"code_challenge_methods_supported"`
	SaysIssuer  bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207, section 3
}

// tenantID stands in the issuer of Microsoft's documents for all tenants.
const tenantID = "{tenantid}"

// check refuses a document that is not the one that was asked for, or sends us and browsers to where nobody is sent.
func (m metadata) check(p *provider) error {
	asked, err := url.Parse(p.issuer)
	if err != nil {
		return err
	}
	if m.Issuer != p.issuer {
		// A Microsoft document for many tenants names a form of their issuers, and one that was asked for by a tenant's name or
		// by "consumers" that tenant's own (the v2.0 protocol's reference). It must still be of the house that was asked.
		named, err := url.Parse(m.Issuer)
		if p.kind != identity.MicrosoftProvider || err != nil || named.Scheme != asked.Scheme || named.Host != asked.Host {
			return fmt.Errorf("the document is of issuer %q, not of %q", m.Issuer, p.issuer)
		}
	}
	for name, text := range map[string]string{
		"authorization_endpoint": m.AuthURL, "token_endpoint": m.TokenURL, "jwks_uri": m.KeysURL, "userinfo_endpoint": m.UserInfoURL,
	} {
		if text == "" && name == "userinfo_endpoint" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("the document's %s is no address", name)
		}
		if u.Scheme != "https" && (u.Scheme != asked.Scheme || u.Host != asked.Host) {
			return fmt.Errorf("the document's %s is not https", name)
		}
	}
	if len(m.Challenges) > 0 && !slices.Contains(m.Challenges, "S256") {
		return errors.New("the provider knows no PKCE with S256 (RFC 7636)")
	}
	return nil
}

// many says whether the document is of many issuers, one for each tenant.
func (m metadata) many(kind identity.ProviderKind) bool {
	return kind == identity.MicrosoftProvider && strings.Contains(m.Issuer, tenantID)
}

// issues says whether an issuer is the document's; of Microsoft's tenants it is one of the form.
func (m metadata) issues(kind identity.ProviderKind, issuer string) bool {
	if !m.many(kind) {
		return issuer == m.Issuer
	}
	before, after, _ := strings.Cut(m.Issuer, tenantID)
	tenant, found := strings.CutPrefix(issuer, before)
	tenant, ends := strings.CutSuffix(tenant, after)
	return found && ends && identity.ValidID(tenant)
}

// discover gives the provider's document, from memory where it is fresh, and where it is stale and the provider cannot be asked.
func (s *Service) discover(ctx context.Context, p *provider) (metadata, error) {
	now := s.Now()
	p.mu.Lock()
	m, age := p.metadata, now.Sub(p.readAt)
	p.mu.Unlock()
	if m.Issuer != "" && age < s.Limits.FreshFor {
		return m, nil
	}
	err := s.once(ctx, p, "discovery", func(ctx context.Context) error {
		var fresh metadata
		if err := s.get(ctx, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration", "", &fresh); err != nil {
			return err
		}
		if err := fresh.check(p); err != nil {
			return err
		}
		p.mu.Lock()
		p.metadata, p.readAt = fresh, s.Now()
		p.mu.Unlock()
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && (p.metadata.Issuer == "" || now.Sub(p.readAt) > s.Limits.StaleFor) {
		return metadata{}, err
	}
	return p.metadata, nil
}

// once asks for a document once for all who want it at the same time. Whoever leaves does not take it from the others.
func (s *Service) once(ctx context.Context, p *provider, what string, ask func(context.Context) error) error {
	done := p.group.DoChan(what, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return nil, s.call(ctx, p, ask)
	})
	select {
	case r := <-done:
		if r.Err != nil && identity.KindOf(r.Err) == identity.Internal {
			return unavailable(r.Err, 0)
		}
		return r.Err
	case <-ctx.Done():
		return unavailable(ctx.Err(), 0)
	}
}

// get reads a JSON document; bearer "" shows nobody's token.
func (s *Service) get(ctx context.Context, address, bearer string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w, err := s.Client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body) // bounded by the client
	if err != nil {
		return err
	}
	if w.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answers %d", w.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(w.Header.Get("Content-Type")); err != nil || kind == "text/html" || kind == "application/jwt" {
		return fmt.Errorf("the provider answers with %q, not with JSON", kind)
	}
	return json.Unmarshal(body, into)
}

func (s *Service) random() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// userInfo fills in what the ID token left out (Core, section 5.3). Its answer counts only if it is about the same person.
func (s *Service) userInfo(ctx context.Context, p *provider, m metadata, token string, c *claims) error {
	var more claims
	if err := s.call(ctx, p, func(ctx context.Context) error { return s.get(ctx, m.UserInfoURL, token, &more) }); err != nil {
		if identity.KindOf(err) == identity.Internal {
			return unavailable(err, 0)
		}
		return err
	}
	if more.Subject != c.Subject {
		return refused(errors.New("userinfo is about somebody else (Core, section 5.3.2)"))
	}
	c.Email, c.EmailVerified = more.Email, more.EmailVerified
	for _, f := range []struct {
		into *text
		more text
	}{{&c.Name, more.Name}, {&c.GivenName, more.GivenName}, {&c.FamilyName, more.FamilyName}, {&c.Locale, more.Locale}} {
		if *f.into == "" {
			*f.into = f.more
		}
	}
	return nil
}

// text is a claim that is of use only as text; anything else is as good as absent.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// truth is a claim that providers write as true, "true", 1 or "1".
type truth bool

func (t *truth) UnmarshalJSON(b []byte) error {
	*t = truth(slices.Contains([]string{"true", `"true"`, "1", `"1"`}, string(b)))
	return nil
}

// instant is a time of a token: seconds since 1970.
type instant float64

func (i instant) time() time.Time { return time.Unix(int64(i), 0) }
