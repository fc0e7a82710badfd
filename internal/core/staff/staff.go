// Package staff lets an operator's people manage each other: who may do what with whom, as one table, and the verbs that hold to
// it. Customers whom the operator serves are managed by the same verbs, as a population of their own.
//
// A verb reads the roles of both sides in the transaction of its change: who was demoted a moment ago acts no more. The role is a
// door's word (Words); the one exception is that a root is what the house calls a superadmin, and nobody else is.
package staff

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/identity"
)

// Role is what somebody is among an operator's people.
type Role string

// The roles. Peer is nobody's: another service that calls by its key has it.
const (
	Root       Role = "root"
	Partner    Role = "partner"
	Admin      Role = "admin"
	Subscriber Role = "subscriber"
	CSR        Role = "csr"
	System     Role = "system"
	Installer  Role = "installer"
	NOC        Role = "noc"
	Accounting Role = "accounting"
	Peer       Role = "peer"
)

// Roles lists those that people have.
func Roles() []Role {
	return []Role{Root, Partner, Admin, Subscriber, CSR, System, Installer, NOC, Accounting}
}

// ParseRole reads a role in any case.
func ParseRole(text string) (Role, bool) {
	role := Role(strings.ToLower(text))
	return role, slices.Contains(Roles(), role)
}

// Act is something that is done with somebody.
type Act int

const (
	Read          Act = iota // look at her record and portrait
	List                     // look through everybody's
	Create                   // make somebody of a role, or give it to somebody
	Modify                   // her name, description, locale and notes
	Assign                   // where she belongs, and the security policy that holds for her
	Suspend                  // shut her out, let her in, have her address confirmed anew, or her password changed
	SetRole                  // take her role for another one, which needs Create for that one too
	Delete                   // remove her with all that is hers
	SetPassword              // or have a link mailed by which she sets one
	SetFactor                // switch her second factor
	ResetFactors             // take her second factors away
	SetPicture               // give her a portrait
	RemovePicture            // take it away
	ManageKeys               // her API keys
	SendMessages             // write mail and SMS to whomever
	Inspect                  // learn whose an access token or API key is
	Configure                // turn what the house does while it runs: log levels, reloading
	SeeSecrets               // the installation's, and which services have joined
	KeepSecrets              // change them
	acts                     // how many there are
)

// Acts lists all.
func Acts() []Act {
	all := make([]Act, acts)
	for i := range all {
		all[i] = Act(i)
	}
	return all
}

// rule says who may do an act with whom else, and who with herself.
type rule struct {
	others map[Role][]Role
	self   []Role
}

var (
	everybody  = Roles()
	allButRoot = everybody[1:]
	belowAdmin = everybody[2:] // an admin has no rights over partners, but over other admins
	rulers     = everybody[:3]

	looks = map[Role][]Role{Root: everybody, Partner: everybody, Admin: everybody, CSR: everybody, System: everybody, Peer: everybody}
	rules = map[Role][]Role{Root: everybody, Partner: allButRoot, Admin: belowAdmin}
	roots = map[Role][]Role{Root: everybody}

	senders = map[Role][]Role{Root: everybody, Partner: everybody, Admin: everybody, Peer: everybody}
	seers   = map[Role][]Role{Root: everybody, Admin: everybody, Peer: everybody}
)

// table is openwifi.md 1.8 with its changes, 1.11, 1.13, 1.14 and 2.8: who reads may read everybody; who rules may change whom she
// could have created.
var table = [acts]rule{
	Read:          {looks, everybody},
	List:          {others: looks},
	Create:        {others: rules},
	Modify:        {rules, everybody},
	Assign:        {rules, rulers},
	Suspend:       {rules, rulers},
	SetRole:       {others: rules}, // nobody changes her own
	Delete:        {rules, allButRoot},
	SetPassword:   {rules, everybody},
	SetFactor:     {rules, everybody},
	ResetFactors:  {rules, everybody},
	SetPicture:    {rules, everybody},
	RemovePicture: {roots, everybody},
	ManageKeys:    {roots, everybody},
	SendMessages:  {senders, rulers},
	Inspect:       {seers, everybody},
	Configure:     {others: rules},
	SeeSecrets:    {others: map[Role][]Role{Root: everybody, Peer: everybody}},
	KeepSecrets:   {others: roots},
}

// May says whether somebody of one role may do something with somebody of another, or with herself: nil or identity.Denied.
func May(actor Role, act Act, target Role, self bool) error {
	switch {
	case act < 0 || act >= acts:
	case self && slices.Contains(table[act].self, actor):
		return nil
	case !self && slices.Contains(table[act].others[actor], target):
		return nil
	}
	return identity.Denied.Because("you may not do this")
}

// Facts are what is known of somebody here and has no column in the house.
type Facts struct {
	Role        Role
	Description string
	Location    string
	Notes       []Note
	AuthInfo    string    // what another way in said of her; kept, not understood
	PolicyAt    time.Time // when her security policy was changed
	// BlackListed says why she is suspended; Suspended, that she is so for another reason too. Neither means anything while she
	// is not.
	BlackListed bool
	Suspended   bool
}

