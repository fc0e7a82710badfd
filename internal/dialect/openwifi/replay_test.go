package openwifi_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"

	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestStories(t *testing.T) { stories(t) }

// The same bytes come from the other engine.
func TestStoriesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	stories(t)
}

func stories(t *testing.T) {
	t.Helper()
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder) // the policies, as text
	openapi3filter.RegisterBodyDecoder("image/svg+xml", openapi3filter.FileBodyDecoder)
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(d *openwifi.Dialect) {
			if story == "limit" {
				d.PerSecond = 10
			}
			d.Messages.Mails = story != "email_off"
			d.Messages.Texts, d.Phones.Open = story != "sms_off", story != "sms_off"
		})
		h.world(t)
		if story == "security_profiles" || story == "restricted" {
			h.fieldPolicy(t)
		} else {
			h.policy(t, "field")
		}
		if story == "api_keys" {
			h.person(t, ruler, "root@example.com", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) { s.Superadmin = true })
		}
		if story != "users_off" {
			h.sends()
		}
		if story == "sms_factor" {
			h.door.Staff.Proven = h.door.Phones.ProvenIn
		}
		h.SMS.Rand, h.Email.Rand = always{}, always{}
		captured := map[string]string{
			"code": h.Code(), "next": h.codeIn(t, 30*time.Second), "later": h.codeIn(t, time.Minute), "late": h.codeIn(t, 16*time.Minute),
			"key": serviceKey, "sent": "041877",
		}
		if strings.HasPrefix(story, "link") {
			captured["reset"], captured["suspended"] = h.reset(t, "ines@example.com"), h.reset(t, "leaves@example.com")
			if err := h.people.Suspend(t.Context(), identity.Caller{Door: "cli"}, leaves, "left"); err != nil {
				t.Fatal(err)
			}
			captured["signup"] = h.signUp(t, "new@example.net")
			captured["subscriber"], captured["verify"] = h.reset(t, "sue@example.net"), h.verification(t, waits)
		}
		return dialecttest.House{Public: h.public, Service: h.service, Advance: h.Clock.Advance, Captured: captured}
	}})
}

// always makes every code that is sent the contract's.
type always struct{}

func (always) Read(p []byte) (int, error) { return copy(p, []byte{0x00, 0xa3, 0x95}), nil }
