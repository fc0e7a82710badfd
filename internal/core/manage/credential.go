package manage

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/identity"
)

// NewPassword is a password that somebody else sets.
type NewPassword struct {
	Password    identity.Secret
	MustChange  bool               // to be changed at the next sign-in
	KeepSession identity.SessionID // the one that stays; all others end
	Reason      string             // for the audit log; "": set by an administrator
}

// SetPassword sets one that the rule accepts, and ends her sessions.
func (s *Service) SetPassword(ctx context.Context, caller identity.Caller, id identity.SubjectID, in NewPassword) error {
	var c credential.Context
	err := s.Store.View(ctx, func(r identity.Reader) error {
		subject, err := r.Subject(ctx, id)
		if err != nil {
			return err
		}
		c, err = s.Passwords.Load(ctx, r, subject)
		return err
	})
	if err != nil {
		return err
	}
	hash, err := s.Passwords.Prepare(ctx, c, caller.Door, in.Password)
	if err != nil {
		return err
	}
	if in.Reason == "" {
		in.Reason = "set by an administrator"
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Passwords.SetIn(ctx, tx, credential.Change{
			Caller: caller, SubjectID: id, Hash: hash, Based: c.Current, MustChange: in.MustChange, KeepSession: in.KeepSession, Reason: in.Reason,
		}); err != nil {
			return err
		}
		return tx.DeleteTicketsOf(ctx, id, "") // a half-way sign-in or a mailed link was for the password before
	})
}

// SetHashIn stores a hash that was made elsewhere, as it is, and ends her sessions.
func (s *Service) SetHashIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, hash string, mustChange bool) error {
	change := credential.Change{Caller: caller, SubjectID: id, Hash: hash, MustChange: mustChange, Reason: "set by the operator"}
	current, err := tx.Credential(ctx, id, identity.Password)
	if err == nil {
		change.Based = &current
	} else if !errors.Is(err, identity.NotFound) {
		return err
	}
	return s.Passwords.SetIn(ctx, tx, change)
}

// SetMustChangeIn says whether she must change her password at the next sign-in. Her sessions go on.
func (s *Service) SetMustChangeIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, must bool) error {
	current, err := tx.Credential(ctx, id, identity.Password)
	if errors.Is(err, identity.NotFound) {
		return identity.NotFound.Because("she has no password")
	}
	if err != nil || current.MustChange == must {
		return err
	}
	current.MustChange = must
	changed, err := tx.UpdateCredential(ctx, current)
	if err != nil {
		return err
	}
	if !changed {
		return identity.Conflict.Because("the password was changed by somebody else just now")
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(id), audit.Entry{
		Action: "password.must-change", SubjectID: id, Before: map[string]any{"must_change": !must}, After: map[string]any{"must_change": must},
	})
}

// TOTPPurpose is what a TOTP secret is sealed for: one credential, so that a sealed secret moved to another row opens for
// nobody.
func TOTPPurpose(id identity.CredentialID) string { return "totp:" + string(id) }

// ParseTOTP gives a secret as it is kept: base32 as authenticator apps show it, without the spaces, dashes, padding and small
// letters that people type. 80 bits are the least that the oldest apps made.
func ParseTOTP(typed identity.Secret) (identity.Secret, error) {
	text := strings.ToUpper(strings.TrimRight(strings.NewReplacer(" ", "", "-", "").Replace(typed.Reveal()), "="))
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil {
		return "", identity.Invalid.In("totp", "must be base32")
	}
	if len(secret) < 10 || len(secret) > 64 {
		return "", identity.Invalid.In("totp", fmt.Sprintf("must have 10 to 64 bytes, and has %d", len(secret)))
	}
	return identity.Secret(text), nil
}

// EnrolTOTP gives her an authenticator app with the secret, in base32. An earlier one stops working.
func (s *Service) EnrolTOTP(ctx context.Context, caller identity.Caller, id identity.SubjectID, secret identity.Secret) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.EnrolTOTPIn(ctx, tx, caller, id, secret) })
}

