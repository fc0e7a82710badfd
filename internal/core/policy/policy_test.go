package policy_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestStricter(t *testing.T) {
	totp, mail := identity.TOTP, identity.EmailCode
	tests := []struct {
		name       string
		a, b, want identity.Policy
	}{
		{"nothing and nothing", identity.Policy{}, identity.Policy{}, identity.Policy{}},
		{"the key stays", identity.Policy{Key: "a", ID: "1"}, identity.Policy{Key: "b", ID: "2"}, identity.Policy{Key: "a", ID: "1"}},
		{"any opinion on factors beats none", identity.Policy{}, identity.Policy{SecondFactor: identity.FactorOff}, identity.Policy{SecondFactor: identity.FactorOff}},
		{"optional beats off", identity.Policy{SecondFactor: identity.FactorOptional}, identity.Policy{SecondFactor: identity.FactorOff}, identity.Policy{SecondFactor: identity.FactorOptional}},
		{"required beats optional", identity.Policy{SecondFactor: identity.FactorOptional}, identity.Policy{SecondFactor: identity.FactorNeeded}, identity.Policy{SecondFactor: identity.FactorNeeded}},
		{"an unknown demand is none", identity.Policy{SecondFactor: identity.FactorOff}, identity.Policy{SecondFactor: "maybe"}, identity.Policy{SecondFactor: identity.FactorOff}},
		{"no list allows all", identity.Policy{}, identity.Policy{Factors: []identity.CredentialKind{totp}}, identity.Policy{Factors: []identity.CredentialKind{totp}}},
		{
			"what both allow", identity.Policy{Factors: []identity.CredentialKind{mail, totp}},
			identity.Policy{Factors: []identity.CredentialKind{totp, identity.SMSCode}}, identity.Policy{Factors: []identity.CredentialKind{totp}},
		},
		{
			"nothing in common allows none, not all", identity.Policy{Factors: []identity.CredentialKind{mail}},
			identity.Policy{Factors: []identity.CredentialKind{totp}}, identity.Policy{Factors: []identity.CredentialKind{policy.NoFactor}},
		},
		{
			"the shorter session", identity.Policy{SessionIdle: time.Hour}, identity.Policy{SessionIdle: time.Minute, SessionMax: time.Hour},
			identity.Policy{SessionIdle: time.Minute, SessionMax: time.Hour},
		},
		{
			"fewer tries in the longer window", identity.Policy{Lockout: identity.Lockout{Tries: 3, Window: time.Minute}},
			identity.Policy{Lockout: identity.Lockout{Tries: 9, Window: time.Hour}}, identity.Policy{Lockout: identity.Lockout{Tries: 3, Window: time.Hour}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := policy.Stricter(tt.a, tt.b); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Stricter = %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestStricterPassword(t *testing.T) {
	tests := []struct {
		name       string
		a, b, want identity.PasswordRule
	}{
		{"nothing", identity.PasswordRule{}, identity.PasswordRule{}, identity.PasswordRule{}},
		{"zero demands nothing", identity.PasswordRule{MinLength: 8, Classes: 2, History: 3, MaxAgeDays: 90, MinScore: 3}, identity.PasswordRule{},
			identity.PasswordRule{MinLength: 8, Classes: 2, History: 3, MaxAgeDays: 90, MinScore: 3}},
		{"each field for itself", identity.PasswordRule{MinLength: 12, Classes: 1, History: 24, MaxAgeDays: 30, MinScore: 1},
			identity.PasswordRule{MinLength: 8, Classes: 4, History: 5, MaxAgeDays: 365, MinScore: 4},
			identity.PasswordRule{MinLength: 12, Classes: 4, History: 24, MaxAgeDays: 30, MinScore: 4}},
	}
	for _, tt := range tests {
		if got := policy.StricterPassword(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		if got := policy.StricterPassword(tt.b, tt.a); got != tt.want {
			t.Errorf("%s, the other way round: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestAllows(t *testing.T) {
	only := func(kinds ...identity.CredentialKind) []identity.CredentialKind { return kinds }
	tests := []struct {
		name   string
		policy identity.Policy
		want   bool // of TOTP
	}{
		{"no list", identity.Policy{SecondFactor: identity.FactorOptional}, true},
		{"no opinion", identity.Policy{}, true},
		{"required, in the list", identity.Policy{SecondFactor: identity.FactorNeeded, Factors: only(identity.SMSCode, identity.TOTP)}, true},
		{"not in the list", identity.Policy{SecondFactor: identity.FactorNeeded, Factors: only(identity.SMSCode)}, false},
		{"none in common", identity.Policy{SecondFactor: identity.FactorNeeded, Factors: only(policy.NoFactor)}, false},
		{"off", identity.Policy{SecondFactor: identity.FactorOff}, false},
		{"off, though listed", identity.Policy{SecondFactor: identity.FactorOff, Factors: only(identity.TOTP)}, false},
	}
	for _, tt := range tests {
		if got := policy.Allows(tt.policy, identity.TOTP); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// anyPolicy draws small numbers, so that equal and zero fields are common.
func anyPolicy(r *rand.Rand) identity.Policy {
	demands := []identity.Demand{"", identity.FactorOff, identity.FactorOptional, identity.FactorNeeded}
	p := identity.Policy{
		Password:     identity.PasswordRule{MinLength: r.IntN(4), Classes: r.IntN(5), History: r.IntN(4), MaxAgeDays: r.IntN(4), MinScore: r.IntN(5)},
		SecondFactor: demands[r.IntN(len(demands))],
		SessionIdle:  time.Duration(r.IntN(4)), SessionMax: time.Duration(r.IntN(4)),
		Lockout: identity.Lockout{Tries: r.IntN(4), Window: time.Duration(r.IntN(4))},
	}
	for _, kind := range []identity.CredentialKind{identity.TOTP, identity.EmailCode, identity.SMSCode} {
		if r.IntN(2) == 1 {
			p.Factors = append(p.Factors, kind)
		}
	}
	for i := range r.IntN(3) {
		p.Hours = append(p.Hours, identity.Schedule{Windows: []identity.Window{{From: i * 60, Until: (i + 1 + r.IntN(2)) * 60}}})
		p.Networks = append(p.Networks, []string{fmt.Sprintf("10.%d.%d.0/24", i, r.IntN(2))})
	}
	r.Shuffle(len(p.Factors), func(i, j int) { p.Factors[i], p.Factors[j] = p.Factors[j], p.Factors[i] })
	return p
}

// rules is a policy's demands in one spelling: its lists are sets.
func rules(p identity.Policy) identity.Policy {
	p.Hours, p.Networks = slices.Clone(p.Hours), slices.Clone(p.Networks)
	slices.SortFunc(p.Hours, func(a, b identity.Schedule) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	slices.SortFunc(p.Networks, slices.Compare)
	p.Factors = slices.Clone(p.Factors)
	slices.Sort(p.Factors)
	return p
}

// weaker names a field in which p demands less than one of the two that it was made of.
func weaker(p, part identity.Policy) string {
	rank := map[identity.Demand]int{"": 0, identity.FactorOff: 1, identity.FactorOptional: 2, identity.FactorNeeded: 3}
	over := func(have, limit int) bool { return limit != 0 && (have == 0 || have > limit) } // of upper bounds, where 0 is none
	switch {
	case p.Password.MinLength < part.Password.MinLength:
		return "length"
	case p.Password.Classes < part.Password.Classes:
		return "classes"
	case p.Password.History < part.Password.History:
		return "history"
	case over(p.Password.MaxAgeDays, part.Password.MaxAgeDays):
		return "age"
	case p.Password.MinScore < part.Password.MinScore:
		return "score"
	case rank[p.SecondFactor] < rank[part.SecondFactor]:
		return "second factor"
	case over(int(p.SessionIdle), int(part.SessionIdle)):
		return "idle"
	case over(int(p.SessionMax), int(part.SessionMax)):
		return "session"
	case over(p.Lockout.Tries, part.Lockout.Tries):
		return "tries"
	case p.Lockout.Window < part.Lockout.Window:
		return "window"
	}
	for _, hours := range part.Hours {
		if !slices.ContainsFunc(p.Hours, func(have identity.Schedule) bool { return policy.SameSchedule(have, hours) }) {
			return "hours"
		}
	}
	for _, list := range part.Networks {
		if !slices.ContainsFunc(p.Networks, func(have []string) bool { return slices.Equal(have, list) }) {
			return "networks"
		}
	}
	for _, kind := range []identity.CredentialKind{identity.TOTP, identity.EmailCode, identity.SMSCode, identity.WebAuthn} {
		allowed := func(p identity.Policy) bool { return len(p.Factors) == 0 || slices.Contains(p.Factors, kind) }
		if allowed(p) && !allowed(part) {
			return "allowed " + string(kind)
		}
	}
	return ""
}

// Many organisations' policies meet in one person in an order that nobody chose, so the order must not matter.
func TestStricterIsASemilattice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		a, b, c := anyPolicy(r), anyPolicy(r), anyPolicy(r)
		ab := policy.Stricter(a, b)
		if ba := policy.Stricter(b, a); !reflect.DeepEqual(rules(ab), rules(ba)) {
			t.Fatalf("draw %d: the order matters for\n%+v\n%+v\ngot %+v\nand %+v", i, a, b, ab, ba)
		}
		if left, right := policy.Stricter(ab, c), policy.Stricter(a, policy.Stricter(b, c)); !reflect.DeepEqual(rules(left), rules(right)) {
			t.Fatalf("draw %d: the grouping matters for\n%+v\n%+v\n%+v\ngot %+v\nand %+v", i, a, b, c, left, right)
		}
		if aa := policy.Stricter(a, a); !reflect.DeepEqual(rules(aa), rules(a)) {
			t.Fatalf("draw %d: twice is not once for\n%+v\ngot %+v", i, a, aa)
		}
		if again := policy.Stricter(ab, b); !reflect.DeepEqual(rules(again), rules(ab)) {
			t.Fatalf("draw %d: a second time changes\n%+v\nto %+v", i, ab, again)
		}
		for _, part := range []identity.Policy{a, b} {
			if field := weaker(ab, part); field != "" {
				t.Fatalf("draw %d: %s is weaker than\n%+v\nin %+v", i, field, part, ab)
			}
		}
	}
}

// house is a store with policies, and the service that reads them.
type house struct {
	*coretest.Core
	t        *testing.T
	policies int
}

func (h *house) save(p identity.Policy) identity.PolicyID {
	h.t.Helper()
	h.policies++
	p.ID = identity.PolicyID(fmt.Sprintf("018f0000-0000-7000-8000-%012d", h.policies))
	p.CreatedAt, p.UpdatedAt = h.Clock.Now(), h.Clock.Now()
	h.Update(func(tx identity.Tx) error {
		if err := tx.SavePolicy(h.t.Context(), p); err != nil {
			return err
		}
		return tx.Announce(h.t.Context(), identity.PolicyChanged, string(p.ID), h.Clock.Now())
	})
	return p.ID
}

func (h *house) organisation(number int, id identity.PolicyID) identity.Organisation {
	h.t.Helper()
	o := identity.Organisation{
		ID: identity.OrganisationID(fmt.Sprintf("018f0000-0000-7000-9000-%012d", number)), Key: fmt.Sprintf("org%d", number),
		Hash: fmt.Sprintf("%040d", number), Name: "Organisation", PolicyID: id, CreatedAt: h.Clock.Now(),
	}
	h.Update(func(tx identity.Tx) error { return tx.CreateOrganisation(h.t.Context(), &o) })
	return o
}

func (h *house) join(s identity.Subject, organisations ...identity.Organisation) {
	h.t.Helper()
	h.Update(func(tx identity.Tx) error {
		for i, o := range organisations {
			m := identity.Membership{
				ID:        identity.MembershipID(fmt.Sprintf("018f0000-0000-7000-a000-%06d%06d", s.Number, i)),
				SubjectID: s.ID, OrganisationID: o.ID, CreatedAt: h.Clock.Now(),
			}
			if err := tx.SaveMembership(h.t.Context(), m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *house) of(s identity.Subject) identity.Policy {
	h.t.Helper()
	var p identity.Policy
	h.View(func(r identity.Reader) (err error) {
		p, err = h.Policies.OfMember(h.t.Context(), r, s)
		return err
	})
	return p
}

func TestOf(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := &house{Core: coretest.New(t, store), t: t}
		plain := h.Person()
		if got := h.of(plain); !reflect.DeepEqual(got, policy.BuiltIn) {
			t.Errorf("without any row: %+v, want the built-in one", got)
		}
		own := h.save(identity.Policy{Key: "careful", Password: identity.PasswordRule{MinLength: 20}, SecondFactor: identity.FactorOff})
		strict := h.save(identity.Policy{Key: "strict", SecondFactor: identity.FactorNeeded, Factors: []identity.CredentialKind{identity.TOTP}, SessionMax: time.Hour})
		brief := h.save(identity.Policy{Key: "brief", SessionMax: time.Minute, Factors: []identity.CredentialKind{identity.SMSCode}})
		careful := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.PolicyID = own })
		member, both := h.Person(), h.Person(func(s *identity.Subject, _ *identity.Credential) { s.PolicyID = own })
		one, two, none := h.organisation(1, strict), h.organisation(2, brief), h.organisation(3, "")
		h.join(member, one, none)
		h.join(both, none, two, one)

		if got := h.of(plain); !reflect.DeepEqual(got, policy.BuiltIn) {
			t.Errorf("others' policies hold for somebody without: %+v", got)
		}
		if got := h.of(careful); got.Password.MinLength != 20 || got.Password.History != policy.BuiltIn.Password.History || got.SecondFactor != identity.FactorOptional {
			t.Errorf("her own beside the built-in one: %+v", got)
		}
		if got := h.of(member); got.SecondFactor != identity.FactorNeeded || got.SessionMax != time.Hour || !slices.Equal(got.Factors, []identity.CredentialKind{identity.TOTP}) || got.Password.MinLength != 8 {
			t.Errorf("her organisation's: %+v", got)
		}
		got := h.of(both)
		if got.Password.MinLength != 20 || got.SecondFactor != identity.FactorNeeded || got.SessionMax != time.Minute || policy.Allows(got, identity.TOTP) || policy.Allows(got, identity.SMSCode) {
			t.Errorf("her own and both organisations': %+v", got)
		}

		// The default row stands in for the built-in policy, weaker or not; what it says nothing about demands nothing, but for
		// second factors: of those the built-in word stands, or an organisation's "off" would be the only one.
		off := h.organisation(4, h.save(identity.Policy{Key: "off", SecondFactor: identity.FactorOff}))
		h.join(plain, off)
		h.save(identity.Policy{Key: identity.DefaultPolicyKey, Password: identity.PasswordRule{MinLength: 6}})
		if got := h.of(plain); got.Key != identity.DefaultPolicyKey || got.Password.MinLength != 6 || got.Password.History != 0 || got.SecondFactor != identity.FactorOptional {
			t.Errorf("under the default row: %+v", got)
		}
		if got := h.of(careful); got.Password.MinLength != 20 {
			t.Errorf("her own beside the default row: %+v", got)
		}
	})
}

// A login that nobody has locks as any other does, so the bound is one for all.
func TestLockoutIsTheStrictestForEverybody(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := &house{Core: coretest.New(t, store), t: t}
		lockout := func(want identity.Lockout) {
			t.Helper()
			h.View(func(r identity.Reader) error {
				got, err := h.Policies.Lockout(t.Context(), r)
				if got != want {
					t.Errorf("Lockout = %+v, want %+v", got, want)
				}
				return err
			})
		}
		lockout(policy.BuiltIn.Lockout)
		h.save(identity.Policy{Key: "silent"})
		lockout(policy.BuiltIn.Lockout)
		h.save(identity.Policy{Key: identity.DefaultPolicyKey, Lockout: identity.Lockout{Tries: 20, Window: time.Minute}})
		lockout(identity.Lockout{Tries: 20, Window: time.Minute})
		h.save(identity.Policy{Key: "few", Lockout: identity.Lockout{Tries: 3, Window: time.Second}})
		lockout(identity.Lockout{Tries: 3, Window: time.Minute})
		h.save(identity.Policy{Key: "long", Lockout: identity.Lockout{Tries: 100, Window: time.Hour}})
		lockout(identity.Lockout{Tries: 3, Window: time.Hour})
	})
}

func TestOrganisationsInTheOrderOfMemberships(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := &house{Core: coretest.New(t, store), t: t}
		s := h.Person()
		one, two := h.organisation(1, ""), h.organisation(2, "")
		site := identity.Site{ID: "018f0000-0000-7000-b000-000000000001", OrganisationID: two.ID, Key: "site", Name: "Site", CreatedAt: h.Clock.Now()}
		h.Update(func(tx identity.Tx) error { return tx.SaveSite(t.Context(), site) })
		h.join(s, two, one)
		h.Update(func(tx identity.Tx) error { // at a site of hers too: a second membership of one organisation
			return tx.SaveMembership(t.Context(), identity.Membership{
				ID: "018f0000-0000-7000-a000-999999999999", SubjectID: s.ID, OrganisationID: two.ID, SiteID: site.ID, CreatedAt: h.Clock.Now(),
			})
		})
		h.View(func(r identity.Reader) error {
			memberships, err := r.Memberships(t.Context(), s.ID)
			if err != nil {
				return err
			}
			list, err := policy.Organisations(t.Context(), r, s.ID)
			if len(memberships) != 3 || len(list) != 2 || list[0].ID != memberships[0].OrganisationID {
				t.Errorf("%d memberships gave %+v", len(memberships), list)
			}
			return err
		})
	})
}

// reader counts readings of the policies, and does something in the middle of one.
type reader struct {
	identity.Reader
	readings *int
	during   func()
}

func (r reader) Policies(ctx context.Context) ([]identity.Policy, error) {
	*r.readings++
	list, err := r.Reader.Policies(ctx)
	if r.during != nil {
		r.during()
	}
	return list, err
}

// away is a store that does not answer.
type away struct{ identity.Reader }

func (away) Policies(context.Context) ([]identity.Policy, error) { return nil, identity.Unavailable }

func TestPoliciesAreReadOnceUntilTheyChange(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := &house{Core: coretest.New(t, store), t: t}
		s := h.Person()
		elsewhere := &policy.Service{Now: h.Clock.Now} // another node's: hears of changes by the feed's tail alone
		readings := 0
		length := func(service *policy.Service, during func()) (length int) {
			t.Helper()
			h.View(func(r identity.Reader) error {
				p, err := service.Of(t.Context(), reader{r, &readings, during}, s, nil)
				length = p.Password.MinLength
				return err
			})
			return length
		}
		for range 3 {
			length(elsewhere, nil)
		}
		if readings != 1 {
			t.Errorf("read %d times, want once", readings)
		}
		h.save(identity.Policy{Key: identity.DefaultPolicyKey, Password: identity.PasswordRule{MinLength: 11}})
		if got := length(h.Policies, nil); got != 11 {
			t.Errorf("this node still wants %d characters", got)
		}
		if got := length(elsewhere, nil); got != 8 {
			t.Errorf("another node, before the feed told it: %d", got)
		}
		elsewhere.Changed([]identity.Change{{Kind: identity.SubjectChanged}, {Kind: identity.ClientChanged}})
		if got := length(elsewhere, nil); got != 8 {
			t.Errorf("changes of other things made it read again: %d", got)
		}
		for _, kind := range []identity.ChangeKind{identity.PolicyChanged, identity.EverythingChanged} {
			before := readings
			elsewhere.Changed([]identity.Change{{Kind: identity.SubjectChanged}, {Kind: kind}})
			if got := length(elsewhere, nil); got != 11 || readings != before+1 {
				t.Errorf("after %s: %d characters, %d readings", kind, got, readings-before)
			}
		}

		// It changed while it was being read: what was read is answered once, and not kept. Nor is anything until no look at the
		// store can be from before the change.
		fresh := &policy.Service{Now: h.Clock.Now}
		before := readings
		length(fresh, func() { fresh.Changed([]identity.Change{{Kind: identity.PolicyChanged}}) })
		length(fresh, nil)
		h.Clock.Advance(time.Minute)
		length(fresh, nil)
		length(fresh, nil)
		if readings != before+3 {
			t.Errorf("%d readings, want 3: what may be out of date was kept, or nothing ever is", readings-before)
		}

		// A reading that failed says nothing about policies, and the next one is made.
		broken := &policy.Service{Now: h.Clock.Now}
		h.View(func(r identity.Reader) error {
			if _, err := broken.Of(t.Context(), away{r}, s, nil); !errors.Is(err, identity.Unavailable) {
				t.Errorf("a store that does not answer gives %v, want %v", err, identity.Unavailable)
			}
			if _, err := broken.Lockout(t.Context(), away{r}); !errors.Is(err, identity.Unavailable) {
				t.Errorf("Lockout gives %v, want %v", err, identity.Unavailable)
			}
			return nil
		})
		if got := length(broken, nil); got != 11 {
			t.Errorf("once the store answers again: %d", got)
		}
	})
}

func TestManyAskWhilePoliciesChange(t *testing.T) {
	h := &house{Core: coretest.New(t, storetest.SQLite(t)), t: t}
	s := h.Person()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				err := h.Store.View(t.Context(), func(r identity.Reader) error {
					p, err := h.Policies.Of(t.Context(), r, s, nil)
					if err == nil && p.Password.MinLength < 8 {
						t.Errorf("a policy that never was: %+v", p)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 20 {
		h.save(identity.Policy{Key: fmt.Sprintf("p%d", i)})
	}
	h.save(identity.Policy{Key: identity.DefaultPolicyKey, Password: identity.PasswordRule{MinLength: 15}})
	all.Wait()
	if got := h.of(s); got.Password.MinLength != 15 {
		t.Errorf("after the last change: %+v", got)
	}
}
