package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

// Bounds on what a door's clients may keep for one person: many times what they do.
const (
	maxPreferences     = 500
	maxPreferenceTag   = 200
	maxPreferenceValue = 16 << 10 // bytes
	maxPreferenceBytes = 64 << 10 // all together
)

// SavePreferences replaces what the caller's door remembers for somebody. The audit log says that it happened, not what it is.
func (s *Service) SavePreferences(ctx context.Context, caller identity.Caller, id identity.SubjectID, list []profile.Preference) error {
	if len(list) > maxPreferences {
		return identity.Invalid.In("data", fmt.Sprintf("must not hold more than %d entries", maxPreferences))
	}
	for _, p := range list {
		if p.Tag == "" {
			return identity.Invalid.In("data", "must not hold an entry without a tag")
		}
		if err := line("tag", p.Tag, maxPreferenceTag); err != nil {
			return err
		}
		if !utf8.ValidString(p.Value) || len(p.Value) > maxPreferenceValue {
			return identity.Invalid.In("value", fmt.Sprintf("must be text of at most %d bytes", maxPreferenceValue))
		}
	}
	if list == nil {
		list = []profile.Preference{}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if len(data) > maxPreferenceBytes {
		return identity.Invalid.In("data", fmt.Sprintf("must not be larger than %d bytes", maxPreferenceBytes))
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if _, err := tx.Subject(ctx, id); errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("this account is gone")
		} else if err != nil {
			return err
		}
		kept := identity.Preferences{SubjectID: id, Door: caller.Door, Data: data, UpdatedAt: s.Now()}
		if err := tx.SavePreferences(ctx, kept); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "preferences.save", SubjectID: id, After: map[string]any{"entries": len(list)}})
	})
}
