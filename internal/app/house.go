// Package app builds the house from its configuration, by hand: the one place that lists doors, factors and engines.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // policies name zones, and a bare container knows none

	"gatehouse/internal/config"
	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/cloud"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/enrol"
	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/feed"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/message"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/core/system"
	"gatehouse/internal/deliver"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/factor/federated"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/onetimecode"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/factor/recoverycode"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/logs"
	"gatehouse/internal/outbound"
	"gatehouse/internal/picture"
	"gatehouse/internal/world"
)

// Options are what a test or a command decides besides the configuration.
type Options struct {
	Store identity.Store   // nil: the one that the configuration names
	Box   *keys.Box        // nil: the master key that the configuration names
	Now   func() time.Time // nil: the clock
	Rand  io.Reader        // nil: the system's randomness
	Hash  password.Params  // zero: the configuration's
	Log   *slog.Logger     // nil: the default
	// Levels are those that Log was made with; nil: the house puts its own before Log.
	Levels  *logs.Levels
	Version string // of the program
	// Existing refuses a place where no house stands yet, or one whose schema is older, instead of making it: for commands
	// that look at a house, and for mistyped directories.
	Existing bool
}

// House is everything below the doors.
type House struct {
	Config    config.Config
	Store     identity.Store
	Box       *keys.Box
	Ring      *keys.Ring
	Audit     *audit.Log
	Sealer    *audit.Sealer
	Feed      *feed.Tail
	Policies  *policy.Service
	Sessions  *session.Service
	Passwords *credential.Passwords
	SignIn    *signin.Service
	Grants    *grant.Service
	Links     *link.Service
	Recovery  *recovery.Service
	Manage    *manage.Service
	Profiles  *profile.Service
	Staff     *staff.Service
	Phones    *phone.Service
	Enrol     *enrol.Service
	APIKeys   *apikey.Service
	Messages  *message.Service
	SignUp    *signup.Service
	Outbox    *deliver.Outbox
	Worker    *deliver.Worker
	Licences  *licence.Service
	Worlds    *world.Service
	System    *system.Service

	Federation *federation.Service
	Providers  *federated.Service
	Cloud      *cloud.Service
	Doors      Doors

	now      func() time.Time
	rand     io.Reader
	log      *slog.Logger
	node     string // names this process in leases
	ownStore bool
	pool     *password.Pool
	metrics  *metrics
}

