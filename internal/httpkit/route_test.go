package httpkit

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/identity"
)

// echo is a door that says in every answer who it is and what was asked of it.
func echo(name identity.Door, claims []string, routes ...Route) Door {
	for i, route := range routes {
		routes[i].Handler = func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", name, route.Op)
			for _, v := range []string{"id", "rest"} {
				if p := r.PathValue(v); p != "" {
					fmt.Fprintf(w, " %s=%s", v, p)
				}
			}
		}
	}
	return Door{
		Name: name, Claims: claims, Routes: routes,
		NotFound: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, "%s knows no such path", name)
		},
		MethodNotAllowed: func(w http.ResponseWriter, _ *http.Request, allow []string) {
			w.WriteHeader(http.StatusMethodNotAllowed)
			fmt.Fprintf(w, "%s allows %s", name, strings.Join(allow, ", "))
		},
		Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Door", string(name))
				next.ServeHTTP(w, r)
			})
		},
	}
}

// shared is the listener of the design: two doors below /auth, one bound to a host, one behind a prefix.
func shared() *Router {
	nx := echo("nx", []string{"/auth/"},
		Route{Method: "POST", Path: "/auth/authenticate/signin", Op: "signin"},
		Route{Method: "GET", Path: "/auth/{$}", Op: "root"},
		Route{Method: "GET", Path: "/auth/user/{id}", Op: "user"},
		Route{Method: "PATCH", Path: "/auth/user/{id}", Op: "change"})
	titan := echo("titan", []string{"/auth", "/auth/hub"},
		Route{Method: "POST", Path: "/auth", Op: "login"},
		Route{Method: "POST", Path: "/auth/hub/{id}", Op: "hub"},
		Route{Method: "POST", Path: "/auth/hub/invalidate", Op: "leave"})
	oidc := echo("oidc", []string{"/oauth2/", "/"},
		Route{Path: "/oauth2/check", Op: "check"},
		Route{Method: "GET", Path: "/oauth2/static/{rest...}", Op: "static"},
		Route{Method: "GET", Path: "/oauth2/pages/{$}", Op: "pages"})
	oidc.Prefix = "/id"
	bound := echo("bound", []string{"/auth/"}, Route{Method: "GET", Path: "/auth/user/{id}", Op: "own"}, Route{Method: "GET", Path: "/x/{$}", Op: "x"})
	bound.Hosts = []string{"Bound.example"}
	return NewRouter([]Door{bound, nx, titan, oidc}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "nobody")
	}))
}

func TestRouter(t *testing.T) {
	router := shared()
	tests := []struct {
		request string
		status  int
		body    string
	}{
		{"POST /auth/authenticate/signin", 200, "nx signin"},
		{"GET /auth/authenticate/signin", 405, "nx allows POST"},
		{"GET /auth/user/7", 200, "nx user id=7"},
		{"HEAD /auth/user/7", 200, "nx user id=7"},
		{"DELETE /auth/user/7", 405, "nx allows GET, HEAD, PATCH"},
		{"GET /auth/user/a%2Fb", 200, "nx user id=a/b"},
		{"GET /auth/user/%00", 404, "nx knows no such path"},
		{"GET /auth/user/%ff", 404, "nx knows no such path"},
		{"GET /auth/user/", 404, "nx knows no such path"},
		{"GET /auth/user", 404, "nx knows no such path"},
		{"GET /auth/", 200, "nx root"},
		{"POST /auth", 200, "titan login"},
		{"GET /auth", 405, "titan allows POST"},
		{"POST /auth/hub/7", 200, "titan hub id=7"},
		{"POST /auth/hub/invalidate", 200, "titan leave"},
		{"GET /auth/hub/7", 405, "titan allows POST"},
		{"GET /auth/hub/7/8", 404, "titan knows no such path"},
		{"GET /auth/hubs", 404, "nx knows no such path"},
		{"GET /authx", 404, "nobody"},
		{"GET /auth//user/7", 404, "nx knows no such path"},
		{"GET /auth/user/../user/7", 404, "nx knows no such path"},
		{"GET /auth/user/%2e%2e", 404, "nx knows no such path"},
		{"GET /auth/./user/7", 404, "nx knows no such path"},
		{"GET //auth/user/7", 404, "nobody"},
		{"GET /", 404, "nobody"},
		{"PURGE /id/oauth2/check", 200, "oidc check"},
		{"GET /oauth2/check", 404, "nobody"},
		{"GET /id/oauth2/static/a/b.css", 200, "oidc static rest=a/b.css"},
		{"GET /id/oauth2/static", 404, "oidc knows no such path"},
		{"GET /id/oauth2/pages/", 200, "oidc pages"},
		{"GET /id/oauth2/pages", 404, "oidc knows no such path"},
		{"GET /id", 404, "oidc knows no such path"},
		{"GET /identity", 404, "nobody"},
		{"GET bound.example/auth/user/7", 200, "bound own id=7"},
		{"GET BOUND.example:8443/auth/user/7", 200, "bound own id=7"},
		{"PATCH bound.example/auth/user/7", 405, "bound allows GET, HEAD"},
		{"POST bound.example/auth", 200, "titan login"},
		{"GET bound.example/auth/zzz", 404, "bound knows no such path"},
		{"GET bound.example/x", 404, "nobody"},
		{"GET bound.example/x/", 200, "bound x"},
		{"GET other.example/x/", 404, "nobody"},
	}
	for _, tt := range tests {
		t.Run(tt.request, func(t *testing.T) {
			method, target, _ := strings.Cut(tt.request, " ")
			host := "example.com"
			if target[0] != '/' {
				host, target, _ = strings.Cut(target, "/")
				target = "/" + target
			}
			r := httptest.NewRequest(method, target, nil)
			r.Host = host
			w := httptest.NewRecorder()
			router.ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
			if door, _, _ := strings.Cut(tt.body, " "); tt.body != "nobody" && w.Header().Get("X-Door") != door {
				t.Errorf("wrapped by %q", w.Header().Get("X-Door"))
			}
		})
	}
}

