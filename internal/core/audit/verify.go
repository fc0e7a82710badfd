package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"gatehouse/internal/identity"
)

// ProblemKind says what is wrong with the log.
type ProblemKind string

const (
	Changed    ProblemKind = "changed"    // a row does not say what was sealed
	Removed    ProblemKind = "removed"    // a row that was sealed is gone
	Inserted   ProblemKind = "inserted"   // a row stands between two that were sealed one after the other
	Checkpoint ProblemKind = "checkpoint" // a signed statement is missing, forged, or not what the rows say
	Broken     ProblemKind = "broken"     // the house itself found the log tampered with, and signed that
)

// Problem is one thing found.
type Problem struct {
	Kind     ProblemKind      `json:"kind"`
	Position int64            `json:"position"`
	EventID  identity.EventID `json:"event,omitempty"`
	Text     string           `json:"text"`
}

// Summary is what was looked at.
type Summary struct {
	From     int64  `json:"from"`     // rows up to here were removed by retention
	Rows     int64  `json:"rows"`     // sealed rows read
	Position int64  `json:"position"` // of the newest sealed row
	Chain    []byte `json:"chain"`
	Signed   int64  `json:"signed"` // the newest valid checkpoint covers rows up to here; 0: none
	Problems int    `json:"problems"`
}

// Verify reads the whole log on one snapshot and reports everything that is not as it was sealed.
func Verify(ctx context.Context, store identity.Store, ring Ring, report func(Problem)) (Summary, error) {
	var sum Summary
	var found []Problem
	err := store.View(ctx, func(r identity.Reader) error {
		v := verifier{ring: ring, r: r, report: func(p Problem) { found = append(found, p) }}
		var err error
		sum, err = v.run(ctx)
		return err
	})
	if err != nil {
		return sum, fmt.Errorf("verify the audit log: %w", err)
	}
	for _, p := range found {
		report(p)
	}
	sum.Problems = len(found)
	return sum, nil
}

// Verify is the function of that name with the sealer's own store and ring.
func (s *Sealer) Verify(ctx context.Context, report func(Problem)) (Summary, error) {
	return Verify(ctx, s.Store, s.Ring, report)
}

type verifier struct {
	ring   Ring
	r      identity.Reader
	report func(Problem)

	checkpoints []identity.Checkpoint // a page of those not compared yet
	compared    bool                  // no page follows

	position int64  // expected of the row before
	chain    []byte // stored in the row before
	good     []byte // of the last row that was as sealed
	shift    int64  // rows found inserted so far: every later position is that much too high
	suspect  *suspect
}

// suspect is a row that does not follow from the one before. Which of the two faults it is, the next row tells.
type suspect struct {
	event    identity.Event
	computed []byte // what its chain should be
}

func (v *verifier) run(ctx context.Context) (Summary, error) {
	var sum Summary
	st, signed, err := v.newestValid(ctx)
	if err != nil {
		return sum, err
	}
	v.chain = origin
	if signed {
		sum.Signed = st.Position
		if st.Broken > 0 {
			v.report(Problem{Broken, st.Broken, "", "a sealer found rows here that the log's own signatures do not cover"})
		}
		if st.From > 0 {
			sum.From, v.position = st.From, st.From
			if v.chain, err = v.start(ctx, st.From); err != nil {
				return sum, err
			}
		}
	}
	v.good = v.chain
	err = eachSealed(ctx, v.r, sum.From, func(e identity.Event) (bool, error) {
		sum.Rows++
		v.row(e)
		return true, v.compare(ctx, e)
	})
	if err != nil {
		return sum, err
	}
	v.settle()
	sum.Position, sum.Chain = v.position, v.chain
	if signed && st.Position > v.position-v.shift {
		v.report(Problem{Removed, v.position + 1, "", fmt.Sprintf("the rows after position %d are gone; a checkpoint covers %d", v.position, st.Position)})
	}
	if !signed && sum.Rows > 2*checkpointRows+page {
		v.report(Problem{Checkpoint, 0, "", "no checkpoint with a valid signature: nothing proves this log"})
	}
	return sum, nil
}

