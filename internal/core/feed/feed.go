// Package feed tells this node what other nodes changed.
//
// Every write that others must notice appends a row to the change feed in its transaction. Tail reads the feed and hands each
// row to its listeners once. Sequence numbers are given before they are committed, so a lower one may appear after a higher
// one; Tail remembers the numbers it has not seen and looks for them again until no transaction can still hold them.
package feed

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

const (
	// DefaultPoll is how often the feed is read when nothing wakes the tail.
	DefaultPoll = 250 * time.Millisecond
	// DefaultOverlap is how long a missing number is looked for: longer than any transaction lasts.
	DefaultOverlap = 10 * time.Second
	// staleAfter is how old the last good reading may be before caches are no longer trusted.
	staleAfter = 5 * time.Second
	// lostAfter is well below the age at which the store sweeps changes: past it, rows may be gone unread.
	lostAfter = 3 * time.Minute
	// readTimeout keeps a store that hangs from looking like a quiet one.
	readTimeout = 3 * time.Second

	page = 1000
	// maxBacklog is where forgetting everything is cheaper than reading on.
	maxBacklog = 20 * page
	// maxHoles bounds the memory for missing numbers.
	maxHoles = 1000
	// fewHoles are looked for one by one; more of them by one reading over all.
	fewHoles = 8
)

// Tail reads the change feed. Its fields are set before Attach and Run.
type Tail struct {
	Store   identity.Store
	Now     func() time.Time
	Poll    time.Duration // 0: DefaultPoll
	Overlap time.Duration // 0: DefaultOverlap
	// Listeners hear of this node's changes at once and of the others' within Poll, perhaps of one twice. They are called from
	// several goroutines, must not block and must not use the store. identity.EverythingChanged tells them to forget all they
	// cached.
	Listeners []func([]identity.Change)

	read    atomic.Int64 // when the feed was last read, in microseconds; 0: never
	started bool
	failed  bool  // the last reading did: the store that comes back may be another one
	last    int64 // highest number seen
	holes   []hole
}

// hole is a run of numbers below last that nobody has seen.
type hole struct {
	from, to int64
	since    time.Time
}

// Attach lets this node's own commits reach the listeners before Update returns. It is called before the first Update.
func (t *Tail) Attach() { t.Store.OnCommit(t.tell) }

func (t *Tail) tell(changes []identity.Change) {
	for _, listen := range t.Listeners {
		listen(changes)
	}
}

// Fresh says how long ago the feed was last read.
func (t *Tail) Fresh() (age time.Duration) {
	read := t.read.Load()
	if read == 0 {
		return math.MaxInt64
	}
	return t.Now().Sub(time.UnixMicro(read))
}

// Stale says that this node may have missed changes: its caches must not be trusted now. A reading from the future was noted by
// a clock that has been set back since, and says nothing.
func (t *Tail) Stale() bool {
	age := t.Fresh()
	return age > staleAfter || age < -staleAfter
}

// Run follows the feed until ctx ends.
func (t *Tail) Run(ctx context.Context) {
	poll := t.Poll
	if poll == 0 {
		poll = DefaultPoll
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	failing := false
	for {
		if err := t.Once(ctx); err != nil && ctx.Err() == nil {
			if !failing {
				logs.In(nil, logs.Storage).WarnContext(ctx, "change feed cannot be read", "err", err)
			}
			failing = true
		} else if failing && err == nil {
			logs.In(nil, logs.Storage).InfoContext(ctx, "change feed is read again")
			failing = false
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.Store.Wake():
		}
	}
}

// Once reads what is new and hands it over. Run calls it; it is not for several goroutines at once.
func (t *Tail) Once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// From before the reading: what commits while it runs may not be in it.
	now := t.Now()
	var news []identity.Change
	var next place
	err := t.Store.View(ctx, func(r identity.Reader) (err error) {
		next, news = t.place(), nil
		begin := !t.started || t.Fresh() > lostAfter
		if t.failed && !begin {
			// Restored from a backup, or a replica that lost the newest rows: its numbers are not the ones seen here.
			end, err := r.LastChange(ctx)
			if err != nil {
				return err
			}
			begin = end < t.last
		}
		if begin {
			return next.begin(ctx, r, now)
		}
		news, err = next.follow(ctx, r, now, t.overlap())
		return err
	})
	if err != nil {
		t.failed = true
		return fmt.Errorf("read the change feed: %w", err)
	}
	switch {
	case next.everything:
		t.tell([]identity.Change{{Seq: next.last, Kind: identity.EverythingChanged, At: now}})
	case len(news) > 0:
		t.tell(news)
	}
	t.started, t.failed, t.last, t.holes = true, false, next.last, next.holes
	t.read.Store(now.UnixMicro())
	return nil
}

