package session

import (
	"context"
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
	// Admit is asked inside the transaction, before anything changes: is this the client's, the caller's? It may be nil.
	Admit func(Live) error
}

// Refresh checks a refresh token and, where asked and the door's rules say so, spends it for its successor. The door prints
// from the session that comes back; every print of one generation says the same.
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
	facts, err := in.Form.Read(in.Raw)
	if err != nil {
		return nil, err
	}
	read, err := s.load(ctx, facts)
	if err != nil {
		return nil, err
	}
	if err := s.good(read, in.Kind, s.Now()); err != nil {
		return nil, err
	}
	if read.Session.ID == "" {
		return nil, identity.TokenInvalid.Because("not a refresh token")
	}
	if in.Admit != nil {
		if err := in.Admit(*read); err != nil {
			return nil, err
		}
	}
	rules := s.Rules[read.Session.Door]
	newest := read.Token.Generation == read.Session.Generation
	if (newest || read.Session.KeepsSpent) && !(in.Rotate && rules.Rotates) {
		s.touched.note(read.Session.ID, s.Now())
		return read, nil
	}
	return s.spend(ctx, in, *read)
}

// spend advances the family, answers a repeat inside the grace, or ends the family of a token that came again too late.
func (s *Service) spend(ctx context.Context, in RefreshInput, read Live) (*Live, error) {
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
