package dialecttest

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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
	for _, name := range names {
		story := strings.TrimSuffix(filepath.Base(name), ".http")
		t.Run(story, func(t *testing.T) {
			f, err := parse(name)
			if err != nil {
				t.Fatal(err)
			}
			play(t, f, o.NewHouse(t, story), o.Remote, doc)
		})
	}
	for _, missing := range doc.uncovered() {
		t.Errorf("no recorded exchange succeeds at %s", missing)
	}
}

func play(t *testing.T, f *file, house House, remote string, doc *spec) {
	t.Helper()
	vars := map[string]string{}
	for name, value := range house.Captured {
		vars[name] = value
	}
	got := map[*exchange]recorded{}
	for _, x := range f.exchanges {
		if x.advance > 0 {
			house.Advance(x.advance)
		}
		r := httptest.NewRequest(x.method, fill(x.target, vars), strings.NewReader(fill(x.body, vars)))
		r.RemoteAddr = remote
		for name, values := range x.header {
			for _, v := range values {
				if name == "Host" {
					r.Host = v
					continue
				}
				r.Header.Add(name, fill(v, vars))
			}
		}
		h := house.Public
		if x.service {
			h = house.Service
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		came := recorded{w.Code, w.Header(), w.Body.String()}
		got[x] = came
		if !*update {
			x.compare(t, f.name, came, vars)
		}
		if !x.notInSpec {
			if err := doc.check(r, fill(x.body, vars), came); err != nil {
				t.Errorf("%s:%d: the OpenAPI document does not allow this: %v\nanswer: %d %s", f.name, x.line, err, came.status, came.body)
			}
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
		if err := f.rewrite(got); err != nil {
			t.Error(err)
		}
	}
}

func (x *exchange) compare(t *testing.T, file string, came recorded, vars map[string]string) {
	t.Helper()
	if came.status != x.status {
		t.Errorf("%s:%d: %s %s: status %d, want %d\nbody: %s", file, x.line, x.method, x.target, came.status, x.status, came.body)
	}
	for name, want := range x.want {
		w := fill(strings.Join(want, ", "), vars)
		if ok, err := same(strings.Join(came.header.Values(name), ", "), w); err != nil || !ok {
			t.Errorf("%s:%d: header %s: %q, want %q %v", file, x.line, name, came.header.Values(name), w, err)
		}
	}
	for _, name := range x.absent {
		if values := came.header.Values(name); len(values) > 0 {
			t.Errorf("%s:%d: header %s: %q, want none", file, x.line, name, values)
		}
	}
	want := fill(x.answer, vars)
	if ok, err := same(strings.TrimRight(came.body, "\n"), want); err != nil || !ok {
		t.Errorf("%s:%d: %s %s: body\n%s\nwant\n%s %v", file, x.line, x.method, x.target, came.body, want, err)
	}
}

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
