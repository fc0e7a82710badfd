package dialecttest

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the recorded answers with those that came")

// House is what a story is played against.
type House struct {
	Public  http.Handler
	Service http.Handler // the internal listener; may be nil
	Advance func(time.Duration)
	// Captured are names that a story may use from its first line, such as ids of its world. It may be nil.
	Captured map[string]string
}

// Options are what a door decides.
type Options struct {
	Dir      string                                 // "" = testdata
	Spec     []byte                                 // the door's OpenAPI document
	NewHouse func(t *testing.T, story string) House // a fresh one for each story; story is the file's name without .http
	Remote   string                                 // the client's address; "" = 192.0.2.1
}

type recorded struct {
	status int
	header http.Header
	body   string
}

// Replay plays every story. It fails on a folder without stories, on an answer that differs, on one that the document does not
// allow, and on an operation of the document that no story covers with a success.
func Replay(t *testing.T, o Options) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "testdata"
	}
	if o.Remote == "" {
		o.Remote = "192.0.2.1:40000"
	}
	names, err := filepath.Glob(filepath.Join(o.Dir, "*.http"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("%s holds no recorded exchange", o.Dir)
	}
	doc, err := newSpec(o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	played := 0
	for _, name := range names {
		story := strings.TrimSuffix(filepath.Base(name), ".http")
		t.Run(story, func(t *testing.T) {
			played++
			f, err := parse(name)
			if err != nil {
				t.Fatal(err)
			}
			play(t, f, o.NewHouse(t, story), o.Remote, doc)
		})
	}
	if played < len(names) {
		return // -run chose among the stories: what is uncovered says nothing
	}
	for _, missing := range doc.uncovered() {
		t.Errorf("no recorded exchange succeeds at %s", missing)
	}
}

func play(t *testing.T, f *file, house House, remote string, doc *spec) {
	t.Helper()
	vars := map[string]string{}
	maps.Copy(vars, house.Captured)
	for _, x := range f.exchanges {
		if x.advance > 0 {
			house.Advance(x.advance)
		}
		r, body, err := x.request(remote, vars)
		if err != nil {
			t.Fatalf("%s:%d: %v", f.name, x.line, err)
		}
		h := house.Public
		if x.service {
			h = house.Service
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		came := recorded{w.Code, w.Header(), w.Body.String()}
		if *update {
			x.take(came, vars)
		} else {
			for _, difference := range x.compare(came, vars) {
				t.Errorf("%s:%d: %s %s: %s", f.name, x.line, x.method, x.target, difference)
			}
		}
		if x.notInSpec {
			if doc.knows(r) {
				t.Errorf("%s:%d: the OpenAPI document has %s %s: drop not-in-spec, or write lenient-request if the contract takes more than the document says",
					f.name, x.line, x.method, x.target)
			}
		} else if err := doc.check(r, body, came, x.lenient); err != nil {
			t.Errorf("%s:%d: the OpenAPI document does not allow this: %v\nanswer: %d %s", f.name, x.line, err, came.status, came.body)
		}
		for name, path := range x.captures {
			value, err := dig(came.body, path)
			if err != nil {
				t.Fatalf("%s:%d: capture %s: %v in %s", f.name, x.line, name, err, came.body)
			}
			vars[name] = value
		}
		for name, header := range x.capHeaders {
			vars[name] = came.header.Get(header)
		}
	}
	if *update {
		if err := f.rewrite(); err != nil {
			t.Error(err)
		}
	}
}

// request makes what a server would hand to its handler, and the body beside it.
func (x *exchange) request(remote string, vars map[string]string) (*http.Request, string, error) {
	target, body := fill(x.target, vars), fill(x.body, vars)
	sent := []string{target, body}
	header, host := http.Header{}, ""
	for name, values := range x.header {
		for _, v := range values {
			v = fill(v, vars)
			sent = append(sent, v)
			if name == "Host" {
				host = v
				continue
			}
			header.Add(name, v)
		}
	}
	for _, text := range sent {
		// A misspelt name would be refused as a bad token, and the story would seem to hold.
		if hole := unfilled.FindString(text); hole != "" {
			return nil, "", fmt.Errorf("nothing was captured for %s", hole)
		}
	}
	r := httptest.NewRequest(x.method, target, strings.NewReader(body))
	r.RemoteAddr, r.Header = remote, header
	if host != "" {
		r.Host = host
	}
	return r, body, nil
}

var unfilled = regexp.MustCompile(`\{\{[A-Za-z0-9_:-]+\}\}`)

// compare lists how the answer that came differs from the recorded one.
func (x *exchange) compare(came recorded, vars map[string]string) (differences []string) {
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if came.status != x.status {
		differ("status %d, want %d\nbody: %s", came.status, x.status, came.body)
	}
	for _, name := range x.wanted {
		w := fill(strings.Join(x.want.Values(name), ", "), vars)
		got := strings.Join(came.header.Values(name), ", ")
		switch ok, err := same(got, w); {
		case err != nil:
			differ("header %s: %v", name, err)
		case !ok || len(came.header.Values(name)) == 0:
			differ("header %s: %q, want %q", name, came.header.Values(name), w)
		}
	}
	for _, name := range x.absent {
		if values := came.header.Values(name); len(values) > 0 {
			differ("header %s: %q, want none", name, values)
		}
	}
	want := fill(x.answer, vars)
	switch ok, err := same(strings.TrimRight(came.body, "\n"), want); {
	case err != nil:
		differ("body: %v", err)
	case !ok:
		differ("body\n%s\nwant\n%s", came.body, want)
	}
	return differences
}

// take makes the answer that came the recorded one. Placeholders and captured names that still fit stay, and values that no run
// repeats become such.
func (x *exchange) take(came recorded, vars map[string]string) {
	keep := func(recorded, got string) string {
		if ok, err := same(got, fill(recorded, vars)); err == nil && ok {
			return recorded
		}
		names := slices.SortedFunc(maps.Keys(vars), func(a, b string) int {
			return cmp.Or(len(vars[b])-len(vars[a]), strings.Compare(a, b))
		})
		for _, name := range names {
			if len(vars[name]) >= 16 { // a shorter one may be there by chance
				got = strings.ReplaceAll(got, vars[name], "{{"+name+"}}")
			}
		}
		return printedJWT.ReplaceAllString(got, "{{any:jwt}}")
	}
	x.status = came.status
	var still []string
	for _, name := range x.wanted {
		if values := came.header.Values(name); len(values) > 0 {
			x.want[name] = []string{keep(strings.Join(x.want.Values(name), ", "), strings.Join(values, ", "))}
			still = append(still, name)
		}
	}
	x.wanted = still
	x.absent = slices.DeleteFunc(x.absent, func(name string) bool { return len(came.header.Values(name)) > 0 })
	x.answer = keep(x.answer, strings.TrimRight(came.body, "\n"))
}

var printedJWT = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

func fill(s string, vars map[string]string) string {
	if !strings.Contains(s, "{{") {
		return s
	}
	for name, value := range vars {
		s = strings.ReplaceAll(s, "{{"+name+"}}", value)
	}
	return s
}

// dig follows a dotted path through JSON; a number is an index.
func dig(body, path string) (string, error) {
	var v any
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return "", err
	}
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[step]
			if !ok {
				return "", fmt.Errorf("no member %q", step)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) {
				return "", fmt.Errorf("no element %q", step)
			}
			v = at[i]
		default:
			return "", fmt.Errorf("nothing below %q", step)
		}
	}
	return fmt.Sprint(v), nil
}