func TestRouterRefusesContradictions(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two routes for one method and path are taken")
		}
	}()
	route := Route{Method: "GET", Path: "/a"}
	NewRouter([]Door{echo("a", nil, route), echo("b", nil, route)}, nil)
}

// FuzzRouter: no path redirects, and none is answered but by a door or by nobody.
func FuzzRouter(f *testing.F) {
	router := shared()
	for _, seed := range []string{"/auth", "/auth/../x", "//x", "/id/oauth2/static", "/auth/user/%2f..", "/x/", "*", ""} {
		f.Add("GET", "example.com", seed)
	}
	f.Add("CONNECT", "bound.example:1", "/x")
	f.Fuzz(func(t *testing.T, method, host, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.Host, r.URL.Path = method, host, path
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 404 && w.Code != 405 {
			t.Errorf("%s %q%q: %d to %q", method, host, path, w.Code, w.Header().Get("Location"))
		}
		if w.Code != 404 && w.Header().Get("X-Door") == "" || strings.Contains(w.Body.String(), "page not found") {
			t.Errorf("%s %q%q: %d by no door: %s", method, host, path, w.Code, w.Body)
		}
	})
}

func TestCORS(t *testing.T) {
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	anyone := CORS{Origins: []string{"*"}, Methods: "GET, POST", MaxAge: "86400", Expose: "X-Total", Credentials: true, Always: true}
	some := CORS{Origins: []string{"https://ui.example"}, Methods: "GET"}
	withCookies := CORS{Origins: some.Origins, Methods: "GET", Cookies: true}
	anyCookies := CORS{Origins: []string{"*"}, Methods: "GET", Cookies: true}
	const allowOrigin, allowHeaders = "Access-Control-Allow-Origin", "Access-Control-Allow-Headers"
	tests := []struct {
		name, method, origin string
		cors                 CORS
		status               int
		want                 map[string]string
	}{
		{"refusal", "GET", "https://a.example", anyone, 403, map[string]string{allowOrigin: "https://a.example", "Vary": "Origin", "Access-Control-Expose-Headers": "X-Total"}},
		{"no origin", "GET", "", anyone, 403, map[string]string{allowOrigin: "*", "Vary": "Origin"}},
		{"preflight", "OPTIONS", "https://a.example", anyone, 200, map[string]string{
			allowOrigin: "https://a.example", "Access-Control-Allow-Methods": "GET, POST", allowHeaders: "authorization, content-type",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "86400", "Content-Type": "",
		}},
		{"known", "GET", "https://ui.example", some, 403, map[string]string{allowOrigin: "https://ui.example", "Access-Control-Allow-Credentials": ""}},
		{"known, with cookies", "GET", "https://ui.example", withCookies, 403, map[string]string{allowOrigin: "https://ui.example", "Access-Control-Allow-Credentials": "true"}},
		{"unknown, with cookies", "GET", "https://evil.example", withCookies, 403, map[string]string{allowOrigin: "", "Access-Control-Allow-Credentials": ""}},
		{"anyone, with cookies", "GET", "https://a.example", anyCookies, 403, map[string]string{allowOrigin: "https://a.example", "Access-Control-Allow-Credentials": ""}},
		{"unknown", "GET", "https://ui.example.evil.example", some, 403, map[string]string{allowOrigin: "", "Vary": "Origin"}},
		{"unknown preflight", "OPTIONS", "https://evil.example", some, 200, map[string]string{allowOrigin: ""}},
		{"null", "GET", "null", some, 403, map[string]string{allowOrigin: ""}},
		{"none", "OPTIONS", "https://a.example", CORS{}, 403, map[string]string{allowOrigin: "", "Vary": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			r.Header.Set("Access-Control-Request-Headers", "authorization, content-type")
			w := httptest.NewRecorder()
			tt.cors.Wrap(inner).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			for name, want := range tt.want {
				if got := strings.Join(w.Header().Values(name), "|"); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
