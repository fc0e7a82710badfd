package httpkit

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestBounded(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		parent := context.WithValue(t.Context(), key{}, "kept")
		ctx, end := Bounded(parent, time.Second)
		defer end()
		if ctx.Err() != nil || ctx.Value(key{}) != "kept" {
			t.Errorf("at first: %v, %v", ctx.Err(), ctx.Value(key{}))
		}
		before := runtime.NumGoroutine()
		child, endChild := context.WithCancel(ctx)
		defer endChild()
		if n := runtime.NumGoroutine(); n != before {
			t.Errorf("a child costs %d goroutines", n-before)
		}
		start := time.Now()
		<-child.Done()
		if took := time.Since(start); took != time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) || ctx.Value(key{}) != "kept" {
			t.Errorf("ended after %v with %v", took, ctx.Err())
		}
	})
	t.Run("ended before anybody waited", func(t *testing.T) {
		ctx, end := Bounded(t.Context(), time.Hour)
		end()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("Err = %v", ctx.Err())
		}
		<-ctx.Done()
	})
	t.Run("ended while somebody waits", func(t *testing.T) {
		ctx, end := Bounded(t.Context(), time.Hour)
		done := ctx.Done()
		end()
		<-done
	})
	t.Run("with its parent", func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		ctx, end := Bounded(parent, time.Hour)
		defer end()
		cancel()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("Err = %v", ctx.Err())
		}
		<-ctx.Done()
	})
}
