package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// maxPage bounds every list, whatever the caller asks for.
const maxPage = 1000

func page(limit int) int64 {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return int64(limit)
}

// errNotText marks an argument that no text column can hold. PostgreSQL refuses it and SQLite would take it, so it is
// found before either sees it: nothing is stored under such a name, and nothing may be.
var errNotText = errors.New("text is not UTF-8 or holds a zero byte")

func checkText(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return errNotText
		}
	}
	return nil
}

// exec runs a statement that changes rows.
func exec(ctx context.Context, q Querier, query string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, identity.Invalid.Wrap(err)
	}
	return q.Exec(ctx, query, args...)
}

// affect is exec for one row that must be there.
func affect(ctx context.Context, q Querier, query string, args ...any) error {
	n, err := exec(ctx, q, query, args...)
	if err == nil && n == 0 {
		return identity.NotFound
	}
	return err
}

// guard is exec for a guarded statement: did it change its row?
func guard(ctx context.Context, q Querier, query string, args ...any) (bool, error) {
	n, err := exec(ctx, q, query, args...)
	return n > 0, err
}

// one gives the single row of a query, or NotFound.
func one[T any](ctx context.Context, q Querier, scan func(Rows, *T) error, query string, args ...any) (T, error) {
	var v T
	if checkText(args) != nil {
		return v, identity.NotFound
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return v, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return v, err
		}
		return v, identity.NotFound
	}
	if err := scan(rows, &v); err != nil {
		return v, fmt.Errorf("scan: %w", err)
	}
	return v, nil
}

// list gives all rows of a query, which bounds itself.
func list[T any](ctx context.Context, q Querier, scan func(Rows, *T) error, query string, args ...any) ([]T, error) {
	if checkText(args) != nil {
		return nil, nil // no row can match
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// write is list for a statement that changes rows and returns them.
func write[T any](ctx context.Context, q Querier, scan func(Rows, *T) error, query string, args ...any) ([]T, error) {
	if err := checkText(args); err != nil {
		return nil, identity.Invalid.Wrap(err)
	}
	return list(ctx, q, scan, query, args...)
}

func scanInt(r Rows, n *int64) error { return r.Scan(n) }

// writeInt is write for a statement that returns one number.
func writeInt(ctx context.Context, q Querier, query string, args ...any) (int64, error) {
	all, err := write(ctx, q, scanInt, query, args...)
	if err != nil {
		return 0, err
	}
	if len(all) == 0 {
		return 0, identity.NotFound
	}
	return all[0], nil
}

// micros is how an instant is stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant reads an instant.
type instant time.Time

func (i *instant) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("instant stored as %T", v)
	}
	*i = instant{}
	if n != 0 {
		*i = instant(time.UnixMicro(n).UTC())
	}
	return nil
}

func at(t *time.Time) *instant { return (*instant)(t) }

// span reads a duration.
type span time.Duration

func (s *span) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("duration stored as %T", v)
	}
	*s = span(time.Duration(n) * time.Microsecond)
	return nil
}

// flag is how a truth value is stored.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// truth reads a flag.
type truth bool

func (t *truth) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("flag stored as %T", v)
	}
	*t = n != 0
	return nil
}

// words is how a list of words is stored: a JSON array.
func words[S ~string](list []S) string {
	if len(list) == 0 {
		return "[]"
	}
	text, _ := json.Marshal(list) // strings always marshal
	return string(text)
}

// wordList reads a list of words.
type wordList[S ~string] []S

func (w *wordList[S]) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("list stored as %T", v)
	}
	*w = nil
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), (*[]S)(w))
}

// toJSON is how a list that no query looks into is stored.
func toJSON[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}

// fromJSON reads such a list.
func fromJSON[T any](list *[]T) *jsonList[T] { return (*jsonList[T])(list) }

type jsonList[T any] []T

func (l *jsonList[T]) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("list stored as %T", v)
	}
	*l = nil
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), (*[]T)(l))
}

// document reads a text column that the rest of the house handles as bytes, so that "" is nil again.
type document []byte

func (d *document) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("document stored as %T", v)
	}
	*d = nil
	if text != "" {
		*d = document(text)
	}
	return nil
}

// blob is how bytes are stored: never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// bytes reads bytes, so that none are nil again.
type bytes []byte

func (b *bytes) Scan(v any) error {
	raw, ok := v.([]byte)
	if !ok && v != nil {
		return fmt.Errorf("bytes stored as %T", v)
	}
	*b = nil
	if len(raw) > 0 {
		*b = slices.Clone(raw)
	}
	return nil
}

// attributes is how door attributes are stored: one JSON object with a member for each door.
func attributes(a identity.Attributes) (string, error) {
	if len(a) == 0 {
		return "{}", nil
	}
	// By hand and in order of door, so that equal attributes are equal text and a door's own bytes are kept as they are.
	var b strings.Builder
	b.WriteByte('{')
	for i, door := range slices.Sorted(maps.Keys(a)) {
		if !json.Valid(a[door]) {
			return "", identity.Invalid.Wrap(fmt.Errorf("attributes of door %s are not JSON", door))
		}
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(string(door))
		b.Write(name)
		b.WriteByte(':')
		b.Write(a[door])
	}
	b.WriteByte('}')
	return b.String(), nil
}

// doorAttributes reads attributes.
type doorAttributes identity.Attributes

func (d *doorAttributes) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("attributes stored as %T", v)
	}
	*d = nil
	if text == "{}" {
		return nil
	}
	var raw map[identity.Door]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return err
	}
	*d = make(doorAttributes, len(raw))
	for door, value := range raw {
		(*d)[door] = []byte(value)
	}
	return nil
}

// beyond is the end of the range of texts that begin with prefix: no text in use holds the last code point, a
// noncharacter (Unicode, section 23.7).
func beyond(prefix string) string { return prefix + "\U0010FFFF" }
