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

	"gatehouse/internal/identity"

	original "golang.org/x/crypto/argon2"
)

// held is a pool with one worker that is busy until the test says go.
func held(t *testing.T, opt Options) (p *Pool, release func()) {
	t.Helper()
	opt.Workers, opt.Params = 1, Params{64, 1, 1}
	p = pool(t, opt)
	release, err := p.enter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p, release
}

func TestPoolServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{})
		var order []int
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				leave, err := p.enter(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				order = append(order, i)
			})
			synctest.Wait() // each is in the queue before the next comes
		}
		if got := p.Stats(); got.Waiting != 20 || got.Running != 1 {
			t.Errorf("stats are %+v", got)
		}
		release()
		group.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("served in order %v", order)
			}
		}
		if got := p.Stats(); got != (Stats{}) {
			t.Errorf("stats afterwards are %+v", got)
		}
	})
}

func TestPoolIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{Queue: 3})
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if err := p.VerifyDecoy(t.Context(), "password"); err != nil {
					t.Error(err)
				}
			})
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
			group.Go(func() { _ = p.VerifyDecoy(t.Context(), "password") })
		}
		synctest.Wait()
		err := p.VerifyDecoy(t.Context(), "password")
		if wait := identity.Describe(err).RetryAfter; wait != 18*time.Second {
			t.Errorf("nine hashes of two seconds on one worker: RetryAfter %v", wait)
		}
		release()
		group.Wait()
	})
}

func TestPoolCancelledCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := held(t, Options{Queue: 1})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- p.VerifyDecoy(ctx, "password") }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled caller got %v", err)
		}
		if got := p.Stats().Waiting; got != 0 {
			t.Errorf("%d still wait", got)
		}
		release()
		if err := p.VerifyDecoy(t.Context(), "password"); err != nil { // the place is free again
			t.Error(err)
		}
		if err := p.VerifyDecoy(ctx, "password"); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context got %v", err)
		}
	})
}

func TestPoolMeasures(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	p := pool(t, Options{Params: Params{64, 1, 1}, Now: func() time.Time { return at }})
	before := p.mean
	leave, err := p.enter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	at = at.Add(16 * time.Second)
	leave()
	if grown := p.mean - before; grown < 0.9 || grown > 1 {
		t.Errorf("16 seconds moved the average by %v", grown)
	}
}

// A foreign hash that takes more memory than all workers together runs alone.
func TestPoolHeavyHashRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Options{Params: Params{64, 1, 1}, Workers: 4})
		light, err := p.enter(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		heavy := make(chan func())
		go func() {
			leave, err := p.enter(t.Context(), maxMemory)
			if err != nil {
				t.Error(err)
			}
			heavy <- leave
		}()
		synctest.Wait()
		if got := p.Stats(); got.Running != 1 || got.Waiting != 1 {
			t.Errorf("beside a light hash: %+v", got)
		}
		light()
		leave := <-heavy
		var group sync.WaitGroup
		group.Go(func() { _ = p.VerifyDecoy(t.Context(), "password") })
		synctest.Wait()
		if got := p.Stats(); got.Running != 1 || got.Waiting != 1 {
			t.Errorf("beside a heavy hash: %+v", got)
		}
		leave()
		group.Wait()
	})
}

func TestPoolBoundsWorkersByMemory(t *testing.T) {
	for _, tt := range []struct {
		memory int64
		want   int
	}{{0, 6}, {100 << 20, 5}, {19 << 20, 1}, {1, 1}, {1 << 40, 8}} {
		if p := pool(t, Options{Workers: 8, Memory: tt.memory}); p.opt.Workers != tt.want {
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
	p := pool(t, Options{Params: Params{64, 1, 1}, Queue: 64})
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
	if got := p.Stats(); got.Running != 0 || got.Waiting != 0 {
		t.Errorf("afterwards %+v", got)
	}
}

// BenchmarkFloor is the same hash alone on all cores.
func BenchmarkFloor(b *testing.B) {
	params := DefaultParams()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			original.IDKey([]byte("correct horse"), make([]byte, saltBytes), params.Time, params.Memory, 1, keyBytes)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	p := pool(b, Options{})
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
