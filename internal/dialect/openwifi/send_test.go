package openwifi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What is to be sent is taken or refused, and what cannot be understood leaves no row and sends nothing.
func FuzzSend(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	token := h.signedIn(f, "chief@example.com", "Quiet-Sky-11").Access
	f.Add("", `{"from":"a@example.com","subject":"s","text":"t","recipients":["b@example.com"],"to":"+15145550123"}`)
	f.Add("validateNumber=true", `{"to":15145550123,"recipients":[null]}`)
	f.Add("completeValidation=true&validationCode=000000", `{"to":"+15145550123"}`)
	f.Add("validateNumber=%zz", `{"from":"a\r\nBcc: x@example.com","subject":"\u0000","text":"","recipients":"b@example.com"}`)
	outbox := func(t *testing.T) int {
		list, err := h.Outbox.List(t.Context(), "", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		for _, path := range []string{"/api/v1/email", "/api/v1/sms"} {
			r := newRequest("POST", path, query, body)
			r.Header["Authorization"] = []string{"Bearer " + token}
			before, sent := h.lastEvent(t), outbox(t)
			w := serve(h.public, r)
			switch w.Code {
			case http.StatusOK, http.StatusForbidden: // refused by a bound
			case http.StatusBadRequest:
				if strings.Contains(w.Body.String(), "1018: ") && (h.lastEvent(t) != before || outbox(t) != sent) {
					t.Errorf("%s ?%q %q: refused, and done all the same: %s", path, query, body, w.Body)
				}
			default:
				t.Errorf("%s ?%q %q: %d %s", path, query, body, w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s ?%q %q: %s", path, query, body, w.Body)
			}
		}
	})
}
