package dialecttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const toySpec = `
openapi: 3.1.0
info: {title: toy, version: "1"}
paths:
  /greet/{name}:
    post:
      parameters:
        - {name: name, in: path, required: true, schema: {type: string}}
        - {name: loud, in: query, schema: {type: boolean}}
      requestBody: {content: {application/json: {schema: {type: object, required: [times], properties: {times: {type: integer}}}}}}
      responses:
        "200": {description: greeted, content: {application/json: {schema: {type: object, required: [text, id], properties: {text: {type: string}, id: {type: string}}}}}}
        "204": {description: nothing to say}
        "400": {description: refused, content: {application/json: {schema: {type: object, required: [error], properties: {error: {type: string}}}}}}
`

// toy greets as often as it is told to, with body for an answer where one is given, and tells the time.
func toy(body string, now *time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /greet/{name}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Times int }
		_ = json.NewDecoder(r.Body).Decode(&in)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Minute", fmt.Sprint(now.Minute()))
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		if in.Times == 0 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"` + r.PathValue("name") + `"}`))
			return
		}
		answer := body
		if answer == "" {
			answer = `{"text":"NAME","id":"0e37df36-f698-11e6-8dd4-cb9ced3df976"}`
		}
		name := strings.TrimSpace(strings.Repeat(" "+r.PathValue("name"), in.Times))
		_, _ = w.Write([]byte(strings.ReplaceAll(answer, "NAME", name)))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	return mux
}

func toyHouse(body string) House {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := toy(body, &now)
	return House{Public: h, Service: h, Advance: func(d time.Duration) { now = now.Add(d) }, Captured: map[string]string{"eve": "eve"}}
}

func TestReplay(t *testing.T) {
	Replay(t, Options{Spec: []byte(toySpec), NewHouse: func(*testing.T, string) House { return toyHouse("") }})
}

// Each detector must be seen to fire, or its silence says nothing.

func TestDocumentDetectors(t *testing.T) {
	answered := func(status int, media, body string) recorded {
		h := http.Header{}
		if media != "" {
			h.Set("Content-Type", media)
		}
		return recorded{status, h, body}
	}
	const good = `{"text":"x","id":"y"}`
	tests := []struct {
		name, target, body string
		came               recorded
		lenient            bool
		complaint          string // "" = none
	}{
		{"good", "/greet/ada?loud=true", `{"times":2}`, answered(200, "application/json", good), false, ""},
		{"member missing", "/greet/ada", `{"times":2}`, answered(200, "application/json", `{"text":"x"}`), false, `missing property`},
		{"wrong type", "/greet/ada", `{"times":2}`, answered(200, "application/json", `{"text":1,"id":"y"}`), false, "text"},
		{"no JSON", "/greet/ada", `{"times":2}`, answered(200, "application/json", `nonsense`), false, "decode"},
		{"other media type", "/greet/ada", `{"times":2}`, answered(200, "text/plain", good), false, "text/plain"},
		{"status unknown", "/greet/ada", `{"times":2}`, answered(418, "application/json", good), false, "418"},
		{"body not promised", "/greet/ada", `{"times":2}`, answered(204, "", "x"), false, "no body"},
		{"body missing", "/greet/ada", `{"times":2}`, answered(200, "application/json", ""), false, "promises a body"},
		{"nothing promised, nothing sent", "/greet/ada", `{"times":2}`, answered(204, "", ""), false, ""},
		{"request body forbidden", "/greet/ada", `{"times":"two"}`, answered(200, "application/json", good), false, "of the request"},
		{"the same, refused", "/greet/ada", `{"times":"two"}`, answered(400, "application/json", `{"error":"x"}`), false, ""},
		{"the same, lenient", "/greet/ada", `{"times":"two"}`, answered(200, "application/json", good), true, ""},
		{"lenient, answer wrong", "/greet/ada", `{"times":"two"}`, answered(200, "application/json", `{}`), true, "missing"},
		{"query forbidden", "/greet/ada?loud=maybe", `{"times":2}`, answered(200, "application/json", good), false, "of the request"},
		{"unknown path", "/nowhere", `{"times":2}`, answered(404, "", ""), false, "no matching operation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := newSpec([]byte(toySpec))
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, tt.target, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json")
			err = doc.check(r, tt.body, tt.came, tt.lenient)
			if (err == nil) != (tt.complaint == "") || err != nil && !strings.Contains(err.Error(), tt.complaint) {
				t.Errorf("check = %v, want %q in it", err, tt.complaint)
			}
			covered := len(doc.uncovered()) == 0
			if want := tt.target != "/nowhere" && tt.came.status < 400; covered != want {
				t.Errorf("covered: %v", covered)
			}
		})
	}
}

func TestDocumentsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no document":  `: :`,
		"not valid":    strings.Replace(toySpec, `in: path, required: true`, `in: path`, 1),
		"another form": strings.Replace(toySpec, `3.1.0`, `3.0.3`, 1),
	} {
		if _, err := newSpec([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAnswerDetectors(t *testing.T) {
	const story = `# source: the toy
POST /greet/ada

{"times":2}
=== 200
Content-Type: application/json
X-Two: a, b
! Set-Cookie

