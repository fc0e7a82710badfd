package cli

import (
	"fmt"
	"strconv"

	"gatehouse/internal/app"
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

func messageObject(m identity.Message) messageJSON {
	out := messageJSON{
		ID: string(m.ID), Channel: string(m.Channel), Recipient: m.Recipient, Template: m.Template, State: "waiting", Attempts: m.Attempts,
		LastError: m.LastError, CreatedAt: when(m.CreatedAt), SentAt: when(m.SentAt), NextAt: when(m.NextAt),
	}
	switch {
	case deliver.Kept(m):
		out.State, out.SentAt = "kept", ""
	case !m.SentAt.IsZero():
		out.State = "sent"
	case !m.GivenUpAt.IsZero():
		out.State = "given-up"
	}
	return out
}

type outboxListCmd struct {
	listFlags
	State string `help:"Only those that are waiting, sent or given-up." enum:",waiting,sent,given-up" default:""`
	Limit int    `help:"At most this many." default:"100"`
}

func (c *outboxListCmd) Run(e *environment) error {
	if c.Limit < 1 {
		return misuse{fmt.Errorf("--limit must be at least 1")}
	}
	return e.with(func(h *app.House) error {
		list, err := h.Outbox.List(e.ctx, identity.MessageState(c.State), "", c.Limit)
		if err != nil {
			return err
		}
		t := newTable(e.Out, c.JSON, "ID", "CHANNEL", "TO", "ABOUT", "STATE", "TRIES", "MADE", "LAST ERROR")
		defer t.end()
		for _, m := range list {
			o := messageObject(m)
			t.row(o, o.ID, o.Channel, o.Recipient, o.Template, o.State, strconv.Itoa(o.Attempts), o.CreatedAt, o.LastError)
		}
		return nil
	})
}

type outboxShowCmd struct {
	ID     string `arg:"" help:"Its id."`
	Reveal bool   `help:"What it says too: whoever sees a link or code can use it."`
}

func (c *outboxShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		m, content, err := h.Outbox.Show(e.ctx, identity.MessageID(c.ID), c.Reveal)
		if err != nil {
			return err
		}
		o := messageObject(m)
		o.Subject, o.Text = content.Subject, content.Text
		return object(e.Out, o)
	})
}

type outboxRetryCmd struct {
	ID string `arg:"" help:"Its id."`
}

func (c *outboxRetryCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error { return h.Outbox.Retry(e.ctx, identity.MessageID(c.ID)) })
}
