// Package sqlstore is identity.Store in SQL, written once for both engines.
//
// An Engine gives transactions and runs statements; everything that is said to the database is said here, in the SQL
// that SQLite and PostgreSQL both understand. What keeps one text true on both:
//
//   - instants are microseconds since 1970 in UTC, 0 for none; durations are microseconds; flags are 0 and 1;
//   - ids, JSON and lists are text, compared byte by byte (PostgreSQL columns carry COLLATE "C");
//   - columns are NOT NULL, "" and 0 mean none; only an optional reference is NULL, so that it can be a foreign key;
//   - a literal or parameter whose type PostgreSQL could not infer is cast;
//   - prefixes are ranges, never LIKE, so that an index serves them whatever the engine thinks of collations.
//
// A statement that fails spoils its transaction on both engines, as PostgreSQL does: nothing of it is committed.
package sqlstore
