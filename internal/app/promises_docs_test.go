package app_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every test that docs/promises.md names is there, and every promise names some; and no test of these files is left out.
func TestPromisesAreShown(t *testing.T) {
	text, err := os.ReadFile("../../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	tests := func(pattern string) []string {
		t.Helper()
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		var names []string
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range function.FindAllStringSubmatch(string(source), -1) {
				names = append(names, m[1])
			}
		}
		return names
	}
	own := tests("promises_*test.go")
	own = append(own, tests("promises_test.go")...)
	known := slices.Concat(own, tests("../../e2e/*_test.go"), tests("../store/storetest/*_test.go"),
		tests("../core/staff/*_test.go"), tests("../core/licence/*_test.go"), tests("../core/session/*_test.go"), tests("../dialect/openwifi/*_test.go"), tests("../dialect/nx/*_test.go"))
	named := map[string]bool{}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
		named[name[1]] = true
		if !slices.Contains(known, name[1]) {
			t.Errorf("docs/promises.md names %s, which is not there", name[1])
		}
	}
	for _, name := range own {
		if !named[name] && name != "TestPromisesAreShown" {
			t.Errorf("%s is not in docs/promises.md", name)
		}
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (P\d+) [^|]*\|([^|]*)\|[^|]*\|$`).FindAllStringSubmatch(string(text), -1) {
		rows[row[1]] = row[2]
	}
	for _, promise := range []string{"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13", "P14", "P15"} {
		if !strings.Contains(rows[promise], "`Test") {
			t.Errorf("nothing shows %s", promise)
		}
	}
}
