package httpkit

import (
	"net/http"
	"slices"
	"strings"
)

// Values that are shared by all answers: whoever adds to one gets another, because they are full.
var (
	varyOrigin = []string{"Origin"}
	anyOrigin  = []string{"*"}
)

// CORS lets browsers of other origins call a door (Fetch standard, 3.2).
type CORS struct {
	Origins     []string // allowed ones; "*" = any; none = no CORS headers at all
	Methods     string   // of a preflight's answer: "GET, POST"
	MaxAge      string   // seconds
	Expose      string   // header names
	Credentials bool     // say so in a preflight's answer
	Cookies     bool     // and in every answer to one of the origins by name: its pages may be given cookies. Never with "*"
	Always      bool     // answer "*" to requests without an Origin too
}

// Wrap answers preflights with 200 and adds the headers to every other answer, refusals included: without them a browser shows
// its page a network failure instead of the message.
func (c CORS) Wrap(next http.Handler) http.Handler {
	if len(c.Origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if len(h["Vary"]) == 0 {
			h["Vary"] = varyOrigin
		} else {
			h.Add("Vary", "Origin")
		}
		var origin string
		if sent := r.Header["Origin"]; len(sent) > 0 {
			origin = sent[0]
		}
		switch {
		case origin != "" && (slices.Contains(c.Origins, "*") || slices.Contains(c.Origins, origin)):
			h["Access-Control-Allow-Origin"] = []string{origin}
			if c.Cookies && !slices.Contains(c.Origins, "*") {
				h.Set("Access-Control-Allow-Credentials", "true")
			}
		case origin == "" && c.Always:
			h["Access-Control-Allow-Origin"] = anyOrigin
		}
		if c.Expose != "" {
			h.Set("Access-Control-Expose-Headers", c.Expose)
		}
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", c.Methods)
		// Echoed, not "*": a star does not cover Authorization.
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) < 1024 {
			h.Set("Access-Control-Allow-Headers", strings.Join(strings.Fields(asked), " "))
		}
		if c.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if c.MaxAge != "" {
			h.Set("Access-Control-Max-Age", c.MaxAge)
		}
		w.WriteHeader(http.StatusOK)
	})
}
