package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	sqlite3 "modernc.org/sqlite/lib"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

const (
	// groupSize bounds what one commit carries, and so how long the first of a group waits for it: some milliseconds.
	groupSize = 256
	// queueSize bounds how many updates wait for the writer; more wait in their callers.
	queueSize = 1024
)

var (
	errClosed = identity.Unavailable.Wrap(errors.New("the store is closed"))
	errExited = errors.New("update function ended its goroutine")
)

// update is a caller's function on its way through the writer.
type update struct {
	ctx      context.Context
	run      func(sqlstore.Querier) error
	state    atomic.Int32
	done     chan struct{}
	err      error
	panicked *panicked
}

// An update waits until either the writer takes it or its caller leaves; from then on the other side must not touch it.
const (
	waiting int32 = iota
	taken
	left
)

// panicked carries a panic from the writer back to the caller whose function it was.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic in update: %v\n%s", p.value, p.stack) }

var updates = sync.Pool{New: func() any { return &update{done: make(chan struct{}, 1)} }}

// writer owns the one connection that writes. It takes whatever updates wait, runs them one after another in one
// transaction, commits once, and then answers all: the disk is waited for once a group and not once an update.
type writer struct {
	dial    func(context.Context) (*conn, error)
	conn    *conn // nil: to be dialled again
	turn    turn
	queue   chan *update
	closing chan struct{}
	stopped chan struct{}

	group   []*update // run in the open transaction, to be answered after its commit
	open    bool      // a transaction is open
	again   []*update // lost their transaction through no fault of theirs
	careful bool      // one of the group has failed after it had written: the rest get savepoints
	exited  *update   // whose function runs now, or ended the goroutine under it

	wrote  func(updates int) // told after each commit
	finish chan struct{}     // asks for the rest of a checkpoint between two groups
	rest   func(*conn)       // does it
}

// update hands a function to the writer and waits for its commit.
func (w *writer) update(ctx context.Context, run func(sqlstore.Querier) error) error {
	u := updates.Get().(*update)
	u.ctx, u.run, u.err, u.panicked = ctx, run, nil, nil
	u.state.Store(waiting)
	select {
	case w.queue <- u:
	case <-ctx.Done():
		return identity.Unavailable.Wrap(context.Cause(ctx))
	case <-w.closing:
		return errClosed
	}
	select {
	case <-u.done:
	case <-ctx.Done():
		if u.state.CompareAndSwap(waiting, left) {
			return identity.Unavailable.Wrap(context.Cause(ctx)) // the writer drops it
		}
		<-u.done // it is running: its variables belong to the writer until it answers
	case <-w.stopped:
		select {
		case <-u.done:
		default:
			return errClosed
		}
	}
	err, p := u.err, u.panicked
	u.ctx, u.run = nil, nil
	updates.Put(u)
	if p != nil {
		panic(p)
	}
	return err
}

func (u *update) answer(err error) {
	u.err = err
	u.done <- struct{}{}
}

// loop is the writer's life.
func (w *writer) loop() {
	finished := false
	defer func() {
		if finished {
			close(w.stopped)
			return
		}
		// A function ended this goroutine (runtime.Goexit, as testing's FailNow does). Its neighbours run again on a new one.
		w.undo()
		w.exited.answer(errExited)
		go w.loop()
	}()
	closing := w.closing
	for {
		if len(w.again) > 0 {
			w.commitGroup(w.next())
			continue
		}
		if closing == nil { // what was accepted is finished
			u := w.next()
			if u == nil {
				finished = true
				return
			}
			w.commitGroup(u)
			continue
		}
		select {
		case u := <-w.queue:
			w.commitGroup(u)
		case <-w.finish:
			if w.conn != nil {
				w.rest(w.conn)
			}
		case <-closing:
			closing = nil
		}
	}
}

// next gives an update that waits, nil if there is none: first those that waited before.
func (w *writer) next() (u *update) {
	if len(w.again) > 0 {
		u, w.again = w.again[0], w.again[1:]
		return u
	}
	select {
	case u = <-w.queue:
	default:
	}
	return u
}

