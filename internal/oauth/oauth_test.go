package oauth_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/oauth"
)

func TestParseParams(t *testing.T) {
	tests := []struct {
		name  string
		texts []string
		want  map[string]string
		err   error
	}{
		{"nothing", []string{"", ""}, map[string]string{"a": ""}, nil},
		{"form", []string{"a=1&b=x+y%26&c="}, map[string]string{"a": "1", "b": "x y&", "c": ""}, nil},
		{"form and query", []string{"a=1", "b=2"}, map[string]string{"a": "1", "b": "2"}, nil},
		{"empty pairs", []string{"&&a=1&"}, map[string]string{"a": "1"}, nil},
		{"no value", []string{"a"}, map[string]string{"a": ""}, nil},
		{"twice in one", []string{"a=1&a=1"}, nil, identity.Invalid},
		{"twice over both", []string{"a=1", "a=2"}, nil, identity.Invalid},
		{"twice in two spellings", []string{"a=1&%61=2"}, nil, identity.Invalid},
		{"twice, one of them empty", []string{"a=&a=2"}, nil, identity.Invalid},
		{"broken escape", []string{"a=%g1"}, nil, identity.Invalid},
		{"broken escape in a name", []string{"%=1"}, nil, identity.Invalid},
		{"not UTF-8", []string{"a=%ff"}, nil, identity.Invalid},
		{"NUL", []string{"a=x%00"}, nil, identity.Invalid},
		{"64", []string{many(64)}, map[string]string{"p63": "1"}, nil},
		{"65", []string{many(65)}, nil, identity.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := oauth.ParseParams(tt.texts...)
			if !errors.Is(err, tt.err) {
				t.Fatalf("ParseParams = %v, want %v", err, tt.err)
			}
			for name, want := range tt.want {
				if got := p.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func many(n int) string {
	v := url.Values{}
	for i := range n {
		v.Set("p"+string(rune('0'+i/10))+string(rune('0'+i%10)), "1")
	}
	return v.Encode()
}

func TestAuthorization(t *testing.T) {
	tests := []struct {
		name   string
		given  []string
		scheme string
		rest   string
		err    error
	}{
		{"none", nil, "", "", nil},
		{"basic", []string{"Basic abc"}, "basic", "abc", nil},
		{"any case, any number of spaces", []string{"bEARER   abc "}, "bearer", "abc", nil},
		{"only a scheme", []string{"Bearer"}, "bearer", "", nil},
		{"twice", []string{"Bearer a", "Bearer a"}, "", "", identity.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = tt.given
			scheme, rest, err := oauth.Authorization(r)
			if scheme != tt.scheme || rest != tt.rest || !errors.Is(err, tt.err) {
				t.Errorf("Authorization = %q, %q, %v", scheme, rest, err)
			}
		})
	}
}

func TestParseBasic(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name, given, id, secret string
		err                     error
	}{
		{"plain", encode("app:secret"), "app", "secret", nil},
		{"colon in the secret", encode("app:a:b"), "app", "a:b", nil},
		{"no secret", encode("app:"), "app", "", nil},
		{"no colon", encode("app"), "", "", identity.ClientInvalid},
		{"no name", encode(":secret"), "", "", identity.ClientInvalid},
		{"not base64", "%%%", "", "", identity.ClientInvalid},
		{"not UTF-8", encode("app:\xff"), "", "", identity.ClientInvalid},
		{"NUL", encode("a\x00p:x"), "", "", identity.ClientInvalid},
		{"empty", "", "", "", identity.ClientInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, secret, err := oauth.ParseBasic(tt.given)
			if id != tt.id || secret != tt.secret || !errors.Is(err, tt.err) {
				t.Errorf("ParseBasic = %q, %q, %v", id, secret, err)
			}
		})
	}
}

func TestIsForm(t *testing.T) {
	for given, want := range map[string]bool{
		"application/x-www-form-urlencoded":                 true,
		"application/x-www-form-urlencoded; charset=UTF-8":  true,
		"Application/X-WWW-Form-Urlencoded":                 true,
		"application/json":                                  false,
		"":                                                  false,
		"application/x-www-form-urlencoded-not":             false,
		"application/x-www-form-urlencoded, text/plain; x=": false,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", given)
		if got := oauth.IsForm(r); got != want {
			t.Errorf("IsForm(%q) = %v", given, got)
		}
	}
}

func TestWords(t *testing.T) {
	tests := []struct {
		scope, separators string
		want              []string
	}{
		{"", "", nil},
		{"read write", "", []string{"read", "write"}},
		{" read  write read ", "", []string{"read", "write"}},
		{"read,write", "", []string{"read,write"}},
		{"read,write trust, read", ",", []string{"read", "write", "trust"}},
	}
	for _, tt := range tests {
		if got := oauth.Words(tt.scope, tt.separators); !slices.Equal(got, tt.want) {
			t.Errorf("Words(%q, %q) = %q, want %q", tt.scope, tt.separators, got, tt.want)
		}
	}
}

// Nothing that is taken has a name twice, and what is taken is what the standard library reads too.
func FuzzParseParams(f *testing.F) {
	f.Add("grant_type=password&username=a%40b.c&password=x+y", "scope=read")
	f.Add("a=1&a=2", "")
	f.Add("%61=%00", "a;b=c")
	f.Fuzz(func(t *testing.T, body, query string) {
		p, err := oauth.ParseParams(body, query)
		if err != nil {
			if k := identity.KindOf(err); k != identity.Invalid {
				t.Errorf("refused as %v", k)
			}
			return
		}
		if strings.Contains(body+query, ";") {
			return // the library refuses semicolons, which browsers do not
		}
		values, err := url.ParseQuery(body + "&" + query)
		if err != nil {
			t.Fatalf("%q %q is taken, url.ParseQuery says %v", body, query, err)
		}
		for name, all := range values {
			if len(all) != 1 || p.Get(name) != all[0] {
				t.Errorf("%q = %q, want %q", name, p.Get(name), all)
			}
		}
	})
}
