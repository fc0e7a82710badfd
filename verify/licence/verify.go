package licence

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// State is what an accepted document is worth.
type State int

const (
	Refused State = iota // the zero value, beside an error
	Valid                // within its lease
	InGrace              // the lease is over and the grace is not: go on working, and tell somebody
)

func (s State) String() string {
	switch s {
	case Valid:
		return "valid"
	case InGrace:
		return "in grace"
	}
	return "refused"
}

// Binding is whom a document must be for. A document that names a device is for that device; one that names none, for the devices
// of its organisation. UUIDs may be in upper case.
type Binding struct {
	Device       string // this device; needed for documents that name one
	Organisation string // whose device this is; needed for documents that name no device, and compared in any case where it is given
	// Anybody accepts whatever device and organisation the document names: for tools that show a document, never for what it unlocks.
	Anybody bool
}

func (b Binding) holds(c Claims) error {
	switch {
	case b.Anybody:
		return nil
	case b.Organisation != "" && !strings.EqualFold(b.Organisation, c.Organisation):
		return fmt.Errorf("%w: it is for organisation %s", ErrOther, c.Organisation)
	case c.Device != "" && !strings.EqualFold(b.Device, c.Device):
		return fmt.Errorf("%w: it is for device %s", ErrOther, c.Device)
	case c.Device == "" && b.Organisation == "":
		return fmt.Errorf("%w: it is for the devices of organisation %s, and nobody says that this is one", ErrOther, c.Organisation)
	}
	return nil
}

const (
	defaultTolerance = 5 * time.Minute
	// saveEvery spares flash memory: the clock's own progress is written once in a while. The issuer's word is written at once.
	saveEvery = 5 * time.Minute
)

// Verifier checks licence documents. Keys and Now are needed; set the fields before the first check, and use it by pointer from any
// number of goroutines. Where keys or list change, make another one with the same Store.
type Verifier struct {
	Keys *Keys
	Now  func() time.Time // time.Now, whose monotonic reading also shows a clock set back while the process runs

	Issuer      string        // whose documents count; empty: anybody's whose key is in Keys
	Revocations *Revocations  // nil where no list was ever carried here
	Store       Store         // keeps the memory over restarts; nil: it lasts as long as the Verifier
	Tolerance   time.Duration // how far a clock may be behind what is known; 0: five minutes

	mu     sync.Mutex
	loaded bool
	memory Memory    // what is known now
	saved  Memory    // what Store holds
	last   time.Time // Now at the last check, for its monotonic reading
	wall   time.Time // what the clock said then
}

