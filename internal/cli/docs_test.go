package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const document = "../../docs/cli.md"

func testParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, _, err := newParser(Process{Out: io.Discard, Err: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// leaves lists the commands that can be run.
func leaves(node *kong.Node) (list []*kong.Node) {
	for _, child := range node.Children {
		switch {
		case child.Hidden:
		case child.Leaf():
			list = append(list, child)
		default:
			list = append(list, leaves(child)...)
		}
	}
	return list
}

// The document lists exactly the commands that there are.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("\n| command | what it does |\n|---|---|\n")
	for _, leaf := range leaves(testParser(t).Model.Node) {
		fmt.Fprintf(&want, "| `%s` | %s |\n", strings.TrimSuffix(usage(leaf), " [FLAGS]"), leaf.Help)
	}
	section := regexp.MustCompile(`(?s)(<!-- commands:[^\n]*-->\n)(.*)(<!-- end of commands -->)`)
	found := section.FindSubmatchIndex(text)
	if found == nil {
		t.Fatalf("%s has no list of commands", document)
	}
	written := string(text[:found[4]]) + want.String() + "\n" + string(text[found[5]:])
	if written == string(text) {
		return
	}
	if !*update {
		t.Fatalf("the list in %s is not what the command line says: run this test with -update", document)
	}
	if err := os.WriteFile(document, []byte(written), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every command that the document shows is one that the command line takes.
func TestDocumentedCommandsParse(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`"[^"]*"|\S+`)
	shown := regexp.MustCompile(`(?m)^\$ (?:.*\| )?gatehouse (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(shown) < 10 {
		t.Fatalf("only %d commands are shown", len(shown))
	}
	for _, line := range shown {
		args := quoted.FindAllString(line[1], -1)
		if _, err := testParser(t).Parse(args); err != nil {
			t.Errorf("gatehouse %s: %v", line[1], err)
		}
	}
}

// Help screens end sentences, and say something of everything.
func TestHelpReadsWell(t *testing.T) {
	root := testParser(t).Model.Node
	for _, leaf := range leaves(root) {
		if !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("%s: %q is no sentence", leaf.FullPath(), leaf.Help)
		}
		for _, f := range own(leaf) {
			if !strings.HasSuffix(f.Help, ".") && !strings.HasSuffix(f.Help, "…") {
				t.Errorf("%s --%s: %q is no sentence", leaf.FullPath(), f.Name, f.Help)
			}
		}
		for _, arg := range leaf.Positional {
			if arg.Help == "" {
				t.Errorf("%s %s says nothing", leaf.FullPath(), arg.Name)
			}
		}
		for line := range strings.Lines(help(leaf, 72)) {
			if len([]rune(line)) > 73 { // with its end
				t.Errorf("%s: too wide: %q", leaf.FullPath(), line)
			}
		}
	}
}
