package httpkit

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/identity"
)

// Event is what one log line says of a request; handlers fill in what they learn.
type Event struct {
	RequestID string
	Address   string // the client's, without port
	Door      identity.Door
	Op        string
	Kind      identity.Kind // of the refusal
	Refused   bool
	SubjectID identity.SubjectID
	SessionID identity.SessionID
	ClientID  identity.ClientID
	Path      string // as logged: long parts, which may be tokens, are left out; a handler may put the pattern instead
}

type eventKey struct{}

// EventOf gives the request's event, nil outside Observe.
func EventOf(r *http.Request) *Event {
	e, _ := r.Context().Value(eventKey{}).(*Event)
	return e
}

// Caller says who is asking at a door, for the core.
func Caller(r *http.Request, door identity.Door) identity.Caller {
	c := identity.Caller{Door: door, UserAgent: r.UserAgent()}
	if e := EventOf(r); e != nil {
		c.Address, c.RequestID = e.Address, e.RequestID
		c.SubjectID, c.SessionID, c.ClientID = e.SubjectID, e.SessionID, e.ClientID
	} else {
		c.Address = addressText(peer(r))
	}
	return c
}

// Observer writes one line for each request, gives each an id, finds the client's address, and keeps a panic from leaving the
// process or reaching the client.
type Observer struct {
	Log     *slog.Logger
	Now     func() time.Time
	Proxies []netip.Prefix // whose X-Forwarded-For is believed
	// Broken answers after a panic, if nothing was answered yet.
	Broken http.HandlerFunc
	// Count hears of every request that was answered; nil: nobody does.
	Count func(e *Event, status int, took time.Duration)
}

// Observe wraps the whole of a listener.
func (o *Observer) Observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, plain *http.Request) {
		start := o.Now()
		seen := &observed{Context: plain.Context(), recorder: recorder{ResponseWriter: w}, id: [1]string{newRequestID()}}
		seen.event = Event{RequestID: seen.id[0], Address: o.address(plain), Path: loggedPath(plain.URL.Path)}
		r, e, rec := plain.WithContext(seen), &seen.event, &seen.recorder
		h := w.Header()
		h["X-Request-Id"] = seen.id[:]
		h["X-Content-Type-Options"] = nosniff
		h["Referrer-Policy"] = noReferrer
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the sentinel itself, as net/http compares it
				o.Log.ErrorContext(r.Context(), "panic", "request", e.RequestID, "door", e.Door, "op", e.Op, "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					o.Broken(rec, r)
					p = nil
				}
			}
			end := o.Now()
			took := end.Sub(start)
			if o.Count != nil {
				o.Count(e, rec.status, took)
			}
			o.write(r, e, rec, end, took)
			if p != nil {
				// Half an answer is out: only a broken connection tells the client that it is not a whole one.
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// observed is all that is kept of one request, in one piece: the context that its handlers see, which knows the event.
type observed struct {
	context.Context
	event    Event
	recorder recorder
	id       [1]string // as a header's values
}

func (o *observed) Value(key any) any {
	if key == (eventKey{}) {
		return &o.event
	}
	return o.Context.Value(key)
}

// idBytes are the random bits of a request's id: 80, which are 16 characters of base32.
const idBytes = 10

// unusedIDs holds random bits for many ids: asking the system for each costs more than looking up a token.
type unusedIDs struct {
	bits [64 * idBytes]byte
	left int
}

var idPool = sync.Pool{New: func() any { return new(unusedIDs) }}

func newRequestID() string {
	ids, _ := idPool.Get().(*unusedIDs)
	if ids.left == 0 {
		_, _ = rand.Read(ids.bits[:]) // never fails (crypto/rand)
		ids.left = len(ids.bits) / idBytes
	}
	ids.left--
	var id [16]byte
	base32.StdEncoding.Encode(id[:], ids.bits[ids.left*idBytes:(ids.left+1)*idBytes])
	idPool.Put(ids)
	return string(id[:])
}

var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
)

func (o *Observer) write(r *http.Request, e *Event, rec *recorder, end time.Time, took time.Duration) {
	if rec.status == 0 {
		rec.status = http.StatusOK // what net/http sends for a handler that says nothing
	}
	level := slog.LevelInfo
	if rec.status >= 500 {
		level = slog.LevelWarn
	}
	ctx, handler := r.Context(), o.Log.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 13)
	attrs = append(attrs, slog.String("id", e.RequestID), slog.String("door", string(e.Door)), slog.String("op", e.Op),
		slog.String("method", r.Method), slog.String("path", e.Path), // never the query: doors' contracts put secrets there
		slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("took", took), slog.String("address", e.Address))
	if e.Refused {
		attrs = append(attrs, slog.String("refused", e.Kind.Error()))
	}
	if e.SubjectID != "" {
		attrs = append(attrs, slog.String("subject", string(e.SubjectID)))
	}
	if e.SessionID != "" {
		attrs = append(attrs, slog.String("session", string(e.SessionID)))
	}
	if e.ClientID != "" {
		attrs = append(attrs, slog.String("client", string(e.ClientID)))
	}
	// Past the logger, which would look at the clock again and walk the stack for a source that is the same for every line.
	line := slog.NewRecord(end, level, "request", 0)
	line.AddAttrs(attrs...)
	_ = handler.Handle(ctx, line) // as the logger does: there is nobody to tell
}

// loggedPath leaves out the parts of a path that may be tokens, whoever answers for it: some contracts put one there, and
// people put them where they do not belong. Ids of up to 36 characters, as long as a UUID, stay.
func loggedPath(path string) string {
	const longest, whole = 36, 256
	if len(path) <= longest {
		return path
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if len(part) > longest {
			parts[i] = "…"
		}
	}
	if path = strings.Join(parts, "/"); len(path) > whole {
		path = strings.ToValidUTF8(path[:whole], "") + "…"
	}
	return path
}

// address gives the client's: the peer's, or behind trusted proxies the last one in X-Forwarded-For that is none of them. What
// stands left of that one is the client's own invention.
func (o *Observer) address(r *http.Request) string {
	client := peer(r)
	if len(o.Proxies) == 0 || !o.trusts(client) {
		if text, _, ok := strings.Cut(r.RemoteAddr, ":"); ok && client.Is4() && len(text) <= len("255.255.255.255") && text[0] != '[' {
			return text // the only spelling that ParseAddr takes
		}
		return addressText(client)
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, ok := parseAddress(strings.TrimSpace(hop))
		if !ok {
			break
		}
		client = a
		if !o.trusts(client) {
			break
		}
	}
	return addressText(client)
}

func (o *Observer) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(o.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

func peer(r *http.Request) netip.Addr {
	a, _ := parseAddress(r.RemoteAddr)
	return a
}

// parseAddress takes an address with a port, as peers and some proxies write it, or without.
func parseAddress(text string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// addressText gives "" for a peer that has no address, such as one on a Unix socket.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
