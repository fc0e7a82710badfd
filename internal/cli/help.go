package cli

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

const (
	usualWidth = 80
	mostWidth  = 100 // longer lines are hard to read
)

// printHelp is one screen for each command: what it is for, how to call it, what it takes.
func printHelp(environ []string) kong.HelpPrinter {
	return func(_ kong.HelpOptions, ctx *kong.Context) error {
		node := ctx.Selected()
		if node == nil {
			node = ctx.Model.Node
		}
		_, err := fmt.Fprint(ctx.Stdout, help(node, width(environ)))
		return err
	}
}

// width is the terminal's where the shell tells it.
func width(environ []string) int {
	for _, kv := range environ {
		if text, ok := strings.CutPrefix(kv, "COLUMNS="); ok {
			if n, err := strconv.Atoi(text); err == nil && n >= 40 {
				return min(n, mostWidth)
			}
		}
	}
	return usualWidth
}

// line is one entry of a help screen: a word and what it means.
type line struct{ word, meaning string }

// block is a titled list of lines.
type block struct {
	title string
	lines []line
}

func help(node *kong.Node, width int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Usage: %s\n", usage(node))
	for _, text := range []string{node.Help, node.Detail} {
		if text != "" {
			fmt.Fprintf(&out, "\n%s\n", wrap(text, width, 0))
		}
	}
	blocks := append(commands(node), arguments(node), flags(node))
	root := node
	for root.Parent != nil {
		root = root.Parent
	}
	if node == root || node.Leaf() {
		blocks = append(blocks, block{"Flags of every command", shared(root)})
	}
	column := 0
	for _, b := range blocks {
		for _, l := range b.lines {
			if n := utf8.RuneCountInString(l.word); n <= 26 {
				column = max(column, n)
			}
		}
	}
	for _, b := range blocks {
		if len(b.lines) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n", b.title)
		for _, l := range b.lines {
			word := "  " + l.word + strings.Repeat(" ", max(0, column-utf8.RuneCountInString(l.word)))
			if l.meaning == "" {
				fmt.Fprintln(&out, strings.TrimRight(word, " "))
				continue
			}
			if utf8.RuneCountInString(l.word) > column { // too long to stand beside its meaning
				fmt.Fprintln(&out, word)
				word = strings.Repeat(" ", column+2)
			}
			fmt.Fprintf(&out, "%s  %s\n", word, wrap(l.meaning, width-column-4, column+4))
		}
	}
	if node == root {
		out.WriteString("\n" + wrap("`gatehouse COMMAND --help` says more of a command; `gatehouse explain config --docs` lists the settings.", width, 0) + "\n")
	}
	return out.String()
}

// usage is how a command is called: `gatehouse user add EMAIL [FLAGS]`.
func usage(node *kong.Node) string {
	text := node.FullPath()
	if !node.Leaf() {
		return text + " COMMAND"
	}
	optional := false
	for _, f := range own(node) {
		if f.Required {
			text += " " + briefly(f)
		} else {
			optional = true
		}
	}
	for _, arg := range node.Positional {
		if word := argumentWord(arg); arg.Required {
			text += " " + word
		} else {
			text += " [" + word + "]"
		}
	}
	if optional {
		text += " [FLAGS]"
	}
	return text
}

// own are a command's visible flags, and not the ones that every command has.
func own(node *kong.Node) (visible []*kong.Flag) {
	if node.Parent == nil {
		return nil
	}
	for _, f := range node.Flags {
		if !f.Hidden {
			visible = append(visible, f)
		}
	}
	return visible
}

// commands lists a node's subcommands, those of the root by what they are for.
func commands(node *kong.Node) (blocks []block) {
	for _, child := range node.Children {
		if child.Hidden {
			continue
		}
		title := "Commands"
		if child.Group != nil {
			title = child.Group.Title
		}
		if len(blocks) == 0 || blocks[len(blocks)-1].title != title {
			blocks = append(blocks, block{title: title})
		}
		b := &blocks[len(blocks)-1]
		l := line{child.Name, child.Help}
		if node.Parent == nil && len(child.Children) > 0 {
			var verbs []string
			for _, verb := range child.Children {
				verbs = append(verbs, verb.Name)
			}
			l.meaning = strings.TrimSuffix(child.Help, ".") + ": " + strings.Join(verbs, ", ") + "."
		} else {
			for _, arg := range child.Positional {
				l.word += " " + argumentWord(arg)
			}
		}
		b.lines = append(b.lines, l)
	}
	return blocks
}

func arguments(node *kong.Node) block {
	b := block{title: "Arguments"}
	for _, arg := range node.Positional {
		b.lines = append(b.lines, line{argumentWord(arg), withDefault(arg, arg.Help)})
	}
	return b
}

func flags(node *kong.Node) block {
	b := block{title: "Flags"}
	for _, f := range own(node) {
		b.lines = append(b.lines, line{flagWord(f), withDefault(f.Value, f.Help)})
	}
	return b
}

func shared(root *kong.Node) (lines []line) {
	for _, f := range root.Flags {
		if !f.Hidden && f.Name != "help" {
			lines = append(lines, line{flagWord(f), f.Help})
		}
	}
	return append(lines, line{"-h, --help", "Print this."})
}

// briefly is a flag by its short name.
func briefly(f *kong.Flag) string {
	if _, value, ok := strings.Cut(flagWord(f), ", "); ok && f.Short != 0 {
		return strings.Replace(value, "--"+f.Name, "-"+string(f.Short), 1)
	}
	return flagWord(f)
}

func argumentWord(arg *kong.Positional) string { return strings.ToUpper(arg.Name) }

func flagWord(f *kong.Flag) string {
	text := "--" + f.Name
	if f.Short != 0 {
		text = "-" + string(f.Short) + ", " + text
	}
	if f.IsBool() {
		return text
	}
	value := f.PlaceHolder
	if value == "" {
		value = strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	}
	return text + " " + value
}

func withDefault(v *kong.Value, help string) string {
	if !v.HasDefault || v.Default == "" {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (" + v.Default + " if not given)."
}

// wrap breaks a text into lines of a width; the second and later ones are indented.
func wrap(text string, width, indent int) string {
	var out strings.Builder
	at := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case at == 0:
		case at+1+n > width:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = 0
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += n
	}
	return out.String()
}
