package config

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

// Config is everything that an operator decides about one node.
type Config struct {
	Listen         string // public listener, host:port
	InternalListen string // service-to-service listener; empty = off
	Issuer         string // public base URL without a trailing slash
	Data           string // data directory
	Database       identity.Secret
	NoMigrate      bool
	ShutdownGrace  time.Duration
	TLSCert        string
	TLSKey         string
	MasterKey      identity.Secret // base64, 32 bytes; empty = the file in the data directory. See MasterKeyBytes.
	TrustedProxies []netip.Prefix

	SMTPURL       identity.Secret
	MailFrom      string
	MailTemplates string // directory; empty = the built-in ones
	SMSURL        identity.Secret
	SMSFrom       string
	SMSPerHour    int // 0 = no limit

	Log      Log
	Password Password
	Limits   Limits
	Keys     Keys
	Audit    Audit
	Licence  Licence

	Nx       Nx
	Insights Insights
	Titan    Titan
	OpenWiFi OpenWiFi
	OIDC     OIDC

	origin map[string]string // where the value of each key came from; no entry = default
}

// Door is what every door has: whether it is open, and where.
type Door struct {
	Enabled     bool
	Prefix      string   // put before the vendor's own paths; empty = none
	Hosts       []string // host names it answers on; empty = all
	CORSOrigins []string // browser origins that may call it; "*" = any
}

// Log says what the process writes to standard error.
type Log struct {
	Level  slog.Level
	Format string // text or json
}

// Password is the cost of a new password hash, and how many may be worked out at once.
type Password struct {
	MemoryKiB  uint32
	Iterations uint32
	Parallel   uint8
	Workers    int // hashes at once; 0 = one per core
	Queue      int // sign-ins that may wait for a worker; the next one is told to come back
}

// Limits bound what one caller can make the server do. A rate of 0 is no limit.
type Limits struct {
	AddressFailures       int
	AddressWindow         time.Duration
	NxStrengthPerMinute   int
	NxCSRFPerMinute       int
	TitanUserPerMinute    int
	TitanAddressPerMinute int
	OpenWiFiPerSecond     int
}

// Keys is the calendar of signing keys.
type Keys struct {
	RotateEvery  time.Duration
	PublishAhead time.Duration
}

// Audit says how long audit rows are kept; 0 = for ever.
type Audit struct{ Retention time.Duration }

// Licence is the operator's part of every licence.
type Licence struct {
	Lease      time.Duration // of a document
	Grace      time.Duration // of a licence that is made without one
	EndsSoon   time.Duration // 0 = nobody is told
	WebhookURL identity.Secret
	WebhookKey identity.Secret
}

// Nx configures the Nx door.
type Nx struct {
	Door
	Upstream     string
	ClientID     string
	RedirectURLs []string
	AccessLife   time.Duration
	RefreshLife  time.Duration
	RememberLife time.Duration
	RefreshGrace time.Duration
	Registration bool
	Base         string // above the vendor's own paths, but for /cdb

	CloudAccessLife  time.Duration
	CloudRefreshLife time.Duration
}

// Insights configures the Insights door.
type Insights struct {
	Door
	AccessLife    time.Duration
	RefreshLife   time.Duration
	RefreshRotate bool
}

// Titan configures the TITAN door.
type Titan struct {
	Door
	FrontendURL         string
	SessionLife         time.Duration
	RememberLife        time.Duration
	IdleLife            time.Duration
	RefreshGrace        time.Duration
	RecoveryAutoApprove bool
	CheckStrange        bool
}

// OpenWiFi configures the OpenWiFi door.
type OpenWiFi struct {
	Door
	TokenLife   time.Duration
	RefreshLife time.Duration
	AvatarMax   int             // bytes that an uploaded avatar must stay below
	ServiceKey  identity.Secret // empty = random, kept in the store; "derived" = the vendor's form
	UIURL       string          // of the controller's web UI
	TOTPIssuer  string
}

// OIDC configures the OAuth 2.1 and OpenID Connect door.
type OIDC struct {
	Door
	AccessLife   time.Duration
	RefreshLife  time.Duration
	RefreshGrace time.Duration
}

// Default is the configuration of a node that nobody configured.
func Default() Config {
	c, err := Load(Sources{})
	if err != nil {
		panic("config: a default breaks its own rule: " + err.Error()) // TestDefault would have failed first
	}
	return c
}

// Bound is c for a listener that really listens on addr, which differs from Listen when its port was 0. What is
// derived from the address (the issuer, unless it was given) follows.
func (c Config) Bound(addr net.Addr) Config {
	c.Listen = addr.String()
	c.derive()
	return c
}

// Origin says where the value of a key came from: a line of the file, a variable, a flag, or "default".
func (c Config) Origin(key string) string {
	if from, ok := c.origin[key]; ok {
		return from
	}
	return "default"
}

// MasterKeyBytes is the key that seals what the store keeps readable, or nil when the file in the data directory
// holds it.
func (c Config) MasterKeyBytes() ([]byte, error) {
	if c.MasterKey == "" {
		return nil, nil
	}
	return decodeMasterKey(c.MasterKey.Reveal())
}

func (c Config) given(key string) bool {
	_, ok := c.origin[key]
	return ok
}

// derive fills what follows from other settings. It never replaces what the operator gave.
func (c *Config) derive() {
	if !c.given("issuer") {
		c.Issuer = issuerFor(c.Listen, c.TLSCert != "")
	}
	if !c.given("titan.frontend_url") {
		c.Titan.FrontendURL = c.Issuer
	}
	if !c.given("mail_from") {
		c.MailFrom = "gatehouse@" + mailDomain(c.Issuer)
	}
}

func issuerFor(listen string, tls bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "" // the mistake in listen is already reported
	}
	// A listener on all addresses names none that a client could call; whoever tries it out is on this machine.
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme, usual := "http", "80"
	if tls {
		scheme, usual = "https", "443"
	}
	if port == usual {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func mailDomain(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Hostname() == "" {
		return "localhost"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return "localhost" // an address literal in a mail address is legal and refused by most receivers
	}
	return u.Hostname()
}
