package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// notifyPause keeps notifications rare: a commit that carries one takes a lock of the whole database.
	notifyPause = 5 * time.Millisecond
	notifyLimit = 5 * time.Second
	// A listener that lost its connection tries again after listenPause, then twice that, up to listenPauseMax.
	listenPause    = 100 * time.Millisecond
	listenPauseMax = 5 * time.Second
)

// feed tells other nodes that the changes table has grown, and hears it from them. It is a hint: nodes also poll.
type feed struct {
	pool    *pgxpool.Pool
	config  *pgx.ConnConfig
	channel string

	grown chan struct{} // this node appended
	wake  chan struct{} // some node did
	ctx   context.Context
	end   context.CancelFunc
	once  sync.Once
	tasks sync.WaitGroup
}

func newFeed(pool *pgxpool.Pool, config *pgx.ConnConfig, schema string) *feed {
	name := fnv.New64a() // a channel belongs to the database, so each schema has its own
	_, _ = name.Write([]byte(schema))
	f := &feed{
		pool: pool, config: config, channel: fmt.Sprintf("gatehouse_%016x", name.Sum64()),
		grown: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	f.ctx, f.end = context.WithCancel(context.Background())
	f.tasks.Go(f.publish)
	return f
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is under way, and covers this
	}
}

func (f *feed) notify() { signal(f.grown) }

// publish sends one notification for all updates that ended meanwhile, in a transaction of its own.
func (f *feed) publish() {
	for {
		select {
		case <-f.grown:
			f.send()
		case <-f.ctx.Done():
			select {
			case <-f.grown: // a command that wrote and ends
				f.send()
			default:
			}
			return
		}
		select {
		case <-time.After(notifyPause):
		case <-f.ctx.Done():
		}
	}
}

func (f *feed) send() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), notifyLimit)
	defer cancel()
	_, _ = f.pool.Exec(ctx, `SELECT pg_notify($1, '')`, f.channel) // nodes that miss it poll
}

// listen starts to hear, the first time that somebody wants to know. The command line never does.
func (f *feed) listen() <-chan struct{} {
	f.once.Do(func() { f.tasks.Go(f.hear) })
	return f.wake
}

// hear keeps one connection that listens, and makes a new one when it goes.
func (f *feed) hear() {
	wait := listenPause
	for f.ctx.Err() == nil {
		if f.hearOnce() {
			wait = listenPause
		}
		select {
		case <-time.After(wait):
		case <-f.ctx.Done():
		}
		wait = min(2*wait, listenPauseMax)
	}
}

// hearOnce listens until the connection goes, and says whether there was one.
func (f *feed) hearOnce() bool {
	config := f.config.Copy()
	conn, err := pgx.ConnectConfig(f.ctx, config)
	if err != nil {
		return false
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(f.ctx, "LISTEN "+f.channel); err != nil {
		return false
	}
	for {
		signal(f.wake) // also at first: what was sent before was not heard
		if _, err := conn.WaitForNotification(f.ctx); err != nil {
			return true
		}
	}
}

func (f *feed) close() {
	f.end()
	f.tasks.Wait()
}
