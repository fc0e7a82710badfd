// Package outbound calls other people's servers: with deadlines, without redirects, no more bytes than agreed, and nowhere inside
// the operator's network but where he said so himself. A document of theirs may name any address; without this they would have us
// look at what only we can reach (server-side request forgery).
package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Defaults of Options.
const (
	Timeout = 8 * time.Second
	MaxBody = 512 << 10
)

// ErrForbidden is a call to an address that no stranger may have us call.
var ErrForbidden = errors.New("an address of a private network")

// ErrTooLarge is an answer of more bytes than are read.
var ErrTooLarge = errors.New("the answer is too large")

// Options of a client.
type Options struct {
	// Inside says whether a host and port may be in a private network, and be called without TLS: the operator named it. It is asked
	// at each call. nil: none may.
	Inside  func(hostport string) bool
	Timeout time.Duration // of a whole call; 0: Timeout
	MaxBody int64         // bytes of an answer; 0: MaxBody
	Resolve *net.Resolver // nil: the system's
}

// Client gives a client for calls to strangers. It keeps no cookies, follows no redirect (the answer is the redirect itself), and
// goes through no proxy: a proxy would look up names itself, out of our sight.
func Client(o Options) *http.Client {
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	if o.MaxBody == 0 {
		o.MaxBody = MaxBody
	}
	if o.Inside == nil {
		o.Inside = func(string) bool { return false }
	}
	transport := &http.Transport{
		DialContext: o.dial, ForceAttemptHTTP2: true, TLSHandshakeTimeout: o.Timeout / 2, ResponseHeaderTimeout: o.Timeout,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 32, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
	}
	return &http.Client{
		Timeout: o.Timeout, Transport: &limited{transport, o},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dial judges the address that is really called, after names were looked up: a name that is looked up twice may lead elsewhere the
// second time.
func (o Options) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	d := net.Dialer{Timeout: o.Timeout / 2, Resolver: o.Resolve}
	if !o.Inside(hostport) {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !Public(ap.Addr()) {
				return ErrForbidden
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, hostport)
}

// special are ranges that netip does not tell apart and that lead to nobody, back to us, or by way of IPv6 into IPv4 (the registries
// of special-purpose addresses, RFC 6890).
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// Public says whether an address is one of the internet at large.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// HostPort is how a URL's host is asked for: with its port, as it is dialled.
func HostPort(scheme, host, port string) string {
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(host, port)
}

// limited bounds what is read of an answer, and refuses to call strangers in clear.
type limited struct {
	next http.RoundTripper
	o    Options
}

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !l.o.Inside(HostPort(r.URL.Scheme, r.URL.Hostname(), r.URL.Port())) {
		return nil, fmt.Errorf("%s is not https", r.URL.Host)
	}
	w, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if w.ContentLength > l.o.MaxBody {
		_ = w.Body.Close()
		return nil, ErrTooLarge
	}
	w.Body = &bounded{w.Body, l.o.MaxBody}
	return w, nil
}

// bounded fails where io.LimitReader would end: half an answer must not pass for one.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}
