package sqlstore

import (
	"context"

	"gatehouse/internal/identity"
)

// Store is identity.Store on an Engine.
type Store struct {
	engine    Engine
	listeners []func([]identity.Change)
}

var (
	_ identity.Store  = (*Store)(nil)
	_ identity.Reader = reader{}
	_ identity.Tx     = (*tx)(nil)
)

// New gives the store on an engine whose schema is up to date.
func New(engine Engine) *Store { return &Store{engine: engine} }

// View reads one snapshot.
func (s *Store) View(ctx context.Context, read func(identity.Reader) error) error {
	return s.engine.View(ctx, func(q Querier) error { return read(reader{q}) })
}

// Update writes, and hands what it announced to the listeners of this node before it returns.
func (s *Store) Update(ctx context.Context, write func(identity.Tx) error) error {
	var announced []identity.Change
	err := s.engine.Update(ctx, func(q Querier) error {
		t := &tx{reader: reader{q}, skipLocked: s.engine.SkipLocked()}
		err := write(t)
		announced = t.announced // of this run only: the run before may have been rolled back
		return err
	})
	if err != nil {
		return err
	}
	if len(announced) > 0 {
		for _, listen := range s.listeners {
			listen(announced)
		}
		s.engine.Notify()
	}
	return nil
}

// OnCommit registers a listener. It is not safe to call beside Update.
func (s *Store) OnCommit(listen func([]identity.Change)) { s.listeners = append(s.listeners, listen) }

// Wake is signalled when another node may have appended to the feed.
func (s *Store) Wake() <-chan struct{} { return s.engine.Wake() }

// Ping says whether the engine answers.
func (s *Store) Ping(ctx context.Context) error { return s.engine.Ping(ctx) }

// Close ends the engine; updates that were accepted are committed first.
func (s *Store) Close() error { return s.engine.Close() }

// reader is identity.Reader on one transaction.
type reader struct{ q Querier }

// tx is identity.Tx on one transaction.
type tx struct {
	reader
	skipLocked string
	announced  []identity.Change
}