// commitGroup runs the first update and those that wait behind it, and commits them together.
func (w *writer) commitGroup(first *update) {
	for u := first; u != nil; {
		if u.state.Load() == taken || u.state.CompareAndSwap(waiting, taken) {
			if err := u.ctx.Err(); err != nil {
				u.answer(identity.Unavailable.Wrap(err))
			} else if !w.run(u) {
				break
			}
		}
		u = nil
		if len(w.group) < groupSize {
			u = w.next()
		}
	}
	w.careful = false
	if len(w.group) == 0 {
		w.rollback() // of nothing: nobody wrote
		return
	}
	if _, err := w.conn.exec("COMMIT"); err != nil {
		w.abandon(translate(err))
		return
	}
	w.open = false
	for i, u := range w.group {
		w.group[i] = nil
		u.answer(nil)
	}
	w.wrote(len(w.group))
	w.group = w.group[:0]
}

// run runs one update inside the open transaction, opening it if need be. It reports false if the whole group is lost.
//
// Most updates succeed, and most that fail do so before they write: a savepoint for each would be work for nothing. The few others
// take the group's transaction with them, whose updates then run once more, with savepoints.
func (w *writer) run(u *update) bool {
	if !w.open {
		if err := w.begin(); err != nil {
			u.answer(err)
			return false
		}
	}
	saved := w.careful && len(w.group) > 0
	if saved {
		if _, err := w.conn.exec("SAVEPOINT u"); err != nil {
			w.group = append(w.group, u)
			w.abandon(translate(err))
			return false
		}
	}
	t := transaction{conn: w.conn}
	err := w.call(u, &t)
	t.conn = nil
	if err == nil {
		err = t.failed
	}
	if late := u.ctx.Err(); err == nil && late != nil {
		err = identity.Unavailable.Wrap(late) // whoever asked was told so by now, or will be
	}
	if t.failed != nil && broken(t.failed) {
		w.group = append(w.group, u)
		w.abandon(t.failed)
		return false
	}
	if err == nil {
		w.group = append(w.group, u)
	} else if t.wrote && !saved {
		w.undo()
		w.careful = true
	}
	if saved {
		if undo := w.release(err != nil && t.wrote); undo != nil {
			w.abandon(translate(undo))
			if err != nil {
				u.answer(err)
			}
			return false
		}
	}
	if err != nil {
		u.answer(err)
	}
	return true
}

// release forgets the savepoint, and what was written since, if it failed.
func (w *writer) release(failed bool) error {
	if failed {
		if _, err := w.conn.exec("ROLLBACK TO u"); err != nil {
			return err
		}
	}
	_, err := w.conn.exec("RELEASE u")
	return err
}

// undo gives up the transaction; those of the group are to run again.
func (w *writer) undo() {
	w.rollback()
	w.again = append(slices.Clone(w.group), w.again...)
	clear(w.group)
	w.group = w.group[:0]
}

// call runs the function and keeps a panic for its caller.
func (w *writer) call(u *update, t *transaction) (err error) {
	returned := false
	w.exited = u
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			u.panicked = &panicked{v, debug.Stack()}
			err = u.panicked
		}
		// Otherwise the goroutine is ending; loop sees to it.
	}()
	err = u.run(t)
	returned = true
	return err
}

// begin opens a transaction. Another process that is writing is waited for, as long as busy_timeout says.
func (w *writer) begin() error {
	if w.conn == nil {
		c, err := w.dial(context.Background())
		if err != nil {
			return translate(err)
		}
		w.conn = c
	}
	release := w.turn.take()
	_, err := w.conn.exec("BEGIN IMMEDIATE")
	release()
	if err != nil {
		return translate(err)
	}
	w.open = true
	return nil
}

// rollback gives the transaction up. A connection that cannot even do that is replaced.
func (w *writer) rollback() {
	if !w.open {
		return
	}
	w.open = false
	// After an error that made SQLite roll back by itself there is no transaction, and ROLLBACK says so (SQLITE_ERROR).
	if _, err := w.conn.exec("ROLLBACK"); err != nil && codeOf(err) != sqlite3.SQLITE_ERROR {
		_ = w.conn.close()
		w.conn = nil
	}
}

// abandon loses the whole group to an error of the database.
func (w *writer) abandon(err error) {
	w.rollback()
	for i, u := range w.group {
		w.group[i] = nil
		u.answer(err)
	}
	w.group = w.group[:0]
}
