// Package federated proves who somebody is at another house: the authorization code flow of OpenID Connect Core 1.0, section 3.1,
// with PKCE (RFC 7636), state and nonce, against any provider that publishes a discovery document.
//
//	Begin ─► the browser goes to the provider ─► Finish: code for ID token, and every check of section 3.1.3.7
//
// What a provider says is worth is the core's to decide. Providers are not ours, so nothing of theirs is taken as it comes: calls
// are few at once and short, answers small, and one that fails is left alone for a while.
package federated

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"gatehouse/internal/identity"
)

// AMR is what a session says of such a proof; RFC 8176 has no word for it.
const AMR = "fed"

// scopes are all that is asked for (titan.md 3.11).
var scopes = []string{oidc.ScopeOpenID, "email", "profile"}

// algorithms are those whose signatures are believed: none of them can be made with what we know.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

const (
	skew     = 2 * time.Minute  // that our clock and a provider's may differ
	patience = 10 * time.Second // for all calls of one step together
)

// Limits keep a provider in trouble from being ours.
type Limits struct {
	Calls       int           // that one provider may keep us waiting with at once; the next is refused
	Failures    int           // in a row, after which it is left alone …
	Rest        time.Duration // … this long
	FreshFor    time.Duration // how long its documents are taken for what it says now
	StaleFor    time.Duration // how long they serve while it cannot be asked
	KeyInterval time.Duration // between two looks for a key that it did not have
}

// DefaultLimits of Service.
var DefaultLimits = Limits{
	Calls: 16, Failures: 5, Rest: 5 * time.Second, FreshFor: 15 * time.Minute, StaleFor: 6 * time.Hour, KeyInterval: 30 * time.Second,
}

// Service talks to providers.
type Service struct {
	Client *http.Client // outbound.Client, with Inside below
	Limits Limits
	Now    func() time.Time
	Rand   io.Reader

	mu    sync.Mutex
	known map[string]*provider // by issuer and kind
	asked map[string]int       // calls of hosts of issuers that are under way
}

// Registration is what the operator and a provider agreed on.
type Registration struct {
	Provider    identity.IdentityProvider
	Secret      identity.Secret // "": none; PKCE alone stands for us
	RedirectURI string
}

// Challenge is what an answer must fit. It is kept from the browser, which carries state only.
type Challenge struct {
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // RFC 7636
}

// Answer is what a browser brings back.
type Answer struct {
	Code   identity.Secret
	Issuer string // RFC 9207; "": it says none
}

// Identity is who a provider says that somebody is.
type Identity struct {
	Authority  string // iss
	ExternalID string // sub
	Email      string
	Verified   bool // the provider says that the address is hers
	Name       string
	GivenName  string
	FamilyName string
	Locale     string
}

// provider is what is known of one, and how it has been of late.
type provider struct {
	issuer string
	kind   identity.ProviderKind
	calls  chan struct{}
	group  singleflight.Group

	mu       sync.Mutex
	metadata metadata
	readAt   time.Time
	keys     keys
	failures int
	restsTo  time.Time
}

// Changed forgets what was learned when the operator changes a provider. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	if slices.ContainsFunc(changes, func(c identity.Change) bool {
		return c.Kind == identity.ProvidersChanged || c.Kind == identity.EverythingChanged
	}) {
		s.mu.Lock()
		s.known = nil
		s.mu.Unlock()
	}
}

// Inside says whether a host is the issuer of a provider that is asked right now: what the operator wrote may be in his own network.
func (s *Service) Inside(hostport string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[hostport] > 0
}

// ask notes that a call of an issuer begins; end says that it is over.
func (s *Service) ask(issuer string) (end func()) {
	host := hostOf(issuer)
	count := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asked[host] += n; s.asked[host] == 0 {
			delete(s.asked, host)
		}
	}
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.mu.Unlock()
	count(1)
	return func() { count(-1) }
}

// maxKnown providers; the operator's are few.
const maxKnown = 200

func (s *Service) provider(r Registration) *provider {
	key := string(r.Provider.Kind) + " " + r.Provider.Issuer
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.known[key]
	if p == nil {
		p = &provider{issuer: r.Provider.Issuer, kind: r.Provider.Kind, calls: make(chan struct{}, s.Limits.Calls)}
		if s.known == nil || len(s.known) >= maxKnown {
			s.known = map[string]*provider{}
		}
		s.known[key] = p
	}
	return p
}

// Begin gives the address to send a browser to with a state of the caller's. Its refusals are Unavailable and Busy.
func (s *Service) Begin(ctx context.Context, r Registration, state string) (string, Challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := s.discover(ctx, s.provider(r))
	if err != nil {
		return "", Challenge{}, err
	}
	var ch Challenge
	for _, into := range []*string{&ch.Nonce, &ch.Verifier} {
		if *into, err = s.random(); err != nil {
			return "", Challenge{}, err
		}
	}
	to := s.config(r, m).AuthCodeURL(state, oidc.Nonce(ch.Nonce), oauth2.S256ChallengeOption(ch.Verifier))
	return to, ch, nil
}

