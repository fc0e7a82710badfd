package openwifi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What the staff prove themselves with is nothing at the subscribers' half of the door.
func TestKeysOfTheStaffAtTheSubscribersHalf(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	k := h.newKey(t, h.signedIn(t, "ines@example.com", "Harbour-42").Access, "a")
	if w := call(h.public, http.MethodGet, "/api/v1/preferences", "", "X-API-KEY", k.APIKey); w.Code != http.StatusOK {
		t.Fatalf("at home: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/api/v1/suboauth2?me=true", "/api/v1/submfa", "/api/v1/subpreferences", "/api/v1/subtotp", "/api/v1/subavatar/" + ines} {
		w := call(h.public, http.MethodGet, target, "", "X-API-KEY", k.APIKey)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"ErrorCode":8`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// What strangers and subscribers send is never an error of ours, and what cannot be understood writes nothing.
func FuzzSubscriber(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	w := call(h.public, http.MethodPost, "/api/v1/suboauth2", `{"userId":"sue@example.net","password":"Quiet-Sky-11"}`)
	var got tokens
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		f.Fatalf("sign-in: %d %s", w.Code, w.Body)
	}
	_, asked, _ := strings.Cut(signUp, "?")
	f.Add(asked+"&email=new@example.net", "")
	f.Add(asked+"&email=a&email=b", "{}")
	f.Add("owner=%00&email=%zz", "")
	f.Add("startValidation=true", `{"type":"sms","sms":"+15145550123"}`)
	f.Add("completeValidation=true&challengeCode=000000", `{"type":"sms","sms":15145550123}`)
	f.Add("", `{"type":["email"],"sms":null}`)
	f.Fuzz(func(t *testing.T, query, body string) {
		for _, in := range []struct{ method, path string }{{"POST", "/api/v1/signup"}, {"PUT", "/api/v1/submfa"}} {
			r := newRequest(in.method, in.path, query, body)
			r.Header["Authorization"] = []string{"Bearer " + got.Access}
			before, feed := h.lastEvent(t), h.lastChange(t)
			w := serve(h.public, r)
			switch w.Code {
			case http.StatusOK, http.StatusForbidden: // refused by a bound, which is counted
			case http.StatusBadRequest:
				if strings.Contains(w.Body.String(), "1018: ") && (h.lastEvent(t) != before || h.lastChange(t) != feed) {
					t.Errorf("%s ?%q %q: refused, and written all the same: %s", in.path, query, body, w.Body)
				}
			default:
				t.Errorf("%s ?%q %q: %d %s", in.path, query, body, w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s ?%q %q: %s", in.path, query, body, w.Body)
			}
		}
	})
}
