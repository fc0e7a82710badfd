package password

import (
	"container/list"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"gatehouse/internal/factor/password/argon2"
	"gatehouse/internal/identity"
)

// Options of a Pool; zero fields take the default.
type Options struct {
	Params  Params           // of new hashes; DefaultParams
	Workers int              // hashes at once; one for each core
	Queue   int              // callers that may wait; 128 for each worker
	Memory  int64            // bytes that new hashes may take together; 160 MiB. Fewer workers run if it is too little for all
	Linger  time.Duration    // how long a worker without work keeps its thread and memory; 5 s
	Rand    io.Reader        // salts; crypto/rand
	Now     func() time.Time // measures how long hashes take; time.Now
}

// Pool hashes: as many at once as there are workers, the rest waiting in order of arrival, no more than fit in the queue.
//
// Each worker is a thread of low priority with memory that is used again and again. Both exist only while there is work.
type Pool struct {
	opt   Options
	decoy argon2Hash
	heavy sync.Mutex // held while a foreign hash takes more memory than a new one: one such at a time

	mu      sync.Mutex
	queue   list.List // of *job
	idle    []chan *job
	workers int
	closed  bool
	mean    float64 // seconds of a job, moving average
	refused uint64
}

type job struct {
	run  func(*argon2.Scratch)
	done chan struct{}
	err  error // set before done is closed
}

// do runs the job. Stored hashes come from elsewhere and libraries read them: a slip in one must cost its sign-in and not
// the process.
func (j *job) do(scratch *argon2.Scratch) {
	defer close(j.done)
	defer func() {
		if slip := recover(); slip != nil {
			j.err = fmt.Errorf("password hash: panic: %v\n%s", slip, debug.Stack())
		}
	}()
	j.run(scratch)
}

// New makes a pool. It starts no thread until there is something to hash. It fails for Params that do not Validate.
func New(opt Options) (*Pool, error) {
	if opt.Params == (Params{}) {
		opt.Params = DefaultParams()
	}
	if err := opt.Params.Validate(); err != nil {
		return nil, err
	}
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Memory <= 0 {
		opt.Memory = 160 << 20
	}
	opt.Workers = max(1, min(opt.Workers, int(opt.Memory/opt.Params.bytes())))
	if opt.Queue <= 0 {
		opt.Queue = 128 * opt.Workers
	}
	if opt.Linger <= 0 {
		opt.Linger = 5 * time.Second
	}
	if opt.Rand == nil {
		opt.Rand = rand.Reader
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Pool{
		opt:   opt,
		decoy: argon2Hash{opt.Params.core(), make([]byte, saltBytes), make([]byte, keyBytes)},
		mean:  0.02,
	}, nil
}

// RaiseProcs gives the workers scheduling slots of their own. Without it they fill all of Go's slots, and a request that
// arrives from the network waits for the scheduler's tick of 10 ms; with it the operating system decides, by priority and
// within microseconds. The process calls it once, at its start; the result undoes it.
func (p *Pool) RaiseProcs() (undo func()) {
	before := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(before + p.opt.Workers)
	return func() { runtime.GOMAXPROCS(before) }
}

// Hash makes a new hash. Text that cannot be a password is identity.Invalid.
func (p *Pool) Hash(ctx context.Context, typed identity.Secret) (string, error) {
	form, problem := normalise(typed)
	if problem != "" {
		return "", identity.Invalid.In("password", "the password "+problem)
	}
	h := argon2Hash{p.opt.Params.core(), make([]byte, saltBytes), make([]byte, keyBytes)}
	if _, err := io.ReadFull(p.opt.Rand, h.salt); err != nil {
		return "", fmt.Errorf("read randomness for a salt: %w", err)
	}
	err := p.do(ctx, func(scratch *argon2.Scratch) { scratch.Key(h.key, []byte(form), h.salt, h.Params) })
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Verify compares. rehash says that the hash should be replaced by a new one of this password, which is true only
// beside match. login is the e-mail that an OpenWiFi bootstrap hash was made with; other forms ignore it.
//
// A subject without a password has the empty hash: it never matches and takes the time of one that does not match.
func (p *Pool) Verify(ctx context.Context, encoded string, typed identity.Secret, login string) (match, rehash bool, err error) {
	if encoded == "" {
		return false, false, p.VerifyDecoy(ctx, typed)
	}
	h, err := parse(encoded, login)
	if err != nil {
		return false, false, err
	}
	candidates := forms(typed)
	if candidates == nil {
		return false, false, nil // as VerifyDecoy: says nothing about the login
	}
	_, isQuick := h.(quick)
	var found struct{ match, rehash bool } // apart from the results: after an error a worker may still write it
	err = p.do(ctx, func(scratch *argon2.Scratch) {
		if h.memory() > p.opt.Params.bytes() {
			p.heavy.Lock()
			defer p.heavy.Unlock()
		}
		for i, candidate := range candidates {
			if h.match(candidate, scratch) {
				found.match, found.rehash = true, i > 0 || !p.current(h)
				return
			}
			if isQuick {
				p.decoy.match(candidate, scratch)
			}
		}
	})
	if err != nil {
		return false, false, err
	}
	return found.match, found.rehash, nil
}

// VerifyDecoy does the work of Verify for a login that nobody has.
func (p *Pool) VerifyDecoy(ctx context.Context, typed identity.Secret) error {
	candidates := forms(typed)
	if candidates == nil {
		return nil
	}
	return p.do(ctx, func(scratch *argon2.Scratch) {
		for _, candidate := range candidates {
			p.decoy.match(candidate, scratch)
		}
	})
}

// current says whether a hash is as Hash would make it.
func (p *Pool) current(h stored) bool {
	a, ok := h.(argon2Hash)
	return ok && a.Params == p.opt.Params.core() && len(a.key) == keyBytes && len(a.salt) >= saltBytes
}

// Stats says how busy the pool is.
type Stats struct {
	Workers int    // threads that hash or wait a moment for more
	Waiting int    // callers in the queue
	Refused uint64 // callers sent away since the start
}

// Stats reads the numbers for metrics.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Workers: p.workers, Waiting: p.queue.Len(), Refused: p.refused}
}

// Close lets go of threads and memory as soon as the queue is empty, instead of some seconds later. The pool still works
// afterwards, so that requests which end during a shutdown get their answer.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, worker := range p.idle {
		close(worker)
		p.workers--
	}
	p.idle = nil
}

