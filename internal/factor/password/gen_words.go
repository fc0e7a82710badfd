//go:build ignore

// gen_words writes words.txt, the list that package password looks words up in.
//
//	go run gen_words.go passwords:30000:LIST english:12000:LIST names:4000:LIST ... > words.txt
//
// Each LIST is a JSON array of words, the most frequent first, or an object that holds one as "List". The committed file
// was made of the passwords of @zxcvbn-ts/language-common 4.1.3 (30,000) and of English (12,000), FemaleNames (3,500),
// MaleNames (1,000) and Surnames (5,000) of ccojocar/zxcvbn-go 1.0.4; both are MIT-licensed.
//
// A line is a word, a tab, and a letter for the power of two below its best rank: upper case for a common password.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

func main() {
	best := map[string]byte{}
	common := map[string]bool{}
	fold := cases.Fold()
	for _, arg := range os.Args[1:] {
		part := strings.SplitN(arg, ":", 3)
		if len(part) != 3 {
			log.Fatalf("%q is not kind:limit:file", arg)
		}
		limit, err := strconv.Atoi(part[1])
		if err != nil {
			log.Fatal(err)
		}
		for i, word := range read(part[2])[:limit] {
			word = norm.NFKC.String(fold.String(norm.NFKC.String(word)))
			if utf8.RuneCountInString(word) < 3 || strings.ContainsAny(word, "\t\n\r") {
				continue
			}
			power := byte(bits.Len(uint(i+1)) - 1)
			if old, found := best[word]; !found || power < old {
				best[word] = power
			}
			common[word] = common[word] || part[0] == "passwords"
		}
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, word := range slices.Sorted(maps.Keys(best)) {
		letter := 'a' + best[word]
		if common[word] {
			letter = 'A' + best[word]
		}
		fmt.Fprintf(out, "%s\t%c\n", word, letter)
	}
}

func read(name string) []string {
	raw, err := os.ReadFile(name)
	if err != nil {
		log.Fatal(err)
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var object struct{ List []string }
	if err := json.Unmarshal(raw, &object); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return object.List
}
