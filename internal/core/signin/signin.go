// Package signin is the one way in: a state machine that every door drives and none can shorten.
//
//	Password ─► signed in
//	         ─► more proof needed (ticket) ─► Proof ─► signed in
//	         ─► password must change (ticket) ─► Change ─► signed in, or more proof needed
//	         ─► refused: BadCredential, Locked, Suspended, Unverified, Restricted, Busy, …
//	Token    ─► the same, from a one-time token for a proof that was made elsewhere
//
// A ticket is no session: one purpose, minutes long, counted tries, spent by one guarded statement. Every door prints the same
// outcomes in its own words; a door whose contract has no second step gets a refusal where one is due.
package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// Factor is a second factor that answers with a typed code. One folder of internal/factor each; app lists them, strongest
// first.
type Factor interface {
	Kind() identity.CredentialKind
	AMR() string // RFC 8176
	// Offer prepares the factor for one ticket that ends then, inside its transaction: mail and SMS make a code and enqueue it.
	// What it returns is kept in the ticket for Check. offered is false where the factor cannot be used now; a refusal (Throttled)
	// says why, and what was counted for it stays.
	Offer(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.Subject, c identity.Credential, ends time.Time) (memory string, offered bool, err error)
	// Check says whether the code is right, and spends it in the same transaction so that it never works twice.
	Check(ctx context.Context, tx identity.Tx, c identity.Credential, memory, code string) (bool, error)
}

// Resender is a Factor that sends something. Of these a ticket offers one at most, the strongest, and only where nothing stronger
// is offered: whoever signs in gets one message, by the channel that the door names.
type Resender interface {
	Factor
	// Resend sends the code that is in memory once more. sent is false where it can no longer be.
	Resend(ctx context.Context, tx identity.Tx, subject identity.Subject, c identity.Credential, memory string, ends time.Time) (sent bool, err error)
}

// Linker is a Resender whose message can carry a link that stands for the code.
type Linker interface {
	Resender
	OfferLink(ctx context.Context, tx identity.Tx, subject identity.Subject, c identity.Credential, ends time.Time, link string) (memory string, offered bool, err error)
}

// Recovery knows the codes that operators approved for those who lost their second factor; core/recovery does. They work in its
// place at every door's second step.
type Recovery interface {
	// OpenIn says whether she has such a code.
	OpenIn(ctx context.Context, r identity.Reader, subject identity.Subject) (bool, error)
	// SpendIn says whether a code is one, and spends it in the same transaction.
	SpendIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, code string) (bool, error)
}

// Limits bound guessing across all doors; a login's own limit is the policy's.
type Limits struct {
	AddressFailures int           // failures from one address (IPv4, or IPv6 /64) …
	AddressWindow   time.Duration // … in this time
	FactorFailures  int           // wrong codes of one person, over all her tickets …
	FactorWindow    time.Duration // … in this time
	TicketTTL       time.Duration
	TicketTries     int
	Resends         int // of one ticket's code
}

// DefaultLimits give a guesser of six-digit codes at most 960 tries a day at three good codes in a million each: a chance of
// 0.3 % a day, and only with the right password.
var DefaultLimits = Limits{
	AddressFailures: 100, AddressWindow: 15 * time.Minute,
	FactorFailures: 10, FactorWindow: 15 * time.Minute,
	TicketTTL: 5 * time.Minute, TicketTries: 5, Resends: 3,
}

// Service signs people in.
type Service struct {
	Store     identity.Store
	Sessions  *session.Service
	Passwords *credential.Passwords
	Factors   []Factor
	Recovery  Recovery // nil: none
	Links     *link.Service
	Log       *audit.Log
	Limits    Limits
	Now       func() time.Time
	Rand      io.Reader
}

// Landing says which organisation a new session is for.
type Landing int

const (
	NoOrganisation Landing = iota
	LastOrOnly             // the last used if she may still enter it, else her only one, else none
	LastOrFirst            // the last used, else the first of her memberships
)

// Steps are those that the door's contract has. A step that is due at a door without it is a refusal.
type Steps struct {
	Proof  bool
	Change bool
}

// TicketForm says how a ticket is shown to its holder.
type TicketForm int

const (
	OpaqueTicket TicketForm = iota // 256 bit, base64url
	UUIDTicket                     // a random UUID, for contracts that want one
)

