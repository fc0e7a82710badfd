package config

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

type (
	secretText = identity.Secret
	prefixes   = []netip.Prefix
	logLevel   = slog.Level
)

// setting is one row of the table, bound to its field of Config.
type setting struct {
	Setting
	parse func(*Config, raw) error
	check func(*Config) error
	show  func(*Config) string
}

// raw is a value as it was written. Only a file can write a list; the others write its items with commas.
type raw struct {
	text  string
	items []string
	list  bool
}

func (r raw) split() []string {
	items := r.items
	if !r.list {
		items = strings.Split(r.text, ",")
	}
	var out []string
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// kind is what a value may be. parse reads it; check judges it, also in a Config that nobody parsed.
type kind[T any] struct {
	takes  string // for the documentation
	secret bool   // never shown
	toggle bool   // a flag without a value means true
	parse  func(raw) (T, error)
	check  func(T) error
	show   func(T) string
}

func row[T any](key, def, meaning string, at func(*Config) *T, k kind[T]) setting {
	return setting{
		Setting: Setting{
			Key: key, Env: envName(key), Flag: flagName(key), Default: def, Meaning: meaning,
			Takes: k.takes, Secret: k.secret, Toggle: k.toggle,
		},
		parse: func(c *Config, r raw) error {
			v, err := k.parse(r)
			if err == nil {
				*at(c) = v
			}
			return err
		},
		check: func(c *Config) error { return k.check(*at(c)) },
		show:  func(c *Config) string { return k.show(*at(c)) },
	}
}

// fault is a value that will not do, and what to do instead.
type fault struct{ what, remedy string }

func (f fault) Error() string { return f.what + "; " + f.remedy }

func wrong(remedy, format string, args ...any) error {
	return fault{what: fmt.Sprintf(format, args...), remedy: remedy}
}

func single(r raw) (string, error) {
	if r.list {
		return "", wrong("write one value", "a list where one value is expected")
	}
	return strings.TrimSpace(r.text), nil
}

func text(takes string) kind[string] {
	return kind[string]{
		takes: takes,
		parse: single,
		check: func(s string) error {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return wrong("write "+takes+" on one line", "%q has a control character in it", s)
			}
			return nil
		},
		show: func(s string) string { return s },
	}
}

// textWith is text that must also pass check unless it is empty.
func textWith(takes string, check func(string) error) kind[string] {
	k := text(takes)
	plain := k.check
	k.check = func(s string) error {
		if s == "" {
			return nil
		}
		return cmp.Or(plain(s), check(s))
	}
	return k
}

func required(k kind[string]) kind[string] {
	check := k.check
	k.check = func(s string) error {
		if s == "" {
			return wrong("write "+k.takes, "empty")
		}
		return check(s)
	}
	return k
}

func oneOf(words ...string) kind[string] {
	takes := strings.Join(words, ", ")
	k := text(takes)
	k.check = func(s string) error {
		if !slices.Contains(words, s) {
			return wrong("write one of "+takes, "%q is none of the known words", s)
		}
		return nil
	}
	return k
}

func level() kind[slog.Level] {
	words := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	return kind[slog.Level]{
		takes: "debug, info, warn, error",
		parse: func(r raw) (slog.Level, error) {
			s, err := single(r)
			if err != nil {
				return 0, err
			}
			l, ok := words[s]
			if !ok {
				return 0, wrong("write one of debug, info, warn, error", "%q is no log level", s)
			}
			return l, nil
		},
		check: func(slog.Level) error { return nil },
		show:  func(l slog.Level) string { return strings.ToLower(l.String()) },
	}
}

func boolean() kind[bool] {
	return kind[bool]{
		takes:  "true or false",
		toggle: true,
		parse: func(r raw) (bool, error) {
			s, err := single(r)
			if err != nil {
				return false, err
			}
			switch s {
			case "true", "1":
				return true, nil
			case "false", "0":
				return false, nil
			}
			return false, wrong("write true or false", "%q is neither true nor false", s)
		},
		check: func(bool) error { return nil },
		show:  strconv.FormatBool,
	}
}

func number[T int | uint8 | uint32](least, most T) kind[T] {
	takes := fmt.Sprintf("a number, %d to %d", least, most)
	return kind[T]{
		takes: takes,
		parse: func(r raw) (T, error) {
			s, err := single(r)
			if err != nil {
				return 0, err
			}
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, wrong("write "+takes, "%q is no whole number", s)
			}
			v := T(n)
			if int64(v) != n { // does not fit the field: what would be stored is not what was written
				return 0, wrong("write "+takes, "%d is out of range", n)
			}
			return v, nil
		},
		check: func(v T) error {
			if v < least || v > most {
				return wrong("write "+takes, "%d is out of range", v)
			}
			return nil
		},
		show: func(v T) string { return fmt.Sprint(v) },
	}
}

