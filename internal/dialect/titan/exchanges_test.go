package titan_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/store/storetest"
)

func TestExchanges(t *testing.T) { exchanges(t) }

// The same bytes come from the other engine.
func TestExchangesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	exchanges(t)
}

func exchanges(t *testing.T) {
	t.Helper()
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h, provider := newHouseWithProvider(t, func(c *config.Config) {
			if strings.HasPrefix(story, "mail_") {
				mails(c)
			}
		})
		provider.Code = "code-of-the-provider"
		// Whoever is sent to the provider agrees there.
		agreeing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.Handler.ServeHTTP(w, r)
			if to := w.Header().Get("Location"); strings.HasPrefix(to, provider.URL+"/authorize") {
				provider.Approve(to)
			}
		})
		captured := map[string]string{
			"provider": provider.URL,
			"code":     h.code(t, 0), "next code": h.code(t, 30*time.Second), "stale code": h.code(t, -2*time.Minute),
		}
		keep := func(name, hash, signature string) {
			captured[name+" hash"], captured[name+" signature"] = hash, signature
		}
		switch story {
		case "mail_code":
			captured["half"] = h.signIn(t, wants)
			captured["mailed"] = sixDigits.FindString(h.mailTo(t, wants).Text)
		case "mail_links":
			h.signIn(t, wants)
			hash, signature := h.linkTo(t, wants)
			keep("login", hash, signature)
			h.signIn(t, wants)
			hash, signature = h.linkTo(t, wants)
			keep("late", hash, signature)
			h.verification(t, loneID)
			hash, signature = h.linkTo(t, lone)
			keep("email", hash, signature)
			h.post(t, "/auth/recovery/initiate", `{"user":"`+careful+`"}`)
			hash, signature = h.linkTo(t, careful)
			keep("recovery", hash, signature)
		case "mail_recovery":
			captured["half"], captured["recovery code"] = h.signIn(t, careful), h.recoveryCode(t, careful)
		}
		return dialecttest.House{Public: agreeing, Advance: h.Clock.Advance, Captured: captured}
	}})
}
