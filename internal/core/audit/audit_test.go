package audit_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func record(t testing.TB, store identity.Store, l *audit.Log, c identity.Caller, e audit.Entry) identity.Event {
	t.Helper()
	var row identity.Event
	err := store.Update(context.Background(), func(tx identity.Tx) error {
		if err := l.Record(context.Background(), tx, c, e); err != nil {
			return err
		}
		rows, err := tx.Events(context.Background(), identity.EventFilter{Limit: 1})
		if err == nil {
			row = rows[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestRecordFillsFromTheCaller(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
		l := &audit.Log{Now: func() time.Time { return at }, Rand: rand.Reader}
		c := identity.Caller{
			Door: "nx", Address: "192.0.2.7", RequestID: "req-1", ActorID: "admin", SubjectID: "ada", SessionID: "s1", ClientID: "app",
		}
		got := record(t, store, l, c, audit.Entry{Action: "subject.update", Before: map[string]string{"name": "A"}, After: map[string]string{"name": "B"}})
		want := `{"before":{"name":"A"},"after":{"name":"B"}}`
		if got.Outcome != audit.OK || got.ActorID != "admin" || got.SubjectID != "ada" || got.SessionID != "s1" || got.ClientID != "app" ||
			got.Door != "nx" || got.Address != "192.0.2.7" || got.RequestID != "req-1" || !got.At.Equal(at) || string(got.Detail) != want ||
			!identity.ValidID(string(got.ID)) || got.Position != 0 {
			t.Errorf("row = %+v, detail %s", got, got.Detail)
		}
		got = record(t, store, l, c, audit.Entry{
			Action: "signin", Outcome: identity.Locked.Error(), SubjectID: "bob", ActorID: "bob", SessionID: "s2", ClientID: "other", OrganisationID: "o", Reason: "ten tries",
		})
		if got.Outcome != "locked" || got.ActorID != "bob" || got.SubjectID != "bob" || got.SessionID != "s2" || got.ClientID != "other" ||
			got.OrganisationID != "o" || string(got.Detail) != `{"reason":"ten tries"}` {
			t.Errorf("row = %+v, detail %s", got, got.Detail)
		}
	})
}

func TestRecordNeutralisesStrangersText(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		l := &audit.Log{Now: time.Now, Rand: rand.Reader}
		evil := "a\r\nfake line\x1b[2J\x00\u202e\u2028\x7f\xff\U000e0001z"
		got := record(t, store, l, identity.Caller{Address: evil, RequestID: strings.Repeat("é", 1000)}, audit.Entry{
			Action: "signin", Reason: evil, ClientID: identity.ClientID(evil), After: map[string]any{evil: evil, "password": identity.Secret("hunter2")},
		})
		for name, text := range map[string]string{"address": got.Address, "client": string(got.ClientID), "detail": string(got.Detail), "request": got.RequestID} {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x1b\x00\x7f\u202e\u2028\U000e0001") {
				t.Errorf("%s = %q", name, text)
			}
		}
		if len(got.RequestID) > 256 {
			t.Errorf("request id of %d bytes", len(got.RequestID))
		}
		if strings.Contains(string(got.Detail), "hunter2") {
			t.Error("the detail shows a secret")
		}
		var detail struct{ After map[string]string }
		if err := json.Unmarshal(got.Detail, &detail); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(evil, "\ufffd"); detail.After[want] != want {
			t.Errorf("escaping lost text: %q", detail.After)
		}

		got = record(t, store, l, identity.Caller{}, audit.Entry{Action: "x", Reason: "why", Before: strings.Repeat("x", 9000)})
		if string(got.Detail) != `{"reason":"why","truncated":true}` {
			t.Errorf("detail of %d bytes: %.100s", len(got.Detail), got.Detail)
		}
		got = record(t, store, l, identity.Caller{}, audit.Entry{Action: "x", Reason: strings.Repeat("\u202e", 9000)})
		if len(got.Detail) > 8<<10 || !json.Valid(got.Detail) {
			t.Errorf("detail of %d bytes", len(got.Detail))
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\nb\xff\u202e", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1000)
		got := audit.Line(s, limit)
		if !utf8.ValidString(got) || len(got) > limit || strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Errorf("Line(%q, %d) = %q", s, limit, got)
		}
		if again := audit.Line(got, limit); again != got {
			t.Errorf("Line is not idempotent: %q, %q", got, again)
		}
	})
}
