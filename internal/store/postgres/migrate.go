package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"gatehouse/internal/store/sqlstore"
)

func (e *engine) migrate(ctx context.Context, schema string, refuse bool) error {
	db := stdlib.OpenDBFromPool(e.pool)
	defer db.Close()
	m := sqlstore.Migrator{Dialect: goose.DialectPostgres, DB: db, Steps: Migrations(), Lock: newSchemaLock(schema), Refuse: refuse}
	if current, err := m.Current(ctx); err != nil || current {
		return err
	}
	return m.Up(ctx)
}

// schemaLock lets one node at a time change a schema. It waits in the server for its turn; goose's own asks again every
// few seconds.
type schemaLock struct{ id int64 }

func newSchemaLock(schema string) schemaLock {
	name := fnv.New64a()
	_, _ = name.Write([]byte("gatehouse schema " + schema))
	return schemaLock{int64(name.Sum64())}
}

func (l schemaLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, l.id); err != nil {
		return fmt.Errorf("wait for the schema's lock: %w", err)
	}
	return nil
}

func (l schemaLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, l.id); err != nil {
		return fmt.Errorf("give the schema's lock back: %w", err)
	}
	return nil
}
