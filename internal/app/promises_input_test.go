package app_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/dialect/titan"
)

// damaged is a request that cannot mean anything, or hardly.
type damaged struct {
	what string
	in   request
	// refused: nothing but a refusal will do. Of the others some doors may find a meaning in what is wrong.
	refused bool
}

// damage makes of a request that succeeds all that a careless or hostile client might send instead. Where each success costs a new
// sign-in, only the header that can make it fail is damaged: the others are the door's to read, not the operation's.
func damage(good request, costly bool) []damaged {
	var all []damaged
	add := func(what string, refused bool, change func(in *request)) {
		in := good
		in.header = slices.Clone(good.header)
		change(&in)
		all = append(all, damaged{what, in, refused})
	}
	body := func(what, text string, refused bool) {
		add(what, refused && good.body != "", func(in *request) { in.body = text })
	}
	isForm := good.contentType == formType
	has := good.body != ""
	room := 65 << 10
	if strings.HasPrefix(good.contentType, "multipart/") { // a file
		room = 2_100_000
	}
	sent := good.method != http.MethodGet && good.method != http.MethodDelete
	if sent {
		body("body too large", strings.Repeat(" ", room)+good.body, true)
		add("body too large, of unknown length", has, func(in *request) {
			in.body, in.unsized = good.body+strings.Repeat(" ", room), true // cut off at the bound it would mean something
		})
		body("body far too large", `{"a":"`+strings.Repeat("x", 2<<20)+`"}`, true)
		if i := strings.LastIndexAny(good.body, `"=`); i >= 0 {
			body("body not UTF-8", good.body[:i]+"\xff\xfe"+good.body[i:], true)
		}
		body("body not UTF-8 at all", "\xff\xfe\xfd", true)
		body("body of zero bytes", "\x00\x00", true)
		body("body cut short", good.body[:len(good.body)/2], false)
		for _, odd := range []string{"", "null", "[]", "{}", "0", `""`, "true", "-", "{", "}", "%", "&", "=", "&&==&", `{"":{}}`} {
			body("body "+odd, odd, false)
		}
	}
	var members map[string]any
	if sent && has && !isForm && json.Unmarshal([]byte(good.body), &members) == nil && len(members) > 0 {
		with := func(name string, value any) string {
			m := maps.Clone(members)
			m[name] = value
			text, _ := json.Marshal(m) // what came from JSON goes back
			return string(text)
		}
		body("too deep", strings.Repeat(`{"a":`, 100_00)+"1"+strings.Repeat("}", 100_00), true)
		body("too deep, of lists", strings.Repeat("[", 20_000), true)
		body("trailing garbage", good.body+"x", true)
		body("two documents", good.body+good.body, true)
		body("in a list", "["+good.body+"]", true)
		body("a byte order mark", "\ufeff"+good.body, true)
		body("a comment", "/* */"+good.body, true)
		body("a comma too many", strings.TrimSuffix(good.body, "}")+",}", true)
		body("quotes of another kind", strings.ReplaceAll(good.body, `"`, "'"), true)
		body("an unknown member", with("unknown", map[string]any{"a": []int{1}}), false)
		for _, name := range []string{"__proto__", "isSuperAdmin", "IsSuperAdmin", "superadmin", "role", "sub"} {
			body("the member "+name, with(name, true), false)
		}
		for name, value := range members {
			quoted, _ := json.Marshal(name)
			again, _ := json.Marshal(value)
			body("twice "+name, strings.TrimSuffix(good.body, "}")+","+string(quoted)+":"+string(again)+"}", true)
			body("no "+name, func() string {
				m := maps.Clone(members)
				delete(m, name)
				text, _ := json.Marshal(m)
				return string(text)
			}(), false)
			for kind, odd := range map[string]any{
				"null": nil, "number": 1, "negative": -1, "list": []string{"x"}, "object": map[string]any{"x": 1}, "true": true, "false": false, "empty": "", "text": "x",
				"a zero byte": "a\x00b", "lines": "a\r\nb", "very long": strings.Repeat("ä", 20_000), "half a pair": json.RawMessage(`"\ud800"`),
				"a huge number": json.RawMessage("1e400"), "many digits": json.RawMessage(strings.Repeat("9", 5000)), "a right-to-left mark": "a\u202eb",
				"a format": "%s%n%x{{.}}${x}' OR 1=1 --<script>", "spaces": "   ", "a very small number": json.RawMessage("1e-999999999"),
			} {
				if s, ok := value.(string); !ok || s != odd {
					body(name+" is "+kind, with(name, odd), kind == "list" || kind == "object" || kind == "half a pair" || kind == "many digits")
				}
			}
		}
		for _, media := range []string{"text/plain", "application/xml", "multipart/form-data", formType, "application/json; charset=utf-16", "x", ";", "application/json, application/json"} {
			add("media type "+media, false, func(in *request) { in.contentType = media })
		}
		add("two media types", false, func(in *request) { in.header = append(in.header, [2]string{"Content-Type", "text/plain"}) })
	}
	if values, err := url.ParseQuery(good.body); isForm && err == nil {
		for name := range values {
			if name == "scope" {
				continue // several words are several scopes, and one is enough to be refused for
			}
			body("twice "+name, good.body+"&"+url.QueryEscape(name)+"="+url.QueryEscape(values.Get(name)), true)
			for kind, odd := range map[string]string{"empty": "", "a zero byte": "\x00", "very long": strings.Repeat("x", 40_000), "not UTF-8": "\xff", "lines": "a\r\nb"} {
				m := maps.Clone(values)
				m[name] = []string{odd}
				body(name+" is "+kind, m.Encode(), false)
			}
			body("half an escape in "+name, good.body+"&"+name+"=%zz", true)
		}
		body("JSON", object("grant_type", "password"), false)
		for _, media := range []string{"text/plain", "application/json", "multipart/form-data; boundary=x"} {
			add("media type "+media, false, func(in *request) { in.contentType = media })
		}
	}
	// The path and the query of every operation.
	path, query, _ := strings.Cut(good.target, "?")
	parts := strings.Split(path, "/")
	for _, odd := range []string{"..", ".", "%00", "\x00", "-1", "1000000000000000000", "99999999999999999999", "x'", "ä", "\xff", "null", "undefined", strings.Repeat("x", 5000), "a b", "%2f", "01A0A000-0000-7000-8000-0000000000A1"} {
		changed := slices.Clone(parts)
		changed[len(changed)-1] = odd
		add("path ends in "+odd[:min(len(odd), 20)], false, func(in *request) { in.target = strings.Join(changed, "/") + "?" + query })
	}
	for _, odd := range []string{
		"limit=-1", "limit=1000000000000000000", "Limit=-1&Offset=-1", "offset=99999999999999999999", "limit=x", "limit=", "limit=1&limit=2", "%zz", "a=%ff", "token=%00", "me=maybe",
		"grant_type=x", "grant_type=refresh_token&grant_type=refresh_token", "requirements=2", "completeMFAChallenge=true&requirements=true", strings.Repeat("a=b&", 5000), ";;;", "x[]=1&x[a]=2",
	} {
		add("query "+odd[:min(len(odd), 40)], false, func(in *request) { in.target = path + "?" + query + "&" + odd })
	}
	for name, values := range map[string][]string{
		"Authorization": {"Bearer", "Bearer ", "bearer x y", "Basic", "Basic !!!", "Basic Og==", "x", strings.Repeat("x", 20_000), "Bearer \x00", "Bearer ä"},
		"X-Act-As-Kind": {"user", "", "\xff"}, "X-Act-As-ID": {"x", "\x00"}, "Content-Language": {"de", "xx", strings.Repeat("de,", 2000), "\xff"},
		"Accept": {"text/html", "*/*;q=x"}, "Content-Encoding": {"gzip"}, "Content-Length": {"-1"}, "Transfer-Encoding": {"chunked"},
		"X-Forwarded-For": {"x", strings.Repeat("1.2.3.4,", 2000)}, "X-Forwarded-Host": {"evil.test"}, "Host": {"evil.test"}, "Origin": {"null", "https://evil.test", "\xff"},
		"X-HTTP-Method-Override": {"DELETE"}, "X-API-KEY": {"", "x"}, "If-None-Match": {"*", `W/"`, strings.Repeat(`"x",`, 3000)}, "Cookie": {strings.Repeat("a=b;", 3000)},
		"User-Agent": {"\xff\xfe", strings.Repeat("x", 10_000)},
	} {
		if costly && name != "Authorization" {
			continue
		}
		for _, v := range values {
			add("header "+name+" "+v[:min(len(v), 20)], false, func(in *request) { in.header = append(in.header, [2]string{name, v}) })
		}
		add("header "+name+" twice", false, func(in *request) {
			in.header = append(in.header, [2]string{name, values[0]}, [2]string{name, values[0]})
		})
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X"} {
		if method != good.method {
			add("method "+method, false, func(in *request) { in.method = method })
		}
	}
	return all
}

