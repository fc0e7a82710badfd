// Package system is what the house says of itself and what its administrators turn while it runs: log levels, reloading,
// secrets kept for the installation, and the other services that announce themselves.
package system

import (
	"context"
	"sync"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// Box seals what the store keeps and must be able to read back.
type Box interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Outbox writes a call of another service in the transaction of what causes it.
type Outbox interface {
	Call(ctx context.Context, tx identity.Tx, method, target string, header map[string]string, body string) error
}

// Service is the house about itself. Its fields are set before the first call.
type Service struct {
	Store  identity.Store
	Log    *audit.Log
	Box    Box
	Levels *logs.Levels
	Staff  *staff.Service // says who may do what
	Outbox Outbox
	// Reloads are what can be read again, by the part of the house that it belongs to.
	Reloads map[logs.Subsystem]func(context.Context) error
	Process Process
	Now     func() time.Time

	refresh sync.Mutex    // one reading of the levels at a time: the last to read is the last to set
	once    sync.Once     // makes stale
	stale   chan struct{} // the levels may have changed
}

// view runs one read in a snapshot of its own.
func view[T any](ctx context.Context, s *Service, read func(identity.Reader) (T, error)) (T, error) {
	var v T
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		v, err = read(r)
		return err
	})
	return v, err
}

// Process says which program runs where.
type Process struct {
	Version    string
	StartedAt  time.Time
	OS         string
	Processors int
	Hostname   string
	// Certificates are those that the listeners serve; nil: none.
	Certificates func() []Certificate
	Resources    func() Resources
}

// Certificate is one that a listener serves.
type Certificate struct {
	File      string // without its folder
	ExpiresAt time.Time
}

// Resources are what the process holds of the machine's.
type Resources struct {
	Files                       int   // open ones; 0 where the system does not say
	Resident, PeakResident      int64 // bytes
	AddressSpace, PeakAddresses int64
}
