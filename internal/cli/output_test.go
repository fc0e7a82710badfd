package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, false, "NAME", "SINCE", "X")
	table.row(nil, "Ada", "", "1")
	table.row(nil, "Zoë", "yesterday", "")
	table.row(nil, "\x1b[2Jeve\u202e\u009b", "a\nb", "2") // a name that would clear the screen
	if err := table.end(nil); err != nil {
		t.Fatal(err)
	}
	want := "NAME       SINCE      X\nAda        -          1\nZoë        yesterday  -\n\ufffd[2Jeve\ufffd\ufffd  a\ufffdb        2\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// A long list is printed while it is read, and stays aligned.
func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out, false, "N", "TEXT")
	for i := range page {
		if table.row(nil, fmt.Sprint(i), "x"); i < page-1 && out.Len() > 0 {
			t.Fatalf("row %d was printed before the columns were known", i)
		}
	}
	lines := strings.Count(out.String(), "\n")
	table.row(nil, "9", "y")
	if got := strings.Count(out.String(), "\n"); lines != page+1 || got != lines+1 {
		t.Errorf("%d lines after a page, %d after one more row", lines, got)
	}
	if !strings.HasSuffix(out.String(), "499  x\n9    y\n") {
		t.Errorf("ends with %q", out.String()[out.Len()-20:])
	}
}

// What a terminal would obey is escaped in JSON too, where it stays the same text.
func TestObjectIsTame(t *testing.T) {
	var out bytes.Buffer
	if err := object(&out, map[string]string{"name": "<eve>\u202e\u009b2J\x1b"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"name":"<eve>\u202e\u009b2J\u001b"}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A list that could not be printed was not done.
func TestOutputThatFails(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		table := newTable(full{}, asJSON, "A")
		table.row(map[string]int{}, "1")
		if err := table.end(nil); err == nil {
			t.Errorf("json %v: nothing is wrong", asJSON)
		}
	}
}
