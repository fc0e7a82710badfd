package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

const (
	leaseName = "audit-seal"
	leaseTTL  = 3 * time.Second
	// sealEvery bounds how long a row of another node waits; one of this node waits for gather.
	sealEvery = 500 * time.Millisecond
	// gather lets the rows of a busy moment be sealed together.
	gather = 250 * time.Millisecond

	checkpointRows  = 1000
	checkpointEvery = time.Minute
	// renewEvery signs an idle log's last checkpoint anew, long before the key that signed it is removed.
	renewEvery = 7 * 24 * time.Hour
)

// Sealer chains committed rows. Every node runs one; a lease lets one at a time work.
type Sealer struct {
	Store identity.Store
	Ring  Ring
	Owner string // of the lease; one for each process
	Now   func() time.Time

	once sync.Once
	wake chan struct{}

	mu       sync.Mutex
	head     *head     // nil: another node may have sealed since
	refused  time.Time // when another node was found to hold the lease
	reported int64     // the break that was logged
}

// head is where the chain stands, and what its newest checkpoint says.
type head struct {
	statement           // Position and Chain of the newest row; Broken and From of the log
	signed    int64     // position of the newest checkpoint
	signedAt  time.Time // zero: none
}

func (s *Sealer) signal() chan struct{} {
	s.once.Do(func() { s.wake = make(chan struct{}, 1) })
	return s.wake
}

// Notify says that this node has committed rows. It never blocks.
func (s *Sealer) Notify() {
	select {
	case s.signal() <- struct{}{}:
	default:
	}
}

// Run seals until ctx ends, and then once more.
func (s *Sealer) Run(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	failing := false
	for {
		if _, err := s.SealOnce(ctx); err != nil && ctx.Err() == nil && !failing {
			logs.In(nil, logs.Audit).ErrorContext(ctx, "audit rows not sealed; will try again", "err", err)
			failing = true
		} else if err == nil {
			failing = false
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.Close(last); err != nil {
				logs.In(nil, logs.Audit).WarnContext(last, "last audit rows not sealed; the next start will", "err", err)
			}
			return
		case <-tick.C:
		case <-s.signal():
			select {
			case <-ctx.Done():
			case <-time.After(gather):
			}
		}
	}
}

// Close seals what is there, signs a checkpoint and gives the lease to whoever comes next.
func (s *Sealer) Close(ctx context.Context) error {
	if _, err := s.seal(ctx, true); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		_, err := tx.Lease(ctx, leaseName, s.Owner, s.Now(), 0)
		return err
	})
}

// SealOnce chains the rows that are committed and not sealed, and signs a checkpoint if one is due. Without either it reads
// once and writes nothing.
func (s *Sealer) SealOnce(ctx context.Context) (n int, err error) { return s.seal(ctx, false) }

func (s *Sealer) seal(ctx context.Context, closing bool) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// While another node holds the lease, look again only when it should have run out.
	if now := s.Now(); !closing && now.Sub(s.refused) < leaseTTL && !now.Before(s.refused) {
		return 0, nil
	}
	for {
		// Read outside the transaction that writes: a serializable one would clash with every insert of an audit row.
		var waiting []identity.Event
		err := s.Store.View(ctx, func(r identity.Reader) (err error) {
			waiting, err = r.UnsealedEvents(ctx, page)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("read unsealed audit rows: %w", err)
		}
		if len(waiting) == 0 && !s.due(closing) {
			return n, nil
		}
		sealed, held, err := s.step(ctx, waiting, closing)
		if err != nil {
			s.head = nil
			return n, fmt.Errorf("seal audit rows: %w", err)
		}
		if n += sealed; !held || len(waiting) < page {
			return n, nil
		}
	}
}

// due says whether a checkpoint should be signed though no row waits.
func (s *Sealer) due(closing bool) bool { return s.head != nil && s.dueAt(*s.head, closing) }

func (s *Sealer) dueAt(h head, closing bool) bool {
	if h.Position == 0 {
		return false
	}
	age := s.Now().Sub(h.signedAt)
	if h.Position == h.signed {
		return age >= renewEvery
	}
	return closing || h.Position-h.signed >= checkpointRows || age >= checkpointEvery
}

func (s *Sealer) step(ctx context.Context, waiting []identity.Event, closing bool) (n int, held bool, err error) {
	var next head
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		n = 0
		now := s.Now()
		if held, err = tx.Lease(ctx, leaseName, s.Owner, now, leaseTTL); err != nil || !held {
			return err
		}
		if next, err = s.locate(ctx, tx); err != nil {
			return err
		}
		sealed := make([]identity.Event, len(waiting))
		for i, e := range waiting {
			e.Position = next.Position + 1
			e.Chain = link(next.Chain, e)
			next.Position, next.Chain = e.Position, e.Chain
			sealed[i] = e
		}
		if len(sealed) > 0 {
			if err := tx.SealEvents(ctx, sealed); err != nil {
				return err
			}
			n = len(sealed)
		}
		if !s.dueAt(next, closing) {
			return nil
		}
		// Retention may have moved the start since: it says so in the newest checkpoint.
		if last, err := s.newest(ctx, tx); err == nil {
			next.From = max(next.From, last.From)
		} else if !errors.Is(err, identity.NotFound) && !errors.Is(err, errForged) {
			return err
		}
		next.At = now.UnixMicro()
		c, err := sign(s.Ring, next.statement)
		if err != nil {
			return err
		}
		next.signed, next.signedAt = c.Position, now
		return tx.SaveCheckpoint(ctx, c)
	})
	switch {
	case errors.Is(err, identity.Conflict):
		// Somebody else sealed one of them: the lease changed hands in between. The next round sees it.
		s.head = nil
		return 0, false, nil
	case err != nil:
		return 0, held, err
	case !held:
		s.head, s.refused = nil, s.Now()
		return 0, false, nil
	}
	s.head = &next
	if next.Broken != 0 && next.Broken != s.reported {
		s.reported = next.Broken
		logs.In(nil, logs.Audit).ErrorContext(ctx, "the audit log was tampered with; run `gatehouse audit verify`", "position", next.Broken)
	}
	return n, true, nil
}

