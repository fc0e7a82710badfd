package titan_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/dialect/dialecttest"
)

func TestExchanges(t *testing.T) {
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(c *config.Config) {
			if strings.HasPrefix(story, "mail_") {
				mails(c)
			}
		})
		captured := map[string]string{
			"code": h.code(t, 0), "next code": h.code(t, 30*time.Second), "stale code": h.code(t, -2*time.Minute),
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
		return dialecttest.House{Public: h.Handler, Advance: h.Clock.Advance, Captured: captured}
	}})
}
