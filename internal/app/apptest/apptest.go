// Package apptest builds a whole house for a test: real core, real store, every door; only time and randomness are the test's.
package apptest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"testing"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/deliver"
	"gatehouse/internal/factor/password"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/world"
)

// Options are what a test wants otherwise.
type Options struct {
	Store     identity.Store       // nil: storetest.Fresh
	Box       *keys.Box            // nil: one of a fixed key; two houses on one store share it
	World     string               // YAML, applied before the house is handed over
	Configure func(*config.Config) // nil: the defaults
	Clock     *coretest.Clock      // nil: one that stands at coretest.Start
	Rand      io.Reader            // nil: seeded
	Hash      password.Params      // zero: coretest.CheapHash
}

// House is a house with a test's clock. Nothing runs in its background until Run is called.
type House struct {
	*app.House
	Clock   *coretest.Clock
	Handler http.Handler // the public listener's
	Service http.Handler // the internal listener's
}

// New builds a house that is taken down with the test.
func New(t testing.TB, o Options) *House {
	t.Helper()
	if o.Store == nil {
		o.Store = storetest.Fresh(t)
	}
	if o.Clock == nil {
		o.Clock = coretest.NewClock(coretest.Start)
	}
	if o.Rand == nil {
		o.Rand = coretest.SeededRand()
	}
	if o.Hash == (password.Params{}) {
		o.Hash = coretest.CheapHash
	}
	if o.Box == nil {
		box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		o.Box = box
	}
	cfg := config.Default()
	cfg.Issuer = "http://gatehouse.test"
	cfg.Titan.FrontendURL = cfg.Issuer
	cfg.Data = t.TempDir()
	if o.Configure != nil {
		o.Configure(&cfg)
	}
	h, err := app.Open(t.Context(), cfg, app.Options{Store: o.Store, Box: o.Box, Now: o.Clock.Now, Rand: o.Rand, Hash: o.Hash})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	if o.World != "" {
		parsed, err := world.Parse("world.yaml", []byte(o.World))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Worlds.Apply(t.Context(), parsed, world.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return &House{House: h, Clock: o.Clock, Handler: h.Handler(), Service: h.ServiceHandler()}
}

// Mails opens everything in the outbox, oldest first; decoys are left out.
func (h *House) Mails(t testing.TB) []deliver.Content {
	t.Helper()
	var mails []deliver.Content
	var ids []identity.MessageID
	err := h.Store.View(context.Background(), func(r identity.Reader) error {
		ids = nil
		messages, err := r.Messages(context.Background(), "", "", 1000)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Recipient == "" {
				continue
			}
			ids = append(ids, m.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Backward(ids) {
		_, content, err := h.Outbox.Show(context.Background(), id, true)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, content)
	}
	return mails
}
