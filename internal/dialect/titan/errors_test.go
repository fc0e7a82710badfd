package titan

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

func TestEveryKindHasAnAnswer(t *testing.T) {
	types := map[int]string{
		401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "validation", 415: "validation", 422: "validation",
		429: "too_many_requests", 500: "server", 503: "server",
	}
	for _, kind := range identity.Kinds() {
		a, known := answers[kind]
		if !known {
			t.Errorf("no answer for %v", kind)
			continue
		}
		if a.say[english] == "" || a.say[german] == "" || a.say[english] == a.say[german] {
			t.Errorf("%v: not said in both languages: %q", kind, a.say)
		}
		if a.status >= 500 && kind != identity.Internal && kind != identity.Unavailable && kind != identity.Busy {
			t.Errorf("%v is answered with %d: the sender's fault looks like ours", kind, a.status)
		}
		for _, l := range []language{english, german} {
			status, f := describe(kind.Wrap(errors.New("inside")), l)
			if status != a.status || f.Code != status || f.Type != types[status] || f.Type == "" || f.Message != a.say[l] {
				t.Errorf("%v: %d %+v", kind, status, f)
			}
			if (f.Errors != nil) != (f.Type == "validation") {
				t.Errorf("%v: errors with type %s", kind, f.Type)
			}
		}
	}
	if len(answers) != len(identity.Kinds()) {
		t.Errorf("%d answers for %d kinds", len(answers), len(identity.Kinds()))
	}
	for _, status := range []int{405} {
		if typeOf(status) != types[status] {
			t.Errorf("type of %d: %s", status, typeOf(status))
		}
	}
	// Who has not the right password must not learn whether the account is disabled, nor whether it exists.
	if answers[identity.Suspended] != answers[identity.BadCredential] {
		t.Error("a disabled account has an answer of its own")
	}
}

func TestRefuse(t *testing.T) {
	d := &Dialect{Now: func() time.Time { return start }}
	stamp := `,"timestamp":1767225600123}`
	tests := []struct {
		name   string
		err    error
		status int
		want   string
		retry  string
	}{
		{"unclassified", errors.New("disk on fire"), 500, `{"success":false,"error":{"code":500,"type":"server","message":"Something went wrong."}` + stamp, ""},
		{"the core's words stay inside", identity.Denied.Because("not while acting"), 403,
			`{"success":false,"error":{"code":403,"type":"forbidden","message":"You are not allowed to do this."}` + stamp, ""},
		{"fields", &invalid{map[string][]words{"password": {required}}}, 422,
			`{"success":false,"error":{"code":422,"type":"validation","message":"The given data was invalid.","errors":{"password":["The password field is required."]}}` + stamp, ""},
		{"body", identity.Invalid.Because("the body is not JSON"), 422,
			`{"success":false,"error":{"code":422,"type":"validation","message":"The given data was invalid.","errors":{}}` + stamp, ""},
		{"name given twice", identity.Invalid.In(`a"<b`, "is given twice"), 422,
			`{"success":false,"error":{"code":422,"type":"validation","message":"The given data was invalid.","errors":{"a\"<b":["The a\"<b field is given twice."]}}` + stamp, ""},
		{"hub", hubClosed, 401, `{"success":false,"error":{"code":401,"type":"unauthorized","message":"This hub cannot be entered."}` + stamp, ""},
		{"locked", identity.Locked.After(90*time.Second+time.Millisecond, "x"), 429,
			`{"success":false,"error":{"code":429,"type":"too_many_requests","message":"Too many failed attempts. Please try again later."}` + stamp, "91"},
		{"store away", identity.Unavailable.Wrap(errors.New("dial tcp")), 503,
			`{"success":false,"error":{"code":503,"type":"server","message":"The service is not available right now. Please try again later."}` + stamp, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			d.refuse(w, httptest.NewRequest(http.MethodPost, "/auth", nil), english, tt.err)
			if w.Code != tt.status || w.Body.String() != tt.want {
				t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, tt.status, tt.want)
			}
			h := w.Header()
			if h.Get("Retry-After") != tt.retry || h.Get("Cache-Control") != "no-store" || (h.Get("WWW-Authenticate") == "Bearer") != (tt.status == 401) {
				t.Errorf("headers %v", h)
			}
		})
	}
}

// Each field sentence names its field, in both languages.
func TestFieldSentences(t *testing.T) {
	for _, w := range []words{required, notText, notFlag, givenTwice, notBeside, notChosen, stale} {
		for _, l := range []language{english, german} {
			if text := w.in(l, "code"); !strings.Contains(text, "code") || strings.Contains(text, "{") {
				t.Errorf("%q", text)
			}
		}
	}
}

// A decoder refuses in one way only.
func FuzzRead(f *testing.F) {
	f.Add(`{"user":"titan","password":"x","hub":true,"remember":null,"token":"x"}`, "application/json")
	f.Add(`{"code":"013120"}`, "application/json; charset=utf-8")
	f.Add(`{"code":{"code":{"code":[1e9]}}}`, "text/plain")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := httptest.NewRequest(http.MethodPost, "/auth", strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		in, err := read(r)
		if err == nil {
			for _, name := range []string{"user", "password", "code"} {
				if text := in.text(name); text == "" && in.wrong[name] == nil {
					t.Errorf("%s is empty, and nothing is wrong with it: %s", name, body)
				}
			}
			in.flag("hub", true)
			in.flag("remember", false)
			in.refuse("token", notBeside)
			err = in.mistakes()
		}
		if err == nil {
			return
		}
		status, failure := describe(err, german)
		if status != 422 && status != 415 && status != 413 {
			t.Errorf("status %d for %q as %q", status, body, contentType)
		}
		if _, err := json.Marshal(failure); err != nil {
			t.Error(err)
		}
	})
}
