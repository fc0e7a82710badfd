package titan_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

const (
	deviceCookie                    = "gatehouse_titan_device"
	carefulID    identity.SubjectID = "01a0a000-0000-7000-8000-000000000003"
	remembered                      = `"remember":true,"user":"` + careful + `","password":"` + passphrase + `"`
)

// markIn gives the mark that an answer sets, if it sets one.
func markIn(t testing.TB, a answer) *http.Cookie {
	t.Helper()
	all := (&http.Response{Header: a.header}).Cookies()
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 || all[0].Name != deviceCookie {
		t.Fatalf("cookies %v", all)
	}
	return all[0]
}

func shows(mark *http.Cookie) header { return header{"Cookie", mark.Name + "=" + mark.Value} }

// remember signs careful in with a code, and gives her browser's mark and her token.
func (h *house) remember(t testing.TB) (*http.Cookie, string) {
	t.Helper()
	h.Clock.Advance(time.Minute)
	half := h.post(t, "/auth", `{"hub":false,`+remembered+`}`)
	if markIn(t, half) != nil {
		t.Error("a mark before the code")
	}
	a := h.post(t, "/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(half.token(t)))
	mark := markIn(t, a)
	if a.status != http.StatusOK || mark == nil {
		t.Fatalf("%d %s, mark %v", a.status, a.body, mark)
	}
	return mark, a.token(t)
}

func TestRememberedBrowser(t *testing.T) {
	h := newHouse(t)
	mark, token := h.remember(t)
	if !mark.HttpOnly || mark.Secure || mark.SameSite != http.SameSiteStrictMode || mark.Path != "/auth" || mark.MaxAge != 30*24*3600 || len(mark.Value) != 43 {
		t.Errorf("cookie %+v", mark)
	}
	if strings.Contains(h.log.String(), mark.Value) {
		t.Error("the mark is in the log")
	}
	signIn := func(body string, headers ...header) (asked bool) {
		t.Helper()
		a := h.post(t, "/auth", body, headers...)
		if a.status != http.StatusOK || markIn(t, a) != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.at(t, "data.confirmation") != nil
	}
	if signIn(`{"hub":false,`+remembered+`}`, shows(mark)) {
		t.Error("asked again in a browser that is remembered")
	}
	if !signIn(`{"hub":false,` + remembered + `}`) {
		t.Error("not asked in another browser")
	}
	if !signIn(`{"hub":false,`+remembered+`}`, shows(mark), header{"User-Agent", "another"}) {
		t.Error("not asked with another user agent")
	}
	if !signIn(`{"hub":false,`+remembered+`}`, header{"Cookie", deviceCookie + "=x; " + deviceCookie + "=" + mark.Value}) {
		t.Error("not asked with two marks")
	}
	if !signIn(`{`+remembered+`}`, shows(mark)) { // the only hub of hers demands one
		t.Error("not asked where the hub demands a code")
	}
	a := h.post(t, "/auth/invalidate", "", bearer(token), shows(mark))
	if gone := markIn(t, a); a.status != http.StatusOK || gone == nil || gone.MaxAge >= 0 || gone.Value != "" || gone.Path != mark.Path {
		t.Errorf("sign-out: %d, cookie %+v", a.status, gone)
	}
	if !signIn(`{"hub":false,`+remembered+`}`, shows(mark)) {
		t.Error("not asked after she signed out")
	}
}

// A sign-in without remember is not remembered, and one with it is marked only after a code.
func TestNothingToRemember(t *testing.T) {
	h := newHouse(t)
	half := h.signIn(t, careful)
	a := h.post(t, "/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(half))
	if a.status != http.StatusOK || markIn(t, a) != nil {
		t.Errorf("without remember: %d, cookie %v", a.status, markIn(t, a))
	}
	if a := h.post(t, "/auth", `{"remember":true,"user":"titan","password":"`+passphrase+`"}`); a.status != http.StatusOK || markIn(t, a) != nil {
		t.Errorf("without a code: %d, cookie %v", a.status, markIn(t, a))
	}
}

func TestCookieAtAPrefixOverHTTPS(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Titan.Prefix, c.Issuer = "/titan", "https://gatehouse.test" })
	half := h.post(t, "/titan/auth", `{`+remembered+`}`)
	a := h.post(t, "/titan/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(half.token(t)))
	if mark := markIn(t, a); mark == nil || !mark.Secure || mark.Path != "/titan/auth" {
		t.Errorf("cookie %+v", mark)
	}
}

// What changes her way in forgets her browsers.
func TestForgottenBrowsers(t *testing.T) {
	for name, change := range map[string]func(h *house) error{
		"another password": func(h *house) error {
			return h.Manage.SetPassword(t.Context(), operator, carefulID, manage.NewPassword{Password: passphrase + "2"})
		},
		"another factor": func(h *house) error { return h.Manage.EnrolTOTP(t.Context(), operator, carefulID, secret) },
		"suspension": func(h *house) error {
			if err := h.Manage.Suspend(t.Context(), operator, carefulID, ""); err != nil {
				return err
			}
			return h.Manage.Resume(t.Context(), operator, carefulID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			mark, _ := h.remember(t)
			if err := change(h); err != nil {
				t.Fatal(err)
			}
			a := h.post(t, "/auth", `{"hub":false,`+remembered+`}`, shows(mark))
			if name == "another password" {
				a = h.post(t, "/auth", strings.Replace(`{"hub":false,`+remembered+`}`, passphrase, passphrase+"2", 1), shows(mark))
			}
			if a.status != http.StatusOK || a.at(t, "data.confirmation") == nil {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// The operator may have strange browsers checked; off is the default, and then a password is enough.
func TestStrangeBrowsers(t *testing.T) {
	h := newHouse(t, mails, func(c *config.Config) { c.Titan.CheckStrange = true })
	body := `{"remember":true,"user":"` + lone + `","password":"` + passphrase + `"}`
	due := h.post(t, "/auth", body)
	if due.status != http.StatusOK || due.at(t, "data.confirmation.channel") != float64(1) {
		t.Fatalf("%d %s", due.status, due.body)
	}
	a := h.post(t, "/auth/code", `{"code":"`+sixDigits.FindString(h.mailTo(t, lone).Text)+`"}`, bearer(due.token(t)))
	mark := markIn(t, a)
	if a.status != http.StatusOK || mark == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth", body, shows(mark)); a.status != http.StatusOK || a.at(t, "data.user") == nil {
		t.Errorf("the browser that is known by now: %d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth/authenticate/signin", `{"Username":"`+lone+`","Password":"`+passphrase+`","KeepLoggedIn":false}`); a.status != http.StatusOK {
		t.Errorf("at another door: %d %s", a.status, a.body)
	}
}

// The weakest channel that a hub allows (titan.md 3.1): mail is enough for one, and not for the other.
func TestChannelOfAHub(t *testing.T) {
	for channel, want := range map[int]int{1: 200, 2: 403, 3: 403} {
		h := newHouse(t, mails)
		h.setVault(t, channel)
		token := h.post(t, "/auth", `{"hub":false,"user":"`+many+`","password":"`+passphrase+`"}`).token(t)
		for what, a := range map[string]answer{
			"signing in": h.post(t, "/auth", credentials("vaulted@nordantech.com")), "going there": h.post(t, "/auth/hub/2", "", bearer(token)),
		} {
			if a.status != want || want == 200 && a.at(t, "data.confirmation.channel") != float64(1) {
				t.Errorf("channel %d, %s: %d %s", channel, what, a.status, a.body)
			}
		}
		if a := h.post(t, "/auth", credentials(careful)); a.status != 200 || a.at(t, "data.confirmation.channel") != float64(3) {
			t.Errorf("channel %d, with an app: %d %s", channel, a.status, a.body)
		}
	}
}

func (h *house) setVault(t testing.TB, channel int) {
	t.Helper()
	err := h.Store.Update(t.Context(), func(tx identity.Tx) error {
		o, err := tx.Organisation(t.Context(), "01a0b000-0000-7000-8000-000000000002")
		if err != nil {
			return err
		}
		o.Attributes = identity.Attributes{"titan": []byte(`{"settings":{"login_confirmation":true,"login_confirmation_channel":` + strconv.Itoa(channel) + `}}`)}
		return tx.UpdateOrganisation(t.Context(), o)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Where the operator says so, a confirmed request is approved at once.
func TestRecoveryAtOnce(t *testing.T) {
	h := newHouse(t, mails, func(c *config.Config) { c.Titan.RecoveryAutoApprove = true })
	h.post(t, "/auth/recovery/initiate", `{"user":"`+careful+`"}`)
	hash, signature := h.linkTo(t, careful)
	if a := h.follow(t, hash, signature); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	code := tenLetters.FindString(h.mailTo(t, careful).Text)
	a := h.post(t, "/auth/code", `{"code":"`+code+`"}`, bearer(h.signIn(t, careful)))
	if a.status != http.StatusOK || a.at(t, "data.user.login_confirmation") != true {
		t.Errorf("%d %s", a.status, a.body)
	}
	if mail := h.mailTo(t, careful); !strings.Contains(mail.Subject, "recovery code was used") {
		t.Errorf("told %q", mail.Subject)
	}
}

// Five wrong codes and the sixth, right one.
func TestFiveWrongCodes(t *testing.T) {
	h := newHouse(t, mails)
	code, half := h.recoveryCode(t, careful), h.signIn(t, careful)
	for range 5 {
		if a := h.post(t, "/auth/code", `{"code":"AAAAAAAAAA"}`, bearer(half)); a.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := h.post(t, "/auth/code", `{"code":"`+code+`"}`, bearer(half)); a.status != http.StatusUnauthorized {
		t.Errorf("the sixth: %d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth/code", `{"code":"`+code+`"}`, bearer(h.signIn(t, careful))); a.status != http.StatusOK {
		t.Errorf("at a new sign-in: %d %s", a.status, a.body)
	}
}

// Whatever stands in the path, the query or the body is refused in this door's words, and the link stays good.
func TestBadVerifications(t *testing.T) {
	h := newHouse(t, mails, func(c *config.Config) { c.Limits.TitanAddressPerMinute = 0 })
	h.signIn(t, wants)
	hash, signature := h.linkTo(t, wants)
	full := h.signIn(t, tina)
	for target, want := range map[string]int{
		hash: 422, hash + "?signature": 422, hash + "?signature=%zz": 422, hash + "?signature=" + signature + "&signature=" + signature: 422,
		hash + "?Signature=" + signature: 422, hash + "?signature=" + strings.ToUpper(signature): 404, hash + "?signature=" + signature[:32]: 404,
		hash + "?signature=%00": 422, "%00?signature=" + signature: 404, "%ff%fe?signature=" + signature: 404, strings.Repeat("a", 10_000) + "?signature=x": 404,
		strings.ToUpper(hash) + "?signature=" + signature: 404, hash + "." + signature + "?signature=x": 404, "1?signature=" + signature: 404,
		hash + "/x?signature=" + signature: 404, "?signature=" + signature: 404,
	} {
		a := h.post(t, "/auth/verification/"+target, "", bearer(full))
		if a.status != want || a.at(t, "success") != false {
			t.Errorf("%.60s: %d %s, want %d", target, a.status, a.body, want)
		}
	}
	for body, want := range map[string]int{`[]`: 422, `{"a":1,"a":2}`: 422, strings.Repeat(" ", 70<<10): 413} {
		if a := h.post(t, "/auth/verification/"+hash+"?signature="+signature, body); a.status != want {
			t.Errorf("%.20q: %d %s, want %d", body, a.status, a.body, want)
		}
	}
	if a := h.do(t, http.MethodGet, "/auth/verification/"+hash+"?signature="+signature, ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		t.Errorf("a mail scanner's GET: %d %s", a.status, a.body)
	}
	if strings.Contains(h.log.String(), signature) {
		t.Error("the signature is in the log")
	}
	if a := h.follow(t, hash, signature, header{"Authorization", "Bearer nonsense"}); a.status != http.StatusOK || a.at(t, "data.user.email") != wants {
		t.Errorf("the right one, after all that: %d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth/recovery/initiate", `{"user":"`+strings.Repeat("a", 10_000)+`"}`); a.status != http.StatusOK {
		t.Errorf("a long login: %d %s", a.status, a.body)
	}
}
