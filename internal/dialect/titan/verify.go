package titan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"

	"gatehouse/internal/core/link"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

const (
	// recoveryTTL is how long a request may be confirmed (titan.md 3.6).
	recoveryTTL = 24 * time.Hour
	// verifyTTL is how long an address may be (contract silent).
	verifyTTL = 24 * time.Hour
)

// The types of a verification (titan.md 3.7), by what their links are for.
var verifications = map[string]string{signin.CodeLink: "login", recovery.VerifyTicket: "email", recovery.ConfirmTicket: "recovery"}

// verificationDone is the only status that an answer can have: whatever else is refused.
const verificationDone = 1

// verified is the data of a verification: what it was, and of a sign-in's the session too.
type verified struct {
	Verification verification `json:"verification"`
	*sessionObject
}

type verification struct {
	ID     int64  `json:"id"`
	Hash   string `json:"hash"`
	Type   string `json:"type"`
	Status int    `json:"status"`
	Model  string `json:"model"`
}

// page is the address of the front end that a mail sends its reader to. It posts what it is given to /auth/verification.
func (d *Dialect) page(purpose string) func(identity.Secret) string {
	return func(shown identity.Secret) string {
		hash, signature, _ := strings.Cut(shown.Reveal(), link.Separator)
		page, separator := cmp.Or(d.FrontendURL, d.Issuer), "?"
		if strings.Contains(page, separator) {
			separator = "&"
		}
		return page + separator + "verification=" + hash + "&signature=" + signature + "&type=" + verifications[purpose]
	}
}

// VerifyLink is for a mail that has somebody confirm her address at this door.
func (d *Dialect) VerifyLink() recovery.Link {
	return recovery.Link{Form: link.Hex, TTL: verifyTTL, Door: Door, Address: d.page(recovery.VerifyTicket)}
}

// initiateRecovery answers POST /auth/recovery/initiate, alike whether anybody has the login (titan.md 3.6).
func (d *Dialect) initiateRecovery(r *http.Request, c *call) (any, error) {
	in, err := read(r)
	if err != nil {
		return nil, err
	}
	login := in.text("user")
	if err := in.mistakes(); err != nil {
		return nil, err
	}
	return nil, d.Recovery.Initiate(r.Context(), recovery.ForgotInput{
		Caller: c.Caller, Login: login, Link: recovery.Link{Form: link.Hex, TTL: recoveryTTL, Address: d.page(recovery.ConfirmTicket)},
	})
}

// verify answers POST /auth/verification/{verification} (titan.md 3.7).
func (d *Dialect) verify(r *http.Request, c *call) (any, error) {
	signature, err := signatureOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := read(r); err != nil {
		return nil, err
	}
	hash := r.PathValue("verification")
	shown := identity.Secret(hash + link.Separator + signature)
	purpose, err := d.Recovery.Purpose(r.Context(), c.Caller, shown, signin.CodeLink, recovery.VerifyTicket, recovery.ConfirmTicket)
	if err != nil {
		return nil, linkOver(err)
	}
	out := verified{Verification: verification{ID: numberOf(hash), Hash: hash, Type: verifications[purpose], Status: verificationDone, Model: "Verification"}}
	var whose identity.SubjectID
	switch purpose {
	case signin.CodeLink:
		out.sessionObject, err = d.byLink(r, c, shown)
		return out, err
	case recovery.VerifyTicket:
		subject, failed := d.Recovery.Verify(r.Context(), c.Caller, shown)
		whose, err = subject.ID, failed
	case recovery.ConfirmTicket:
		request, failed := d.Recovery.Confirm(r.Context(), recovery.ConfirmInput{Caller: c.Caller, Secret: shown, AtOnce: d.ApproveAtOnce})
		whose, err = request.SubjectID, failed
	}
	if err != nil {
		return nil, linkOver(err)
	}
	if e := httpkit.EventOf(r); e != nil {
		e.SubjectID = whose // whoever reads her mail acts as her
	}
	return out, nil
}

// byLink signs in with a link in the place of the code that it was mailed with.
func (d *Dialect) byLink(r *http.Request, c *call, shown identity.Secret) (*sessionObject, error) {
	done, err := d.SignIn.ByLink(r.Context(), signin.LinkInput{Caller: c.Caller, Secret: shown})
	if errors.Is(err, identity.Denied) {
		err = hubClosed
	}
	if err != nil {
		return nil, linkOver(err)
	}
	note(r, done)
	d.remember(c, done.Device)
	return d.session(r.Context(), c, &done.Session)
}

// signatureOf reads the query. What else stands there is ignored.
func signatureOf(r *http.Request) (string, error) {
	query, err := httpkit.ParseForm(r.URL.RawQuery)
	in := &fields{}
	switch values := query["signature"]; {
	case err != nil:
		in.note("signature", notText)
	case len(values) > 1:
		in.note("signature", givenTwice)
	case len(values) == 0 || values[0] == "":
		in.note("signature", required)
	default:
		return values[0], nil
	}
	return "", in.mistakes()
}

// linkOver gives a link that is none the contract's answer, one for all.
func linkOver(err error) error {
	if errors.Is(err, identity.TicketInvalid) {
		return noVerification
	}
	return err
}

// numberOf is the integer beside a verification's hash: of it alone, so that it tells nothing more. JavaScript can hold it.
func numberOf(hash string) int64 {
	sum := sha256.Sum256([]byte(hash))
	return int64(binary.BigEndian.Uint64(sum[:8])>>11 | 1)
}

// deviceCookie keeps the mark of a browser that is remembered (titan.md 3.1).
const (
	deviceCookie = "gatehouse_titan_device"
	deviceTTL    = 30 * 24 * time.Hour
	maxMark      = 128
)

// markOf is the mark that a browser shows.
func markOf(r *http.Request) identity.Secret {
	cookies := r.CookiesNamed(deviceCookie)
	if len(cookies) != 1 || len(cookies[0].Value) > maxMark {
		return ""
	}
	return identity.Secret(cookies[0].Value)
}

// remember has the browser keep its mark; nil leaves things as they are.
func (d *Dialect) remember(c *call, m *signin.Mark) {
	if m != nil {
		c.cookie(d.deviceCookie(m.Secret.Reveal(), int(m.ExpiresAt.Sub(d.Now())/time.Second)))
	}
}

// forget has the browser drop its mark.
func (d *Dialect) forget(c *call) { c.cookie(d.deviceCookie("", -1)) }

func (d *Dialect) deviceCookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: deviceCookie, Value: value, Path: d.Prefix + "/auth", MaxAge: maxAge, HttpOnly: true,
		Secure: strings.HasPrefix(d.Issuer, "https:"), SameSite: http.SameSiteStrictMode,
	}
}
