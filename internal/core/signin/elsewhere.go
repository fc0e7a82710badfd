package signin

import (
	"context"

	"gatehouse/internal/core/login"
	"gatehouse/internal/identity"
)

// Guess is a try at a password, or at a code, that another house judges. It is counted as one that this house judges, so that there
// are not twice as many tries: before it is made by MayGuess, and with its outcome by GuessedIn.
type Guess struct {
	Caller identity.Caller
	Login  string // as typed; "": of a code for which nobody typed one
}

func (g Guess) key() string {
	folded, err := login.Fold(g.Login)
	if err != nil {
		folded = login.Folded("\x00" + g.Login)
	}
	return loginKey(string(folded))
}

// MayGuess refuses with Locked who has used up the tries.
func (s *Service) MayGuess(ctx context.Context, g Guess) error {
	return s.Store.View(ctx, func(r identity.Reader) error {
		refusal, err := s.locked(ctx, r, g.Caller, g.key())
		if err != nil {
			return err
		}
		return refusal
	})
}

// GuessedIn takes the other house's word. A refusal stands even where it says that the guess was right: others may have been made
// meanwhile. What was counted outlives the refusal, which travels beside the transaction.
func (s *Service) GuessedIn(ctx context.Context, tx identity.Tx, g Guess, right bool) (refusal, err error) {
	if refusal, err = s.locked(ctx, tx, g.Caller, g.key()); refusal != nil || err != nil {
		return refusal, err
	}
	if right {
		return nil, tx.ClearAttempts(ctx, g.key())
	}
	refusal = identity.BadCredential.Because("login or password is wrong")
	if err := s.countFailure(ctx, tx, g.Caller, g.key()); err != nil {
		return nil, err
	}
	return refusal, s.record(ctx, tx, g.Caller, "", refusal)
}

// GuessedCodeIn counts a wrong code like one of a factor of this house: by whom it is for, over all her tickets. Of a right one it
// forgets them. Where nobody typed a login, nobody knows whom it is for: then the tries of the ticket bound the guesses, and the other
// house's own count does, since one count for all of them would let anybody lock everybody out.
func (s *Service) GuessedCodeIn(ctx context.Context, tx identity.Tx, g Guess, right bool) error {
	switch {
	case right && g.Login != "":
		return tx.ClearAttempts(ctx, "factor:"+g.key())
	case right:
		return nil
	case g.Login != "":
		if _, err := tx.CountAttempt(ctx, "factor:"+g.key(), s.Now(), s.Limits.FactorWindow); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, g.Caller, "", identity.BadCode)
}

// MayGuessCodeIn refuses with Locked who has used up the tries at codes.
func (s *Service) MayGuessCodeIn(ctx context.Context, r identity.Reader, g Guess) (refusal, err error) {
	if g.Login == "" {
		return nil, nil
	}
	tries, err := r.Attempts(ctx, "factor:"+g.key())
	if err != nil || !tries.LockedAt(s.Now(), s.Limits.FactorFailures) {
		return nil, err
	}
	return identity.Locked.After(tries.ExpiresAt.Sub(s.Now()), "too many wrong codes; wait and try again"), nil
}

// Reconfirm is Confirm for whoever is signed in: her session goes on with new tokens, and knows when she last showed who she is.
func (s *Service) Reconfirm(ctx context.Context, caller identity.Caller, id identity.SubjectID, session identity.SessionID, pw identity.Secret) (identity.Session, error) {
	if err := s.Confirm(ctx, caller, id, pw); err != nil {
		return identity.Session{}, err
	}
	var renewed identity.Session
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		renewed, err = s.Sessions.RenewIn(ctx, tx, caller, session)
		return err
	})
	return renewed, err
}
