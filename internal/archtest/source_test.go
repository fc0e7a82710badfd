package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "gatehouse"
	root   = "../.."
)

// file is one parsed Go file of the module.
type file struct {
	name string // relative to the root, with slashes
	dir  string
	test bool // of a test, or of a package that exists for tests
	set  *token.FileSet
	ast  *ast.File
}

func (f file) at(pos token.Pos) string {
	return f.name + ":" + strconv.Itoa(f.set.Position(pos).Line)
}

// imports gives each import with its position; our own packages by their folder.
func (f file) imports() map[string]token.Pos {
	out := map[string]token.Pos{}
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		out[strings.TrimPrefix(name, module+"/")] = spec.Pos()
	}
	return out
}

func parseSource(t *testing.T, name, src string) file {
	t.Helper()
	set := token.NewFileSet()
	var text any
	if src != "" {
		text = src
	}
	parsed, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimPrefix(filepath.ToSlash(name), root+"/")
	dir := path.Dir(name)
	return file{
		name: name, dir: dir, set: set, ast: parsed,
		test: strings.HasSuffix(name, "_test.go") || strings.HasSuffix(dir, "test") || within(dir, "e2e"),
	}
}

// sources reads every Go file of the module: parsing alone also sees what build tags hide, and packages that do
// not compile at the moment.
func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && skipped(name, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			out = append(out, parseSource(t, name, ""))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files found below %s: the rules would hold for nothing", len(out), root)
	}
	return out
}

func skipped(name, base string) bool {
	if strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod")) // a module of its own
	return err == nil
}

// within says whether p is one of the folders, or below one.
func within(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// standard tells the standard library from what is downloaded: only the latter's first element has a dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !own(imported) && !strings.Contains(first, ".")
}

func own(imported string) bool {
	return within(imported, "cmd", "internal", "verify", "e2e", module)
}