func (t *Tail) overlap() time.Duration {
	if t.Overlap == 0 {
		return DefaultOverlap
	}
	return t.Overlap
}

// place is where a reading starts and ends; it becomes the tail's when the reading has succeeded.
type place struct {
	started    bool
	everything bool // tell the listeners to forget all
	last       int64
	holes      []hole
}

func (t *Tail) place() place {
	return place{started: t.started, last: t.last, holes: slices.Clone(t.holes)}
}

// begin starts at the feed's end. Numbers missing below it may belong to transactions that are still open. Whoever listened
// before is told to forget everything, for changes were missed.
func (p *place) begin(ctx context.Context, r identity.Reader, now time.Time) error {
	end, err := r.LastChange(ctx)
	if err != nil {
		return err
	}
	recent, err := r.Changes(ctx, max(0, end-page), page)
	if err != nil {
		return err
	}
	*p = place{started: true, everything: p.started, last: max(0, end-page)}
	for _, c := range recent {
		p.pass(c.Seq, now)
	}
	return nil
}

// pass moves the end to seq, or fills a hole with it. It says whether seq is news.
func (p *place) pass(seq int64, now time.Time) bool {
	if seq > p.last {
		if seq > p.last+1 {
			p.holes = append(p.holes, hole{p.last + 1, seq - 1, now})
		}
		p.last = seq
		return true
	}
	for i, h := range p.holes {
		if seq < h.from || seq > h.to {
			continue
		}
		var rest []hole
		for _, part := range []hole{{h.from, seq - 1, h.since}, {seq + 1, h.to, h.since}} {
			if part.from <= part.to {
				rest = append(rest, part)
			}
		}
		p.holes = slices.Replace(p.holes, i, i+1, rest...)
		return true
	}
	return false
}

func (p *place) follow(ctx context.Context, r identity.Reader, now time.Time, overlap time.Duration) (news []identity.Change, err error) {
	p.holes = slices.DeleteFunc(p.holes, func(h hole) bool { return now.Sub(h.since) > overlap })

	take := func(rows []identity.Change) {
		for _, c := range rows {
			if p.pass(c.Seq, now) {
				news = append(news, c)
			}
		}
	}
	after := p.last
	if len(p.holes) > fewHoles {
		after = p.holes[0].from - 1
	} else {
		for _, h := range slices.Clone(p.holes) {
			late, err := r.Changes(ctx, h.from-1, int(min(h.to-h.from+1, page)))
			if err != nil {
				return nil, err
			}
			for len(late) > 0 && late[len(late)-1].Seq > h.to {
				late = late[:len(late)-1] // the readings below give those in their place
			}
			take(late)
		}
	}
	for read := 0; ; {
		rows, err := r.Changes(ctx, after, page)
		if err != nil {
			return nil, err
		}
		take(rows)
		if len(rows) < page {
			return news, nil
		}
		after = rows[len(rows)-1].Seq
		if read += len(rows); read >= maxBacklog || len(p.holes) > maxHoles {
			return nil, p.begin(ctx, r, now)
		}
	}
}
