package httpkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

func TestObject(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	many := func(n int, last string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"m%d":1,`, i)
		}
		return "{" + b.String() + last + "}"
	}
	tests := []struct {
		name, body string
		ok         bool
	}{
		{"empty", `{}`, true},
		{"space around", " \t\r\n{ \"a\" : [ 1 , true , null ] } \n", true},
		{"every value", `{"a":"x","b":-0.5,"c":true,"d":false,"e":null,"f":[],"g":{},"h":[{},"é😀"]}`, true},
		{"escapes", `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, true},
		{"same name in two objects", `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`, true},
		{"names that differ in case", `{"a":1,"A":2}`, true},
		{"deepest", deep(32), true},
		{"too deep", deep(33), false},
		{"very deep", strings.Repeat(`{"a":`, 20000), false},
		{"longest number", `{"a":` + strings.Repeat("9", 32) + `}`, true},
		{"too long a number", `{"a":` + strings.Repeat("9", 33) + `}`, false},
		{"huge exponent", `{"a":1e999999999}`, false},
		{"twice", `{"a":1,"a":2}`, false},
		{"twice in other letters", `{"a":1,"\u0061":2}`, false},
		{"twice deep", `{"a":[{"b":{"c":1,"c":1}}]}`, false},
		{"twice among many", many(100, `"m7":1`), false},
		{"many", many(100, `"last":1`), true},
		{"nothing", ``, false},
		{"array", `[]`, false},
		{"null", `null`, false},
		{"trailing", `{} {}`, false},
		{"trailing comma", `{"a":1,}`, false},
		{"comma missing", `{"a":1 "b":2}`, false},
		{"array comma", `{"a":[1,]}`, false},
		{"comment", `{/**/}`, false},
		{"single quotes", `{'a':1}`, false},
		{"bare name", `{a:1}`, false},
		{"NaN", `{"a":NaN}`, false},
		{"leading zero", `{"a":01}`, false},
		{"plus", `{"a":+1}`, false},
		{"bare dot", `{"a":1.}`, false},
		{"minus", `{"a":-}`, false},
		{"word cut", `{"a":tru`, false},
		{"control character", "{\"a\":\"\n\"}", false},
		{"escape unknown", `{"a":"\x41"}`, false},
		{"escape cut", `{"a":"\u00`, false},
		{"sign in hex", `{"a":"\u+123"}`, false},
		{"NUL", `{"a":"\u0000"}`, false},
		{"NUL in a name", `{"\u0000":1}`, false},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", false},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", false},
		{"lone surrogate", `{"a":"\ud800"}`, false},
		{"two high surrogates", `{"a":"\ud83d\ud83d"}`, false},
		{"low surrogate first", `{"a":"\ude00"}`, false},
		{"byte order mark", "\ufeff{}", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Object([]byte(tt.body))
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, identity.Invalid) {
				t.Errorf("Object = %v", err)
			}
		})
	}
}

// FuzzObject: what is accepted is JSON that encoding/json reads the same way, and nothing that it refuses is accepted.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\u00e9"}],"c":-1.5}`, `{"a":1,"a":2}`, `{"\ud800":0}`, "{\"\xff\":1}", `[1]`, `{"a":1e5}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, err := Object(body)
		if err != nil {
			if !errors.Is(err, identity.Invalid) || members != nil {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if !utf8.Valid(body) {
			t.Fatal("accepted what is not UTF-8")
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if !reflect.DeepEqual(members, want) {
			t.Fatalf("read %q, encoding/json %q", members, want)
		}
	})
}

type inner struct {
	Name string `json:"name"`
}

type bound struct {
	inner2                     // an unexported embedded struct lends its exported fields
	Text     string            `json:"Text"`
	Secret   identity.Secret   `json:"secret"`
	Flag     bool              `json:"flag"`
	Small    int8              `json:"small"`
	Count    uint              `json:"count"`
	Ratio    float64           `json:"ratio"`
	Pointer  *string           `json:"pointer"`
	One      inner             `json:"one"`
	List     []inner           `json:"list"`
	Map      map[string]int    `json:"map"`
	Any      any               `json:"any"`
	Raw      json.RawMessage   `json:"raw"`
	Optional Optional[string]  `json:"optional"`
	Several  Optional[[]inner] `json:"several"`
	Custom   custom            `json:"custom"`
	Untagged string
	Hidden   string `json:"-"`
}

type inner2 struct {
	Shared string `json:"shared"`
}

type custom string

func (c *custom) UnmarshalText(text []byte) error {
	if string(text) == "bad" {
		return errors.New("bad")
	}
	*c = custom("<" + string(text) + ">")
	return nil
}