// Whatever is wrong with a request: never an error of ours, always the door's envelope, and nothing written by what is refused
// (issue "Bad input"). Failed tries and their audit rows are what counting is for, and no part of the state that is compared.
func TestBadInput(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	valid := newValidator(t, h)
	tried, refused := 0, 0
	for _, r := range recipes {
		token := ""
		if r.takes != nil {
			token = h.print(t, r.takes[0], h.holder(t, r, r.takes[0]))
		}
		good := r.make(t, h, token)
		cases := damage(good, r.usesUp())
		var no []damaged // that were refused
		for i := range cases {
			d := &cases[i]
			tried++
			h.Clock.Advance(time.Second)
			a := h.send(d.in)
			ours := sameOperation(d.in, good) && a.status != http.StatusMethodNotAllowed
			if a.status >= 500 && a.status != http.StatusNotImplemented {
				t.Errorf("%s, %s: %v", r.name(), d.what, a)
			}
			if ours {
				if err := valid(r.door, d.in, a); err != nil {
					t.Errorf("%s, %s: %v in %v", r.name(), d.what, err, a)
				}
			}
			if a.status < 400 {
				if d.refused {
					t.Errorf("%s, %s: taken: %v", r.name(), d.what, a)
				}
				if r.usesUp() {
					fresh := h.print(t, r.takes[0], h.holder(t, r, r.takes[0]))
					for j := range cases {
						cases[j].in.swap(token, fresh)
					}
					for j := range no {
						no[j].in.swap(token, fresh)
					}
					token = fresh
				}
				continue
			}
			refused++
			if d.in.method != http.MethodHead && !envelope(a) {
				t.Errorf("%s, %s: no envelope of a door: %v", r.name(), d.what, a)
			}
			no = append(no, *d)
		}
		h.writesNothing(t, r, no)
	}
	t.Logf("%d bad requests, %d of them refused", tried, refused)
	if tried < 3500 || refused < tried/3 {
		t.Errorf("%d bad requests, %d of them refused: the generator is broken", tried, refused)
	}
}

