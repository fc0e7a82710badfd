package cli

import (
	"fmt"
	"os"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/identity"
)

type doctorCmd struct{}

// Run looks at what most often goes wrong, says each thing's state and, where it is bad, what to do.
func (c *doctorCmd) Run(e *environment) error {
	bad := 0
	say := func(what string, problem error, todo string) {
		if problem == nil {
			fmt.Fprintf(e.Out, "ok    %s\n", what)
			return
		}
		bad++
		fmt.Fprintf(e.Out, "BAD   %s: %s\n      %s\n", what, explain(problem), todo)
	}
	cfg, err := e.config()
	say("configuration", err, "mend the settings named above; `gatehouse explain config --docs` says what each takes")
	if err != nil {
		return errSilent
	}
	err = e.with(func(h *app.House) error {
		say("store answers", h.Store.Ping(e.ctx), "see that the database runs and that GATEHOUSE_DATABASE or GATEHOUSE_DATA names it")
		say("master key opens the store", nil, "")
		sum, err := h.Sealer.Verify(e.ctx, nil)
		if err == nil && sum.Problems > 0 {
			err = fmt.Errorf("%d problems", sum.Problems)
		}
		say(fmt.Sprintf("audit log is whole (%d sealed rows)", sum.Rows), err, "run `gatehouse audit verify`, and find out who can write to the database")
		anybody, err := h.Profiles.Anybody(e.ctx)
		if err == nil && !anybody {
			err = fmt.Errorf("there is nobody")
		}
		say("somebody can sign in", err, "gatehouse user add EMAIL --superadmin --password-stdin")
		given, err := h.Outbox.List(e.ctx, identity.MessageGivenUp, "", 100)
		if err == nil && len(given) > 0 {
			err = fmt.Errorf("%s given up", countWord(len(given), "message was"))
		}
		say("mail leaves", err, "`gatehouse outbox list --state given-up` says why; mend it and `gatehouse outbox retry ID`")
		return nil
	})
	if err != nil {
		say("house opens", err, "the line above says what to do")
	}
	if cfg.SMTPURL == "" {
		fmt.Fprintln(e.Out, "note  GATEHOUSE_SMTP_URL is empty: mails stay in the outbox (`gatehouse outbox`)")
	}
	if strings.HasPrefix(cfg.Issuer, "http://") && !strings.Contains(cfg.Issuer, "://127.") && !strings.Contains(cfg.Issuer, "://localhost") {
		fmt.Fprintln(e.Out, "note  the issuer is http: put TLS in front, or set GATEHOUSE_TLS_CERT and GATEHOUSE_TLS_KEY")
	}
	if os.Geteuid() == 0 {
		fmt.Fprintln(e.Out, "note  this runs as root; the server needs no privileges")
	}
	if bad > 0 {
		return errSilent
	}
	return nil
}
