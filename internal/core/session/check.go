package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
)

const (
	cachedTokens = 64 << 20         // bytes that the cache of checked tokens may weigh
	cachedFor    = time.Minute      // then the store is asked again
	touchAfter   = 20 * time.Second // a use is noted when the one noted before is older
	touchEvery   = 40 * time.Second // and written this often; together at most a minute
)

// Live is a token that was checked: what it states, and the session and subject as they stood within the last minute, ended
// and suspended ones excepted: those are noticed at once here and within a second elsewhere. It is shared; do not change it.
type Live struct {
	Token   token.Facts
	Session identity.Session // zero for a client's own token, and for an API key
	Subject identity.Subject // zero for a client's own token
	Actor   identity.Subject // while impersonating: who really acts; else zero

	program program
	asOf    known
}

// program is what the client of a token rests on.
type program struct {
	organisation identity.OrganisationID // whose it is; "": the house's
	endsAt       time.Time               // when she ends; zero: never
}

// known is what the cache knew when something was read: what changes later makes it old.
type known struct {
	mark     int64     // of all changes
	own      int64     // how often the session had changed; -1: not counted
	loadedAt time.Time // when the store was asked
}

// Caller adds to what a door knows of a request who it is that shows the token, so that counters and the audit log name her.
func (l *Live) Caller(c identity.Caller) identity.Caller {
	c.SubjectID, c.ActorID, c.SessionID = l.Subject.ID, cmp.Or(l.Session.ActorID, l.Subject.ID), l.Session.ID // an API key has no session
	c.ClientID = cmp.Or(l.Session.ClientID, l.Token.ClientID)
	return c
}

// Herself refuses whoever is not the person at a session of her own: a program with an API key of hers, and somebody who acts as
// her. Passwords, second factors and keys are hers to change; a key that could make keys would outlive its end.
func (l *Live) Herself() error {
	switch {
	case l.Session.ID == "":
		return identity.Denied.Because("this needs a person who has signed in")
	case l.Session.ActorID != "":
		return identity.Denied.Because("not while acting as another person")
	}
	return nil
}

// Check says whose token this is, if it is a good one of this form and kind. Its refusals are TokenInvalid (malformed,
// unknown, another door's or kind's), TokenExpired, TokenRevoked and Unavailable: never a guess while the store is away.
func (s *Service) Check(ctx context.Context, form token.Form, raw string, kind identity.TokenKind) (*Live, error) {
	if raw == "" {
		return nil, identity.TokenMissing.Because("a token is needed")
	}
	if len(raw) > token.MaxLength {
		return nil, identity.TokenInvalid.Because("too long for a token")
	}
	now := s.Now()
	key := sha256.Sum256([]byte(raw))
	if held, ok := s.held(key); ok && held.live.Token.Door == form.Door() && !s.Stale() {
		if err := s.good(&held.live, kind, now); err == nil {
			s.use(held, now)
			return &held.live, nil
		}
		// Refused on what may be a minute old (an idle clock that another node moved): the store decides.
	}
	facts, err := form.Read(raw)
	if err != nil {
		return nil, err
	}
	live, ok := s.advanced(facts)
	if !ok {
		asOf := s.asOf(facts.SessionID, now) // before reading: what ends while we read is newer
		if live, err = s.load(ctx, facts); err != nil {
			return nil, err
		}
		live.asOf = asOf
	}
	if err := s.good(live, kind, now); err != nil {
		return nil, err
	}
	held := &cached{live: *live, mark: live.asOf.mark, loadedAt: live.asOf.loadedAt}
	held.seen.Store(live.Session.SeenAt.UnixMicro())
	if kind == identity.AccessToken {
		s.keep(key, held)
	}
	s.use(held, now)
	return &held.live, nil
}

// asOf is for what is about to be read.
func (s *Service) asOf(id identity.SessionID, now time.Time) known {
	k := known{mark: s.cache.mark(), own: -1, loadedAt: now}
	if id != "" {
		k.own = s.cache.count(string(id))
	}
	return k
}

// advanced gives what this node knows of a session that it has advanced itself, for the newest token of it: what was read within
// the last minute, changed only by the advance. It knows of no single token that was revoked, so it serves only those that are
// named as their session is.
func (s *Service) advanced(facts token.Facts) (*Live, bool) {
	if facts.SessionID == "" || facts.ID != string(facts.SessionID) || facts.Opaque != nil || s.Stale() {
		return nil, false
	}
	held, ok := s.held(familyKey(facts))
	if !ok || held.live.Session.Generation != facts.Generation {
		return nil, false
	}
	live := held.live
	live.Token = facts
	return &live, true
}

