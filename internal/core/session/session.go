// Package session keeps people signed in: begin, check, refresh, switch organisation, end, and detection of stolen tokens.
//
// A token is a printed form of a session. Checking one is local: signature, times, and what this node knows of ended
// sessions; the store is asked once for each token and node. A refresh token is spent when presented and its successor
// returned; one presented again after the door's grace means that two parties hold it, so the session ends (RFC 9700,
// section 4.14.2).
package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/lately"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// Rules say how one door's sessions and tokens live. They are the door's contract as data; a security policy can only
// shorten them.
type Rules struct {
	AccessTTL       time.Duration
	SessionTTL      time.Duration // to the end of an ordinary session
	RememberTTL     time.Duration // to the end of a remembered one; 0: as SessionTTL
	MaxTTL          time.Duration // a refresh moves the end, never past this age; 0: a refresh does not move it
	IdleTTL         time.Duration // 0: none
	RememberIdleTTL time.Duration
	Rotates         bool          // a refresh token is spent when presented
	Grace           time.Duration // a spent one is answered with the same successor for so long
	OneAccess       bool          // an access token is good only with the newest generation, and for Grace after
	Opaque          []identity.TokenKind
	// Kinds are whose sessions these are; nil: everybody's. To a door everybody else is as unknown.
	Kinds []identity.SubjectKind
}

// Admits says whether a door is open to subjects of a kind.
func (r Rules) Admits(kind identity.SubjectKind) bool {
	return r.Kinds == nil || slices.Contains(r.Kinds, kind)
}

// MAC derives opaque tokens: a keyed pseudo-random function with the house's own key.
type MAC interface {
	MAC(purpose string, parts ...[]byte) []byte
}

// Service is the one place that begins, checks and ends sessions.
type Service struct {
	Store    identity.Store
	Log      *audit.Log
	Policies *policy.Service
	Keys     MAC
	Rules    map[identity.Door]Rules
	Stale    func() bool // the change feed cannot be read: check against the store, not the cache
	Now      func() time.Time
	Rand     io.Reader

	cache   cache
	touched lately.Uses[identity.SessionID] // the idle clocks that moved
}

// Start is what a sign-in knows when it begins a session.
type Start struct {
	Caller         identity.Caller
	Subject        identity.Subject
	Policy         identity.Policy // the effective one
	ClientID       identity.ClientID
	OrganisationID identity.OrganisationID
	AMR            []string
	Scopes         []string
	Remember       bool
	KeepsSpent     bool
	Attributes     []byte
	Until          time.Time         // the end at the latest, for one that rests on another; zero: as the rules say
	Origin         *identity.Session // the session of whoever acts as the subject; nil: she comes herself
}

// Begin creates the session in the transaction of what proved the person.
func (s *Service) Begin(ctx context.Context, tx identity.Tx, in Start) (identity.Session, error) {
	rules := s.Rules[in.Caller.Door]
	if !rules.Admits(in.Subject.Kind) {
		return identity.Session{}, identity.Denied.Because("this way in is not for you")
	}
	now := s.Now()
	if in.Origin == nil { // whoever acts for another was admitted to a session of her own
		if err := policy.Admits(in.Policy, in.Caller, now); err != nil {
			return identity.Session{}, err
		}
	}
	id, err := identity.NewID(now, s.Rand)
	if err != nil {
		return identity.Session{}, err
	}
	ttl, idle := rules.SessionTTL, rules.IdleTTL
	if in.Remember {
		ttl, idle = max(ttl, rules.RememberTTL), rules.RememberIdleTTL
	}
	session := identity.Session{
		ID: identity.SessionID(id), SubjectID: in.Subject.ID, Door: in.Caller.Door, ClientID: in.ClientID,
		OrganisationID: in.OrganisationID, AMR: in.AMR, Scopes: in.Scopes,
		Remember: in.Remember, KeepsSpent: in.KeepsSpent, Generation: 1,
		Address: in.Caller.Address, UserAgent: audit.Line(in.Caller.UserAgent, 256), Attributes: in.Attributes,
		PreviousSignIn: in.Subject.LastSignInAt, AuthenticatedAt: now, CreatedAt: now, RefreshedAt: now, SeenAt: now,
		IdleTTL: tighter(idle, in.Policy.SessionIdle), ExpiresAt: now.Add(tighter(ttl, in.Policy.SessionMax)), AbsoluteAt: now.Add(tighter(max(ttl, rules.MaxTTL), in.Policy.SessionMax)),
	}
	if !in.Until.IsZero() {
		session.ExpiresAt, session.AbsoluteAt = earlier(session.ExpiresAt, in.Until), earlier(session.AbsoluteAt, in.Until)
	}
	if o := in.Origin; o != nil {
		session.ActorID, session.OriginID, session.AuthenticatedAt = o.SubjectID, o.ID, o.AuthenticatedAt
		session.IdleTTL = tighter(session.IdleTTL, o.IdleTTL)
		session.ExpiresAt = earlier(earlier(session.ExpiresAt, o.ExpiresAt), now.Add(ActingTTL))
		session.AbsoluteAt = session.ExpiresAt
	}
	if err := tx.CreateSession(ctx, session); err != nil {
		return identity.Session{}, err
	}
	if err := s.printOpaque(ctx, tx, session); err != nil {
		return identity.Session{}, err
	}
	if in.Origin == nil {
		if err := tx.TouchSignIn(ctx, in.Subject.ID, now); err != nil {
			return identity.Session{}, err
		}
		if in.OrganisationID != "" && in.OrganisationID != in.Subject.LastOrgID {
			if err := tx.SetLastOrg(ctx, in.Subject.ID, in.OrganisationID); err != nil {
				return identity.Session{}, err
			}
		}
	}
	return session, nil
}

