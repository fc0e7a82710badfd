package nxcloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

// Words of the cloud's token answer (nx.md 5.1).
const (
	factorRequired = "second_factor_required"
	factorDisabled = "2fa_disabled_for_the_user"
)

// ErrNoFactor is inside the refusal of a system that wants a second factor of an account that has none; its Kind is FactorRequired.
var ErrNoFactor = errors.New("the system wants a second factor and the account has none")

// Options of a client.
type Options struct {
	Base     string           // https://host, without /cdb
	ClientID string           // client_id of grants
	HTTP     *http.Client     // nil: one with the system's certificates
	Timeout  time.Duration    // of a call; 0: 4 s, which leaves an operation of 5 s the time to say what happened
	Now      func() time.Time // for expiry, and for how long a silent cloud is left alone
	Log      *slog.Logger     // hears of answers that make no sense
}

// Client calls one Nx Cloud.
type Client struct {
	base     *url.URL
	clientID string
	http     *http.Client
	timeout  time.Duration
	now      func() time.Time
	log      *slog.Logger
	breaker  breaker
}

// New makes a client. It makes no call.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Base)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the Nx Cloud: the base must be an http or https URL of a host, without user and query")
	}
	if o.Now == nil || o.Log == nil || o.ClientID == "" {
		return nil, errors.New("the Nx Cloud: a client id, a clock and a log are needed")
	}
	c := &Client{base: base, clientID: o.ClientID, http: &http.Client{}, timeout: cmp.Or(o.Timeout, 4*time.Second), now: o.Now, log: o.Log}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = 64, 16 // further calls queue, each within its time
		transport.MaxResponseHeaderBytes = 64 << 10
		c.http.Transport = transport
	}
	c.http.Jar = nil
	// A redirect would carry passwords and tokens to where the operator did not send them.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Origin is the cloud's, as browsers print it: sign-in pages elsewhere are a stranger's.
func (c *Client) Origin() string { return c.base.Scheme + "://" + c.base.Host }

// Reachable says whether the cloud answered lately. It makes no call.
func (c *Client) Reachable() bool { return !c.breaker.shut() }

// Grant is what the cloud gave for a password, a code or a refresh token.
type Grant struct {
	// Access is the account's token. It is empty while a second factor is due: then Limited holds the token, which is good for TOTP alone
	// and is lifted by it. So nobody takes the one for the other by forgetting to ask.
	Access, Limited identity.Secret
	Refresh         identity.Secret // may be empty
	Scope           string          // what the tokens are good for; "" for the whole cloud
	ExpiresAt       time.Time       // of the access token; zero where the cloud does not say
}

// FactorDue says whether TOTP comes next.
func (g Grant) FactorDue() bool { return g.Limited != "" }

var systemID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// SystemScope is the scope of one VMS system, by its id in the cloud. An id that cannot be one is identity.Invalid.
func SystemScope(system string) (string, error) {
	system = strings.TrimSuffix(strings.TrimPrefix(system, "{"), "}") // servers print their own ids with braces
	if !systemID.MatchString(system) {
		return "", identity.Invalid.Because("must be the id of a system")
	}
	return "cloudSystemId=" + system, nil
}

