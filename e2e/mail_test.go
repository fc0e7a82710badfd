package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// patience is for what the outbox does on its own: it looks every second.
const patience = 30 * time.Second

// postOffice is a mail server that takes everything.
type postOffice struct {
	t       *testing.T
	address string
	mu      sync.Mutex
	letters []letter
	held    chan struct{} // not nil: whoever brings a letter waits until it is closed
	queue   int           // so many wait
}

type letter struct {
	from, to string
	body     []byte
}

// visit is one conversation with it.
type visit struct {
	office *postOffice
	letter letter
}

func (o *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &visit{office: o}, nil }

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	v.letter.from = from
	o := v.office
	o.mu.Lock()
	held := o.held
	if held != nil {
		o.queue++
	}
	o.mu.Unlock()
	if held != nil {
		<-held
	}
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if v.letter.to != "" {
		return errors.New("one letter, one recipient")
	}
	v.letter.to = to
	return nil
}

func (v *visit) Data(r io.Reader) (err error) {
	if v.letter.body, err = io.ReadAll(r); err != nil {
		return err
	}
	v.office.mu.Lock()
	defer v.office.mu.Unlock()
	v.office.letters = append(v.office.letters, v.letter)
	return nil
}

func (v *visit) Reset()      { v.letter = letter{} }
func (*visit) Logout() error { return nil }

// closedOffice has an address at which nobody listens.
func closedOffice(t *testing.T) *postOffice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return &postOffice{t: t, address: l.Addr().String()}
}

func (o *postOffice) open() *postOffice {
	o.t.Helper()
	l, err := net.Listen("tcp", o.address)
	if err != nil {
		o.t.Fatal(err)
	}
	server := smtp.NewServer(o)
	server.Domain = "mail.example.test"
	server.ErrorLog = log.New(io.Discard, "", 0) // of visitors that were killed
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	o.t.Cleanup(func() { _ = server.Close(); <-done })
	return o
}

// hold has everybody wait until open is called.
func (o *postOffice) hold() (open func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	held := make(chan struct{})
	o.held = held
	open = sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.held, o.queue = nil, 0
		close(held)
	})
	o.t.Cleanup(open) // the office closes after its last visitor
	return open
}

// waiting says how many do.
func (o *postOffice) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue
}

func (o *postOffice) env() string { return "GATEHOUSE_SMTP_URL=smtp://" + o.address }

func (o *postOffice) received() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]letter(nil), o.letters...)
}

// wait gives the letters once there are so many.
func (o *postOffice) wait(count int) []letter {
	o.t.Helper()
	until(o.t, patience, fmt.Sprintf("%d letters", count), func() bool { return len(o.received()) >= count })
	return o.received()
}

// plain gives a letter's headers and what its plain part says.
func (l letter) plain(t *testing.T) (mail.Header, string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(l.body))
	if err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q, %v", m.Header.Get("Content-Type"), err)
	}
	part, err := multipart.NewReader(m.Body, parameters["boundary"]).NextRawPart() // the plain one is first: the last is the best (RFC 2046, section 5.1.4)
	if err != nil || !strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("first part %v, %v", part, err)
	}
	var body io.Reader = part
	if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(part)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, string(text)
}

var linkLine = regexp.MustCompile(`(?m)^(http://\S+/auth/reset-password)\?token=([A-Za-z0-9_-]{43}\.[0-9a-f]{64})\s*$`)

// link finds the one link in a letter's text.
func link(t *testing.T, text string) (address, token string) {
	t.Helper()
	found := linkLine.FindAllStringSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%d links in\n%s", len(found), text)
	}
	return found[0][1], found[0][2]
}

func (n *node) forgot(email string) answer {
	n.t.Helper()
	a := n.mustCall("POST", "/auth/authenticate/forgot-password", "", jsonType, fmt.Sprintf(`{"Email":%q}`, email))
	if a.status != http.StatusOK {
		n.t.Fatalf("forgot-password: %d %s", a.status, a.text)
	}
	return a
}

// message is a line of `outbox list --json`.
type message struct {
	ID        string `json:"id"`
	Recipient string `json:"recipient"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error"`
	Text      string `json:"text"`
}

func (h *house) outbox(more ...string) (list []message) {
	h.t.Helper()
	for line := range strings.Lines(h.must("", append([]string{"outbox", "list", "--json"}, more...)...)) {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			h.t.Fatalf("%v in %s", err, line)
		}
		list = append(list, m)
	}
	return list
}

const (
	formType       = "application/x-www-form-urlencoded"
	newPassword    = "a quiet meadow with 7 bells"
	laterPassword  = "a loud harbour with 9 gulls"
	resetPage      = "/auth/reset-password"
	formerPassword = "canary-password-ada-91"
)

var field = regexp.MustCompile(`name="token" value="([^"]+)"`)

