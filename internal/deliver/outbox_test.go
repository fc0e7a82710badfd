package deliver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.at.Add(d.Microseconds()) }

type house struct {
	t      *testing.T
	store  identity.Store
	clock  *clock
	outbox *deliver.Outbox
}

func build(t *testing.T, store identity.Store) *house {
	t.Helper()
	h := &house{t: t, store: store, clock: new(clock)}
	h.clock.at.Store(writtenAt.UnixMicro())
	box, err := keys.NewBox(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	h.outbox = &deliver.Outbox{Store: store, Box: box, Templates: deliver.BuiltIn(), Now: h.clock.Now, Rand: rand.Reader}
	return h
}

func (h *house) worker(owner string, s deliver.Sender) *deliver.Worker {
	w := &deliver.Worker{Outbox: h.outbox, Owner: owner, Log: &audit.Log{Now: h.clock.Now, Rand: rand.Reader}}
	if s != nil {
		w.Senders = map[identity.Channel]deliver.Sender{identity.Mail: s}
	}
	return w
}

func (h *house) enqueue(c deliver.Content) error {
	return h.store.Update(h.t.Context(), func(tx identity.Tx) error { return h.outbox.Enqueue(h.t.Context(), tx, c) })
}

func (h *house) mail(to string) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx identity.Tx) error {
		return h.outbox.Mail(h.t.Context(), tx, to, deliver.Code, "en", map[string]string{"name": "Ada", "code": "042137", "minutes": "100000"}) // a code that outlives every retry
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) run(w *deliver.Worker, want int) {
	h.t.Helper()
	if n, err := w.RunOnce(h.t.Context()); err != nil || n != want {
		h.t.Fatalf("worked on %d, %v, want %d", n, err, want)
	}
}

func (h *house) list(state identity.MessageState) []identity.Message {
	h.t.Helper()
	list, err := h.outbox.List(h.t.Context(), state, "", 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

func (h *house) only(state identity.MessageState) identity.Message {
	h.t.Helper()
	list := h.list(state)
	if len(list) != 1 {
		h.t.Fatalf("%d messages are %q", len(list), state)
	}
	return list[0]
}

func TestAMessageIsSentOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, o := build(t, store), openPostOffice(t, plain, "")
		h.mail("ada@example.com")
		waiting := h.only(identity.MessageWaiting)
		if bytes.Contains(waiting.Sealed, []byte("042137")) || waiting.Recipient != "ada@example.com" || waiting.Template != deliver.Code {
			t.Errorf("waiting: %+v", waiting)
		}
		w := h.worker("one", mailer(t, "smtp://"+o.address, o))
		h.run(w, 1)
		h.run(w, 0)
		if m := h.only(identity.MessageSent); m.Attempts != 1 || !m.SentAt.Equal(writtenAt) || m.LastError != "" || deliver.Kept(m) {
			t.Errorf("sent: %+v", m)
		}
		letters := o.received()
		if len(letters) != 1 || !strings.Contains(string(letters[0].body), "042137") {
			t.Fatalf("letters: %+v", letters)
		}
		if !strings.Contains(string(letters[0].body), "Message-ID: <"+string(waiting.ID)+"@id.example.com>") {
			t.Errorf("no stable Message-ID:\n%s", letters[0].body)
		}
	})
}

func TestAMessageStandsOrFallsWithItsCause(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		refused := errors.New("no")
		err := store.Update(t.Context(), func(tx identity.Tx) error {
			if err := h.outbox.Enqueue(t.Context(), tx, aLetter); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) || len(h.list("")) != 0 {
			t.Errorf("%v, %d messages", err, len(h.list("")))
		}
	})
}

