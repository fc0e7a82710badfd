package identity

import (
	"context"
	"time"
)

type (
	AgreementID string
	DeviceID    string
	LicenceID   string
	RenewalID   string
)

// Agreement is what licences are of: what they entitle to, on which terms. Many licences share one.
type Agreement struct {
	ID          AgreementID
	Key         string // the operator's stable name for it; unique
	Name        string
	Kind        string   // "trial", "subscription", …
	Provides    []string // entitlements, sorted; words that only the services behind understand
	PublishedAt time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Device is a thing of an organisation's that a licence may name.
type Device struct {
	ID             DeviceID
	Key            string // as Agreement.Key
	Name           string
	OrganisationID OrganisationID
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Licence gives an organisation what an agreement provides, for a time.
type Licence struct {
	ID             LicenceID
	Key            string // as Agreement.Key
	Code           string // what its holder is given to type; unique without regard to case
	AgreementID    AgreementID
	OrganisationID OrganisationID
	ProviderID     OrganisationID // who sells it; "": nobody is named
	SignedBy       SubjectID      // who signed the contract; "": nobody yet
	SignedAt       time.Time
	StartsAt       time.Time
	ExpiresAt      time.Time     // zero: never
	Grace          time.Duration // how long it goes on after ExpiresAt, and a document after its lease
	PaidUntilAt    time.Time
	AmountPerMonth int64 // minor units of the currency
	DiscountBP     int   // basis points, 0 to 10000
	Catalogues     []string
	Seats          int // devices that it may name
	Taken          int // devices that it names; kept by TakeSeat and ReleaseSeat
	// Named: it is for the devices that it names, and for none while it names none, so that whose seat is taken away does not get
	// everybody's. Set by TakeSeat.
	Named          bool
	RevokedAt      time.Time
	RevokedFor     string
	DocumentsEndAt time.Time // when the last document printed of it is of no use any more; zero: none was
	NoticeAt       time.Time // when its people are told next how it stands; zero: never
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// LicenceState is how a licence stands.
type LicenceState string

const (
	LicencePending LicenceState = "pending" // has not started
	LicenceActive  LicenceState = "active"
	LicenceGrace   LicenceState = "grace" // expired, and still entitles
	LicenceExpired LicenceState = "expired"
	LicenceRevoked LicenceState = "revoked"
)

// StateAt says how the licence stands.
func (l Licence) StateAt(now time.Time) LicenceState {
	switch {
	case !l.RevokedAt.IsZero():
		return LicenceRevoked
	case now.Before(l.StartsAt):
		return LicencePending
	case l.ExpiresAt.IsZero() || now.Before(l.ExpiresAt):
		return LicenceActive
	case now.Before(l.ExpiresAt.Add(l.Grace)):
		return LicenceGrace
	}
	return LicenceExpired
}

// Renewal is one lengthening of a licence: what held before, and what since.
type Renewal struct {
	ID                             RenewalID
	LicenceID                      LicenceID
	By                             SubjectID // "": an operator at the command line
	At                             time.Time
	OldExpiresAt, NewExpiresAt     time.Time
	OldPaidUntilAt, NewPaidUntilAt time.Time
	OldAmount, NewAmount           int64
	OldDiscountBP, NewDiscountBP   int
}

// Revocation makes documents void that were printed under an epoch before its own: of a licence, or of all licences that an
// organisation had.
type Revocation struct {
	Epoch          int64 // grows by every revocation; given by the store
	LicenceID      LicenceID
	OrganisationID OrganisationID
	RevokedAt      time.Time
	ExpiresAt      time.Time // when the last of them has ended by itself; forgotten then
}

// LicenceColumn is what a list of licences may be ordered by. Texts are compared without regard to case.
type LicenceColumn string

const (
	ByAgreementName LicenceColumn = "agreement name"
	ByLicenceCode   LicenceColumn = "code"
	ByStart         LicenceColumn = "start"
	ByExpiry        LicenceColumn = "expiry" // those without one come last, in either direction
)

// LicenceOrder is one of several things to order by.
type LicenceOrder struct {
	By         LicenceColumn
	Descending bool
}

// LicenceFilter chooses licences. Whatever is empty does not filter.
type LicenceFilter struct {
	OrganisationID OrganisationID // "": those of all
	Text           string         // part of the agreement's name, the code or the provider's name, without regard to case
	DeviceID       DeviceID
	Kind           string         // the agreement's, without regard to case
	Agreement      string         // its name without regard to case, or its id
	Order          []LicenceOrder // and by ID, so that pages are stable
	Offset         int64
	Limit          int
}

// LicenceReader is what a snapshot knows of licences.
type LicenceReader interface {
	Agreement(ctx context.Context, id AgreementID) (Agreement, error)
	AgreementByKey(ctx context.Context, key string) (Agreement, error)
	Agreements(ctx context.Context, after AgreementID, limit int) ([]Agreement, error)
	Device(ctx context.Context, id DeviceID) (Device, error)
	DeviceByKey(ctx context.Context, key string) (Device, error)
	Devices(ctx context.Context, org OrganisationID, after DeviceID, limit int) ([]Device, error) // org "": of all
	Licence(ctx context.Context, id LicenceID) (Licence, error)
	LicenceOf(ctx context.Context, org OrganisationID, id LicenceID) (Licence, error) // another's is as unknown as none
	LicenceByKey(ctx context.Context, key string) (Licence, error)
	Licences(ctx context.Context, filter LicenceFilter) ([]Licence, error)
	CountLicences(ctx context.Context, filter LicenceFilter) (int, error)           // of all pages together
	EachLicence(ctx context.Context, after LicenceID, limit int) ([]Licence, error) // of all organisations, by id
	DevicesOfLicence(ctx context.Context, id LicenceID) ([]Device, error)           // by id
	LicencesOfDevice(ctx context.Context, id DeviceID) ([]Licence, error)           // by id
	// Entitling gives the agreements, each once, of an organisation's licences that hold at now, grace included; none once the organisation
	// itself has expired. With a device, of those that name it or are for every device.
	Entitling(ctx context.Context, org OrganisationID, device DeviceID, now time.Time) ([]Agreement, error)
	Renewals(ctx context.Context, id LicenceID) ([]Renewal, error) // oldest first
	// DueLicences gives up to limit licences whose NoticeAt has come, the longest due first.
	DueLicences(ctx context.Context, now time.Time, limit int) ([]Licence, error)
	// LastDocument gives the latest DocumentsEndAt of an organisation's licences.
	LastDocument(ctx context.Context, org OrganisationID) (time.Time, error)
	Revocations(ctx context.Context, after int64, limit int) ([]Revocation, error) // by Epoch
	RevocationEpoch(ctx context.Context) (int64, error)                            // of the newest; 0: none yet
}

// LicenceTx writes them.
type LicenceTx interface {
	SaveAgreement(ctx context.Context, a Agreement) error      // by ID
	DeleteAgreement(ctx context.Context, id AgreementID) error // Conflict while a licence is of it
	SaveDevice(ctx context.Context, d Device) error            // by ID; all but OrganisationID
	DeleteDevice(ctx context.Context, id DeviceID) error       // its seats are free then
	CreateLicence(ctx context.Context, l Licence) error        // without devices
	UpdateLicence(ctx context.Context, l Licence) error        // all but OrganisationID, Taken, DocumentsEndAt and CreatedAt
	DeleteLicence(ctx context.Context, id LicenceID) error     // with its history and seats
	AddRenewal(ctx context.Context, r Renewal) error
	// TakeSeat is guarded: it names the device if a seat is free. Conflict: the licence names it already.
	TakeSeat(ctx context.Context, id LicenceID, device DeviceID, now time.Time) (taken bool, err error)
	// ReleaseSeat is guarded: only one caller frees the seat.
	ReleaseSeat(ctx context.Context, id LicenceID, device DeviceID) (released bool, err error)
	// MoveNotice is guarded: it moves NoticeAt from the one given.
	MoveNotice(ctx context.Context, id LicenceID, from, to time.Time) (moved bool, err error)
	// KeepDocuments moves DocumentsEndAt forward, never back.
	KeepDocuments(ctx context.Context, id LicenceID, until time.Time) error
	// Revoke takes the place of what was revoked of the same licence or organisation; it sets Epoch. Epochs are committed in their order.
	Revoke(ctx context.Context, r *Revocation) error
}
