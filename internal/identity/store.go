package identity

import (
	"context"
	"time"
)

// Store keeps the nouns. Both engines give the same answers (P14).
//
// Errors are Kinds: NotFound, Conflict (a unique value is taken, or a reference is missing), Unavailable (the engine
// cannot be reached, is full or read-only), Invalid (text that is not UTF-8 or holds a zero byte, a number out of range).
// Anything else is Internal. A statement that failed spoils its transaction: Update then fails, even if write returns nil.
// Updating or deleting what is not there is NotFound, except where forgetting is all that is asked (DeleteOpaqueToken,
// ClearAttempts, DeleteTicketsOf, DeleteBrowsersOf).
type Store interface {
	// View reads one snapshot. Neither View nor Update is called inside the other's function: they may wait for each other.
	View(ctx context.Context, read func(Reader) error) error
	// Update writes; it commits if write returns nil, durably before it returns. It may run write more than once, so
	// nothing leaves the process inside it and write resets what it sets outside.
	Update(ctx context.Context, write func(Tx) error) error
	// OnCommit registers a listener for the changes of this node's committed updates, called before Update returns.
	// Listeners are registered before the first Update and must not use the store.
	OnCommit(listen func([]Change))
	// Wake is signalled when another node may have appended to the feed; nil where the engine has no such signal.
	Wake() <-chan struct{}
	// Ping says whether the engine answers.
	Ping(ctx context.Context) error
	Close() error
}