// keepAdvanced remembers a session as an advance of this node has left it, where nothing else changed since it was read.
func (s *Service) keepAdvanced(read *Live, session identity.Session) {
	asOf := read.asOf
	if asOf.own < 0 {
		return
	}
	now := known{mark: s.cache.mark(), own: asOf.own, loadedAt: asOf.loadedAt} // before looking: what changes from here on is newer
	if s.Rules[session.Door].OneAccess {
		now.own++ // the advance itself
	}
	if s.cache.count(string(session.ID)) != now.own || s.cache.all.Load() > asOf.mark ||
		s.cache.changedSince(string(session.SubjectID), asOf.mark) || s.cache.changedSince(string(session.ActorID), asOf.mark) ||
		s.cache.changedSince(string(session.OriginID), asOf.mark) || s.cache.changedSince(string(session.ClientID), asOf.mark) ||
		s.cache.changedSince(string(read.program.organisation), asOf.mark) {
		return
	}
	live := *read
	live.Session, live.asOf = session, now
	s.keep(familyKey(token.Facts{SessionID: session.ID}), &cached{live: live, mark: now.mark, loadedAt: now.loadedAt})
}

// Printed remembers an access token that this node has just printed for a session that it has advanced: it need not be read again to
// know what it says. facts are what its form would read. Where the session is not known as it is now, the token is read like any other.
func (s *Service) Printed(raw string, facts token.Facts) {
	live, ok := s.advanced(facts)
	if !ok {
		return
	}
	held := &cached{live: *live, mark: live.asOf.mark, loadedAt: live.asOf.loadedAt}
	held.seen.Store(live.Session.SeenAt.UnixMicro())
	s.keep(sha256.Sum256([]byte(raw)), held)
}

// Find is Check for a token that may be any of several forms' and kinds'.
func (s *Service) Find(ctx context.Context, forms []token.Form, raw string, kinds ...identity.TokenKind) (*Live, error) {
	if len(raw) > token.MaxLength {
		return nil, identity.TokenInvalid.Because("too long for a token")
	}
	// A token that was checked before says whose it is: no two forms print the same text.
	if held, ok := s.held(sha256.Sum256([]byte(raw))); ok {
		live := &held.live
		if i := slices.IndexFunc(forms, func(f token.Form) bool { return f.Door() == live.Token.Door }); i >= 0 {
			if now := s.Now(); slices.Contains(kinds, live.Token.Kind) && !s.Stale() && s.good(live, live.Token.Kind, now) == nil {
				s.use(held, now)
				return live, nil
			}
			forms = forms[i : i+1] // Check decides
		}
	}
	unknown := identity.TokenInvalid.Because("unknown token")
	for _, form := range forms {
		if !form.Looks(raw) {
			continue
		}
		for _, kind := range kinds {
			live, err := s.Check(ctx, form, raw, kind)
			if err == nil || !errors.Is(err, identity.TokenInvalid) {
				return live, err
			}
		}
	}
	return nil, unknown
}

// load reads what the token names.
func (s *Service) load(ctx context.Context, facts token.Facts) (*Live, error) {
	live := &Live{Token: facts}
	err := s.Store.View(ctx, func(r identity.Reader) error {
		if facts.Opaque != nil {
			t, err := r.OpaqueToken(ctx, facts.Opaque)
			if errors.Is(err, identity.NotFound) {
				return identity.TokenInvalid.Because("unknown token")
			}
			if err != nil {
				return err
			}
			facts.ID, facts.Kind, facts.SessionID, facts.Generation = hex.EncodeToString(t.Hash), t.Kind, t.SessionID, t.Generation
			facts.IssuedAt, facts.ExpiresAt = t.CreatedAt, t.ExpiresAt
		}
		if facts.SessionID == "" {
			live.Token = facts
			return s.loadOwn(ctx, r, live)
		}
		session, err := r.Session(ctx, facts.SessionID)
		if errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("the session has ended")
		}
		if err != nil {
			return err
		}
		subject, err := r.Subject(ctx, session.SubjectID)
		if errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("the session has ended")
		}
		if err != nil {
			return err
		}
		if session.ActorID != "" {
			actor, err := r.Subject(ctx, session.ActorID)
			if errors.Is(err, identity.NotFound) || err == nil && !actor.Active() {
				return identity.TokenRevoked.Because("the session has ended")
			}
			if err != nil {
				return err
			}
			live.Actor = actor
		}
		if facts.Opaque != nil {
			facts.SubjectID, facts.ClientID, facts.Scopes = session.SubjectID, session.ClientID, session.Scopes // opaque tokens carry none of it
		}
		if live.program, _, err = clientStands(ctx, r, session.ClientID); err != nil {
			return err
		}
		if facts.ID != "" && facts.Opaque == nil { // an opaque one that was revoked is not there any more
			_, err := r.RevokedToken(ctx, facts.ID)
			if err == nil {
				return identity.TokenRevoked.Because("the token was revoked")
			}
			if !errors.Is(err, identity.NotFound) {
				return err
			}
		}
		live.Token, live.Session, live.Subject = facts, session, subject
		return nil
	})
	return live, err
}

