package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
)

// RefreshInput is a refresh token as it was presented.
type RefreshInput struct {
	Caller identity.Caller
	Form   token.Form
	Raw    string
	Kind   identity.TokenKind // "": RefreshToken; a door without refresh tokens renews by its access token
	Rotate bool               // print a successor; otherwise the token is only checked, for a new access token
	// Live is what Check has just said of the token; nil: it is read here.
	Live *Live
	// Admit is asked inside the transaction, before anything changes: is this the client's, the caller's? It may be nil.
	Admit func(Live) error
}

// Refresh checks a refresh token and, where asked and the door's rules say so, spends it for its successor. The door prints
// from the session that comes back; every print of one generation says the same. Outside the hours and networks of her policy the
// refusal is Restricted: nothing is spent and the session goes on, so that the same token is good again when they are open.
func (s *Service) Refresh(ctx context.Context, in RefreshInput) (*Live, error) {
	if in.Raw == "" {
		return nil, identity.TokenMissing.Because("a refresh token is needed")
	}
	if len(in.Raw) > token.MaxLength {
		return nil, identity.TokenInvalid.Because("too long for a token")
	}
	if in.Kind == "" {
		in.Kind = identity.RefreshToken
	}
	family, err := s.presented(ctx, in)
	if err != nil {
		return nil, err
	}
	read := &family.live
	if read.Session.ID == "" {
		return nil, identity.TokenInvalid.Because("not a refresh token")
	}
	if in.Admit != nil {
		if err := in.Admit(*read); err != nil {
			return nil, err
		}
	}
	rules := s.Rules[read.Session.Door]
	restricted, err := s.restricted(ctx, in.Caller, &read.Session)
	if err != nil {
		return nil, err
	}
	newest := read.Token.Generation == read.Session.Generation
	if (newest || read.Session.KeepsSpent) && restricted != nil {
		return nil, restricted
	}
	if (newest || read.Session.KeepsSpent) && !(in.Rotate && rules.Rotates) {
		s.touched.Note(read.Session.ID, s.Now())
		return read, nil
	}
	live, err := s.spend(ctx, in, *read, restricted)
	if err != nil {
		return nil, err
	}
	if in.Live != nil {
		s.keepAdvanced(in.Live, live.Session)
		return live, nil
	}
	s.rememberFamily(*live, family)
	return live, nil
}

// presented reads the token, where Check has not.
func (s *Service) presented(ctx context.Context, in RefreshInput) (*cached, error) {
	if in.Live != nil {
		return &cached{live: *in.Live}, nil
	}
	facts, err := in.Form.Read(in.Raw)
	if err != nil {
		return nil, err
	}
	return s.family(ctx, facts, in.Kind)
}

// family gives the session and subject of a refresh token. What this node refreshed within the last minute it remembers,
// for a token of the generation remembered: whether that one is still the newest is what the guard of the advance decides.
func (s *Service) family(ctx context.Context, facts token.Facts, kind identity.TokenKind) (*cached, error) {
	now := s.Now()
	if held, ok := s.held(familyKey(facts)); ok && !s.Stale() {
		live := held.live
		if facts.Opaque == nil {
			live.Token = facts
		}
		if live.Token.Generation == live.Session.Generation && !s.cache.changedSince(facts.ID, held.mark) && s.good(&live, kind, now) == nil {
			return &cached{live: live, mark: held.mark, loadedAt: held.loadedAt}, nil
		}
	}
	mark := s.cache.mark()
	read, err := s.load(ctx, facts)
	if err != nil {
		return nil, err
	}
	if err := s.good(read, kind, now); err != nil {
		return nil, err
	}
	return &cached{live: *read, mark: mark, loadedAt: now}, nil
}

// rememberFamily keeps what was read for as long as it would have been kept, and the session as it is now.
func (s *Service) rememberFamily(live Live, read *cached) {
	if live.Token.Opaque != nil {
		// The successor's facts, as the store has them; the text of an opaque token follows from its session.
		hash := sha256.Sum256([]byte(s.Opaque(live.Session, live.Token.Kind)))
		live.Token.Opaque, live.Token.ID = hash[:], hex.EncodeToString(hash[:])
		live.Token.Generation, live.Token.IssuedAt = live.Session.Generation, live.Session.RefreshedAt
		live.Token.ExpiresAt = s.opaqueEnds(live.Session, live.Token.Kind)
	}
	s.keep(familyKey(live.Token), &cached{live: live, mark: read.mark, loadedAt: read.loadedAt})
}

// familyKey is where the cache has a family: by its opaque token, else by its session, under a text that is no token's.
func familyKey(facts token.Facts) cacheKey {
	if len(facts.Opaque) == sha256.Size {
		return cacheKey(facts.Opaque)
	}
	return sha256.Sum256([]byte("session " + facts.SessionID))
}

// spend advances the family, answers a repeat inside the grace, or ends the family of a token that came again too late: that one
// from wherever it comes. restricted is what else stands against the caller; nil: nothing.
func (s *Service) spend(ctx context.Context, in RefreshInput, read Live, restricted error) (*Live, error) {
	var live Live
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		live, refusal = read, nil
		now := s.Now()
		if read.Token.Generation == read.Session.Generation {
			// The guard of the advance is all that is needed while the session is as it was read.
			var advanced bool
			if live.Session, advanced, err = s.tryAdvance(ctx, tx, read.Session, now); err != nil || advanced {
				return err
			}
		}
		session, err := tx.Session(ctx, read.Session.ID)
		if errors.Is(err, identity.NotFound) {
			refusal = identity.TokenRevoked.Because("the session has ended")
			return nil
		}
		if err != nil {
			return err
		}
		live.Session = session
		if refusal = s.good(&live, in.Kind, now); refusal != nil {
			return nil
		}
		rules := s.Rules[session.Door]
		spent := session.Generation - read.Token.Generation
		switch {
		case spent == 0, session.KeepsSpent:
			live.Session, err = s.advance(ctx, tx, session, now)
			return err
		case spent == 1 && now.Before(session.RefreshedAt.Add(rules.Grace)):
			refusal = restricted
			return nil // a second tab, or a lost answer: the same successor again
		}
		refusal = identity.TokenReused.Because("the refresh token was used before; the session has ended")
		if _, err := s.EndIn(ctx, tx, in.Caller, session, "refresh token reused"); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{
			Action: "token.reuse", Outcome: identity.TokenReused.Error(), SubjectID: session.SubjectID,
			SessionID: session.ID, ClientID: session.ClientID,
		})
	})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	return &live, nil
}

// restricted gives the refusal of admit as an answer; err is trouble in the house. What is kept of a family says nothing about
// policies, so the store is asked; only where some policy binds, as far as this node knows.
func (s *Service) restricted(ctx context.Context, caller identity.Caller, session *identity.Session) (refusal, err error) {
	if !s.Policies.MayBind() {
		return nil, nil
	}
	err = s.Store.View(ctx, func(r identity.Reader) error { return s.admit(ctx, r, caller, session) })
	if errors.Is(err, identity.Restricted) {
		return err, nil
	}
	return nil, err
}

// admit refuses whoever's policy is closed to her now; while she acts for another it is hers that counts.
func (s *Service) admit(ctx context.Context, r identity.Reader, caller identity.Caller, session *identity.Session) error {
	subject, err := r.Subject(ctx, cmp.Or(session.ActorID, session.SubjectID))
	if errors.Is(err, identity.NotFound) {
		return identity.TokenRevoked.Because("the session has ended")
	}
	if err != nil {
		return err
	}
	return s.Policies.Admit(ctx, r, caller, subject)
}
