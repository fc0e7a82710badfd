package world

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"gatehouse/internal/identity"
)

// Bounds on a file. An export of a hundred thousand people is some 100 MB.
const (
	maxBytes = 512 << 20
	maxDepth = 50
)

// reader walks a YAML tree and notes every mistake on its way.
type reader struct {
	file     string
	mistakes Mistakes
	nodes    int // looked at so far, each alias counted as all that it stands for
	limit    int
	note     func(n *yaml.Node, field string) // hears of what free reads; may be nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document gives the tree of the one document in text; nil where there is none.
func (r *reader) document(text []byte) *yaml.Node {
	if len(text) > maxBytes {
		r.mistakes.add(r.file, place{line: 1}, fmt.Sprintf("the file is larger than %d MB", maxBytes>>20))
		return nil
	}
	// Written out, a file has fewer nodes than bytes, and each is looked at three times at most.
	r.limit = 4*len(text) + 10_000
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	var more yaml.Node
	if err := d.Decode(&more); err == nil {
		r.mistakes.add(r.file, place{line: more.Line}, "a second document; one file describes one world")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

func (r *reader) syntax(err error) {
	at, problem := place{line: 1}, err.Error()
	if m := yamlLine.FindStringSubmatch(problem); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.line = n
		}
		problem = m[2]
	}
	r.mistakes.add(r.file, at, "not YAML: "+problem)
}

func (r *reader) mistake(n *yaml.Node, field, problem string) {
	r.mistakes.add(r.file, place{n.Line, field}, problem)
}

// resolve follows aliases, and stops a file whose aliases unfold without end.
func (r *reader) resolve(n *yaml.Node, field string) (*yaml.Node, bool) {
	for hops := 0; n.Kind == yaml.AliasNode; hops++ {
		if n.Alias == nil || hops > maxDepth {
			r.mistake(n, field, "an alias that leads nowhere")
			return nil, false
		}
		n = n.Alias
	}
	if r.nodes++; r.nodes == r.limit {
		r.mistake(n, field, "the file unfolds to more than anybody wrote: too many aliases")
	}
	return n, r.nodes < r.limit
}

// null is what `name:` with nothing behind it is.
func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// member is one name of a mapping with its value.
type member struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// members gives a mapping's, without repeats. Nothing at all is an empty mapping.
func (r *reader) members(n *yaml.Node, field string) ([]member, bool) {
	n, ok := r.resolve(n, field)
	if !ok {
		return nil, false
	}
	if null(n) {
		return nil, true
	}
	if n.Kind != yaml.MappingNode {
		r.mistake(n, field, "must be a mapping of names to values")
		return nil, false
	}
	var all []member
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.mistake(key, field, "a name must be text")
			continue
		}
		if line, twice := first[key.Value]; twice {
			r.mistake(key, join(field, key.Value), fmt.Sprintf("is given twice, first on line %d", line))
			continue
		}
		first[key.Value] = key.Line
		all = append(all, member{key.Value, key, n.Content[i+1]})
	}
	return all, true
}

// object reads a mapping of known names; each is read by its own function.
func (r *reader) object(n *yaml.Node, field string, known map[string]func(n *yaml.Node, field string)) bool {
	all, ok := r.members(n, field)
	for _, m := range all {
		read := known[m.name]
		if read == nil {
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			r.mistake(m.key, join(field, m.name), "is not known here"+didYouMean(m.name, names))
			continue
		}
		read(m.value, join(field, m.name))
	}
	return ok
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// list reads a sequence. Nothing at all is an empty one.
func (r *reader) list(n *yaml.Node, field string, read func(n *yaml.Node, field string)) {
	n, ok := r.resolve(n, field)
	if !ok || null(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.mistake(n, field, "must be a list")
		return
	}
	for i, item := range n.Content {
		read(item, fmt.Sprintf("%s[%d]", field, i))
		if r.nodes >= r.limit {
			return
		}
	}
}

// text reads a word or sentence. A number or date written without quotes is taken as written; true, false and nothing are not.
func (r *reader) text(n *yaml.Node, field string) (string, bool) {
	n, ok := r.resolve(n, field)
	if !ok {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		r.mistake(n, field, "must be text")
		return "", false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
	case "!!null":
		r.mistake(n, field, "has no value")
		return "", false
	default:
		r.mistake(n, field, "must be text; put it in quotes")
		return "", false
	}
	if !utf8.ValidString(n.Value) || strings.ContainsRune(n.Value, 0) {
		r.mistake(n, field, "must be text without zero bytes")
		return "", false
	}
	return n.Value, true
}

func (r *reader) texts(n *yaml.Node, field string) []string {
	all := []string{}
	r.list(n, field, func(n *yaml.Node, field string) {
		if s, ok := r.text(n, field); ok {
			all = append(all, s)
		}
	})
	return all
}

func (r *reader) truth(n *yaml.Node, field string) (bool, bool) {
	n, ok := r.resolve(n, field)
	if !ok {
		return false, false
	}
	var b bool
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
		r.mistake(n, field, "must be true or false")
		return false, false
	}
	return b, true
}

