// Package postgres keeps the house in PostgreSQL 15 or newer, so that several nodes without state of their own can serve it.
//
// It needs an ordinary role that owns one schema: no superuser, no extension. Updates are serializable and run again when
// PostgreSQL finds that they were not; that is what lets the core look and then write in one transaction on both engines.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations are the numbered steps of this engine's schema.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}

// Options say how to open a store.
type Options struct {
	URL       string // postgres://…; its pool_max_conns and search_path are heeded
	NoMigrate bool   // refuse a schema that is behind, instead of bringing it up to date
}

const (
	oldestVersion  = 150000
	connectTimeout = 10 * time.Second
	// The planner likes to scan small tables whole. Under serializable isolation that reads every row, so that strangers'
	// writes collide; an index reads what was asked for.
	beginUpdate = "begin isolation level serializable; set local enable_seqscan = off"
	beginView   = "begin isolation level repeatable read read only; set local enable_seqscan = off"
)

// Open gives the store at a URL, its schema up to date. Its errors are one line for the operator.
func Open(ctx context.Context, o Options) (*sqlstore.Store, error) {
	e, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	return sqlstore.New(e), nil
}

var errClosed = identity.Unavailable.Wrap(errors.New("the store is closed"))

// engine is sqlstore.Engine on a pool of connections.
type engine struct {
	pool   *pgxpool.Pool
	config *pgx.ConnConfig
	feed   *feed
	// patient is held by an update that keeps losing: on each node one such runs at a time, so that losers do not also
	// fight each other.
	patient chan struct{}
	turns   atomic.Uint64
	closing sync.Once
	closed  atomic.Bool
}

var _ sqlstore.Engine = (*engine)(nil)

func open(ctx context.Context, o Options) (*engine, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("GATEHOUSE_DATABASE is not a PostgreSQL URL: write postgres://user:password@host:5432/database") // err would show the URL and its password
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	// As many connections stay open as may be opened: making one costs more than a transaction.
	if !strings.Contains(o.URL, "pool_max_conns=") {
		config.MaxConns = max(16, 4*int32(runtime.GOMAXPROCS(0)))
	}
	config.MaxConnIdleTime = time.Hour
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "gatehouse"
	}
	config.AfterConnect = interpret
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, unreachable(config.ConnConfig, err)
	}
	e := &engine{pool: pool, config: config.ConnConfig, patient: make(chan struct{}, 1)}
	schema, err := e.greet(ctx)
	if err == nil {
		err = e.migrate(ctx, schema, o.NoMigrate)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	e.feed = newFeed(pool, config.ConnConfig, schema)
	return e, nil
}

// interpret has the server run plans as they are. A plan with a scan that is off counts as very expensive, so that the server would
// compile it, which takes longer than running it. What is no PostgreSQL may not know the setting.
func interpret(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "set jit = off")
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == undefinedObject {
		return nil
	}
	return err
}

func unreachable(config *pgx.ConnConfig, err error) error {
	// pgx gives each address of a host a line of its own.
	cause := strings.Join(strings.Fields(err.Error()), " ")
	return fmt.Errorf("PostgreSQL at %s:%d cannot be used: see that it runs and that GATEHOUSE_DATABASE names it rightly (%s)",
		config.Host, config.Port, cause)
}

// greet sees that the server answers, is new enough, and has a schema to work in.
func (e *engine) greet(ctx context.Context) (schema string, err error) {
	var found *string
	var version int
	err = e.pool.QueryRow(ctx, `SELECT current_schema(), CAST(current_setting('server_version_num') AS INTEGER)`).Scan(&found, &version)
	switch {
	case err != nil:
		return "", unreachable(e.config, err)
	case version < oldestVersion:
		return "", fmt.Errorf("PostgreSQL %d at %s is too old: Gatehouse needs version 15 or newer", version/10000, e.config.Host)
	case found == nil:
		return "", fmt.Errorf("none of the schemas in search_path exists in database %s: create one, or correct GATEHOUSE_DATABASE", e.config.Database)
	}
	return *found, nil
}

// View reads one snapshot.
func (e *engine) View(ctx context.Context, read func(sqlstore.Querier) error) error {
	for lost := 0; ; lost++ {
		err, again := e.run(ctx, beginView, read)
		if !again || lost == maxLost {
			return err
		}
	}
}

const (
	// maxClashes is how often an update runs when others keep changing what it read.
	maxClashes = 40
	// maxLost is how often a transaction is begun anew after its connection went: once for a pool whose every connection
	// died with the server, and once more.
	maxLost  = 2
	maxPause = 50 * time.Millisecond
)

// Update runs write until PostgreSQL can put it in line with all the others.
func (e *engine) Update(ctx context.Context, write func(sqlstore.Querier) error) error {
	clashes, lost, patient := 0, 0, false
	for {
		err, again := e.run(ctx, beginUpdate, write)
		if !again {
			return err
		}
		if clash(err) {
			clashes++
		} else {
			lost++
		}
		if clashes > maxClashes || lost > maxLost {
			return identity.Unavailable.Wrap(err)
		}
		if clashes >= 2 && !patient {
			select {
			case e.patient <- struct{}{}:
				patient = true
				defer func() { <-e.patient }()
			case <-ctx.Done():
				return identity.Unavailable.Wrap(context.Cause(ctx))
			}
		}
		if err := e.pause(ctx, clashes); err != nil {
			return identity.Unavailable.Wrap(err)
		}
	}
}

// run runs one transaction once. It says whether the same may be tried again: nothing of it was committed, and the
// reason may pass.
func (e *engine) run(ctx context.Context, begin string, do func(sqlstore.Querier) error) (err error, again bool) {
	if e.closed.Load() {
		return errClosed, false
	}
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		if e.closed.Load() {
			return errClosed, false
		}
		return translate(err), false
	}
	defer conn.Release()
	pgTx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		if gone(err) && ctx.Err() == nil {
			e.pool.Reset() // the others died with it
			return translate(err), true
		}
		return translate(err), false
	}
	t := &transaction{tx: pgTx}
	over := false
	defer func() {
		if !over { // do failed or panicked
			_ = pgTx.Rollback(context.WithoutCancel(ctx))
		}
		t.tx = nil
	}()
	err = do(t)
	if t.failed != nil {
		if clash(t.failed) || (gone(t.failed) && ctx.Err() == nil) {
			return t.failed, true
		}
		if err == nil {
			err = t.failed
		}
	}
	if err != nil {
		return err, false
	}
	over = true
	if err := pgTx.Commit(ctx); err != nil {
		// A connection that goes now leaves it open whether the server committed, so that is never tried again.
		return translate(err), clash(err)
	}
	return nil, false
}

// SkipLocked lets two nodes claim rows at once.
func (e *engine) SkipLocked() string { return " FOR UPDATE SKIP LOCKED" }

// Notify wakes the other nodes, soon.
func (e *engine) Notify() { e.feed.notify() }

// Wake is signalled when the feed may have grown.
func (e *engine) Wake() <-chan struct{} { return e.feed.listen() }

// Ping asks the server.
func (e *engine) Ping(ctx context.Context) error {
	if e.closed.Load() {
		return errClosed
	}
	if err := e.pool.Ping(ctx); err != nil {
		return translate(err)
	}
	return nil
}

// Close sends what is to be notified and closes the connections.
func (e *engine) Close() error {
	e.closing.Do(func() {
		e.feed.close()
		e.closed.Store(true)
		e.pool.Close()
	})
	return nil
}
