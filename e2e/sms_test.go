package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// hook is somebody else's SMS gateway.
type hook struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	sent []sms
	down bool // until the first try
}

type sms struct{ From, To, Text string }

func openHook(t *testing.T) *hook {
	h := &hook{t: t, down: true}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m sms
		user, password, _ := r.BasicAuth()
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Content-Type") != "application/json" || user != "house" || password != "canary-hook-96" {
			t.Errorf("heard %+v, %v, from %s", m, err, user)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.down {
			h.down = false
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, m.Text)
			return
		}
		h.sent = append(h.sent, m)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) wait(count int) sms {
	h.t.Helper()
	until(h.t, patience, fmt.Sprintf("%d SMS", count), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.sent) >= count
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent[count-1]
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

const factorWorld = `
subjects:
  - {email: ada@example.test, name: Ada, locale: de, password: "canary-password-ada-91", factors: {email: true, sms: "+1 (514) 555-0100"}}
  - {email: bob@example.test, name: Bob, password: "canary-password-bob-92", factors: {email: true}}
`

// Asked for, sent over a real wire, sent again, answered: a second factor by SMS and one by mail, in the operator's words.
func TestCodesReachPeople(t *testing.T) {
	gateway, office := openHook(t), closedOffice(t).open()
	words := t.TempDir()
	if err := os.MkdirAll(filepath.Join(words, "de"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(words, "de", "code.sms.txt"), []byte("ACME: {{.code}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, office.env(), "GATEHOUSE_SMS_FROM=ACME", "GATEHOUSE_MAIL_TEMPLATES="+words,
		"GATEHOUSE_SMS_URL="+strings.Replace(gateway.URL, "http://", "http://house:canary-hook-96@", 1)+"/send")
	h.must("", "apply", "-f", h.world(factorWorld))
	n := h.serve("--log-level=debug")
	ask := func(query, body string) answer { return n.mustCall("POST", "/api/v1/oauth2"+query, "", jsonType, body) }

	asked := ask("", `{"userId":"ada@example.test","password":"canary-password-ada-91"}`)
	if asked.status != http.StatusOK || asked.get(t, "method") != "sms" {
		t.Fatalf("sign-in: %d %s", asked.status, asked.text)
	}
	uuid := asked.get(t, "uuid")
	first := gateway.wait(1)
	if first.From != "ACME" || first.To != "+15145550100" || !regexp.MustCompile(`^ACME: [0-9]{6}$`).MatchString(first.Text) {
		t.Errorf("sent %+v", first)
	}
	if a := ask("?resendMFACode=true", fmt.Sprintf(`{"uuid":%q}`, uuid)); a.status != http.StatusOK {
		t.Fatalf("resend: %d %s", a.status, a.text)
	}
	if second := gateway.wait(2); second != first {
		t.Errorf("sent again %+v, want %+v", second, first)
	}
	bySMS := sixDigits.FindString(first.Text)
	if a := ask("?completeMFAChallenge=true", fmt.Sprintf(`{"uuid":%q,"answer":%q}`, uuid, bySMS)); a.status != http.StatusOK {
		t.Errorf("answer: %d %s", a.status, a.text)
	}
	if letters := office.received(); len(letters) != 0 {
		t.Errorf("%d mails beside the SMS", len(letters))
	}

	asked = ask("", `{"userId":"bob@example.test","password":"canary-password-bob-92"}`)
	if asked.status != http.StatusOK || asked.get(t, "method") != "email" {
		t.Fatalf("sign-in: %d %s", asked.status, asked.text)
	}
	header, text := office.wait(1)[0].plain(t)
	byMail := sixDigits.FindString(text)
	if header.Get("To") != "<bob@example.test>" || byMail == "" {
		t.Errorf("%v %s", header, text)
	}
	if a := ask("?completeMFAChallenge=true", fmt.Sprintf(`{"uuid":%q,"answer":%q}`, asked.get(t, "uuid"), byMail)); a.status != http.StatusOK {
		t.Errorf("answer: %d %s", a.status, a.text)
	}

	until(t, patience, "three sent messages", func() bool { return len(h.outbox("--state", "sent")) == 3 })
	log := n.logged()
	n.stop()
	if !strings.Contains(log, "the SMS gateway answered 503") {
		t.Error("the log does not say that the gateway refused at first")
	}
	for _, secret := range []string{bySMS, byMail, "canary-hook-96", uuid} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %.8s…", secret)
		}
	}
	h.must("", "audit", "verify")
}

// A mistake in what the operator gave for delivery is said at the start.
func TestDeliveryThatCannotWork(t *testing.T) {
	words := t.TempDir()
	for file, text := range map[string]string{"en/code.sms.txt": "{{.cod}}", "en/welcome.txt": "Subject: x\n\nx"} {
		if err := os.MkdirAll(filepath.Join(words, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(words, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := newHouse(t, "GATEHOUSE_MAIL_TEMPLATES="+words)
	_, errs, code := h.run("", "serve")
	if code != 1 || !strings.Contains(errs, "en/code.sms.txt") || !strings.Contains(errs, "en/welcome.txt") {
		t.Errorf("exit %d: %s", code, errs)
	}
	h = newHouse(t, "GATEHOUSE_SMS_URL=twilio://AC1:canary-token-97@api.twilio.com")
	if _, errs, code := h.run("", "serve"); code == 0 || !strings.Contains(errs, "needs a sender") || strings.Contains(errs, "canary-token-97") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