// do runs work on a worker, or says identity.Busy. When ctx ends first, a caller in the queue leaves it, and work that
// has begun goes on without her.
func (p *Pool) do(ctx context.Context, run func(*argon2.Scratch)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{run: run, done: make(chan struct{})}
	place, err := p.enter(j)
	if err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		p.leave(place)
		return ctx.Err()
	}
}

// enter hands the job to a worker, starts one, or queues it; place is where it stands in the queue.
func (p *Pool) enter(j *job) (place *list.Element, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 { // the one that worked last: its memory is warm, and the others may end
		p.idle[last] <- j
		p.idle = p.idle[:last]
		return nil, nil
	}
	if p.workers < p.opt.Workers {
		p.workers++
		go p.work(j)
		return nil, nil
	}
	if waiting := p.queue.Len(); waiting >= p.opt.Queue {
		p.refused++
		seconds := math.Ceil(float64(waiting+1) * p.mean / float64(p.opt.Workers))
		return nil, identity.Busy.After(time.Duration(max(seconds, 1))*time.Second, "too many sign-ins at once")
	}
	return p.queue.PushBack(j), nil
}

func (p *Pool) leave(place *list.Element) {
	if place == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.Remove(place) // nothing if a worker has taken it
}

// work is a worker's life. It never unlocks its thread, so the thread ends with it: raising a priority again needs a
// privilege, and Go must not run anything else at the low one.
func (p *Pool) work(j *job) {
	runtime.LockOSThread()
	lowerPriority()
	var scratch argon2.Scratch
	defer scratch.Free()
	for j != nil {
		began := p.opt.Now()
		j.do(&scratch)
		if int64(scratch.Bytes()) > p.opt.Params.bytes() {
			scratch.Free() // a foreign hash took more; do not keep it
		}
		j = p.next(p.opt.Now().Sub(began).Seconds())
	}
}

// next gives the oldest job in the queue, or waits a while for one; nil ends the worker.
func (p *Pool) next(took float64) *job {
	p.mu.Lock()
	p.mean += (took - p.mean) / 16
	if first := p.queue.Front(); first != nil {
		defer p.mu.Unlock()
		return p.queue.Remove(first).(*job)
	}
	if p.closed {
		defer p.mu.Unlock()
		p.workers--
		return nil
	}
	mine := make(chan *job, 1)
	p.idle = append(p.idle, mine)
	p.mu.Unlock()

	timer := time.NewTimer(p.opt.Linger)
	defer timer.Stop()
	select {
	case j := <-mine: // nil when the pool was closed
		return j
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == mine {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.workers--
			return nil
		}
	}
	return <-mine // enter took this worker off the list just before: the job is there, or Close has closed it
}
