package sqlite

import (
	"context"
	"errors"
	"sync"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

// readers are the connections that read: as many as the machine can keep busy, opened when first needed, the last used
// taken first because its cache is warm.
type readers struct {
	dial  func(context.Context) (*conn, error)
	slots chan struct{} // held by each view

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func (p *readers) take(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, identity.Unavailable.Wrap(context.Cause(ctx))
		}
	}
	p.mu.Lock()
	closed := p.closed
	var c *conn
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	var err error
	switch {
	case closed:
		err = errClosed
	case c == nil:
		if c, err = p.dial(ctx); err != nil {
			err = translate(err)
		}
	}
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// put gives a connection back; one that is not to be used again is closed.
func (p *readers) put(c *conn, good bool) {
	p.mu.Lock()
	if good = good && !p.closed; good {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !good {
		_ = c.close()
	}
	<-p.slots
}

func (p *readers) view(ctx context.Context, read func(sqlstore.Querier) error) error {
	if err := ctx.Err(); err != nil {
		return identity.Unavailable.Wrap(err)
	}
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	good := false
	defer func() { p.put(c, good) }() // also when read panics: its transaction ends with the connection
	if _, err := c.exec("BEGIN"); err != nil {
		return translate(err)
	}
	t := transaction{conn: c}
	err = read(&t)
	t.conn = nil
	if err == nil {
		err = t.failed
	}
	if _, undo := c.exec("ROLLBACK"); undo != nil {
		return errors.Join(err, translate(undo))
	}
	good = true
	return err
}

func (p *readers) close() error {
	for range cap(p.slots) { // until the last view is over
		p.slots <- struct{}{}
	}
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for range cap(p.slots) {
		<-p.slots
	}
	var err error
	for _, c := range idle {
		err = errors.Join(err, c.close())
	}
	return err
}
