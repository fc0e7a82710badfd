package sqlstore

import "context"

// Engine is what a database must give: two kinds of transaction, and the few things in which engines differ.
//
// Its errors, and those of its Queriers, are identity Kinds: Conflict for a taken unique value or a missing reference,
// Unavailable for a database that cannot be reached or written.
type Engine interface {
	// View runs read on one snapshot.
	View(ctx context.Context, read func(Querier) error) error
	// Update runs write in a serializable transaction, perhaps more than once, and returns once it is durable. It does
	// not commit if a statement failed, even when write returns nil.
	Update(ctx context.Context, write func(Querier) error) error
	// SkipLocked is the clause that lets concurrent claims of rows pass each other, "" where writers take turns anyway.
	SkipLocked() string
	// Notify tells other nodes that the feed has grown. It does not wait.
	Notify()
	// Wake is signalled when another node did.
	Wake() <-chan struct{}
	Ping(ctx context.Context) error
	Close() error
}

// Querier runs statements inside one transaction.
type Querier interface {
	// Exec runs a statement and says how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	// Query runs a statement that gives rows, which must be closed before the next statement.
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	// QueryLong is Query for a statement that may read a whole table. It ends when ctx does.
	QueryLong(ctx context.Context, query string, args ...any) (Rows, error)
}

// Rows are the answer to a query. Scan takes *string, *int64, *int, *[]byte and sql.Scanner.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}
