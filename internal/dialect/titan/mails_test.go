package titan_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/deliver"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/identity"
)

const (
	wants                     = "wants@nordantech.com" // a code, and has no factor
	lone                      = "lone@nordantech.com"
	loneID identity.SubjectID = "01a0a000-0000-7000-8000-000000000004"
)

// mails lets mails leave the house, though nobody sends them in these tests; links in them open a page of ours.
func mails(c *config.Config) {
	c.SMTPURL, c.MailFrom, c.Titan.FrontendURL = "smtp://127.0.0.1:9", "titan@gatehouse.test", "https://app.titan.test/signin?from=mail"
}

var linkInMail = regexp.MustCompile(`https://\S+[?&]verification=\S+`)

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// mailTo gives the newest mail to somebody. Those of one millisecond have no order, so the clock moves.
func (h *house) mailTo(t testing.TB, to string) deliver.Content {
	t.Helper()
	h.Clock.Advance(time.Millisecond)
	all := h.Mails(t)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Recipient == to {
			return all[i]
		}
	}
	t.Fatalf("no mail to %s", to)
	return deliver.Content{}
}

// linkTo gives what the link in the newest mail to somebody carries.
func (h *house) linkTo(t testing.TB, to string) (hash, signature string) {
	t.Helper()
	link, err := url.Parse(linkInMail.FindString(h.mailTo(t, to).Text))
	if err != nil {
		t.Fatal(err)
	}
	query := link.Query()
	if link.Scheme != "https" || query.Get("from") == "" || query.Get("type") == "" {
		t.Fatalf("link %q in %q", link, h.mailTo(t, to).Text)
	}
	return query.Get("verification"), query.Get("signature")
}

// verification has somebody confirm her address at this door.
func (h *house) verification(t testing.TB, id identity.SubjectID) {
	t.Helper()
	if _, err := h.Recovery.StartVerification(t.Context(), identity.Caller{Door: titan.Door}, id, h.Doors.Titan.VerifyLink()); err != nil {
		t.Fatal(err)
	}
}

func (h *house) follow(t testing.TB, hash, signature string, headers ...header) answer {
	t.Helper()
	return h.post(t, "/auth/verification/"+hash+"?signature="+signature, "", headers...)
}

// recoveryCode walks somebody through a recovery up to the code in her mail.
func (h *house) recoveryCode(t testing.TB, login string) string {
	t.Helper()
	if a := h.post(t, "/auth/recovery/initiate", `{"user":"`+login+`"}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	hash, signature := h.linkTo(t, login)
	if a := h.follow(t, hash, signature); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	waiting, err := h.Recovery.Recoveries(t.Context(), identity.RecoveryWaiting, "", 10)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%d wait, %v", len(waiting), err)
	}
	if _, err := h.Recovery.Approve(t.Context(), operator, waiting[0].ID); err != nil {
		t.Fatal(err)
	}
	code := tenLetters.FindString(h.mailTo(t, login).Text)
	if code == "" {
		t.Fatalf("no code in %q", h.mailTo(t, login).Text)
	}
	return code
}

var tenLetters = regexp.MustCompile(`\b[2-9A-HJ-NP-Z]{10}\b`)
