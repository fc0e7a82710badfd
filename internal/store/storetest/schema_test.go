package storetest

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
)

// column is what a column is on either engine.
type column struct {
	Table, Name, Type string
	Null              bool
}

// index is what an index is on either engine; a primary key is one named "primary".
type index struct {
	Table, Name string
	Unique      bool
	Columns     string
	Where       string
}

// Both engines have the same tables, columns and indexes.
func TestSchemasAreOne(t *testing.T) {
	dir, url := SQLiteDir(t), PostgresURL(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := OpenPostgres(t, url).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())

	var ours, theirs []column
	for _, row := range sqliteRows(t, db, `SELECT m.name, p.name, p.type, p."notnull" FROM sqlite_schema m, pragma_table_info(m.name) p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`, 4) {
		ours = append(ours, column{row[0], row[1], row[2], row[3] == "0"})
	}
	types := map[string]string{"text": "TEXT", "bigint": "INTEGER", "smallint": "INTEGER", "bytea": "BLOB"}
	for _, row := range postgresRows(t, conn, `SELECT table_name, column_name, data_type, is_nullable, COALESCE(collation_name, '')
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'`, 5) {
		theirs = append(theirs, column{row[0], row[1], types[row[2]], row[3] == "YES"})
		if row[2] == "text" && row[4] != "C" {
			t.Errorf("%s.%s is not compared byte by byte", row[0], row[1])
		}
	}
	byColumn := func(a, b column) int { return strings.Compare(a.Table+"."+a.Name, b.Table+"."+b.Name) }
	slices.SortFunc(ours, byColumn)
	slices.SortFunc(theirs, byColumn)
	if len(ours) < 100 {
		t.Fatalf("only %d columns", len(ours))
	}
	same(t, theirs, ours)

	var here, there []index
	for _, row := range sqliteRows(t, db, `SELECT m.name, i.name, i."unique", i.origin, COALESCE(s.sql, ''),
		(SELECT group_concat(COALESCE(c.name, '?'), ',') FROM pragma_index_info(i.name) c)
		FROM sqlite_schema m, pragma_index_list(m.name) i LEFT JOIN sqlite_schema s ON s.name = i.name
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`, 6) {
		v := index{row[0], row[1], row[2] == "1", row[5], predicate(row[4])}
		if row[3] == "pk" {
			v.Name = "primary"
		}
		here = append(here, v)
	}
	for _, row := range sqliteRows(t, db, `SELECT m.name, p.name FROM sqlite_schema m, pragma_table_info(m.name) p
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version' AND p.pk > 0 AND p.type = 'INTEGER'`, 2) {
		here = append(here, index{row[0], "primary", true, row[1], ""}) // the rowid has no index of its own
	}
	for _, row := range postgresRows(t, conn, `SELECT t.relname, i.relname, CAST(x.indisunique AS TEXT), CAST(x.indisprimary AS TEXT), pg_get_indexdef(x.indexrelid),
		(SELECT string_agg(COALESCE(a.attname, '?'), ',' ORDER BY k.n) FROM unnest(CAST(x.indkey AS int2[])) WITH ORDINALITY AS k(col, n)
			LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.col AND k.col > 0)
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
		WHERE t.relnamespace = CAST(current_schema() AS regnamespace) AND t.relname <> 'goose_db_version'`, 6) {
		v := index{row[0], row[1], row[2] == "true", row[5], predicate(row[4])}
		if row[3] == "true" {
			v.Name = "primary"
		}
		there = append(there, v)
	}
	byIndex := func(a, b index) int { return strings.Compare(a.Table+"."+a.Name, b.Table+"."+b.Name) }
	slices.SortFunc(here, byIndex)
	slices.SortFunc(there, byIndex)
	same(t, there, here)
}

var noise = regexp.MustCompile(`[()"\s]|::\w+`)

// predicate is the condition of a partial index, in a spelling that both engines' texts come down to.
func predicate(definition string) string {
	_, where, _ := strings.Cut(definition, " WHERE ")
	return noise.ReplaceAllString(where, "")
}

func sqliteRows(t *testing.T, db *sql.DB, query string, columns int) (all [][]string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		row, dest := make([]string, columns), make([]any, columns)
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func postgresRows(t *testing.T, conn *pgx.Conn, query string, columns int) (all [][]string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		row, dest := make([]string, columns), make([]any, columns)
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The numbered steps are the same on both engines.
func TestMigrationsHaveTheSameNumbers(t *testing.T) {
	a, b := listing(t, sqlite.Migrations), listing(t, postgres.Migrations)
	same(t, a, b)
}

// A schema that is newer than the program is refused and left alone, and one that is behind is refused where asked.
func TestSchemaVersions(t *testing.T) {
	dir, url := SQLiteDir(t), PostgresURL(t)
	openBoth := map[string]func(place string, refuse bool) (identity.Store, error){
		"sqlite": func(place string, refuse bool) (identity.Store, error) {
			return sqlite.Open(t.Context(), sqlite.Options{Dir: place, NoMigrate: refuse})
		},
		"postgres": func(place string, refuse bool) (identity.Store, error) {
			return postgres.Open(t.Context(), postgres.Options{URL: place, NoMigrate: refuse})
		},
	}
	places := map[string]string{"sqlite": dir, "postgres": url}
	empty := map[string]string{"sqlite": t.TempDir(), "postgres": PostgresURL(t)}
	age := map[string]func(){
		"sqlite": func() {
			db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.FileName))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
				t.Fatal(err)
			}
		},
		"postgres": func() {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, open := range openBoth {
		t.Run(name, func(t *testing.T) {
			if _, err := open(empty[name], true); err == nil || !strings.Contains(err.Error(), "gatehouse migrate") {
				t.Errorf("behind: %v", err)
			}
			store, err := open(places[name], false)
			if err != nil {
				t.Fatal(err)
			}
			_ = store.Close()
			if store, err = open(places[name], true); err != nil { // nothing to do is nothing to refuse
				t.Fatal(err)
			}
			_ = store.Close()
			age[name]()
			for _, refuse := range []bool{true, false} {
				_, err := open(places[name], refuse)
				if err == nil || !strings.Contains(err.Error(), "schema 9999") || strings.Contains(err.Error(), "\n") {
					t.Errorf("newer: %v", err)
				}
			}
		})
	}
}

func listing(t *testing.T, steps func() fs.FS) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(steps(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
