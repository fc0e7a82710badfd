package insights

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

// Field order is part of the contract: a public script cuts tokens and ids out by their position (insights.md 1).

// tokenAnswer is the answer of the token endpoint (insights.md 2.2).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"`
	Scope        string `json:"scope"`
	User         person `json:"user"`
	ID           string `json:"jti"`
}

// person is a user (insights.md 3.2). In a token's answer it has neither password nor privileges (insights.md 2.3).
type person struct {
	Name               string               `json:"name"`
	FirstName          string               `json:"firstName"`
	LastName           string               `json:"lastName"`
	MiddleName         string               `json:"middleName"`
	Email              string               `json:"email"`
	EmailAddress       string               `json:"emailAddress"`
	Phone              string               `json:"phone"`
	Password           *string              `json:"password,omitempty"` // always ""
	CreatedBy          string               `json:"createdBy"`
	LastUpdatedBy      string               `json:"lastUpdatedBy"`
	UserType           string               `json:"userType"`
	AuthenticationType string               `json:"authenticationType"`
	DefaultOrg         string               `json:"defaultOrg"`
	DefaultSite        []map[string]string  `json:"defaultSite"`
	LastUserUpdateTime string               `json:"lastUserUpdateTime"`
	LastLoginTime      string               `json:"lastLoginTime"`
	Group              string               `json:"group"`
	OrgPrivileges      map[string]orgRecord `json:"orgPrivilegeMap,omitzero"`
}

// orgRecord is one entry of orgPrivilegeMap (insights.md 3.3).
type orgRecord struct {
	OrgID   string                `json:"orgId"`
	OrgName string                `json:"orgName"`
	Sites   map[string]siteRecord `json:"sites"`
}

type siteRecord struct {
	SiteID   string       `json:"siteId"`
	SiteName string       `json:"siteName"`
	Roles    []roleRecord `json:"roles"`
}

type roleRecord struct {
	Role       string   `json:"role"`
	Privileges []string `json:"privileges"`
}

// siteList is the answer of GET /api/v2/sites (insights.md 4).
type siteList struct {
	Data []orgSites `json:"data"`
}

type orgSites struct {
	OrgID    string      `json:"orgId"`
	OrgName  string      `json:"orgName"`
	SiteList []siteEntry `json:"siteList"`
}

type siteEntry struct {
	SiteID   string  `json:"siteId"`
	SiteName string  `json:"siteName"`
	Address  *string `json:"address"` // null: the house keeps none
}

// refusal is an error answer (insights.md 2.5).
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Scope       string `json:"scope,omitempty"`
}

// attributes are what the world file says of a subject for this door alone.
type attributes struct {
	Group       string `json:"group"`
	UserType    string `json:"user_type"`
	DefaultSite string `json:"default_site"` // a site's key
}

// instant is the contract's time format: UTC, three decimals, a literal Z. Never is "".
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// named is the id:Name form of organisations and sites.
func named[ID ~string](id ID, name string) string { return string(id) + ":" + name }

// The user types (insights.md 3.2).
const (
	superAdmin = "SUPER_ADMIN"
	admin      = "ADMIN"
	user       = "USER"
)

func attributesOf(s *identity.Subject) attributes {
	var a attributes
	if err := json.Unmarshal(s.Attributes[Door], &a); err != nil {
		return attributes{} // none, or none of ours
	}
	return a
}

// userType: only the house makes a superadmin; the attribute chooses between the other two.
func userType(s *identity.Subject) string {
	switch {
	case s.Superadmin:
		return superAdmin
	case attributesOf(s).UserType == admin:
		return admin
	}
	return user
}

// userName is her address, or whatever else she signs in with.
func userName(p *profile.Profile) string {
	if p.Subject.Email == "" && len(p.Logins) > 0 {
		return p.Logins[0].Typed
	}
	return p.Subject.Email
}

// place is an organisation that she may enter, with the sites at which she has a role.
type place struct {
	organisation identity.Organisation
	sites        []profile.SiteRoles
}

