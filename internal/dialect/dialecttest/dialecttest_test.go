package dialecttest

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const toySpec = `
openapi: 3.1.0
info: {title: toy, version: "1"}
paths:
  /greet/{name}:
    post:
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      requestBody: {content: {application/json: {schema: {type: object, required: [times], properties: {times: {type: integer}}}}}}
      responses:
        "200": {description: greeted, content: {application/json: {schema: {type: object, required: [text, id], properties: {text: {type: string}, id: {type: string}}}}}}
        "400": {description: refused, content: {application/json: {schema: {type: object, required: [error], properties: {error: {type: string}}}}}}
`

func toy(body string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /greet/{name}", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Times int }
		_ = json.NewDecoder(r.Body).Decode(&in)
		w.Header().Set("Content-Type", "application/json")
		if in.Times == 0 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"` + r.PathValue("name") + `"}`))
			return
		}
		if body == "" {
			body = `{"text":"NAME","id":"0e37df36-f698-11e6-8dd4-cb9ced3df976"}`
		}
		name := strings.TrimSpace(strings.Repeat(" "+r.PathValue("name"), in.Times))
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "NAME", name)))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	return mux
}

func TestReplay(t *testing.T) {
	Replay(t, Options{Spec: []byte(toySpec), NewHouse: func(*testing.T, string) House { return House{Public: toy("")} }})
}

// Each detector must be seen to fire, or its silence says nothing.
func TestDetectors(t *testing.T) {
	doc, err := newSpec([]byte(toySpec))
	if err != nil {
		t.Fatal(err)
	}
	if missing := doc.uncovered(); len(missing) != 1 || missing[0] != "POST /greet/{name}" {
		t.Errorf("uncovered %q", missing)
	}
	f, err := parse("testdata/greet.http")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.exchanges) != 4 || f.exchanges[0].absent[0] != "Set-Cookie" || !f.exchanges[3].notInSpec {
		t.Fatalf("parsed %+v", f.exchanges)
	}
	for got, want := range map[string]bool{
		`{"text":"ada ada","id":"0e37df36-f698-11e6-8dd4-cb9ced3df976"}`:  true,
		`{"text":"ada ada","id":"0E37DF36-F698-11E6-8DD4-CB9CED3DF976"}`:  false,
		`{"text":"ada ada","id":"0e37df36-f698-11e6-8dd4-cb9ced3df976"} `: false,
		`{"text":"adaxada","id":"0e37df36-f698-11e6-8dd4-cb9ced3df976"}`:  false,
	} {
		if ok, err := same(got, f.exchanges[0].answer); err != nil || ok != want {
			t.Errorf("same(%s) = %v, %v", got, ok, err)
		}
	}
	sourceless := filepath.Join(t.TempDir(), "x.http")
	if err := os.WriteFile(sourceless, []byte("GET /\n=== 200\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(sourceless); err == nil {
		t.Error("a story without a source is taken")
	}
	r, err := http.NewRequest(http.MethodPost, "/greet/ada", strings.NewReader(`{"times":2}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answers := map[string]bool{`{"text":"x","id":"y"}`: true, `{"text":"x"}`: false, `{"text":1,"id":"y"}`: false, `nonsense`: false}
	for body, allowed := range answers {
		err := doc.check(r, `{"times":2}`, recorded{200, http.Header{"Content-Type": {"application/json"}}, body})
		if (err == nil) != allowed {
			t.Errorf("check of %s = %v", body, err)
		}
	}
	if doc.check(r, `{"times":2}`, recorded{418, http.Header{"Content-Type": {"application/json"}}, `{}`}) == nil {
		t.Error("an undocumented status is allowed")
	}
	if doc.check(r, `{"times":"two"}`, recorded{200, http.Header{"Content-Type": {"application/json"}}, `{"text":"x","id":"y"}`}) == nil {
		t.Error("a request that the document forbids is allowed to succeed")
	}
}
