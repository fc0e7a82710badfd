package signin

import (
	"context"
	"errors"

	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// Confirm checks the password of somebody who is signed in already, before an act that wants it again (ASVS 5.0, 7.5.1). Wrong
// ones count towards the same lock as at sign-in, so a stolen session is no way to guess.
func (s *Service) Confirm(ctx context.Context, caller identity.Caller, id identity.SubjectID, pw identity.Secret) error {
	_, err := s.confirm(ctx, caller, id, pw)
	return err
}

func (s *Service) confirm(ctx context.Context, caller identity.Caller, id identity.SubjectID, pw identity.Secret) (credential.Context, error) {
	var who candidate
	var key string
	err := s.Store.View(ctx, func(r identity.Reader) error {
		who = candidate{}
		subject, err := r.Subject(ctx, id)
		if errors.Is(err, identity.NotFound) {
			return identity.BadCredential.Because("the password is wrong")
		}
		if err != nil {
			return err
		}
		key = personKey(id)
		refusal, err := s.locked(ctx, r, caller, key)
		if err != nil || refusal != nil {
			return errors.Join(err, refusal)
		}
		who.context, err = s.Passwords.Load(ctx, r, subject)
		who.known = who.context.Current != nil
		return err
	})
	if err != nil {
		return credential.Context{}, err
	}
	match, _, err := s.verify(ctx, who, pw)
	if err != nil {
		return credential.Context{}, err
	}
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		if refusal, err = s.locked(ctx, tx, caller, key); refusal != nil || err != nil {
			return err
		}
		if match {
			return tx.ClearAttempts(ctx, key)
		}
		refusal = identity.BadCredential.Because("the password is wrong")
		if err := s.countFailure(ctx, tx, caller, key); err != nil {
			return err
		}
		return s.record(ctx, tx, caller, id, refusal)
	})
	if err != nil {
		return credential.Context{}, err
	}
	return who.context, refusal
}

// ChangeOwn sets a new password for somebody who is signed in and knows the present one. Her other sessions end.
func (s *Service) ChangeOwn(ctx context.Context, caller identity.Caller, live *session.Live, current, next identity.Secret) error {
	if err := live.Herself(); err != nil {
		return err
	}
	c, err := s.confirm(ctx, caller, live.Session.SubjectID, current)
	if err != nil {
		return err
	}
	hash, err := s.Passwords.Prepare(ctx, c, caller.Door, next)
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		return s.Passwords.SetIn(ctx, tx, credential.Change{
			Caller: caller, SubjectID: live.Session.SubjectID, Hash: hash, Based: c.Current,
			KeepSession: live.Session.ID, Reason: "changed by herself",
		})
	})
}
