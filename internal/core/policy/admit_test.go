package policy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func schedule(zone string, windows ...identity.Window) identity.Schedule {
	return identity.Schedule{Zone: zone, Windows: windows}
}

func TestHours(t *testing.T) {
	const eight, eighteen, twentyTwo, six = 8 * 60, 18 * 60, 22 * 60, 6 * 60
	weekdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	office := schedule("", identity.Window{Days: weekdays, From: eight, Until: eighteen})
	berlin := schedule("Europe/Berlin", identity.Window{From: eight, Until: eighteen})
	night := schedule("", identity.Window{Days: []time.Weekday{time.Friday}, From: twentyTwo, Until: six})
	twoToThree := schedule("Europe/Berlin", identity.Window{From: 2 * 60, Until: 3 * 60})
	tests := []struct {
		name  string
		hours []identity.Schedule
		now   string
		open  bool
	}{
		{"none", nil, "2026-11-28T03:00:00Z", true},
		{"the first minute", []identity.Schedule{office}, "2026-11-26T08:00:00Z", true},
		{"before it", []identity.Schedule{office}, "2026-11-26T07:59:59Z", false},
		{"the last second", []identity.Schedule{office}, "2026-11-26T17:59:59Z", true},
		{"the end is excluded", []identity.Schedule{office}, "2026-11-26T18:00:00Z", false},
		{"another day", []identity.Schedule{office}, "2026-11-28T12:00:00Z", false},
		{"a second window", []identity.Schedule{schedule("", office.Windows[0], identity.Window{Days: []time.Weekday{time.Saturday}, From: 0, Until: 24 * 60})}, "2026-11-28T23:59:00Z", true},
		{"winter in Berlin", []identity.Schedule{berlin}, "2026-01-15T07:00:00Z", true},
		{"winter in Berlin, an hour earlier", []identity.Schedule{berlin}, "2026-01-15T06:30:00Z", false},
		{"summer in Berlin", []identity.Schedule{berlin}, "2026-07-15T06:00:00Z", true},
		{"summer in Berlin, evening", []identity.Schedule{berlin}, "2026-07-15T16:30:00Z", false},
		{"the hour that spring leaves out", []identity.Schedule{twoToThree}, "2026-03-29T01:00:00Z", false}, // 03:00 already
		{"the minute before", []identity.Schedule{twoToThree}, "2026-03-29T00:59:00Z", false},               // 01:59
		{"the hour that autumn repeats", []identity.Schedule{twoToThree}, "2026-10-25T00:30:00Z", true},
		{"again", []identity.Schedule{twoToThree}, "2026-10-25T01:30:00Z", true},
		{"and no third time", []identity.Schedule{twoToThree}, "2026-10-25T02:00:00Z", false},
		{"over midnight, before", []identity.Schedule{night}, "2026-11-27T22:00:00Z", true},
		{"over midnight, after", []identity.Schedule{night}, "2026-11-28T05:59:00Z", true},
		{"over midnight, the end", []identity.Schedule{night}, "2026-11-28T06:00:00Z", false},
		{"over midnight, not the morning of its day", []identity.Schedule{night}, "2026-11-27T05:00:00Z", false},
		{"over midnight, not the night after", []identity.Schedule{night}, "2026-11-28T22:30:00Z", false},
		{"from a time until the same: a whole day", []identity.Schedule{schedule("", identity.Window{Days: []time.Weekday{time.Friday}, From: eight, Until: eight})}, "2026-11-28T07:59:00Z", true},
		{"until midnight", []identity.Schedule{schedule("", identity.Window{From: eight, Until: 0})}, "2026-11-28T23:59:59Z", true},
		{"until midnight, past it", []identity.Schedule{schedule("", identity.Window{From: eight, Until: 0})}, "2026-11-28T00:00:00Z", false},
		{"all of several must be open", []identity.Schedule{office, berlin}, "2026-11-26T17:30:00Z", false}, // 18:30 in Berlin
		{"and are", []identity.Schedule{office, berlin}, "2026-11-26T16:30:00Z", true},
		{"an unknown zone is closed", []identity.Schedule{schedule("Nowhere/Town", identity.Window{From: 0, Until: 24 * 60})}, "2026-11-26T12:00:00Z", false},
		{"no window is open never", []identity.Schedule{schedule("")}, "2026-11-26T12:00:00Z", false},
	}
	for _, tt := range tests {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		err = policy.Admits(identity.Policy{Hours: tt.hours}, identity.Caller{Address: "192.0.2.1"}, now)
		if (err == nil) != tt.open || err != nil && !errors.Is(err, identity.Restricted) {
			t.Errorf("%s: %v, want open %v", tt.name, err, tt.open)
		}
	}
}