// Verify checks one document: form, signature, issuer, whom it is for, revocation, clock, and times. An error is one of this package's;
// the claims and the state then are zero. White space around the document, such as a file's last line break, is the caller's to trim.
func (v *Verifier) Verify(document string, binding Binding) (Claims, State, error) {
	if v.Keys == nil || v.Now == nil {
		return Claims{}, Refused, errors.New("licence: Verifier needs Keys and Now")
	}
	payload, err := v.Keys.open(document, Type, MaxDocument)
	if err != nil {
		return Claims{}, Refused, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return Claims{}, Refused, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if v.Issuer != "" && c.Issuer != v.Issuer {
		return Claims{}, Refused, fmt.Errorf("%w: %q", ErrIssuer, c.Issuer)
	}
	if err := binding.holds(c); err != nil {
		return Claims{}, Refused, err
	}
	now, err := v.recall(c)
	if err != nil {
		return Claims{}, Refused, err
	}
	switch {
	case now.Before(c.NotBefore):
		return Claims{}, Refused, fmt.Errorf("%w: from %s on", ErrNotYet, c.NotBefore.Format(time.RFC3339))
	case now.Before(c.ExpiresAt):
		return c, Valid, nil
	case now.Before(c.GraceEndsAt):
		return c, InGrace, nil
	}
	return Claims{}, Refused, fmt.Errorf("%w: since %s", ErrOver, c.GraceEndsAt.Format(time.RFC3339))
}

// recall holds the document and the clock against what is known, and remembers both. It gives the time that certainly has come.
func (v *Verifier) recall(c Claims) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.loaded && v.Store != nil {
		m, err := v.Store.Load()
		if err != nil {
			return time.Time{}, fmt.Errorf("%w: %w", ErrMemory, err)
		}
		v.memory, v.saved = m, m
	}
	v.loaded = true

	issued := c.IssuedAt
	if err := v.takeIn(v.Revocations, c.Issuer); err != nil {
		return time.Time{}, err
	}
	if v.Revocations.revokes(c) {
		return time.Time{}, fmt.Errorf("%w: its epoch is %d", ErrRevoked, c.RevocationEpoch)
	}
	if v.Revocations != nil && v.Revocations.IssuedAt.After(issued) {
		issued = v.Revocations.IssuedAt
	}

	reading := v.Now()
	now := reading.Round(0) // the wall clock alone
	if err := v.behind(reading, issued); err != nil {
		return time.Time{}, err
	}
	next := v.memory.merge(Memory{IssuedAt: issued, SeenAt: now})
	if next.SeenAt.After(c.GraceEndsAt) {
		// At its end the document is over for good. To remember more would let a clock that once ran years ahead refuse the renewals.
		next.SeenAt = latest(v.memory.SeenAt, c.GraceEndsAt)
	}
	ended := !next.SeenAt.Before(c.GraceEndsAt) && v.saved.SeenAt.Before(c.GraceEndsAt)
	if err := v.save(next, ended); err != nil {
		return time.Time{}, err
	}
	v.memory, v.last, v.wall = next, reading, now
	// It is at least as late as what is known: a clock within the tolerance takes nothing back.
	return latest(now, latest(next.SeenAt, next.IssuedAt)), nil
}

// takeIn refuses a list older than the newest seen, and remembers a newer one at once: also where all that it does is to refuse.
func (v *Verifier) takeIn(list *Revocations, from string) error {
	known := v.memory.RevocationEpoch
	switch {
	case list == nil && known > 0:
		return fmt.Errorf("%w: there is none, one of epoch %d was here", ErrOldList, known)
	case list == nil:
		return nil
	case list.Issuer != from:
		return fmt.Errorf("%w: the revocation list is of %q", ErrIssuer, list.Issuer)
	case list.Epoch < known:
		return fmt.Errorf("%w: it is of epoch %d, one of epoch %d was here", ErrOldList, list.Epoch, known)
	}
	v.memory.RevocationEpoch = list.Epoch
	return v.save(v.memory, false)
}

// behind refuses a clock that is before a time that has certainly passed.
func (v *Verifier) behind(reading, issued time.Time) error {
	tolerance := v.Tolerance
	if tolerance <= 0 {
		tolerance = defaultTolerance
	}
	now := reading.Round(0)
	refuse := func(past time.Time, who string) error {
		return fmt.Errorf("%w: it says %s, %s %s", ErrRolledBack, now.UTC().Format(time.RFC3339), who, past.UTC().Format(time.RFC3339))
	}
	if issued = latest(issued, v.memory.IssuedAt); now.Before(issued.Add(-tolerance)) {
		return refuse(issued, "the issuer wrote at")
	}
	if now.Before(v.memory.SeenAt.Add(-tolerance)) {
		return refuse(v.memory.SeenAt, "it said")
	}
	if !v.last.IsZero() {
		if elapsed := reading.Sub(v.last); elapsed > 0 { // by the monotonic clock, where there is one
			if running := v.wall.Add(elapsed); now.Before(running.Add(-tolerance)) {
				return refuse(running, "by the time since the last check it is")
			}
		}
	}
	return nil
}

func (v *Verifier) save(next Memory, atOnce bool) error {
	told := next.IssuedAt.After(v.saved.IssuedAt) || next.RevocationEpoch > v.saved.RevocationEpoch
	if v.Store == nil || !atOnce && !told && next.SeenAt.Sub(v.saved.SeenAt) < saveEvery {
		return nil
	}
	other, err := v.Store.Load() // another process may have written since
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	merged := next.merge(other)
	if err := v.Store.Save(merged); err != nil {
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	v.saved = merged
	return nil
}
