package config

import (
	"slices"
	"time"
)

// settings is the table. Order is the order of the documentation.
//
// A door's lives are the contracts' values; where a contract names a bound that its clients rely on, the range holds it.
var settings = slices.Concat(
	[]setting{
		row("listen", "127.0.0.1:8080", "Public listener.",
			func(c *Config) *string { return &c.Listen }, required(listenAddress())),
		row("internal_listen", "", "Service-to-service listener: OpenWiFi internal calls and `/metrics`. Empty = off.",
			func(c *Config) *string { return &c.InternalListen }, listenAddress()),
		row("issuer", "", "Public base URL; `iss` and every link in a mail start with it. Empty = `http://` (`https://` with TLS) and the listener's address.",
			func(c *Config) *string { return &c.Issuer }, baseURL()),
		row("data", "./gatehouse-data", "Data directory: the database file and the master key.",
			func(c *Config) *string { return &c.Data }, required(text("a directory"))),
		row("database", "", "PostgreSQL as `postgres://user:password@host/name`. Empty = SQLite in the data directory. A password belongs in the environment or in a file: every user of the machine can read flags.",
			func(c *Config) *secretText { return &c.Database }, secretURL("postgres", "postgresql")),
		row("no_migrate", "false", "Refuse to start on an older schema instead of migrating it.",
			func(c *Config) *bool { return &c.NoMigrate }, boolean()),
		row("shutdown_grace", "15s", "How long requests under way may take after a stop signal.",
			func(c *Config) *time.Duration { return &c.ShutdownGrace }, duration(0, 10*time.Minute)),
		row("tls_cert", "", "PEM file with the certificate chain; serves HTTPS.",
			func(c *Config) *string { return &c.TLSCert }, text("a file")),
		row("tls_key", "", "PEM file with the certificate's key.",
			func(c *Config) *string { return &c.TLSKey }, text("a file")),
		row("master_key", "", "The key that seals signing keys and second factors at rest: 32 bytes in base64. Empty = `master.key` in the data directory, made at the first start.",
			func(c *Config) *secretText { return &c.MasterKey }, masterKey()),
		row("trusted_proxies", "", "Proxies whose `X-Forwarded-For` and `Forwarded` headers are believed. Empty = nobody's.",
			func(c *Config) *prefixes { return &c.TrustedProxies }, cidrs()),

		row("smtp_url", "", "Mail server as `smtp://user:password@host:port`, or `smtps://`. Empty = mails stay in the outbox and in the log, and nobody is asked for a code that comes by mail.",
			func(c *Config) *secretText { return &c.SMTPURL }, secretURL("smtp", "smtps")),
		row("mail_from", "", "Sender of every mail. Empty = `gatehouse@` and the issuer's host.",
			func(c *Config) *string { return &c.MailFrom }, mailAddress()),
		row("mail_templates", "", "Directory of mail and SMS templates in place of the built-in ones: `en/NAME.txt` and `en/NAME.html` of `password-reset`, `email-verification`, `code`, `recovery-confirm`, `recovery-code`, `recovery-used`, `licence-ends-soon` and `licence-expired`, `en/NAME.sms.txt` of `code` and `phone-verification`; other languages likewise.",
			func(c *Config) *string { return &c.MailTemplates }, text("a directory")),
		row("sms_url", "", "Where an SMS is posted as JSON `{\"from\",\"to\",\"text\"}`, or `twilio://account:token@api.twilio.com?from=+15145550100`. Empty = nobody is asked for a code that comes by SMS.",
			func(c *Config) *secretText { return &c.SMSURL }, secretURL("http", "https", "twilio")),
		row("sms_from", "", "Sender of every SMS, as the gateway wants it.",
			func(c *Config) *string { return &c.SMSFrom }, text("a number or name")),
		row("sms_per_hour", "1000", "SMS that leave in an hour, all together; more are refused. 0 = no limit.",
			func(c *Config) *int { return &c.SMSPerHour }, number[int](0, 1_000_000)),

		row("log.level", "info", "What is logged. Levels that were set while running (`setloglevel` of the OpenWiFi door) go before it.",
			func(c *Config) *logLevel { return &c.Log.Level }, level()),
		row("log.format", "text", "How it is written.",
			func(c *Config) *string { return &c.Log.Format }, oneOf("text", "json")),

		row("password.memory_kib", "19456", "Memory of one new argon2id hash. Higher costs re-hash at the next sign-in.",
			func(c *Config) *uint32 { return &c.Password.MemoryKiB }, number[uint32](7168, 256<<10)),
		row("password.iterations", "2", "Passes of one new argon2id hash.",
			func(c *Config) *uint32 { return &c.Password.Iterations }, number[uint32](1, 20)),
		row("password.parallel", "1", "Lanes of one new argon2id hash.",
			func(c *Config) *uint8 { return &c.Password.Parallel }, number[uint8](1, 16)),
		row("password.workers", "0", "Hashes worked out at once. 0 = one per core.",
			func(c *Config) *int { return &c.Password.Workers }, number[int](0, 256)),
		row("password.queue", "128", "Sign-ins that may wait for a worker; past it a door answers that it is busy.",
			func(c *Config) *int { return &c.Password.Queue }, number[int](0, 10_000)),

		row("limits.address_failures", "100", "Failed sign-ins from one client address, at all doors together, before it is refused.",
			func(c *Config) *int { return &c.Limits.AddressFailures }, number[int](1, 1_000_000)),
		row("limits.address_window", "15m", "The time in which they are counted.",
			func(c *Config) *time.Duration { return &c.Limits.AddressWindow }, duration(time.Minute, 24*time.Hour)),
		row("limits.nx_strength_per_minute", "60", "Password strength calls of one address at the Nx door (nx.md 3.4). 0 = no limit.",
			func(c *Config) *int { return &c.Limits.NxStrengthPerMinute }, number[int](0, 1_000_000)),
		row("limits.nx_csrf_per_minute", "600", "Sign-ins that one address begins by the page of an Nx authority (nx.md 5.2). 0 = no limit.",
			func(c *Config) *int { return &c.Limits.NxCSRFPerMinute }, number[int](0, 1_000_000)),
		row("limits.titan_user_per_minute", "1000", "Calls of one signed-in TITAN user (titan.md 1.4). 0 = no limit.",
			func(c *Config) *int { return &c.Limits.TitanUserPerMinute }, number[int](0, 1_000_000)),
		row("limits.titan_address_per_minute", "100", "TITAN calls of one address without a token (titan.md 1.4). 0 = no limit.",
			func(c *Config) *int { return &c.Limits.TitanAddressPerMinute }, number[int](0, 1_000_000)),
		row("limits.openwifi_per_second", "10", "OpenWiFi sign-in calls of one address and path (openwifi.md 1.3). 0 = no limit.",
			func(c *Config) *int { return &c.Limits.OpenWiFiPerSecond }, number[int](0, 1_000_000)),

		row("keys.rotate_every", "2160h", "Age at which a signing key is replaced.",
			func(c *Config) *time.Duration { return &c.Keys.RotateEvery }, duration(time.Hour, 5*year)),
		row("keys.publish_ahead", "24h", "How long a new key is published before it signs.",
			func(c *Config) *time.Duration { return &c.Keys.PublishAhead }, duration(time.Minute, 720*time.Hour)),
		row("audit.retention", "8760h", "Age at which audit rows are removed. 0 = never.",
			func(c *Config) *time.Duration { return &c.Audit.Retention }, orZero(duration(24*time.Hour, 100*year))),

		row("licence.lease", "720h", "How long a licence document is good before a device needs a new one; a licence that ends before ends it before.",
			func(c *Config) *time.Duration { return &c.Licence.Lease }, duration(time.Hour, year)),
		row("licence.grace", "336h", "How long a licence goes on after its end, and a document after its lease, where the licence says nothing of it.",
			func(c *Config) *time.Duration { return &c.Licence.Grace }, duration(0, 90*day)),
		row("licence.ends_soon", "720h", "How long before a licence's end its organisation's owners and administrators are mailed, and the webhook called. 0 = only at the end.",
			func(c *Config) *time.Duration { return &c.Licence.EndsSoon }, duration(0, year)),
		row("licence.webhook_url", "", "Where word of licences that end soon or have ended is posted as JSON. Empty = nowhere.",
			func(c *Config) *secretText { return &c.Licence.WebhookURL }, webhook()),
		row("licence.webhook_key", "", "Key of the HMAC-SHA256 in `X-Gatehouse-Signature`, by which the webhook knows us. Empty = none is sent.",
			func(c *Config) *secretText { return &c.Licence.WebhookKey }, webhookKey()),
	},

	door("nx", "", func(c *Config) *Door { return &c.Nx.Door }),
	[]setting{
		row("nx.upstream", "", "Base URL of an Nx Cloud that knows the Nx accounts. Empty = built in (nx.md 5.3).",
			func(c *Config) *string { return &c.Nx.Upstream }, baseURL()),
		row("nx.client_id", "", "Client id of the Nx sign-in (nx.md 5.2). Empty = `gatehouse`.",
			func(c *Config) *string { return &c.Nx.ClientID }, text("a client id")),
		row("nx.redirect_urls", "", "Where browsers may be sent back to (nx.md 5.2).",
			func(c *Config) *[]string { return &c.Nx.RedirectURLs }, listOf(webURL())),
		row("nx.base", "/auth", "Above the vendor's own paths, as clients know them (nx.md 1.1). Nx Cloud's, /cdb, stay at the root.",
			func(c *Config) *string { return &c.Nx.Base }, pathPrefix()),
		row("nx.registration", "true", "Whether people may register themselves, each with an organisation of her own (nx.md 3.4).",
			func(c *Config) *bool { return &c.Nx.Registration }, boolean()),
		// Clients renew an access token with less than two minutes left and a refresh token with less than an
		// hour left (nx.md 1.5): a shorter life would make them renew for ever.
		row("nx.access_life", "5m", "Life of an access token.",
			func(c *Config) *time.Duration { return &c.Nx.AccessLife }, duration(2*time.Minute+time.Second, 24*time.Hour)),
		row("nx.refresh_life", "8h", "Life of a refresh token.",
			func(c *Config) *time.Duration { return &c.Nx.RefreshLife }, duration(time.Hour+time.Second, year)),
		row("nx.remember_life", "720h", "Life of a refresh token of somebody who stays signed in.",
			func(c *Config) *time.Duration { return &c.Nx.RememberLife }, duration(time.Hour+time.Second, year)),
		row("nx.refresh_grace", "60s", "How long a spent refresh token gets the same answer again.",
			func(c *Config) *time.Duration { return &c.Nx.RefreshGrace }, duration(0, 5*time.Minute)),
		row("nx.cloud_access_life", "1h", "Life of an access token of Nx Cloud's own calls, `/cdb` (nx.md 5.3).",
			func(c *Config) *time.Duration { return &c.Nx.CloudAccessLife }, duration(2*time.Minute, 30*day)),
		row("nx.cloud_refresh_life", "720h", "Life of a refresh token of Nx Cloud's own calls.",
			func(c *Config) *time.Duration { return &c.Nx.CloudRefreshLife }, duration(time.Hour, year)),
	},

	door("insights", "", func(c *Config) *Door { return &c.Insights.Door }),
	[]setting{
		row("insights.access_life", "12h", "Life of an access token.",
			func(c *Config) *time.Duration { return &c.Insights.AccessLife }, duration(time.Minute, 30*day)),
		row("insights.refresh_life", "720h", "Life of a refresh token.",
			func(c *Config) *time.Duration { return &c.Insights.RefreshLife }, duration(time.Minute, year)),
		row("insights.refresh_rotate", "false", "Give a new refresh token at each use; the contract's clients use one until it ends.",
			func(c *Config) *bool { return &c.Insights.RefreshRotate }, boolean()),
	},

	door("titan", "", func(c *Config) *Door { return &c.Titan.Door }),
	[]setting{
		row("titan.frontend_url", "", "Page that the identity callback returns to (titan.md 3.11). Empty = the issuer.",
			func(c *Config) *string { return &c.Titan.FrontendURL }, webURL()),
		row("titan.session_life", "24h", "End of a session after sign-in.",
			func(c *Config) *time.Duration { return &c.Titan.SessionLife }, duration(5*time.Minute, year)),
		row("titan.remember_life", "720h", "End of a session of somebody who stays signed in.",
			func(c *Config) *time.Duration { return &c.Titan.RememberLife }, duration(5*time.Minute, year)),
		row("titan.idle_life", "2h", "End of a session without any use.",
			func(c *Config) *time.Duration { return &c.Titan.IdleLife }, duration(time.Minute, 30*day)),
		row("titan.refresh_grace", "30s", "How long the token before a refresh stays good.",
			func(c *Config) *time.Duration { return &c.Titan.RefreshGrace }, duration(0, 5*time.Minute)),
		row("titan.recovery_auto_approve", "false", "Approve a confirmed recovery request at once, without a person who looks at it. For tests and small installations.",
			func(c *Config) *bool { return &c.Titan.RecoveryAutoApprove }, boolean()),
		row("titan.check_strange", "false", "Mail a code to whoever signs in without a second factor in a browser that is not known.",
			func(c *Config) *bool { return &c.Titan.CheckStrange }, boolean()),
	},

	door("openwifi", "*", func(c *Config) *Door { return &c.OpenWiFi.Door }),
	[]setting{
		row("openwifi.token_life", "720h", "Life of an access token, not of its refresh token.",
			func(c *Config) *time.Duration { return &c.OpenWiFi.TokenLife }, duration(time.Second, year)),
		row("openwifi.refresh_life", "2160h", "Life of a refresh token.",
			func(c *Config) *time.Duration { return &c.OpenWiFi.RefreshLife }, duration(time.Second, 5*year)),
		row("openwifi.service_key", "", "Our service key on the internal listener; `derived` = the vendor's form, which anybody can compute (openwifi.md 1.3). Empty = random, kept in the store.",
			func(c *Config) *secretText { return &c.OpenWiFi.ServiceKey }, serviceKey()),
		row("openwifi.avatar_max", "2000000", "Bytes that an uploaded avatar must stay below (openwifi.md 1.10).",
			func(c *Config) *int { return &c.OpenWiFi.AvatarMax }, number[int](1, 16_000_000)),
		row("openwifi.ui_url", "", "Address of the controller's web UI, as `/system` tells it to UIs that build links.",
			func(c *Config) *string { return &c.OpenWiFi.UIURL }, webURL()),
		row("openwifi.totp_issuer", "OpenWiFi", "Name that authenticator apps show.",
			func(c *Config) *string { return &c.OpenWiFi.TOTPIssuer }, required(text("a name"))),
	},

	door("oidc", "", func(c *Config) *Door { return &c.OIDC.Door }),
	[]setting{
		row("oidc.access_life", "10m", "Life of an access token.",
			func(c *Config) *time.Duration { return &c.OIDC.AccessLife }, duration(10*time.Second, 24*time.Hour)),
		row("oidc.refresh_life", "720h", "Life of a refresh token.",
			func(c *Config) *time.Duration { return &c.OIDC.RefreshLife }, duration(time.Minute, year)),
		row("oidc.refresh_grace", "10s", "How long a spent refresh token gets the same answer again.",
			func(c *Config) *time.Duration { return &c.OIDC.RefreshGrace }, duration(0, 5*time.Minute)),
	},
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func door(name, origins string, at func(*Config) *Door) []setting {
	return []setting{
		row(name+".enabled", "true", "Whether the door is open.",
			func(c *Config) *bool { return &at(c).Enabled }, boolean()),
		row(name+".prefix", "", "Put before the door's paths. Empty = the vendor's own paths.",
			func(c *Config) *string { return &at(c).Prefix }, pathPrefix()),
		row(name+".hosts", "", "Host names that the door answers on. Empty = all.",
			func(c *Config) *[]string { return &at(c).Hosts }, listOf(hostName())),
		row(name+".cors_origins", origins, "Browser origins that may call the door; `*` = any. Empty = none.",
			func(c *Config) *[]string { return &at(c).CORSOrigins }, listOf(origin())),
	}
}