// Open builds the house. It migrates the store and loads or makes the keys, unless Options.Existing; it serves nothing and runs
// nothing yet.
func Open(ctx context.Context, cfg config.Config, o Options) (_ *House, err error) {
	h := &House{Config: cfg, Store: o.Store, Box: o.Box, now: o.Now, rand: o.Rand, log: o.Log}
	if h.now == nil {
		h.now = time.Now
	}
	if h.rand == nil {
		h.rand = rand.Reader
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if o.Levels == nil {
		o.Levels = logs.NewLevels(logs.LevelOf(cfg.Log.Level))
		h.log = slog.New(logs.NewHandler(h.log.Handler(), o.Levels))
	}
	h.node = nodeName()
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.Store == nil {
		h.ownStore = true
		if h.Store, err = openStore(ctx, cfg, o.Existing); err != nil {
			return nil, err
		}
	}
	if h.Box == nil {
		if h.Box, err = openBox(ctx, cfg, h.Store, o.Existing); err != nil {
			return nil, err
		}
	}
	if err = keys.VerifyMaster(ctx, h.Store, h.Box); err != nil {
		return nil, err
	}
	h.Ring, err = keys.NewRing(keys.Options{
		Store: h.Store, Box: h.Box, Now: h.now, Rand: h.rand,
		Period: cfg.Keys.RotateEvery, Lead: cfg.Keys.PublishAhead, Keep: h.longestToken(),
		// Documents of licences are held against the published keys until their grace is over.
		KeepOf: map[string]time.Duration{keys.EdDSA: cfg.Licence.Lease + licence.MaxGrace + 24*time.Hour},
	})
	if err != nil {
		return nil, err
	}
	if err = h.Ring.Ensure(ctx, keys.ES256, keys.EdDSA); err != nil {
		return nil, err
	}
	if err = h.core(o); err != nil {
		return nil, err
	}
	if err = h.doors(ctx); err != nil {
		return nil, err
	}
	h.listen()
	h.metrics = newMetrics(h)
	if err = h.Feed.Once(ctx); err != nil {
		return h, err
	}
	if err := h.System.Refresh(ctx); err != nil { // a house can do without, and be asked to set them anew
		logs.In(h.log, logs.System).WarnContext(ctx, "the configured log levels hold", "err", err)
	}
	return h, nil
}

// core builds the verbs.
func (h *House) core(o Options) error {
	cost := o.Hash
	if cost == (password.Params{}) {
		cost = password.Params{Memory: h.Config.Password.MemoryKiB, Time: h.Config.Password.Iterations, Threads: uint32(h.Config.Password.Parallel)}
	}
	var err error
	h.pool, err = password.New(password.Options{
		Params: cost, Workers: h.Config.Password.Workers, Queue: h.Config.Password.Queue, Rand: h.rand, Now: h.now,
	})
	if err != nil {
		return err
	}
	h.Audit = &audit.Log{Now: h.now, Rand: h.rand}
	h.Feed = &feed.Tail{Store: h.Store, Now: h.now}
	h.Policies = &policy.Service{Now: h.now, Stale: h.Feed.Stale}
	h.Sessions = &session.Service{
		Store: h.Store, Log: h.Audit, Policies: h.Policies, Keys: h.Box, Rules: h.rules(), Stale: h.Feed.Stale, Now: h.now, Rand: h.rand,
	}
	h.Passwords = &credential.Passwords{
		Hasher: h.pool, Check: password.CheckRule, Policies: h.Policies, Sessions: h.Sessions, Log: h.Audit,
		DoorRule: doorRules, Now: h.now, Rand: h.rand,
	}
	limits := signin.DefaultLimits
	limits.AddressFailures, limits.AddressWindow = h.Config.Limits.AddressFailures, h.Config.Limits.AddressWindow
	if err := h.delivery(); err != nil {
		return err
	}
	h.Links = &link.Service{Keys: h.Box, Now: h.now, Rand: h.rand}
	byMail, bySMS := h.codes(identity.Mail), h.codes(identity.SMS)
	h.SignIn = &signin.Service{
		Store: h.Store, Sessions: h.Sessions, Passwords: h.Passwords,
		Factors: []signin.Factor{&totp.Factor{Box: h.Box, Now: h.now}, &onetimecode.SMS{Codes: bySMS}, &onetimecode.Email{Codes: byMail},
			&recoverycode.Factor{Keys: h.Box, Outbox: h.Outbox}},
		Links: h.Links, Log: h.Audit, Limits: limits, Now: h.now, Rand: h.rand,
	}
	h.Grants = &grant.Service{Store: h.Store, Sessions: h.Sessions, Hasher: h.pool, Log: h.Audit}
	h.Phones = &phone.Service{
		Open: bySMS.Open, Store: h.Store, Box: h.Box, Outbox: h.Outbox, Log: h.Audit, Now: h.now, Rand: h.rand,
	}
	h.Manage = &manage.Service{
		Store: h.Store, Passwords: h.Passwords, Sessions: h.Sessions, Log: h.Audit, Box: h.Box,
		OfOrganisation: map[identity.Door]func([]byte) error{nx.Door: nx.CheckOrganisation},
		Pictures:       picture.New(picture.Options{MaxBytes: h.Config.OpenWiFi.AvatarMax}), Now: h.now, Rand: h.rand,
	}
	h.Recovery = &recovery.Service{
		Store: h.Store, Passwords: h.Passwords, Manage: h.Manage, Links: h.Links, Mailer: h.Outbox, Log: h.Audit, Now: h.now, Rand: h.rand,
	}
	h.SignIn.Recovery = h.Recovery
	h.Profiles = &profile.Service{Store: h.Store, Policies: h.Policies, Stale: h.Feed.Stale, Now: h.now}
	h.Enrol = &enrol.Service{Store: h.Store, Manage: h.Manage, Profiles: h.Profiles, Log: h.Audit, Box: h.Box, Now: h.now, Rand: h.rand}
	h.Staff = &staff.Service{
		Store: h.Store, Manage: h.Manage, Profiles: h.Profiles, Passwords: h.Passwords, Recovery: h.Recovery, Words: staffWords,
		Offers: h.Offers, Proven: h.Phones.ProvenIn, EnrolApp: h.Enrol.EnrolFinishedIn, Stale: h.Feed.Stale, Now: h.now,
	}
	h.APIKeys = &apikey.Service{
		Store: h.Store, Log: h.Audit, Policies: h.Policies, Limits: apikey.Limits{Failures: limits.AddressFailures, Window: limits.AddressWindow}, Now: h.now, Rand: h.rand,
		May: func(ctx context.Context, r identity.Reader, caller identity.Caller, owner identity.SubjectID) error {
			return h.Staff.Check(ctx, r, staff.By{Caller: caller}, "", staff.ManageKeys, owner)
		},
	}
	h.Messages = &message.Service{Store: h.Store, Staff: h.Staff, Outbox: h.Outbox, Log: h.Audit, Mails: h.Config.SMTPURL != "", Texts: bySMS.Open, Now: h.now}
	h.SignUp = &signup.Service{
		Store: h.Store, Manage: h.Manage, Passwords: h.Passwords, Sessions: h.Sessions, Recovery: h.Recovery, Log: h.Audit,
		Now: h.now, Founder: founder, Closed: map[identity.Door]bool{nx.Door: !h.Config.Nx.Registration},
	}
	h.Providers = &federated.Service{Limits: federated.DefaultLimits, Now: h.now, Rand: h.rand}
	h.Providers.Client = outbound.Client(outbound.Options{Inside: h.Providers.Inside})
	h.Federation = &federation.Service{
		Store: h.Store, Manage: h.Manage, SignIn: h.SignIn, Sessions: h.Sessions, Providers: h.Providers, Log: h.Audit, Box: h.Box, Now: h.now, Rand: h.rand,
	}
	if err := h.cloud(); err != nil {
		return err
	}
	h.Sealer = &audit.Sealer{Store: h.Store, Ring: h.Ring, Owner: h.node, Now: h.now}
	h.Licences = &licence.Service{
		Store: h.Store, Log: h.Audit, Keys: h.Ring, Outbox: h.Outbox, Issuer: h.Config.Issuer + h.Config.OIDC.Prefix, Terms: licence.Terms{
			Lease: h.Config.Licence.Lease, Grace: h.Config.Licence.Grace, EndsSoon: h.Config.Licence.EndsSoon,
			Webhook: h.Config.Licence.WebhookURL.Reveal(), WebhookKey: h.Config.Licence.WebhookKey,
		},
		Told: looksAfterLicences, Stale: h.Feed.Stale, Now: h.now, Rand: h.rand,
	}
	h.Worlds = &world.Service{Store: h.Store, Manage: h.Manage, Licences: h.Licences, CheckHash: password.CheckHash}
	h.System = &system.Service{
		Store: h.Store, Log: h.Audit, Box: h.Box, Levels: o.Levels, Staff: h.Staff, Outbox: h.Outbox, Reloads: h.reloads(), Process: h.process(o.Version), Now: h.now,
	}
	return nil
}

// cloud builds the way in by an Nx Cloud's accounts: those of the upstream that is configured, else this house's own people.
func (h *House) cloud() error {
	log := logs.In(h.log, logs.Doors)
	h.Cloud = &cloud.Service{
		ClientID: cmp.Or(h.Config.Nx.ClientID, "gatehouse"), Store: h.Store, SignIn: h.SignIn, Sessions: h.Sessions, Manage: h.Manage,
		Federation: h.Federation, Audit: h.Audit, Box: h.Box, Log: log, Now: h.now, Wall: time.Now, Rand: h.rand,
		Door: nx.CloudDoor, Form: nx.CloudForm{}, Systems: nx.Systems,
	}
	h.Grants.Stands = map[identity.Door]func(context.Context, *session.Live) error{nx.CloudDoor: h.Cloud.Stands}
	base := h.Config.Nx.Upstream
	if base == "" {
		return nil
	}
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	// The operator named it, so it may stand in his own network.
	named := outbound.HostPort(u.Scheme, u.Hostname(), u.Port())
	h.Cloud.Upstream, err = nxcloud.New(nxcloud.Options{
		Base: base, ClientID: h.Cloud.ClientID, Now: h.now, Log: log,
		HTTP: outbound.Client(outbound.Options{Inside: func(hostport string) bool { return hostport == named }, MaxBody: 5 << 20}),
	})
	return err
}

// Offers says whether a sign-in can ask for a second factor of a kind: one that it cannot ask for would be no protection.
func (h *House) Offers(kind identity.CredentialKind) bool {
	switch kind {
	case identity.EmailCode:
		return h.Worker.Senders[identity.Mail] != nil
	case identity.SMSCode:
		return h.Worker.Senders[identity.SMS] != nil
	}
	return slices.ContainsFunc(h.SignIn.Factors, func(f signin.Factor) bool { return f.Kind() == kind })
}

// delivery builds the outbox and its senders; it reports all that is wrong with them.
func (h *House) delivery() error {
	templates, wrong := deliver.LoadTemplates(h.Config.MailTemplates)
	bounds := deliver.DefaultSMSBounds
	bounds.PerHour = h.Config.SMSPerHour
	h.Outbox = &deliver.Outbox{Store: h.Store, Box: h.Box, Templates: templates, Bounds: bounds, Now: h.now, Rand: h.rand}
	h.Worker = &deliver.Worker{Outbox: h.Outbox, Owner: h.node, Log: h.Audit, Senders: map[identity.Channel]deliver.Sender{identity.Webhook: deliver.NewHook(nil)}}
	if to := h.Config.SMTPURL; to != "" {
		mailer, err := deliver.NewMailer(to, h.Config.MailFrom, nil)
		wrong = errors.Join(wrong, err)
		h.Worker.Senders[identity.Mail] = mailer
	}
	if to := h.Config.SMSURL; to != "" {
		texter, err := deliver.NewTexter(to, h.Config.SMSFrom, nil)
		wrong = errors.Join(wrong, err)
		h.Worker.Senders[identity.SMS] = texter
	}
	return wrong
}

// codes are for a factor whose codes leave by a channel.
func (h *House) codes(channel identity.Channel) onetimecode.Codes {
	return onetimecode.Codes{Open: h.Worker.Senders[channel] != nil, Box: h.Box, Outbox: h.Outbox, Now: h.now, Rand: h.rand}
}

// longestToken is how long a retired signing key must still verify.
func (h *House) longestToken() time.Duration {
	var longest time.Duration
	for _, r := range h.rules() {
		longest = max(longest, r.AccessTTL, r.SessionTTL, r.RememberTTL)
	}
	return longest + 24*time.Hour
}

// listen ties what is kept in memory to the change feed: this node's commits at once, other nodes' through the tail.
func (h *House) listen() {
	h.Feed.Listeners = []func([]identity.Change){h.Sessions.Changed, h.Policies.Changed, h.Profiles.Changed, h.Grants.Changed, h.Staff.Changed, h.Licences.Changed, h.Ring.Listen, h.System.Changed, h.Providers.Changed}
	h.Feed.Attach()
}

// Run does the house's own work until ctx ends: the feed, the idle clocks, sealing, mail, rotation and sweeping.
func (h *House) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, work := range []func(context.Context){h.Feed.Run, h.Ring.Run, h.Sessions.Run, h.APIKeys.Run, h.Sealer.Run, h.Worker.Run, h.System.Run, h.upkeep} {
		all.Go(func() { work(ctx) })
	}
	all.Wait()
}

// Now is the house's clock.
func (h *House) Now() time.Time { return h.now() }

// Events lists audit rows, newest first.
func (h *House) Events(ctx context.Context, f identity.EventFilter) (list []identity.Event, err error) {
	err = h.Store.View(ctx, func(r identity.Reader) (err error) {
		list, err = r.Events(ctx, f)
		return err
	})
	return list, err
}

// Close lets go of what Open took.
func (h *House) Close() error {
	if h.ownStore && h.Store != nil {
		return h.Store.Close()
	}
	return nil
}

func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8])
}
