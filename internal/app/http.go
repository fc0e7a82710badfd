package app

import (
	"encoding/json"
	"net/http"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/keys"
	"gatehouse/internal/logs"
)

// Handler is the public listener: every open door, and the two questions of whoever runs the process.
func (h *House) Handler() http.Handler {
	router := httpkit.NewRouter(append(h.mount(), h.health()), http.HandlerFunc(nothingHere))
	return h.observe(router)
}

// ServiceHandler is the internal listener, which the network must keep from strangers: other services' calls, metrics.
func (h *House) ServiceHandler() http.Handler {
	health := h.health()
	health.Routes = append(health.Routes, httpkit.Route{Method: "GET", Path: "/metrics", Op: "metrics", Handler: h.metrics.handler.ServeHTTP})
	router := httpkit.NewRouter(append(h.mountServices(), health), http.HandlerFunc(nothingHere))
	return h.observe(router)
}

func (h *House) observe(next http.Handler) http.Handler {
	o := &httpkit.Observer{Log: logs.In(h.log, logs.HTTP), Now: h.now, Proxies: h.Config.TrustedProxies, Count: h.metrics.count, Broken: func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusInternalServerError, "internal error")
	}}
	return o.Observe(next)
}

// health answers whether the process lives, and whether it should be sent requests.
func (h *House) health() httpkit.Door {
	return httpkit.Door{
		Name: "health",
		Routes: []httpkit.Route{
			{Method: "GET", Path: "/healthz", Op: "alive", Handler: func(w http.ResponseWriter, _ *http.Request) {
				plain(w, http.StatusOK, "alive")
			}},
			{Method: "GET", Path: "/readyz", Op: "ready", Handler: h.ready},
		},
		NotFound: nothingHere,
		MethodNotAllowed: func(w http.ResponseWriter, _ *http.Request, allow []string) {
			w.Header()["Allow"] = allow
			plain(w, http.StatusMethodNotAllowed, "method not allowed")
		},
	}
}

// ready names each thing that a request needs, and what is wrong with it.
func (h *House) ready(w http.ResponseWriter, r *http.Request) {
	checks := map[string]string{"store": "ok", "feed": "ok", "keys": "ok"}
	status := http.StatusOK
	fail := func(check, why string) { checks[check], status = why, http.StatusServiceUnavailable }
	if err := h.Store.Ping(r.Context()); err != nil {
		logs.In(h.log, logs.Storage).WarnContext(r.Context(), "not ready: the store does not answer", "err", err)
		fail("store", "does not answer")
	}
	if h.Feed.Stale() {
		fail("feed", "has not been read for 5 s")
	}
	// RS256 keys are made after the first answer; only clients that ask for it wait for them.
	if missing := h.Ring.Ready(); missing != "" && missing != keys.RS256 {
		fail("keys", "no key signs "+missing)
	}
	answer(w, status, map[string]any{"ready": status == http.StatusOK, "checks": checks})
}

func nothingHere(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusNotFound, "nothing here")
}

func plain(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"status": text})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
