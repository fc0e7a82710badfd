package openwifi

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"strings"

	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// profileRoutes are /securityProfiles (openwifi.md 1.13).
func (d *Dialect) profileRoutes() []httpkit.Route {
	return []httpkit.Route{d.route(http.MethodGet, base+"/securityProfiles", "securityProfiles", d.securityProfiles)}
}

type profileList struct {
	Profiles []securityProfile `json:"profiles"`
}

// securityProfile is SecurityProfile: a role's, or a security policy by the name that a user's securityPolicy has.
type securityProfile struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Policy      []resourceRight `json:"policy"`
	Role        string          `json:"role"`
	Notes       []note          `json:"notes"`
}

type resourceRight struct {
	Resource string `json:"resource"`
	Access   string `json:"access"`
}

// securityProfiles answers GET /securityProfiles to whoever is signed in.
func (d *Dialect) securityProfiles(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := d.signedIn(r); err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	filter, err := q.text("filter")
	if err != nil {
		return err
	}
	policies, err := d.Profiles.NamedPolicies(r.Context())
	if err != nil {
		return err
	}
	filter = strings.ToLower(filter)
	list := slices.DeleteFunc(append(roleProfiles(), policyProfiles(policies)...), func(p securityProfile) bool {
		return !strings.Contains(strings.ToLower(p.Name), filter) && !strings.Contains(p.Role, filter)
	})
	first := max(1, q.number("offset", 1)) - 1
	list = list[min(first, len(list)):]
	list = list[:min(q.number("limit", math.MaxInt), len(list))]
	return writeJSON(w, http.StatusOK, profileList{Profiles: list})
}

// rights of a role over users are what the core's table says, so that nobody reads one thing here and is told another there.
var rights = []struct {
	act    staff.Act
	access string
}{{staff.Read, "READ"}, {staff.Create, "CREATE"}, {staff.Modify, "MODIFY"}, {staff.Delete, "DELETE"}}

// roleProfiles are the built-in ones. A role's number is its place in the core's list, which only grows at its end.
func roleProfiles() []securityProfile {
	var list []securityProfile
	for i, role := range staff.Roles() {
		p := securityProfile{
			ID: int64(i + 1), Name: string(role), Role: string(role), Notes: []note{},
			Description: "Built-in profile of the role " + string(role) + ": what it may do with other users (users), with its own record (self), and with mail and SMS (messages).",
		}
		grant := func(resource string, accesses ...string) {
			if len(accesses) == 0 {
				accesses = []string{"NONE"}
			}
			for _, access := range accesses {
				p.Policy = append(p.Policy, resourceRight{resource, access})
			}
		}
		var users, self, messages []string
		for _, right := range rights {
			if slices.ContainsFunc(staff.Roles(), func(other staff.Role) bool { return staff.May(role, right.act, other, false) == nil }) {
				users = append(users, right.access)
			}
			if staff.May(role, right.act, role, true) == nil {
				self = append(self, right.access)
			}
		}
		if staff.May(role, staff.SendMessages, staff.Subscriber, false) == nil {
			messages = []string{"CREATE"}
		}
		grant("users", users...)
		grant("self", self...)
		grant("messages", messages...)
		list = append(list, p)
	}
	return list
}

// policyProfiles say how the rules of each security policy read. They give no rights, and are no role's.
func policyProfiles(policies []identity.Policy) []securityProfile {
	var list []securityProfile
	for _, p := range policies {
		words := p.Description
		if rules := policy.Words(p); len(rules) > 0 {
			words = strings.TrimSpace(words + " " + sentence(strings.Join(rules, "; ")))
		}
		list = append(list, securityProfile{
			ID: policyNumber(p.ID), Name: p.Key, Description: words, Policy: []resourceRight{}, Notes: []note{},
		})
	}
	return list
}

// policyNumber stays with a policy for as long as it lives, whatever is made and removed beside it: 47 bits of its id's hash over
// all numbers that roles have, which is as much as a JavaScript number holds.
func policyNumber(id identity.PolicyID) int64 {
	sum := sha256.Sum256([]byte(id))
	return int64(binary.BigEndian.Uint64(sum[:8])>>17 | 1<<47)
}
