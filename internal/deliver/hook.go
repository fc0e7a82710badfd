package deliver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

const maxTarget = 1000 // bytes of a call's URL

// methods are those that a call may have.
var methods = []string{http.MethodPost, http.MethodPut, http.MethodDelete}

// Hook calls other services over HTTP, one request for each message.
type Hook struct{ client *http.Client }

// NewHook makes one. A nil client takes the system's certificates.
func NewHook(client *http.Client) *Hook {
	h := &Hook{client: &http.Client{}}
	if client != nil {
		*h.client = *client
	}
	// A redirect would carry the key of one service to another.
	h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return h
}

// Send makes one request. The message's id goes along as Idempotency-Key, by which a service can know a double.
func (h *Hook) Send(ctx context.Context, id identity.MessageID, _ time.Time, c Content) error {
	r, err := http.NewRequestWithContext(ctx, c.Method, c.Recipient, strings.NewReader(c.Text))
	if err != nil {
		return fmt.Errorf("%w: the call cannot be made", ErrPermanent) // err would quote the URL
	}
	for name, value := range c.Header {
		r.Header.Set(name, value)
	}
	if c.Text != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Idempotency-Key", string(id))
	w, err := h.client.Do(r)
	if err != nil {
		return bare("the service", err)
	}
	defer w.Body.Close()
	_, err = outcome("the service", w)
	return err
}

// Call enqueues a call of another service, in the transaction of what causes it.
func (o *Outbox) Call(ctx context.Context, tx identity.Tx, method, target string, header map[string]string, body string) error {
	return o.Enqueue(ctx, tx, Content{Channel: identity.Webhook, Recipient: target, Template: "call", Method: method, Header: header, Text: body})
}

// checkCall looks at what only calls have.
func checkCall(c Content) error {
	u, err := url.Parse(c.Recipient)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return identity.Invalid.In("recipient", "is not an http or https URL")
	}
	if !slices.Contains(methods, c.Method) {
		return identity.Invalid.In("method", "must be POST, PUT or DELETE")
	}
	return nil
}
