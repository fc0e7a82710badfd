// Package totp checks the six digits of an authenticator app (RFC 6238: SHA-1, 30 seconds, as every app speaks).
//
// A code is good in its own time step and one to either side. The caller stores the step that matched and hands it back as
// the last one; older and equal steps are refused, so that no code works twice (RFC 6238, section 5.2).
package totp

import (
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

const (
	digits      = 6
	period      = 30 // seconds
	drift       = 1  // steps to either side
	secretBytes = 20 // the length of SHA-1's output (RFC 4226, section 4, R6)
	minBytes    = 10 // shorter secrets of other servers can be guessed from a few codes
	maxBytes    = 128
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewSecret makes a secret in the spelling that apps and people type: base32 without padding.
func NewSecret(random io.Reader) (string, error) {
	raw := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("read randomness for a TOTP secret: %w", err)
	}
	return encoding.EncodeToString(raw), nil
}

// Normalise gives a secret from elsewhere the spelling of NewSecret, or says why it is none. Blanks, hyphens, lower case
// and padding are what people copy along.
func Normalise(secret string) (string, error) {
	if len(secret) > 4*maxBytes {
		return "", fmt.Errorf("a TOTP secret is at most %d bytes long", maxBytes)
	}
	secret = strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "=", "").Replace(secret))
	raw, err := encoding.DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("a TOTP secret is base32 text") // err would quote where, which tells of the secret
	}
	if len(raw) < minBytes || len(raw) > maxBytes {
		return "", fmt.Errorf("a TOTP secret is %d to %d bytes long", minBytes, maxBytes)
	}
	return encoding.EncodeToString(raw), nil
}

// WellFormed says whether text could be a code: exactly six ASCII digits.
func WellFormed(code string) bool {
	if len(code) != digits {
		return false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return false
		}
	}
	return true
}

// Step is the time step of an instant.
func Step(now time.Time) int64 {
	seconds := now.Unix()
	if seconds < 0 {
		return -1
	}
	return seconds / period
}

// Match says whether the code is good now and newer than lastStep, and for which step. The caller stores the step with the
// guard that it is greater than the stored one, since two requests may carry the same code at the same time.
//
// All steps are computed and compared whatever comes first, so that the time tells nothing about the clock of the app.
func Match(secret, code string, now time.Time, lastStep int64) (step int64, ok bool) {
	if !WellFormed(code) {
		return 0, false
	}
	current := Step(now)
	for candidate := current - drift; candidate <= current+drift; candidate++ {
		want, err := codeAt(secret, max(candidate, 0))
		if err != nil {
			return 0, false
		}
		same := subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1
		if same && candidate >= 0 && candidate > lastStep { // the newest wins, so that more codes are spent
			step, ok = candidate, true
		}
	}
	return step, ok
}

// Code is what an app shows at an instant: for tests, the demo and command line clients.
func Code(secret string, now time.Time) (string, error) { return codeAt(secret, max(Step(now), 0)) }

func codeAt(secret string, step int64) (string, error) {
	code, err := hotp.GenerateCodeCustom(secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return "", fmt.Errorf("TOTP secret: %w", err)
	}
	return code, nil
}

// URI is what a QR code for apps holds (the Key URI format). A colon in issuer or account would end the issuer, so it is
// left out. Blanks are %20: apps show a plus as it is.
func URI(issuer, account, secret string) string {
	issuer, account = strings.ReplaceAll(issuer, ":", ""), strings.ReplaceAll(account, ":", "")
	label := url.PathEscape(account)
	if issuer != "" {
		label = url.PathEscape(issuer) + ":" + label
	}
	query := "secret=" + url.QueryEscape(secret)
	if issuer != "" {
		query += "&issuer=" + strings.ReplaceAll(url.QueryEscape(issuer), "+", "%20")
	}
	return fmt.Sprintf("otpauth://totp/%s?%s&algorithm=SHA1&digits=%d&period=%d", label, query, digits, period)
}

// Address is URI for a picture of bounded size: what every app takes for granted is left out, and where the text would be longer
// than limit bytes the names give way, never the secret. They only tell the person which entry of her app it is.
func Address(issuer, account, secret string, limit int) string {
	const most = 24 // bytes of an issuer that leave room for some of the account
	issuer = shorten(strings.ReplaceAll(issuer, ":", ""), most, pathEscape)
	query := "?secret=" + url.QueryEscape(secret)
	label := issuer
	if issuer != "" {
		label += ":"
		query += "&issuer=" + issuer
	}
	const scheme = "otpauth://totp/"
	account = shorten(strings.ReplaceAll(account, ":", ""), max(limit-len(scheme)-len(label)-len(query), 0), url.PathEscape)
	if account == "" {
		label = issuer
	}
	return scheme + label + account + query
}

// pathEscape is good in a path and in a query.
func pathEscape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// shorten escapes text and leaves characters off its end until that fits.
func shorten(text string, limit int, escape func(string) string) string {
	if whole := escape(text); len(whole) <= limit {
		return whole
	}
	const dots = "..."
	runes := []rune(text)
	runes = runes[:min(len(runes), limit)] // none takes less than a byte
	for len(runes) > 0 {
		runes = runes[:len(runes)-1]
		if cut := escape(string(runes)) + dots; len(cut) <= limit {
			return cut
		}
	}
	return ""
}
