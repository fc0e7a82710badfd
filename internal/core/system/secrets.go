package system

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
)

// Secret is one that the installation keeps here for its services and pages: a map service's key, for example.
type Secret struct {
	Key   string
	Value identity.Secret
}

const (
	secretPrefix   = "secret/" // of the settings' names
	maxSecretValue = 4 << 10
	maxSecrets     = 200
)

var secretKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func checkSecretKey(key string) error {
	if !secretKey.MatchString(key) {
		return identity.Invalid.In("key", "must be up to 100 letters, digits, dots, dashes or underscores")
	}
	return nil
}

// Secrets lists all, by key.
func (s *Service) Secrets(ctx context.Context, by staff.By) ([]Secret, error) {
	return view(ctx, s, func(r identity.Reader) ([]Secret, error) {
		if err := s.Staff.Allow(ctx, r, by, staff.SeeSecrets); err != nil {
			return nil, err
		}
		kept, err := r.Settings(ctx, secretPrefix)
		if err != nil {
			return nil, err
		}
		list := make([]Secret, 0, len(kept))
		for _, setting := range kept {
			secret, err := s.openSecret(setting)
			if err != nil {
				return nil, err
			}
			list = append(list, secret)
		}
		return list, nil
	})
}

// MayReadSecrets refuses whoever may not.
func (s *Service) MayReadSecrets(ctx context.Context, by staff.By) error {
	return s.Store.View(ctx, func(r identity.Reader) error { return s.Staff.Allow(ctx, r, by, staff.SeeSecrets) })
}

// Secret reads one.
func (s *Service) Secret(ctx context.Context, by staff.By, key string) (Secret, error) {
	return view(ctx, s, func(r identity.Reader) (Secret, error) {
		if err := s.Staff.Allow(ctx, r, by, staff.SeeSecrets); err != nil {
			return Secret{}, err
		}
		if err := checkSecretKey(key); err != nil {
			return Secret{}, err
		}
		setting, err := r.Setting(ctx, secretPrefix+key)
		if err != nil {
			return Secret{}, noSecret(err)
		}
		return s.openSecret(setting)
	})
}

func (s *Service) openSecret(setting identity.Setting) (Secret, error) {
	value, err := s.Box.Open(setting.Name, setting.Sealed)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", setting.Name, err)
	}
	return Secret{Key: strings.TrimPrefix(setting.Name, secretPrefix), Value: identity.Secret(value)}, nil
}

func noSecret(err error) error {
	if errors.Is(err, identity.NotFound) {
		return identity.NotFound.Because("there is no secret of this name")
	}
	return err
}

// SaveSecret keeps one, in place of what stands under its key.
func (s *Service) SaveSecret(ctx context.Context, by staff.By, secret Secret) error {
	value := secret.Value.Reveal()
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Staff.Allow(ctx, tx, by, staff.KeepSecrets); err != nil {
			return err
		}
		if err := checkSecretKey(secret.Key); err != nil {
			return err
		}
		switch {
		case value == "":
			return identity.Invalid.In("value", "is required")
		case len(value) > maxSecretValue:
			return identity.Invalid.In("value", fmt.Sprintf("must not be longer than %d bytes", maxSecretValue))
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return identity.Invalid.In("value", "must be text")
		}
		all, err := tx.Settings(ctx, secretPrefix)
		if err != nil {
			return err
		}
		name, stands := secretPrefix+secret.Key, false
		for _, kept := range all {
			if kept.Name != name {
				continue
			}
			stands = true
			if old, err := s.openSecret(kept); err == nil && old.Value == secret.Value {
				return nil // nothing changes
			}
		}
		if !stands && len(all) >= maxSecrets {
			return identity.Conflict.Because("no more secrets are kept; remove one first")
		}
		if err := tx.SaveSetting(ctx, identity.Setting{Name: name, Sealed: s.Box.Seal(name, []byte(value)), UpdatedAt: s.Now()}); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, by.Caller, audit.Entry{Action: "secret.save", After: map[string]any{"key": secret.Key, "replaced": stands}})
	})
}

// DeleteSecret forgets one.
func (s *Service) DeleteSecret(ctx context.Context, by staff.By, key string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Staff.Allow(ctx, tx, by, staff.KeepSecrets); err != nil {
			return err
		}
		if err := checkSecretKey(key); err != nil {
			return err
		}
		if _, err := tx.Setting(ctx, secretPrefix+key); err != nil {
			return noSecret(err)
		}
		if err := tx.DeleteSetting(ctx, secretPrefix+key); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, by.Caller, audit.Entry{Action: "secret.delete", Before: map[string]any{"key": key}})
	})
}
