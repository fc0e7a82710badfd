package logs

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newLog(start Level) (*slog.Logger, *Levels, *bytes.Buffer) {
	var out bytes.Buffer
	levels := NewLevels(start)
	return slog.New(NewHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: Everything}), levels)), levels, &out
}

func TestEachPartHasItsLevel(t *testing.T) {
	log, levels, out := newLog(Information)
	http, audit := In(log, HTTP), In(log, Audit).With("more", 1)
	said := func(l *slog.Logger, level slog.Level) bool {
		out.Reset()
		l.Log(t.Context(), level, "line")
		return out.Len() > 0
	}
	levels.Set(map[Subsystem]Level{HTTP: Error, Audit: Trace})
	for _, tt := range []struct {
		log   *slog.Logger
		level slog.Level
		want  bool
	}{
		{http, slog.LevelWarn, false}, {http, slog.LevelError, true},
		{audit, slog.LevelDebug, true}, {audit, Everything, true}, {audit, Everything - 1, false},
		{log, slog.LevelInfo, true}, {log, slog.LevelDebug, false}, // System, still where it started
		{In(log, "no such part"), slog.LevelInfo, true},
		{log.WithGroup("g").With("subsystem", "http"), slog.LevelInfo, true}, // a group's attribute is not ours
		{log.WithGroup("").With("subsystem", "http"), slog.LevelInfo, false},
	} {
		if got := said(tt.log, tt.level); got != tt.want {
			t.Errorf("at %v said %v, want %v", tt.level, got, tt.want)
		}
	}
	levels.Set(nil)
	if !said(http, slog.LevelInfo) || said(audit, slog.LevelDebug) {
		t.Error("what is not named did not go back to where it started")
	}
	levels.Set(map[Subsystem]Level{System: None, HTTP: 77, "x": None})
	if said(log, slog.LevelError+100) || !said(http, slog.LevelInfo) {
		t.Error("none says something, or a level that is none was taken")
	}
	said(http, slog.LevelError)
	if !strings.Contains(out.String(), "subsystem=http") {
		t.Errorf("the line does not name its part: %s", out)
	}
}

// Each level lets through what the one before does, and what is as grave as it is.
func TestLevelsAreOrdered(t *testing.T) {
	log, levels, _ := newLog(None)
	var before []slog.Level
	for level := None; level.Valid(); level++ {
		levels.Set(map[Subsystem]Level{System: level})
		var through []slog.Level
		for l := slog.Level(-20); l < 20; l++ {
			if log.Enabled(t.Context(), l) {
				through = append(through, l)
			}
		}
		for _, l := range before {
			if !slices.Contains(through, l) {
				t.Errorf("level %d holds back %v, which %d lets through", level, l, level-1)
			}
		}
		if len(through) <= len(before) && level != None {
			t.Errorf("level %d lets through no more than %d", level, level-1)
		}
		if level != None && LevelOf(through[0]) != level {
			t.Errorf("LevelOf(%v) = %d, want %d", through[0], LevelOf(through[0]), level)
		}
		before = through
	}
	for l, want := range map[slog.Level]Level{slog.LevelDebug: Debug, slog.LevelInfo: Information, slog.LevelWarn: Warning, slog.LevelError: Error, 99: None} {
		if got := LevelOf(l); got != want {
			t.Errorf("LevelOf(%v) = %d, want %d", l, got, want)
		}
	}
}

func TestSubsystems(t *testing.T) {
	all := Subsystems()
	if !slices.IsSorted(all) || len(all) < 8 {
		t.Errorf("%v", all)
	}
	all[0] = "x"
	if !Known(Audit) || Known("x") || Known("all") {
		t.Error("the list is not its own")
	}
}

// Levels change while lines are written.
func TestLevelsInParallel(t *testing.T) {
	levels := NewLevels(Information)
	log := In(slog.New(NewHandler(slog.DiscardHandler, levels)), HTTP)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := range 200 {
				levels.Set(map[Subsystem]Level{HTTP: Level((n + i) % int(Trace))})
				log.Info("line")
				_ = levels.Of(HTTP)
			}
		})
	}
	all.Wait()
}

// What is off costs an atomic load and nothing on the heap.
func TestOffAllocatesNothing(t *testing.T) {
	levels := NewLevels(None)
	log := In(slog.New(NewHandler(slog.NewTextHandler(&bytes.Buffer{}, nil), levels)), HTTP)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { log.Enabled(ctx, slog.LevelError) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