// AccessEnds gives the end of an access token printed at the session's newest refresh.
func (s *Service) AccessEnds(session identity.Session) time.Time {
	return earlier(session.RefreshedAt.Add(s.Rules[session.Door].AccessTTL), session.ExpiresAt)
}

// Opaque prints the session's opaque token of a kind: 64 lower-case hex digits. It is derived, not drawn, so that a repeated
// refresh inside the grace is answered with the same successor by every node, though the store holds only hashes.
func (s *Service) Opaque(session identity.Session, kind identity.TokenKind) string {
	return hex.EncodeToString(s.Keys.MAC("opaque-token", []byte(session.Door), []byte(kind), []byte(session.ID),
		strconv.AppendInt(nil, session.Generation, 10)))
}

func (s *Service) printOpaque(ctx context.Context, tx identity.Tx, session identity.Session) error {
	for _, kind := range s.Rules[session.Door].Opaque {
		hash := sha256.Sum256([]byte(s.Opaque(session, kind)))
		if err := tx.CreateOpaqueToken(ctx, identity.OpaqueToken{
			Hash: hash[:], SessionID: session.ID, Kind: kind, Generation: session.Generation,
			CreatedAt: session.RefreshedAt, ExpiresAt: s.opaqueEnds(session, kind),
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) opaqueEnds(session identity.Session, kind identity.TokenKind) time.Time {
	if kind == identity.AccessToken {
		return s.AccessEnds(session)
	}
	return session.ExpiresAt
}

// End ends one session. It answers false if it had ended before.
func (s *Service) End(ctx context.Context, caller identity.Caller, id identity.SessionID, reason string) (bool, error) {
	var ended bool
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		session, err := tx.Session(ctx, id)
		if errors.Is(err, identity.NotFound) {
			ended = false
			return nil
		}
		if err != nil {
			return err
		}
		ended, err = s.EndIn(ctx, tx, caller, session, reason)
		return err
	})
	return ended, err
}

// EndIn is End inside another verb's transaction.
func (s *Service) EndIn(ctx context.Context, tx identity.Tx, caller identity.Caller, session identity.Session, reason string) (bool, error) {
	now := s.Now()
	ended, err := tx.EndSession(ctx, session.ID, reason, now)
	if err != nil || !ended {
		return false, err
	}
	if err := tx.Announce(ctx, identity.SessionChanged, string(session.ID), now); err != nil {
		return false, err
	}
	if err := s.Log.Record(ctx, tx, caller, audit.Entry{
		Action: "session.end", Reason: reason, SubjectID: session.SubjectID, ActorID: cmp.Or(caller.ActorID, session.ActorID), SessionID: session.ID,
		ClientID: session.ClientID, OrganisationID: session.OrganisationID,
	}); err != nil || session.ActorID != "" {
		return true, err
	}
	return true, s.EndActingIn(ctx, tx, caller, identity.Acting{OriginID: session.ID}, reason)
}

// EndAllIn ends all sessions of a subject but the one kept ("": none), inside another verb's transaction.
func (s *Service) EndAllIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, keep identity.SessionID, reason string) error {
	ended, err := tx.EndSessionsOf(ctx, id, keep, reason, s.Now())
	if err != nil {
		return err
	}
	if err := tx.DeleteBrowsersOf(ctx, id, ""); err != nil { // what ends them all ends what was remembered of her browsers
		return err
	}
	return s.ended(ctx, tx, caller, ended, reason)
}