// reset does what a person does with the link: she opens it and posts the page's form.
func (n *node) reset(token, password string) answer {
	n.t.Helper()
	opened := n.mustCall("GET", resetPage+"?"+form("token", token), "", "", "")
	found := field.FindStringSubmatch(opened.text)
	if opened.status != http.StatusOK || found == nil || !strings.Contains(opened.text, `action="`+resetPage+`"`) {
		n.t.Fatalf("the link opens %d %s", opened.status, opened.text)
	}
	return n.mustCall("POST", resetPage, "", formType, form("token", html.UnescapeString(found[1]), "password", password, "again", password))
}

// Forgotten, mailed, opened, set: the whole way, with a real mail.
func TestForgottenPassword(t *testing.T) {
	office := closedOffice(t).open()
	h := newHouse(t, office.env(), "GATEHOUSE_MAIL_FROM=Gatehouse <no-reply@example.test>")
	h.must("", "apply", "-f", h.world(sampleWorld))
	n := h.serve()
	access, refresh, err := n.signIn("ada@example.test", formerPassword)
	if err != nil {
		t.Fatal(err)
	}
	known, unknown := n.forgot("ada@example.test"), n.forgot("nobody@example.test")
	if known.text != unknown.text {
		t.Errorf("the answers tell who is known: %s and %s", known.text, unknown.text)
	}
	l := office.wait(1)[0]
	header, text := l.plain(t)
	if l.from != "no-reply@example.test" || l.to != "ada@example.test" || header.Get("To") != "<ada@example.test>" ||
		header.Get("Subject") != "Set a new password" || header.Get("Auto-Submitted") != "auto-generated" || header.Get("Message-Id") == "" {
		t.Errorf("from %s to %s: %v", l.from, l.to, header)
	}
	address, token := link(t, text)
	if address != n.base+resetPage {
		t.Errorf("the link leads to %s", address)
	}

	for range 3 { // mail scanners open links
		if a := n.mustCall("GET", resetPage+"?"+form("token", token), "", "", ""); a.status != http.StatusOK || a.header.Get("Referrer-Policy") != "no-referrer" {
			t.Fatalf("opening the link: %d %v", a.status, a.header)
		}
	}
	if !n.accepts(access) {
		t.Error("opening the link ended a session")
	}
	if a := n.reset(token, "short"); a.status < 400 || a.status > 499 || !strings.Contains(a.text, token) {
		t.Errorf("a weak password gives %d %s", a.status, a.text)
	}
	if a := n.reset(token, newPassword); a.status != http.StatusOK || !strings.Contains(a.text, "Your password has been reset!") {
		t.Fatalf("the form gives %d %s", a.status, a.text)
	}

	if n.accepts(access) {
		t.Error("a session from before is still good")
	}
	if a := n.mustCall("POST", "/auth/authenticate/refresh-token", refresh, jsonType, `{}`); a.status != http.StatusUnauthorized {
		t.Errorf("the refresh token from before gives %d %s", a.status, a.text)
	}
	if _, _, err := n.signIn("ada@example.test", formerPassword); err == nil {
		t.Error("the forgotten password still works")
	}
	if _, _, err := n.signIn("ada@example.test", newPassword); err != nil {
		t.Errorf("the new password: %v", err)
	}
	for _, a := range []answer{
		n.mustCall("GET", resetPage+"?"+form("token", token), "", "", ""),
		n.mustCall("POST", resetPage, "", formType, form("token", token, "password", laterPassword, "again", laterPassword)),
		n.mustCall("POST", "/auth/authenticate/reset-password", "", jsonType, fmt.Sprintf(`{"Token":%q,"Password":%q}`, token, laterPassword)),
	} {
		if a.status < 400 || a.status > 499 {
			t.Errorf("the spent link gives %d %s", a.status, a.text)
		}
	}
	if _, _, err := n.signIn("ada@example.test", newPassword); err != nil {
		t.Errorf("after trying the spent link: %v", err)
	}
	n.stop()
	if got := office.received(); len(got) != 1 {
		t.Errorf("%d letters, want one: nobody@example.test has no account", len(got))
	}
	for _, secret := range []string{token, newPassword, laterPassword} {
		if strings.Contains(n.logged(), secret) {
			t.Errorf("the log holds %.8s…", secret)
		}
	}
	h.must("", "audit", "verify")
}

