package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/internal/core/audit"
)

// listFlags are every list's.
type listFlags struct {
	JSON bool `name:"json" help:"One JSON object a line."`
}

// table prints rows as aligned columns, or as one object a line.
type table struct {
	out     io.Writer
	json    bool
	columns *tabwriter.Writer
}

func newTable(out io.Writer, asJSON bool, head ...string) *table {
	t := &table{out: out, json: asJSON}
	if !asJSON {
		t.columns = tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		t.row(nil, head...)
	}
	return t
}

// row prints one record: object as JSON, cells as text. Cells may hold strangers' text, so a terminal gets it tame.
func (t *table) row(object any, cells ...string) {
	if t.json {
		if object != nil {
			_ = json.NewEncoder(t.out).Encode(object)
		}
		return
	}
	for i, c := range cells {
		if cells[i] = audit.Line(c, 200); cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.columns, strings.Join(cells, "\t"))
}

func (t *table) end() {
	if t.columns != nil {
		_ = t.columns.Flush()
	}
}

// object prints one record.
func object(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
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

// page is how many records a list reads at once.
const page = 500