// Reader is one snapshot.
type Reader interface {
	LicenceReader

	Subject(ctx context.Context, id SubjectID) (Subject, error)
	SubjectByNumber(ctx context.Context, number int64) (Subject, error)
	SubjectByHash(ctx context.Context, hash string) (Subject, error)
	SubjectByLogin(ctx context.Context, folded string) (Subject, error)
	Subjects(ctx context.Context, filter SubjectFilter) ([]Subject, error)
	SubjectsByID(ctx context.Context, ids []SubjectID) ([]Subject, error) // in the order asked; unknown ones left out
	// NthSubject gives the id that stands skip places after the first one beyond after, of a kind, by id: a landmark for doors
	// whose contract pages by offset. NotFound past the end.
	NthSubject(ctx context.Context, kind SubjectKind, after SubjectID, skip int) (SubjectID, error)
	CountSubjects(ctx context.Context, kind SubjectKind, owner string) (int, error) // owner "": all; costs what it counts
	AnySubject(ctx context.Context) (bool, error)
	ActiveSuperadmins(ctx context.Context) (int, error)
	Logins(ctx context.Context, id SubjectID) ([]Login, error)
	LoginBySkeleton(ctx context.Context, skeleton string) (Login, error)

	Organisation(ctx context.Context, id OrganisationID) (Organisation, error)
	OrganisationByNumber(ctx context.Context, number int64) (Organisation, error)
	OrganisationByHash(ctx context.Context, hash string) (Organisation, error)
	OrganisationByKey(ctx context.Context, key string) (Organisation, error)
	OrganisationsByID(ctx context.Context, ids []OrganisationID) ([]Organisation, error) // by id, each once; unknown ones left out
	Organisations(ctx context.Context, after OrganisationID, limit int) ([]Organisation, error)
	Site(ctx context.Context, id SiteID) (Site, error)
	Sites(ctx context.Context, id OrganisationID) ([]Site, error) // by name
	Role(ctx context.Context, key string) (Role, error)
	Roles(ctx context.Context) ([]Role, error)
	Memberships(ctx context.Context, id SubjectID) ([]Membership, error)
	Members(ctx context.Context, id OrganisationID, after SubjectID, limit int) ([]Membership, error)
	Services(ctx context.Context) ([]Service, error)

	Picture(ctx context.Context, id SubjectID) (Picture, error)
	PictureHead(ctx context.Context, id SubjectID) (Picture, error) // without its bytes
	Preferences(ctx context.Context, id SubjectID, door Door) (Preferences, error)

	Policy(ctx context.Context, id PolicyID) (Policy, error)
	PolicyByKey(ctx context.Context, key string) (Policy, error)
	Policies(ctx context.Context) ([]Policy, error)

	Credential(ctx context.Context, id SubjectID, kind CredentialKind) (Credential, error)
	Credentials(ctx context.Context, id SubjectID) ([]Credential, error)
	CredentialsOf(ctx context.Context, ids []SubjectID) ([]Credential, error) // by subject and kind, each once
	APIKey(ctx context.Context, id APIKeyID) (APIKey, error)
	APIKeyByHash(ctx context.Context, hash []byte) (APIKey, error)
	APIKeysOf(ctx context.Context, id SubjectID) ([]APIKey, error) // oldest first
	Attempts(ctx context.Context, key string) (Attempts, error)    // zero Count where there is no row

	IdentityProvider(ctx context.Context, key string) (IdentityProvider, error)
	IdentityProviders(ctx context.Context) ([]IdentityProvider, error) // by key
	LinkedIdentity(ctx context.Context, authority, externalID string) (LinkedIdentity, error)
	LinkedIdentitiesOf(ctx context.Context, id SubjectID) ([]LinkedIdentity, error) // by authority and external id

	Session(ctx context.Context, id SessionID) (Session, error)
	SessionsOf(ctx context.Context, id SubjectID) ([]Session, error) // alive ones, newest first
	Sessions(ctx context.Context, after SessionID, limit int) ([]Session, error)
	OpaqueToken(ctx context.Context, hash []byte) (OpaqueToken, error)
	RevokedToken(ctx context.Context, id string) (RevokedToken, error)
	Ticket(ctx context.Context, id TicketID) (Ticket, error)
	TicketByHash(ctx context.Context, hash []byte) (Ticket, error)
	Recovery(ctx context.Context, id RecoveryID) (Recovery, error)
	RecoveriesOf(ctx context.Context, id SubjectID) ([]Recovery, error)                                   // newest first
	Recoveries(ctx context.Context, state RecoveryState, after RecoveryID, limit int) ([]Recovery, error) // "": of every state
	Browser(ctx context.Context, hash []byte) (Browser, error)

	Client(ctx context.Context, id ClientID) (Client, error)
	Clients(ctx context.Context, after ClientID, limit int) ([]Client, error)
	// ClientsOf gives those of an organisation or, with a device, those bound to it; by id.
	ClientsOf(ctx context.Context, org OrganisationID, device DeviceID, after ClientID, limit int) ([]Client, error)
	SigningKeys(ctx context.Context) ([]SigningKey, error)
	Setting(ctx context.Context, name string) (Setting, error)
	Settings(ctx context.Context, prefix string) ([]Setting, error) // by name

	Events(ctx context.Context, filter EventFilter) ([]Event, error)
	SealedEvents(ctx context.Context, after int64, limit int) ([]Event, error) // by Position
	UnsealedEvents(ctx context.Context, limit int) ([]Event, error)            // by Seq
	LastSealedEvent(ctx context.Context) (Event, error)
	Checkpoints(ctx context.Context, after int64, limit int) ([]Checkpoint, error) // by Position
	LastCheckpoint(ctx context.Context) (Checkpoint, error)

	Message(ctx context.Context, id MessageID) (Message, error)
	Messages(ctx context.Context, state MessageState, before MessageID, limit int) ([]Message, error) // newest first; "" = all
	Changes(ctx context.Context, after int64, limit int) ([]Change, error)                            // by Seq
	LastChange(ctx context.Context) (seq int64, err error)                                            // 0: none yet
}

