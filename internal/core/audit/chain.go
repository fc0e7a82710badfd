package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// checkpointType keeps a checkpoint's signature from passing for any token's, and the other way round (RFC 8725, section 3.11).
const checkpointType = "audit-checkpoint+jwt"

// page is how many rows are read or sealed at a time.
const page = 500

// Ring signs checkpoints; keys.Ring is one.
type Ring interface {
	Sign(alg, typ string, claims any) (string, error)
	Verify(raw string) (keys.Verified, error)
}

// statement is what a checkpoint signs. The newest one vouches for the whole log: where it starts, where it stood, and whether
// the house ever found it broken.
type statement struct {
	Position int64  `json:"position"`
	Chain    []byte `json:"chain"`
	From     int64  `json:"from"`             // rows up to here were removed by retention
	Broken   int64  `json:"broken,omitempty"` // first position at which a sealer found what it had not sealed
	At       int64  `json:"iat"`
}

// link gives the chain's value at e: SHA-256 over the value before and every column of the row, each with its length, so that
// no two different rows are written the same way.
func link(previous []byte, e identity.Event) []byte {
	h := sha256.New()
	var n [8]byte
	text := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	text("gatehouse audit 1")
	text(string(previous))
	number(e.Position)
	number(e.Seq)
	number(e.At.UnixMicro())
	for _, column := range []string{
		string(e.ID), e.Action, e.Outcome, string(e.ActorID), string(e.SubjectID), string(e.SessionID), string(e.ClientID),
		string(e.OrganisationID), string(e.Door), e.Address, e.RequestID, string(e.Detail),
	} {
		text(column)
	}
	return h.Sum(nil)
}

// origin is the chain's value before the first row.
var origin = make([]byte, sha256.Size)

func sign(r Ring, st statement) (identity.Checkpoint, error) {
	signature, err := r.Sign(keys.EdDSA, checkpointType, st)
	if err != nil {
		return identity.Checkpoint{}, fmt.Errorf("sign audit checkpoint: %w", err)
	}
	return identity.Checkpoint{
		Position: st.Position, Chain: st.Chain, At: time.UnixMicro(st.At).UTC(), Signature: signature, Anchor: st.From == st.Position && st.From > 0,
	}, nil
}

var errForged = errors.New("the signature is not ours or says something else")

// stated gives what a checkpoint signs, if it is ours and the row says the same.
func stated(r Ring, c identity.Checkpoint) (statement, error) {
	v, err := r.Verify(c.Signature)
	if err != nil {
		return statement{}, fmt.Errorf("%w: %w", errForged, err)
	}
	var st statement
	if v.Type != checkpointType || json.Unmarshal(v.Payload, &st) != nil ||
		st.Position != c.Position || !bytes.Equal(st.Chain, c.Chain) {
		return statement{}, errForged
	}
	return st, nil
}

// eachSealed calls visit for the sealed rows after a position, in order, until it says stop.
func eachSealed(ctx context.Context, r identity.Reader, after int64, visit func(identity.Event) (more bool, err error)) error {
	for {
		rows, err := r.SealedEvents(ctx, after, page)
		if err != nil {
			return err
		}
		for _, e := range rows {
			if more, err := visit(e); err != nil || !more {
				return err
			}
			after = e.Position
		}
		if len(rows) < page {
			return nil
		}
	}
}
