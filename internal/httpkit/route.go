package httpkit

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"gatehouse/internal/identity"
)

// Route is one operation of a door.
type Route struct {
	Method  string // GET serves HEAD too; "" = every method
	Path    string // a ServeMux path: "/user/{uuid}"
	Op      string // the operation's name in the log
	Handler http.HandlerFunc
}

// Door is a dialect as the router sees it.
type Door struct {
	Name   identity.Door
	Prefix string   // the operator's, before the vendor's own paths
	Hosts  []string // host names that it answers on; none = all
	Routes []Route
	// Claims are the path prefixes whose unknown paths are this door's to refuse, in its own words.
	Claims           []string
	NotFound         http.HandlerFunc
	MethodNotAllowed func(w http.ResponseWriter, r *http.Request, allow []string)
	// Wrap is around everything that the door answers, refusals included: its CORS, its headers. It may be nil.
	Wrap func(http.Handler) http.Handler
}

// Router sends a request to the door that owns its path. It never redirects, and answers in no words of its own where a door
// claims the path.
type Router struct {
	mux    *http.ServeMux
	exact  map[string]http.Handler // paths without a wildcard, which ServeMux would find by many steps; nil: hosts matter
	claims []claim
	none   http.Handler
}

type claim struct {
	prefix string
	hosts  []string
	refuse http.Handler
}

// NewRouter composes doors; whatever none of them claims goes to none. Of two doors that claim the same prefix the first answers.
// It panics on routes that contradict each other: they are written, not configured.
func NewRouter(doors []Door, none http.Handler) *Router {
	router := &Router{mux: http.NewServeMux(), none: none}
	type place struct{ host, path string }
	methods := map[place]map[string]http.Handler{}
	owner := map[place]*Door{}
	var order []place
	for i := range doors {
		d := &doors[i]
		wrap := d.Wrap
		if wrap == nil {
			wrap = func(h http.Handler) http.Handler { return h }
		}
		bound := make([]string, len(d.Hosts))
		for i, host := range d.Hosts {
			bound[i] = strings.ToLower(host)
		}
		hosts := bound
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, route := range d.Routes {
			h := wrap(named(d.Name, route))
			for _, host := range hosts {
				p := place{host, d.Prefix + route.Path}
				if methods[p] == nil {
					methods[p], owner[p] = map[string]http.Handler{}, d
					order = append(order, p)
				}
				if methods[p][route.Method] != nil {
					panic(fmt.Sprintf("httpkit: two routes for %s %s%s", route.Method, p.host, p.path))
				}
				methods[p][route.Method] = h
			}
		}
		for _, prefix := range d.Claims {
			router.claims = append(router.claims, claim{strings.TrimSuffix(d.Prefix+prefix, "/"), bound, wrap(named(d.Name, Route{Op: "unknown", Handler: d.NotFound}))})
		}
	}
	slices.SortStableFunc(router.claims, func(a, b claim) int { return len(b.prefix) - len(a.prefix) })
	taken := map[string]bool{}
	router.exact = map[string]http.Handler{}
	hosted := false
	for _, p := range order {
		taken[shape(p.host+p.path)] = true
		h := dispatch(methods[p], owner[p])
		router.mux.Handle(p.host+p.path, h)
		hosted = hosted || p.host != ""
		if !strings.HasSuffix(p.path, "/") && !strings.Contains(p.path, "{") {
			router.exact[p.path] = h
		}
	}
	if hosted {
		router.exact = nil
	}
	for _, p := range order {
		// ServeMux would redirect from /x to what ends in /x/.
		if slashless := trimSlash(p.path); slashless != "" && !taken[shape(p.host+slashless)] {
			taken[shape(p.host+slashless)] = true
			router.mux.HandleFunc(p.host+slashless, router.unknown)
		}
	}
	router.mux.HandleFunc("/", router.unknown)
	return router
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// shape makes patterns that differ in the names of their wildcards equal.
func shape(pattern string) string { return wildcard.ReplaceAllString(pattern, "{}") }

// trimSlash gives the path before a last slash and what may follow it, "" where there is none or nothing before it.
func trimSlash(path string) string {
	if strings.HasSuffix(path, "...}") || strings.HasSuffix(path, "/{$}") {
		path = path[:strings.LastIndexByte(path, '/')+1]
	}
	if trimmed, ok := strings.CutSuffix(path, "/"); ok {
		return trimmed
	}
	return ""
}

// dispatch chooses by method; the first door that has the path refuses the others.
func dispatch(methods map[string]http.Handler, d *Door) http.Handler {
	var allow []string
	for m := range methods {
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
		allow = append(allow, m)
	}
	slices.Sort(allow)
	refuse := http.Handler(named(d.Name, Route{Op: "method", Handler: func(w http.ResponseWriter, r *http.Request) {
		d.MethodNotAllowed(w, r, allow)
	}}))
	if d.Wrap != nil {
		refuse = d.Wrap(refuse)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			if _, own := methods[method]; !own {
				method = http.MethodGet
			}
		}
		h := methods[method]
		if h == nil {
			h = methods[""]
		}
		if h == nil {
			h = refuse
		}
		h.ServeHTTP(w, r)
	})
}

// named notes in the request's event which door and operation it came to.
func named(door identity.Door, route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := EventOf(r); e != nil {
			e.Door, e.Op = door, route.Op
		}
		route.Handler(w, r)
	})
}

func (router *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A path that was sent in another spelling than its usual one may have an escaped slash: that is ServeMux's to judge.
	if h := router.exact[r.URL.Path]; h != nil && r.URL.RawPath == "" && r.Method != http.MethodConnect {
		r.Pattern = r.URL.Path
		h.ServeHTTP(w, r)
		return
	}
	if odd(r.URL.Path) {
		router.unknown(w, r) // ServeMux would answer with a redirect to the path that it thinks was meant
		return
	}
	r.Host = strings.ToLower(r.Host) // ServeMux compares it with case
	router.mux.ServeHTTP(w, r)
}

// odd says whether ServeMux would clean the path, or it holds what no id of ours can.
func odd(path string) bool {
	return !storable(path) || path == "" || path[0] != '/' || strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
		strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
}

func (router *Router) unknown(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.Host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	for _, c := range router.claims {
		if below(r.URL.Path, c.prefix) && (len(c.hosts) == 0 || slices.Contains(c.hosts, host)) {
			c.refuse.ServeHTTP(w, r)
			return
		}
	}
	router.none.ServeHTTP(w, r)
}

// below says whether path is prefix or a path below it; prefix has no slash at its end.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
