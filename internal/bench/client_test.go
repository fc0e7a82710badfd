package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// caller makes requests one after another on one connection. next builds a request from the body of the answer before.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	next func(previous []byte) []byte
	body []byte
}

func dial(tb testing.TB, address string, next func([]byte) []byte) *caller {
	tb.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &caller{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), next: next}
}

// call costs next to nothing beside the server: a full HTTP client would hide the difference that is measured.
func (c *caller) call() error {
	if _, err := c.conn.Write(c.next(c.body)); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.Contains(line, []byte(" 200 "))
	status := string(line)
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if len(line) > 16 && bytes.EqualFold(line[:15], []byte("Content-Length:")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without a length: %s", status)
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s%s", status, c.body)
	}
	return nil
}

// request prints an HTTP request.
func request(method, path, headers, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: bench\r\n%sContent-Length: %d\r\n\r\n%s", method, path, headers, len(body), body)
}

func always(r []byte) func([]byte) []byte { return func([]byte) []byte { return r } }

// run makes n calls, spread over the callers, and gives the time that took.
func run(tb testing.TB, callers []*caller, n int) time.Duration {
	tb.Helper()
	var all sync.WaitGroup
	failed := make(chan error, len(callers))
	began := time.Now()
	for i, c := range callers {
		share := n / len(callers)
		if i < n%len(callers) {
			share++
		}
		all.Go(func() {
			for range share {
				if err := c.call(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		tb.Fatal(err)
	default:
	}
	return took
}

// compare runs both sides in turns, so that a noisy neighbour disturbs both, and reports the ratio of the sums.
func compare(b *testing.B, floor, house []*caller) {
	b.Helper()
	run(b, floor, len(floor)*4) // connections and caches warm
	run(b, house, len(house)*4)
	const turns = 8
	var floorTook, houseTook time.Duration
	b.ResetTimer()
	for turn := range turns {
		n := b.N / turns
		if turn < b.N%turns {
			n++
		}
		if n == 0 {
			continue
		}
		floorTook += run(b, floor, n)
		houseTook += run(b, house, n)
	}
	b.StopTimer()
	b.ReportMetric(float64(floorTook.Nanoseconds())/float64(b.N), "floor-ns/op")
	b.ReportMetric(float64(houseTook.Nanoseconds())/float64(b.N), "house-ns/op")
	b.ReportMetric(float64(floorTook)/float64(houseTook), "ratio")
	b.ReportMetric(0, "ns/op") // of both together: means nothing
}
