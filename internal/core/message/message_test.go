package message_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/message"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

type house struct {
	*coretest.Core
	*message.Service
	outbox *deliver.Outbox
	t      *testing.T
}

func newHouse(t *testing.T, store identity.Store) *house {
	t.Helper()
	c := coretest.New(t, store)
	outbox := &deliver.Outbox{Store: store, Box: c.Box, Templates: deliver.BuiltIn(), Bounds: deliver.DefaultSMSBounds, Now: c.Clock.Now, Rand: c.SignIn.Rand}
	words := staff.Words{Door: coretest.Door, Read: func(s *identity.Subject) (f staff.Facts) {
		_ = json.Unmarshal(s.Attributes[coretest.Door], &f) // nothing there: no facts
		return f
	}}
	return &house{Core: c, outbox: outbox, t: t, Service: &message.Service{
		Store: store, Staff: &staff.Service{Store: store, Words: words, Now: c.Clock.Now}, Outbox: outbox, Log: c.Passwords.Log, Mails: true, Texts: true, Now: c.Clock.Now,
	}}
}

func (h *house) person(role staff.Role) staff.By {
	h.t.Helper()
	s := h.Person(func(s *identity.Subject, _ *identity.Credential) {
		s.Superadmin = role == staff.Root
		s.Attributes = identity.Attributes{coretest.Door: []byte(`{"Role":"` + string(role) + `"}`)}
	})
	by := staff.By{Caller: coretest.Caller(coretest.Door)}
	by.SubjectID, by.ActorID = s.ID, s.ID
	return by
}

// queued gives what waits in the outbox.
func (h *house) queued() (all []deliver.Content) {
	h.t.Helper()
	rows, err := h.outbox.List(h.t.Context(), "", "", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range rows {
		_, c, err := h.outbox.Show(h.t.Context(), m.ID, true)
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// recorded counts rows of the audit log by outcome.
func (h *house) recorded() map[string]int {
	n := map[string]int{}
	h.View(func(r identity.Reader) error {
		events, err := r.Events(h.t.Context(), identity.EventFilter{Limit: 1000})
		for _, e := range events {
			if e.Action == "message.send" {
				n[e.Outcome]++
			}
		}
		return err
	})
	return n
}

func note(to ...string) message.Mail {
	return message.Mail{From: "noc@example.test", Subject: "Works", Text: "It works.\n", Recipients: to}
}

// text is an SMS to one of a thousand numbers.
func text(n int) message.SMS {
	return message.SMS{To: fmt.Sprintf("+1514555%04d", 200+n), Text: "It works."}
}

func TestWhoMaySend(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		for _, role := range staff.Roles() {
			var want error = identity.Denied
			if role == staff.Root || role == staff.Partner || role == staff.Admin {
				want = nil
			}
			before := len(h.queued())
			if err := h.Mail(t.Context(), h.person(role), note("a@example.test", "b@example.test", "A@example.test")); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", role, err, want)
			}
			if sent := len(h.queued()) - before; (sent == 2) != (want == nil) || sent == 1 {
				t.Errorf("%s queued %d mails", role, sent)
			}
		}
		service := staff.By{Caller: coretest.Caller(coretest.Door), Service: true}
		if err := h.Mail(t.Context(), service, note("a@example.test")); err != nil {
			t.Errorf("another service: %v", err)
		}
		c := h.queued()[0]
		if c.From != "" || c.ReplyTo != "noc@example.test" || c.Subject != "Works" || c.Text != "It works.\n" {
			t.Errorf("queued %+v: the sender is not the house's", c)
		}
		if got := h.recorded(); got[audit.OK] != 4 {
			t.Errorf("recorded %v", got)
		}
		before := len(h.queued())
		for _, role := range staff.Roles() {
			may := role == staff.Root || role == staff.Partner || role == staff.Admin
			if err := h.Service.SMS(t.Context(), h.person(role), text(len(h.queued()))); (err == nil) != may || !may && !errors.Is(err, identity.Denied) {
				t.Errorf("SMS by %s: %v", role, err)
			}
		}
		if err := h.Service.SMS(t.Context(), service, message.SMS{To: "+1 (514) 555-0100", Text: "It works.\n"}); err != nil {
			t.Errorf("SMS by another service: %v", err)
		}
		all := h.queued()
		if sent := len(all) - before; sent != 4 {
			t.Errorf("%d SMS are queued, want 4", sent)
		}
		if !slices.ContainsFunc(all, func(c deliver.Content) bool {
			return c.Channel == identity.SMS && c.Recipient == "+15145550100" && c.Text == "It works.\n" && c.From == "" && c.Until.IsZero()
		}) {
			t.Errorf("queued %+v", all)
		}
		if got := h.recorded(); got[audit.OK] != 8 {
			t.Errorf("recorded %v", got)
		}
		h.Texts = false
		if err := h.Service.SMS(t.Context(), service, text(0)); !errors.Is(err, phone.ErrShut) {
			t.Errorf("without a gateway: %v", err)
		}
		h.Mails = false
		if err := h.Mail(t.Context(), service, note("a@example.test")); !errors.Is(err, message.Off) || !errors.Is(err, identity.Unavailable) {
			t.Errorf("without a mail server: %v", err)
		}
	})
}