func duration(least, most time.Duration) kind[time.Duration] {
	takes := fmt.Sprintf("a duration, %s to %s", brief(least), brief(most))
	return kind[time.Duration]{
		takes: takes,
		parse: func(r raw) (time.Duration, error) {
			s, err := single(r)
			if err != nil {
				return 0, err
			}
			d, err := time.ParseDuration(s)
			if err == nil {
				return d, nil
			}
			// The unit that people miss most.
			if days, err := strconv.Atoi(strings.TrimSuffix(s, "d")); err == nil && strings.HasSuffix(s, "d") && days >= 0 && days < 100_000 {
				return 0, wrong(fmt.Sprintf("write %dh", days*24), "%q: days are not a unit here", s)
			}
			if n, err := strconv.Atoi(s); err == nil {
				return 0, wrong(fmt.Sprintf("add one, as in %ds", n), "%q has no unit", s)
			}
			return 0, wrong("write "+takes+", as in 1h30m", "%q is no duration", s)
		},
		check: func(d time.Duration) error {
			if d < least || d > most {
				return wrong("write "+takes, "%s is out of range", brief(d))
			}
			return nil
		},
		show: brief,
	}
}

func orZero(k kind[time.Duration]) kind[time.Duration] {
	check := k.check
	k.takes += ", or 0"
	k.check = func(d time.Duration) error {
		if d == 0 {
			return nil
		}
		return check(d)
	}
	return k
}

// brief writes 720h0m0s as 720h.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func listOf(k kind[string]) kind[[]string] {
	return kind[[]string]{
		takes: "list: " + k.takes,
		parse: func(r raw) ([]string, error) { return r.split(), nil },
		check: func(items []string) error {
			var errs []error
			for i, item := range items {
				if slices.Contains(items[:i], item) {
					errs = append(errs, wrong("write it once", "%q appears twice", item))
				}
				errs = append(errs, k.check(item))
			}
			return errors.Join(errs...)
		},
		show: func(items []string) string { return strings.Join(items, ",") },
	}
}

func cidrs() kind[[]netip.Prefix] {
	return kind[[]netip.Prefix]{
		takes: "list: addresses or networks, as in 10.0.0.0/8",
		parse: func(r raw) ([]netip.Prefix, error) {
			var out []netip.Prefix
			var errs []error
			for _, s := range r.split() {
				if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
					out = append(out, netip.PrefixFrom(a, a.BitLen()))
				} else if p, err := netip.ParsePrefix(s); err != nil {
					errs = append(errs, wrong("write an address or a network, as in 10.0.0.0/8", "%q is neither", s))
				} else if p != p.Masked() {
					errs = append(errs, wrong(fmt.Sprintf("write %s, or the address alone", p.Masked()), "%q has bits set behind its mask", s))
				} else {
					out = append(out, p)
				}
			}
			return out, errors.Join(errs...)
		},
		check: func(ps []netip.Prefix) error {
			for _, p := range ps {
				if p.Bits() == 0 { // then any client could claim any address, and no limit by address would hold
					return wrong("name your proxies", "%s trusts the whole internet", p)
				}
			}
			return nil
		},
		show: func(ps []netip.Prefix) string {
			s := make([]string, len(ps))
			for i, p := range ps {
				s[i] = p.String()
			}
			return strings.Join(s, ",")
		},
	}
}

func listenAddress() kind[string] {
	return textWith("host:port", func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return wrong("write host:port, as in 127.0.0.1:8080 or [::1]:8080", "%q is no listen address", s)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return wrong("write a port from 0 to 65535", "%q is no port", port)
		}
		if host == "" {
			return nil
		}
		if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
			return wrong("write an address or a host name before the port", "%q is neither", host)
		}
		return nil
	})
}

func webURL() kind[string] {
	return textWith("an absolute http or https URL", func(s string) error {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			return wrong("write an absolute URL, as in https://auth.example.com", "%q is no URL", s)
		case u.Scheme != "http" && u.Scheme != "https":
			return wrong("begin with https:// (or http://)", "%q is no absolute http or https URL", s)
		case u.Hostname() == "":
			return wrong("write the host after ://", "%q names no host", s)
		case u.User != nil:
			return wrong("leave user and password out", "%q carries credentials", u.Redacted())
		case u.Fragment != "" || strings.HasSuffix(s, "#"):
			return wrong("leave out what follows #", "%q has a fragment", s)
		}
		return checkPort(u)
	})
}

// baseURL is a URL that others are built on by appending to it: a slash at its end, or a query, would end up in the
// middle. RFC 8414 section 2 forbids an issuer query and fragment for the same reason.
func baseURL() kind[string] {
	return textWith("an absolute http or https URL without a slash at its end", func(s string) error {
		if err := webURL().check(s); err != nil {
			return err
		}
		switch {
		case strings.Contains(s, "?"):
			return wrong("leave out what follows ?", "%q has a query", s)
		case strings.HasSuffix(s, "/"):
			return wrong("write "+strings.TrimRight(s, "/"), "%q ends in a slash", s)
		}
		return nil
	})
}

func checkPort(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return wrong("write a port from 1 to 65535, or leave the colon out", "the port is empty")
	}
	if u.Port() == "" {
		return nil
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n > 65535 { // 0 while a test's listener is not bound yet
		return wrong("write a port from 1 to 65535", "%q is no port", u.Port())
	}
	return nil
}

