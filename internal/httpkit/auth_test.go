package httpkit

import (
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/identity"
)

func TestBearer(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		want   string
		fails  bool
	}{
		{"absent", nil, "", false},
		{"plain", []string{"Bearer abc.DEF-_~+/0="}, "abc.DEF-_~+/0=", false},
		{"lower case, many spaces", []string{"bearer \t  abc"}, "abc", false},
		{"upper case", []string{"BEARER abc"}, "abc", false},
		{"other scheme", []string{"Basic abc"}, "", false},
		{"longer scheme", []string{"Bearerx abc"}, "", false},
		{"scheme alone", []string{"Bearer"}, "", false},
		{"empty token", []string{"Bearer "}, "", false},
		{"empty header", []string{""}, "", false},
		{"two tokens", []string{"Bearer abc def"}, "", true},
		{"list", []string{"Bearer abc,Bearer def"}, "", true},
		{"not ASCII", []string{"Bearer äbc"}, "", true},
		{"only padding", []string{"Bearer =="}, "", true},
		{"twice", []string{"Bearer abc", "Bearer abc"}, "", true},
		{"too long", []string{"Bearer " + strings.Repeat("a", 8<<10)}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Authorization"] = tt.header
			got, err := Bearer(r)
			if got != tt.want || tt.fails != errors.Is(err, identity.TokenInvalid) || !tt.fails && err != nil {
				t.Errorf("Bearer = %q, %v", got, err)
			}
			if errors.Is(err, ErrRepeated) != (len(tt.header) > 1) {
				t.Errorf("ErrRepeated in %v", err)
			}
		})
	}
}

func TestBasic(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name       string
		header     []string
		id, secret string
		ok, fails  bool
	}{
		{"absent", nil, "", "", false, false},
		{"bearer", []string{"Bearer abc"}, "", "", false, false},
		{"plain", []string{"Basic " + encode("app:secret")}, "app", "secret", true, false},
		{"form-encoded", []string{"basic   " + encode("a%3Ab+c:%C3%A9%25:x")}, "a:b c", "é%:x", true, false},
		{"empty secret", []string{"Basic " + encode("app:")}, "app", "", true, false},
		{"no colon", []string{"Basic " + encode("app")}, "", "", true, true},
		{"not base64", []string{"Basic !!"}, "", "", true, true},
		{"empty", []string{"Basic"}, "", "", true, true},
		{"broken escape", []string{"Basic " + encode("a%zz:b")}, "", "", true, true},
		{"NUL in the id", []string{"Basic " + encode("a%00:b")}, "", "", true, true},
		{"invalid UTF-8 in the secret", []string{"Basic " + encode("a:%ff")}, "", "", true, true},
		{"twice", []string{"Basic " + encode("a:b"), "Basic " + encode("a:b")}, "", "", true, true},
		{"too long", []string{"Basic " + strings.Repeat("a", 8<<10)}, "", "", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Authorization"] = tt.header
			id, secret, ok, err := Basic(r)
			if ok != tt.ok || tt.fails != errors.Is(err, identity.ClientInvalid) {
				t.Fatalf("Basic: %v, %v", ok, err)
			}
			if !tt.fails && (id != tt.id || secret.Reveal() != tt.secret) {
				t.Errorf("Basic = %q, %q", id, secret.Reveal())
			}
			if errors.Is(err, ErrRepeated) != (len(tt.header) > 1) {
				t.Errorf("ErrRepeated in %v", err)
			}
		})
	}
}

// FuzzAuthorization: no header is a failure of ours, and every pair of client credentials comes through whole.
func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer abc", "id", "se:cr%et")
	f.Add("basic  YTpi", "", "é")
	f.Fuzz(func(t *testing.T, header, id, secret string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{header}
		if _, err := Bearer(r); err != nil && !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("Bearer(%q) = %v", header, err)
		}
		if _, _, _, err := Basic(r); err != nil && !errors.Is(err, identity.ClientInvalid) {
			t.Errorf("Basic(%q) = %v", header, err)
		}
		if !storable(id) || !storable(secret) || len(id)+len(secret) > 1000 {
			return
		}
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		r.Header["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}
		gotID, gotSecret, ok, err := Basic(r)
		if err != nil || !ok || gotID != id || gotSecret.Reveal() != secret {
			t.Errorf("%q, %q came as %q, %q, %v", id, secret, gotID, gotSecret.Reveal(), err)
		}
	})
}

func TestForm(t *testing.T) {
	read := func(media, body string) (url.Values, error) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		return Form(r, 100)
	}
	const form = "application/x-www-form-urlencoded"
	values, err := read(form+"; charset=utf-8", "a=1&b=%C3%A9+x&b=2&c=")
	if err != nil || values.Get("a") != "1" || values.Get("b") != "é x" || len(values["b"]) != 2 || !values.Has("c") {
		t.Errorf("%v, %v", values, err)
	}
	if got := Repeated(url.Values{"z": {"", ""}, "b": {"", ""}, "a": {""}}); got != "b" {
		t.Errorf("Repeated = %q", got)
	}
	if got := Repeated(url.Values{"a": {""}}); got != "" {
		t.Errorf("Repeated = %q", got)
	}
	refusals := []struct {
		name, media, body string
		want              identity.Kind
	}{
		{"JSON", "application/json", "a=1", identity.MediaType},
		{"no type", "", "a=1", identity.MediaType},
		{"too large", form, strings.Repeat("a", 101), identity.TooLarge},
		{"broken escape", form, "a=%zz", identity.Invalid},
		{"semicolon", form, "a=1;b=2", identity.Invalid},
		{"NUL", form, "a=%00", identity.Invalid},
		{"NUL in a name", form, "%00=a", identity.Invalid},
		{"invalid UTF-8", form, "a=%ff", identity.Invalid},
	}
	for _, tt := range refusals {
		if _, err := read(tt.media, tt.body); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := ParseForm(strings.Repeat("a=1&", 63) + "a=1"); err != nil {
		t.Errorf("64 parameters: %v", err)
	}
	if _, err := ParseForm(strings.Repeat("a=1&", 64) + "a=1"); !errors.Is(err, identity.Invalid) {
		t.Errorf("65 parameters: %v", err)
	}
}

// FuzzParseForm: what is accepted can be stored and means the same when it is encoded again.
func FuzzParseForm(f *testing.F) {
	f.Add("a=1&b=%C3%A9&b=+")
	f.Add("a=%00&%ff;")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := ParseForm(text)
		if err != nil {
			if !errors.Is(err, identity.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseForm(values.Encode())
		if err != nil || again.Encode() != values.Encode() {
			t.Errorf("%q reads as %v and then as %v, %v", text, values, again, err)
		}
	})
}