func TestWhatIsNoMail(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		root := h.person(staff.Root)
		many := make([]string, 51)
		for i := range many {
			many[i] = fmt.Sprintf("p%d@example.test", i)
		}
		tests := []struct {
			field string
			spoil func(*message.Mail)
		}{
			{message.FieldFrom, func(m *message.Mail) { m.From = "" }},
			{message.FieldFrom, func(m *message.Mail) { m.From = "NOC <noc@example.test>" }},
			{message.FieldFrom, func(m *message.Mail) { m.From = "noc@example.test\r\nBcc: all@example.test" }},
			{message.FieldSubject, func(m *message.Mail) { m.Subject = " \t" }},
			{message.FieldSubject, func(m *message.Mail) { m.Subject = "x\nBcc: all@example.test" }},
			{message.FieldSubject, func(m *message.Mail) { m.Subject = "x\u2028y" }},
			{message.FieldSubject, func(m *message.Mail) { m.Subject = strings.Repeat("x", 201) }},
			{message.FieldText, func(m *message.Mail) { m.Text = "" }},
			{message.FieldText, func(m *message.Mail) { m.Text = "a\x00b" }},
			{message.FieldText, func(m *message.Mail) { m.Text = strings.Repeat("x", 32<<10+1) }},
			{message.FieldRecipients, func(m *message.Mail) { m.Recipients = nil }},
			{message.FieldRecipients, func(m *message.Mail) { m.Recipients = many }},
			{message.FieldRecipients, func(m *message.Mail) { m.Recipients = []string{"a@example.test", "nobody"} }},
			{message.FieldRecipients, func(m *message.Mail) { m.Recipients = []string{"a@example.test, b@example.test"} }},
			{message.FieldRecipients, func(m *message.Mail) { m.Recipients = []string{"a@example.test\r\nRCPT TO:<b@example.test>"} }},
		}
		for _, tt := range tests {
			m := note("a@example.test")
			tt.spoil(&m)
			err := h.Mail(t.Context(), root, m)
			if !errors.Is(err, identity.Invalid) || identity.Describe(err).Field != tt.field {
				t.Errorf("%+.80v: %v, want Invalid of %s", m, err, tt.field)
			}
		}
		for field, m := range map[string][]message.SMS{
			message.FieldNumber: {{To: "", Text: "x"}, {To: "15145550100", Text: "x"}, {To: "+1 900 555 0100", Text: "x"}, {To: "+15145550100,+15145550101", Text: "x"}},
			message.FieldText:   {{To: "+15145550100"}, {To: "+15145550100", Text: " \n"}, {To: "+15145550100", Text: "a\x00b"}, {To: "+15145550100", Text: strings.Repeat("ü", 1601)}},
		} {
			for _, in := range m {
				if err := h.Service.SMS(t.Context(), root, in); !errors.Is(err, identity.Invalid) || identity.Describe(err).Field != field {
					t.Errorf("%+.80v: %v, want Invalid of %s", in, err, field)
				}
			}
		}
		if all := h.queued(); len(all) != 0 {
			t.Errorf("refused, and queued: %+v", all)
		}
	})
}

// However it is spread over calls and sessions, one person sends so many in an hour, and she takes nothing from others.
func TestSendingIsBounded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		thief, other := h.person(staff.Admin), h.person(staff.Admin)
		batch := make([]string, 50)
		for i := range batch {
			batch[i] = fmt.Sprintf("p%d@example.test", i)
		}
		for range 4 {
			if err := h.Mail(t.Context(), thief, note(batch...)); err != nil {
				t.Fatal(err)
			}
		}
		err := h.Mail(t.Context(), thief, note(batch[:2]...))
		if !errors.Is(err, identity.Throttled) || identity.Describe(err).RetryAfter <= 0 {
			t.Errorf("the 201st mail: %v", err)
		}
		if n := len(h.queued()); n != 200 {
			t.Errorf("%d mails are queued, want 200", n)
		}
		if err := h.Mail(t.Context(), other, note(batch[0])); err != nil {
			t.Errorf("another administrator: %v", err)
		}
		if got := h.recorded(); got[identity.Throttled.Error()] != 1 {
			t.Errorf("the refusal is not recorded: %v", got)
		}
		h.Clock.Advance(time.Hour)
		if err := h.Mail(t.Context(), thief, note(batch[0])); err != nil {
			t.Errorf("an hour later: %v", err)
		}
		if !slices.ContainsFunc(h.queued(), func(c deliver.Content) bool { return c.Recipient == batch[0] }) {
			t.Error("nothing was queued")
		}
	})
}

// SMS cost money: one person sends so many in an hour, however many at once; one number gets so many, whoever sends; and what is
// written here takes no number's codes.
func TestTextingIsBounded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		thief, other := h.person(staff.Admin), h.person(staff.Admin)
		throttled := func(err error) bool {
			t.Helper()
			if e := identity.Describe(err); err != nil && (e.Kind != identity.Throttled || e.RetryAfter <= 0 || e.RetryAfter > time.Hour) {
				t.Errorf("refused with %v after %v", err, e.RetryAfter)
			}
			return err != nil
		}
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := range 4 {
					throttled(h.Service.SMS(t.Context(), thief, text(4*i+j)))
				}
			})
		}
		wg.Wait()
		if n := len(h.queued()); n != 50 {
			t.Errorf("%d SMS are queued, want 50", n)
		}
		if got := h.recorded(); got[audit.OK] != 50 || got[identity.Throttled.Error()] != 14 {
			t.Errorf("recorded %v", got)
		}
		if err := h.Mail(t.Context(), thief, note("a@example.test")); err != nil {
			t.Errorf("a mail: %v", err)
		}
		for i := range 7 {
			if throttled(h.Service.SMS(t.Context(), other, text(900))) != (i >= 5) {
				t.Errorf("SMS %d to one number", i)
			}
		}
		h.Update(func(tx identity.Tx) error {
			return h.outbox.SMS(t.Context(), tx, text(900).To, "phone-verification", "", map[string]string{"code": "041877", "minutes": "5"})
		})
		h.Clock.Advance(time.Hour)
		if throttled(h.Service.SMS(t.Context(), thief, text(900))) {
			t.Error("refused an hour later")
		}
	})
}