// newestValid gives the newest checkpoint's statement. Older ones need no valid signature, for their keys go in time and the
// newest covers all before it; but a newest one that is forged is a problem of its own.
func (v *verifier) newestValid(ctx context.Context) (st statement, found bool, err error) {
	last, err := v.r.LastCheckpoint(ctx)
	if errors.Is(err, identity.NotFound) {
		return st, false, nil
	}
	if err != nil {
		return st, false, err
	}
	if st, err = stated(v.ring, last); err == nil {
		return st, true, nil
	}
	v.report(Problem{Checkpoint, last.Position, "", err.Error()})
	for after := int64(0); ; {
		rows, err := v.r.Checkpoints(ctx, after, page)
		if err != nil {
			return st, found, err
		}
		for _, c := range rows {
			after = c.Position
			if older, err := stated(v.ring, c); err == nil {
				st, found = older, true
			}
		}
		if len(rows) < page {
			return st, found, nil
		}
	}
}

// start gives the chain's value where retention cut it. A false one shows at the first row.
func (v *verifier) start(ctx context.Context, from int64) ([]byte, error) {
	rows, err := v.r.Checkpoints(ctx, from-1, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Position != from {
		v.report(Problem{Checkpoint, from, "", "the checkpoint at which the log starts is missing"})
		return nil, nil
	}
	return rows[0].Chain, nil
}

// row compares a row with the one before.
func (v *verifier) row(e identity.Event) {
	defer func() { v.position, v.chain = e.Position, e.Chain }()
	if v.chain == nil { // the start is missing, and reported: take the first row as it is
		v.good = e.Chain
		return
	}
	if e.Position != v.position+1 {
		v.settle()
		v.report(Problem{Removed, v.position + 1, "", fmt.Sprintf("positions %d to %d are gone", v.position+1, e.Position-1)})
		v.good = e.Chain // what it followed is unknown
		return
	}
	sealed := e
	sealed.Position -= v.shift
	if s := v.suspect; s != nil {
		shifted := sealed
		shifted.Position--
		if bytes.Equal(e.Chain, link(v.good, shifted)) {
			v.report(Problem{Inserted, s.event.Position, s.event.ID, "this row was put between two that were sealed one after the other"})
			v.suspect, v.good = nil, e.Chain
			v.shift++
			return
		}
		if bytes.Equal(e.Chain, link(s.computed, sealed)) {
			v.settle()
			v.good = e.Chain
			return
		}
	}
	computed := link(v.chain, sealed)
	ok := bytes.Equal(e.Chain, computed)
	v.settle()
	if ok {
		v.good = e.Chain
		return
	}
	v.suspect = &suspect{e, computed}
}

// settle reports the suspect that no later row made out to be an insertion.
func (v *verifier) settle() {
	if s := v.suspect; s != nil {
		v.report(Problem{Changed, s.event.Position, s.event.ID, "this row is not as it was sealed"})
		v.suspect = nil
		v.good = s.event.Chain
	}
}

// compare holds the checkpoints up to e's position against the chain.
func (v *verifier) compare(ctx context.Context, e identity.Event) error {
	at := e.Position - v.shift
	for {
		if len(v.checkpoints) == 0 && !v.compared {
			rows, err := v.r.Checkpoints(ctx, at-1, page)
			if err != nil {
				return err
			}
			v.checkpoints, v.compared = rows, len(rows) < page
		}
		if len(v.checkpoints) == 0 || v.checkpoints[0].Position > at {
			return nil
		}
		if c := v.checkpoints[0]; c.Position == at && !bytes.Equal(c.Chain, e.Chain) {
			v.report(Problem{Checkpoint, c.Position, e.ID, "the row's chain value is not the one in the checkpoint"})
		}
		v.checkpoints = v.checkpoints[1:]
	}
}
