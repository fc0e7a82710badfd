package deliver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

const (
	maxAnswer  = 64 << 10 // of what a gateway answers; the rest is not read
	twilioHost = "api.twilio.com"
)

// Texter sends SMS over HTTP, one request for each message.
type Texter struct {
	client         *http.Client
	target         string // without user and password
	user, password string
	from           string
	write          func(from, to, text string) (contentType string, body []byte, err error)
	reason         func(answer []byte) string // what of a refusal can be shown; may be nil
}

// NewTexter reads where SMS go. To http://user:password@host/path (https too) each is posted as JSON {"from","to","text"}.
// twilio://account:token@api.twilio.com?from=+15145550100 is Twilio's API; from may be a messaging service (MG…), and replaces
// the sender given. A nil client takes the system's certificates.
func NewTexter(address identity.Secret, from string, client *http.Client) (*Texter, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return nil, errors.New("SMS gateway: not a URL") // err would quote the password
	}
	x := &Texter{from: from, user: u.User.Username(), client: &http.Client{}}
	x.password, _ = u.User.Password()
	u.User = nil
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, errors.New("SMS gateway: the URL names no host")
		}
		u.Fragment = ""
		x.target, x.write = u.String(), hookForm
	case "twilio":
		if x.user == "" || x.password == "" || strings.Trim(u.Path, "/") != "" {
			return nil, errors.New("SMS gateway: must be of the form twilio://account:token@api.twilio.com?from=+15145550100")
		}
		// Whoever writes a number into a URL leaves its plus as it is, which means a blank there.
		q, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
		if err != nil || len(q) > 1 || len(q) == 1 && len(q["from"]) != 1 {
			return nil, errors.New("SMS gateway: after the host of twilio:// only ?from= may stand, once")
		}
		if x.from = cmp.Or(q.Get("from"), from); x.from == "" {
			return nil, errors.New("SMS gateway: twilio:// needs a sender: ?from=+15145550100, or GATEHOUSE_SMS_FROM")
		}
		api := url.URL{Scheme: "https", Host: cmp.Or(u.Host, twilioHost)}
		x.target, x.write, x.reason = api.JoinPath("2010-04-01", "Accounts", x.user, "Messages.json").String(), twilioForm, twilioReason
	default:
		return nil, errors.New("SMS gateway: must begin with http://, https:// or twilio://")
	}
	if client != nil {
		*x.client = *client
	}
	// A redirect would carry the code, and on the same host the password, to where the operator did not send them.
	x.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return x, nil
}

func hookForm(from, to, text string) (string, []byte, error) {
	body, err := json.Marshal(struct {
		From string `json:"from"`
		To   string `json:"to"`
		Text string `json:"text"`
	}{from, to, text})
	return "application/json", body, err
}

// twilioForm is the body of Twilio's "create a Message resource".
func twilioForm(from, to, text string) (string, []byte, error) {
	form := url.Values{"To": {to}, "Body": {text}}
	if strings.HasPrefix(from, "MG") {
		form.Set("MessagingServiceSid", from)
	} else {
		form.Set("From", from)
	}
	return "application/x-www-form-urlencoded", []byte(form.Encode()), nil
}

// twilioReason is the number of Twilio's error. Its words quote the request.
func twilioReason(answer []byte) string {
	var refused struct{ Code int }
	if json.Unmarshal(answer, &refused) != nil || refused.Code == 0 {
		return ""
	}
	return " (Twilio's error " + strconv.Itoa(refused.Code) + ")"
}

// Send makes one request. The message's id goes along as Idempotency-Key, by which a gateway can know a double.
func (x *Texter) Send(ctx context.Context, id identity.MessageID, _ time.Time, c Content) error {
	kind, body, err := x.write(cmp.Or(c.From, x.from), c.Recipient, c.Text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, x.target, bytes.NewReader(body))
	if err != nil {
		return bare("the SMS gateway", err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Idempotency-Key", string(id))
	if x.user != "" || x.password != "" {
		r.SetBasicAuth(x.user, x.password)
	}
	w, err := x.client.Do(r)
	if err != nil {
		return bare("the SMS gateway", err)
	}
	defer w.Body.Close()
	answer, err := outcome("the SMS gateway", w)
	if err != nil && x.reason != nil {
		err = fmt.Errorf("%w%s", err, x.reason(answer))
	}
	return err
}

// outcome says how a request went, and what the answer says. That may quote what was sent, and is not kept.
func outcome(who string, w *http.Response) (answer []byte, err error) {
	// Read so that the connection can serve again.
	answer, _ = io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	if w.StatusCode >= 200 && w.StatusCode < 300 {
		return answer, nil // taken, however the answer ended
	}
	said := fmt.Errorf("%s answered %d", who, w.StatusCode)
	switch {
	case w.StatusCode == http.StatusTooManyRequests || w.StatusCode >= 500:
		return answer, &later{said, retryAfter(w.Header)}
	case w.StatusCode == http.StatusRequestTimeout || w.StatusCode < 400:
		return answer, said
	}
	return answer, fmt.Errorf("%w: %w", ErrPermanent, said)
}

// bare leaves the URL out of an error: tokens of a gateway may stand in it.
func bare(who string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s cannot be reached: %w", who, u.Err)
	}
	return err
}

// later is a failure after which the other side wants to be left alone for a while.
type later struct {
	error
	wait func(now time.Time) time.Duration
}

func (l *later) Unwrap() error { return l.error }

// retryAfter reads RFC 9110, section 10.2.3; what it does not understand asks for nothing.
func retryAfter(h http.Header) func(time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return func(time.Time) time.Duration { return time.Duration(seconds) * time.Second }
	}
	if at, err := http.ParseTime(text); err == nil {
		return func(now time.Time) time.Duration { return at.Sub(now) }
	}
	return func(time.Time) time.Duration { return 0 }
}
