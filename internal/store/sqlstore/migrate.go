package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// ErrEmpty is a database that nobody has made a schema in, where that may not be done now.
var ErrEmpty = errors.New(`the database is empty: run "gatehouse migrate", or start without --no-migrate`)

// Migrator brings one engine's schema to what this program knows. Steps expand first and contract in a later release,
// so that the program before still runs on the schema after.
type Migrator struct {
	Dialect goose.Dialect
	DB      *sql.DB
	Steps   fs.FS
	Lock    lock.SessionLocker // nil where the caller holds a lock
	Refuse  bool               // a schema that is behind is an error
}

func (m Migrator) provider() (*goose.Provider, error) {
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if m.Lock != nil {
		options = append(options, goose.WithSessionLocker(m.Lock))
	}
	p, err := goose.NewProvider(m.Dialect, m.DB, m.Steps, options...)
	if err != nil {
		return nil, fmt.Errorf("read the embedded migrations: %w", err)
	}
	return p, nil
}

// Current says whether the schema is the newest that is known. It only reads, and creates nothing on an empty database,
// so that the usual start takes no lock.
func (m Migrator) Current(ctx context.Context) (bool, error) {
	p, err := m.provider()
	if err != nil {
		return false, err
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	var version int64
	if err := m.DB.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), -1) FROM goose_db_version`).Scan(&version); err != nil {
		version = -1 // no such table; whatever else may be wrong is found by Up
	}
	switch {
	case version > newest:
		return false, fmt.Errorf("the database has schema %d and this gatehouse knows %d: run the newer gatehouse that wrote it, or restore a backup", version, newest)
	case version < 1 && m.Refuse:
		return false, ErrEmpty
	case version < newest && m.Refuse:
		return false, fmt.Errorf("the database has schema %d and this gatehouse needs %d: run \"gatehouse migrate\", or start without --no-migrate", version, newest)
	}
	return version == newest, nil
}

// Up applies what is missing.
func (m Migrator) Up(ctx context.Context) error {
	p, err := m.provider()
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema up to date: %w", err)
	}
	return nil
}
