package openwifi_test

import (
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
