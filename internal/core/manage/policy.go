package manage

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// SavePolicy makes a security policy (ID "") or changes one.
func (s *Service) SavePolicy(ctx context.Context, caller identity.Caller, p identity.Policy) (identity.Policy, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Policy, error) { return s.SavePolicyIn(ctx, tx, caller, p) })
}

// SavePolicyIn is SavePolicy in the caller's transaction.
func (s *Service) SavePolicyIn(ctx context.Context, tx identity.Tx, caller identity.Caller, p identity.Policy) (identity.Policy, error) {
	if err := CheckPolicy(p); err != nil {
		return p, err
	}
	now := s.Now()
	var before any
	old, err := tx.Policy(ctx, p.ID)
	switch {
	case err == nil:
		p.CreatedAt = old.CreatedAt
		if SamePolicy(p, old) {
			return old, nil
		}
		before = viewPolicy(old)
	case !errors.Is(err, identity.NotFound):
		return p, err
	default:
		p.CreatedAt = now
		if p.ID, err = newID(s, "id", p.ID); err != nil {
			return p, err
		}
	}
	p.UpdatedAt = now
	if err := tx.SavePolicy(ctx, p); err != nil {
		return p, takenKey(err)
	}
	return p, s.finish(ctx, tx, caller, identity.PolicyChanged, string(p.ID), audit.Entry{
		Action: "policy.save", Before: before, After: viewPolicy(p),
	})
}

// DeletePolicy removes a policy; whoever had it has none of her own then.
func (s *Service) DeletePolicy(ctx context.Context, caller identity.Caller, id identity.PolicyID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeletePolicyIn(ctx, tx, caller, id) })
}

// DeletePolicyIn is DeletePolicy in the caller's transaction.
func (s *Service) DeletePolicyIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.PolicyID) error {
	p, err := tx.Policy(ctx, id)
	if err != nil {
		return err
	}
	if err := tx.DeletePolicy(ctx, id); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.PolicyChanged, string(id), audit.Entry{Action: "policy.delete", Before: viewPolicy(p)})
}

// secondFactors are the kinds that a policy may name: those that somebody can be set up with.
var secondFactors = []identity.CredentialKind{identity.TOTP, identity.EmailCode, identity.SMSCode, identity.RecoveryCode}

// CheckPolicy refuses what no policy can mean: a rule that no password satisfies locks everybody out.
func CheckPolicy(p identity.Policy) error {
	if err := key("key", p.Key); err != nil {
		return err
	}
	if err := line("description", p.Description, maxDescription); err != nil {
		return err
	}
	if err := errors.Join(checkHours(p.Hours), checkNetworks(p.Networks)); err != nil {
		return err
	}
	within := func(field string, value, low, high int) error {
		if value < low || value > high {
			return identity.Invalid.In(field, "is out of bounds")
		}
		return nil
	}
	// A policy beside others leaves the demand to them; the order of demands starts with "no opinion", which "" is.
	if p.SecondFactor != "" && !slices.Contains([]identity.Demand{identity.FactorOff, identity.FactorOptional, identity.FactorNeeded}, p.SecondFactor) {
		return identity.Invalid.In("second_factor", "must be off, optional or required")
	}
	for i, kind := range p.Factors {
		if !slices.Contains(secondFactors, kind) {
			return identity.Invalid.In("factors", "must be of totp, email, sms, recovery")
		}
		if slices.Contains(p.Factors[:i], kind) {
			return identity.Invalid.In("factors", "must not hold an entry twice")
		}
	}
	if p.SecondFactor == identity.FactorNeeded && len(p.Factors) == 1 && p.Factors[0] == identity.RecoveryCode {
		return identity.Invalid.In("factors", "must name more than recovery: those codes stand in for another factor, and one is required")
	}
	for _, f := range []struct {
		field string
		value time.Duration
	}{{"session.idle", p.SessionIdle}, {"session.absolute", p.SessionMax}, {"lockout.window", p.Lockout.Window}} {
		if f.value < 0 || f.value > 10*365*24*time.Hour || f.value > 0 && f.value < time.Second {
			return identity.Invalid.In(f.field, "is out of bounds")
		}
	}
	if (p.Lockout.Tries > 0) != (p.Lockout.Window > 0) {
		return identity.Invalid.In("lockout", "needs both tries and window")
	}
	return errors.Join(
		within("password.min_length", p.Password.MinLength, 0, 128),
		within("password.classes", p.Password.Classes, 0, 4),
		within("password.history", p.Password.History, 0, 24),
		within("password.max_age_days", p.Password.MaxAgeDays, 0, 36500),
		within("password.min_score", p.Password.MinScore, 0, 4),
		within("lockout.tries", p.Lockout.Tries, 0, 10_000),
	)
}

