package nx_test

import (
	_ "embed"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/dialect/dialecttest"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/store/storetest"
)

//go:embed openapi.yaml
var openAPI []byte

func TestExchanges(t *testing.T) { exchanges(t) }

// The same bytes come from the other engine.
func TestExchangesOnPostgreSQL(t *testing.T) {
	storetest.Use(t, storetest.Postgres)
	exchanges(t)
}

func exchanges(t *testing.T) {
	t.Helper()
	dialecttest.Replay(t, dialecttest.Options{Spec: openAPI, NewHouse: func(t *testing.T, story string) dialecttest.House {
		var h *house
		captured := map[string]string{}
		configure := func(c *config.Config) {
			if strings.HasSuffix(story, "_other_settings") {
				c.SMTPURL, c.Nx.Registration = "smtp://mail.example.test:25", false
			}
		}
		if strings.HasPrefix(story, "upstream") {
			up := newUpstream(t, configure)
			h = up.house
			captured["cloud"], captured["cloudcode"] = up.cloud.URL, up.cloud.Code("clara@cloud.test")
			captured["adascode"], captured["ottoscode"] = up.cloud.Code("ada@example.test"), up.cloud.Code("otto@cloud.test")
			captured["plugin"] = up.pluginToken(t, "clara@cloud.test")
		} else {
			h = newHouse(t, configure)
		}
		switch {
		case strings.HasPrefix(story, "reset"):
			captured["mailed"] = h.forgot(t, "ada@example.test").Query().Get("token")
		case story == "nx_code":
			captured["state"], captured["code"] = h.browse(t, portal)
			captured["state2"], captured["code2"] = h.browse(t, other)
		case strings.HasPrefix(story, "cdb_"):
			for _, name := range []string{"code", "code2", "code3", "code4"} {
				_, captured[name] = h.browse(t, portal)
			}
		}
		for i, name := range []string{"now", "next", "then"} {
			captured[name] = must[string](t)(totp.Code(sharedKey, h.Clock.Now().Add(time.Duration(i)*30*time.Second)))
		}
		if strings.HasPrefix(story, "licen") {
			h.license(t)
		}
		return dialecttest.House{Public: h.handler, Advance: h.Clock.Advance, Captured: captured}
	}})
}

// browse signs ada in at the page, for a state of its own, and gives both.
func (h *house) browse(t testing.TB, redirect string) (state, code string) {
	t.Helper()
	a := h.do(t, "POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+page+`","RedirectURL":"`+redirect+`"}`)
	state = field(t, a, "State")
	address := must[*url.URL](t)(url.Parse(field(t, a, "URL")))
	form := url.Values{
		"redirect_url": {redirect}, "client_id": {address.Query().Get("client_id")}, "state": {state}, "email": {"ada@example.test"}, "password": {passphrase},
	}
	a = h.do(t, "POST", address.Path, form.Encode(), header{"Content-Type", "application/x-www-form-urlencoded"}, header{"Sec-Fetch-Site", "same-origin"})
	back := must[*url.URL](t)(url.Parse(a.header.Get("Location")))
	if a.status != 303 || back.Query().Get("state") != state || back.Query().Get("code") == "" {
		t.Fatalf("at the page: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	return state, back.Query().Get("code")
}
