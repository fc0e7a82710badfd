package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mapped are the places that docs/architecture.md must name.
var mapped = []string{"cmd", "internal", "verify", "e2e"}

var (
	tableCell = regexp.MustCompile("^\\|\\s*`([^`]+)`")
	codeWord  = regexp.MustCompile(`^\s*([a-z0-9_./-]+)(\s|$)`)
)

// named gives the folders that the text names: in the first cell of a table's row, or as the first word of a line
// of a code block.
func named(text string) []string {
	var out []string
	inCode := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inCode = !inCode
			continue
		}
		pattern := tableCell
		if inCode {
			pattern = codeWord
		}
		m := pattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if p := strings.TrimSuffix(m[1], "/"); within(p, mapped...) {
			out = append(out, p)
		}
	}
	return out
}

func TestArchitectureMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatalf("the map of the folders is missing: %v", err)
	}
	onMap := named(string(text))
	for _, p := range onMap {
		if info, err := os.Stat(filepath.Join(root, filepath.FromSlash(p))); err != nil || !info.IsDir() {
			t.Errorf("docs/architecture.md names %s, which is no folder", p)
		}
	}
	var packages []string
	for _, f := range sources(t) {
		if within(f.dir, mapped...) {
			packages = append(packages, f.dir)
		}
	}
	slices.Sort(packages)
	for _, p := range slices.Compact(packages) {
		if !slices.Contains(onMap, p) {
			t.Errorf("docs/architecture.md does not name %s: add a line that says what it is for", p)
		}
	}
}

func TestNamed(t *testing.T) {
	text := "| folder | is |\n|---|---|\n| `internal/core/signin/` | x |\n| docs | `internal/no` |\n`internal/no2`\n" +
		"```\ncmd/gatehouse/   starts\n  internal/app\nother/thing\n```\ninternal/no3\n"
	if got, want := named(text), []string{"internal/core/signin", "cmd/gatehouse", "internal/app"}; !slices.Equal(got, want) {
		t.Errorf("named = %v, want %v", got, want)
	}
}
