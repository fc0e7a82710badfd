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

// The scripts ask the binary itself, so they never go out of date.
var completionScripts = map[string]string{
	"bash": `_gatehouse() {
  local IFS=$'\n'
  COMPREPLY=($(gatehouse __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _gatehouse gatehouse
`,
	"zsh": `#compdef gatehouse
_gatehouse() {
  local -a found
  found=("${(@f)$(gatehouse __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found
}
compdef _gatehouse gatehouse
`,
	"fish": `complete -c gatehouse -f -a '(gatehouse __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
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
		fmt.Fprintln(e.Out, word)
	}
	return nil
}

// complete lists what may stand in place of the last word.
func complete(node *kong.Node, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	for _, word := range words[:len(words)-1] {
		for _, child := range node.Children {
			if child.Name == word {
				node = child
				break
			}
		}
	}
	var found []string
	if strings.HasPrefix(last, "-") {
		for _, group := range node.AllFlags(false) {
			for _, f := range group {
				found = append(found, "--"+f.Name)
			}
		}
	} else {
		for _, child := range node.Children {
			if !child.Hidden {
				found = append(found, child.Name)
			}
		}
		for _, arg := range node.Positional {
			found = append(found, arg.EnumSlice()...)
		}
	}
	found = slices.DeleteFunc(found, func(w string) bool { return !strings.HasPrefix(w, last) })
	slices.Sort(found)
	return slices.Compact(found)
}