// EnrolTOTPIn is EnrolTOTP in the caller's transaction.
func (s *Service) EnrolTOTPIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, secret identity.Secret) error {
	plain, err := ParseTOTP(secret)
	if err != nil {
		return err
	}
	fresh, err := newID[identity.CredentialID](s, "id", "")
	if err != nil {
		return err
	}
	return s.enrol(ctx, tx, caller, identity.Credential{
		ID: fresh, SubjectID: id, Kind: identity.TOTP, Sealed: s.Box.Seal(TOTPPurpose(fresh), []byte(plain.Reveal())),
	})
}

// EnrolSealedTOTPIn is EnrolTOTPIn with a secret that was exported: sealed for the credential id that goes with it.
func (s *Service) EnrolSealedTOTPIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, as identity.CredentialID, sealed []byte) error {
	if _, err := newID(s, "totp_sealed", as); err != nil {
		return err
	}
	if _, err := s.TOTPSecret(identity.Credential{ID: as, Sealed: sealed}); err != nil {
		return identity.Invalid.In("totp_sealed", "was sealed with another master key, or is damaged")
	}
	err := s.enrol(ctx, tx, caller, identity.Credential{ID: as, SubjectID: id, Kind: identity.TOTP, Sealed: sealed})
	if errors.Is(err, identity.Conflict) {
		return identity.Conflict.In("totp_sealed", "its id belongs to another credential here")
	}
	return err
}

// TOTPSecret opens the secret of a credential, in base32: to compare it, never to show it.
func (s *Service) TOTPSecret(c identity.Credential) (identity.Secret, error) {
	plain, err := s.Box.Open(TOTPPurpose(c.ID), c.Sealed)
	return identity.Secret(plain), err
}

// ParseTarget gives a place that codes are sent to the form in which it is kept: a mail address, or a number in the form of E.164.
func ParseTarget(kind identity.CredentialKind, typed string) (string, error) {
	if kind == identity.SMSCode {
		number, err := phone.Parse(typed)
		return number, phone.In(string(kind), err)
	}
	if !login.ValidEmail(typed) {
		return "", identity.Invalid.In(string(kind), "is not an e-mail address")
	}
	return typed, nil
}

// EnrolTargetIn gives her a factor whose codes are sent somewhere: EmailCode or SMSCode.
func (s *Service) EnrolTargetIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, kind identity.CredentialKind, target string) error {
	if kind != identity.EmailCode && kind != identity.SMSCode {
		return identity.Invalid.In("factor", "codes can be sent by email and sms only")
	}
	if target == "" {
		return identity.Invalid.In(string(kind), "needs a place to send codes to")
	}
	target, err := ParseTarget(kind, target)
	if err != nil {
		return err
	}
	return s.enrol(ctx, tx, caller, identity.Credential{SubjectID: id, Kind: kind, Target: target})
}

func (s *Service) enrol(ctx context.Context, tx identity.Tx, caller identity.Caller, c identity.Credential) error {
	if _, err := tx.Subject(ctx, c.SubjectID); err != nil {
		return err
	}
	if old, err := tx.Credential(ctx, c.SubjectID, c.Kind); err == nil {
		if err := tx.DeleteCredential(ctx, old.ID); err != nil {
			return err
		}
	} else if !errors.Is(err, identity.NotFound) {
		return err
	}
	if err := s.createCredential(ctx, tx, c); err != nil {
		return err
	}
	if err := tx.DeleteBrowsersOf(ctx, c.SubjectID, ""); err != nil { // remembered for a code of another factor
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(c.SubjectID), audit.Entry{
		Action: "factor.enrol", SubjectID: c.SubjectID, After: map[string]any{"kind": c.Kind, "target": c.Target},
	})
}