func TestHeadersCannotBeInjected(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	change := func(f func(*deliver.Content)) deliver.Content {
		c := aLetter
		f(&c)
		return c
	}
	for name, c := range map[string]deliver.Content{
		"recipient with CRLF":    change(func(c *deliver.Content) { c.Recipient = "a@example.com\r\nBcc: b@example.com" }),
		"recipient with LF":      change(func(c *deliver.Content) { c.Recipient = "a@example.com\n" }),
		"two recipients":         change(func(c *deliver.Content) { c.Recipient = "a@example.com, b@example.com" }),
		"named recipient":        change(func(c *deliver.Content) { c.Recipient = "Ada <a@example.com>" }),
		"recipient is no mail":   change(func(c *deliver.Content) { c.Recipient = "ada" }),
		"recipient is too long":  change(func(c *deliver.Content) { c.Recipient = strings.Repeat("a", 250) + "@b.cd" }),
		"subject with CR":        change(func(c *deliver.Content) { c.Subject = "x\rBcc: b@example.com" }),
		"subject with NUL":       change(func(c *deliver.Content) { c.Subject = "x\x00" }),
		"subject is too long":    change(func(c *deliver.Content) { c.Subject = strings.Repeat("x", 201) }),
		"sender with a new line": change(func(c *deliver.Content) { c.From = "a@example.com\nBcc: b@example.com" }),
	} {
		if err := h.enqueue(c); !errors.Is(err, identity.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.enqueue(change(func(c *deliver.Content) { c.Text = strings.Repeat("x", 300<<10) })); !errors.Is(err, identity.TooLarge) {
		t.Errorf("too large: %v", err)
	}
	if n := len(h.list("")); n != 0 {
		t.Errorf("%d messages written", n)
	}
}

func TestDecoysAreFinishedSilently(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		var sent counter
		w := h.worker("one", &sent)
		h.mail("")
		h.mail("ada@example.com")
		h.mail("not an address\r\nBcc: x@example.com")
		h.run(w, 2)
		if sent.n.Load() != 1 || len(h.list("")) != 2 {
			t.Errorf("%d sent, %d shown", sent.n.Load(), len(h.list("")))
		}
		if m := h.only(identity.MessageGivenUp); m.LastError != "not a mail address" || strings.ContainsAny(m.Recipient, "\r\n") {
			t.Errorf("%+v", m)
		}
	})
}

// counter is a sender that counts, and fails as told.
type counter struct {
	n    atomic.Int64
	mu   sync.Mutex
	seen map[identity.MessageID]int
	fail error
	hold func()
}

func (c *counter) Send(_ context.Context, id identity.MessageID, _ time.Time, _ deliver.Content) error {
	if c.hold != nil {
		c.hold()
	}
	c.n.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[identity.MessageID]int{}
	}
	c.seen[id]++
	return c.fail
}

func TestFailuresAreTriedAgainAndGivenUp(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := &counter{fail: errors.New("421 try later\r\nsecond line")}
		w := h.worker("one", s)
		h.mail("ada@example.com")
		var waits []time.Duration
		for len(h.list(identity.MessageWaiting)) > 0 {
			h.run(w, 1)
			h.run(w, 0) // not before its time
			m := h.only("")
			if strings.ContainsAny(m.LastError, "\r\n") || !strings.Contains(m.LastError, "421 try later") {
				t.Fatalf("last error %q", m.LastError)
			}
			if m.GivenUpAt.IsZero() {
				pause := m.NextAt.Sub(h.clock.Now())
				waits = append(waits, pause)
				h.clock.Advance(pause)
			}
			if len(waits) > 100 {
				t.Fatal("never given up")
			}
		}
		if waits[0] < 8*time.Second || waits[0] > 12*time.Second || waits[len(waits)-1] < 48*time.Minute || waits[len(waits)-1] > 72*time.Minute {
			t.Errorf("waits: %v", waits)
		}
		if age := h.clock.Now().Sub(writtenAt); age < 24*time.Hour || age > 26*time.Hour {
			t.Errorf("given up after %v", age)
		}
		h.expectGivenUp(len(waits) + 1)

		// The operator mends the server and tries again.
		id := h.only(identity.MessageGivenUp).ID
		s.fail = nil
		if err := h.outbox.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.run(w, 1)
		if m := h.only(identity.MessageSent); m.Attempts != 1 || m.LastError != "" {
			t.Errorf("%+v", m)
		}
		if err := h.outbox.Retry(t.Context(), id); !errors.Is(err, identity.Conflict) {
			t.Errorf("retry of a sent one: %v", err)
		}
		if err := h.outbox.Retry(t.Context(), "0199c2f0-7a5e-7c3e-9b1a-3c0d6f1e2a4b"); !errors.Is(err, identity.NotFound) {
			t.Errorf("retry of an unknown one: %v", err)
		}
	})
}

