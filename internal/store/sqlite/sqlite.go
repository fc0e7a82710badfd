// Package sqlite keeps the house in one file beside the program: the default engine.
//
// One goroutine writes. It commits the updates that wait together, so that durable writes (synchronous=FULL) scale with how
// many callers there are and not with how fast the disk is. Readers have connections of their own and never wait for it: the
// file is in WAL mode. Checkpoints run beside both.
//
// The command line opens the same file while a node serves; the two take turns to write.
package sqlite

import (
	"context"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"modernc.org/sqlite"

	"gatehouse/internal/store/sqlstore"
)

// FileName is the database's name in the data directory.
const FileName = "gatehouse.db"

// busyTimeout is how long a connection waits for another process that writes.
const busyTimeout = 10 * time.Second

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
	Dir       string // the data directory; made if missing
	NoMigrate bool   // refuse a schema that is behind, instead of bringing it up to date
}

// Open gives the store in a data directory, its schema up to date. Its errors are one line for the operator.
func Open(ctx context.Context, o Options) (*sqlstore.Store, error) {
	e, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	return sqlstore.New(e), nil
}

// engine is sqlstore.Engine on a database file.
type engine struct {
	path      string
	connector driver.Connector
	writer    *writer
	readers   readers
	closing   sync.Once
	keeper    keeper
}

var _ sqlstore.Engine = (*engine)(nil)

func open(ctx context.Context, o Options) (*engine, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", o.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: let this user write its parent, or set GATEHOUSE_DATA (%w)", dir, err)
	}
	if err := refuseNetwork(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	// Made here, because SQLite would make it readable for everybody; its side files take its mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened for writing: mount its disk for writing and let this user write there (%w)", path, err)
	}
	_ = file.Close()
	location := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	connector, err := sqlite.NewConnector(location.String())
	if err != nil {
		return nil, explain(path, err)
	}
	e := &engine{path: path, connector: connector}
	if err := e.migrate(ctx, dir, o.NoMigrate); err != nil {
		return nil, err
	}
	first, err := e.dialWriter(ctx)
	if err != nil {
		return nil, explain(path, err)
	}
	e.readers = readers{dial: e.dialReader, slots: make(chan struct{}, min(max(2*runtime.GOMAXPROCS(0), 4), 16))}
	e.keeper = keeper{dial: e.dialKeeper, kick: make(chan struct{}, 1), stopped: make(chan struct{})}
	e.writer = &writer{
		dial: e.dialWriter, conn: first, turn: openTurn(filepath.Join(dir, "turn.lock")),
		queue: make(chan *update, queueSize), closing: make(chan struct{}), stopped: make(chan struct{}),
		wrote: e.keeper.count, finish: make(chan struct{}, 1), rest: restOfCheckpoint,
	}
	go e.writer.loop()
	go e.keeper.loop(e.writer.closing, e.writer.finish)
	return e, nil
}

// dial opens a connection and sets it up. Caches are small: the system caches the file, and an idle node stays small.
func (e *engine) dial(ctx context.Context, pragmas ...string) (*conn, error) {
	c, err := connect(ctx, e.connector)
	if err != nil {
		return nil, err
	}
	for _, p := range append([]string{
		fmt.Sprintf("busy_timeout=%d", busyTimeout.Milliseconds()),
		"foreign_keys=ON",
		"temp_store=MEMORY", // what savepoints remember never meets the disk
		"trusted_schema=OFF",
	}, pragmas...) {
		r, err := c.query("PRAGMA " + p)
		if err != nil {
			_ = c.close()
			return nil, err
		}
		r.Close()
	}
	return c, nil
}

func (e *engine) dialWriter(ctx context.Context) (*conn, error) {
	c, err := e.dial(ctx, "journal_mode=WAL", "synchronous=FULL",
		"wal_autocheckpoint=0", // the keeper does it, beside the writer
		"journal_size_limit=67108864",
		"cache_size=-8000")
	if err != nil {
		return nil, err
	}
	var mode string
	r, err := c.query("PRAGMA journal_mode")
	if err == nil {
		if r.Next() {
			err = r.Scan(&mode)
		}
		r.Close()
	}
	if err == nil && mode != "wal" {
		err = fmt.Errorf("journal mode is %q and not WAL: the file system cannot share memory between processes", mode)
	}
	if err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

func (e *engine) dialReader(ctx context.Context) (*conn, error) {
	return e.dial(ctx, "query_only=ON", "cache_size=-2000")
}

func (e *engine) dialKeeper(ctx context.Context) (*conn, error) {
	return e.dial(ctx, "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-512")
}

func (e *engine) View(ctx context.Context, read func(sqlstore.Querier) error) error {
	return e.readers.view(ctx, read)
}

func (e *engine) Update(ctx context.Context, write func(sqlstore.Querier) error) error {
	return e.writer.update(ctx, write)
}

// SkipLocked is empty: there is one writer.
func (e *engine) SkipLocked() string { return "" }

// Notify has nobody to tell: one node serves a file, and what the command line writes is found by polling.
func (e *engine) Notify() {}

// Wake never comes.
func (e *engine) Wake() <-chan struct{} { return nil }

// Ping reads.
func (e *engine) Ping(ctx context.Context) error {
	return e.View(ctx, func(q sqlstore.Querier) error {
		r, err := q.Query(ctx, "SELECT 1 FROM goose_db_version LIMIT 1")
		if err != nil {
			return err
		}
		defer r.Close()
		r.Next()
		return r.Err()
	})
}

// Close lets the writer finish what it accepted and folds the log into the database file.
func (e *engine) Close() error {
	var err error
	e.closing.Do(func() {
		close(e.writer.closing)
		<-e.writer.stopped
		<-e.keeper.stopped
		err = e.readers.close()
		if e.writer.conn != nil {
			err = errors.Join(err, e.writer.conn.close())
		}
		e.writer.turn.close()
	})
	return err
}
