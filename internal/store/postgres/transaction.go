package postgres

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

// transaction is the Querier of one update or view. It remembers the first failure: PostgreSQL goes on with nothing after
// it, and would turn the commit into a rollback without an error of its own.
type transaction struct {
	tx     pgx.Tx
	failed error
}

var errDone = errors.New("the transaction is over")

func (t *transaction) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	tag, err := t.tx.Exec(ctx, query, args...)
	if err != nil {
		return 0, t.fail(err)
	}
	return tag.RowsAffected(), nil
}

func (t *transaction) Query(ctx context.Context, query string, args ...any) (sqlstore.Rows, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	r, err := t.tx.Query(ctx, query, args...)
	if err != nil {
		return nil, t.fail(err)
	}
	return rows{r, t}, nil
}

// QueryLong is Query, which heeds its context.
func (t *transaction) QueryLong(ctx context.Context, query string, args ...any) (sqlstore.Rows, error) {
	return t.Query(ctx, query, args...)
}

func (t *transaction) ready() error {
	if t.tx == nil {
		return errDone
	}
	return t.failed
}

func (t *transaction) fail(err error) error {
	err = translate(err)
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// rows give their failure to the transaction too.
type rows struct {
	pgx.Rows
	t *transaction
}

func (r rows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return r.t.fail(err)
	}
	return nil
}

// Close makes a failure of the rest known to the transaction: a statement that was not read to its end may still fail.
func (r rows) Close() {
	r.Rows.Close()
	_ = r.Err()
}

// SQLSTATE codes (PostgreSQL documentation, appendix A).
const (
	uniqueViolation      = "23505"
	foreignKeyViolation  = "23503"
	restrictViolation    = "23001"
	notInRepertoire      = "22021" // a byte that is not UTF-8
	untranslatable       = "22P05"
	numberOutOfRange     = "22003"
	tooLongForIndex      = "54000"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	readOnlyTransaction  = "25006" // a standby, or a server told so
	queryCanceled        = "57014"
	undefinedObject      = "42704"
)

// translate gives an error its Kind.
func translate(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case uniqueViolation, foreignKeyViolation, restrictViolation:
			return identity.Conflict.Wrap(err)
		case notInRepertoire, untranslatable, numberOutOfRange, tooLongForIndex:
			return identity.Invalid.Wrap(err)
		case readOnlyTransaction, queryCanceled, serializationFailure, deadlockDetected:
			return identity.Unavailable.Wrap(err)
		}
		switch pg.Code[:2] {
		case "08", "53", "57", "58": // connection, resources, operator, system
			return identity.Unavailable.Wrap(err)
		}
		return err
	}
	if gone(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return identity.Unavailable.Wrap(err)
	}
	return err
}

// clash says whether PostgreSQL asks to run the transaction again.
func clash(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == serializationFailure || pg.Code == deadlockDetected)
}

// gone says whether the connection went, and the transaction with it.
func gone(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code[:2] == "08" || pg.Code == "57P01" || pg.Code == "57P02" || pg.Code == "57P03"
	}
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &dial) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// pause waits before the n-th repetition, longer each time, and each loser of a node another part of it, so that they do not
// meet again: the golden ratio spreads turns over the whole.
func (e *engine) pause(ctx context.Context, n int) error {
	longest := min(time.Millisecond<<min(n, 10), maxPause)
	_, part := math.Modf(float64(e.turns.Add(1)%1024) * math.Phi)
	timer := time.NewTimer(time.Duration(part * float64(longest)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