// loadOwn checks a client's own token: not revoked, and the client still there, bound to whom the token says.
func (s *Service) loadOwn(ctx context.Context, r identity.Reader, live *Live) error {
	facts := &live.Token
	_, err := r.RevokedToken(ctx, facts.ID)
	if err == nil {
		return identity.TokenRevoked.Because("the token was revoked")
	}
	if !errors.Is(err, identity.NotFound) {
		return err
	}
	var client identity.Client
	if live.program, client, err = clientStands(ctx, r, facts.ClientID); err != nil {
		return err
	}
	if client.OrganisationID != facts.OrganisationID || client.DeviceID != facts.DeviceID {
		return identity.TokenRevoked.Because("the client is another's now")
	}
	return nil
}

// clientStands refuses the tokens of a client that was removed or suspended; "" is none. Those of one whose organisation has ended are
// refused by good, at that instant.
func clientStands(ctx context.Context, r identity.Reader, id identity.ClientID) (program, identity.Client, error) {
	if id == "" {
		return program{}, identity.Client{}, nil
	}
	client, err := r.Client(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && !client.SuspendedAt.IsZero() {
		return program{}, client, identity.TokenRevoked.Because("the client is gone")
	}
	if err != nil || client.OrganisationID == "" {
		return program{}, client, err
	}
	o, err := r.Organisation(ctx, client.OrganisationID) // the client would have gone with it
	return program{o.ID, o.ExpiresAt}, client, err
}

// good judges what was read, at this instant.
func (s *Service) good(live *Live, kind identity.TokenKind, now time.Time) error {
	facts, session := &live.Token, &live.Session
	switch {
	case facts.Kind != kind, facts.TicketID != "":
		return identity.TokenInvalid.Because("not a token for this use")
	case !facts.NotBefore.IsZero() && now.Add(clockSkew).Before(facts.NotBefore):
		return identity.TokenInvalid.Because("not valid yet")
	case !now.Before(facts.ExpiresAt):
		return identity.TokenExpired.Because("the token has expired")
	case !live.program.endsAt.IsZero() && !now.Before(live.program.endsAt):
		return identity.TokenRevoked.Because("the client's organisation has ended")
	case facts.SessionID == "":
		return nil
	case session.Door != facts.Door, session.SubjectID != facts.SubjectID:
		return identity.TokenInvalid.Because("not a token for this use")
	case !session.EndedAt.IsZero(), !live.Subject.Active():
		return identity.TokenRevoked.Because("the session has ended")
	case !now.Before(session.Ends()) && !now.Before(s.ends(session)):
		return identity.TokenExpired.Because("the session has expired")
	}
	rules := s.Rules[facts.Door]
	if kind == identity.AccessToken && rules.OneAccess && facts.Generation != session.Generation {
		if facts.Generation != session.Generation-1 || !now.Before(session.RefreshedAt.Add(rules.Grace)) {
			return identity.TokenRevoked.Because("the token was replaced by a newer one")
		}
	}
	return nil
}

// clockSkew forgives nodes whose clocks differ a little when one checks what another has just printed.
const clockSkew = 5 * time.Second

// ends is the session's end with the uses that this node has noted and not yet written.
func (s *Service) ends(session *identity.Session) time.Time {
	if session.IdleTTL == 0 {
		return session.ExpiresAt
	}
	if seen, ok := s.touched.Last(session.ID); ok && seen.After(session.SeenAt) {
		moved := *session
		moved.SeenAt = seen
		return moved.Ends()
	}
	return session.Ends()
}

// use notes that the session was used now.
func (s *Service) use(held *cached, now time.Time) {
	if held.live.Session.ID == "" || held.live.Session.IdleTTL == 0 {
		return
	}
	seen := held.seen.Load()
	if now.UnixMicro()-seen >= touchAfter.Microseconds() && held.seen.CompareAndSwap(seen, now.UnixMicro()) {
		s.touched.Note(held.live.Session.ID, now)
		if origin := held.live.Session.OriginID; origin != "" {
			s.touched.Note(origin, now) // she who acts is not idle
		}
	}
}

// Changed forgets what ended or changed. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	for _, c := range changes {
		switch c.Kind {
		case identity.SessionChanged, identity.SubjectChanged, identity.RevocationAdded, identity.ClientChanged,
			identity.PolicyChanged: // of an organisation: when she ends
			s.cache.forget(c.ID, s.Now())
		case identity.EverythingChanged:
			s.cache.forgetAll()
		}
	}
}

