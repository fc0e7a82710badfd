package app

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/identity"
)

const (
	upkeepEvery = time.Minute
	upkeepLease = 3 * time.Minute
	sweepStep   = 500 // rows of each table in one transaction: small, so that nobody waits for it
	sweepSteps  = 200 // in one round
)

// upkeep removes what has ended, rotates keys and tells people of licences that end, once a minute, on whichever node holds the lease.
func (h *House) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if err := h.upkeepOnce(ctx); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "upkeep failed; will try again in a minute", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *House) upkeepOnce(ctx context.Context) error {
	var held bool
	err := h.Store.Update(ctx, func(tx identity.Tx) (err error) {
		held, err = tx.Lease(ctx, "upkeep", h.node, h.now(), upkeepLease)
		return err
	})
	if err != nil || !held {
		return err
	}
	swept := h.sweep(ctx)
	// RS256 is slow to make, and only few clients ask for it: made here, after the first answer.
	ensured := h.Ring.Ensure(ctx)
	rotated := h.Ring.Maintain(ctx)
	told := h.Licences.Tell(ctx)
	var pruned error
	if keep := h.Config.Audit.Retention; keep > 0 {
		_, pruned = h.Sealer.Prune(ctx, h.now().Add(-keep))
	}
	return errors.Join(swept, ensured, rotated, told, pruned)
}

func (h *House) sweep(ctx context.Context) error {
	for range sweepSteps {
		var n int
		err := h.Store.Update(ctx, func(tx identity.Tx) (err error) {
			n, err = tx.Sweep(ctx, h.now(), sweepStep)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}
