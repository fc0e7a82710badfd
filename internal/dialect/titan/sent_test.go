package titan_test

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/identity"
)

var digits = regexp.MustCompile(`\b[0-9]{6}\b`)

// A code by SMS, else by mail, is good for ten minutes, at the sign-in and at a hub that asks for one (titan.md 3.1, 3.2).
func TestCodeBySMSAndMail(t *testing.T) {
	tests := []struct {
		name    string
		kinds   map[identity.CredentialKind]string
		channel float64
		to      string
	}{
		{"mail", map[identity.CredentialKind]string{identity.EmailCode: many}, 1, many},
		{"SMS", map[identity.CredentialKind]string{identity.EmailCode: many, identity.SMSCode: "+15145550100"}, 2, "+15145550100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, func(c *config.Config) { c.SMTPURL, c.SMSURL = "smtp://127.0.0.1:1", "http://127.0.0.1:1" })
			token := h.post(t, "/auth/hub/1", "", bearer(h.signIn(t, many))).token(t)
			if err := h.Store.Update(t.Context(), func(tx identity.Tx) error {
				for kind, to := range tt.kinds {
					if err := h.Manage.EnrolTargetIn(t.Context(), tx, operator, manyID, kind, to); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			due := map[string]func() answer{
				"sign-in": func() answer { return h.post(t, "/auth", credentials(many)) },
				"hub":     func() answer { return h.post(t, "/auth/hub/2", "", bearer(token)) },
			}
			for name, ask := range due {
				h.Clock.Advance(time.Second)
				before := len(h.Mails(t))
				first := ask()
				sent := h.Mails(t)[before:]
				if first.status != http.StatusOK || first.at(t, "data.confirmation.channel") != tt.channel || len(sent) != 1 || sent[0].Recipient != tt.to {
					t.Fatalf("%s: %d %s, sent %+v", name, first.status, first.body, sent)
				}
				body := `{"code":"` + digits.FindString(sent[0].Text) + `"}`
				if a := h.post(t, "/auth/code", `{"code":"000000"}`, bearer(first.token(t))); a.status != http.StatusUnauthorized {
					t.Errorf("%s: a wrong code gives %d %s", name, a.status, a.body)
				}
				h.Clock.Advance(10*time.Minute - time.Second)
				if a := h.post(t, "/auth/code", body, bearer(first.token(t))); a.status != http.StatusOK || a.at(t, "data.user") == nil {
					t.Errorf("%s: the code gives %d %s", name, a.status, a.body)
				}
				if a := h.post(t, "/auth/code", body, bearer(first.token(t))); a.status != http.StatusUnauthorized {
					t.Errorf("%s: again it gives %d", name, a.status)
				}
			}
			h.Clock.Advance(time.Second)
			late := h.post(t, "/auth", credentials(many))
			code := digits.FindString(h.Mails(t)[len(h.Mails(t))-1].Text)
			h.Clock.Advance(10 * time.Minute)
			if a := h.post(t, "/auth/code", `{"code":"`+code+`"}`, bearer(late.token(t))); a.status != http.StatusUnauthorized {
				t.Errorf("late: %d %s", a.status, a.body)
			}
		})
	}
}

// Where nothing leads out of the house, whoever has only such a factor is refused.
func TestCodeThatCannotBeSent(t *testing.T) {
	h := newHouse(t)
	if err := h.Store.Update(t.Context(), func(tx identity.Tx) error {
		return h.Manage.EnrolTargetIn(t.Context(), tx, operator, manyID, identity.SMSCode, "+15145550100")
	}); err != nil {
		t.Fatal(err)
	}
	if a := h.post(t, "/auth", credentials(many)); a.status != http.StatusForbidden || len(h.Mails(t)) > 0 {
		t.Errorf("%d %s, sent %+v", a.status, a.body, h.Mails(t))
	}
}