// usesUp says whether a request that succeeds may be the last with its token.
func (r recipe) usesUp() bool {
	return r.takes != nil && (r.inBody || r.door == titan.Door && r.op != "ping" || slices.Contains([]string{"signOut", "refresh", "refreshShort", "updatePassword", "nxRefreshShort", "nxLogout", "cloudRevoke"}, r.op))
}

// sameOperation says whether a request is still for the operation that it was made from.
func sameOperation(a, b request) bool {
	one, _, _ := strings.Cut(a.target, "?")
	two, _, _ := strings.Cut(b.target, "?")
	return a.method == b.method && one == two
}

// swap puts a fresh token where the old one stands.
func (in *request) swap(old, fresh string) {
	for _, part := range []*string{&in.bearer, &in.target, &in.body} {
		*part = strings.ReplaceAll(*part, old, fresh)
	}
}

// writesNothing sends what was refused once more, and finds who wrote by halves.
func (h *house) writesNothing(t *testing.T, r recipe, refused []damaged) {
	t.Helper()
	before := h.state(t)
	for _, d := range refused {
		h.Clock.Advance(time.Second)
		if h.send(d.in).ok() {
			return // it means something by now
		}
	}
	if h.state(t) == before {
		return
	}
	if len(refused) == 1 {
		t.Errorf("%s, %s: refused, and something was written", r.name(), refused[0].what)
		return
	}
	h.writesNothing(t, r, refused[:len(refused)/2])
	h.writesNothing(t, r, refused[len(refused)/2:])
}

// envelope says whether an answer is a refusal as one of the doors words it.
func envelope(a answer) bool {
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return strings.Contains(a.body, "<main>")
	}
	var m map[string]any
	if json.Unmarshal([]byte(a.body), &m) != nil {
		return a.body == "" && a.status == http.StatusMethodNotAllowed
	}
	for _, member := range []string{"Message", "error", "ErrorCode", "status", "Error", "resultCode"} {
		if _, ok := m[member]; ok {
			return true
		}
	}
	return false
}

// The check of bad input sees what it should see.
func TestBadInputChecksFire(t *testing.T) {
	for _, a := range []answer{{status: 400, body: ""}, {status: 400, body: "oops"}, {status: 400, body: `{"x":1}`}, {status: 500, body: "[]"}} {
		if envelope(a) {
			t.Errorf("%v passes for a door's envelope", a)
		}
	}
	h := newHouse(t, apptest.Options{})
	before := h.state(t)
	h.print(t, nxAccess, "ada@example.test")
	if h.state(t) == before {
		t.Error("a sign-in does not show in the state that is compared")
	}
	before = h.state(t)
	h.resetLink(t, "ada@example.test")
	if h.state(t) == before {
		t.Error("a mail does not show in the state that is compared")
	}
}
