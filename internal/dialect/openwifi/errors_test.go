package openwifi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/identity"
)

// Every Kind has an answer in the contract's table, which says nothing of our inside.
func TestEveryKindHasAnAnswer(t *testing.T) {
	codes := map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 7: true, 8: true, 9: true, 10: true, 11: true, 12: true, 14: true, 15: true}
	for _, kind := range identity.Kinds() {
		if _, known := answers[kind]; !known {
			t.Errorf("no answer for %q", kind)
			continue
		}
		h := http.Header{}
		status, body := refusal(h, http.MethodPost, kind.Wrap(errors.New("secret inside")))
		switch status {
		case http.StatusForbidden:
			if !codes[body.ErrorCode] {
				t.Errorf("%v: code %d is no reason of a 403", kind, body.ErrorCode)
			}
			if !strings.HasPrefix(body.ErrorDescription, strconv.Itoa(body.ErrorCode)+": ") {
				t.Errorf("%v: %q does not begin with its code", kind, body.ErrorDescription)
			}
		case http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable, http.StatusInternalServerError:
			if body.ErrorCode != status {
				t.Errorf("%v: code %d with status %d", kind, body.ErrorCode, status)
			}
		default: // 401 above all: no client of this API reads it
			t.Errorf("%v: status %d", kind, status)
		}
		if status == http.StatusInternalServerError && kind != identity.Internal {
			t.Errorf("%v is answered as our fault", kind)
		}
		if (status == http.StatusServiceUnavailable) != (h.Get("Retry-After") != "") {
			t.Errorf("%v: status %d, Retry-After %q", kind, status, h.Get("Retry-After"))
		}
		if body.ErrorDetails != http.MethodPost || body.ErrorDescription == "" || strings.Contains(body.ErrorDescription, "secret") {
			t.Errorf("%v: body %+v", kind, body)
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add(strings.Repeat("a", tokenLength))
	f.Add(strings.Repeat("A", tokenLength))
	f.Add("")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		facts, err := form(Door).Read(raw)
		if (err == nil) != form(Door).Looks(raw) {
			t.Fatalf("Looks(%q) and Read disagree: %v", raw, err)
		}
		if err != nil {
			if !errors.Is(err, identity.TokenInvalid) {
				t.Errorf("Read(%q) = %v", raw, err)
			}
			return
		}
		if len(raw) != tokenLength || strings.ToLower(raw) != raw || len(facts.Opaque) != 32 || facts.Door != Door || facts.SessionID != "" {
			t.Errorf("Read(%q) = %+v", raw, facts)
		}
	})
}
