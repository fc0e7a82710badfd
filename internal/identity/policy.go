package identity

import "time"

// Demand says how a policy wants second factors.
type Demand string

const (
	FactorOff      Demand = "off"      // never asked
	FactorOptional Demand = "optional" // asked of whoever has one
	FactorNeeded   Demand = "required" // nobody signs in without one
)

// DefaultPolicyKey names the policy that applies to everybody; without such a row the built-in one does.
const DefaultPolicyKey = "default"

// Policy is a security policy: of an organisation, of a subject, or the default of all. Zero fields demand nothing, and
// where several apply the stricter rule of each field wins (core/policy).
type Policy struct {
	ID           PolicyID
	Key          string
	Description  string
	Password     PasswordRule
	SecondFactor Demand
	Factors      []CredentialKind // allowed second factors; empty: all
	SessionIdle  time.Duration
	SessionMax   time.Duration
	Lockout      Lockout
	Hours        []Schedule // each must be open to sign in; none: at any time
	Networks     [][]string // CIDR blocks; each list must hold the caller's address; none: from anywhere
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// PasswordRule is what a new password must satisfy. It is data, so that doors can render it in their own pattern.
type PasswordRule struct {
	MinLength  int // Unicode characters
	Classes    int // how many of: upper case, lower case, digit, other
	History    int // how many earlier passwords are refused, the present one included
	MaxAgeDays int // 0: never too old
	MinScore   int // 0..4 by zxcvbn's scale
}

// Lockout bounds guessing: Tries failures within Window, then no try counts until the window has passed.
type Lockout struct {
	Tries  int
	Window time.Duration
}

// Schedule says when somebody may sign in: in any of its windows, by the clock of a zone.
type Schedule struct {
	Zone    string   `json:"zone"` // IANA name; "": UTC
	Windows []Window `json:"windows"`
}

// Window is a span of time on some days of the week.
type Window struct {
	Days  []time.Weekday `json:"days"`  // none: every day
	From  int            `json:"from"`  // minutes since midnight, included
	Until int            `json:"until"` // minutes since midnight, excluded; not after From: it ends on the day after
}
