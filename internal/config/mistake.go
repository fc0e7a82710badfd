package config

import (
	"errors"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong in what the operator wrote.
type Mistake struct {
	Source  string // file:line, variable or flag
	Key     string // the setting, when there is one
	Problem string
	Remedy  string
}

func (m Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.Source)
	if m.Key != "" && m.Key != m.Source {
		b.WriteString(": " + m.Key)
	}
	b.WriteString(": " + m.Problem)
	if m.Remedy != "" {
		b.WriteString("; " + m.Remedy)
	}
	return b.String()
}

// Mistakes are all of them, one a line.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// add records every fault that err joins.
func (ms *Mistakes) add(source, key string, err error) {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, err := range joined.Unwrap() {
			ms.add(source, key, err)
		}
		return
	}
	var f fault
	switch {
	case err == nil:
	case errors.As(err, &f):
		*ms = append(*ms, Mistake{source, key, f.what, f.remedy})
	default:
		*ms = append(*ms, Mistake{Source: source, Key: key, Problem: err.Error()})
	}
}

// orNil keeps an empty list from being a non-nil error.
func (ms Mistakes) orNil() error {
	if len(ms) == 0 {
		return nil
	}
	return ms
}

// didYouMean suggests the candidate that is closest to a mistyped word, if one is close.
func didYouMean(word string, candidates []string) string {
	best, distance := "", max(2, len(word)/4)+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), strings.ToLower(c), distance); d < distance {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment), and
// gives up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		if slices.Min(row) >= limit {
			return limit
		}
		before, last = last, row
	}
	return last[len(b)]
}