{"text":"ada ada","id":"{{any:uuid}}"}
`
	const id = `"0e37df36-f698-11e6-8dd4-cb9ced3df976"`
	came := func(change func(*recorded)) recorded {
		r := recorded{200, http.Header{"Content-Type": {"application/json"}, "X-Two": {"a", "b"}, "Unnamed": {"x"}}, `{"text":"ada ada","id":` + id + `}`}
		change(&r)
		return r
	}
	tests := []struct {
		name   string
		change func(*recorded)
		want   string // in the only difference; "" = none
	}{
		{"equal", func(*recorded) {}, ""},
		{"status", func(r *recorded) { r.status = 201 }, "status 201"},
		{"header differs", func(r *recorded) { r.header.Set("Content-Type", "application/json; charset=utf-8") }, "Content-Type"},
		{"header missing", func(r *recorded) { r.header.Del("Content-Type") }, "Content-Type"},
		{"one value more", func(r *recorded) { r.header.Add("X-Two", "c") }, "X-Two"},
		{"order of values", func(r *recorded) { r.header["X-Two"] = []string{"b", "a"} }, "X-Two"},
		{"forbidden header", func(r *recorded) { r.header.Set("Set-Cookie", "") }, "Set-Cookie"},
		{"a space", func(r *recorded) { r.body += " " }, "body"},
		{"not what the placeholder stands for", func(r *recorded) { r.body = strings.ToUpper(r.body) }, "body"},
		{"a point is no wildcard", func(r *recorded) { r.body = strings.Replace(r.body, "ada ada", "ada-ada", 1) }, "body"},
		{"nothing", func(r *recorded) { r.body = "" }, "body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := read(t, story)
			got := f.exchanges[0].compare(came(tt.change), nil)
			if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("differences %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStoriesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no source":            "GET /\n=== 200\n",
		"empty source":         "# source:\nGET /\n=== 200\n",
		"no request":           "# source: x\n",
		"no target":            "# source: x\nGET\n=== 200\n",
		"no answer":            "# source: x\nGET /\n",
		"no status":            "# source: x\nGET /\n=== ok\n",
		"no header":            "# source: x\nGET /\nnonsense\n=== 200\n",
		"forbids a request's":  "# source: x\nGET /\n! Accept\n=== 200\n",
		"misspelt directive":   "# source: x\n# capure: a = b\nGET /\n=== 200\n",
		"another misspelling":  "# source: x\n# not in spec\nGET /\n=== 200\n",
		"no duration":          "# source: x\n# advance: soon\nGET /\n=== 200\n",
		"second one is broken": "# source: x\nGET /\n=== 200\n---\n# advance: 1s\n",
	} {
		if _, err := parse(write(t, text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	f := read(t, "# source: x\n# unknown: a comment, of a kind\n# it is not in the spec\nGET /\n=== 200\n")
	x := f.exchanges[0]
	_, _, err := (&exchange{method: "GET", target: "/{{who}}"}).request("192.0.2.1:1", nil)
	if err == nil {
		t.Error("a request goes out with a hole in it")
	}
	if _, err := same("x", "{{any:thing}}"); err == nil {
		t.Error("an unknown placeholder stands for something")
	}
	doc, err := newSpec([]byte(toySpec))
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := x.request("192.0.2.1:1", nil)
	if err != nil || doc.knows(r) {
		t.Errorf("the document knows GET / (%v)", err)
	}
	if !doc.knows(httptest.NewRequest(http.MethodPost, "/greet/ada", nil)) {
		t.Error("a stale not-in-spec passes")
	}
}

// What -update writes is what a replay accepts, and it keeps what people wrote.
func TestUpdate(t *testing.T) {
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
	path := write(t, `# source: the toy
# a comment that stays
# capture: token = id
POST /greet/ada
Content-Type: application/json

{"times":1}
=== 500
X-Minute: 7
Content-Type: text/plain
! X-Two
! X-Gone

nothing like it
---
POST /greet/bob

{"times":1}
=== 200

{"text":"bob","id":"{{token}}"}
`)
	want := `# source: the toy
# a comment that stays
# capture: token = id
POST /greet/ada
Content-Type: application/json

{"times":1}
=== 200
X-Minute: 0
Content-Type: application/json
! X-Gone

{"text":"ada","id":"{{any:jwt}}"}
---
POST /greet/bob

{"times":1}
=== 200

{"text":"bob","id":"{{token}}"}
`
	f, err := parse(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := newSpec([]byte(toySpec))
	if err != nil {
		t.Fatal(err)
	}
	*update = true
	play(t, f, toyHouse(`{"text":"NAME","id":"`+jwt+`"}`), "192.0.2.1:1", doc)
	*update = false
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("wrote\n%s\nwant\n%s", got, want)
	}
	f, err = parse(path)
	if err != nil {
		t.Fatal(err)
	}
	play(t, f, toyHouse(`{"text":"NAME","id":"`+jwt+`"}`), "192.0.2.1:1", doc)
}

func TestDig(t *testing.T) {
	const body = `{"a":{"b":[{"c":"x"},7,true]},"big":12345678901234567890}`
	for path, want := range map[string]string{"a.b.0.c": "x", "a.b.1": "7", "a.b.2": "true", "big": "12345678901234567890"} {
		if got, err := dig(body, path); err != nil || got != want {
			t.Errorf("dig %s = %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"a.x", "a.b.3", "a.b.-1", "a.b.c", "big.x", ""} {
		if got, err := dig(body, path); err == nil {
			t.Errorf("dig %s = %q", path, got)
		}
	}
	if _, err := dig("nonsense", "a"); err == nil {
		t.Error("digs in what is no JSON")
	}
}

// FuzzParse: no story, however damaged, breaks the reader.
func FuzzParse(f *testing.F) {
	greet, err := os.ReadFile("testdata/greet.http")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(greet))
	f.Add("# source: x\nGET /\n=== 200\n! A\nB: c\n\nbody\n---\n")
	path := filepath.Join(f.TempDir(), "x.http")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		story, err := parse(path)
		if err == nil && (story.source == "" || len(story.exchanges) == 0) {
			t.Errorf("%q is a story", text)
		}
	})
}

func read(t *testing.T, text string) *file {
	t.Helper()
	f, err := parse(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "story.http")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