func (s *Service) config(r Registration, m metadata) *oauth2.Config {
	style := oauth2.AuthStyleInHeader // client_secret_basic is what goes without saying (Discovery, section 3)
	basic := len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic")
	if r.Secret == "" || !basic && slices.Contains(m.AuthMethods, "client_secret_post") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: r.Provider.ClientID, ClientSecret: r.Secret.Reveal(), RedirectURL: r.RedirectURI, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: m.AuthURL, TokenURL: m.TokenURL, AuthStyle: style},
	}
}

// Finish exchanges the code and says who came. Its refusals are BadCredential where what came back proves nothing, and Unavailable
// and Busy where the provider cannot be asked.
func (s *Service) Finish(ctx context.Context, r Registration, ch Challenge, a Answer) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := s.provider(r)
	m, err := s.discover(ctx, p)
	if err != nil {
		return Identity{}, err
	}
	// Before the code is sent anywhere: it may be another provider's (RFC 9700, section 4.4).
	if (a.Issuer != "" || m.SaysIssuer) && !m.issues(p.kind, a.Issuer) {
		return Identity{}, refused(fmt.Errorf("the answer is of issuer %q, not of %q (RFC 9207)", a.Issuer, m.Issuer))
	}
	var token *oauth2.Token
	err = s.call(ctx, p, func(ctx context.Context) (err error) {
		token, err = s.config(r, m).Exchange(context.WithValue(ctx, oauth2.HTTPClient, s.Client), a.Code.Reveal(), oauth2.VerifierOption(ch.Verifier))
		return err
	})
	if err != nil {
		return Identity{}, exchange(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Identity{}, refused(errors.New("the answer has no ID token"))
	}
	c, err := s.verify(ctx, p, m, r, raw, ch.Nonce, token.AccessToken)
	if err != nil {
		return Identity{}, err
	}
	if c.Email == "" && m.UserInfoURL != "" && token.AccessToken != "" {
		// A provider may keep the address for its userinfo endpoint (Core, section 5.4).
		if err := s.userInfo(ctx, p, m, token.AccessToken, c); err != nil {
			return Identity{}, err
		}
	}
	return c.identity(p.kind), nil
}

// exchange words what went wrong with the code.
func exchange(err error) error {
	var said *oauth2.RetrieveError
	if errors.As(err, &said) && said.Response.StatusCode < 500 && said.Response.StatusCode != http.StatusTooManyRequests {
		if said.ErrorCode == "invalid_grant" || said.ErrorCode == "access_denied" {
			return refused(fmt.Errorf("the provider refuses the code: %s", said.ErrorCode))
		}
		// Our registration there is wrong; said.Error would quote the answer.
		return identity.Unavailable.Wrap(fmt.Errorf("the provider answers %d %q to our code", said.Response.StatusCode, said.ErrorCode))
	}
	if identity.KindOf(err) != identity.Internal {
		return err
	}
	return unavailable(err, 0)
}

// refused is an answer that proves nothing.
func refused(err error) error {
	return &identity.Error{Kind: identity.BadCredential, Public: "the identity provider's answer does not hold", Err: err}
}

func unavailable(err error, wait time.Duration) error {
	return &identity.Error{Kind: identity.Unavailable, Public: "the identity provider cannot be asked now", RetryAfter: wait, Err: bare(err)}
}

// bare leaves the address out of an error: the code may stand in it.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s: %w", u.Op, u.Err)
	}
	var said *oauth2.RetrieveError
	if errors.As(err, &said) {
		return fmt.Errorf("the provider answers %d", said.Response.StatusCode)
	}
	return err
}

// call asks the provider something, if it is not known to be in trouble.
func (s *Service) call(ctx context.Context, p *provider, ask func(context.Context) error) error {
	if wait := p.rests(s.Now()); wait > 0 {
		return unavailable(errors.New("it failed a moment ago and is left alone"), wait)
	}
	select {
	case p.calls <- struct{}{}:
		defer func() { <-p.calls }()
	default:
		return identity.Busy.After(time.Second, "too many people sign in with this identity provider; wait and try again")
	}
	defer s.ask(p.issuer)()
	err := ask(ctx)
	p.noted(s.Now(), s.Limits, trouble(ctx, err))
	return err
}

// trouble says whether an error is the provider's state rather than its word on the request.
func trouble(ctx context.Context, err error) bool {
	var said *oauth2.RetrieveError
	switch {
	case err == nil, errors.Is(ctx.Err(), context.Canceled): // the caller left
		return false
	case errors.As(err, &said):
		return said.Response.StatusCode >= 500 || said.Response.StatusCode == http.StatusTooManyRequests
	}
	return identity.KindOf(err) != identity.BadCredential
}

func (p *provider) rests(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restsTo.Sub(now)
}

func (p *provider) noted(now time.Time, l Limits, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !failed {
		p.failures = 0
		return
	}
	if p.failures++; p.failures >= l.Failures {
		p.failures, p.restsTo = 0, now.Add(l.Rest)
	}
}

func hostOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
