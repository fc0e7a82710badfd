package deliver

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

const (
	workEvery = time.Second
	// gather keeps a burst of commits from asking the store for each.
	gather = 250 * time.Millisecond
	// claimed is how many messages one claim takes; all of them fit into the lease, however slow the server.
	claimed     = 8
	sendTimeout = 30 * time.Second
	leaseTTL    = 2 * time.Minute

	firstWait = 10 * time.Second
	longest   = time.Hour
	giveUp    = 24 * time.Hour
)

// Sender sends one message of a channel. ErrPermanent in its error says that trying again is of no use.
type Sender interface {
	Send(ctx context.Context, id identity.MessageID, at time.Time, c Content) error
}

// ErrPermanent marks a refusal that will be the same next time.
var ErrPermanent = errors.New("refused for good")

// Worker sends what is due. Every node runs one.
type Worker struct {
	Outbox  *Outbox
	Owner   string // of the leases; one for each process
	Senders map[identity.Channel]Sender
	Log     *audit.Log

	once sync.Once
	wake chan struct{}
}

func (w *Worker) signal() chan struct{} {
	w.once.Do(func() { w.wake = make(chan struct{}, 1) })
	return w.wake
}

// Notify says that this node has enqueued something. It never blocks.
func (w *Worker) Notify() {
	select {
	case w.signal() <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends; what is being sent then is finished.
func (w *Worker) Run(ctx context.Context) {
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	failing := false
	for {
		if _, err := w.RunOnce(ctx); err != nil && ctx.Err() == nil && !failing {
			logs.In(nil, logs.Delivery).ErrorContext(ctx, "outbox not worked on; will try again", "err", err)
			failing = true
		} else if err == nil {
			failing = false
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.signal():
			select {
			case <-ctx.Done():
				return
			case <-time.After(gather):
			}
		}
	}
}

// RunOnce sends all that is due, and says how many messages it has finished with, for now or for good.
func (w *Worker) RunOnce(ctx context.Context) (n int, err error) {
	for ctx.Err() == nil {
		messages, err := w.claim(ctx)
		if err != nil || len(messages) == 0 {
			return n, err
		}
		var wg sync.WaitGroup
		errs := make([]error, len(messages))
		for i, m := range messages {
			wg.Go(func() { errs[i] = w.deliver(ctx, m) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return n, err
		}
		n += len(messages)
	}
	return n, nil
}

func (w *Worker) claim(ctx context.Context) (messages []identity.Message, err error) {
	// Claiming writes; an idle outbox is only looked at.
	waiting := false
	err = w.Outbox.Store.View(ctx, func(r identity.Reader) error {
		rows, err := r.Messages(ctx, identity.MessageWaiting, "", 1)
		waiting = len(rows) > 0
		return err
	})
	if err != nil || !waiting {
		return nil, err
	}
	err = w.Outbox.Store.Update(ctx, func(tx identity.Tx) (err error) {
		messages, err = tx.ClaimMessages(ctx, w.Owner, w.Outbox.Now(), leaseTTL, claimed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim messages: %w", err)
	}
	return messages, nil
}

// deliver sends one claimed message and writes down how it went. A sending that has begun is not cut off when the node stops:
// its outcome would be unknown, and the message sent again.
func (w *Worker) deliver(ctx context.Context, m identity.Message) error {
	ctx = context.WithoutCancel(ctx)
	sendErr := w.send(ctx, m)
	now := w.Outbox.Now()
	m.Attempts++
	switch {
	case sendErr == nil:
		m.SentAt, m.LastError = now, ""
	case errors.Is(sendErr, errKept):
		m.SentAt, m.LastError = now, kept
	case errors.Is(sendErr, ErrPermanent) || now.Sub(m.CreatedAt) >= giveUp:
		m.GivenUpAt, m.LastError = now, oneLine(sendErr)
	default:
		m.NextAt, m.LastError = now.Add(pause(m, sendErr, now)), oneLine(sendErr)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var finished bool
	err := w.Outbox.Store.Update(ctx, func(tx identity.Tx) (err error) {
		if finished, err = tx.FinishMessage(ctx, m); err != nil || !finished || m.GivenUpAt.IsZero() {
			return err
		}
		return w.Log.Record(ctx, tx, identity.Caller{}, audit.Entry{
			Action: "outbox.give-up", Outcome: "failed", Reason: m.LastError,
			After: map[string]any{"message": m.ID, "template": m.Template, "recipient": m.Recipient, "attempts": m.Attempts},
		})
	})
	about := []any{"message", m.ID, "template", m.Template, "attempts", m.Attempts}
	switch {
	case err != nil:
		return fmt.Errorf("finish message %s: %w", m.ID, err)
	case !finished:
		logs.In(nil, logs.Delivery).WarnContext(ctx, "message outlived its lease; another node may send it too", about...)
	case !m.GivenUpAt.IsZero():
		logs.In(nil, logs.Delivery).ErrorContext(ctx, "message given up; see `gatehouse outbox list`", append(about, "err", m.LastError)...)
	case sendErr != nil && m.SentAt.IsZero():
		logs.In(nil, logs.Delivery).WarnContext(ctx, "message not sent; will try again", append(about, "err", m.LastError, "next", m.NextAt)...)
	}
	return nil
}

func (w *Worker) send(ctx context.Context, m identity.Message) error {
	if m.Recipient == "" {
		return nil // a decoy, see Outbox.Mail
	}
	c, err := w.Outbox.open(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if !c.Until.IsZero() && !w.Outbox.Now().Before(c.Until) {
		return fmt.Errorf("%w: too late, its code is no longer good", ErrPermanent)
	}
	sender := w.Senders[m.Channel]
	if sender == nil {
		sender = LogSender{}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return sender.Send(ctx, m.ID, m.CreatedAt, c)
}

// pause is wait, or longer where the other side asks for it.
func pause(m identity.Message, err error, now time.Time) time.Duration {
	d := wait(m)
	var asked *later
	if errors.As(err, &asked) {
		d = min(max(d, asked.wait(now)), max(d, longest))
	}
	return d
}

// wait triples from ten seconds to an hour, give or take a fifth by the message's id, so that what failed together does not
// come back together.
func wait(m identity.Message) time.Duration {
	d := firstWait
	for range m.Attempts - 1 {
		if d *= 3; d >= longest {
			d = longest
			break
		}
	}
	spread := fnv.New32a()
	_, _ = spread.Write([]byte(m.ID))
	return d*4/5 + d*2/5*time.Duration(spread.Sum32()%1000)/1000
}

// LogSender stands in for a channel without a server: it logs that there is a message, and not what it says. The message is
// kept for `gatehouse outbox`.
type LogSender struct{}

// Send logs.
func (LogSender) Send(ctx context.Context, id identity.MessageID, _ time.Time, c Content) error {
	logs.In(nil, logs.Delivery).InfoContext(ctx, "message kept in the outbox: no server is configured for its channel",
		"channel", c.Channel, "recipient", c.Recipient, "template", c.Template, "message", id)
	return errKept
}
