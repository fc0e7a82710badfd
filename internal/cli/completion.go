package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown behind the command's line.
func (c *completionCmd) Help() string {
	return "For bash: source <(gatehouse completion bash). For zsh: source <(gatehouse completion zsh), after compinit. " +
		"For fish: gatehouse completion fish | source. Put the line into the shell's start-up file to keep it."
}

// The scripts ask the program itself, so they never go out of date. Where it has no answer, a file is meant.
var completionScripts = map[string]string{
	"bash": `_gatehouse() {
  local IFS=$'\n'
  COMPREPLY=($("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _gatehouse gatehouse
`,
	"zsh": `#compdef gatehouse
_gatehouse() {
  local -a found
  found=(${(f)"$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -a found; else _files; fi
}
compdef _gatehouse gatehouse
`,
	"fish": `function __gatehouse_complete
  set -l words (commandline -opc)
  set -l last (commandline -ct)
  set -l found ($words[1] __complete -- $words[2..-1] "$last" 2>/dev/null)
  if set -q found[1]
    printf '%s\n' $found
  else
    __fish_complete_path "$last"
  end
end
complete -c gatehouse -f -a '(__gatehouse_complete)'
`,
}

func (c *completionCmd) Run(e *environment) error {
	_, err := fmt.Fprint(e.Out, completionScripts[c.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

func (c *completeCmd) Run(e *environment) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, word := range complete(e.parser.Model.Node, words) {
		if _, err := fmt.Fprintln(e.Out, word); err != nil {
			return err
		}
	}
	return nil
}

// complete lists what may stand in place of the last word.
func complete(root *kong.Node, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	node := root
	var pending *kong.Flag // its value comes next
	for _, word := range words[:len(words)-1] {
		switch {
		case pending != nil:
			pending = nil
		case strings.HasPrefix(word, "-"):
			pending = awaits(node, word)
		default:
			if i := slices.IndexFunc(node.Children, func(child *kong.Node) bool { return child.Name == word }); i >= 0 {
				node = node.Children[i]
			} else if len(node.Children) > 0 {
				return nil // no command is called so
			}
		}
	}
	var found []string
	switch {
	case pending != nil:
		found = pending.EnumSlice()
	case strings.HasPrefix(last, "-"):
		for at := node; at != nil; at = at.Parent {
			for _, f := range at.Flags {
				// The settings are many; they matter where a node is run.
				if !f.Hidden || node.Name == "serve" {
					found = append(found, "--"+f.Name)
				}
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				found = append(found, child.Name)
			}
		}
		for _, arg := range node.Positional {
			found = append(found, arg.EnumSlice()...)
		}
	}
	found = slices.DeleteFunc(found, func(w string) bool { return w == "" || !strings.HasPrefix(w, last) })
	slices.Sort(found)
	return slices.Compact(found)
}

// awaits gives the flag that a word names, where its value is the next word.
func awaits(node *kong.Node, word string) *kong.Flag {
	for ; node != nil; node = node.Parent {
		for _, f := range node.Flags {
			if (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}
