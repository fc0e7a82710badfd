package insights

import (
	"encoding/json"
	"testing"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.UTC)
	roles = map[string]identity.Role{
		"operator": {Key: "operator", Privileges: []string{"DISCOVERY_RUN", "DEVICE_VIEW"}},
		"auditor":  {Key: "auditor"},
	}
)

func access(name string, expires time.Time, sites []string, at ...string) profile.Access {
	a := profile.Access{Organisation: identity.Organisation{ID: identity.OrganisationID("o-" + name), Name: name, ExpiresAt: expires}}
	for _, s := range sites {
		a.Sites = append(a.Sites, identity.Site{ID: identity.SiteID("s-" + s), Key: s, Name: s})
	}
	for i := 0; i+1 < len(at); i += 2 { // site, role
		p := profile.Place{Role: roles[at[i+1]]}
		for _, s := range a.Sites {
			if s.Key == at[i] {
				p.Site = s
			}
		}
		a.Memberships = append(a.Memberships, p)
	}
	return a
}

func TestPersonFieldOrder(t *testing.T) {
	p := profile.Profile{Subject: identity.Subject{
		Name: "Dana Reyes", GivenName: "Dana", FamilyName: "Reyes", Email: "dana@example.net", Phone: "+1", CreatedBy: "root", UpdatedBy: "dana",
		UpdatedAt: noon, Attributes: identity.Attributes{Door: []byte(`{"group":"DISCOVERY_GROUP","user_type":"ADMIN","default_site":"BONN"}`)},
	}}
	p.Organisations = []profile.Access{access("ACME", time.Time{}, []string{"AACHEN", "BONN"}, "BONN", "operator", "", "auditor")}
	got, err := json.Marshal(detailOf(&p, noon.Add(-time.Hour), noon))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"Dana Reyes","firstName":"Dana","lastName":"Reyes","middleName":"","email":"dana@example.net","emailAddress":"dana@example.net",` +
		`"phone":"+1","password":"","createdBy":"root","lastUpdatedBy":"dana","userType":"ADMIN","authenticationType":"LOCAL",` +
		`"defaultOrg":"o-ACME:ACME","defaultSite":[{"o-ACME:ACME":"s-BONN:BONN"}],` +
		`"lastUserUpdateTime":"2026-01-02T12:00:00.123Z","lastLoginTime":"2026-01-02T11:00:00.123Z","group":"DISCOVERY_GROUP",` +
		`"orgPrivilegeMap":{"o-ACME:ACME":{"orgId":"o-ACME","orgName":"ACME","sites":{` +
		`"s-AACHEN:AACHEN":{"siteId":"s-AACHEN","siteName":"AACHEN","roles":[{"role":"auditor","privileges":[]}]},` +
		`"s-BONN:BONN":{"siteId":"s-BONN","siteName":"BONN","roles":[{"role":"auditor","privileges":[]},{"role":"operator","privileges":["DEVICE_VIEW","DISCOVERY_RUN"]}]}}}}}`
	if string(got) != want {
		t.Errorf("detail\n%s\nwant\n%s", got, want)
	}
	if got, _ := json.Marshal(personOf(&p, time.Time{}, noon)); len(got) >= len(want) || got[0] != '{' ||
		(contains(got, `"password"`) || contains(got, `"orgPrivilegeMap"`)) {
		t.Errorf("the user in a token's answer has more than insights.md 2.3 says: %s", got)
	}
}

func contains(b []byte, part string) bool {
	for i := 0; i+len(part) <= len(b); i++ {
		if string(b[i:i+len(part)]) == part {
			return true
		}
	}
	return false
}

func TestNobodysPrivileges(t *testing.T) {
	p := profile.Profile{Subject: identity.Subject{Email: "lone@example.net"}}
	got, err := json.Marshal(detailOf(&p, time.Time{}, noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"name":"lone@example.net"`, `"orgPrivilegeMap":{}`, `"defaultOrg":""`, `"defaultSite":[]`, `"lastLoginTime":""`, `"group":""`, `"userType":"USER"`} {
		if !contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
	if got, _ := json.Marshal(sitesOf(&p, noon)); string(got) != `{"data":[]}` {
		t.Errorf("sites = %s", got)
	}
}

func TestPlaces(t *testing.T) {
	p := profile.Profile{Subject: identity.Subject{LastOrgID: "o-BETA"}}
	p.Organisations = []profile.Access{
		access("ALPHA", time.Time{}, []string{"A1"}, "A1", "operator"),
		access("BETA", time.Time{}, nil, "", "operator"),
		access("GONE", noon, []string{"G1"}, "", "operator"),
		access("OTHER", time.Time{}, []string{"O1"}, "", ""), // a member with a role at another door only
	}
	got, err := json.Marshal(sitesOf(&p, noon))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"data":[{"orgId":"o-ALPHA:ALPHA","orgName":"ALPHA","siteList":[{"siteId":"s-A1:A1","siteName":"A1","address":null}]},` +
		`{"orgId":"o-BETA:BETA","orgName":"BETA","siteList":[]}]}`
	if string(got) != want {
		t.Errorf("sites\n%s\nwant\n%s", got, want)
	}
	if person := personOf(&p, time.Time{}, noon); person.DefaultOrg != "o-BETA:BETA" || len(person.DefaultSite) != 0 {
		t.Errorf("defaults = %q %v, want the organisation used last, which has no site", person.DefaultOrg, person.DefaultSite)
	}
	p.Subject.LastOrgID = "o-GONE"
	if person := personOf(&p, time.Time{}, noon); person.DefaultOrg != "o-ALPHA:ALPHA" {
		t.Errorf("defaultOrg = %q, want the first that she may enter", person.DefaultOrg)
	}
}

func TestUserType(t *testing.T) {
	tests := []struct {
		attributes string
		superadmin bool
		want       string
	}{
		{``, false, "USER"},
		{`{"user_type":"ADMIN"}`, false, "ADMIN"},
		{`{"user_type":"SUPER_ADMIN"}`, false, "USER"}, // only the house makes one
		{`{"user_type":"ADMIN"}`, true, "SUPER_ADMIN"},
		{`{"user_type":7}`, false, "USER"},
	}
	for _, tt := range tests {
		s := identity.Subject{Superadmin: tt.superadmin, Attributes: identity.Attributes{Door: []byte(tt.attributes)}}
		if got := userType(&s); got != tt.want {
			t.Errorf("userType(%s, superadmin %v) = %s, want %s", tt.attributes, tt.superadmin, got, tt.want)
		}
	}
}