// Way is what a door says of a way in, whichever first step it begins with.
type Way struct {
	ClientID   identity.ClientID
	Scopes     []string
	Remember   bool
	KeepsSpent bool
	Landing    Landing
	Steps      Steps
	TicketForm TicketForm
	TicketTTL  time.Duration // 0: the house's
	Attributes []byte        // the door's own, for the session
	// Demand reads a door's own words for "members need a second factor" off the organisation that she lands in. May be nil.
	Demand func(identity.Organisation) identity.Demand
	// DemandKinds are those that satisfy Demand. May be nil, and give nil: all.
	DemandKinds func(identity.Organisation) []identity.CredentialKind
	// Admit is asked once it is known who she is, in the transaction: may she have what the door was asked for, and does that want a
	// second factor? May be nil.
	Admit func(context.Context, identity.Reader, identity.Subject) (identity.Demand, error)
	// CodeLink is the address of the door's page that a link in the place of a mailed code opens. nil: no such link.
	CodeLink func(identity.Secret) string
}

// intent is what is to come of it, as far as the door says.
func (w Way) intent() intent {
	return intent{
		ClientID: w.ClientID, Scopes: w.Scopes, Remember: w.Remember, KeepsSpent: w.KeepsSpent, Attributes: w.Attributes,
		Steps: w.Steps, TicketForm: w.TicketForm, TicketTTL: w.TicketTTL, linksWith: w.CodeLink,
	}
}

// PasswordInput is a first step.
type PasswordInput struct {
	Caller      identity.Caller
	Login       string
	Password    identity.Secret
	NewPassword identity.Secret // "": keep; otherwise set it once the person has fully signed in
	Way
	// OwnDemand reads a demand for a second factor off the person, for a door at which she asks for it herself. May be nil.
	OwnDemand func(identity.Subject) identity.Demand
	// Hand has the machine end with a one-time token for another way in, bound to what it says, instead of a session. May be nil.
	Hand    *Bound
	Devices Devices
}

// Outcome is where the machine stands. Exactly one of Session.ID, Ticket and Token is set.
type Outcome struct {
	Subject identity.Subject
	Session identity.Session // signed in
	Ticket  *Ticket          // more to do
	Token   identity.Secret  // for Token, where the door asked for one
	Device  *Mark            // signed in, with a mark for her browser to keep; may be nil
}

// Ticket is what its holder may know.
type Ticket struct {
	ID        identity.TicketID
	Secret    identity.Secret // what its holder shows; only its hash is stored
	Purpose   string          // ProofDue or ChangeDue
	Factors   []identity.CredentialKind
	TriesLeft int
	CreatedAt time.Time
	ExpiresAt time.Time
}

// What a ticket is for.
const (
	ProofDue  = "signin.proof"
	ChangeDue = "signin.change"
)

// intent is what the machine remembers from step to step, in the ticket.
type intent struct {
	LoginKey        string                  `json:"login_key"`
	ClientID        identity.ClientID       `json:"client_id,omitempty"`
	Scopes          []string                `json:"scopes,omitempty"`
	Remember        bool                    `json:"remember,omitempty"`
	KeepsSpent      bool                    `json:"keeps_spent,omitempty"`
	Attributes      json.RawMessage         `json:"attributes,omitempty"`
	Org             identity.OrganisationID `json:"organisation,omitempty"`
	AMR             []string                `json:"amr"`
	NeedsProof      bool                    `json:"needs_proof,omitempty"`
	Steps           Steps                   `json:"steps"`
	TicketForm      TicketForm              `json:"ticket_form,omitempty"`
	TicketTTL       time.Duration           `json:"ticket_ttl,omitempty"`
	NewHash         string                  `json:"new_hash,omitempty"` // a prepared password, set at the end
	PasswordVersion int64                   `json:"password_version"`   // 0: she has none
	Offers          []offer                 `json:"offers,omitempty"`
	Enters          identity.SessionID      `json:"enters,omitempty"` // a session that goes on in Org, instead of a new one
	Hand            *Bound                  `json:"hand,omitempty"`   // a one-time token, instead of a session
	Until           time.Time               `json:"until,omitzero"`   // the session's end at the latest
	// What she proves herself with: kinds that are good enough (none: all), and whether her mailbox is where she enrolled nothing.
	Kinds   []identity.CredentialKind `json:"kinds,omitempty"`
	Mailbox bool                      `json:"mailbox,omitempty"`
	// Device is the hash of the mark that spared her the code; Marks says that she will get one.
	Device    []byte                       `json:"device,omitempty"`
	MarksTTL  time.Duration                `json:"marks_ttl,omitempty"`
	Marks     bool                         `json:"marks,omitempty"`
	linksWith func(identity.Secret) string // CodeLink; a step that comes later mails none
}

