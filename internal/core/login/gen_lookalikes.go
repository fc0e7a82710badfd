//go:build ignore

// gen_lookalikes writes lookalikes.txt, the list behind Skeleton.
//
//	go run gen_lookalikes.go -o lookalikes.txt confusables.json
//
// The facts are Unicode's: confusables.txt of UTS 39 (Copyright Unicode, Inc.; Unicode License v3). It is read in the JSON
// form of the Python package confusable-homoglyphs 3.3.1: each character or sequence with the others that look like it, both
// ways. Classes of look-alikes are built from it, and of each class what survives folding points to one of them: an ASCII
// letter if there is one. ASCII itself is left out, see Skeleton.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

func main() {
	to := flag.String("o", "lookalikes.txt", "file to write")
	flag.Parse()
	raw, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	var pairs map[string][]struct {
		Other string `json:"c"`
	}
	if err := json.Unmarshal(raw, &pairs); err != nil {
		log.Fatal(err)
	}

	parent := map[string]string{}
	var root func(string) string
	root = func(s string) string {
		if p, found := parent[s]; found && p != s {
			return root(p)
		}
		parent[s] = s
		return s
	}
	clean := func(s string) string { return strings.ReplaceAll(s, "\u200e", "") } // marks that show right-to-left text in order
	for _, from := range slices.Sorted(maps.Keys(pairs)) {
		for _, pair := range pairs[from] {
			parent[root(clean(from))] = root(clean(pair.Other))
		}
	}
	classes := map[string][]string{}
	for _, member := range slices.Sorted(maps.Keys(parent)) {
		classes[root(member)] = append(classes[root(member)], member)
	}

	table := map[string]string{}
	for _, class := range classes {
		best := slices.MinFunc(class, func(a, b string) int {
			return slices.Compare(preference(a), preference(b))
		})
		best = norm.NFD.String(fold(best))
		for _, member := range class {
			one := utf8.RuneCountInString(member) == 1 && member[0] >= utf8.RuneSelf
			// Skeleton meets folded text in its decomposed form.
			if one && fold(member) == member && norm.NFD.String(member) == member && member != best {
				table[member] = best
			}
		}
	}
	// What a character looks like may, fully decomposed, itself look like something else.
	for range 4 {
		for from, to := range table {
			var out strings.Builder
			for _, r := range to {
				if next, found := table[string(r)]; found && r != []rune(from)[0] {
					out.WriteString(next)
				} else {
					out.WriteRune(r)
				}
			}
			table[from] = norm.NFD.String(out.String())
		}
	}

	file, err := os.Create(*to)
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(file)
	fmt.Fprintln(out, "# Made by gen_lookalikes.go from Unicode's confusables (UTS 39), under the Unicode License v3.")
	for _, from := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(out, "%s\t%s\n", from, table[from])
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

func fold(s string) string { return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s))) }

// preference orders the members of a class by how well each stands for it.
func preference(s string) []int {
	runes := []rune(s)
	kind := 5
	switch {
	case len(runes) > 1:
	case runes[0] >= 'a' && runes[0] <= 'z':
		kind = 0
	case runes[0] >= 'A' && runes[0] <= 'Z':
		kind = 1
	case runes[0] < utf8.RuneSelf:
		kind = 2
	case fold(s) == s:
		kind = 3
	default:
		kind = 4
	}
	return []int{kind, len(runes), int(runes[0])}
}
