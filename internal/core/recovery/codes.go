package recovery

import (
	"context"
	"errors"
	"slices"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/session"
	"gatehouse/internal/factor/recoverycode"
	"gatehouse/internal/identity"
)

// errNoFactor: codes stand in for a factor, and are none by themselves.
var errNoFactor = identity.Conflict.Because("recovery codes stand in for a second factor, and there is none; set one up first")

// PrintOwnCodes gives somebody who is signed in ten codes of her own, shown this once; earlier ones stop working. She has come in
// with a second factor this time, or her password and a moment at her keyboard would do for good. Its refusals are Denied, and
// Conflict where she has no second factor that they could stand in for.
func (s *Service) PrintOwnCodes(ctx context.Context, caller identity.Caller, live *session.Live) (codes []identity.Secret, err error) {
	if err := live.Herself(); err != nil {
		return nil, err
	}
	if !slices.Contains(live.Session.AMR, "mfa") {
		return nil, identity.Denied.Because("sign in with your second factor first")
	}
	return s.printCodes(ctx, caller, live.Session.SubjectID)
}

// PrintCodes is PrintOwnCodes for an operator, who hands them to her. The caller has decided that he may. Its refusals are NotFound
// and Conflict.
func (s *Service) PrintCodes(ctx context.Context, caller identity.Caller, id identity.SubjectID) ([]identity.Secret, error) {
	return s.printCodes(ctx, caller, id)
}

func (s *Service) printCodes(ctx context.Context, caller identity.Caller, id identity.SubjectID) (codes []identity.Secret, err error) {
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		if _, err := tx.Subject(ctx, id); err != nil {
			return err
		}
		all, err := tx.Credentials(ctx, id)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(c identity.Credential) bool {
			return c.Kind != identity.Password && c.Kind != identity.RecoveryCode
		}) {
			return errNoFactor
		}
		old, err := tx.Credential(ctx, id, identity.RecoveryCode)
		if err == nil {
			err = tx.DeleteCredential(ctx, old.ID)
		}
		if err != nil && !errors.Is(err, identity.NotFound) {
			return err
		}
		now := s.Now()
		fresh, err := identity.NewID(now, s.Rand)
		if err != nil {
			return err
		}
		var c identity.Credential
		if c, codes, err = recoverycode.Credential(s.Links.Keys, s.Rand, identity.CredentialID(fresh), id, now); err != nil {
			return err
		}
		if err := tx.CreateCredential(ctx, c); err != nil {
			return err
		}
		if err := tx.Announce(ctx, identity.SubjectChanged, string(id), now); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "factor.recovery.codes", SubjectID: id, After: map[string]any{"codes": len(codes)}})
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}