type offer struct {
	Kind    identity.CredentialKind `json:"kind"`
	Memory  string                  `json:"memory,omitempty"`
	Mailbox string                  `json:"mailbox,omitempty"` // her address, which she did not enrol
}

// candidate is what one look at the store says about a login.
type candidate struct {
	known    bool
	context  credential.Context
	landing  identity.OrganisationID
	demand   identity.Demand // of where she lands
	kinds    []identity.CredentialKind
	own      bool // she asks for a code herself
	enrolled []identity.Credential
}

// Password takes the first step.
func (s *Service) Password(ctx context.Context, in PasswordInput) (Outcome, error) {
	folded, err := login.Fold(in.Login)
	if err != nil {
		folded = login.Folded("\x00" + in.Login) // no login can be that: unknown, at the same cost
	}
	key := loginKey(string(folded))
	who, err := s.look(ctx, in, string(folded), key)
	if err != nil {
		return Outcome{}, err
	}
	match, rehash, err := s.verify(ctx, who, in.Password)
	if err != nil {
		return Outcome{}, err
	}
	if match && (rehash || in.NewPassword != "") {
		// Looked at here too: the time that more hashes take would tell a guesser beyond the lock that the password is right.
		if match, err = s.mayJudge(ctx, in.Caller, key, who); err != nil {
			return Outcome{}, err
		}
	}
	var rehashed string
	var weak error
	goal := in.intent()
	goal.LoginKey, goal.Org, goal.AMR, goal.Hand = key, who.landing, []string{"pwd"}, in.Hand
	if match {
		if rehash {
			if rehashed, err = s.rehash(ctx, in.Password); err != nil {
				return Outcome{}, err
			}
		}
		goal.PasswordVersion = who.context.Current.Version
		goal.Kinds = who.kinds
		if in.Remember {
			goal.MarksTTL = in.Devices.TTL
		}
		if in.NewPassword != "" && who.context.Subject.Active() {
			// A refusal waits until the lock was looked at: it would tell a guesser that the password is right.
			if goal.NewHash, weak = s.Passwords.Prepare(ctx, who.context, in.Caller.Door, in.NewPassword); weak != nil && !refuses(weak) {
				return Outcome{}, weak
			}
		}
	}
	var out Outcome
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		out, refusal = Outcome{}, nil
		goal := goal // it changes below, and all this may run again
		// Looked at again here, or parallel guesses would slip past the lock.
		if refusal, err = s.locked(ctx, tx, in.Caller, key); refusal != nil || err != nil {
			return err
		}
		spent, err := s.spent(ctx, tx, who, key)
		if err != nil {
			return err
		}
		if !match || spent {
			refusal = identity.BadCredential.Because("login or password is wrong")
			if err := s.countFailure(ctx, tx, in.Caller, key, who.key(key)); err != nil {
				return err
			}
			if spent {
				return s.record(ctx, tx, in.Caller, who.context.Subject.ID, identity.Locked)
			}
			return s.record(ctx, tx, in.Caller, who.context.Subject.ID, refusal)
		}
		if refusal, err = s.admit(ctx, tx, in.Caller, who.context.Subject.ID, goal.PasswordVersion); err != nil {
			return err
		}
		if refusal == nil && in.Admit != nil {
			if refusal, err = s.admitted(ctx, tx, in.Admit, who.context.Subject, &goal); err != nil {
				return err
			}
		}
		if refusal == nil {
			refusal = weak
		}
		if refusal != nil {
			return s.record(ctx, tx, in.Caller, who.context.Subject.ID, refusal)
		}
		if rehashed != "" && goal.NewHash == "" {
			upgraded := *who.context.Current
			upgraded.Hash = rehashed
			if _, err := tx.UpdateCredential(ctx, upgraded); err != nil {
				return err
			}
			goal.PasswordVersion = upgraded.Version + 1
		}
		for _, counted := range []string{key, who.key(key)} {
			if err := tx.ClearAttempts(ctx, counted); err != nil {
				return err
			}
		}
		if err := s.proofDue(ctx, tx, in, who, &goal); err != nil {
			return err
		}
		if out, refusal, err = s.proceed(ctx, tx, in.Caller, who.context, goal); err != nil || refusal == nil {
			return err
		}
		return s.record(ctx, tx, in.Caller, who.context.Subject.ID, refusal)
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

// look reads all that the first step needs in one snapshot.
func (s *Service) look(ctx context.Context, in PasswordInput, folded, key string) (candidate, error) {
	var who candidate
	err := s.Store.View(ctx, func(r identity.Reader) error {
		who = candidate{}
		refusal, err := s.locked(ctx, r, in.Caller, key)
		if err != nil || refusal != nil {
			return errors.Join(err, refusal) // before any hash: a locked login costs no work
		}
		subject, err := r.SubjectByLogin(ctx, folded)
		if errors.Is(err, identity.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !s.Sessions.Rules[in.Caller.Door].Admits(subject.Kind) {
			return nil // as unknown
		}
		if who.context, err = s.Passwords.Load(ctx, r, subject); err != nil {
			return err
		}
		if who.context.Current == nil {
			return nil // nothing to prove herself with here: as unknown
		}
		who.known = true
		land, found := landing(in.Landing, subject, who.context.Organisations, s.Now())
		if found {
			who.landing = land.ID
			if in.Demand != nil {
				who.demand = in.Demand(land)
			}
			if in.DemandKinds != nil && who.demand == identity.FactorNeeded {
				who.kinds = in.DemandKinds(land)
			}
		}
		who.own = in.OwnDemand != nil && in.OwnDemand(subject) == identity.FactorNeeded
		who.enrolled, err = r.Credentials(ctx, subject.ID)
		return err
	})
	return who, err
}

func landing(l Landing, subject identity.Subject, all []identity.Organisation, now time.Time) (identity.Organisation, bool) {
	open := slices.DeleteFunc(slices.Clone(all), func(o identity.Organisation) bool { return o.ExpiredAt(now) })
	if l == NoOrganisation || len(open) == 0 {
		return identity.Organisation{}, false
	}
	for _, o := range open {
		if o.ID == subject.LastOrgID {
			return o, true
		}
	}
	if l == LastOrFirst || len(open) == 1 {
		return open[0], true
	}
	return identity.Organisation{}, false
}

// lands says whether an organisation that she was to land in is still open to her.
func lands(all []identity.Organisation, org identity.OrganisationID, now time.Time) bool {
	return slices.ContainsFunc(all, func(o identity.Organisation) bool { return o.ID == org && !o.ExpiredAt(now) })
}

// verify hashes outside every transaction: it takes tens of milliseconds, and SQLite has one writer. An unknown login is
// checked against a decoy: same work, same answer, same time.
func (s *Service) verify(ctx context.Context, who candidate, pw identity.Secret) (match, rehash bool, err error) {
	if !who.known {
		return false, false, s.Passwords.Hasher.VerifyDecoy(ctx, pw)
	}
	return s.Passwords.Hasher.Verify(ctx, who.context.Current.Hash, pw, who.context.Subject.Email)
}

func (s *Service) rehash(ctx context.Context, pw identity.Secret) (string, error) {
	rehashed, err := s.Passwords.Hasher.Hash(ctx, pw)
	if errors.Is(err, identity.Busy) {
		return "", nil // the old hash serves once more
	}
	return rehashed, err
}

// mayJudge says whether a right password still counts as one, before more work is spent on it.
func (s *Service) mayJudge(ctx context.Context, caller identity.Caller, key string, who candidate) (may bool, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		refusal, err := s.locked(ctx, r, caller, key)
		if err != nil || refusal != nil {
			return errors.Join(err, refusal)
		}
		spent, err := s.spent(ctx, r, who, key)
		may = !spent
		return err
	})
	return may, err
}

