package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// levelsSetting holds the levels that were set while running: a JSON object, by part. It is sealed, so that whoever can write to
// the database cannot silence the log.
const levelsSetting = "log-levels"

// SetLevels changes what parts of the house log, on every node and over restarts. Parts that are not there are passed over.
func (s *Service) SetLevels(ctx context.Context, by staff.By, to map[logs.Subsystem]logs.Level) error {
	for part, level := range to {
		if !level.Valid() {
			return identity.Invalid.In(string(part), "has no such level")
		}
	}
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Staff.Allow(ctx, tx, by, staff.Configure); err != nil {
			return err
		}
		kept, err := s.keptLevels(ctx, tx)
		if errors.Is(err, errDamaged) {
			kept, err = map[logs.Subsystem]logs.Level{}, nil // what nobody can read is set anew
		}
		if err != nil {
			return err
		}
		next := maps.Clone(kept)
		before, after := map[logs.Subsystem]logs.Level{}, map[logs.Subsystem]logs.Level{}
		for part, level := range to {
			if old, set := kept[part]; logs.Known(part) && (!set || old != level) {
				before[part], after[part], next[part] = s.Levels.Start(), level, level
				if set {
					before[part] = old
				}
			}
		}
		if len(after) == 0 {
			return nil
		}
		text, err := json.Marshal(next)
		if err != nil {
			return err
		}
		now := s.Now()
		if err := tx.SaveSetting(ctx, identity.Setting{Name: levelsSetting, Sealed: s.Box.Seal(levelsSetting, text), UpdatedAt: now}); err != nil {
			return err
		}
		if err := tx.Announce(ctx, identity.LevelsChanged, "", now); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, by.Caller, audit.Entry{Action: "system.levels", Before: before, After: after})
	})
	if err != nil {
		return err
	}
	// What is committed stands, whether or not it could be read back just now: Run tries again.
	if err := s.Refresh(ctx); err != nil {
		s.signal()
	}
	return nil
}

var errDamaged = errors.New("the log levels that the store keeps cannot be read")

// keptLevels reads those that were set while running, also by a version that knew other parts.
func (s *Service) keptLevels(ctx context.Context, r identity.Reader) (map[logs.Subsystem]logs.Level, error) {
	kept := map[logs.Subsystem]logs.Level{}
	setting, err := r.Setting(ctx, levelsSetting)
	if errors.Is(err, identity.NotFound) {
		return kept, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := s.Box.Open(levelsSetting, setting.Sealed)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return kept, nil
}

// Refresh makes this process log as the store says.
func (s *Service) Refresh(ctx context.Context) error {
	s.refresh.Lock()
	defer s.refresh.Unlock()
	kept, err := view(ctx, s, func(r identity.Reader) (map[logs.Subsystem]logs.Level, error) { return s.keptLevels(ctx, r) })
	if err != nil {
		return err
	}
	s.Levels.Set(kept)
	return nil
}

func (s *Service) wake() chan struct{} {
	s.once.Do(func() { s.stale = make(chan struct{}, 1) })
	return s.stale
}

func (s *Service) signal() {
	select {
	case s.wake() <- struct{}{}:
	default: // it is known already
	}
}

// Changed hears of levels that were set here or elsewhere. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	if slices.ContainsFunc(changes, func(c identity.Change) bool {
		return c.Kind == identity.LevelsChanged || c.Kind == identity.EverythingChanged
	}) {
		s.signal()
	}
}

// retryAfter is how long Run waits after the store did not answer.
const retryAfter = time.Second

// Run follows the levels until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake():
		}
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			logs.In(nil, logs.System).WarnContext(ctx, "log levels cannot be read; will try again", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryAfter):
				s.signal()
			}
		}
	}
}

// Reload reads again what belongs to some parts of the house, on this node. Parts that are not there, or have nothing to read, are
// passed over. What cannot be read is left as it was, and logged.
func (s *Service) Reload(ctx context.Context, by staff.By, parts []logs.Subsystem) error {
	var chosen []logs.Subsystem
	for _, part := range logs.Subsystems() {
		if s.Reloads[part] != nil && slices.Contains(parts, part) {
			chosen = append(chosen, part)
		}
	}
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.Staff.Allow(ctx, tx, by, staff.Configure); err != nil || len(chosen) == 0 {
			return err
		}
		return s.Log.Record(ctx, tx, by.Caller, audit.Entry{Action: "system.reload", After: chosen})
	})
	if err != nil {
		return err
	}
	for _, part := range chosen {
		if err := s.Reloads[part](ctx); err != nil {
			logs.In(nil, logs.System).WarnContext(ctx, "not reloaded; what was read before stays", "part", string(part), "err", err)
		}
	}
	return nil
}