// Tx reads and writes. "Guarded" methods change a row only if it is as the arguments say, and report whether they did:
// what may happen once is one statement, never a look and then a write.
type Tx interface {
	Reader
	LicenceTx

	CreateSubject(ctx context.Context, s *Subject) error // sets Number
	UpdateSubject(ctx context.Context, s Subject) error
	DeleteSubject(ctx context.Context, id SubjectID) error // with logins, credentials, identities, memberships, sessions, tickets
	TouchSignIn(ctx context.Context, id SubjectID, at time.Time) error
	SetLastOrg(ctx context.Context, id SubjectID, org OrganisationID) error
	CreateLogin(ctx context.Context, l Login) error
	DeleteLogin(ctx context.Context, folded string) error

	CreateOrganisation(ctx context.Context, o *Organisation) error // sets Number
	UpdateOrganisation(ctx context.Context, o Organisation) error
	DeleteOrganisation(ctx context.Context, id OrganisationID) error
	SaveSite(ctx context.Context, s Site) error
	DeleteSite(ctx context.Context, id SiteID) error
	SaveRole(ctx context.Context, r Role) error
	DeleteRole(ctx context.Context, key string) error // Conflict while a membership has it
	SaveMembership(ctx context.Context, m Membership) error
	DeleteMembership(ctx context.Context, id MembershipID) error
	SaveService(ctx context.Context, s *Service) error // by Type and PublicURI; sets Number
	DeleteService(ctx context.Context, number int64) error

	SavePicture(ctx context.Context, p Picture) error
	DeletePicture(ctx context.Context, id SubjectID) error
	SavePreferences(ctx context.Context, p Preferences) error

	SavePolicy(ctx context.Context, p Policy) error // by ID
	DeletePolicy(ctx context.Context, id PolicyID) error

	CreateCredential(ctx context.Context, c Credential) error // Conflict: she has one of that kind
	// UpdateCredential is guarded by c.Version, which it raises.
	UpdateCredential(ctx context.Context, c Credential) (changed bool, err error)
	// SpendStep is guarded: it moves LastStep forward to step, never back and never twice.
	SpendStep(ctx context.Context, id CredentialID, step int64) (spent bool, err error)
	DeleteCredential(ctx context.Context, id CredentialID) error

	CreateAPIKey(ctx context.Context, k APIKey) error // Conflict: she has one of that name
	UpdateAPIKey(ctx context.Context, k APIKey) error // Description and Rights
	// TouchAPIKey moves LastUseAt forward, never back.
	TouchAPIKey(ctx context.Context, id APIKeyID, at time.Time) error
	DeleteAPIKey(ctx context.Context, id APIKeyID) error

	SaveIdentityProvider(ctx context.Context, p IdentityProvider) error // by Key
	DeleteIdentityProvider(ctx context.Context, key string) error       // identities that came through it stay
	// CreateLinkedIdentity fails with Conflict where somebody has that identity already: one caller wins.
	CreateLinkedIdentity(ctx context.Context, l LinkedIdentity) error
	// TouchLinkedIdentity moves LastUseAt forward, never back.
	TouchLinkedIdentity(ctx context.Context, authority, externalID string, at time.Time) error
	DeleteLinkedIdentity(ctx context.Context, id SubjectID, authority, externalID string) error // NotFound: it is not hers

	// CountAttempt adds one failure; a window that has passed starts anew.
	CountAttempt(ctx context.Context, key string, now time.Time, window time.Duration) (Attempts, error)
	ClearAttempts(ctx context.Context, key string) error

	CreateSession(ctx context.Context, s Session) error
	UpdateSession(ctx context.Context, s Session) error // all but Generation, RefreshedAt, SeenAt, EndedAt, EndReason
	// AdvanceSession is guarded: it raises Generation from the one given of a session that is alive at now.
	AdvanceSession(ctx context.Context, id SessionID, generation int64, now time.Time, expiresAt time.Time) (advanced bool, err error)
	TouchSessions(ctx context.Context, seen map[SessionID]time.Time) error // SeenAt only ever moves forward
	// EndSession is guarded: only one caller ends it.
	EndSession(ctx context.Context, id SessionID, reason string, now time.Time) (ended bool, err error)
	// EndSessionsOf ends all of a subject's and those in which she acts, but the one kept.
	EndSessionsOf(ctx context.Context, id SubjectID, keep SessionID, reason string, now time.Time) ([]Session, error)
	// EndActing ends the sessions in which somebody acts as another person and all that is given holds.
	EndActing(ctx context.Context, which Acting, reason string, now time.Time) ([]Session, error)
	// EnterSession is guarded: like AdvanceSession it raises the generation from the one given of a session that is alive at now,
	// and nobody acts in; in the same statement the organisation becomes the session's, if its subject is a member of it then and it
	// has not expired. "" is no organisation.
	EnterSession(ctx context.Context, id SessionID, generation int64, org OrganisationID, now time.Time) (entered bool, err error)
	CreateOpaqueToken(ctx context.Context, t OpaqueToken) error
	DeleteOpaqueToken(ctx context.Context, hash []byte) error
	RevokeToken(ctx context.Context, t RevokedToken) error // again is fine
	CreateTicket(ctx context.Context, t Ticket) error
	// SpendTicket is guarded: it succeeds once, before expiry, however many tries are left.
	SpendTicket(ctx context.Context, id TicketID, now time.Time) (spent bool, err error)
	// TryTicket is guarded: it takes one try from a ticket that is unspent, in time and has one left.
	TryTicket(ctx context.Context, id TicketID, now time.Time) (left int, tried bool, err error)
	DeleteTicketsOf(ctx context.Context, id SubjectID, purpose string) error // "": of every purpose
	CreateRecovery(ctx context.Context, r Recovery) error
	// DecideRecovery is guarded: it moves a request that waits, in time, to r's State, Hash and ExpiresAt.
	DecideRecovery(ctx context.Context, r Recovery, now time.Time) (decided bool, err error)
	// SpendRecovery is guarded: it uses up an approved one, in time.
	SpendRecovery(ctx context.Context, id RecoveryID, now time.Time) (spent bool, err error)
	CreateBrowser(ctx context.Context, b Browser) error
	SeeBrowser(ctx context.Context, hash []byte, session SessionID) error
	DeleteBrowsersOf(ctx context.Context, id SubjectID, session SessionID) error // "": all of hers

	CreateClient(ctx context.Context, c Client) error
	UpdateClient(ctx context.Context, c Client) error
	DeleteClient(ctx context.Context, id ClientID) error
	CreateSigningKey(ctx context.Context, k SigningKey) error
	UpdateSigningKey(ctx context.Context, k SigningKey) error
	DeleteSigningKey(ctx context.Context, id KeyID) error
	// CreateSetting keeps the first value: it reports false where one stands.
	CreateSetting(ctx context.Context, s Setting) (created bool, err error)
	SaveSetting(ctx context.Context, s Setting) error
	DeleteSetting(ctx context.Context, name string) error

	Record(ctx context.Context, e *Event) error // sets Seq
	SealEvents(ctx context.Context, sealed []Event) error
	SaveCheckpoint(ctx context.Context, c Checkpoint) error
	// PruneEvents removes up to limit sealed rows with Position <= upTo, and checkpoints before it; it says how many rows.
	PruneEvents(ctx context.Context, upTo int64, limit int) (int, error)

	Enqueue(ctx context.Context, m Message) error
	// ClaimMessages leases up to limit due messages to owner; two nodes never hold the same one at once.
	ClaimMessages(ctx context.Context, owner string, now time.Time, lease time.Duration, limit int) ([]Message, error)
	// FinishMessage is guarded by LeaseOwner; it stores Attempts, LastError, NextAt, SentAt, GivenUpAt and ends the lease.
	FinishMessage(ctx context.Context, m Message) (finished bool, err error)

	Announce(ctx context.Context, kind ChangeKind, id string, now time.Time) error // appends to the feed
	// Lease gives or renews the named leadership; false while another holds it.
	Lease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (held bool, err error)
	// EndLeases ends every leadership and every claim of a message, for whoever knows that none of the holders lives.
	EndLeases(ctx context.Context) error
	// Sweep removes up to limit rows of each table that ended before now, and old changes; it says how many.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}
