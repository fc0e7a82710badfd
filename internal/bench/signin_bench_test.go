package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// BenchmarkSignIn is row four: a password sign-in by 1, 16 and 64 callers. The floor is the same hash alone on all cores, for as
// many callers. With it, the most memory that the process took, and the CPU time that is not the hash's.
func BenchmarkSignIn(b *testing.B) {
	engines(b, func(b *testing.B, url string) {
		s := serve(b, url)
		ask := request("POST", "/auth/authenticate/signin", "Content-Type: application/json\r\n",
			`{"Username":"ada@example.test","Password":"correct horse battery","KeepLoggedIn":false}`)
		for _, n := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
				var houses []*caller
				for range n {
					houses = append(houses, dial(b, s.address(), always(ask)))
				}
				run(b, houses, n)
				const turns = 4
				var floorTook, houseTook, floorCPU, houseCPU time.Duration
				var peak int64
				b.ResetTimer()
				for turn := range turns {
					ops := b.N / turns
					if turn < b.N%turns {
						ops++
					}
					if ops == 0 {
						continue
					}
					cpu := cpuTime(b)
					floorTook += hashAlone(n, ops)
					floorCPU += cpuTime(b) - cpu
					runtime.GC()
					watch := watchMemory(b)
					cpu = cpuTime(b)
					houseTook += run(b, houses, ops)
					houseCPU += cpuTime(b) - cpu
					peak = max(peak, watch())
				}
				b.StopTimer()
				b.ReportMetric(float64(floorTook.Nanoseconds())/float64(b.N), "floor-ns/op")
				b.ReportMetric(float64(houseTook.Nanoseconds())/float64(b.N), "house-ns/op")
				b.ReportMetric(float64(floorTook)/float64(houseTook), "ratio")
				b.ReportMetric(float64(houseCPU-floorCPU)/float64(b.N)/1e6, "rest-cpu-ms/op")
				b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
				b.ReportMetric(0, "ns/op")
			})
		}
	})
}

// hashAlone computes ops hashes on all cores, for no more callers than there are.
func hashAlone(callers, ops int) time.Duration {
	var left atomic.Int64
	left.Store(int64(ops))
	salt := make([]byte, 16)
	var all sync.WaitGroup
	began := time.Now()
	for range min(callers, runtime.NumCPU()) {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				argon2.IDKey([]byte("correct horse battery"), salt, 2, 19456, 1, 32)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// BenchmarkValidateWhileSigningIn is row five: the 99th percentile of a validation while 64 callers sign in, as a multiple of its
// quiet value.
func BenchmarkValidateWhileSigningIn(b *testing.B) {
	s := serve(b, "")
	prober := dial(b, s.address(), always(request("POST", "/oauth2/introspect", basic("machine", s.secret.Reveal())+formType, "token="+s.tokens(b)["oidc"])))
	ask := request("POST", "/auth/authenticate/signin", "Content-Type: application/json\r\n",
		`{"Username":"ada@example.test","Password":"correct horse battery","KeepLoggedIn":false}`)
	var stormers []*caller
	for range 64 {
		stormers = append(stormers, dial(b, s.address(), always(ask)))
	}
	probe := func(n int) time.Duration {
		took := make([]time.Duration, n)
		for i := range took {
			began := time.Now()
			if err := prober.call(); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		return took[n*99/100]
	}
	probe(200)
	n := max(b.N, 1000)
	b.ResetTimer()
	quiet := probe(n)
	var stop atomic.Bool
	var all sync.WaitGroup
	for _, c := range stormers {
		all.Go(func() {
			for !stop.Load() {
				if err := c.call(); err != nil && !strings.Contains(err.Error(), " 503 ") {
					b.Error(err)
					return
				}
			}
		})
	}
	run(b, []*caller{prober}, 500) // the storm has begun
	storm := probe(n)
	b.StopTimer()
	stop.Store(true)
	all.Wait()
	b.ReportMetric(float64(quiet.Microseconds()), "quiet-p99-µs")
	b.ReportMetric(float64(storm.Microseconds()), "storm-p99-µs")
	b.ReportMetric(float64(storm)/float64(quiet), "times-quiet")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		tb.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// watchMemory samples the resident size until the function it gives is called, which says the most that was seen.
func watchMemory(tb testing.TB) func() int64 {
	tb.Helper()
	done := make(chan struct{})
	most := make(chan int64, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var peak int64
		for {
			peak = max(peak, resident())
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-most
	}
}

func resident() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
