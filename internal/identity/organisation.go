package identity

import "time"

// Organisation is one customer, company or workspace: members, roles, policy. It is a row, not a world.
type Organisation struct {
	ID         OrganisationID
	Number     int64  // as Subject.Number
	Hash       string // as Subject.Hash
	Key        string // the operator's stable name for it; unique
	Name       string
	PolicyID   PolicyID
	Attributes Attributes
	CreatedAt  time.Time
	UpdatedAt  time.Time
	ExpiresAt  time.Time // zero: never; an expired one cannot be entered
}

// ExpiredAt says whether the organisation can no longer be entered.
func (o Organisation) ExpiredAt(now time.Time) bool {
	return !o.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt)
}

// Site is a place inside an organisation.
type Site struct {
	ID             SiteID
	OrganisationID OrganisationID
	Key            string // unique inside its organisation
	Name           string
	CreatedAt      time.Time
}

// Role is a named set of privileges. Privileges are words that only the services behind understand.
type Role struct {
	Key        string
	Privileges []string // sorted
	UpdatedAt  time.Time
}

// Membership is subject × organisation × optional site → role.
type Membership struct {
	ID             MembershipID
	SubjectID      SubjectID
	OrganisationID OrganisationID
	SiteID         SiteID // "": the whole organisation
	Role           string // key of a Role; may be "" where only a door's own role matters
	Attributes     Attributes
	CreatedAt      time.Time
}

// Service is another service of the installation, listed to clients that ask where to go.
type Service struct {
	Number     int64 // stable integer id, given by the store
	Type       string
	PublicURI  string
	PrivateURI string
	Sealed     []byte    // the key that opens it to its peers; nil: not known
	ExpiresAt  time.Time // zero: described by the operator; else it registered itself and must do so again before then
	UpdatedAt  time.Time
}

// StandingServices gives those of a list that have not ended: first those that registered themselves, then those that the operator
// described, which so have the last word where a client keeps one of a type.
func StandingServices(all []Service, now time.Time) []Service {
	var registered, described []Service
	for _, s := range all {
		switch {
		case s.ExpiresAt.IsZero():
			described = append(described, s)
		case now.Before(s.ExpiresAt):
			registered = append(registered, s)
		}
	}
	return append(registered, described...)
}
