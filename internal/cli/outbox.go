package cli

import (
	"fmt"
	"strconv"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
)

type outboxCmd struct {
	List  outboxListCmd  `cmd:"" default:"withargs" help:"List messages, newest first."`
	Show  outboxShowCmd  `cmd:"" help:"Show one; with --reveal what it says, links and codes included."`
	Retry outboxRetryCmd `cmd:"" help:"Send one again that was given up or kept here."`
}

type messageJSON struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"`
	Template  string `json:"template"`
	State     string `json:"state"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error,omitempty"`
	CreatedAt string `json:"created_at"`
	NextAt    string `json:"next_at,omitempty"`
	SentAt    string `json:"sent_at,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Text      string `json:"text,omitempty"`
}

// stateKept is of a message that nobody sends, because its channel leads nowhere yet.
const stateKept = "kept"

func messageObject(m identity.Message) messageJSON {
	out := messageJSON{
		ID: string(m.ID), Channel: string(m.Channel), Recipient: m.Recipient, Template: m.Template, State: string(identity.MessageWaiting),
		Attempts: m.Attempts, LastError: m.LastError, CreatedAt: when(m.CreatedAt),
	}
	switch {
	case deliver.Kept(m):
		out.State = stateKept
	case !m.SentAt.IsZero():
		out.State, out.SentAt = string(identity.MessageSent), when(m.SentAt)
	case !m.GivenUpAt.IsZero():
		out.State = string(identity.MessageGivenUp)
	default:
		out.NextAt = when(m.NextAt)
	}
	return out
}

type outboxListCmd struct {
	State string `help:"Only those that are waiting, kept, sent or given-up." enum:",waiting,kept,sent,given-up" default:"" placeholder:"STATE"`
	Limit int    `help:"At most this many." default:"100" placeholder:"N"`
	listFlags
}

func (c *outboxListCmd) Run(e *environment) error {
	if c.Limit < 1 {
		return misuse{fmt.Errorf("--limit must be at least 1")}
	}
	state := identity.MessageState(c.State)
	if c.State == stateKept { // in the store it is one that needs no more sending
		state = identity.MessageSent
	}
	return e.with(func(h *app.House) error {
		t := newTable(e.Out, c.JSON, "ID", "CHANNEL", "TO", "ABOUT", "STATE", "TRIES", "MADE", "LAST ERROR")
		before := identity.MessageID("")
		for left := c.Limit; ; {
			list, err := h.Outbox.List(e.ctx, state, before, page)
			if err != nil {
				return t.end(err)
			}
			for _, m := range list {
				before = m.ID
				o := messageObject(m)
				if c.State != "" && o.State != c.State {
					continue
				}
				t.row(o, o.ID, o.Channel, o.Recipient, o.Template, o.State, strconv.Itoa(o.Attempts), o.CreatedAt, o.LastError)
				if left--; left == 0 {
					return t.end(nil)
				}
			}
			if len(list) < page {
				return t.end(nil)
			}
		}
	})
}

type outboxShowCmd struct {
	ID     string `arg:"" help:"Its id."`
	Reveal bool   `help:"What it says too: whoever sees a link or code can use it."`
	jsonFlag
}

func (c *outboxShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		m, content, err := h.Outbox.Show(e.ctx, identity.MessageID(c.ID), c.Reveal)
		if err != nil {
			return noMessage(c.ID, err)
		}
		if c.Reveal { // before she sees it: a link lets her in as somebody else
			if err := e.record(h, messageEntry("outbox.reveal", m.ID)); err != nil {
				return err
			}
		}
		o := messageObject(m)
		o.Subject, o.Text = content.Subject, content.Text
		if c.JSON {
			return object(e.Out, o)
		}
		t := newTable(e.Out, false, "message", o.ID)
		t.row(nil, "to", o.Recipient+" ("+o.Channel+")")
		t.row(nil, "about", o.Template)
		t.row(nil, "state", o.State)
		t.row(nil, "tries", strconv.Itoa(o.Attempts))
		t.row(nil, "made", o.CreatedAt)
		if o.SentAt != "" {
			t.row(nil, "sent", o.SentAt)
		}
		if o.NextAt != "" {
			t.row(nil, "next try", o.NextAt)
		}
		if o.LastError != "" {
			t.row(nil, "last error", o.LastError)
		}
		if err := t.end(nil); err != nil || !c.Reveal {
			return err
		}
		var text strings.Builder
		fmt.Fprintf(&text, "\n%s\n\n", audit.Line(o.Subject, 1000))
		for line := range strings.Lines(o.Text) {
			fmt.Fprintln(&text, audit.Line(strings.TrimRight(line, "\r\n"), 4000))
		}
		_, err = fmt.Fprint(e.Out, text.String())
		return err
	})
}

func messageEntry(action string, id identity.MessageID) audit.Entry {
	return audit.Entry{Action: action, After: map[string]identity.MessageID{"message": id}}
}

func noMessage(id string, err error) error {
	if identity.KindOf(err) == identity.NotFound {
		return identity.NotFound.Because(fmt.Sprintf("the outbox has no message %q; `gatehouse outbox list` shows what it has", id))
	}
	return err
}

type outboxRetryCmd struct {
	ID string `arg:"" help:"Its id."`
	jsonFlag
}

func (c *outboxRetryCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		id := identity.MessageID(c.ID)
		if err := h.Outbox.Retry(e.ctx, id); err != nil {
			return noMessage(c.ID, err)
		}
		if err := e.record(h, messageEntry("outbox.retry", id)); err != nil {
			return err
		}
		if c.JSON {
			m, _, err := h.Outbox.Show(e.ctx, id, false)
			if err != nil {
				return err
			}
			return object(e.Out, messageObject(m))
		}
		return say(e, "message "+c.ID+" is due now; a serving node sends it")
	})
}