type grantRequest struct {
	GrantType    string `json:"grant_type"`
	ResponseType string `json:"response_type"`
	ClientID     string `json:"client_id"`
	Username     string `json:"username,omitempty"`
	Password     string `json:"password,omitempty"`
	Code         string `json:"code,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// Password signs in with the account's password. A wrong login and a wrong password are identity.BadCredential.
func (c *Client) Password(ctx context.Context, email string, password identity.Secret, scope string) (Grant, error) {
	return c.grant(ctx, identity.BadCredential, grantRequest{GrantType: "password", Username: email, Password: password.Reveal(), Scope: scope})
}

// Code exchanges the code that the cloud's sign-in page sent along. An unknown or spent one is identity.TicketInvalid.
func (c *Client) Code(ctx context.Context, code identity.Secret) (Grant, error) {
	return c.grant(ctx, identity.TicketInvalid, grantRequest{GrantType: "authorization_code", Code: code.Reveal()})
}

// Refresh exchanges a refresh token, for a narrower scope where one is named. A dead token is identity.TokenInvalid; a system that
// the account may not enter, identity.Denied.
func (c *Client) Refresh(ctx context.Context, refresh identity.Secret, scope string) (Grant, error) {
	return c.grant(ctx, identity.TokenInvalid, grantRequest{GrantType: "refresh_token", RefreshToken: refresh.Reveal(), Scope: scope})
}

func (c *Client) grant(ctx context.Context, refused identity.Kind, in grantRequest) (Grant, error) {
	in.ResponseType, in.ClientID = "token", c.clientID
	var out Grant
	err := c.call(ctx, request{
		op: "token", method: http.MethodPost, path: "/cdb/oauth2/token", body: in,
		refused: func(status int, why reason) identity.Kind {
			if status == http.StatusForbidden && in.Scope != "" && (in.GrantType != "password" || why.code == "forbidden") {
				return identity.Denied
			}
			return refused
		},
		read: func(m members) (err error) {
			out, err = c.readGrant(m, in.Scope)
			return err
		},
	})
	if err != nil {
		return Grant{}, err
	}
	return out, nil
}

func (c *Client) readGrant(m members, asked string) (Grant, error) {
	var g Grant
	word, err := m.text("error", 0, 200)
	if err != nil {
		return Grant{}, err
	}
	switch word {
	case "", factorRequired:
	case factorDisabled:
		return Grant{}, identity.FactorRequired.Wrap(ErrNoFactor)
	default:
		return Grant{}, fmt.Errorf("tokens with an error that is not known: %q", word)
	}
	access, err := m.token("access_token", true)
	if err != nil {
		return Grant{}, err
	}
	if g.Refresh, err = m.token("refresh_token", false); err != nil {
		return Grant{}, err
	}
	if kind, err := m.text("token_type", 0, 40); err != nil || kind != "" && !strings.EqualFold(kind, "bearer") {
		return Grant{}, fmt.Errorf("token_type is not bearer: %q", kind)
	}
	if g.Scope, err = m.text("scope", 0, 4096); err != nil {
		return Grant{}, err
	}
	if asked != "" && !m.has("scope") {
		return Grant{}, errors.New("a scope was asked for, and the answer names none")
	}
	if asked != "" && !covers(g.Scope, asked) {
		// What the web client reads as "this account is not in the system".
		return Grant{}, identity.Denied.Wrap(fmt.Errorf("asked for %q, the cloud gave %q", asked, g.Scope))
	}
	if g.ExpiresAt, err = m.expiry(c.now()); err != nil {
		return Grant{}, err
	}
	if word == factorRequired {
		g.Limited = access
	} else {
		g.Access = access
	}
	return g, nil
}

// covers says whether the scope that was given holds the one that was asked for; the cloud adds words of its own, and * for every system.
func covers(given, asked string) bool {
	for _, one := range strings.Fields(given) {
		if strings.EqualFold(one, asked) || strings.EqualFold(one, "cloudSystemId=*") {
			return true
		}
	}
	return false
}

// TOTP lifts a limited token by a code of the account's authenticator app: the same token is the access token from then on. A wrong
// code is identity.BadCode.
func (c *Client) TOTP(ctx context.Context, limited identity.Secret, code string) error {
	if !totp.WellFormed(code) || limited == "" {
		return identity.BadCode.Because("the code is wrong")
	}
	return c.call(ctx, request{
		op: "totp", method: http.MethodGet, path: "/cdb/account/self/2fa/totp/key/" + code, token: limited, query: url.Values{"token": {limited.Reveal()}},
		refused: func(int, reason) identity.Kind { return identity.BadCode },
		also:    []int{http.StatusBadRequest, http.StatusNotFound}, // the code stands in the path: an unknown one may be "no such key"
	})
}

// Account is whose token it is.
type Account struct {
	ID, Email, Name string // Name may be empty
}

// Account reads it. A token that is dead, or still limited, is identity.TokenInvalid.
func (c *Client) Account(ctx context.Context, access identity.Secret) (Account, error) {
	var out Account
	err := c.call(ctx, request{
		op: "account", method: http.MethodGet, path: "/cdb/account/self", token: access, bearer: true, again: true,
		refused: func(int, reason) identity.Kind { return identity.TokenInvalid },
		read: func(m members) (err error) {
			if out.ID, err = m.text("id", 1, 128); err != nil {
				return err
			}
			if out.Email, err = m.text("email", 3, 254); err != nil {
				return err
			}
			if at := strings.LastIndexByte(out.Email, '@'); at < 1 || at == len(out.Email)-1 {
				return errors.New("email is none")
			}
			for _, field := range []string{"full_name", "fullName", "name"} {
				if out.Name, err = m.text(field, 0, 1000); err != nil || out.Name != "" {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return Account{}, err
	}
	return out, nil
}

// Token is what the cloud says of a token.
type Token struct {
	Username  string // the account's e-mail address
	Scope     string
	ExpiresAt time.Time
}

// Token looks one up. A dead one is identity.TokenInvalid.
func (c *Client) Token(ctx context.Context, token identity.Secret) (Token, error) {
	var out Token
	err := c.call(ctx, request{
		op: "look-up", method: http.MethodGet, path: "/cdb/oauth2/token/" + url.PathEscape(token.Reveal()), token: token, bearer: true, again: true,
		refused: func(int, reason) identity.Kind { return identity.TokenInvalid },
		also:    []int{http.StatusNotFound},
		read: func(m members) (err error) {
			if out.Username, err = m.text("username", 1, 254); err != nil {
				return err
			}
			if out.Scope, err = m.text("scope", 0, 4096); err != nil {
				return err
			}
			out.ExpiresAt, err = m.expiry(c.now())
			return err
		},
	})
	if err != nil {
		return Token{}, err
	}
	return out, nil
}

// Revoke ends a token in the cloud. One that is dead already is no error. It may be repeated, and is tried again.
func (c *Client) Revoke(ctx context.Context, token identity.Secret) error {
	err := c.call(ctx, request{
		op: "revoke", method: http.MethodDelete, path: "/cdb/oauth2/token/" + url.PathEscape(token.Reveal()), token: token, bearer: true, again: true,
		refused: func(int, reason) identity.Kind { return identity.TokenInvalid },
		also:    []int{http.StatusNotFound},
	})
	if errors.Is(err, identity.TokenInvalid) {
		return nil
	}
	return err
}

// System is a VMS system that an account may enter.
type System struct {
	ID, Name, Status, Version string // all but ID may be empty
}

// Systems lists them.
func (c *Client) Systems(ctx context.Context, access identity.Secret) ([]System, error) {
	var out []System
	err := c.call(ctx, request{
		op: "systems", method: http.MethodGet, path: "/cdb/systems", token: access, bearer: true, again: true, most: 4 << 20,
		refused: func(int, reason) identity.Kind { return identity.TokenInvalid },
		list: func(all []members) error {
			out = make([]System, 0, len(all))
			for _, m := range all {
				var s System
				var err error
				if s.ID, err = m.text("id", 1, 64); err != nil {
					return err
				}
				for field, into := range map[string]*string{"name": &s.Name, "status": &s.Status, "version": &s.Version} {
					if *into, err = m.text(field, 0, 1000); err != nil {
						return err
					}
				}
				out = append(out, s)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