func TestDecode(t *testing.T) {
	text := "t"
	tests := []struct {
		name, body string
		want       bound
	}{
		{"every kind",
			`{"Text":"a\n","secret":"s","flag":true,"small":-128,"count":7,"ratio":1.5,"pointer":"t","one":{"name":"x"},
			"list":[{"name":"y"}],"map":{"k":1},"any":[1],"raw":{"q":1},"optional":"o","several":[{"name":"z"}],"custom":"c","shared":"sh"}`,
			bound{inner2: inner2{"sh"}, Text: "a\n", Secret: "s", Flag: true, Small: -128, Count: 7, Ratio: 1.5, Pointer: &text, One: inner{"x"},
				List: []inner{{"y"}}, Map: map[string]int{"k": 1}, Any: []any{1.0}, Raw: json.RawMessage(`{"q":1}`),
				Optional: Optional[string]{true, false, "o"}, Several: Optional[[]inner]{true, false, []inner{{"z"}}}, Custom: "<c>"}},
		{"nothing", `{}`, bound{}},
		{"other case", `{"text":"x","TEXT":"x","Secret":"x","FLAG":true,"one":{"Name":"x"},"list":[{"NAME":"x"}]}`, bound{List: []inner{{}}}},
		{"unknown and untagged", `{"zzz":{"a":[1]},"Untagged":"x","-":"x","Hidden":"x","inner2":{"shared":"x"}}`, bound{}},
		{"null", `{"Text":null,"flag":null,"pointer":null,"list":null,"map":null,"custom":null,"optional":null}`,
			bound{Optional: Optional[string]{true, true, ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got bound
			if err := Decode([]byte(tt.body), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
		})
	}
}

func TestDecodeNamesTheField(t *testing.T) {
	tests := []struct{ body, field string }{
		{`{"Text":1}`, "Text"}, {`{"Text":["a"]}`, "Text"}, {`{"secret":{}}`, "secret"},
		{`{"flag":"true"}`, "flag"}, {`{"flag":1}`, "flag"},
		{`{"small":128}`, "small"}, {`{"small":1.0}`, "small"}, {`{"small":"1"}`, "small"}, {`{"count":-1}`, "count"},
		{`{"ratio":"1"}`, "ratio"}, {`{"ratio":true}`, "ratio"},
		{`{"pointer":1}`, "pointer"}, {`{"one":[]}`, "one"}, {`{"one":{"name":1}}`, "one.name"},
		{`{"list":{}}`, "list"}, {`{"list":[{"name":"x"},{"name":1}]}`, "list[1].name"},
		{`{"map":{"k":"v"}}`, "map.k"}, {`{"optional":1}`, "optional"}, {`{"several":[1]}`, "several[0]"},
		{`{"custom":1}`, "custom"}, {`{"custom":"bad"}`, "custom"}, {`{"a":1,"a":1}`, "a"},
	}
	for _, tt := range tests {
		var into bound
		err := Decode([]byte(tt.body), &into)
		if !errors.Is(err, identity.Invalid) || identity.Describe(err).Field != tt.field {
			t.Errorf("Decode(%s) = %v, want it Invalid in %s", tt.body, err, tt.field)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Text":"a","small":1,"list":[{"name":"x"}],"map":{"k":1},"any":{"a":[null]},"optional":null}`))
	f.Add([]byte(`{"ratio":99999999999999999999999999999999,"count":18446744073709551616}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var into bound
		if err := Decode(body, &into); err != nil && !errors.Is(err, identity.Invalid) {
			t.Fatalf("a client's mistake is called %v", err)
		}
	})
}

func TestReadBody(t *testing.T) {
	read := func(body string, limit int64, claimed int64) ([]byte, error) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.ContentLength = claimed
		return ReadBody(r, limit)
	}
	for _, claimed := range []int64{-1, 5} { // chunked or not
		if got, err := read("12345", 5, claimed); err != nil || string(got) != "12345" {
			t.Errorf("at the limit: %q, %v", got, err)
		}
		if _, err := read("12345", 4, claimed); !errors.Is(err, identity.TooLarge) {
			t.Errorf("over the limit: %v", err)
		}
	}
	r := httptest.NewRequest("POST", "/", iotest.ErrReader(errors.New("reset")))
	if _, err := ReadBody(r, 10); !errors.Is(err, identity.Invalid) {
		t.Errorf("broken off: %v", err)
	}
	r = httptest.NewRequest("POST", "/", iotest.ErrReader(os.ErrDeadlineExceeded))
	if _, err := ReadBody(r, 10); !errors.Is(err, identity.Invalid) {
		t.Errorf("the server's own limit: %v", err)
	}
	r.Body = nil
	if got, err := ReadBody(r, 10); err != nil || got != nil {
		t.Errorf("no body: %q, %v", got, err)
	}
}

func TestRequireJSON(t *testing.T) {
	tests := []struct {
		types []string
		ok    bool
	}{
		{[]string{"application/json"}, true}, {[]string{"Application/JSON; charset=utf-8"}, true},
		{nil, false}, {[]string{""}, false}, {[]string{"text/plain"}, false}, {[]string{"application/jsonx"}, false},
		{[]string{"application/json", "text/plain"}, false}, {[]string{"application/json; charset"}, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
		r.Header["Content-Type"] = tt.types
		if err := RequireJSON(r); tt.ok != (err == nil) || err != nil && !errors.Is(err, identity.MediaType) {
			t.Errorf("%q: %v", tt.types, err)
		}
	}
}

func TestMarshal(t *testing.T) {
	got, err := Marshal(map[string]string{"a": "<&>"})
	if err != nil || string(got) != `{"a":"<&>"}` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Marshal(make(chan int)); err == nil {
		t.Error("a channel marshals")
	}
}
