package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store/storetest"
)

const webhookKey = "canary-webhook-key-83"

// listener is somebody else's service that hears of licences.
type listener struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	calls  []noticed
	silent bool // it hears and does not answer
}

// noticed is a call that was heard.
type noticed struct {
	key, body string
	Event     string
	At        time.Time
	Licence   struct {
		ID, Key                string
		Organisation, Provider struct{ ID, Key, Name string }
		Agreement              struct{ Key, Name string }
		ExpiresAt              time.Time `json:"expires_at"`
		GraceEndsAt            time.Time `json:"grace_ends_at"`
	}
}

func openListener(t *testing.T) *listener {
	l := &listener{t: t}
	l.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its caller was killed
		}
		c := noticed{key: r.Header.Get("Idempotency-Key"), body: string(body)}
		mac := hmac.New(sha256.New, []byte(webhookKey))
		_, _ = mac.Write(body)
		if err := json.Unmarshal(body, &c); err != nil || r.Method != "POST" || c.key == "" || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("X-Gatehouse-Event") != c.Event || r.Header.Get("X-Gatehouse-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("heard %s %v %s, %v", r.Method, r.Header, body, err)
		}
		l.mu.Lock()
		l.calls = append(l.calls, c)
		silent := l.silent
		l.mu.Unlock()
		if silent {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) env() []string {
	return []string{"GATEHOUSE_LICENCE_WEBHOOK_URL=" + l.URL + "/licences", "GATEHOUSE_LICENCE_WEBHOOK_KEY=" + webhookKey}
}

// distinct gives what was heard, by Idempotency-Key; a call that is repeated says the same.
func (l *listener) distinct() map[string]noticed {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := map[string]noticed{}
	for _, c := range l.calls {
		if first, again := calls[c.key]; again && first.body != c.body {
			l.t.Errorf("one key for two calls:\n%s\n%s", first.body, c.body)
		}
		calls[c.key] = c
	}
	return calls
}

func (l *listener) answer(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = !yes
}

// told counts what was heard of each licence, as "key event".
func (l *listener) told() map[string]int {
	l.t.Helper()
	counts := map[string]int{}
	for _, c := range l.distinct() {
		counts[c.Licence.Key+" "+c.Event]++
	}
	return counts
}

// noticeWorld has an owner, who is told, somebody who signed and is no member, and a member who is not told.
const noticeWorld = `
organisations: [{key: acme, name: ACME}, {key: vision, name: Example Vision}]
subjects:
  - {email: ada@example.test, name: Ada, memberships: [{organisation: acme, titan_role: owner}]}
  - {email: bob@example.test, name: Bob, memberships: [{organisation: acme, titan_role: user}]}
  - {email: sam@example.test, name: Sam, locale: de}
agreements: [{key: edge-pro, name: Edge Pro, kind: subscription, provides: [inference]}]
licences:
`

// licences has one that ends soon, one that ends now, and three that nobody is told of: one that ends in a year, one that was over when
// it was made, and one that never ends. It returns when the second has ended.
func (h *house) licences() (soon, over time.Time) {
	h.t.Helper()
	h.must("", "apply", "-f", h.world(noticeWorld+"  []\n")) // the store is there, so the next takes no time
	now := time.Now().UTC().Truncate(time.Second)
	soon, over = now.Add(10*24*time.Hour), now.Add(5*time.Second)
	var world strings.Builder
	world.WriteString(noticeWorld)
	for key, ends := range map[string]string{
		"soon": soon.Format(time.RFC3339) + ", signed_by: sam@example.test, provider: vision", "over": over.Format(time.RFC3339),
		"far": now.AddDate(1, 0, 0).Format(time.RFC3339), "past": now.AddDate(0, 0, -1).Format(time.RFC3339), "ever": "null",
	} {
		fmt.Fprintf(&world, "  - {key: %s, agreement: edge-pro, organisation: acme, starts_at: 2026-01-01, expires_at: %s}\n", key, ends)
	}
	h.must("", "apply", "-f", h.world(world.String()))
	until(h.t, patience, "the licence ends", func() bool { return time.Now().After(over) })
	return soon, over
}

