package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"gatehouse/internal/store/sqlstore"
)

// conn is one connection with its prepared statements, used by one goroutine at a time.
//
// It stands on the driver, not on database/sql, whose pool, locks and argument checks cost a third of a point read.
// Statements run without the caller's context: each is one short walk along an index, and the driver would start a
// goroutine for every one to watch a context that can end. Waiting happens outside, where contexts are heeded. The few
// that may read a whole table (QueryLong) are interrupted when their caller has gone: they would hold a reader for nobody.
type conn struct {
	raw        driver.Conn
	statements map[string]*statement
}

type statement struct {
	prepared interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
	args   []driver.NamedValue // reused
	values []driver.Value      // reused
	busy   bool                // its rows are being read
	writes bool                // and it may write
}

func connect(ctx context.Context, connector driver.Connector) (*conn, error) {
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, statements: map[string]*statement{}}, nil
}

func (c *conn) close() error {
	for _, s := range c.statements {
		_ = s.prepared.Close()
	}
	clear(c.statements)
	return c.raw.Close()
}

// maxStatements bounds what one connection keeps prepared, some kilobytes each. There are about 200 constant texts; the lists of
// licences are composed, in thousands of ways that whoever asks may go through.
const maxStatements = 512

// prepare gives the statement for a text.
func (c *conn) prepare(query string) (*statement, error) {
	s := c.statements[query]
	if s != nil {
		if s.busy {
			return nil, errors.New("statement is run again while its rows are read")
		}
		return s, nil
	}
	prepared, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s = &statement{writes: !strings.HasPrefix(strings.TrimSpace(query), "SELECT")}
	var ok bool
	if s.prepared, ok = prepared.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
		return nil, fmt.Errorf("the driver's %T is not what this package was written for", prepared)
	}
	c.makeRoom()
	c.statements[query] = s
	return s, nil
}

// makeRoom forgets a statement, whichever comes, where there are too many: one that is used often is soon there again.
func (c *conn) makeRoom() {
	if len(c.statements) < maxStatements {
		return
	}
	for query, s := range c.statements {
		if !s.busy {
			_ = s.prepared.Close()
			delete(c.statements, query)
			return
		}
	}
}

func (s *statement) bind(args []any) error {
	s.args = s.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case string, int64, []byte, nil:
		case int:
			a = int64(v)
		default:
			return fmt.Errorf("argument %d is a %T", i+1, a)
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return nil
}

func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	if err := s.bind(args); err != nil {
		return 0, err
	}
	result, err := s.prepared.ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *conn) query(query string, args ...any) (*rows, error) {
	return c.queryUntil(context.Background(), query, args...)
}

func (c *conn) queryUntil(ctx context.Context, query string, args ...any) (*rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	if err := s.bind(args); err != nil {
		return nil, err
	}
	found, err := s.prepared.QueryContext(ctx, s.args)
	if err != nil {
		return nil, err
	}
	if s.values == nil {
		s.values = make([]driver.Value, len(found.Columns()))
	}
	s.busy = true
	return &rows{statement: s, found: found}, nil
}

// rows are the answer to a query.
type rows struct {
	statement *statement
	found     driver.Rows
	err       error
	failed    *error // where the transaction keeps its first failure
}

var _ sqlstore.Rows = (*rows)(nil)

func (r *rows) Next() bool {
	if r.err != nil || !r.statement.busy {
		return false
	}
	switch err := r.found.Next(r.statement.values); {
	case err == nil:
		return true
	case !errors.Is(err, io.EOF):
		r.fail(err)
	}
	return false
}

func (r *rows) fail(err error) {
	r.err = translate(err)
	if r.failed != nil && *r.failed == nil {
		*r.failed = r.err
	}
}

func (r *rows) Err() error { return r.err }

func (r *rows) Close() {
	if !r.statement.busy {
		return
	}
	r.statement.busy = false
	clear(r.statement.values)
	if err := r.found.Close(); err != nil && r.err == nil {
		r.fail(err)
	}
}

func (r *rows) Scan(dest ...any) error {
	values := r.statement.values
	if len(dest) != len(values) {
		return fmt.Errorf("%d columns for %d variables", len(values), len(dest))
	}
	for i, d := range dest {
		ok := true
		switch d := d.(type) {
		case *string:
			*d, ok = values[i].(string)
		case *int64:
			*d, ok = values[i].(int64)
		case *int:
			var n int64
			n, ok = values[i].(int64)
			*d = int(n)
		case *[]byte:
			*d, ok = values[i].([]byte)
		case sql.Scanner:
			if err := d.Scan(values[i]); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("column %d is a %T, not for a %T", i+1, values[i], d)
		}
	}
	return nil
}

// transaction is the Querier of one update or view. It remembers the first failure, because a transaction in which a
// statement failed must not be committed, whatever its function made of the error: PostgreSQL would refuse to.
type transaction struct {
	conn   *conn
	failed error
	wrote  bool // a row changed, or may have
}

var errDone = errors.New("the transaction is over")

func (t *transaction) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := t.ready(ctx); err != nil {
		return 0, err
	}
	n, err := t.conn.exec(query, args...)
	if err != nil {
		return 0, t.fail(err) // the statement has undone what it did
	}
	t.wrote = t.wrote || n > 0
	return n, nil
}

func (t *transaction) Query(ctx context.Context, query string, args ...any) (sqlstore.Rows, error) {
	return t.query(ctx, context.Background(), query, args)
}

func (t *transaction) QueryLong(ctx context.Context, query string, args ...any) (sqlstore.Rows, error) {
	return t.query(ctx, ctx, query, args)
}

// query begins while ctx lasts and is interrupted when until ends.
func (t *transaction) query(ctx, until context.Context, query string, args []any) (sqlstore.Rows, error) {
	if err := t.ready(ctx); err != nil {
		return nil, err
	}
	r, err := t.conn.queryUntil(until, query, args...)
	if err != nil {
		return nil, t.fail(err)
	}
	r.failed = &t.failed
	t.wrote = t.wrote || r.statement.writes
	return r, nil
}

func (t *transaction) ready(ctx context.Context) error {
	if t.conn == nil {
		return errDone
	}
	if t.failed != nil {
		return t.failed
	}
	if err := ctx.Err(); err != nil {
		return t.fail(err)
	}
	return nil
}

func (t *transaction) fail(err error) error {
	err = translate(err)
	if t.failed == nil {
		t.failed = err
	}
	return err
}