// origin is what a browser sends as Origin: scheme, host, port and nothing more (RFC 6454 section 7).
func origin() kind[string] {
	return textWith("origins, as in https://app.example.com, or *", func(s string) error {
		if s == "*" {
			return nil
		}
		if err := webURL().check(s); err != nil {
			return err
		}
		u, err := url.Parse(s)
		if err != nil || s != u.Scheme+"://"+u.Host || s != strings.ToLower(s) {
			return wrong("write scheme, host and port only, in lower case, as in https://app.example.com", "%q is no origin", s)
		}
		return nil
	})
}

func hostName() kind[string] {
	return textWith("host names, as in auth.example.com", func(s string) error {
		if _, err := netip.ParseAddr(s); err == nil {
			return nil
		}
		if !isHostName(s) || s != strings.ToLower(s) {
			return wrong("write a host name without scheme, port or wildcard, in lower case", "%q is no host name", s)
		}
		return nil
	})
}

// isHostName says whether s is a name by RFC 1123 section 2.1.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

func pathPrefix() kind[string] {
	return textWith("a path, as in /nx", func(s string) error {
		if !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || path.Clean(s) != s {
			return wrong("write a path like /nx: a slash in front, none at the end", "%q is no prefix", s)
		}
		// No characters that a router or a URL would read as something else.
		if strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./~", r)
		}) {
			return wrong("use letters, digits and - . _ ~ between the slashes", "%q is no prefix", s)
		}
		return nil
	})
}

func mailAddress() kind[string] {
	return textWith("a mail address, with or without a name", func(s string) error {
		if _, err := mail.ParseAddress(s); err != nil {
			return wrong("write auth@example.com, or Gatehouse <auth@example.com>", "%q is no mail address", s)
		}
		return nil
	})
}

func secret(takes string, check func(string) error) kind[identity.Secret] {
	return kind[identity.Secret]{
		takes:  takes,
		secret: true,
		parse: func(r raw) (identity.Secret, error) {
			s, err := single(r)
			return identity.Secret(s), err
		},
		check: func(s identity.Secret) error {
			if s == "" {
				return nil
			}
			return check(s.Reveal())
		},
		show: func(s identity.Secret) string {
			if s == "" {
				return ""
			}
			return s.String()
		},
	}
}

// secretURL is a URL that may carry a password, so that no message repeats any of it.
func secretURL(schemes ...string) kind[identity.Secret] {
	takes := strings.Join(schemes, ":// or ") + "://…"
	return secret(takes, func(s string) error {
		u, err := url.Parse(s)
		if err != nil {
			return wrong("write "+takes+", with / # ? @ : and % in the password percent-encoded", "not a URL")
		}
		if !slices.Contains(schemes, u.Scheme) {
			return wrong("begin with "+strings.Join(schemes, ":// or ")+"://", "not one of the known kinds of URL")
		}
		// PostgreSQL may be reached through a socket that the query names, Twilio has one host.
		if u.Hostname() == "" && !slices.Contains([]string{"postgres", "postgresql", "twilio"}, u.Scheme) {
			return wrong("write the host after ://", "no host")
		}
		if _, hasPassword := u.User.Password(); u.Scheme == "twilio" && !hasPassword {
			return wrong("write twilio://account:token@api.twilio.com?from=+15145550100", "no account and token")
		}
		return checkPort(u)
	})
}

// webhook is where the outbox posts to.
func webhook() kind[identity.Secret] {
	at := secretURL("http", "https")
	return secret(at.takes, func(s string) error {
		if err := at.check(identity.Secret(s)); err != nil {
			return err
		}
		if u, err := url.Parse(s); err != nil || u.User != nil || u.Fragment != "" || len(s) > 1000 {
			return wrong("put what proves us into the query, and no more than 1000 characters", "with a user, a fragment, or too long")
		}
		return nil
	})
}

func webhookKey() kind[identity.Secret] {
	return secret("at least 16 characters", func(s string) error {
		if len(s) < 16 {
			return wrong("make one with: openssl rand -hex 32", "too short to withstand guessing")
		}
		return nil
	})
}

func masterKey() kind[identity.Secret] {
	return secret("32 bytes in base64", func(s string) error {
		_, err := decodeMasterKey(s)
		return err
	})
}

func decodeMasterKey(s string) ([]byte, error) {
	// Both alphabets, padded or not: a key must not depend on the tool that printed it.
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	key, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, wrong("make one with: openssl rand -base64 32", "not base64")
	}
	if len(key) != 32 {
		return nil, wrong("make one with: openssl rand -base64 32", "%d bytes instead of 32", len(key))
	}
	return key, nil
}

func serviceKey() kind[identity.Secret] {
	return secret("derived, or at least 8 characters", func(s string) error {
		if s != "derived" && len(s) < 8 {
			return wrong("make one with: openssl rand -hex 32", "too short to withstand guessing")
		}
		return nil
	})
}