// usable gives her second factors that the policy and where she goes allow, in the house's order. Recovery codes stand in for
// another one: alone they are none.
func usable(p identity.Policy, kinds []identity.CredentialKind, enrolled []identity.Credential, factors []Factor) []identity.Credential {
	var list []identity.Credential
	own := false
	for _, f := range factors {
		for _, c := range enrolled {
			standIn := c.Kind == identity.RecoveryCode
			if c.Kind == f.Kind() && policy.Allows(p, c.Kind) && (standIn || len(kinds) == 0 || slices.Contains(kinds, c.Kind)) {
				list, own = append(list, c), own || !standIn
			}
		}
	}
	if !own {
		return nil
	}
	return list
}

// admit looks at the subject as she stands now, and last at her policy's hours and networks: only the right password learns of
// them.
func (s *Service) admit(ctx context.Context, r identity.Reader, caller identity.Caller, id identity.SubjectID, passwordVersion int64) (refusal, err error) {
	subject, err := r.Subject(ctx, id)
	if errors.Is(err, identity.NotFound) {
		return identity.BadCredential.Because("login or password is wrong"), nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !subject.SuspendedAt.IsZero():
		return identity.Suspended.Because("this account is suspended"), nil
	case subject.AwaitsVerification():
		return identity.Unverified.Because("the e-mail address is not confirmed yet"), nil
	}
	current, err := r.Credential(ctx, id, identity.Password)
	none := errors.Is(err, identity.NotFound)
	if none && passwordVersion != 0 || err == nil && current.Version != passwordVersion {
		return identity.BadCredential.Because("login or password is wrong"), nil // changed since it was read
	}
	if err != nil && !none {
		return nil, err
	}
	err = s.Passwords.Policies.Admit(ctx, r, caller, subject)
	if errors.Is(err, identity.Restricted) {
		return err, nil
	}
	return nil, err
}