// EndAll is EndAllIn in a transaction of its own.
func (s *Service) EndAll(ctx context.Context, caller identity.Caller, id identity.SubjectID, keep identity.SessionID, reason string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.EndAllIn(ctx, tx, caller, id, keep, reason) })
}

// Enter makes an organisation the session's ("": none) with a new generation, so that a door prints a new token. Who is not a
// member, or comes to an expired or unknown organisation, gets one answer: identity.Denied. Outside the hours and networks of her
// policy it is identity.Restricted. A door whose organisations may demand a second factor calls signin.Service.Enter.
func (s *Service) Enter(ctx context.Context, caller identity.Caller, id identity.SessionID, organisation identity.OrganisationID) (identity.Session, error) {
	var entered identity.Session
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		entered, err = s.EnterIn(ctx, tx, caller, id, organisation, nil)
		return err
	})
	return entered, err
}

// EnterIn is Enter inside another verb's transaction. amr is how she has proven who she is by now; nil: as the session says.
func (s *Service) EnterIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SessionID, organisation identity.OrganisationID, amr []string) (identity.Session, error) {
	now := s.Now()
	session, err := s.MayEnterIn(ctx, tx, caller, id, organisation)
	if err != nil {
		return session, err
	}
	if organisation != "" {
		if err := tx.SetLastOrg(ctx, session.SubjectID, organisation); err != nil {
			return session, err
		}
	}
	before := session.OrganisationID
	session.OrganisationID = organisation
	if amr != nil {
		session.AMR, session.AuthenticatedAt = amr, now
	}
	if err := tx.UpdateSession(ctx, session); err != nil {
		return session, err
	}
	entered, err := s.advance(ctx, tx, session, now)
	if err != nil {
		return session, err
	}
	return entered, s.recordEntry(ctx, tx, caller, entered, before)
}

// EnterChecked is Enter for a session that Check has just spoken for. While the session is as it was read and its subject a
// member still, which one guarded statement sees to, nothing else is asked; otherwise Enter decides.
func (s *Service) EnterChecked(ctx context.Context, caller identity.Caller, live *Live, organisation identity.OrganisationID) (identity.Session, error) {
	read := live.Session
	if read.ActorID != "" {
		return read, identity.Denied.Because("not while acting as another person")
	}
	if restricted, err := s.restricted(ctx, caller, &read); err != nil || restricted != nil {
		return read, errors.Join(err, restricted)
	}
	var entered identity.Session
	var guarded bool
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		if entered, guarded, err = s.tryEnter(ctx, tx, caller, read, organisation); err != nil || guarded {
			return err
		}
		entered, err = s.EnterIn(ctx, tx, caller, read.ID, organisation, nil)
		return err
	})
	if err == nil && guarded {
		s.keepAdvanced(live, entered)
	}
	return entered, err
}

func (s *Service) tryEnter(ctx context.Context, tx identity.Tx, caller identity.Caller, read identity.Session, organisation identity.OrganisationID) (_ identity.Session, entered bool, err error) {
	now := s.Now()
	if err := s.noted(ctx, tx, read); err != nil {
		return read, false, err
	}
	if entered, err = tx.EnterSession(ctx, read.ID, read.Generation, organisation, now); err != nil || !entered {
		return read, false, err
	}
	session := read
	session.OrganisationID, session.RefreshedAt, session.SeenAt = organisation, now, now
	session.Generation++
	if err := s.printOpaque(ctx, tx, session); err != nil {
		return session, true, err
	}
	if s.Rules[session.Door].OneAccess {
		if err := tx.Announce(ctx, identity.SessionChanged, string(session.ID), now); err != nil {
			return session, true, err
		}
	}
	if organisation != "" {
		if err := tx.SetLastOrg(ctx, session.SubjectID, organisation); err != nil {
			return session, true, err
		}
	}
	return session, true, s.recordEntry(ctx, tx, caller, session, read.OrganisationID)
}

func (s *Service) recordEntry(ctx context.Context, tx identity.Tx, caller identity.Caller, session identity.Session, before identity.OrganisationID) error {
	return s.Log.Record(ctx, tx, caller, audit.Entry{
		Action: "session.enter", SubjectID: session.SubjectID, SessionID: session.ID, OrganisationID: session.OrganisationID,
		Before: map[string]any{"organisation": before}, After: map[string]any{"organisation": session.OrganisationID, "amr": session.AMR},
	})
}

// noted writes a use that is noted here and not written yet, before a guard judges the idle clock by the row.
func (s *Service) noted(ctx context.Context, tx identity.Tx, session identity.Session) error {
	if seen, ok := s.touched.Last(session.ID); ok && seen.After(session.SeenAt) {
		return tx.TouchSessions(ctx, map[identity.SessionID]time.Time{session.ID: seen})
	}
	return nil
}

