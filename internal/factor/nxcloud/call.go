package nxcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

const (
	maxAnswer = 64 << 10
	maxToken  = 8 << 10
	tries     = 3 // of what may be tried again
	backoff   = 50 * time.Millisecond
)

// request is one call.
type request struct {
	op      string // for the log: never a path, which may hold a token
	method  string
	path    string // escaped
	query   url.Values
	token   identity.Secret // that the call is about, where there is no body
	bearer  bool            // it goes along as bearer
	body    any
	most    int  // bytes of the answer; 0: maxAnswer
	again   bool // may happen twice
	refused func(status int, why reason) identity.Kind
	also    []int // statuses that refuse beside 401 and 403
	read    func(members) error
	list    func([]members) error // in place of read, where the answer is an array
}

// call makes a request, again where that is safe, and gives a Kind: of the refusal, or identity.Unavailable.
func (c *Client) call(ctx context.Context, r request) error {
	if r.body == nil && !isToken(r.token.Reveal()) {
		return r.refused(http.StatusUnauthorized, reason{}).Wrap(fmt.Errorf("the Nx Cloud, %s: not a text that can be a token", r.op))
	}
	n := 1
	if r.again {
		n = tries
	}
	var err error
	for i := range n {
		if i > 0 {
			pause := time.NewTimer(backoff << i)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return err
			}
		}
		var again bool
		if again, err = c.try(ctx, r); !again {
			return err
		}
	}
	return err
}

// try makes a request once and says whether it may be worth another one.
func (c *Client) try(ctx context.Context, r request) (again bool, err error) {
	wait, ok := c.breaker.enter(c.now())
	if !ok {
		return false, unavailable(wait, fmt.Errorf("the Nx Cloud, %s: not called, since it did not answer lately", r.op))
	}
	verdict := failed
	defer func() {
		if changed := c.breaker.leave(c.now(), verdict); changed && verdict == answered {
			c.log.InfoContext(ctx, "Nx Cloud answers again")
		} else if changed {
			c.log.WarnContext(ctx, "Nx Cloud is left alone for a while", "failures", tolerated)
		}
	}()

	timeout := c.timeout
	if r.again {
		timeout /= tries // a first try that waits for the whole time would leave none for the second
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, header, data, err := c.exchange(bounded, r)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			verdict = gone
			return false, identity.Unavailable.Wrap(context.Cause(ctx))
		}
		return ctx.Err() == nil, c.senseless(ctx, r, status, err)
	}
	switch {
	case status >= 200 && status < 300:
	case status == http.StatusUnauthorized, status == http.StatusForbidden, slices.Contains(r.also, status), isGrantRefusal(status, data):
		verdict = answered
		return false, refusal(r, status, data)
	case status >= 300 && status < 400:
		return false, c.senseless(ctx, r, status, errors.New("it redirects, which is not followed; name the address where it really answers"))
	case status == http.StatusTooManyRequests:
		verdict = answered
		return false, unavailable(retryAfter(header), fmt.Errorf("the Nx Cloud, %s: it has too many calls", r.op))
	case status >= 400 && status < 500:
		// It answers, and what somebody typed may have brought this about: nobody may shut the others out in this way.
		verdict = answered
		return false, c.senseless(ctx, r, status, errors.New("no answer to the question"))
	default:
		return status >= 500, c.senseless(ctx, r, status, errors.New("no answer to the question"))
	}
	if err := decode(r, data); err != nil {
		if identity.KindOf(err) != identity.Internal { // an answer, and a no
			verdict = answered
			return false, err
		}
		return false, c.senseless(ctx, r, status, err)
	}
	verdict = answered
	return false, nil
}

// exchange gives the whole answer. Its errors quote no URL: tokens stand in some.
func (c *Client) exchange(ctx context.Context, r request) (status int, header http.Header, data []byte, err error) {
	target := strings.TrimRight(c.base.String(), "/") + r.path
	if r.query != nil {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return 0, nil, nil, err
		}
		body = bytes.NewReader(text)
	}
	out, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return 0, nil, nil, bare(err)
	}
	out.Header.Set("Accept", "application/json")
	if body != nil {
		out.Header.Set("Content-Type", "application/json")
	}
	if r.bearer {
		out.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	}
	in, err := c.http.Do(out)
	if err != nil {
		return 0, nil, nil, bare(err)
	}
	defer in.Body.Close()
	most := r.most
	if most == 0 {
		most = maxAnswer
	}
	data, err = io.ReadAll(io.LimitReader(in.Body, int64(most)+1))
	if err != nil {
		return in.StatusCode, nil, nil, fmt.Errorf("the answer breaks off: %w", bare(err))
	}
	if len(data) > most {
		return in.StatusCode, nil, nil, fmt.Errorf("an answer of more than %d bytes", most)
	}
	return in.StatusCode, in.Header, data, nil
}