func (s *Service) createCredential(ctx context.Context, tx identity.Tx, c identity.Credential) (err error) {
	if c.ID == "" {
		if c.ID, err = newID[identity.CredentialID](s, "id", ""); err != nil {
			return err
		}
	}
	c.Version, c.CreatedAt, c.UpdatedAt = 1, s.Now(), s.Now()
	return tx.CreateCredential(ctx, c)
}

// RemoveFactorIn takes one second factor away and ends her sessions: they may rest on it.
func (s *Service) RemoveFactorIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, kind identity.CredentialKind) error {
	if kind == identity.Password {
		return identity.Invalid.In("factor", "a password is not a second factor")
	}
	c, err := tx.Credential(ctx, id, kind)
	if err != nil {
		return err
	}
	return s.removeFactors(ctx, tx, caller, id, []identity.Credential{c}, "", "factor.remove")
}

// RemoveFactorsIn takes those second factors of some kinds away that she has, and ends her sessions but the one kept. It says
// whether there were any.
func (s *Service) RemoveFactorsIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, keep identity.SessionID, kinds ...identity.CredentialKind) (bool, error) {
	all, err := tx.Credentials(ctx, id)
	if err != nil {
		return false, err
	}
	all = slices.DeleteFunc(all, func(c identity.Credential) bool {
		return c.Kind == identity.Password || !slices.Contains(kinds, c.Kind)
	})
	if len(all) == 0 {
		return false, nil
	}
	return true, s.removeFactors(ctx, tx, caller, id, all, keep, "factor.remove")
}

// ResetFactors takes all second factors away from somebody who lost them, and ends her sessions. It answers which they were.
func (s *Service) ResetFactors(ctx context.Context, caller identity.Caller, id identity.SubjectID) ([]identity.CredentialKind, error) {
	return update(ctx, s, func(tx identity.Tx) ([]identity.CredentialKind, error) {
		if _, err := tx.Subject(ctx, id); err != nil {
			return nil, err
		}
		all, err := tx.Credentials(ctx, id)
		if err != nil {
			return nil, err
		}
		var kinds []identity.CredentialKind
		var factors []identity.Credential
		for _, c := range all {
			if c.Kind != identity.Password {
				kinds, factors = append(kinds, c.Kind), append(factors, c)
			}
		}
		if len(factors) == 0 {
			return nil, nil
		}
		return kinds, s.removeFactors(ctx, tx, caller, id, factors, "", "factor.reset")
	})
}

func (s *Service) removeFactors(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, factors []identity.Credential, keep identity.SessionID, action string) error {
	factors, err := withStandIns(ctx, tx, id, factors)
	if err != nil {
		return err
	}
	kinds := make([]identity.CredentialKind, len(factors))
	for i, c := range factors {
		kinds[i] = c.Kind
		if err := tx.DeleteCredential(ctx, c.ID); err != nil {
			return err
		}
	}
	if err := s.Sessions.EndAllIn(ctx, tx, caller, id, keep, "second factor removed"); err != nil {
		return err
	}
	if err := tx.DeleteTicketsOf(ctx, id, ""); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(id), audit.Entry{
		Action: action, SubjectID: id, Before: map[string]any{"factors": kinds},
	})
}

// withStandIns adds her printed codes where nothing is left that they could stand in for: a factor that she enrols one day is not
// opened by a sheet of paper from before.
func withStandIns(ctx context.Context, tx identity.Tx, id identity.SubjectID, going []identity.Credential) ([]identity.Credential, error) {
	all, err := tx.Credentials(ctx, id)
	if err != nil {
		return nil, err
	}
	var codes []identity.Credential
	for _, c := range all {
		switch {
		case c.Kind == identity.Password || slices.ContainsFunc(going, func(g identity.Credential) bool { return g.ID == c.ID }):
		case c.Kind == identity.RecoveryCode:
			codes = append(codes, c)
		default:
			return going, nil
		}
	}
	return slices.Concat(going, codes), nil
}