// once fails unless the owner, the signer and the service were told of both, each once, and nobody of anything else.
func (h *house) once(office *postOffice, service *listener, soon, over time.Time) {
	h.t.Helper()
	told := service.told()
	if len(told) != 2 || told["soon licence.ends_soon"] != 1 || told["over licence.expired"] != 1 {
		h.t.Errorf("the service was told %v", told)
	}
	for _, c := range service.distinct() {
		ends := map[string]time.Time{"soon": soon, "over": over}[c.Licence.Key]
		if !c.Licence.ExpiresAt.Equal(ends) || !c.Licence.GraceEndsAt.Equal(ends.Add(14*24*time.Hour)) || c.Licence.Organisation.Name != "ACME" || c.Licence.Agreement.Name != "Edge Pro" ||
			c.At.IsZero() || (c.Licence.Provider.Key == "vision") != (c.Licence.Key == "soon") {
			h.t.Errorf("the service was told %s", c.body)
		}
	}
	mails := map[string]int{}
	for _, l := range office.received() {
		header, text := l.plain(h.t)
		mails[l.to+" "+header.Get("Subject")]++
		if !strings.Contains(text, "ACME") {
			h.t.Errorf("to %s: %s", l.to, text)
		}
	}
	for _, want := range []string{
		"ada@example.test Licence Edge Pro ends on " + soon.Format(time.DateOnly), "sam@example.test Lizenz Edge Pro endet am " + soon.Format(time.DateOnly),
		"ada@example.test Licence Edge Pro has ended",
	} {
		if mails[want] != 1 {
			h.t.Errorf("%d mails %q", mails[want], want)
		}
		delete(mails, want)
	}
	if len(mails) != 0 {
		h.t.Errorf("mails besides: %v", mails)
	}
	for _, action := range []string{"licence.ends_soon", "licence.expired"} {
		if rows := strings.Count(h.must("", "audit", "list", "--action", action, "--json"), "\n"); rows != 1 {
			h.t.Errorf("%d rows %s", rows, action)
		}
	}
}

// People and a service are told of licences that end, over a real wire, once: also where the node was killed while it told them.
func TestLicenceNotices(t *testing.T) {
	t.Parallel() // it mostly waits
	office, service := closedOffice(t).open(), openListener(t)
	h := newHouse(t, append(service.env(), office.env())...)
	soon, over := h.licences()

	service.answer(false)
	open := office.hold()
	n := h.serve()
	until(t, patience, "both sides busy with it", func() bool { return len(service.distinct()) > 0 && office.waiting() > 0 })
	n.kill()
	open()
	service.answer(true)
	if sent := h.outbox("--state=sent"); len(sent) != 0 {
		t.Fatalf("sent, and nobody took it: %+v", sent)
	}
	n = h.serve()
	office.wait(3)
	until(t, patience, "everything written down as sent", func() bool { return len(h.outbox("--state=sent")) == 5 })
	h.once(office, service, soon, over)
	n.stop()

	// The next start has only news to tell.
	h.must("", "licence", "add", "news", "--org=acme", "--agreement=edge-pro", "--expires="+soon.Format(time.DateOnly))
	n = h.serve()
	until(t, patience, "news", func() bool { return service.told()["news licence.ends_soon"] == 1 })
	office.wait(4)
	n.stop()
	if told := service.told(); len(told) != 3 || len(service.distinct()) != 3 || len(office.received()) != 4 {
		t.Errorf("%v, and %d mails", told, len(office.received()))
	}
	h.must("", "audit", "verify")
	if log := n.logged(); strings.Contains(log, webhookKey) || strings.Contains(log, service.URL) {
		t.Errorf("the log tells secrets:\n%s", log)
	}
}

// Killed as soon as it has told somebody, again and again: nothing is lost, and what is sent twice is marked as the same.
func TestLicenceNoticesOverKills(t *testing.T) {
	t.Parallel() // it mostly waits
	office, service := closedOffice(t).open(), openListener(t)
	h := newHouse(t, append(service.env(), office.env())...)
	h.must("", "apply", "-f", h.world(noticeWorld+"  []\n"))
	const rounds, each = 4, 3
	ends := time.Now().UTC().AddDate(0, 0, 10).Format(time.DateOnly)
	var n *node
	for round := range rounds {
		var world strings.Builder
		world.WriteString(noticeWorld)
		for i := range each {
			fmt.Fprintf(&world, "  - {key: lic-%d-%d, agreement: edge-pro, organisation: acme, expires_at: %s}\n", round, i, ends)
		}
		h.must("", "apply", "-f", h.world(world.String()))
		heard := len(service.distinct())
		n = h.serve()
		if round == 0 {
			n.kill() // it may have told somebody, or nobody
			continue
		}
		until(t, patience, "somebody told", func() bool { return len(service.distinct()) > heard })
		n.kill()
	}
	n = h.serve()
	all := rounds * each
	until(t, patience, "everything written down as sent", func() bool { return len(h.outbox("--state=sent")) == 2*all && len(service.distinct()) == all })
	n.stop()
	for what, times := range service.told() {
		if times != 1 {
			t.Errorf("%s: told %d times under different keys", what, times)
		}
	}
	if told := service.told(); len(told) != all {
		t.Errorf("the service was told %v", told)
	}
	ids := map[string]string{}
	for _, l := range office.received() {
		header, text := l.plain(t)
		if first, again := ids[header.Get("Message-Id")]; again && first != text {
			t.Errorf("one id for two mails:\n%s\n%s", first, text)
		}
		ids[header.Get("Message-Id")] = text
	}
	if len(ids) != all {
		t.Errorf("%d mails, want %d", len(ids), all)
	}
	h.must("", "audit", "verify")
}

