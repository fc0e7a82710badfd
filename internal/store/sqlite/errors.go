package sqlite

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"gatehouse/internal/identity"
)

// codeOf gives SQLite's extended result code of an error, 0 if it is not SQLite's.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// translate gives an error its Kind.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return identity.Unavailable.Wrap(err)
	}
	code := codeOf(err)
	switch code {
	case 0:
		return err
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID,
		sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return identity.Conflict.Wrap(err)
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE: // a number that grew past 64 bits
		return identity.Invalid.Wrap(err)
	}
	switch code & 0xff {
	case sqlite3.SQLITE_FULL:
		return identity.Unavailable.Wrap(fmt.Errorf("disk full: %w", err))
	case sqlite3.SQLITE_READONLY:
		return identity.Unavailable.Wrap(fmt.Errorf("disk read-only: %w", err))
	case sqlite3.SQLITE_TOOBIG:
		return identity.Invalid.Wrap(err)
	}
	if broken(err) {
		return identity.Unavailable.Wrap(err)
	}
	return err
}

// broken says whether an error concerns the database and not the statement. SQLite may have rolled the whole transaction
// back on such an error, so nothing of a group may go on.
func broken(err error) bool {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_ABORT:
		return true
	}
	return false
}

// explain turns an error of opening or migrating into one line that says what is wrong and what to do.
func explain(path string, err error) error {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("disk full: make room for %s, then start again (%w)", path, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%s cannot be written: mount its disk for writing or let this user write there (%w)", path, err)
	case sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%s cannot be opened: let this user read and write it and its directory (%w)", path, err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is damaged or not a database: restore a backup, or point GATEHOUSE_DATA elsewhere (%w)", path, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%s stayed locked by another program: find and stop it (%w)", path, err)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%s cannot be read or written, the disk answers with errors: check it, and whether it is full (%w)", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
