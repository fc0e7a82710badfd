package password

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"gatehouse/internal/identity"
)

// Options of a Pool; zero fields take the default.
type Options struct {
	Params  Params           // of new hashes; DefaultParams
	Workers int              // hashes at once; one for each core
	Queue   int              // callers that may wait; 128 for each worker
	Memory  int64            // bytes that new hashes may take together; 128 MiB. Fewer workers run if it is too little for all
	Rand    io.Reader        // salts; crypto/rand
	Now     func() time.Time // measures how long hashes take, for RetryAfter; without it a first guess stays
}

// Pool hashes: as many at once as there are workers, the rest waiting in order of arrival, no more than fit in the queue.
type Pool struct {
	opt   Options
	decoy stored
	room  *semaphore.Weighted // bytes of hashes that run; first come, first served

	mu      sync.Mutex
	waiting int
	running int
	mean    float64 // seconds of a hash, moving average
	refused uint64
}

// New makes a pool. It fails for Params that do not Validate.
func New(opt Options) (*Pool, error) {
	if opt.Params == (Params{}) {
		opt.Params = DefaultParams()
	}
	if err := opt.Params.Validate(); err != nil {
		return nil, fmt.Errorf("password hash parameters: %w", err)
	}
	opt.Params = opt.Params.rounded()
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Memory <= 0 {
		opt.Memory = 128 << 20
	}
	opt.Workers = max(1, min(opt.Workers, int(opt.Memory/opt.Params.bytes())))
	if opt.Queue <= 0 {
		opt.Queue = 128 * opt.Workers
	}
	if opt.Rand == nil {
		opt.Rand = rand.Reader
	}
	// A decoy is never equal to a hash: its key is all zero.
	decoy, err := parse(opt.Params.prefix()+"AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "")
	if err != nil {
		return nil, err
	}
	return &Pool{
		opt:   opt,
		decoy: decoy,
		room:  semaphore.NewWeighted(int64(opt.Workers) * opt.Params.bytes()),
		mean:  0.04,
	}, nil
}

// RaiseProcs gives the hashes scheduling slots of their own. Without it they fill all of Go's slots, and a request that
// arrives from the network waits for the scheduler's tick of 10 ms; with it the operating system shares out the cores, and
// lets those go first that have slept. The process calls it once, at its start; the result undoes it.
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
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(p.opt.Rand, salt); err != nil {
		return "", fmt.Errorf("read randomness for a salt: %w", err)
	}
	leave, err := p.enter(ctx, p.opt.Params.bytes())
	if err != nil {
		return "", err
	}
	defer leave()
	digest, err := p.opt.Params.hash(form, salt)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return digest.Encode(), nil
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
	leave, err := p.enter(ctx, h.memory())
	if err != nil {
		return false, false, err
	}
	defer leave()
	_, isQuick := h.(quick)
	for i, candidate := range candidates {
		if h.match(candidate) {
			return true, i > 0 || !p.opt.Params.made(h), nil
		}
		if isQuick {
			p.decoy.match(candidate)
		}
	}
	return false, false, nil
}

// VerifyDecoy does the work of Verify for a login that nobody has.
func (p *Pool) VerifyDecoy(ctx context.Context, typed identity.Secret) error {
	candidates := forms(typed)
	if candidates == nil {
		return nil
	}
	leave, err := p.enter(ctx, p.decoy.memory())
	if err != nil {
		return err
	}
	defer leave()
	for _, candidate := range candidates {
		p.decoy.match(candidate)
	}
	return nil
}

// Stats says how busy the pool is.
type Stats struct {
	Running int    // hashes under way
	Waiting int    // callers in the queue
	Refused uint64 // callers sent away since the start
}

// Stats reads the numbers for metrics.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Running: p.running, Waiting: p.waiting, Refused: p.refused}
}

// enter waits for room for one hash, in order of arrival, or says identity.Busy. A caller whose ctx ends leaves the queue.
//
// A hash takes at least a worker's share of the room, since it takes a core whatever its memory; one that takes more than
// there is takes all of it and so runs alone.
func (p *Pool) enter(ctx context.Context, memory int64) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	share := p.opt.Params.bytes()
	memory = min(max(memory, share), share*int64(p.opt.Workers))
	if !p.room.TryAcquire(memory) {
		if err := p.wait(ctx, memory); err != nil {
			return nil, err
		}
	}
	var began time.Time
	if p.opt.Now != nil {
		began = p.opt.Now()
	}
	p.mu.Lock()
	p.running++
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.running--
		if p.opt.Now != nil {
			p.mean += (p.opt.Now().Sub(began).Seconds() - p.mean) / 16
		}
		p.mu.Unlock()
		p.room.Release(memory)
	}, nil
}

func (p *Pool) wait(ctx context.Context, memory int64) error {
	p.mu.Lock()
	if p.waiting >= p.opt.Queue {
		defer p.mu.Unlock()
		p.refused++
		seconds := math.Ceil(float64(p.waiting+1) * p.mean / float64(p.opt.Workers))
		return identity.Busy.After(time.Duration(max(seconds, 1))*time.Second, "too many sign-ins at once")
	}
	p.waiting++
	p.mu.Unlock()
	err := p.room.Acquire(ctx, memory)
	p.mu.Lock()
	p.waiting--
	p.mu.Unlock()
	return err
}