const (
	maxDescription = 500
	maxWindows     = 50
	minutesOfDay   = 24 * 60
)

// checkHours refuses more than one schedule, since a policy's own hours are one; several meet in a person (policy.Stricter).
func checkHours(hours []identity.Schedule) error {
	if len(hours) == 0 {
		return nil
	}
	if len(hours) > 1 {
		return identity.Invalid.In("hours", "must be one schedule")
	}
	s := hours[0]
	// A zone of the machine's would be another one on the next node.
	if _, err := time.LoadLocation(s.Zone); err != nil || s.Zone == "Local" {
		return identity.Invalid.In("zone", "is not the name of a time zone, such as Europe/Berlin")
	}
	if len(s.Windows) == 0 || len(s.Windows) > maxWindows {
		return identity.Invalid.In("hours", "must hold 1 to "+strconv.Itoa(maxWindows)+" windows")
	}
	for _, w := range s.Windows {
		if w.From < 0 || w.From >= minutesOfDay || w.Until < 0 || w.Until > minutesOfDay {
			return identity.Invalid.In("hours", "must be from 00:00 until 24:00 at most")
		}
		for i, day := range w.Days {
			if day < time.Sunday || day > time.Saturday {
				return identity.Invalid.In("hours", "names a day that no week has")
			}
			if slices.Contains(w.Days[:i], day) {
				return identity.Invalid.In("hours", "names a day twice")
			}
		}
	}
	return nil
}

// checkNetworks wants one list, and each block in the one spelling that says what it holds.
func checkNetworks(networks [][]string) error {
	if len(networks) == 0 {
		return nil
	}
	if len(networks) > 1 {
		return identity.Invalid.In("networks", "must be one list")
	}
	if len(networks[0]) == 0 || len(networks[0]) > maxWords {
		return identity.Invalid.In("networks", "must hold 1 to "+strconv.Itoa(maxWords)+" blocks")
	}
	for i, block := range networks[0] {
		prefix, err := netip.ParsePrefix(block)
		switch {
		case err != nil:
			return identity.Invalid.In("networks", "must be CIDR blocks such as 10.0.0.0/8 or 2001:db8::/32")
		case prefix.Addr().Is4In6():
			return identity.Invalid.In("networks", "holds an IPv4 block in IPv6's spelling; write it as IPv4")
		case prefix.Masked().String() != block:
			return identity.Invalid.In("networks", "holds a block that is not spelt as "+prefix.Masked().String())
		case slices.Contains(networks[0][:i], block):
			return identity.Invalid.In("networks", "must not hold a block twice")
		}
	}
	return nil
}

// SamePolicy says whether two policies have one key and demand the same.
func SamePolicy(a, b identity.Policy) bool {
	return a.Key == b.Key && a.Description == b.Description && a.Password == b.Password && a.SecondFactor == b.SecondFactor && slices.Equal(a.Factors, b.Factors) &&
		a.SessionIdle == b.SessionIdle && a.SessionMax == b.SessionMax && a.Lockout == b.Lockout &&
		slices.EqualFunc(a.Hours, b.Hours, policy.SameSchedule) && slices.EqualFunc(a.Networks, b.Networks, slices.Equal)
}

func viewPolicy(p identity.Policy) map[string]any {
	return map[string]any{
		"key": p.Key, "description": p.Description, "hours": p.Hours, "networks": p.Networks, "password": p.Password, "second_factor": p.SecondFactor, "factors": p.Factors,
		"session_idle": p.SessionIdle.String(), "session_max": p.SessionMax.String(),
		"lockout": map[string]any{"tries": p.Lockout.Tries, "window": p.Lockout.Window.String()},
	}
}
