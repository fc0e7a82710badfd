package outbound_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/outbound"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.31.0.1": false, "192.168.0.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "255.255.255.255": false, "224.0.0.1": false, "192.0.0.192": false, "198.18.0.1": false,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::7f00:1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:0:1::": false,
	} {
		if got := outbound.Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("Public(%s) = %v", text, got)
		}
	}
	if outbound.Public(netip.Addr{}) {
		t.Error("no address is a public one")
	}
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	return w.Status + " " + string(body), err
}

func TestInside(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		_, _ = w.Write([]byte("here"))
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	if got, err := get(t, outbound.Client(outbound.Options{Inside: func(h string) bool { return h == host }}), server.URL); err != nil || got != "200 OK here" {
		t.Errorf("%q, %v", got, err)
	}
	// Another port of the same host is not the one that was named.
	if _, err := get(t, outbound.Client(outbound.Options{Inside: func(h string) bool { return h == "127.0.0.1:1" }}), server.URL); err == nil {
		t.Error("called a host that nobody named")
	}
	if _, err := get(t, outbound.Client(outbound.Options{}), server.URL); err == nil || calls != 1 {
		t.Errorf("called in clear: %v, %d calls", err, calls)
	}
}

// Names are judged by where they lead when they are dialled.
func TestNamesThatLeadInside(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "https://"))
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0"} {
		_, err := get(t, outbound.Client(outbound.Options{}), "https://"+host+":"+port)
		if err == nil {
			t.Errorf("%s was called", host)
		}
		if host == "localhost" && !errors.Is(err, outbound.ErrForbidden) {
			t.Errorf("localhost: %v", err)
		}
	}
}

func TestRedirectsStay(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	c := outbound.Client(outbound.Options{Inside: func(string) bool { return true }})
	if got, err := get(t, c, server.URL); err != nil || !strings.HasPrefix(got, "307") || calls != 1 {
		t.Errorf("%q, %v, %d calls", got, err, calls)
	}
}

func TestLargeAnswers(t *testing.T) {
	size, length := 0, false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !length {
			w.(http.Flusher).Flush() // chunked: the length is not told
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), size))
	}))
	defer server.Close()
	c := outbound.Client(outbound.Options{Inside: func(string) bool { return true }, MaxBody: 1000})
	for _, length = range []bool{false, true} {
		size = 1000
		if got, err := get(t, c, server.URL); err != nil || len(got) != 1000+len("200 OK ") {
			t.Errorf("as much as agreed: %d bytes, %v", len(got), err)
		}
		size = 1001
		if _, err := get(t, c, server.URL); !errors.Is(err, outbound.ErrTooLarge) {
			t.Errorf("a byte more: %v", err)
		}
	}
}

// Whoever takes the call and never answers is let go.
func TestSilence(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := outbound.Client(outbound.Options{Inside: func(string) bool { return true }, Timeout: 50 * time.Millisecond})
	if _, err := get(t, c, "http://"+listener.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
}
