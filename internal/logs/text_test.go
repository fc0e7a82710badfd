package logs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// both gives loggers that must write the same, and what they wrote.
func both(with ...any) (ours, theirs *slog.Logger, same func(t *testing.T)) {
	var a, b bytes.Buffer
	noTime := func(lines string) string { // the loggers look at the clock one after the other
		var out strings.Builder
		for line := range strings.Lines(lines) {
			_, rest, _ := strings.Cut(line, " ")
			out.WriteString(rest)
		}
		return out.String()
	}
	ours = slog.New(NewText(&a)).With(with...)
	theirs = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: Everything})).With(with...)
	return ours, theirs, func(t *testing.T) {
		t.Helper()
		if got, want := noTime(a.String()), noTime(b.String()); got != want {
			t.Errorf("wrote\n%swant\n%s", got, want)
		}
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("resolved") }

func TestTextIsTextHandlers(t *testing.T) {
	for _, with := range [][]any{nil, {"subsystem", "http"}, {"subsystem", "http", "err", errors.New("x y")}, {"a b", 1}, {slog.Group("g", "k", "v")}} {
		ours, theirs, same := both(with...)
		for _, log := range []*slog.Logger{ours, theirs} {
			log.Info("request", "id", "ABC", "status", 200, "bytes", uint64(7), "took", 1500*time.Microsecond, "ok", true, "none", "")
			log.Log(t.Context(), Everything, "two words", "path", "/a b", "quoted", `a"b`, "equals", "a=b", "slash", `a\b`, "both", `a\ b`)
			log.Warn("ä", "text", "ü", "line", "a\nb", "delete", "\x7f", "bad", "\xff", "nul", "\x00", "wide", "\u2003")
			log.Error("any", "err", errors.New("it failed"), "at", time.Unix(1, 0).UTC(), "f", 1.5, "v", valuer{}, "nil", nil)
			log.Info("", slog.Group("g", "a", 1), slog.Attr{}, slog.String("", "x"), slog.String("k=", "x"))
			log.WithGroup("").Info("same", "a", 1)
			log.WithGroup("g").With("a", 1).Info("grouped", "b", 2)
			log.With().Info("nothing more")
		}
		same(t)
	}
}

func TestTimesAreTextHandlers(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(0, 0).UTC(), time.Unix(1, 999_999_999).UTC(), time.Unix(1, 1_000_000).UTC(), time.Unix(1767225600, 120_000_000).In(time.FixedZone("", -5400)),
	} {
		var a, b bytes.Buffer
		r := slog.NewRecord(at, slog.LevelInfo, "x", 0)
		if err := errors.Join(NewText(&a).Handle(t.Context(), r), slog.NewTextHandler(&b, nil).Handle(t.Context(), r)); err != nil || a.String() != b.String() {
			t.Errorf("wrote %swant %s%v", &a, &b, err)
		}
	}
}

// Lines of many goroutines stay whole, whichever way each is written.
func TestLinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewText(&out))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				log.Info("plain", "end", "yes")
				log.Info("not plain", "err", errors.New("x"), "end", "yes")
			}
		})
	}
	all.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "time=") || !strings.HasSuffix(line, " end=yes") {
			t.Fatalf("a line is %q", line)
		}
	}
	if len(lines) != 16*100 {
		t.Errorf("%d lines", len(lines))
	}
}

// FuzzText: whatever stands in a line, it is TextHandler's.
func FuzzText(f *testing.F) {
	f.Add("msg", "key", "value", int64(1))
	f.Add("", "a b", "ü\x00", int64(-1))
	f.Fuzz(func(t *testing.T, msg, key, value string, n int64) {
		ours, theirs, same := both(key, value)
		for _, log := range []*slog.Logger{ours, theirs} {
			log.Info(msg, key, value, "n", n, "took", time.Duration(n))
		}
		same(t)
	})
}