func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("cannot be reached: %w", u.Err)
	}
	return err
}

// senseless logs an answer that is neither yes nor no. What it said stays out: it may quote what was sent.
func (c *Client) senseless(ctx context.Context, r request, status int, err error) error {
	c.log.WarnContext(ctx, "Nx Cloud does not answer as it should", "call", r.op, "status", status, "err", err)
	return unavailable(0, fmt.Errorf("the Nx Cloud, %s, status %d: %w", r.op, status, err))
}

func unavailable(wait time.Duration, err error) error {
	return &identity.Error{Kind: identity.Unavailable, RetryAfter: wait, Err: err}
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// reason is the cloud's word for a refusal: resultCode in its own answers, error in OAuth's.
type reason struct{ code string }

func reasonOf(data []byte) reason {
	m, err := object(data)
	if err != nil {
		return reason{}
	}
	for _, name := range []string{"resultCode", "error"} {
		if text, err := m.text(name, 1, 100); err == nil && text != "" {
			return reason{text}
		}
	}
	return reason{}
}

// isGrantRefusal knows the form that RFC 6749, section 5.2, gives to a refused grant.
func isGrantRefusal(status int, data []byte) bool {
	return status == http.StatusBadRequest && reasonOf(data).code == "invalid_grant"
}

func refusal(r request, status int, data []byte) error {
	why := reasonOf(data)
	kind := r.refused(status, why)
	switch why.code {
	case "accountBlocked":
		kind = identity.Suspended
	case "accountNotActivated":
		kind = identity.Unverified
	}
	return kind.Wrap(fmt.Errorf("the Nx Cloud, %s: refused with status %d, %.40q", r.op, status, why.code))
}

func decode(r request, data []byte) error {
	switch {
	case r.list != nil:
		var raw []json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
			return errors.New("the answer is not a JSON array")
		}
		all := make([]members, len(raw))
		for i := range raw {
			var err error
			if all[i], err = object(raw[i]); err != nil {
				return err
			}
		}
		return r.list(all)
	case r.read != nil:
		m, err := object(data)
		if err != nil {
			return err
		}
		return r.read(m)
	}
	return nil // a plain yes
}

// members are an object's. Unknown ones are the cloud's business; those that are read have one type and a bound.
type members map[string]json.RawMessage

func object(data []byte) (members, error) {
	var m members
	if err := json.Unmarshal(data, &m); err != nil || m == nil {
		return nil, errors.New("the answer is not a JSON object")
	}
	return m, nil
}

func (m members) has(name string) bool { return len(m[name]) > 0 && string(m[name]) != "null" }

// text gives a string of least to most bytes; an absent one is empty.
func (m members) text(name string, least, most int) (string, error) {
	if !m.has(name) {
		if least > 0 {
			return "", fmt.Errorf("%s is missing", name)
		}
		return "", nil
	}
	var s string
	if err := json.Unmarshal(m[name], &s); err != nil {
		return "", fmt.Errorf("%s is not text", name)
	}
	if len(s) < least || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%s is not text of %d to %d bytes in one line", name, least, most)
	}
	return s, nil
}

// token gives a string that can stand in a header.
func (m members) token(name string, needed bool) (identity.Secret, error) {
	least := 0
	if needed {
		least = 1
	}
	s, err := m.text(name, least, maxToken)
	if err == nil && s != "" && !isToken(s) {
		err = fmt.Errorf("%s is no token", name)
	}
	return identity.Secret(s), err
}

// isToken keeps out what would change a header or a path around it.
func isToken(s string) bool {
	return len(s) <= maxToken && strings.Trim(s, ".") != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// expiry prefers the seconds that are left to an instant by the cloud's clock.
func (m members) expiry(now time.Time) (time.Time, error) {
	seconds, err := m.number("expires_in")
	if err != nil {
		return time.Time{}, err
	}
	at, err := m.number("expires_at")
	switch {
	case err != nil:
		return time.Time{}, err
	case seconds > 0:
		return now.Add(time.Duration(min(seconds, 10*365*24*3600)) * time.Second), nil
	case at > 0:
		return time.UnixMilli(min(at, 253402300799000)).UTC(), nil
	}
	return time.Time{}, nil
}

// number gives a whole number, which some versions of the cloud print as text; 0 where there is none.
func (m members) number(name string) (int64, error) {
	if !m.has(name) {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(string(m[name]), `"`), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is no whole number", name)
	}
	return n, nil
}