// admitted asks the door whether she may have what it was asked for.
func (s *Service) admitted(ctx context.Context, r identity.Reader, ask func(context.Context, identity.Reader, identity.Subject) (identity.Demand, error), who identity.Subject, goal *intent) (refusal, err error) {
	demand, err := ask(ctx, r, who)
	if err != nil && refuses(err) {
		return err, nil
	}
	// Whoever has proven one already has what is demanded.
	goal.NeedsProof = goal.NeedsProof || demand == identity.FactorNeeded && !slices.Contains(goal.AMR, "mfa")
	return nil, err
}

// proceed goes on from a proven first factor: change, proof, or session.
func (s *Service) proceed(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal intent) (Outcome, error, error) {
	if goal.NewHash == "" && slices.Contains(goal.AMR, "pwd") && c.Current != nil {
		due, kind := s.changeDue(c)
		if due {
			if !goal.Steps.Change {
				return Outcome{}, kind, nil
			}
			return s.issue(ctx, tx, caller, c, goal, ChangeDue)
		}
	}
	if goal.NeedsProof {
		if !goal.Steps.Proof {
			return Outcome{}, identity.FactorRequired.Because("a second factor is needed, and this way in has no step for it"), nil
		}
		return s.issue(ctx, tx, caller, c, goal, ProofDue)
	}
	return s.finish(ctx, tx, caller, c, goal)
}

func (s *Service) changeDue(c credential.Context) (bool, error) {
	if c.Current.MustChange {
		return true, identity.PasswordDue.Because("the password must be changed first")
	}
	if days := c.Policy.Password.MaxAgeDays; days > 0 && s.Now().Sub(c.Current.UpdatedAt) > time.Duration(days)*24*time.Hour {
		return true, identity.PasswordExpired.Because("the password has expired and must be changed")
	}
	return false, nil
}