// cacheKey is the SHA-256 of a token.
type cacheKey = [sha256.Size]byte

type cached struct {
	live     Live
	mark     int64
	loadedAt time.Time
	seen     atomic.Int64 // microseconds; when the session was last noted as used
}

// cache holds checked tokens, and for a little longer than it holds any of them which ids have changed: an entry is good if
// no id of it changed after the entry's mark. So an entry that was being read while its session ended is never good.
type cache struct {
	once    sync.Once
	tokens  *otter.Cache[cacheKey, *cached]
	changes atomic.Int64 // counts changes; an entry's mark is its value before reading
	swept   atomic.Int64 // unix seconds of the last sweep
	noting  sync.Mutex   // orders ids by their change
	ids     sync.Map     // changed id -> changedID
	all     atomic.Int64 // the change at which everything was forgotten
}

type changedID struct {
	change int64
	count  int64 // how often the id changed
	at     time.Time
}

func (c *cache) start() {
	c.once.Do(func() {
		c.tokens = otter.Must(&otter.Options[cacheKey, *cached]{
			MaximumWeight: cachedTokens,
			Weigher: func(_ cacheKey, held *cached) uint32 {
				l := &held.live
				return uint32(1024 + len(l.Session.Attributes) + len(l.Session.UserAgent) + len(l.Subject.Name) + attributesSize(l.Subject.Attributes))
			},
		})
	})
}

func attributesSize(a identity.Attributes) (n int) {
	for _, json := range a {
		n += len(json)
	}
	return n
}

func (c *cache) mark() int64 { return c.changes.Load() }

func (c *cache) forget(id string, now time.Time) {
	// Under a lock, because listeners are called side by side: of two changes of one id the later must stay.
	c.noting.Lock()
	c.ids.Store(id, changedID{c.changes.Add(1), c.count(id) + 1, now})
	c.noting.Unlock()
	// Ids are kept twice as long as any entry, then dropped; one caller in each minute does it.
	last := c.swept.Load()
	if now.Unix()-last >= int64(cachedFor/time.Second) && c.swept.CompareAndSwap(last, now.Unix()) {
		c.ids.Range(func(id, v any) bool {
			if now.Sub(v.(changedID).at) > 3*cachedFor {
				c.ids.Delete(id)
			}
			return true
		})
	}
}

// count says how often an id changed. One that is not known any more counts as never: then nothing is kept that needs the count.
func (c *cache) count(id string) int64 {
	v, _ := c.ids.Load(id)
	held, _ := v.(changedID)
	return held.count
}

func (c *cache) forgetAll() { c.all.Store(c.changes.Add(1)) }

func (c *cache) changedSince(id string, mark int64) bool {
	if id == "" {
		return false
	}
	v, ok := c.ids.Load(id)
	return ok && v.(changedID).change > mark
}

func (s *Service) held(key cacheKey) (*cached, bool) {
	s.cache.start()
	held, ok := s.cache.tokens.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	l := &held.live
	age := s.Now().Sub(held.loadedAt)
	if age >= cachedFor || age < 0 {
		s.cache.tokens.Invalidate(key)
		return nil, false
	}
	if s.cache.mark() == held.mark { // nothing at all has changed
		return held, true
	}
	if s.cache.all.Load() > held.mark ||
		s.cache.changedSince(string(l.Session.ID), held.mark) || s.cache.changedSince(string(l.Session.SubjectID), held.mark) ||
		s.cache.changedSince(string(l.Session.ActorID), held.mark) || s.cache.changedSince(string(l.Session.OriginID), held.mark) || s.cache.changedSince(string(l.Token.ClientID), held.mark) ||
		s.cache.changedSince(string(l.program.organisation), held.mark) || s.cache.changedSince(l.Token.ID, held.mark) {
		s.cache.tokens.Invalidate(key)
		return nil, false
	}
	return held, true
}

func (s *Service) keep(key cacheKey, held *cached) {
	s.cache.start()
	s.cache.tokens.Set(key, held)
}
