package httpkit

import (
	"context"
	"net/http"
	"time"
)

// Server gives a server with every limit set: a slow or endless request costs a connection for a minute at most.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}

// Deadline gives an operation its contract's time. What runs past it is cancelled through the context, and fails as
// identity.Unavailable, which each door answers with 503; a body that trickles in is cut off then, too.
func Deadline(d time.Duration, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		if r.ContentLength != 0 {
			at, _ := ctx.Deadline()
			_ = http.NewResponseController(w).SetReadDeadline(at) // not every test's writer can; then the server's own limit holds
		}
		h(w, r.WithContext(ctx))
	}
}
