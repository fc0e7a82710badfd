package openwifi_test

import (
	"os"
	"testing"

	"github.com/getkin/kin-openapi/openapi3filter"

	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/dialect/openwifi"
)

func TestStories(t *testing.T) {
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder) // the policies, as text
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(d *openwifi.Dialect) {
			if story == "limit" {
				d.PerSecond = 10
			}
			d.Messages.Mails = story != "email_off"
		})
		h.world(t)
		if story == "security_profiles" || story == "restricted" {
			h.fieldPolicy(t)
		}
		return dialecttest.House{
			Public: h.public, Service: h.service, Advance: h.Clock.Advance,
			Captured: map[string]string{"code": h.Code(), "key": serviceKey},
		}
	}})
}