func (h *house) expectGivenUp(attempts int) {
	h.t.Helper()
	if m := h.only(identity.MessageGivenUp); m.Attempts != attempts {
		h.t.Errorf("%d attempts, want %d", m.Attempts, attempts)
	}
	err := h.store.View(h.t.Context(), func(r identity.Reader) error {
		rows, err := r.Events(h.t.Context(), identity.EventFilter{Action: "outbox.give-up", Limit: 10})
		if err == nil && (len(rows) != 1 || rows[0].Outcome != "failed" || !strings.Contains(string(rows[0].Detail), "ada@example.com") ||
			strings.Contains(string(rows[0].Detail), "042137")) {
			err = fmt.Errorf("audit rows: %+v", rows)
		}
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
}

func TestPermanentRefusalGivesUpAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, o := build(t, store), openPostOffice(t, plain, "")
		o.set(func(o *postOffice) {
			o.rcpt = func() error { return &smtp.SMTPError{Code: 550, Message: "unknown user"} }
		})
		h.mail("ada@example.com")
		h.run(h.worker("one", mailer(t, "smtp://"+o.address, o)), 1)
		h.expectGivenUp(1)
		if m := h.only(identity.MessageGivenUp); !strings.Contains(m.LastError, "unknown user") {
			t.Errorf("last error %q", m.LastError)
		}
	})
}

func TestTwoWorkersSendEachMessageOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		const messages = 60
		for range messages {
			h.mail("ada@example.com")
		}
		var s counter
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 4 {
			w := h.worker(fmt.Sprint("node", i), &s)
			wg.Go(func() {
				<-start
				if _, err := w.RunOnce(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if s.n.Load() != messages || len(s.seen) != messages || len(h.list(identity.MessageSent)) != messages {
			t.Errorf("%d sendings of %d messages", s.n.Load(), len(s.seen))
		}
	})
}

func TestALateWorkerDoesNotOverwriteTheNext(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		h.mail("ada@example.com")
		var quick counter
		slow := &counter{fail: errors.New("too late")}
		slow.hold = func() { // the lease runs out, and another node takes over
			h.clock.Advance(3 * time.Minute)
			h.run(h.worker("quick", &quick), 1)
		}
		h.run(h.worker("slow", slow), 1)
		if m := h.only(identity.MessageSent); m.LastError != "" || quick.n.Load() != 1 {
			t.Errorf("%+v", m)
		}
	})
}

func TestWithoutAServerMessagesAreKept(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)

	h := build(t, storetest.SQLite(t))
	h.mail("ada@example.com")
	h.run(h.worker("one", nil), 1)
	m := h.only(identity.MessageSent)
	if !deliver.Kept(m) {
		t.Errorf("%+v", m)
	}
	if text := log.String(); !strings.Contains(text, "ada@example.com") || !strings.Contains(text, deliver.Code) || strings.Contains(text, "042137") {
		t.Errorf("log: %s", text)
	}
	_, hidden, err := h.outbox.Show(t.Context(), m.ID, false)
	if err != nil || hidden.Text != "" {
		t.Errorf("shown without being asked: %+v, %v", hidden, err)
	}
	_, c, err := h.outbox.Show(t.Context(), m.ID, true)
	if err != nil || !strings.Contains(c.Text, "042137") || c.Recipient != "ada@example.com" {
		t.Errorf("Show = %+v, %v", c, err)
	}
	if err := h.outbox.Retry(t.Context(), m.ID); err != nil { // a server was configured
		t.Fatal(err)
	}
	var s counter
	h.run(h.worker("one", &s), 1)
	if m := h.only(identity.MessageSent); deliver.Kept(m) || s.n.Load() != 1 {
		t.Errorf("%+v", m)
	}
}

func TestListPagesWithoutDecoys(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for i := range 25 {
			h.clock.Advance(time.Millisecond)
			if i%5 == 0 {
				h.mail(fmt.Sprintf("user%d@example.com", i))
			} else {
				h.mail("")
			}
		}
		var got []string
		for before := identity.MessageID(""); ; {
			page, err := h.outbox.List(t.Context(), "", before, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page {
				got, before = append(got, m.Recipient), m.ID
			}
			if len(page) < 2 {
				break
			}
		}
		want := "[user20@example.com user15@example.com user10@example.com user5@example.com user0@example.com]"
		if fmt.Sprint(got) != want {
			t.Errorf("listed %v", got)
		}
		for _, limit := range []int{0, -1, 1001} {
			if _, err := h.outbox.List(t.Context(), "", "", limit); !errors.Is(err, identity.Invalid) {
				t.Errorf("limit %d: %v", limit, err)
			}
		}
	})
}

func TestRunIsWokenAndStops(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	sent := make(chan struct{}, 1)
	s := &counter{hold: func() { sent <- struct{}{} }}
	w := h.worker("one", s)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	h.mail("ada@example.com")
	w.Notify()
	select {
	case <-sent:
	case <-time.After(10 * time.Second):
		t.Error("not sent")
	}
	stop()
	<-done
	if len(h.list(identity.MessageSent)) != 1 {
		t.Error("stopped without writing down what it had sent")
	}
}
