package dialecttest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// exchange is one request and the answer it should get.
type exchange struct {
	line       int // of the request, for messages
	notInSpec  bool
	lenient    bool
	service    bool
	advance    time.Duration
	captures   map[string]string // name -> dotted path in the answer's JSON
	capHeaders map[string]string // name -> header
	method     string
	target     string
	header     http.Header
	body       string
	status     int
	want       http.Header
	wanted     []string // the names of want in their order
	absent     []string
	answer     string
}

// file is one story.
type file struct {
	name      string
	source    string
	exchanges []*exchange
}

func parse(name string) (*file, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &file{name: name}
	var chunk []string
	first := 1
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	flush := func(next int) error {
		x, err := parseExchange(f, chunk, first)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.exchanges = append(f.exchanges, x)
		chunk, first = nil, next
		return nil
	}
	for i, line := range lines {
		if line == "---" {
			if err := flush(i + 2); err != nil {
				return nil, err
			}
			continue
		}
		chunk = append(chunk, line)
	}
	if err := flush(len(lines)); err != nil {
		return nil, err
	}
	if f.source == "" {
		return nil, fmt.Errorf("%s: no «# source:» line says where the exchange comes from", name)
	}
	return f, nil
}

func parseExchange(f *file, lines []string, first int) (*exchange, error) {
	x := &exchange{header: http.Header{}, want: http.Header{}, captures: map[string]string{}, capHeaders: map[string]string{}}
	i := 0
	for ; i < len(lines) && (strings.HasPrefix(lines[i], "#") || strings.TrimSpace(lines[i]) == ""); i++ {
		key, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(lines[i], "#")), ":")
		value = strings.TrimSpace(value)
		name, from, _ := strings.Cut(value, "=")
		name, from = strings.TrimSpace(name), strings.TrimSpace(from)
		switch key {
		case "source":
			f.source = value
		case "capture":
			x.captures[name] = from
		case "capture-header":
			x.capHeaders[name] = from
		case "advance":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", first+i, err)
			}
			x.advance = d
		case "listener":
			x.service = value == "service"
		case "not-in-spec":
			x.notInSpec = true
		case "lenient-request":
			x.lenient = true
		default:
			// Prose is a comment; what looks like a directive and is none would be a test that does not happen.
			if directive.MatchString(lines[i]) {
				return nil, fmt.Errorf("line %d: %q is no directive", first+i, key)
			}
		}
	}
	if i == len(lines) {
		return nil, fmt.Errorf("line %d: no request", first)
	}
	x.line = first + i
	method, target, ok := strings.Cut(lines[i], " ")
	if !ok {
		return nil, fmt.Errorf("line %d: %q is no request line", x.line, lines[i])
	}
	x.method, x.target = method, strings.TrimSpace(target)
	end := i + 1
	for end < len(lines) && !strings.HasPrefix(lines[end], "=== ") {
		end++
	}
	if end == len(lines) {
		return nil, fmt.Errorf("line %d: no «=== STATUS» after the request", x.line)
	}
	var err error
	if x.body, _, err = head(lines[i+1:end], x.header, nil); err != nil {
		return nil, fmt.Errorf("line %d: %w", x.line, err)
	}
	if x.status, err = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(lines[end], "=== "))); err != nil {
		return nil, fmt.Errorf("line %d: %w", first+end, err)
	}
	if x.answer, x.wanted, err = head(lines[end+1:], x.want, &x.absent); err != nil {
		return nil, fmt.Errorf("line %d: %w", first+end, err)
	}
	return x, nil
}

// head reads header lines up to an empty one, and gives the body behind it and the names in their order.
func head(lines []string, into http.Header, absent *[]string) (body string, names []string, err error) {
	for i, line := range lines {
		if line == "" {
			return strings.TrimRight(strings.Join(lines[i+1:], "\n"), "\n"), names, nil
		}
		if name, ok := strings.CutPrefix(line, "! "); ok && absent != nil {
			*absent = append(*absent, strings.TrimSpace(name))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return "", nil, fmt.Errorf("%q is no header", line)
		}
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if len(into[name]) == 0 {
			names = append(names, name)
		}
		into.Add(name, strings.TrimSpace(value))
	}
	return "", names, nil
}

// directive matches what is meant as one of ours, however it is spelt.
var directive = regexp.MustCompile(`(?i)^#\s*(capt?[a-z-]*|adv[a-z]*|list[a-z]*|sour?[a-z]*)\s*:|^#\s*(not[ _-]?in[ _-]?spec|lenient[ _-]?req[a-z]*)\s*$`)

// placeholders are the values that no run repeats.
var placeholders = map[string]string{
	"jwt":    `[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`,
	"hex64":  `[0-9a-f]{64}`,
	"hex40":  `[0-9a-f]{40}`,
	"uuid":   `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`,
	"int":    `-?[0-9]+`,
	"b64url": `[A-Za-z0-9_-]+`,
	"text":   `[^"\n]*`,
}

var anyValue = regexp.MustCompile(`\{\{any:([a-z0-9]+)\}\}`)

// same compares what came with what was recorded, placeholders aside.
func same(got, want string) (bool, error) {
	if !strings.Contains(want, "{{any:") {
		return got == want, nil
	}
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	last := 0
	for _, m := range anyValue.FindAllStringSubmatchIndex(want, -1) {
		p, ok := placeholders[want[m[2]:m[3]]]
		if !ok {
			return false, fmt.Errorf("unknown placeholder %s", want[m[0]:m[1]])
		}
		pattern.WriteString(regexp.QuoteMeta(want[last:m[0]]) + "(?:" + p + ")")
		last = m[1]
	}
	pattern.WriteString(regexp.QuoteMeta(want[last:]) + `\z`)
	re, err := regexp.Compile(pattern.String())
	if err != nil {
		return false, err
	}
	return re.MatchString(got), nil
}

// rewrite puts the exchanges' answers into the file, and leaves what stands before them as it is.
func (f *file) rewrite() error {
	raw, err := os.ReadFile(f.name)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	n := 0
	skipping := false
	for line := range strings.Lines(string(raw)) {
		switch text := strings.TrimSuffix(line, "\n"); {
		case text == "---":
			skipping = false
			n++
		case strings.HasPrefix(text, "=== ") && !skipping:
			skipping = true
			f.exchanges[n].writeAnswer(&out)
		}
		if !skipping {
			out.WriteString(line)
		}
	}
	return os.WriteFile(f.name, out.Bytes(), 0o644)
}

func (x *exchange) writeAnswer(out *bytes.Buffer) {
	fmt.Fprintf(out, "=== %d\n", x.status)
	for _, name := range x.wanted {
		fmt.Fprintf(out, "%s: %s\n", name, strings.Join(x.want.Values(name), ", "))
	}
	for _, name := range x.absent {
		fmt.Fprintf(out, "! %s\n", name)
	}
	if x.answer != "" {
		fmt.Fprintf(out, "\n%s\n", x.answer)
	}
}
