package httpkit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxHeader has room for a thousand ids in a query (openwifi.md 1.8); what is over it never reaches a door.
const maxHeader = 64 << 10

// Server gives a server with every limit set: a slow or endless request costs a connection for a minute at most.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    maxHeader,
	}
}

// Serve serves until ctx ends, then lets requests finish for at most grace. Requests do not see the end of ctx: what was begun
// is finished. It returns nil after an orderly end.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(last)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Certificate gives a TLS configuration with the certificate of two PEM files. Files that change are read again at the next
// handshake, so that a renewal needs no restart; files that cannot be read then leave the old certificate in use.
func Certificate(certFile, keyFile string) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // when the newer of both files did
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.load()
	return c.current, nil
}

func (c *certificate) load() error {
	var newest time.Time
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if at := info.ModTime(); at.After(newest) {
			newest = at
		}
	}
	if c.current != nil && newest.Equal(c.changed) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err // also between the renewal of one file and of the other
	}
	c.current, c.changed = &pair, newest
	return nil
}

// Deadline gives an operation its contract's time. What runs past it is cancelled through the context, and fails as
// identity.Unavailable, which each door answers with 503; a body that trickles in is cut off then, too.
func Deadline(d time.Duration, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		if r.ContentLength != 0 {
			// A little later than the context's, so that the operation ends by its own deadline: net/http takes a failed read
			// for a client that has gone, and cancels. Not every test's writer can; then the server's own limit holds.
			at, _ := ctx.Deadline()
			_ = http.NewResponseController(w).SetReadDeadline(at.Add(100 * time.Millisecond))
		}
		h(w, r.WithContext(ctx))
	}
}