func TestNetworks(t *testing.T) {
	inside, six := []string{"10.0.0.0/8", "198.51.100.7/32"}, []string{"2001:db8::/32"}
	tests := []struct {
		name     string
		networks [][]string
		address  string
		admitted bool
	}{
		{"none", nil, "203.0.113.9", true},
		{"none, no address", nil, "root@machine", true},
		{"inside", [][]string{inside}, "10.200.3.4", true},
		{"one address", [][]string{inside}, "198.51.100.7", true},
		{"its neighbour", [][]string{inside}, "198.51.100.8", false},
		{"IPv4 in IPv6's spelling", [][]string{inside}, "::ffff:10.1.2.3", true},
		{"another in IPv6's spelling", [][]string{inside}, "::ffff:11.1.2.3", false},
		{"IPv6", [][]string{six}, "2001:db8:1::5", true},
		{"IPv6 with a zone", [][]string{six}, "2001:db8:1::5%eth0", true},
		{"another IPv6", [][]string{six}, "2001:db9::5", false},
		{"every IPv4 is not every IPv6", [][]string{{"0.0.0.0/0"}}, "2001:db8::1", false},
		{"no address", [][]string{inside}, "root@machine", false},
		{"empty", [][]string{inside}, "", false},
		{"each list must hold it", [][]string{inside, {"10.1.0.0/16"}}, "10.2.0.1", false},
		{"and does", [][]string{inside, {"10.1.0.0/16"}}, "10.1.0.1", true},
		{"what cannot be read holds nobody", [][]string{{"10.0.0.0"}}, "10.0.0.0", false},
	}
	for _, tt := range tests {
		err := policy.Admits(identity.Policy{Networks: tt.networks}, identity.Caller{Address: tt.address}, coretest.Start)
		if (err == nil) != tt.admitted || err != nil && !errors.Is(err, identity.Restricted) {
			t.Errorf("%s: %v, want admitted %v", tt.name, err, tt.admitted)
		}
	}
}

// One's own networks and one's organisations' hold together, and a house without either reads nothing.
func TestAdmit(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := &house{Core: coretest.New(t, store), t: t}
		from := func(s identity.Subject, address string) (err error) {
			h.View(func(r identity.Reader) error {
				err = h.Policies.Admit(t.Context(), r, identity.Caller{Address: address}, s)
				return nil
			})
			return err
		}
		if !h.Policies.MayBind() {
			t.Error("nothing was read yet, and all is known")
		}
		plain := h.Person()
		if err := from(plain, ""); err != nil || h.Policies.MayBind() {
			t.Errorf("no policy binds: %v, may bind %v", err, h.Policies.MayBind())
		}
		own := h.save(identity.Policy{Key: "own", Networks: [][]string{{"10.0.0.0/8"}}})
		theirs := h.save(identity.Policy{Key: "theirs", Networks: [][]string{{"10.1.0.0/16", "192.0.2.0/24"}}})
		member, both := h.Person(), h.Person(func(s *identity.Subject, _ *identity.Credential) { s.PolicyID = own })
		o := h.organisation(1, theirs)
		h.join(member, o)
		h.join(both, o)
		h.Clock.Advance(time.Minute) // what changed just now is not kept
		tests := []struct {
			name    string
			who     identity.Subject
			address string
			want    error
		}{
			{"nobody's rule", plain, "203.0.113.1", nil},
			{"a member", member, "192.0.2.9", nil},
			{"a member elsewhere", member, "10.2.0.1", identity.Restricted},
			{"both", both, "10.1.0.1", nil},
			{"only the organisation's", both, "192.0.2.9", identity.Restricted},
			{"only her own", both, "10.2.0.1", identity.Restricted},
		}
		for _, tt := range tests {
			if err := from(tt.who, tt.address); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		if !h.Policies.MayBind() {
			t.Error("a policy binds, and nobody looks")
		}
	})
}

// What everybody reads from must not be written into when a person's policies meet.
func TestStricterLeavesItsPartsAlone(t *testing.T) {
	a := identity.Policy{Networks: make([][]string, 0, 8)}
	a.Networks = append(a.Networks, []string{"10.0.0.0/8"})
	one := policy.Stricter(a, identity.Policy{Networks: [][]string{{"10.1.0.0/16"}}})
	two := policy.Stricter(a, identity.Policy{Networks: [][]string{{"10.2.0.0/16"}}})
	if one.Networks[1][0] != "10.1.0.0/16" || two.Networks[1][0] != "10.2.0.0/16" {
		t.Errorf("one's networks became another's: %v and %v", one.Networks, two.Networks)
	}
}

func TestWords(t *testing.T) {
	p := identity.Policy{
		Password: identity.PasswordRule{MinLength: 12, Classes: 3, History: 5, MaxAgeDays: 90, MinScore: 3}, SecondFactor: identity.FactorNeeded,
		Factors: []identity.CredentialKind{identity.TOTP}, SessionIdle: 30 * time.Minute, SessionMax: 24 * time.Hour,
		Lockout:  identity.Lockout{Tries: 5, Window: 15 * time.Minute},
		Hours:    []identity.Schedule{schedule("Europe/Berlin", identity.Window{Days: []time.Weekday{1, 2}, From: 480, Until: 1080}, identity.Window{From: 1320, Until: 1440})},
		Networks: [][]string{{"10.0.0.0/8"}},
	}
	want := []string{
		"passwords of at least 12 characters", "3 of 4 kinds of characters in a password", "password strength at least 3 of 4", "the last 5 passwords not again",
		"a new password every 90 days", "second factor required", "second factors: totp", "sessions end after 30m without use", "sessions end after 24h",
		"locked after 5 failures in 15m", "sign-in only mon tue 08:00-18:00, daily 22:00-24:00 (Europe/Berlin)", "sign-in only from certain addresses",
	}
	if got := policy.Words(p); !slices.Equal(got, want) {
		t.Errorf("Words = %q", got)
	}
	if got := policy.Words(identity.Policy{}); len(got) != 0 {
		t.Errorf("a policy that demands nothing says %q", got)
	}
}