// Note is one that somebody left about her.
type Note struct {
	At   time.Time
	By   string
	Text string
}

// ShutOut says for which of two reasons she is suspended.
func (f Facts) ShutOut(subject *identity.Subject) (suspended, blackListed bool) {
	if subject.SuspendedAt.IsZero() {
		return false, false
	}
	return f.Suspended || !f.BlackListed, f.BlackListed
}

// Words is how a door keeps Facts in its JSON of a subject.
type Words struct {
	Door  identity.Door
	Read  func(*identity.Subject) Facts
	Patch func(Facts) []byte // to be merged into what is there (RFC 7396)
}

// Service holds the verbs. The functions are what other parts of the house do for a change, in its transaction.
type Service struct {
	Store     identity.Store
	Manage    *manage.Service
	Profiles  *profile.Service
	Passwords *credential.Passwords
	Recovery  *recovery.Service
	Words     Words
	// Offers says whether the house can ask for a second factor of a kind: it knows it, and can send its codes.
	Offers func(identity.CredentialKind) bool
	// Proven says whether somebody has just proven that a number is in her hands.
	Proven func(ctx context.Context, r identity.Reader, id identity.SubjectID, number string) (bool, error)
	// EnrolApp makes the authenticator that somebody finished setting up her second factor; false: there is none.
	EnrolApp func(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID) (enrolled bool, err error)
	Stale    func() bool // the change feed cannot be read: landmarks must not be trusted; nil: it always can
	Now      func() time.Time

	landmarks landmarks
}

// By is who asks: somebody signed in, or another service by its key.
type By struct {
	identity.Caller
	Service bool // nobody is signed in
}

// RoleOf gives somebody's role. What the door's JSON says of roots does not count: the house knows them.
func (w Words) RoleOf(subject *identity.Subject) Role {
	switch {
	case subject.Kind == identity.Customer:
		return Subscriber
	case subject.Superadmin:
		return Root
	}
	if role := w.Read(subject).Role; role != Root && slices.Contains(everybody, role) {
		return role
	}
	return Subscriber
}

// ofKind says whether somebody is of a population: people where none is named.
func ofKind(subject *identity.Subject, kind identity.SubjectKind) bool {
	return subject.Kind == kind || kind == "" && subject.Kind == identity.Person
}

// actor reads who asks, as she stands now. The portal through which customers manage themselves is another service: over them it
// has an admin's rights (openwifi.md 2.6).
func (s *Service) actor(ctx context.Context, r identity.Reader, by By, kind identity.SubjectKind) (identity.Subject, Role, error) {
	switch {
	case by.Service && kind == identity.Customer:
		return identity.Subject{}, Admin, nil
	case by.Service:
		return identity.Subject{}, Peer, nil
	}
	subject, err := r.Subject(ctx, by.SubjectID)
	if errors.Is(err, identity.NotFound) || err == nil && !subject.Active() {
		return subject, "", identity.TokenRevoked.Because("this account is gone or suspended")
	}
	return subject, s.Words.RoleOf(&subject), err
}

// pair is who acts and with whom.
type pair struct {
	actor  identity.Subject
	role   Role
	target identity.Subject
	was    Role // the target's
	self   bool
}

func (p pair) may(act Act) error { return May(p.role, act, p.was, p.self) }

// meet reads both sides and holds them against the table. Who may do the act with nobody else is not told who exists.
func (s *Service) meet(ctx context.Context, r identity.Reader, by By, kind identity.SubjectKind, act Act, id identity.SubjectID) (p pair, err error) {
	if p.actor, p.role, err = s.actor(ctx, r, by, kind); err != nil {
		return p, err
	}
	p.self = !by.Service && id == by.SubjectID
	if !p.self && len(table[act].others[p.role]) == 0 {
		return p, May(p.role, act, "", false)
	}
	p.target, err = r.Subject(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && !ofKind(&p.target, kind) {
		return p, identity.NotFound.Because("there is no such user")
	}
	if err != nil {
		return p, err
	}
	p.was = s.Words.RoleOf(&p.target)
	return p, p.may(act)
}

// Allow says inside another verb's transaction whether who asks may do what is done with nobody in particular: nil, Denied, or
// TokenRevoked where who asks is gone.
func (s *Service) Allow(ctx context.Context, r identity.Reader, by By, act Act) error {
	if !by.Service && by.SubjectID == "" {
		return May("", act, "", false)
	}
	_, role, err := s.actor(ctx, r, by, "")
	if err != nil {
		return err
	}
	return May(role, act, Subscriber, false)
}

// Check says inside another verb's transaction whether who asks may do something with somebody of a population ("": people):
// nil, Denied, NotFound, or TokenRevoked where who asks is gone.
func (s *Service) Check(ctx context.Context, r identity.Reader, by By, kind identity.SubjectKind, act Act, id identity.SubjectID) error {
	_, err := s.meet(ctx, r, by, kind, act, id)
	return err
}
