package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"

	"gatehouse/internal/config"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlite"
)

// Node is one serving process: a house and its listeners.
type Node struct {
	*House
	public   net.Listener
	internal net.Listener // nil: off
	tls      *tls.Config
	unlock   func() error
}

// Start takes the data directory and the listeners, and opens the house. Its errors are one line each that says what to do.
func Start(ctx context.Context, cfg config.Config, o Options) (_ *Node, err error) {
	n := &Node{unlock: func() error { return nil }}
	alone := cfg.Database == "" && o.Store == nil
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if alone {
		// Held by whoever serves: two nodes on one file would each believe that no other writes.
		if n.unlock, err = sqlite.LockData(cfg.Data); err != nil {
			n.unlock = func() error { return nil }
			return nil, err
		}
	}
	if cfg.TLSCert != "" {
		if n.tls, err = httpkit.Certificate(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, err
		}
	}
	if n.public, err = listen(cfg.Listen, "listen"); err != nil {
		return nil, err
	}
	if cfg.InternalListen != "" {
		if n.internal, err = listen(cfg.InternalListen, "internal_listen"); err != nil {
			return nil, err
		}
	}
	if n.House, err = Open(ctx, cfg.Bound(n.public.Addr()), o); err != nil {
		return nil, err
	}
	if alone {
		// Whoever held a lease was killed: its mails and its upkeep need not wait until the lease ends.
		if err := n.Store.Update(ctx, func(tx identity.Tx) error { return tx.EndLeases(ctx) }); err != nil {
			return nil, fmt.Errorf("end the leases of before: %w", err)
		}
	}
	return n, nil
}

func listen(address, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: stop what holds that address, or change the setting %s (%w)", address, setting, err)
	}
	return l, nil
}

// Addr is where the public listener listens.
func (n *Node) Addr() net.Addr { return n.public.Addr() }

// InternalAddr is where the internal one does; nil: nowhere.
func (n *Node) InternalAddr() net.Addr {
	if n.internal == nil {
		return nil
	}
	return n.internal.Addr()
}

// Serve answers requests and does the house's own work until ctx ends, then finishes what was begun.
func (n *Node) Serve(ctx context.Context) error {
	undo := n.pool.RaiseProcs()
	defer undo()
	if os.Getenv("GOGC") == "" {
		// A heap of a few megabytes is collected all the time at the default pace; at this one it stays below 200 MiB while 64 callers
		// sign in, each hash taking 19 MiB.
		defer debug.SetGCPercent(debug.SetGCPercent(200))
	}
	// The house goes on working until the last request is answered.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { n.Run(background) })
	servers, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	failed := make(chan error, 2)
	serve := func(l net.Listener, h http.Handler, secure *tls.Config) {
		serving.Go(func() {
			server := httpkit.Server(h)
			server.TLSConfig = secure
			if err := httpkit.Serve(servers, server, l, n.Config.ShutdownGrace); err != nil {
				failed <- fmt.Errorf("serving on %s ended: %w", l.Addr(), err)
				cancel()
			}
		})
	}
	serve(n.public, n.Handler(), n.tls)
	if n.internal != nil {
		serve(n.internal, n.ServiceHandler(), n.tls)
	}
	serving.Wait()
	stop()
	working.Wait()
	close(failed)
	var err error
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// Close lets go of everything that Start took.
func (n *Node) Close() error {
	var errs []error
	for _, l := range []net.Listener{n.public, n.internal} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.House != nil {
		errs = append(errs, n.House.Close())
	}
	return errors.Join(append(errs, n.unlock())...)
}
