package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// gateway is somebody else's SMS gateway.
type gateway struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []heard
	answer func(http.ResponseWriter)
}

type heard struct {
	path, query, kind, body, id string
	user, password              string
	basic                       bool
}

func openGateway(t *testing.T, start func(http.Handler) *httptest.Server) *gateway {
	t.Helper()
	g := &gateway{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }}
	g.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := heard{path: r.URL.Path, query: r.URL.RawQuery, kind: r.Header.Get("Content-Type"), body: string(body), id: r.Header.Get("Idempotency-Key")}
		h.user, h.password, h.basic = r.BasicAuth()
		g.mu.Lock()
		g.calls = append(g.calls, h)
		answer := g.answer
		g.mu.Unlock()
		answer(w)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) heard() []heard {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

func (g *gateway) says(status int, header ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"code":21211,"message":"042137 cannot go to +15145550100"}`)
	}
}

func texter(t *testing.T, address, from string, client *http.Client) *deliver.Texter {
	t.Helper()
	x, err := deliver.NewTexter(identity.Secret(address), from, client)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

var anSMS = deliver.Content{Channel: identity.SMS, Recipient: "+15145550100", Template: deliver.Code, Text: "Your code is 042137 & é."}

func TestHook(t *testing.T) {
	g := openGateway(t, httptest.NewServer)
	address := strings.Replace(g.URL, "http://", "http://us%40er:pa%3Ass@", 1) + "/send?key=a%2Bb#x"
	if err := texter(t, address, "Gatehouse", nil).Send(t.Context(), "id-1", writtenAt, anSMS); err != nil {
		t.Fatal(err)
	}
	other := anSMS
	other.From = "+15145550199"
	if err := texter(t, g.URL, "", nil).Send(t.Context(), "id-2", writtenAt, other); err != nil {
		t.Fatal(err)
	}
	want := []heard{
		{"/send", "key=a%2Bb", "application/json", `{"from":"Gatehouse","to":"+15145550100","text":"Your code is 042137 \u0026 é."}`, "id-1", "us@er", "pa:ss", true},
		{"/", "", "application/json", `{"from":"+15145550199","to":"+15145550100","text":"Your code is 042137 \u0026 é."}`, "id-2", "", "", false},
	}
	if got := g.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %+v", got)
	}
}

func TestTwilio(t *testing.T) {
	g := openGateway(t, httptest.NewTLSServer)
	g.says(http.StatusCreated)
	for _, tt := range []struct{ query, from, field, sender string }{
		{"?from=+15145550199", "ignored", "From", "+15145550199"},
		{"?from=%2B15145550199", "", "From", "+15145550199"},
		{"", "+15145550198", "From", "+15145550198"},
		{"?from=MG0123", "", "MessagingServiceSid", "MG0123"},
	} {
		address := strings.Replace(g.URL, "https://", "twilio://AC12:to%2Fken@", 1) + tt.query
		if err := texter(t, address, tt.from, g.Client()).Send(t.Context(), "id-1", writtenAt, anSMS); err != nil {
			t.Fatal(err)
		}
		calls := g.heard()
		got := calls[len(calls)-1]
		form, err := url.ParseQuery(got.body)
		if err != nil || got.path != "/2010-04-01/Accounts/AC12/Messages.json" || got.kind != "application/x-www-form-urlencoded" ||
			got.user != "AC12" || got.password != "to/ken" || len(form) != 3 || form.Get("To") != anSMS.Recipient || form.Get("Body") != anSMS.Text ||
			form.Get(tt.field) != tt.sender {
			t.Errorf("%s: heard %+v", tt.query, got)
		}
	}
	g.says(http.StatusBadRequest)
	err := texter(t, strings.Replace(g.URL, "https://", "twilio://AC12:token@", 1)+"?from=+1", "", g.Client()).Send(t.Context(), "id-1", writtenAt, anSMS)
	if !errors.Is(err, deliver.ErrPermanent) || !strings.Contains(err.Error(), "21211") || strings.Contains(err.Error(), "042137") {
		t.Errorf("refused with %v", err)
	}
}

func TestNewTexterRefuses(t *testing.T) {
	for _, address := range []string{
		"", "ftp://x.test", "http://", "https:///x", "://", "http://a b.test", "twilio://api.twilio.com?from=+1", "twilio://AC12@api.twilio.com?from=+1",
		"twilio://AC12:canary@api.twilio.com", "twilio://AC12:canary@api.twilio.com/x?from=+1", "twilio://AC12:canary@api.twilio.com?from=+1&from=+2",
		"twilio://AC12:canary@api.twilio.com?form=+1", "http://u:canary@x.test:port",
	} {
		if x, err := deliver.NewTexter(identity.Secret(address), "", nil); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, %v", address, x, err)
		}
	}
	if _, err := deliver.NewTexter("twilio://AC12:token@?from=+1", "", nil); err != nil {
		t.Errorf("Twilio's own host: %v", err)
	}
}

// What the gateway answers decides whether to try again. It is never quoted: it may hold the code.
func TestGatewayRefusals(t *testing.T) {
	for status, permanent := range map[int]bool{
		400: true, 401: true, 403: true, 404: true, 408: false, 422: true, 429: false, 500: false, 502: false, 503: false, 302: false,
	} {
		g := openGateway(t, httptest.NewServer)
		elsewhere := openGateway(t, httptest.NewServer)
		g.says(status, "Location", elsewhere.URL)
		err := texter(t, strings.Replace(g.URL, "http://", "http://user:canary@", 1)+"/?key=canary", "", nil).Send(t.Context(), "id", writtenAt, anSMS)
		if err == nil || errors.Is(err, deliver.ErrPermanent) != permanent || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v", status, err)
		} else if strings.Contains(err.Error(), "042137") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: the error quotes what it must not: %v", status, err)
		}
		if len(elsewhere.heard()) > 0 {
			t.Error("a redirect was followed")
		}
	}
}

func TestGatewayAwayOrSlow(t *testing.T) {
	g := openGateway(t, httptest.NewServer)
	address := strings.Replace(g.URL, "http://", "http://user:canary@", 1) + "/?key=canary"
	hanging, cancel := context.WithCancel(t.Context())
	g.mu.Lock()
	g.answer = func(http.ResponseWriter) { cancel(); <-hanging.Done() }
	g.mu.Unlock()
	if err := texter(t, address, "", nil).Send(hanging, "id", writtenAt, anSMS); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "canary") {
		t.Errorf("hanging: %v", err)
	}
	g.Close()
	err := texter(t, address, "", nil).Send(t.Context(), "id", writtenAt, anSMS)
	if err == nil || errors.Is(err, deliver.ErrPermanent) || strings.Contains(err.Error(), "canary") {
		t.Errorf("away: %v", err)
	}
}

// An answer without an end is not read to its end.
func TestGatewayTalksForEver(t *testing.T) {
	g := openGateway(t, httptest.NewServer)
	g.answer = func(w http.ResponseWriter) {
		for range 1 << 20 {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<10)); err != nil {
				return
			}
		}
		t.Error("a gigabyte was read")
	}
	if err := texter(t, g.URL, "", nil).Send(t.Context(), "id", writtenAt, anSMS); err != nil {
		t.Error(err)
	}
}

func (h *house) text(to string) error {
	return h.store.Update(h.t.Context(), func(tx identity.Tx) error {
		return h.outbox.SMS(h.t.Context(), tx, to, deliver.Code, "de", map[string]string{"code": "042137", "minutes": "5"})
	})
}

func (h *house) texting(owner string, s deliver.Sender) *deliver.Worker {
	w := h.worker(owner, nil)
	w.Senders = map[identity.Channel]deliver.Sender{identity.SMS: s}
	return w
}

func TestAnSMSIsSentOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, g := build(t, store), openGateway(t, httptest.NewServer)
		if err := h.text("+15145550100"); err != nil {
			t.Fatal(err)
		}
		waiting := h.only(identity.MessageWaiting)
		if bytes.Contains(waiting.Sealed, []byte("042137")) || waiting.Channel != identity.SMS {
			t.Errorf("waiting: %+v", waiting)
		}
		w := h.texting("one", texter(t, g.URL, "", nil))
		h.run(w, 1)
		h.run(w, 0)
		want := `{"from":"","to":"+15145550100","text":"Ihr Code ist 042137. Er gilt einmal und 5 Minuten lang. Sagen Sie ihn niemandem."}`
		if calls := g.heard(); len(calls) != 1 || calls[0].body != want || calls[0].id != string(waiting.ID) {
			t.Errorf("heard %+v", calls)
		}
	})
}

func TestTheGatewaysPauseIsKept(t *testing.T) {
	for asked, tt := range map[string]struct{ least, most time.Duration }{
		"90": {90 * time.Second, 90 * time.Second}, "1": {8 * time.Second, 12 * time.Second}, "-5": {8 * time.Second, 12 * time.Second},
		"99999999": {time.Hour, time.Hour}, writtenAt.Add(2 * time.Minute).Format(http.TimeFormat): {2*time.Minute - time.Second, 2 * time.Minute},
		"soon": {8 * time.Second, 12 * time.Second}, "": {8 * time.Second, 12 * time.Second},
	} {
		h, g := build(t, storetest.SQLite(t)), openGateway(t, httptest.NewServer)
		g.says(http.StatusServiceUnavailable, "Retry-After", asked)
		if err := h.text("+15145550100"); err != nil {
			t.Fatal(err)
		}
		h.run(h.texting("one", texter(t, g.URL, "", nil)), 1)
		if pause := h.only(identity.MessageWaiting).NextAt.Sub(h.clock.Now()); pause < tt.least || pause > tt.most {
			t.Errorf("Retry-After %q: tried again after %v", asked, pause)
		}
	}
}

// A code that comes too late only confuses.
func TestACodeIsNotSentTooLate(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, g := build(t, store), openGateway(t, httptest.NewServer)
		g.says(http.StatusBadGateway)
		if err := h.text("+15145550100"); err != nil {
			t.Fatal(err)
		}
		w := h.texting("one", texter(t, g.URL, "", nil))
		h.run(w, 1)
		h.clock.Advance(5 * time.Minute)
		h.run(w, 1)
		if m := h.only(identity.MessageGivenUp); len(g.heard()) != 1 || !strings.Contains(m.LastError, "too late") {
			t.Errorf("%d calls, %+v", len(g.heard()), m)
		}
	})
}

func TestSMSRefuses(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	for _, to := range []string{"", "15145550100", "+1 514 555 0100", "+1", "+0145550100", "+15145550100\r\n", "+151455501001234567", "ada@example.com"} {
		if err := h.text(to); !errors.Is(err, identity.Invalid) {
			t.Errorf("%q: %v", to, err)
		}
	}
	for _, text := range []string{"", " \n", strings.Repeat("é", 1601)} {
		c := anSMS
		c.Text = text
		if err := h.enqueue(c); !errors.Is(err, identity.Invalid) {
			t.Errorf("a text of %d bytes: %v", len(text), err)
		}
	}
	if n := len(h.list("")); n > 0 {
		t.Errorf("%d messages were written", n)
	}
}

// The bounds hold in parallel, over all nodes, and for whatever way an SMS takes.
func TestSMSAreBounded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		h.outbox.Bounds = deliver.SMSBounds{PerNumber: 5, PerHour: 8}
		burst := func(to string) (sent int) {
			var wg sync.WaitGroup
			taken := make(chan struct{}, 16)
			for i := range 16 {
				wg.Go(func() {
					err := h.text(to)
					if i%2 == 0 {
						c := anSMS
						c.Recipient = to
						err = h.enqueue(c)
					}
					var e *identity.Error
					switch {
					case err == nil:
						taken <- struct{}{}
					case !errors.As(err, &e) || e.Kind != identity.Throttled || e.RetryAfter <= 0:
						t.Errorf("refused with %v", err)
					}
				})
			}
			wg.Wait()
			return len(taken)
		}
		// Half of them ask twice: for themselves, and as their first try.
		if n := burst("+15145550100"); n > 5 || len(h.list("")) != 5 {
			t.Errorf("%d to one number", len(h.list("")))
		}
		burst("+15145550101")
		if n := len(h.list("")); n != 8 {
			t.Errorf("%d in all", n)
		}
		h.clock.Advance(time.Hour)
		if err := h.text("+15145550100"); err != nil {
			t.Errorf("after the hour: %v", err)
		}
	})
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("DELIVERTEST_DIR"); dir != "" {
		os.Exit(sendUntilKilled(dir, os.Getenv("DELIVERTEST_GATEWAY")))
	}
	os.Exit(m.Run())
}

// sendUntilKilled is a second process: a node that works on the outbox.
func sendUntilKilled(dir, address string) int {
	t := &testing.T{}
	h := build(t, storetest.OpenSQLite(t, dir))
	x, err := deliver.NewTexter(identity.Secret(address), "", nil)
	if err != nil {
		return 3
	}
	if _, err := h.texting("killed", x).RunOnce(context.Background()); err != nil {
		return 4
	}
	return 0
}

// A node that is killed between the gateway's answer and its own mark leaves a message that is sent once more, as the same one.
func TestKilledBetweenSendingAndMark(t *testing.T) {
	dir := storetest.SQLiteDir(t)
	g := openGateway(t, httptest.NewServer)
	h := build(t, storetest.OpenSQLite(t, dir))
	if err := h.text("+15145550100"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), self)
	node.Env = append(os.Environ(), "DELIVERTEST_DIR="+dir, "DELIVERTEST_GATEWAY="+g.URL)
	started := make(chan struct{})
	g.mu.Lock()
	g.answer = func(http.ResponseWriter) { // taken, and killed before it hears so
		<-started
		_ = node.Process.Kill()
		_ = node.Wait()
	}
	g.mu.Unlock()
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	for len(g.heard()) == 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the node sent nothing")
		}
	}
	g.Close() // waits for the answer, so the node is dead
	again := openGateway(t, httptest.NewServer)
	w := h.texting("next", texter(t, again.URL, "", nil))
	h.run(w, 0) // the dead node's lease holds
	h.clock.Advance(2*time.Minute + time.Second)
	h.run(w, 1)
	h.clock.Advance(time.Minute)
	h.run(w, 0)
	first, second := g.heard(), again.heard()
	if len(first) != 1 || len(second) != 1 || first[0].id != second[0].id || first[0].body != second[0].body {
		t.Errorf("the gateways heard %+v and %+v", first, second)
	}
}

// Neither the code nor the gateway's password is logged, however it fails.
func TestSMSKeepSecrets(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	h, g := build(t, storetest.SQLite(t)), openGateway(t, httptest.NewServer)
	w := h.texting("one", texter(t, strings.Replace(g.URL, "http://", "http://user:canary@", 1)+"/canary?key=canary", "", nil))
	for _, status := range []int{500, 400} {
		g.says(status)
		if err := h.text("+15145550100"); err != nil {
			t.Fatal(err)
		}
		h.run(w, 1)
	}
	g.Close()
	if err := h.text("+15145550100"); err != nil {
		t.Fatal(err)
	}
	h.run(w, 1)
	shown := log.String() + fmt.Sprint(h.list(""))
	if !strings.Contains(shown, "400") || strings.Contains(shown, "canary") || strings.Contains(shown, "042137") {
		t.Error(shown)
	}
}
