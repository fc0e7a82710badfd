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
	Password     PasswordRule
	SecondFactor Demand
	Factors      []CredentialKind // allowed second factors; empty: all
	SessionIdle  time.Duration
	SessionMax   time.Duration
	Lockout      Lockout
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