// places are the rows of her access group (insights.md 3.3): organisations in which she has a role, and which have not expired.
func places(p *profile.Profile, now time.Time) []place {
	var list []place
	for _, a := range p.Organisations {
		if len(a.Roles()) > 0 && !a.Organisation.ExpiredAt(now) {
			list = append(list, place{a.Organisation, a.Reach()})
		}
	}
	return list
}

// personOf prints a profile without password and privileges.
func personOf(p *profile.Profile, previousSignIn, now time.Time) person {
	s := &p.Subject
	own := attributesOf(s)
	group := own.Group
	all := places(p, now)
	if group == "" {
		switch {
		case s.Superadmin:
			group = "ADMIN_GROUP"
		case len(all) > 0:
			group = "DEFAULT_GROUP"
		}
	}
	org, site := defaults(all, own.DefaultSite, s.LastOrgID)
	return person{
		Name: cmp.Or(s.Name, userName(p)), FirstName: s.GivenName, LastName: s.FamilyName, MiddleName: s.MiddleName,
		Email: s.Email, EmailAddress: s.Email, Phone: s.Phone, CreatedBy: s.CreatedBy, LastUpdatedBy: s.UpdatedBy,
		UserType: userType(s), AuthenticationType: "LOCAL", DefaultOrg: org, DefaultSite: site,
		LastUserUpdateTime: instant(s.UpdatedAt), LastLoginTime: instant(previousSignIn), Group: group,
	}
}

// defaults: the site that the operator named and its organisation; else the organisation that she used last, or the first by
// name, with its first site by name. So whatever is named here is in orgPrivilegeMap too.
func defaults(all []place, key string, last identity.OrganisationID) (org string, site []map[string]string) {
	none := []map[string]string{}
	if len(all) == 0 {
		return "", none
	}
	var chosen *place
	for i := range all {
		for _, s := range all[i].sites {
			if key != "" && s.Site.Key == key {
				return sitePair(all[i].organisation, s.Site)
			}
		}
		if all[i].organisation.ID == last {
			chosen = &all[i]
		}
	}
	if chosen == nil {
		chosen = &all[0]
	}
	if len(chosen.sites) == 0 {
		return named(chosen.organisation.ID, chosen.organisation.Name), none
	}
	return sitePair(chosen.organisation, chosen.sites[0].Site)
}

func sitePair(o identity.Organisation, s identity.Site) (string, []map[string]string) {
	org := named(o.ID, o.Name)
	return org, []map[string]string{{org: named(s.ID, s.Name)}}
}

// detailOf prints a profile whole.
func detailOf(p *profile.Profile, previousSignIn, now time.Time) person {
	detail := personOf(p, previousSignIn, now)
	detail.Password = new(string) // "not in use"; never a hash
	detail.OrgPrivileges = map[string]orgRecord{}
	for _, at := range places(p, now) {
		o := orgRecord{OrgID: string(at.organisation.ID), OrgName: at.organisation.Name, Sites: map[string]siteRecord{}}
		for _, s := range at.sites {
			here := siteRecord{SiteID: string(s.Site.ID), SiteName: s.Site.Name, Roles: []roleRecord{}}
			for _, r := range s.Roles {
				privileges := append([]string{}, r.Privileges...)
				slices.Sort(privileges)
				here.Roles = append(here.Roles, roleRecord{r.Key, privileges})
			}
			o.Sites[named(s.Site.ID, s.Site.Name)] = here
		}
		detail.OrgPrivileges[named(at.organisation.ID, at.organisation.Name)] = o
	}
	return detail
}

func sitesOf(p *profile.Profile, now time.Time) siteList {
	list := siteList{Data: []orgSites{}}
	for _, at := range places(p, now) {
		o := orgSites{OrgID: named(at.organisation.ID, at.organisation.Name), OrgName: at.organisation.Name, SiteList: []siteEntry{}}
		for _, s := range at.sites {
			o.SiteList = append(o.SiteList, siteEntry{SiteID: named(s.Site.ID, s.Site.Name), SiteName: s.Site.Name})
		}
		list.Data = append(list.Data, o)
	}
	return list
}
