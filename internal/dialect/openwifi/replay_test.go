package openwifi_test

import (
	"os"
	"testing"
	"time"

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
	openapi3filter.RegisterBodyDecoder("image/svg+xml", openapi3filter.FileBodyDecoder)
	dialecttest.Replay(t, dialecttest.Options{Spec: spec, NewHouse: func(t *testing.T, story string) dialecttest.House {
		h := newHouse(t, func(d *openwifi.Dialect) {
			if story == "limit" {
				d.PerSecond = 10
			}
		})
		h.world(t)
		return dialecttest.House{
			Public: h.public, Service: h.service, Advance: h.Clock.Advance,
			Captured: map[string]string{
				"code": h.Code(), "next": h.codeIn(t, 30*time.Second), "later": h.codeIn(t, time.Minute), "late": h.codeIn(t, 16*time.Minute), "key": serviceKey,
			},
		}
	}})
}