// Two nodes that come up at once with the same to tell.
func TestLicenceNoticesOfTwoNodes(t *testing.T) {
	t.Parallel() // it mostly waits
	office, service := closedOffice(t).open(), openListener(t)
	key := base64.StdEncoding.EncodeToString([]byte("a master key of 32 bytes, shared"))
	h := newHouse(t, append(service.env(), office.env(), "GATEHOUSE_DATABASE="+storetest.PostgresURL(t), "GATEHOUSE_MASTER_KEY="+key)...)
	soon, over := h.licences()
	var a, b *node
	var both sync.WaitGroup
	both.Go(func() { a = h.serve() })
	both.Go(func() { b = h.serve() })
	both.Wait()
	if a == nil || b == nil {
		t.FailNow()
	}
	office.wait(3)
	until(t, patience, "everything written down as sent", func() bool { return len(h.outbox("--state=sent")) == 5 })
	h.once(office, service, soon, over)
	a.stop()
	b.stop()
	if len(service.calls) != 2 || len(office.received()) != 3 {
		t.Errorf("%d calls and %d mails, some of them again", len(service.calls), len(office.received()))
	}
	h.must("", "audit", "verify")
}

// Sixteen commands at once want the last seat of a licence, with two nodes on the database: one has it, and both nodes say so.
func TestLastSeatOnTwoNodes(t *testing.T) {
	const racers = 16
	h, a, b := twoNodes(t)
	var world strings.Builder
	world.WriteString(`
organisations: [{key: acme, name: ACME}]
subjects:
  - {email: ada@example.test, name: Ada, password: "canary-password-ada-91", memberships: [{organisation: acme}]}
agreements: [{key: edge-pro, name: Edge Pro, kind: subscription, provides: [inference]}]
licences: [{key: quay, agreement: edge-pro, organisation: acme, devices: [camera-0], seats: 2}]
devices:
`)
	id := func(i int) string { return fmt.Sprintf("0f4e7c1a-52a7-4c35-9a10-%012d", i) }
	for i := range racers + 1 {
		fmt.Fprintf(&world, "  - {key: camera-%d, name: Camera, organisation: acme, id: %s}\n", i, id(i))
	}
	h.must("", "apply", "-f", h.world(world.String()))
	assigned := func() int {
		return strings.Count(h.must("", "audit", "list", "--action=licence.assign", "--json"), "\n")
	}
	before := assigned()
	var all sync.WaitGroup
	winners := make(chan int, racers)
	for i := range racers {
		all.Go(func() {
			switch _, errs, code := h.run("", "licence", "assign", "quay", id(i+1)); {
			case code == 0:
				winners <- i + 1
			case code != 1 || !strings.Contains(errs, "no seat is free"):
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
	all.Wait()
	close(winners)
	if len(winners) != 1 {
		t.Fatalf("%d won the last seat", len(winners))
	}
	winner := <-winners
	access, _, err := a.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		for i := range racers + 1 {
			want := "0"
			if i == 0 || i == winner {
				want = "1"
			}
			got := n.mustCall("GET", "/auth/licenses?Device="+id(i), access, "", "")
			if got.status != http.StatusOK || got.header.Get("X-Pagination-Records") != want {
				t.Errorf("camera %d: %d %s, want %s licences", i, got.status, got.text, want)
			}
		}
	}
	if rows := assigned() - before; rows != 1 {
		t.Errorf("%d rows licence.assign", rows)
	}
	a.stop()
	b.stop()
	h.must("", "audit", "verify")
}
