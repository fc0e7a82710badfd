package policy

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

// Words says in short phrases what a policy demands: for people who are to know by which rules they are held. Networks are only
// mentioned, since an installation's addresses are not everybody's business.
func Words(p identity.Policy) []string {
	var all []string
	say := func(holds bool, format string, about ...any) {
		if holds {
			all = append(all, fmt.Sprintf(format, about...))
		}
	}
	say(p.Password.MinLength > 0, "passwords of at least %d characters", p.Password.MinLength)
	say(p.Password.Classes > 1, "%d of 4 kinds of characters in a password", p.Password.Classes)
	say(p.Password.MinScore > 0, "password strength at least %d of 4", p.Password.MinScore)
	say(p.Password.History > 0, "the last %d passwords not again", p.Password.History)
	say(p.Password.MaxAgeDays > 0, "a new password every %d days", p.Password.MaxAgeDays)
	say(p.SecondFactor != "", "second factor %s", p.SecondFactor)
	if len(p.Factors) > 0 {
		kinds := make([]string, len(p.Factors))
		for i, kind := range p.Factors {
			kinds[i] = string(kind)
		}
		say(true, "second factors: %s", strings.Join(kinds, ", "))
	}
	say(p.SessionIdle > 0, "sessions end after %s without use", Span(p.SessionIdle))
	say(p.SessionMax > 0, "sessions end after %s", Span(p.SessionMax))
	say(p.Lockout.Tries > 0, "locked after %d failures in %s", p.Lockout.Tries, Span(p.Lockout.Window))
	say(len(p.Hours) > 0, "sign-in only %s", Hours(p))
	say(len(p.Networks) > 0, "sign-in only from certain addresses")
	return all
}

// Hours writes a policy's out, "" where it has none.
func Hours(p identity.Policy) string {
	var schedules []string
	for _, s := range p.Hours {
		var windows []string
		for _, w := range s.Windows {
			days := "daily"
			if len(w.Days) > 0 {
				short := make([]string, len(w.Days))
				for i, day := range w.Days {
					short[i] = strings.ToLower(day.String()[:3])
				}
				days = strings.Join(short, " ")
			}
			windows = append(windows, days+" "+Clock(w.From)+"-"+Clock(w.Until))
		}
		zone := s.Zone
		if zone == "" {
			zone = "UTC"
		}
		schedules = append(schedules, strings.Join(windows, ", ")+" ("+zone+")")
	}
	return strings.Join(schedules, "; and ")
}

// Networks writes a policy's out, "" where it has none.
func Networks(p identity.Policy) string {
	lists := make([]string, len(p.Networks))
	for i, blocks := range p.Networks {
		lists[i] = strings.Join(blocks, " ")
	}
	return strings.Join(lists, "; and ")
}

// Clock writes minutes since midnight as a time of the day.
func Clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// Span writes a duration as people do: 24h, not 24h0m0s.
func Span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
