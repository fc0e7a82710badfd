package config

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// rule holds between settings. Its mistake is put where the first given key of keys stands.
type rule struct {
	keys  []string
	check func(*Config) error
}

var rules = []rule{
	{[]string{"tls_cert", "tls_key"}, func(c *Config) error {
		switch {
		case c.TLSCert != "" && c.TLSKey == "":
			return wrong("set tls_key too, or neither", "a certificate without its key")
		case c.TLSCert == "" && c.TLSKey != "":
			return wrong("set tls_cert too, or neither", "a key without its certificate")
		}
		return nil
	}},
	{[]string{"internal_listen", "listen"}, func(c *Config) error {
		// Port 0 is a different port for each listener.
		if c.InternalListen != "" && c.InternalListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			return wrong("choose another port for one of them", "internal_listen and listen are the same address")
		}
		return nil
	}},
	{[]string{"sms_url", "sms_from"}, func(c *Config) error {
		u, err := url.Parse(c.SMSURL.Reveal())
		if err == nil && u.Scheme == "twilio" && u.Query().Get("from") == "" && c.SMSFrom == "" {
			return wrong("end sms_url with ?from=+15145550100, or set sms_from", "Twilio needs a sender")
		}
		return nil
	}},
	notBefore("nx.refresh_life", "nx.access_life", func(c *Config) (longer, shorter time.Duration) { return c.Nx.RefreshLife, c.Nx.AccessLife }),
	notBefore("nx.cloud_refresh_life", "nx.cloud_access_life", func(c *Config) (longer, shorter time.Duration) { return c.Nx.CloudRefreshLife, c.Nx.CloudAccessLife }),
	notBefore("nx.remember_life", "nx.refresh_life", func(c *Config) (longer, shorter time.Duration) { return c.Nx.RememberLife, c.Nx.RefreshLife }),
	notBefore("insights.refresh_life", "insights.access_life", func(c *Config) (longer, shorter time.Duration) {
		return c.Insights.RefreshLife, c.Insights.AccessLife
	}),
	notBefore("titan.remember_life", "titan.session_life", func(c *Config) (longer, shorter time.Duration) { return c.Titan.RememberLife, c.Titan.SessionLife }),
	notBefore("titan.session_life", "titan.idle_life", func(c *Config) (longer, shorter time.Duration) { return c.Titan.SessionLife, c.Titan.IdleLife }),
	notBefore("openwifi.refresh_life", "openwifi.token_life", func(c *Config) (longer, shorter time.Duration) {
		return c.OpenWiFi.RefreshLife, c.OpenWiFi.TokenLife
	}),
	notBefore("oidc.refresh_life", "oidc.access_life", func(c *Config) (longer, shorter time.Duration) { return c.OIDC.RefreshLife, c.OIDC.AccessLife }),
	{[]string{"keys.publish_ahead", "keys.rotate_every"}, func(c *Config) error {
		if c.Keys.PublishAhead >= c.Keys.RotateEvery {
			return wrong("make keys.publish_ahead shorter than keys.rotate_every", "a key would be replaced before it signs")
		}
		return nil
	}},
	{[]string{"nx.enabled", "insights.enabled", "titan.enabled", "openwifi.enabled", "oidc.enabled"}, func(c *Config) error {
		if slices.ContainsFunc(c.mounts(), func(m mount) bool { return m.Enabled }) {
			return nil
		}
		return wrong("open one", "every door is shut")
	}},
	{[]string{"nx.base"}, func(c *Config) error {
		switch {
		case c.Nx.Base == "":
			return wrong("write /auth, or another path; `nx.prefix` may be empty", "the door would take every path of the server")
		case within(c.Nx.Base, "/cdb"):
			return wrong("choose another nx.base", "%s lies below /cdb, which is Nx Cloud's", c.Nx.Base)
		}
		return nil
	}},
	{[]string{
		"nx.prefix", "nx.base", "insights.prefix", "titan.prefix", "openwifi.prefix", "oidc.prefix",
		"nx.hosts", "insights.hosts", "titan.hosts", "openwifi.hosts", "oidc.hosts",
	}, (*Config).collisions},
}

func notBefore(longer, shorter string, lives func(*Config) (longer, shorter time.Duration)) rule {
	return rule{[]string{longer, shorter}, func(c *Config) error {
		if l, s := lives(c); l < s {
			return wrong("make "+longer+" at least as long", "%s (%s) is shorter than %s (%s)", longer, brief(l), shorter, brief(s))
		}
		return nil
	}}
}

// mount is a door with the roots of its vendor's paths.
type mount struct {
	name string
	Door
	roots []string
}

func (c *Config) mounts() []mount {
	return []mount{
		{"nx", c.Nx.Door, []string{c.Nx.Base, "/cdb"}},
		{"insights", c.Insights.Door, []string{"/oauth", "/api/v2"}},
		{"titan", c.Titan.Door, []string{"/auth"}},
		{"openwifi", c.OpenWiFi.Door, []string{"/api/v1"}},
		{"oidc", c.OIDC.Door, []string{"/.well-known", "/oauth2"}},
	}
}

// housePaths are ours on every host.
var housePaths = []string{"/console", "/healthz", "/readyz"}

// collisions finds doors whose prefixes put one behind the other's paths.
func (c *Config) collisions() error {
	var errs []error
	ms := c.mounts()
	for i, a := range ms {
		if !a.Enabled {
			continue
		}
		for _, root := range a.roots {
			for _, house := range housePaths {
				if within(a.Prefix+root, house) {
					errs = append(errs, wrong("choose another "+a.name+".prefix", "%s%s lies below %s, which is the server's own", a.Prefix, root, house))
				}
			}
		}
		for _, b := range ms[i+1:] {
			if b.Enabled && sameHosts(a.Hosts, b.Hosts) {
				errs = append(errs, overlap(a, b))
			}
		}
	}
	return errors.Join(errs...)
}

func overlap(a, b mount) error {
	for _, ra := range a.roots {
		for _, rb := range b.roots {
			pa, pb := a.Prefix+ra, b.Prefix+rb
			// nx and titan are told apart below one /auth (nx.md section 1).
			if pa == pb && a.name == "nx" && b.name == "titan" {
				continue
			}
			if within(pa, pb) || within(pb, pa) {
				return wrong("choose another "+a.name+".prefix or "+b.name+".prefix, or give them different hosts",
					"the doors %s (%s) and %s (%s) overlap", a.name, pa, b.name, pb)
			}
		}
	}
	return nil
}

func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// sameHosts says whether one request could be for both. A door that names its hosts goes before one that does not.
func sameHosts(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(h string) bool { return slices.Contains(b, h) })
}
