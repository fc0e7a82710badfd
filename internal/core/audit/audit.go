// Package audit keeps the record of who did what: rows written in the transaction of what they record, sealed afterwards into
// a hash chain with signed checkpoints, and proof that nothing sealed was changed, removed or put between.
//
// What the proof covers: whoever can write to the database but has no signing key cannot alter, drop or insert a row up to the
// newest checkpoint without Verify finding it. Rows after it (a minute's at most) are only chained; and a database put back
// whole to an older state is consistent in itself, so that proof against this needs a checkpoint kept elsewhere.
package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// OK is the outcome of what was not refused.
const OK = "ok"

const (
	maxDetail = 8 << 10
	maxReason = 1 << 10
	maxWord   = 256
)

// Log writes audit rows.
type Log struct {
	Now  func() time.Time
	Rand io.Reader
}

// Entry is what a verb knows of an event. What it leaves empty comes from the caller.
type Entry struct {
	Action         string // "signin", "session.end", "subject.update", …
	Outcome        string // "" is OK; else the name of the refusal's Kind
	SubjectID      identity.SubjectID
	ActorID        identity.SubjectID
	SessionID      identity.SessionID
	ClientID       identity.ClientID
	OrganisationID identity.OrganisationID
	Reason         string
	Before, After  any // marshalled as JSON; an identity.Secret in them redacts itself
}

// Record writes the row in the transaction of what it records: both stand or fall together.
func (l *Log) Record(ctx context.Context, tx identity.Tx, c identity.Caller, e Entry) error {
	now := l.Now()
	id, err := identity.NewID(now, l.Rand)
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	detail, err := detailOf(e)
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	event := identity.Event{
		ID: identity.EventID(id), At: now,
		Action: Line(e.Action, maxWord), Outcome: Line(cmp.Or(e.Outcome, OK), maxWord),
		ActorID:        cmp.Or(e.ActorID, c.ActorID, c.SubjectID),
		SubjectID:      cmp.Or(e.SubjectID, c.SubjectID),
		SessionID:      cmp.Or(e.SessionID, c.SessionID),
		ClientID:       identity.ClientID(Line(string(cmp.Or(e.ClientID, c.ClientID)), maxWord)),
		OrganisationID: e.OrganisationID,
		Door:           c.Door, Address: Line(c.Address, maxWord), RequestID: Line(c.RequestID, maxWord),
		Detail: detail,
	}
	if err := tx.Record(ctx, &event); err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	return nil
}

type detail struct {
	Reason    string          `json:"reason,omitempty"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	Truncated bool            `json:"truncated,omitempty"` // before and after were too large to keep
}

func detailOf(e Entry) ([]byte, error) {
	d := detail{Reason: Line(e.Reason, maxReason)}
	for _, side := range []struct {
		value any
		into  *json.RawMessage
	}{{e.Before, &d.Before}, {e.After, &d.After}} {
		if side.value == nil {
			continue
		}
		text, err := json.Marshal(side.value)
		if err != nil {
			return nil, err
		}
		*side.into = text
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if text = escape(text); len(text) <= maxDetail {
		return text, nil
	}
	if text, err = json.Marshal(detail{Reason: d.Reason, Truncated: true}); err != nil {
		return nil, err
	}
	return escape(text), nil
}

// Line makes a stranger's text fit for one line of a log, a terminal and either database: valid UTF-8 of at most limit bytes
// without control characters, line breaks, or marks that turn the direction of what follows.
func Line(s string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if hidden(r) {
			return utf8.RuneError
		}
		return r
	}, s) // invalid bytes become utf8.RuneError too
	if len(clean) <= limit {
		return clean
	}
	for limit > 0 && !utf8.RuneStart(clean[limit]) {
		limit--
	}
	return clean[:limit]
}

func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Visible writes a line of JSON without the characters that Line takes out, for terminals.
func Visible(line []byte) []byte {
	text, end := bytes.CutSuffix(line, []byte("\n"))
	text = escape(text)
	if end {
		text = append(text, '\n')
	}
	return text
}

// escape writes the same JSON without hidden characters; inside JSON they can only stand in strings.
func escape(text []byte) []byte {
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	var out bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := surrogates(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

func surrogates(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}