// finish sets a waiting new password and begins the session.
func (s *Service) finish(ctx context.Context, tx identity.Tx, caller identity.Caller, c credential.Context, goal intent) (Outcome, error, error) {
	if goal.Enters != "" {
		return s.enter(ctx, tx, caller, c, goal)
	}
	if goal.NewHash != "" {
		current, err := tx.Credential(ctx, c.Subject.ID, identity.Password)
		if err != nil {
			return Outcome{}, nil, err
		}
		herself := caller
		herself.ActorID = c.Subject.ID
		change := credential.Change{
			Caller: herself, SubjectID: c.Subject.ID, Hash: goal.NewHash, Based: &current, Reason: "changed at sign-in",
		}
		if err := s.Passwords.SetIn(ctx, tx, change); err != nil {
			return Outcome{}, nil, err
		}
	}
	if goal.Hand != nil {
		return s.hand(ctx, tx, caller, c, goal)
	}
	begun, err := s.Sessions.Begin(ctx, tx, session.Start{
		Caller: caller, Subject: c.Subject, Policy: c.Policy, ClientID: goal.ClientID, OrganisationID: goal.Org, AMR: goal.AMR,
		Scopes: goal.Scopes, Remember: goal.Remember, KeepsSpent: goal.KeepsSpent, Attributes: goal.Attributes, Until: goal.Until,
	})
	if err != nil {
		return Outcome{}, nil, err
	}
	mark, err := s.mark(ctx, tx, caller, goal, begun)
	if err != nil {
		return Outcome{}, nil, err
	}
	err = s.Log.Record(ctx, tx, caller, audit.Entry{
		Action: "signin", SubjectID: c.Subject.ID, ActorID: c.Subject.ID, SessionID: begun.ID, ClientID: goal.ClientID, OrganisationID: goal.Org,
		After: map[string]any{"amr": goal.AMR},
	})
	return Outcome{Subject: c.Subject, Session: begun, Device: mark}, nil, err
}

// refuses says whether err is an answer to the request rather than trouble in the house.
func refuses(err error) bool {
	k := identity.KindOf(err)
	return k != identity.Internal && k != identity.Unavailable && k != identity.Busy
}

func (s *Service) record(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.SubjectID, refusal error) error {
	return s.Log.Record(ctx, tx, caller, audit.Entry{
		Action: "signin", Outcome: identity.KindOf(refusal).Error(), SubjectID: subject,
	})
}

// locked says whether this login or this address has used up its tries.
func (s *Service) locked(ctx context.Context, r identity.Reader, caller identity.Caller, key string) (refusal, err error) {
	now := s.Now()
	limit, err := s.Passwords.Policies.Lockout(ctx, r)
	if err != nil {
		return nil, err
	}
	byLogin, err := r.Attempts(ctx, key)
	if err != nil {
		return nil, err
	}
	if byLogin.LockedAt(now, limit.Tries) {
		return identity.Locked.After(byLogin.ExpiresAt.Sub(now), "too many failed tries; wait and try again"), nil
	}
	if address := addressKey(caller); address != "" {
		byAddress, err := r.Attempts(ctx, address)
		if err != nil {
			return nil, err
		}
		if byAddress.LockedAt(now, s.Limits.AddressFailures) {
			return identity.Locked.After(byAddress.ExpiresAt.Sub(now), "too many failed tries; wait and try again"), nil
		}
	}
	return nil, nil
}

// key names the person for the count of all that was tried for her, whichever login it was typed for. A login that nobody has
// is counted twice too: the same work.
func (c candidate) key(login string) string {
	if c.known {
		return personKey(c.context.Subject.ID)
	}
	return "person:" + login
}

func personKey(id identity.SubjectID) string { return "person:" + string(id) }

// spent says whether the tries for the person are used up, over all her logins: several names must not mean several times as
// many guesses. It is answered as a wrong password. A lock that showed would tell a stranger which logins are one person's.
func (s *Service) spent(ctx context.Context, r identity.Reader, who candidate, key string) (bool, error) {
	limit, err := s.Passwords.Policies.Lockout(ctx, r)
	if err != nil {
		return false, err
	}
	tries, err := r.Attempts(ctx, who.key(key))
	return tries.LockedAt(s.Now(), limit.Tries), err
}

// countFailure outlives the refusal that travels beside the transaction.
func (s *Service) countFailure(ctx context.Context, tx identity.Tx, caller identity.Caller, keys ...string) error {
	now := s.Now()
	limit, err := s.Passwords.Policies.Lockout(ctx, tx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := tx.CountAttempt(ctx, key, now, limit.Window); err != nil {
			return err
		}
	}
	if address := addressKey(caller); address != "" {
		if _, err := tx.CountAttempt(ctx, address, now, s.Limits.AddressWindow); err != nil {
			return err
		}
	}
	return nil
}

// loginKey hides the login, which may be a mistyped password, from whoever reads the table.
func loginKey(folded string) string {
	sum := sha256.Sum256([]byte(folded))
	return "login:" + hex.EncodeToString(sum[:])
}

// addressKey names the sender's network among the counters; "" where there is none, as for the command line.
func addressKey(caller identity.Caller) string {
	network := caller.Network()
	if network == "" {
		return ""
	}
	return "address:" + network
}
