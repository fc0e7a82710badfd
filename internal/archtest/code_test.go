package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// sqlText knows a statement by its first words. Upper case only, because prose also selects from things.
var sqlText = regexp.MustCompile(`^\s*(SELECT\s[\s\S]+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|UNIQUE)\s|WITH\s+\w+.*\s+AS\s*\(|PRAGMA\s)`)

// Packages whose work is to be the outside: they hand the clock to all others.
var clocks = []string{"cmd", "internal/app", "internal/cli", "internal/bench"}

// Bench's floors do the same durable write as the server without its code.
var sqlHomes = []string{"internal/store", "internal/bench"}

func brokenCode(f file) []string {
	var out []string
	report := func(pos token.Pos, what string) { out = append(out, f.at(pos)+" "+what) }
	timeName := importedAs(f, "time")
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				report(n.Pos(), "has func init: a reader cannot follow what nobody calls; plug in with one visible line in app")
			}
		case *ast.SelectorExpr:
			pkg, isName := n.X.(*ast.Ident)
			if !isName {
				break
			}
			switch {
			case pkg.Name == timeName && n.Sel.Name == "Sleep":
				report(n.Pos(), "sleeps: wait on a condition, a context or an injected clock; a sleep is too short on a slow machine and too long on a fast one")
			case pkg.Name == timeName && slices.Contains([]string{"Now", "Since", "Until"}, n.Sel.Name) && !f.test && !within(f.dir, clocks...):
				report(n.Pos(), "reads the clock: take now as a field, or expiry and lockout cannot be tested")
			case f.test && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, n.Sel.Name) && slices.Contains([]string{"t", "b", "f", "tb"}, pkg.Name):
				report(n.Pos(), "skips: a test that does not run proves nothing and looks green")
			}
		case *ast.BasicLit:
			if n.Kind != token.STRING || f.test || within(f.dir, sqlHomes...) {
				break
			}
			if text, err := strconv.Unquote(n.Value); err == nil && sqlText.MatchString(text) {
				report(n.Pos(), "holds SQL: statements live in internal/store, where both engines run every one of them")
			}
		}
		return true
	})
	return out
}

// importedAs is the name that a file gives to a package, or "" when it does not import it.
func importedAs(f file, imported string) string {
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return imported
	}
	return ""
}

func TestCode(t *testing.T) {
	for _, f := range sources(t) {
		for _, broken := range brokenCode(f) {
			t.Error(broken)
		}
	}
}

func TestCodeRulesFire(t *testing.T) {
	tests := []struct {
		name, body string
		refused    bool
	}{
		{"internal/core/x.go", "func init() {}", true},
		{"internal/core/x.go", "type t struct{}\nfunc (t) init() {}", false},
		{"internal/core/x.go", "var now = time.Now", true},
		{"internal/core/x.go", "var d = clock.Since(x)", true},
		{"internal/app/x.go", "var now = time.Now", false},
		{"internal/core/x_test.go", "var now = time.Now", false},
		{"internal/core/x_test.go", "func f() { time.Sleep(1) }", true},
		{"internal/core/x.go", "func f() { time.Sleep(1) }", true},
		{"internal/core/x_test.go", "func f(t *testing.T) { t.Skip() }", true},
		{"internal/core/x_test.go", "func f(t *testing.T) { rows.Skip() }", false},
		{"internal/core/x.go", "const q = `\n\tSELECT id\n\tFROM subjects WHERE id = $1`", true},
		{"internal/core/x.go", `const q = "UPDATE sessions SET ended_at = $1"`, true},
		{"internal/core/x.go", `const q = "Select one from the list"`, false},
		{"internal/store/sqlstore/x.go", `const q = "DELETE FROM sessions"`, false},
	}
	for _, tt := range tests {
		source := "package x\nimport \"time\"\n"
		if importedClock := regexp.MustCompile(`\bclock\.`).MatchString(tt.body); importedClock {
			source = "package x\nimport clock \"time\"\n"
		}
		if got := len(brokenCode(parseSource(t, tt.name, source+tt.body+"\n"))) > 0; got != tt.refused {
			t.Errorf("%s, %q: refused %v, want %v", tt.name, tt.body, got, tt.refused)
		}
	}
}

// Every package says what it is for, once, so that godoc and a newcomer find it.
func TestPackageComments(t *testing.T) {
	documented, folders := map[string]bool{}, map[string]string{}
	for _, f := range sources(t) {
		if !f.test || !isTestFile(f.name) {
			folders[f.dir] = f.ast.Name.Name
		}
		if f.ast.Doc != nil && !isTestFile(f.name) {
			documented[f.dir] = true
		}
	}
	for dir, name := range folders {
		if !documented[dir] {
			t.Errorf("%s: package %s has no package comment: say in a sentence what it gives its caller", dir, name)
		}
	}
}

func isTestFile(name string) bool { return regexp.MustCompile(`_test\.go$`).MatchString(name) }