func (r *reader) whole(n *yaml.Node, field string) int {
	n, ok := r.resolve(n, field)
	if !ok {
		return 0
	}
	var i int
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&i) != nil || i < 0 {
		r.mistake(n, field, "must be a whole number, 0 or more")
		return 0
	}
	return i
}

func (r *reader) duration(n *yaml.Node, field string) time.Duration {
	text, ok := r.text(n, field)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.mistake(n, field, "must be a duration such as 30m or 24h")
		return 0
	}
	return d
}

var clockText = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// clock reads a time of the day in minutes since midnight; 24:00 is the end of the day.
func (r *reader) clock(n *yaml.Node, field string) int {
	text, ok := r.text(n, field)
	if !ok {
		return 0
	}
	if text == "24:00" {
		return 24 * 60
	}
	m := clockText.FindStringSubmatch(text)
	if m == nil {
		r.mistake(n, field, `must be a time of the day such as "08:30"`)
		return 0
	}
	hours, _ := strconv.Atoi(m[1]) // digits, by the expression
	minutes, _ := strconv.Atoi(m[2])
	return hours*60 + minutes
}

func (r *reader) instant(n *yaml.Node, field string) (time.Time, bool) {
	text, ok := r.text(n, field)
	if !ok {
		return time.Time{}, false
	}
	at, err := parseInstant(text)
	if err != nil {
		r.mistake(n, field, "must be an instant such as 2030-01-01T00:00:00Z")
	}
	return at, err == nil
}

func parseInstant(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err == nil && (at.Year() < 1970 || at.Year() > 9999) {
		err = errors.New("out of range")
	}
	return at.UTC().Truncate(time.Microsecond), err // as the store keeps it
}

// free reads what only a door understands.
func (r *reader) free(n *yaml.Node, field string, depth int) any {
	n, ok := r.resolve(n, field)
	if !ok {
		return nil
	}
	if depth > maxDepth {
		r.mistake(n, field, "is too deep")
		return nil
	}
	if r.note != nil {
		r.note(n, field)
	}
	switch n.Kind {
	case yaml.MappingNode:
		v := map[string]any{}
		all, _ := r.members(n, field)
		for _, m := range all {
			v[m.name] = r.free(m.value, join(field, m.name), depth+1)
		}
		return v
	case yaml.SequenceNode:
		v := []any{}
		r.list(n, field, func(n *yaml.Node, field string) { v = append(v, r.free(n, field, depth+1)) })
		return v
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		b, _ := r.truth(n, field)
		return b
	case "!!int":
		var v any
		if n.Decode(&v) == nil {
			switch v := v.(type) {
			case int, int64, uint64:
				return v
			}
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case "!!str", "!!timestamp":
		s, _ := r.text(n, field)
		return s
	}
	r.mistake(n, field, "must be text, a number, true, false, a list or a mapping")
	return nil
}

// didYouMean suggests the name that is nearest to a mistyped one, if it is near at all.
func didYouMean(typed string, names []string) string {
	slices.Sort(names)
	best, distance := "", 3
	for _, name := range names {
		if d := edits(typed, name, distance); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return "; it takes " + strings.Join(names, ", ")
	}
	return "; did you mean " + best + "?"
}

// edits is Levenshtein's distance, or limit where it is no less.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}

// word reads one of a few words.
func (r *reader) word(n *yaml.Node, field string, allowed ...string) string {
	text, ok := r.text(n, field)
	if ok && !slices.Contains(allowed, text) {
		r.mistake(n, field, "must be one of "+strings.Join(allowed, ", "))
		return ""
	}
	return text
}

// judged notes what a verb's own check says of a record.
func (r *reader) judged(where record, err error) {
	var e *identity.Error
	if errors.As(err, &e) {
		at := where.at(e.Field)
		r.mistakes.add(r.file, at, e.Public)
	}
}
