// Package logs filters what the process writes to its log: every part of the house has a level of its own, and levels change
// while it runs.
//
// A part takes its logger with In. Asking whether a line is wanted costs one atomic load.
package logs

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
)

// Subsystem is a part of the house in the log.
type Subsystem string

// The parts. What names none of them is System's.
const (
	Audit    Subsystem = "audit"    // sealing and pruning of the audit log
	Delivery Subsystem = "delivery" // mail and SMS
	Doors    Subsystem = "doors"    // what operations of the doors failed with
	HTTP     Subsystem = "http"     // a line for each request
	Keys     Subsystem = "keys"     // signing keys
	Sessions Subsystem = "sessions" // sessions and their idle clocks
	Storage  Subsystem = "storage"  // the database and its change feed
	System   Subsystem = "system"   // start, end, upkeep, and the rest
)

var subsystems = [...]Subsystem{Audit, Delivery, Doors, HTTP, Keys, Sessions, Storage, System}

// Subsystems lists them by name.
func Subsystems() []Subsystem { return slices.Clone(subsystems[:]) }

// Known says whether there is a part of that name.
func Known(s Subsystem) bool { return slices.Contains(subsystems[:], s) }

// Level is how much a part says: what is as grave as the level, or graver.
type Level int

// The levels, from silence to everything. None of our lines is graver than Error today, so the two beyond it silence a part
// like None does.
const (
	None Level = iota
	Fatal
	Critical
	Error
	Warning
	Notice
	Information
	Debug
	Trace
	levels // how many there are
)

// Valid says whether there is such a level.
func (l Level) Valid() bool { return l >= None && l < levels }

// Everything is the level for the handler below: what it leaves out, no part can say.
const Everything = slog.Level(-8)

// floors are the gravest that each level leaves out, plus one.
var floors = [levels]slog.Level{
	None: math.MaxInt32, Fatal: 16, Critical: 12, Error: slog.LevelError, Warning: slog.LevelWarn, Notice: 2,
	Information: slog.LevelInfo, Debug: slog.LevelDebug, Trace: Everything,
}

// LevelOf is the level under which lines of this gravity, and graver ones, are written.
func LevelOf(l slog.Level) Level {
	for level, floor := range slices.Backward(floors[:]) {
		if l <= floor {
			return Level(level)
		}
	}
	return None
}

// Levels are the levels of all parts, for any number of handlers.
type Levels struct {
	start Level
	now   [len(subsystems)]atomic.Int64 // by the place in subsystems
}

// NewLevels starts every part at one level.
func NewLevels(start Level) *Levels {
	l := &Levels{start: start}
	l.Set(nil)
	return l
}

// Set gives parts their levels; those that are not named go back to where they started.
func (l *Levels) Set(to map[Subsystem]Level) {
	for i, s := range subsystems {
		level, named := to[s]
		if !named || !level.Valid() {
			level = l.start
		}
		l.now[i].Store(int64(level))
	}
}

// Start is where every part began.
func (l *Levels) Start() Level { return l.start }

// Of gives the level of a part.
func (l *Levels) Of(s Subsystem) Level { return Level(l.now[place(s)].Load()) }

// place is a part's in subsystems; whoever names no known one is System.
func place(s Subsystem) int {
	if i := slices.Index(subsystems[:], s); i >= 0 {
		return i
	}
	return len(subsystems) - 1
}

// attribute names the part in a logger.
const attribute = "subsystem"

// In gives a part's logger: log, or the default where that is nil, with the part as an attribute.
func In(log *slog.Logger, s Subsystem) *slog.Logger {
	return cmp.Or(log, slog.Default()).With(attribute, string(s))
}

// Handler passes on what the levels let through. The part is the one that the logger was made for with In; an attribute of a
// single line does not count.
type Handler struct {
	inner   slog.Handler
	levels  *Levels
	part    int
	grouped bool // attributes are a group's now, and name no part
}

// NewHandler puts the levels before a handler, which should itself let Everything through.
func NewHandler(inner slog.Handler, levels *Levels) *Handler {
	return &Handler{inner: inner, levels: levels, part: place(System)}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= floors[h.levels.now[h.part].Load()] && h.inner.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error { return h.inner.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.inner = h.inner.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == attribute && !h.grouped {
			next.part = place(Subsystem(a.Value.String()))
		}
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	next := *h
	next.inner, next.grouped = h.inner.WithGroup(name), h.grouped || name != ""
	return &next
}