// Two nodes work on one outbox, and nobody gets two mails.
func TestEveryMailArrivesOnce(t *testing.T) {
	const people = 20 // each asks once: one person is sent five an hour
	office := closedOffice(t).open()
	h, a, b := twoNodes(t, office.env())
	var world strings.Builder
	world.WriteString("subjects:\n")
	for i := range people {
		fmt.Fprintf(&world, "  - {email: person%d@example.test, name: Person, password: %q}\n", i, formerPassword)
	}
	h.must("", "apply", "-f", h.world(world.String()))
	var all sync.WaitGroup
	for i := range people {
		n := []*node{a, b}[i%2]
		all.Go(func() {
			got, err := n.call("POST", "/auth/authenticate/forgot-password", "", jsonType, fmt.Sprintf(`{"Email":"person%d@example.test"}`, i))
			if err != nil || got.status != http.StatusOK {
				t.Errorf("person %d: %d %s, %v", i, got.status, got.text, err)
			}
		})
	}
	all.Wait()
	office.wait(people)
	// Done is what the outbox calls done: what was sent and not written down as sent would go out again.
	until(t, patience, "everything written down as sent", func() bool { return len(h.outbox("--state=sent")) == people })
	a.stop()
	b.stop()
	recipients, ids := map[string]int{}, map[string]int{}
	for _, l := range office.received() {
		header, text := l.plain(t)
		recipients[l.to]++
		ids[header.Get("Message-Id")]++
		if address, _ := link(t, text); address != a.base+resetPage && address != b.base+resetPage {
			t.Errorf("a link to %s", address)
		}
	}
	for i := range people {
		if got := recipients[fmt.Sprintf("person%d@example.test", i)]; got != 1 {
			t.Errorf("person %d got %d mails", i, got)
		}
	}
	if len(recipients) != people || len(ids) != people {
		t.Errorf("%d recipients, %d ids, want %d", len(recipients), len(ids), people)
	}
}

// A mail server that is down delays a mail and loses none, and no caller waits for it.
func TestMailServerThatIsDownAtFirst(t *testing.T) {
	office := closedOffice(t)
	h := newHouse(t, office.env())
	h.must("", "apply", "-f", h.world(sampleWorld))
	n := h.serve()
	n.forgot("ada@example.test")
	until(t, patience, "a try that failed", func() bool { return strings.Contains(n.logged(), "message not sent; will try again") })
	waiting := h.outbox()
	if len(waiting) != 1 || waiting[0].State != "waiting" || waiting[0].Attempts < 1 || waiting[0].LastError == "" || waiting[0].Recipient != "ada@example.test" {
		t.Fatalf("the outbox holds %+v", waiting)
	}
	office.open()
	h.must("", "outbox", "retry", waiting[0].ID) // an operator who repaired it need not wait for the next try
	_, text := office.wait(1)[0].plain(t)
	_, token := link(t, text)
	if a := n.reset(token, newPassword); a.status != http.StatusOK {
		t.Errorf("the link of the late mail: %d %s", a.status, a.text)
	}
	until(t, patience, "it written down as sent", func() bool { return len(h.outbox("--state=sent")) == 1 })
	if _, errs, code := h.run("", "outbox", "retry", waiting[0].ID); code != 1 || !strings.Contains(errs, "was sent") {
		t.Errorf("retry of a sent one: exit %d, %s", code, errs)
	}
	n.stop()
	if got := office.received(); len(got) != 1 {
		t.Errorf("%d letters, want one", len(got))
	}
	if strings.Contains(n.logged(), token) {
		t.Error("the link is in the log")
	}
}

// Without a mail server the operator hands the link on, and the log does not.
func TestWithoutAMailServer(t *testing.T) {
	h := newHouse(t)
	h.must("", "apply", "-f", h.world(sampleWorld))
	n := h.serve("--log-level=debug")
	n.forgot("ada@example.test")
	n.forgot("nobody@example.test")
	until(t, patience, "word of a message", func() bool { return strings.Contains(n.logged(), "message kept in the outbox") })
	var kept []message
	until(t, patience, "the message kept", func() bool {
		kept = h.outbox()
		return len(kept) == 1 && kept[0].State == "kept"
	})
	if kept[0].Recipient != "ada@example.test" || kept[0].Text != "" {
		t.Errorf("the outbox holds %+v", kept)
	}
	if shown := h.must("", "outbox", "show", kept[0].ID); strings.Contains(shown, "token=") {
		t.Errorf("shown without being asked to: %s", shown)
	}
	var revealed message
	if err := json.Unmarshal([]byte(h.must("", "outbox", "show", kept[0].ID, "--reveal", "--json")), &revealed); err != nil {
		t.Fatal(err)
	}
	_, token := link(t, revealed.Text)
	if a := n.reset(token, newPassword); a.status != http.StatusOK {
		t.Errorf("the link: %d %s", a.status, a.text)
	}
	if _, _, err := n.signIn("ada@example.test", newPassword); err != nil {
		t.Error(err)
	}
	n.stop()
	for _, secret := range []string{token, newPassword} {
		if strings.Contains(n.logged(), secret) {
			t.Errorf("the log holds %.8s…", secret)
		}
	}
}
