package sqlite

import (
	"context"
	"sync/atomic"
)

const (
	// lookEvery is after how many updates the keeper looks at the log.
	lookEvery = 512
	// foldFrames is how long the log may be, in pages, before it is folded into the database file: 16 MiB. Longer than
	// SQLite's own 1000, because pages that are written again and again are then folded once.
	foldFrames = 4096
)

// keeper folds the write-ahead log into the database file, so that a commit never has to.
type keeper struct {
	dial    func(context.Context) (*conn, error)
	conn    *conn
	kick    chan struct{}
	stopped chan struct{}
	updates atomic.Int64
}

// count is told of each commit.
func (k *keeper) count(updates int) {
	if k.updates.Add(int64(updates)) >= lookEvery {
		k.updates.Store(0)
		select {
		case k.kick <- struct{}{}:
		default:
		}
	}
}

// loop folds when it is worth it. New pages are written meanwhile, so the writer is asked to fold the few that are left:
// only a log that is folded to its end is begun anew.
func (k *keeper) loop(closing <-chan struct{}, finish chan<- struct{}) {
	defer close(k.stopped)
	for {
		select {
		case <-k.kick:
			if k.fold() {
				select {
				case finish <- struct{}{}:
				default:
				}
			}
		case <-closing:
			if k.conn != nil {
				_ = k.conn.close()
			}
			return
		}
	}
}

// fold copies what it can without making anybody wait, and says whether it had something to copy. What fails here fails
// louder in the writer, and the log only grows meanwhile.
func (k *keeper) fold() bool {
	if k.conn == nil {
		c, err := k.dial(context.Background())
		if err != nil {
			return false
		}
		k.conn = c
	}
	frames, folded, err := checkpoint(k.conn, "NOOP")
	if err != nil || frames-folded < foldFrames {
		return false
	}
	_, _, err = checkpoint(k.conn, "PASSIVE")
	return err == nil
}

// restOfCheckpoint runs on the writer's connection, between two groups.
func restOfCheckpoint(c *conn) { _, _, _ = checkpoint(c, "PASSIVE") }

// checkpoint gives the length of the log and how much of it is folded, in pages. NOOP only looks.
func checkpoint(c *conn, mode string) (frames, folded int64, err error) {
	r, err := c.query("PRAGMA wal_checkpoint(" + mode + ")")
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	var busy int64
	if r.Next() {
		err = r.Scan(&busy, &frames, &folded)
	}
	return frames, folded, err
}
