package app

import (
	"context"
	"strings"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// Doors are the dialects, for who mounts them and for the forms of their tokens.
type Doors struct {
	Nx       *nx.Dialect
	Insights *insights.Dialect
	Titan    *titan.Dialect
	OpenWiFi *openwifi.Dialect
	OIDC     *oidc.Dialect
}

// doorRules are what contracts demand of new passwords besides the security policy.
var doorRules = map[identity.Door]identity.PasswordRule{
	nx.Door: nx.PasswordRule, openwifi.Door: openwifi.PasswordRule, openwifi.SubscriberDoor: openwifi.PasswordRule,
}

// founder is what a door keeps of the membership of somebody who registered with an organisation of her own.
var founder = identity.Attributes{titan.Door: titan.Owner}

// looksAfterLicences says who is told when a licence of an organisation ends: whoever has a role called owner, admin or administrator in
// it, or is its owner or administrator in TITAN's words.
func looksAfterLicences(m identity.Membership) bool {
	return leads[strings.ToLower(m.Role)] || leads[titan.RoleOf(m)]
}

var leads = map[string]bool{"owner": true, "admin": true, "administrator": true}

// staffWords is how the door of an operator's people keeps what the core knows of them.
var staffWords = openwifi.Words

// rules are the contracts' lives of sessions and tokens, as configured.
func (h *House) rules() map[identity.Door]session.Rules {
	rules := map[identity.Door]session.Rules{
		nx.Door:                 nx.Rules(h.Config.Nx),
		nx.CloudDoor:            nx.CloudRules(h.Config.Nx),
		insights.Door:           insights.Rules(h.Config.Insights),
		titan.Door:              titan.Rules(h.Config.Titan),
		openwifi.Door:           openwifi.Rules(h.Config.OpenWiFi),
		openwifi.SubscriberDoor: openwifi.SubscriberRules(h.Config.OpenWiFi),
		oidc.Door:               oidc.Rules(h.Config.OIDC),
	}
	// Whoever signs herself up as a customer comes in where customers do, and is unknown where "signed in" means "one of ours".
	for door, r := range rules {
		if r.Kinds == nil {
			r.Kinds = []identity.SubjectKind{identity.Person, identity.Machine}
			rules[door] = r
		}
	}
	return rules
}

// doors builds every dialect; which are open is decided where they are mounted.
func (h *House) doors(ctx context.Context) error {
	serviceKey, err := openwifi.ServiceKey(ctx, h.Store, h.Box, h.Config.OpenWiFi.ServiceKey, h.Config.Issuer, h.rand, h.now())
	if err != nil {
		return err
	}
	h.Doors = Doors{
		Nx: &nx.Dialect{
			Issuer: h.Config.Issuer, Prefix: h.Config.Nx.Prefix, Base: h.Config.Nx.Base, Origins: h.Config.Nx.CORSOrigins,
			StrengthPerMinute: h.Config.Limits.NxStrengthPerMinute, CSRFPerMinute: h.Config.Limits.NxCSRFPerMinute, Keys: h.Ring,
			SignIn: h.SignIn, SignUp: h.SignUp, Sessions: h.Sessions, Recovery: h.Recovery, Profiles: h.Profiles, Manage: h.Manage, Licences: h.Licences,
			Cloud: h.Cloud, RedirectURLs: h.Config.Nx.RedirectURLs, Mails: h.Offers(identity.EmailCode), Services: h.nxServices(), Log: logs.In(h.log, logs.Doors), Now: h.now,
		},
		Insights: &insights.Dialect{
			Issuer: h.Config.Issuer, Origins: h.Config.Insights.CORSOrigins, Keys: h.Ring,
			Grants: h.Grants, SignIn: h.SignIn, Sessions: h.Sessions, Profiles: h.Profiles, Now: h.now, Rand: h.rand,
		},
		Titan: &titan.Dialect{
			Issuer: h.Config.Issuer, Prefix: h.Config.Titan.Prefix, FrontendURL: h.Config.Titan.FrontendURL,
			Origins: h.Config.Titan.CORSOrigins, Federation: h.Federation,
			Recovery: h.Recovery, ApproveAtOnce: h.Config.Titan.RecoveryAutoApprove, CheckStrange: h.Config.Titan.CheckStrange,
			UserPerMinute: h.Config.Limits.TitanUserPerMinute, AddressPerMinute: h.Config.Limits.TitanAddressPerMinute, Keys: h.Ring,
			SignIn: h.SignIn, Sessions: h.Sessions, Profiles: h.Profiles, Log: logs.In(h.log, logs.Doors), Now: h.now,
		},
		OpenWiFi: &openwifi.Dialect{
			Issuer: h.Config.Issuer, Prefix: h.Config.OpenWiFi.Prefix, Origins: h.Config.OpenWiFi.CORSOrigins,
			PerSecond: h.Config.Limits.OpenWiFiPerSecond, Key: serviceKey,
			Derived: openwifi.Derived(h.Config.OpenWiFi.ServiceKey), UI: h.Config.OpenWiFi.UIURL, System: h.System,
			SignIn: h.SignIn, SignUp: h.SignUp, Recovery: h.Recovery, Sessions: h.Sessions, Profiles: h.Profiles, Manage: h.Manage, Staff: h.Staff,
			Phones: h.Phones, Messages: h.Messages, Enrol: h.Enrol, APIKeys: h.APIKeys, TOTPIssuer: h.Config.OpenWiFi.TOTPIssuer, Log: logs.In(h.log, logs.Doors), Now: h.now,
		},
		OIDC: &oidc.Dialect{
			// Its documents name addresses, so the issuer holds the prefix below which they are served.
			Issuer: h.Config.Issuer + h.Config.OIDC.Prefix, Origins: h.Config.OIDC.CORSOrigins, Keys: h.Ring, Grants: h.Grants, Sessions: h.Sessions,
			Entitlements: h.Licences.Entitlements, Now: h.now, Rand: h.rand,
		},
	}
	// Cheapest to recognise first; which doors are open does not matter: a token is what it is.
	h.Grants.Forms = append([]token.Form{h.Doors.OIDC.Form(), h.Doors.Insights.Form(), h.Doors.Titan.Form(), h.Doors.Nx.Form(), nx.CloudForm{}}, h.Doors.OpenWiFi.Forms()...)
	return nil
}

// mount lists the open doors for the public listener.
func (h *House) mount() []httpkit.Door {
	var doors []httpkit.Door
	open := func(c config.Door, d httpkit.Door) {
		if c.Enabled {
			d.Prefix, d.Hosts = c.Prefix, c.Hosts
			doors = append(doors, d)
		}
	}
	open(h.Config.Nx.Door, h.Doors.Nx.Routes())
	if h.Cloud.Upstream == nil { // else that one is the cloud
		open(h.Config.Nx.Door, h.Doors.Nx.CloudRoutes())
	}
	open(h.Config.Insights.Door, h.Doors.Insights.Routes())
	open(h.Config.Titan.Door, h.Doors.Titan.Routes())
	open(h.Config.OpenWiFi.Door, h.Doors.OpenWiFi.Routes())
	open(h.Config.OIDC.Door, h.Doors.OIDC.Routes())
	return doors
}

// mountServices lists what the internal listener serves.
func (h *House) mountServices() []httpkit.Door {
	c := h.Config.OpenWiFi
	if !c.Enabled {
		return nil
	}
	d := h.Doors.OpenWiFi.ServiceRoutes()
	d.Prefix = c.Prefix
	return []httpkit.Door{d}
}

// nxServices are the parts of the house that the Nx door's status names.
func (h *House) nxServices() map[string]func(context.Context) error {
	parts := map[string]func(context.Context) error{"Database": h.Store.Ping, "Mail": h.mailUp}
	if up := h.Cloud.Upstream; up != nil {
		parts["NxCloud"] = func(context.Context) error {
			if !up.Reachable() {
				return identity.Unavailable.Because("the Nx Cloud did not answer lately")
			}
			return nil
		}
	}
	return parts
}

// mailUp says whether mail that should leave does: nothing is waiting for long.
func (h *House) mailUp(ctx context.Context) error {
	waiting, err := h.Outbox.List(ctx, identity.MessageWaiting, "", 50)
	if err != nil {
		return err
	}
	for _, m := range waiting {
		if m.Attempts > 0 && h.now().Sub(m.CreatedAt) > 5*time.Minute {
			return identity.Unavailable.Because("mail is waiting")
		}
	}
	return nil
}