// locate gives the chain's head. It trusts what this sealer remembers; else what a signed checkpoint says and the rows after
// it bear out. What neither covers is never signed as sound: the break is carried in every checkpoint from then on, or a forged
// log would be made good by its own next checkpoint.
func (s *Sealer) locate(ctx context.Context, tx identity.Tx) (head, error) {
	stands, err := tx.LastSealedEvent(ctx)
	if err != nil && !errors.Is(err, identity.NotFound) {
		return head{}, err
	}
	if s.head != nil && stands.Position == s.head.Position && bytes.Equal(stands.Chain, s.head.Chain) {
		return *s.head, nil
	}
	h := head{statement: statement{Chain: origin}}
	broken := false
	last, err := s.newest(ctx, tx)
	switch {
	case err == nil:
		h.statement, h.signed, h.signedAt = last, last.Position, time.UnixMicro(last.At)
	case errors.Is(err, errForged):
		broken = true
	case !errors.Is(err, identity.NotFound):
		return head{}, err
	}
	if s.head != nil && stands.Position < s.head.Position && h.Position < s.head.Position {
		broken = true // rows that this sealer chained are gone, and retention does not take unsigned ones
	}
	walked := 0
	err = eachSealed(ctx, tx, h.Position, func(e identity.Event) (bool, error) {
		walked++
		// Far more rows than a checkpoint ever leaves behind: its successors were removed. The rest would only cost time.
		if walked > 2*checkpointRows+page {
			broken = true
		}
		if broken {
			return false, nil
		}
		broken = e.Position != h.Position+1 || !bytes.Equal(e.Chain, link(h.Chain, e))
		if !broken {
			h.Position, h.Chain = e.Position, e.Chain
		}
		return !broken, nil
	})
	if err != nil {
		return head{}, err
	}
	if stands.Position == h.Position && stands.Position > 0 && !bytes.Equal(stands.Chain, h.Chain) {
		broken = true // a forged log under a genuine checkpoint
	}
	if broken {
		if h.Broken == 0 {
			h.Broken = h.Position + 1
		}
		// The chain goes on after the furthest position that anything names, so that a gap stays visible.
		if stands.Position > h.Position {
			h.Position, h.Chain = stands.Position, stands.Chain
		}
		if s.head != nil && s.head.Position > h.Position {
			h.Position, h.Chain = s.head.Position, s.head.Chain
		}
	} else if stands.Position < h.Position && last.From != h.Position {
		// The newest rows are gone although a checkpoint names them.
		if h.Broken == 0 {
			h.Broken = stands.Position + 1
		}
	}
	return h, nil
}

func (s *Sealer) newest(ctx context.Context, r identity.Reader) (statement, error) {
	c, err := r.LastCheckpoint(ctx)
	if err != nil {
		return statement{}, err
	}
	return stated(s.Ring, c)
}

// Prune removes rows older than a time, oldest first, but never one that no checkpoint covers. It moves the log's start in a
// signed statement before the rows go.
func (s *Sealer) Prune(ctx context.Context, olderThan time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		removed, err := s.pruneStep(ctx, olderThan)
		n += removed
		if err != nil {
			return n, fmt.Errorf("prune audit rows: %w", err)
		}
		if removed < page {
			return n, nil
		}
	}
}

func (s *Sealer) pruneStep(ctx context.Context, olderThan time.Time) (n int, err error) {
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		n = 0
		now := s.Now()
		held, err := tx.Lease(ctx, leaseName, s.Owner, now, leaseTTL)
		if err != nil {
			return err
		}
		if !held {
			s.head = nil
			return nil // retention has time
		}
		last, err := s.newest(ctx, tx)
		if errors.Is(err, identity.NotFound) {
			return nil
		}
		if err != nil {
			return err // a log that is not sound is not made shorter
		}
		var cut identity.Event
		rows, err := tx.SealedEvents(ctx, 0, page)
		if err != nil {
			return err
		}
		for _, e := range rows {
			if !e.At.Before(olderThan) || e.Position > last.Position {
				break
			}
			cut = e
		}
		if cut.Position == 0 {
			return nil
		}
		if cut.Position > last.From {
			last.From, last.At = cut.Position, now.UnixMicro()
			anchor, err := sign(s.Ring, statement{Position: cut.Position, Chain: cut.Chain, From: cut.Position, Broken: last.Broken, At: last.At})
			if err != nil {
				return err
			}
			if err := tx.SaveCheckpoint(ctx, anchor); err != nil {
				return err
			}
			if cut.Position != last.Position {
				newest, err := sign(s.Ring, last)
				if err != nil {
					return err
				}
				if err := tx.SaveCheckpoint(ctx, newest); err != nil {
					return err
				}
			}
		}
		n, err = tx.PruneEvents(ctx, cut.Position, page)
		return err
	})
	return n, err
}
