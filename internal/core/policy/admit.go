package policy

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"gatehouse/internal/identity"
)

// Admit refuses, with identity.Restricted, whoever may not sign in now or from where she calls. In a house where no policy names
// hours or networks it reads nothing.
func (s *Service) Admit(ctx context.Context, r identity.Reader, caller identity.Caller, subject identity.Subject) error {
	known, err := s.all(ctx, r)
	if err != nil || !anyBinds(known) {
		return err
	}
	p, err := s.OfMember(ctx, r, subject)
	if err != nil {
		return err
	}
	return Admits(p, caller, s.Now())
}

// MayBind says whether any policy may name hours or networks: a look at memory, so that a refresh need not open the store for
// nothing.
func (s *Service) MayBind() bool {
	known, remembered := s.remembered(s.Now())
	return !remembered || anyBinds(known)
}

func anyBinds(known map[identity.PolicyID]identity.Policy) bool {
	for _, p := range known {
		if len(p.Hours) > 0 || len(p.Networks) > 0 {
			return true
		}
	}
	return false
}

// Admits is Admit for a policy in hand. What cannot be read is closed: an unknown zone, and a caller without an address.
func Admits(p identity.Policy, caller identity.Caller, now time.Time) error {
	for _, s := range p.Hours {
		if !open(s, now) {
			return identity.Restricted.Because("signing in is not allowed at this hour")
		}
	}
	if len(p.Networks) == 0 {
		return nil
	}
	address, err := netip.ParseAddr(caller.Address)
	address = address.Unmap().WithZone("")
	for _, blocks := range p.Networks {
		if err != nil || !slices.ContainsFunc(blocks, func(block string) bool { return holds(block, address) }) {
			return identity.Restricted.Because("signing in is not allowed from this address")
		}
	}
	return nil
}

func holds(block string, address netip.Addr) bool {
	prefix, err := netip.ParsePrefix(block)
	return err == nil && prefix.Contains(address)
}

// open goes by the clock on the wall: an hour that summer time repeats is open twice, and one that it leaves out never.
func open(s identity.Schedule, now time.Time) bool {
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return false
	}
	local := now.In(zone)
	day, minute := local.Weekday(), local.Hour()*60+local.Minute()
	before := (day + 6) % 7
	return slices.ContainsFunc(s.Windows, func(w identity.Window) bool {
		on := func(day time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, day) }
		if w.From < w.Until {
			return on(day) && w.From <= minute && minute < w.Until
		}
		return on(day) && w.From <= minute || on(before) && minute < w.Until
	})
}
