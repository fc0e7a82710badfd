package logs

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Text writes the lines of slog.TextHandler. Those that are made of plain values, as the one for each request is, it writes
// itself, in a third of the time; it hands the others on.
type Text struct {
	inner  slog.Handler
	out    io.Writer
	prefix string // the logger's own attributes, as they stand in a line
	plain  bool   // prefix says all of them
}

// NewText writes lines of every level.
func NewText(out io.Writer) *Text {
	together := &lockedWriter{out: out}
	return &Text{inner: slog.NewTextHandler(together, &slog.HandlerOptions{Level: Everything}), out: together, plain: true}
}

// lockedWriter keeps lines whole: both ways of writing one end in a single Write.
type lockedWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lockedWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(line)
}

// Enabled implements slog.Handler.
func (h *Text) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (h *Text) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.inner = h.inner.WithAttrs(attrs)
	b := []byte(h.prefix)
	for _, a := range attrs {
		var ok bool
		if b, ok = appendPlain(b, a); !ok {
			next.plain = false
		}
	}
	next.prefix = string(b)
	return &next
}

// WithGroup implements slog.Handler.
func (h *Text) WithGroup(name string) slog.Handler {
	next := *h
	next.inner, next.plain = h.inner.WithGroup(name), h.plain && name == ""
	return &next
}

// maxKept is the longest line whose memory is used again.
const maxKept = 16 << 10

var linePool = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Handle implements slog.Handler.
func (h *Text) Handle(ctx context.Context, r slog.Record) error {
	if !h.plain {
		return h.inner.Handle(ctx, r)
	}
	kept, _ := linePool.Get().(*[]byte)
	b, ok := h.line((*kept)[:0], &r)
	defer func() {
		if cap(b) <= maxKept {
			*kept = b
			linePool.Put(kept)
		}
	}()
	if !ok {
		return h.inner.Handle(ctx, r)
	}
	_, err := h.out.Write(b)
	return err
}

// line is false where a value is not plain.
func (h *Text) line(b []byte, r *slog.Record) ([]byte, bool) {
	if !r.Time.IsZero() {
		b = append(b, "time="...)
		b = appendMillis(b, r.Time)
		b = append(b, ' ')
	}
	b = append(b, "level="...)
	b = append(b, r.Level.String()...)
	b = append(b, " msg="...)
	b, ok := appendText(b, r.Message)
	b = append(b, h.prefix...)
	r.Attrs(func(a slog.Attr) bool {
		if ok {
			b, ok = appendPlain(b, a)
		}
		return ok
	})
	return append(b, '\n'), ok
}

// appendMillis is RFC 3339 with three digits of a second. Its nine are the format that package time is quick at.
func appendMillis(b []byte, t time.Time) []byte {
	const upToMillis = len("2006-01-02T15:04:05.000")
	n := len(b)
	b = t.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(b, time.RFC3339Nano) // a fourth digit, so that none is left out
	return append(b[:n+upToMillis], b[n+upToMillis+1:]...)
}

func appendPlain(b []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == "" || !bare(a.Key) {
		return b, false
	}
	b = append(b, ' ')
	b = append(b, a.Key...)
	b = append(b, '=')
	switch a.Value.Kind() {
	case slog.KindString:
		return appendText(b, a.Value.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10), true
	case slog.KindUint64:
		return strconv.AppendUint(b, a.Value.Uint64(), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, a.Value.Bool()), true
	case slog.KindDuration:
		return append(b, a.Value.Duration().String()...), true
	}
	return b, false
}

// appendText quotes where TextHandler does. Beyond ASCII that is for it to say.
func appendText(b []byte, s string) ([]byte, bool) {
	if s != "" && bare(s) {
		return append(b, s...), true
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return b, false
		}
	}
	return strconv.AppendQuote(b, s), true
}

// bare says whether s is ASCII that needs no quotes.
func bare(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '=' {
			return false
		}
	}
	return true
}
