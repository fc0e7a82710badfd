package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print one check as JSON a line."`
}

// Help is shown behind the command's line.
func (c *doctorCmd) Help() string {
	return "It looks and changes nothing: where no house stands, it says so and makes none. It exits 1 where something is bad."
}

// finding is one thing that the doctor looked at.
type finding struct {
	Check   string `json:"check"`
	State   string `json:"state"` // ok, bad, note
	Problem string `json:"problem,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

func (f finding) String() string {
	if f.State != "bad" {
		return fmt.Sprintf("%-5s %s", f.State, f.Check)
	}
	text := fmt.Sprintf("BAD   %s: %s", f.Check, f.Problem)
	if f.Advice != "" {
		text += "\n      " + f.Advice
	}
	return text
}

// checkup prints findings as they come.
type checkup struct {
	e    *environment
	json bool
	bad  bool
	err  error
}

func (c *checkup) print(f finding) {
	if c.err != nil {
		return
	}
	if c.json {
		c.err = object(c.e.Out, f)
		return
	}
	_, c.err = fmt.Fprintln(c.e.Out, f)
}

// say tells a thing's state and, where it is bad, what to do.
func (c *checkup) say(check string, problem error, advice string) {
	if problem == nil {
		c.print(finding{Check: check, State: "ok"})
		return
	}
	c.bad = true
	for line := range strings.Lines(explain(problem)) { // mistakes of the configuration are one a line
		c.print(finding{check, "bad", tame(line), advice})
	}
}

func (c *checkup) note(text string) { c.print(finding{Check: text, State: "note"}) }

// Run looks at what most often goes wrong.
func (c *doctorCmd) Run(e *environment) error {
	look := &checkup{e: e, json: c.JSON}
	cfg, err := e.config()
	look.say("configuration", err, "`gatehouse explain config --docs` says what each setting takes")
	if err == nil {
		err = e.open(cfg, true, look.house)
		var none app.NoHouse
		if errors.As(err, &none) {
			look.say("a house stands in "+none.Place, errors.New("none does yet"), none.Remedy())
		} else if err != nil {
			look.say("the house opens", err, "")
		}
		if cfg.TLSCert != "" {
			_, err := httpkit.Certificate(cfg.TLSCert, cfg.TLSKey)
			look.say("TLS certificate", err, "GATEHOUSE_TLS_CERT and GATEHOUSE_TLS_KEY name PEM files that belong together")
		}
		if cfg.SMTPURL == "" {
			look.note("GATEHOUSE_SMTP_URL is empty: mails stay in the outbox (`gatehouse outbox`), and nobody can be sent a code by mail")
		}
		if cfg.SMSURL == "" {
			look.note("GATEHOUSE_SMS_URL is empty: nobody can be sent a code by SMS")
		}
		if strings.HasPrefix(cfg.Issuer, "http://") && !strings.Contains(cfg.Issuer, "://127.") && !strings.Contains(cfg.Issuer, "://localhost") {
			look.note("the issuer is http: put TLS in front, or set GATEHOUSE_TLS_CERT and GATEHOUSE_TLS_KEY")
		}
	}
	if os.Geteuid() == 0 {
		look.note("this runs as root; the server needs no privileges")
	}
	if look.err == nil && look.bad {
		return errSilent
	}
	return look.err
}

func (c *checkup) house(h *app.House) error {
	ctx := c.e.ctx
	c.say("the store answers and the master key opens it", h.Store.Ping(ctx), "see that the database runs")
	var missing error
	if alg := h.Ring.Ready(); alg != "" && alg != "RS256" { // RS256 is made by the first node that serves
		missing = fmt.Errorf("no key signs %s", alg)
	}
	c.say("signing keys", missing, "`gatehouse key rotate` makes one")
	sum, err := h.Sealer.Verify(ctx, func(audit.Problem) {})
	if err == nil && sum.Problems > 0 {
		err = errors.New(countWord(sum.Problems, "problem"))
	}
	c.say(fmt.Sprintf("the audit log is whole (%s)", countWord(int(sum.Rows), "sealed row")), err,
		"`gatehouse audit verify` lists them; find out who can write to the database")
	anybody, err := h.Profiles.Anybody(ctx)
	if err == nil && !anybody {
		err = errors.New("there is nobody")
	}
	c.say("somebody can sign in", err, "`gatehouse user add EMAIL --superadmin --password-stdin`")
	locking, err := policy.Unmeetable(ctx, h.Store, h.Offers)
	if err == nil && len(locking) > 0 {
		err = fmt.Errorf("%s: none of the factors that is allowed can be asked for here", strings.Join(locking, ", "))
	}
	c.say("second factors that policies require can be had", err,
		"whoever has another factor is not let in: allow totp, or set GATEHOUSE_SMTP_URL or GATEHOUSE_SMS_URL")
	given, err := h.Outbox.List(ctx, identity.MessageGivenUp, "", 100)
	if err == nil && len(given) > 0 {
		err = fmt.Errorf("%s given up", countWord(len(given), "message"))
	}
	c.say("mail leaves", err, "`gatehouse outbox list --state given-up` says why; mend it, then `gatehouse outbox retry ID`")
	return nil
}
