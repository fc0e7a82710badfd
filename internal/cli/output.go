package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
)

// page is how many records a list reads at once.
const page = 500

// jsonFlag is every verb's about one record.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print it as JSON."`
}

// listFlags are every list's.
type listFlags struct {
	JSON bool `name:"json" help:"Print one JSON object a line."`
}

// object prints one record.
func object(out io.Writer, v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(audit.Visible(text.Bytes()))
	return err
}

// table prints rows as aligned columns, or as one object a line. A list may be long: columns are as wide as the first page
// needs, and what follows is printed as it comes.
type table struct {
	out    io.Writer
	json   bool
	held   [][]string // the first page
	widths []int      // set when it was printed
	err    error
}

func newTable(out io.Writer, asJSON bool, head ...string) *table {
	t := &table{out: out, json: asJSON}
	if !asJSON {
		t.held = append(t.held, head)
	}
	return t
}

// row prints one record: object as JSON, cells as text. Cells may hold strangers' text, so a terminal gets it tame.
func (t *table) row(record any, cells ...string) {
	if t.err != nil {
		return
	}
	if t.json {
		t.err = object(t.out, record)
		return
	}
	for i, c := range cells {
		if cells[i] = audit.Line(c, 200); cells[i] == "" {
			cells[i] = "-"
		}
	}
	if t.widths != nil {
		t.print(cells)
		return
	}
	if t.held = append(t.held, cells); len(t.held) > page {
		t.measure()
	}
}

func (t *table) measure() {
	t.widths = []int{}
	for _, cells := range t.held {
		for i, c := range cells {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, cells := range t.held {
		t.print(cells)
	}
	t.held = nil
}

func (t *table) print(cells []string) {
	var line strings.Builder
	for i, c := range cells {
		line.WriteString(c)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(c))+2))
		}
	}
	if _, err := fmt.Fprintln(t.out, line.String()); err != nil && t.err == nil {
		t.err = err
	}
}

// end prints what is held, and gives what went wrong: while reading, else while printing.
func (t *table) end(err error) error {
	if len(t.held) > 0 && t.err == nil {
		t.measure()
	}
	if err != nil {
		return err
	}
	return t.err
}

// each walks a list page by page. get gives one from where the last ended; show prints a record and keeps where it ends.
func each[T any](get func(limit int) ([]T, error), show func(T)) error {
	for {
		list, err := get(page)
		if err != nil {
			return err
		}
		for _, one := range list {
			show(one)
		}
		if len(list) < page {
			return nil
		}
	}
}

// when prints an instant, "" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// orNone is never null in JSON.
func orNone(words []string) []string {
	if words == nil {
		return []string{}
	}
	return words
}

func countWord(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
