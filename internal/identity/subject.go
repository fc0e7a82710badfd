package identity

import "time"

// SubjectKind tells people from machines.
type SubjectKind string

const (
	Person  SubjectKind = "person"
	Machine SubjectKind = "machine"
	// Customer is a person whom an operator serves: she is kept apart from the operator's own people in lists and at doors
	// that have a way in for customers only.
	Customer SubjectKind = "customer"
)

// Subject is a person or a machine: one set of credentials whatever door she uses.
type Subject struct {
	ID         SubjectID
	Number     int64  // per-table sequence, for doors that show integers; given by the store at creation
	Hash       string // 40 lower-case hex digits, random, for doors that show hashes
	Kind       SubjectKind
	Email      string // the primary address as typed; its Login decides who is found by it
	Name       string // as displayed
	GivenName  string
	MiddleName string
	FamilyName string
	Phone      string // E.164 or as typed; not a login unless there is one
	Locale     string // BCP 47, may be empty
	Superadmin bool
	MustVerify bool           // she may not sign in before her address is confirmed
	PolicyID   PolicyID       // her own security policy, beside her organisations'
	Owner      string         // id of the operator or entity that she belongs to in another service; may be empty
	LastOrgID  OrganisationID // the organisation she used last; where a door without a choice lands
	Attributes Attributes
	CreatedBy  string // login or subject id of who did it, for display
	UpdatedBy  string

	CreatedAt    time.Time
	UpdatedAt    time.Time
	VerifiedAt   time.Time // zero: her primary address is not confirmed, and proves nothing about her
	SuspendedAt  time.Time // zero: not suspended
	LastSignInAt time.Time // zero: never
}

// Active says whether she may hold a session.
func (s Subject) Active() bool { return s.SuspendedAt.IsZero() && !s.AwaitsVerification() }

// AwaitsVerification says whether she must follow the link in a mail before she may sign in.
func (s Subject) AwaitsVerification() bool { return s.MustVerify && s.VerifiedAt.IsZero() }

// LoginKind says what sort of name a login is.
type LoginKind string

const (
	EmailLogin    LoginKind = "email"
	UsernameLogin LoginKind = "username" // a bare name or alias
	PhoneLogin    LoginKind = "phone"
)

// Login is what a person types to be found. Several belong to one subject; each folded form belongs to one subject only.
type Login struct {
	SubjectID SubjectID
	Kind      LoginKind
	Typed     string // as the person wrote it
	Folded    string // NFKC, case-folded: unique, and what look-ups use
	Skeleton  string // equal for look-alikes (UTS 39): unique, so that nobody registers another's double
	Primary   bool   // the one shown as her address
	CreatedAt time.Time
}

// SubjectFilter chooses subjects for a list, in ascending order of id, or of the first matching login where Prefix is set.
type SubjectFilter struct {
	After          SubjectID      // the last id of the page before
	Offset         int            // records to skip; costs what it skips, for doors whose contract pages by offset
	Limit          int            // at most this many; the store caps it at 1000
	Prefix         string         // folded prefix of any login
	Name           string         // folded part of the name
	Email          string         // folded part of the primary address
	OrganisationID OrganisationID // members of it only
	Kind           SubjectKind    // "": all
	Owner          string         // "": all
	Suspended      *bool
}