// RenewIn gives a session a new generation because its holder has just proven again who she is, inside another verb's transaction.
func (s *Service) RenewIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SessionID) (identity.Session, error) {
	now := s.Now()
	session, err := s.MayEnterIn(ctx, tx, caller, id, "")
	if err != nil {
		return session, err
	}
	session.AuthenticatedAt = now
	if err := tx.UpdateSession(ctx, session); err != nil {
		return session, err
	}
	renewed, err := s.advance(ctx, tx, session, now)
	if err != nil {
		return session, err
	}
	return renewed, s.Log.Record(ctx, tx, caller, audit.Entry{Action: "session.renew", SubjectID: session.SubjectID, SessionID: id, OrganisationID: session.OrganisationID})
}

// MayEnterIn gives a session that is alive and may enter the organisation, or Enter's refusal.
func (s *Service) MayEnterIn(ctx context.Context, r identity.Reader, caller identity.Caller, id identity.SessionID, organisation identity.OrganisationID) (identity.Session, error) {
	session, err := r.Session(ctx, id)
	switch {
	case errors.Is(err, identity.NotFound) || err == nil && !session.EndedAt.IsZero():
		return session, identity.TokenRevoked.Because("the session has ended")
	case err != nil:
		return session, err
	case session.ActorID != "":
		return session, identity.Denied.Because("not while acting as another person")
	}
	if err := s.admit(ctx, r, caller, &session); err != nil || organisation == "" {
		return session, err
	}
	return session, s.mayEnter(ctx, r, session.SubjectID, organisation)
}

func (s *Service) mayEnter(ctx context.Context, r identity.Reader, subject identity.SubjectID, organisation identity.OrganisationID) error {
	refused := identity.Denied.Because("this organisation cannot be entered")
	o, err := r.Organisation(ctx, organisation)
	if errors.Is(err, identity.NotFound) {
		return refused
	}
	if err != nil {
		return err
	}
	memberships, err := r.Memberships(ctx, subject)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		if m.OrganisationID == organisation && !o.ExpiredAt(s.Now()) {
			return nil
		}
	}
	return refused
}

// advance raises the session's generation and prints its opaque tokens anew. A session that has ended, or is of another
// generation by now, is TokenRevoked.
func (s *Service) advance(ctx context.Context, tx identity.Tx, session identity.Session, now time.Time) (identity.Session, error) {
	next, advanced, err := s.tryAdvance(ctx, tx, session, now)
	if err == nil && !advanced {
		err = identity.TokenRevoked.Because("the session has ended")
	}
	return next, err
}

// tryAdvance is advance for who has not read the session in this transaction, and will if it was not as he thought.
func (s *Service) tryAdvance(ctx context.Context, tx identity.Tx, session identity.Session, now time.Time) (_ identity.Session, advanced bool, err error) {
	rules := s.Rules[session.Door]
	ends := session.ExpiresAt
	if rules.MaxTTL > 0 {
		ttl := rules.SessionTTL
		if session.Remember {
			ttl = max(ttl, rules.RememberTTL)
		}
		if moved := earlier(now.Add(ttl), session.AbsoluteAt); moved.After(ends) {
			ends = moved
		}
	}
	if err := s.noted(ctx, tx, session); err != nil {
		return session, false, err
	}
	if advanced, err = tx.AdvanceSession(ctx, session.ID, session.Generation, now, ends); err != nil || !advanced {
		return session, false, err
	}
	session.Generation++
	session.RefreshedAt, session.SeenAt, session.ExpiresAt = now, now, ends
	if session.OriginID != "" {
		s.touched.Note(session.OriginID, now) // she who acts is not idle
	}
	if err := s.printOpaque(ctx, tx, session); err != nil {
		return session, false, err
	}
	if rules.OneAccess {
		err = tx.Announce(ctx, identity.SessionChanged, string(session.ID), now)
	}
	return session, true, err
}

// Run writes the idle clocks back until ctx ends: at most once a minute for each session, so that a killed process loses at
// most a minute of them.
func (s *Service) Run(ctx context.Context) { lately.Every(ctx, touchEvery, s.Flush) }

// Flush writes the idle clocks now.
func (s *Service) Flush(ctx context.Context) {
	left, err := s.touched.Flush(func(some map[identity.SessionID]time.Time) error {
		return s.Store.Update(ctx, func(tx identity.Tx) error { return tx.TouchSessions(ctx, some) })
	})
	if err != nil {
		logs.In(nil, logs.Sessions).WarnContext(ctx, "idle clocks not written; will try again", "sessions", left, "err", err)
	}
}

func tighter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
