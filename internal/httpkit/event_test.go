package httpkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/identity"
)

// observe runs one request and gives the answer, what a panic left, and the log's lines.
func observe(t *testing.T, r *http.Request, h http.HandlerFunc, proxies ...netip.Prefix) (w *httptest.ResponseRecorder, left any, lines []map[string]any) {
	t.Helper()
	var text bytes.Buffer
	o := Observer{
		Log: slog.New(slog.NewJSONHandler(&text, nil)), Now: time.Now, Proxies: proxies,
		Broken: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "sorry")
		},
	}
	w = httptest.NewRecorder()
	func() {
		defer func() { left = recover() }()
		o.Observe(h).ServeHTTP(w, r)
	}()
	for line := range strings.Lines(text.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fields)
	}
	return w, left, lines
}

func TestObserveWritesOneLine(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef", 4)
	r := httptest.NewRequest("GET", "/oauth2/"+secret+"?password=hunter2", nil)
	r.Header.Set("X-Request-Id", "chosen by a stranger")
	w, left, lines := observe(t, r, func(w http.ResponseWriter, r *http.Request) {
		e := EventOf(r)
		e.Door, e.Op, e.Refused, e.Kind, e.SubjectID, e.SessionID, e.ClientID = "openwifi", "signout", true, identity.Denied, "sub", "ses", "cli"
		c := Caller(r, "openwifi")
		if c.RequestID != e.RequestID || c.SubjectID != "sub" || c.Address != "192.0.2.1" {
			t.Errorf("caller %+v", c)
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "12345")
	})
	if left != nil || len(lines) != 1 {
		t.Fatalf("panic %v, %d lines", left, len(lines))
	}
	id := w.Header().Get("X-Request-Id")
	if len(id) != 16 {
		t.Errorf("request id %q", id)
	}
	for name, want := range map[string]any{
		"msg": "request", "id": id, "door": "openwifi", "op": "signout", "method": "GET", "path": "/oauth2/…", "status": 403.0,
		"bytes": 5.0, "refused": "denied", "subject": "sub", "session": "ses", "client": "cli", "address": "192.0.2.1",
	} {
		if lines[0][name] != want {
			t.Errorf("%s: %v, want %v", name, lines[0][name], want)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if all := fmt.Sprint(lines); strings.Contains(all, secret) || strings.Contains(all, "hunter2") {
		t.Errorf("a secret is in the log: %s", all)
	}
}

func TestObservePanic(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		body    string
		left    any
		lines   int
	}{
		{"before the answer", func(http.ResponseWriter, *http.Request) { panic("secret inside") }, 500, "sorry", nil, 2},
		{"in the answer", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "half"); panic("x") }, 200, "half", http.ErrAbortHandler, 2},
		{"abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 200, "", http.ErrAbortHandler, 1},
		{"nothing said", func(http.ResponseWriter, *http.Request) {}, 200, "", nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, left, lines := observe(t, httptest.NewRequest("GET", "/", nil), tt.handler)
			if w.Code != tt.status || w.Body.String() != tt.body || left != tt.left || len(lines) != tt.lines {
				t.Fatalf("%d %q, left %v, %d lines", w.Code, w.Body, left, len(lines))
			}
			last := lines[len(lines)-1]
			if last["msg"] != "request" || last["status"] != float64(tt.status) {
				t.Errorf("line %v", last)
			}
			if tt.lines == 2 && !strings.Contains(fmt.Sprint(lines[0]["stack"]), "TestObservePanic") {
				t.Errorf("no stack in %v", lines[0])
			}
		})
	}
}

func TestAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	tests := []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:5", nil, "192.0.2.1"},
		{"direct, lying", "192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"rightmost stranger", "10.0.0.1:5", []string{"6.6.6.6, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"several headers", "10.0.0.1:5", []string{"6.6.6.6, 203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"only proxies", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no header", "10.0.0.1:5", nil, "10.0.0.1"},
		{"nonsense stops", "10.0.0.1:5", []string{"203.0.113.9, nonsense, 10.0.0.2"}, "10.0.0.2"},
		{"with ports", "10.0.0.1:5", []string{"[2001:db8::9]:77, 10.0.0.2:80"}, "2001:db8::9"},
		{"brackets", "10.0.0.1:5", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"mapped peer", "[::ffff:10.0.0.1]:5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"zone", "[fe80::1%eth0]:5", nil, "fe80::1"},
		{"IPv6 proxy", "[2001:db8:1::1]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"Unix socket", "@", []string{"203.0.113.9"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			r.Header["X-Forwarded-For"] = tt.forwarded
			if got := (&Observer{Proxies: proxies}).address(r); got != tt.want {
				t.Errorf("address %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoggedPath(t *testing.T) {
	uuid := "5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10"
	for path, want := range map[string]string{
		"/a/" + uuid:                      "/a/" + uuid,
		"/a/" + uuid + "1/b":              "/a/…/b",
		"/" + strings.Repeat("ä", 18):     "/" + strings.Repeat("ä", 18),
		strings.Repeat("/0123456789", 99): strings.Repeat("/0123456789", 99)[:256] + "…",
	} {
		if got := loggedPath(path); got != want {
			t.Errorf("loggedPath(%q) = %q", path, got)
		}
	}
}

func TestWindows(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := Windows{Limit: 10, Window: time.Second, Now: func() time.Time { return now }}
	for i := range 10 {
		if left, _, ok := l.Take("a"); !ok || left != 9-i {
			t.Fatalf("call %d: %d left, %v", i+1, left, ok)
		}
		now = now.Add(50 * time.Millisecond)
	}
	if left, ends, ok := l.Take("a"); ok || left != 0 || ends != 500*time.Millisecond {
		t.Errorf("the 11th: %d left for %v, %v", left, ends, ok)
	}
	if _, _, ok := l.Take("b"); !ok {
		t.Error("one key's calls count for another")
	}
	now = now.Add(500*time.Millisecond - 1)
	if _, _, ok := l.Take("a"); ok {
		t.Error("the window ended early")
	}
	now = now.Add(1)
	if left, ends, ok := l.Take("a"); !ok || left != 9 || ends != time.Second {
		t.Errorf("the next window: %d left for %v, %v", left, ends, ok)
	}
	if _, _, ok := new(Windows).Take("x"); !ok {
		t.Error("no limit refuses")
	}
}

func TestWindowsAreBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := Windows{Limit: 1, Window: time.Second, Now: func() time.Time { return now }}
	for i := range maxKeys + 1000 {
		l.Take(fmt.Sprint(i))
	}
	if len(l.keys) > maxKeys {
		t.Errorf("%d keys are kept", len(l.keys))
	}
	if _, _, ok := l.Take("0"); ok {
		t.Error("a flood of keys made room in a window that is spent")
	}
	now = now.Add(2 * time.Second)
	l.Take("new")
	if len(l.keys) != 1 {
		t.Errorf("%d keys are left after their end", len(l.keys))
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var err error
		h := Deadline(5*time.Second, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			err = r.Context().Err()
		})
		h(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("x")))
		if err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("ended with %v after %v", err, time.Since(start))
		}
	})
}

// A body that trickles in ends with its operation, as unavailable and not as a client's mistake.
func TestDeadlineCutsTheBody(t *testing.T) {
	failed := make(chan error, 1)
	server := httptest.NewServer(Deadline(time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		_, err := ReadBody(r, 10)
		failed <- err
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	body := make(endless)
	defer close(body)
	r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err == nil {
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d", answer.StatusCode)
		}
	}
	if err := <-failed; !errors.Is(err, identity.Unavailable) {
		t.Errorf("ReadBody = %v", err)
	}
}

// endless is a body that never comes.
type endless chan struct{}

func (e endless) Read([]byte) (int, error) { <-e; return 0, errors.New("closed") }
