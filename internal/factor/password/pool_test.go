package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/factor/password/argon2"
	"gatehouse/internal/identity"

	reference "golang.org/x/crypto/argon2"
)

// held is a pool with one worker that is busy until the test says go.
func held(t *testing.T, opt Options) (p *Pool, release func()) {
	t.Helper()
	opt.Workers = 1
	p = pool(t, opt)
	t.Cleanup(func() { idle(p) })
	gate := make(chan struct{})
	go p.do(context.Background(), func(*argon2.Scratch) { <-gate })
	synctest.Wait()
	return p, func() { close(gate) }
}

// idle lets the workers end, since a bubble must not leave goroutines behind.
func idle(p *Pool) {
	<-time.After(p.opt.Linger + time.Second)
	synctest.Wait()
}

func TestPoolServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{})
		var order []int
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				if err := p.do(t.Context(), func(*argon2.Scratch) { order = append(order, i) }); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // each is in the queue before the next comes
		}
		if got := p.Stats(); got.Waiting != 20 || got.Workers != 1 {
			t.Errorf("stats are %+v", got)
		}
		release()
		group.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("served in order %v", order)
			}
		}
	})
}

func TestPoolIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{Queue: 3})
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { _ = p.do(t.Context(), func(*argon2.Scratch) {}) })
		}
		synctest.Wait()
		_, _, err := p.Verify(t.Context(), "", "password", "")
		if !errors.Is(err, identity.Busy) {
			t.Fatalf("a full queue gives %v, want Busy", err)
		}
		if wait := identity.Describe(err).RetryAfter; wait < time.Second || wait%time.Second != 0 {
			t.Errorf("RetryAfter is %v, want whole seconds", wait)
		}
		if _, err := p.Hash(t.Context(), "password"); !errors.Is(err, identity.Busy) {
			t.Errorf("Hash gives %v, want Busy", err)
		}
		if got := p.Stats().Refused; got != 2 {
			t.Errorf("refused %d, want 2", got)
		}
		release()
		group.Wait()
		if err := p.VerifyDecoy(t.Context(), "password"); err != nil {
			t.Errorf("after the storm: %v", err)
		}
	})
}

func TestPoolRetryAfterGrowsWithTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{Queue: 8})
		p.mean = 2
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { _ = p.do(t.Context(), func(*argon2.Scratch) {}) })
		}
		synctest.Wait()
		err := p.VerifyDecoy(t.Context(), "password")
		if wait := identity.Describe(err).RetryAfter; wait != 18*time.Second {
			t.Errorf("nine jobs of two seconds on one worker: RetryAfter %v", wait)
		}
		release()
		group.Wait()
	})
}

func TestPoolCancelledCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{Queue: 1})
		ctx, cancel := context.WithCancel(t.Context())
		ran := false
		left := make(chan error)
		go func() { left <- p.do(ctx, func(*argon2.Scratch) { ran = true }) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled caller got %v", err)
		}
		if got := p.Stats().Waiting; got != 0 {
			t.Errorf("%d still wait", got)
		}
		release()
		if err := p.do(t.Context(), func(*argon2.Scratch) {}); err != nil { // the place is free again
			t.Error(err)
		}
		if ran {
			t.Error("work of a caller who left was done")
		}
		if err := p.do(ctx, func(*argon2.Scratch) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context got %v", err)
		}
	})
}

func TestPoolKeepsNothingWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Options{Params: Params{64, 1, 1}, Workers: 4, Linger: time.Minute})
		storm := func() {
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					if err := p.VerifyDecoy(t.Context(), "password"); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		storm()
		synctest.Wait()
		if got := p.Stats().Workers; got < 1 || got > 4 {
			t.Errorf("%d workers after the storm", got)
		}
		idle(p)
		if got := p.Stats(); got.Workers != 0 || len(p.idle) != 0 {
			t.Errorf("idle pool holds %+v", got)
		}
		storm() // and starts again
		idle(p)
	})
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Options{Params: Params{64, 1, 1}, Workers: 2})
		for range 3 {
			if err := p.VerifyDecoy(t.Context(), "password"); err != nil { // the last one after Close
				t.Error(err)
			}
			synctest.Wait()
			p.Close()
			synctest.Wait()
			if got := p.Stats().Workers; got != 0 {
				t.Errorf("%d workers after Close", got)
			}
		}
		gate := make(chan struct{})
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				if err := p.do(t.Context(), func(*argon2.Scratch) { <-gate }); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		p.Close() // with callers in the queue: they are served
		close(gate)
		group.Wait()
		synctest.Wait()
		if got := p.Stats(); got.Workers != 0 || got.Waiting != 0 {
			t.Errorf("after the queue: %+v", got)
		}
	})
}

func TestPoolSurvivesPanic(t *testing.T) {
	p := cheap(t)
	if err := p.do(t.Context(), func(*argon2.Scratch) { panic("slip") }); err == nil {
		t.Error("a panic is no error")
	}
	if err := p.VerifyDecoy(t.Context(), "password"); err != nil {
		t.Error(err)
	}
}

func TestPoolBoundsWorkersByMemory(t *testing.T) {
	for _, tt := range []struct {
		memory int64
		want   int
	}{{0, 8}, {100 << 20, 5}, {19 << 20, 1}, {1, 1}} {
		p := pool(t, Options{Workers: 8, Memory: tt.memory})
		if p.opt.Workers != tt.want {
			t.Errorf("%d bytes allow %d workers, want %d", tt.memory, p.opt.Workers, tt.want)
		}
	}
}

func TestRaiseProcs(t *testing.T) {
	p := pool(t, Options{Workers: 3})
	before := runtime.GOMAXPROCS(0)
	undo := p.RaiseProcs()
	if got := runtime.GOMAXPROCS(0); got != before+3 {
		t.Errorf("GOMAXPROCS is %d, want %d", got, before+3)
	}
	undo()
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("GOMAXPROCS is %d, want %d", got, before)
	}
}

func TestPoolUnderLoad(t *testing.T) {
	p := cheap(t)
	hash, err := p.Hash(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for caller := range 64 {
		group.Go(func() {
			for round := range 10 {
				typed := identity.Secret("wrong")
				if (caller+round)%2 == 0 {
					typed = "right"
				}
				ctx, cancel := context.WithCancel(t.Context())
				if caller%8 == 0 {
					go cancel()
				}
				match, _, err := p.Verify(ctx, hash, typed, "")
				cancel()
				if err == nil && match != (typed == "right") {
					t.Errorf("caller %d: %v", caller, match)
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("caller %d: %v", caller, err)
				}
			}
		})
	}
	group.Wait()
}

// The floor is the same hash alone on all cores: by our own code, and by golang.org/x/crypto.
func BenchmarkFloor(b *testing.B) {
	params := DefaultParams()
	b.Run("ours", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			var scratch argon2.Scratch
			defer scratch.Free()
			key := make([]byte, keyBytes)
			for pb.Next() {
				scratch.Key(key, []byte("correct horse"), make([]byte, saltBytes), params.core())
			}
		})
	})
	b.Run("x/crypto", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				reference.IDKey([]byte("correct horse"), make([]byte, saltBytes), params.Time, params.Memory, 1, keyBytes)
			}
		})
	})
}

func BenchmarkVerify(b *testing.B) {
	p := pool(b, Options{})
	defer p.Close()
	defer p.RaiseProcs()()
	hash, err := p.Hash(b.Context(), "correct horse")
	if err != nil {
		b.Fatal(err)
	}
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			work := make(chan struct{})
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for range work {
						if match, _, err := p.Verify(b.Context(), hash, "correct horse", ""); !match || err != nil {
							b.Error(match, err)
						}
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			group.Wait()
		})
	}
}
