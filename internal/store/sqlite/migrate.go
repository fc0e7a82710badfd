package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"

	"github.com/pressly/goose/v3"

	"gatehouse/internal/store/sqlstore"
)

// migrate brings the schema up to date. Processes that start at once take turns by a lock file, because SQLite's own
// lock would be let go between two migrations.
func (e *engine) migrate(ctx context.Context, dir string, refuse bool) error {
	db := sql.OpenDB(e.connector)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, pragma := range []string{
		fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeout.Milliseconds()), "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
	} {
		if _, err := db.ExecContext(ctx, pragma); err != nil {
			return explain(e.path, err)
		}
	}
	m := sqlstore.Migrator{Dialect: goose.DialectSQLite3, DB: db, Steps: Migrations(), Refuse: refuse}
	if current, err := m.Current(ctx); err != nil || current {
		return e.explainMigration(err)
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, "migrate.lock"))
	if err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	defer unlock()
	return e.explainMigration(m.Up(ctx))
}

func (e *engine) explainMigration(err error) error {
	if codeOf(err) != 0 {
		return explain(e.path, err)
	}
	return err
}
