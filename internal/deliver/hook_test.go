package deliver_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A call leaves with its method, headers and body, and what the service answers decides whether it is made again.
func TestCalls(t *testing.T) {
	var method, key, path, id string
	answers := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, key, path, id = r.Method, r.Header.Get("X-API-KEY"), r.URL.RequestURI(), r.Header.Get("Idempotency-Key")
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(answers)
	}))
	defer server.Close()
	hook := deliver.NewHook(server.Client())
	c := deliver.Content{Channel: identity.Webhook, Recipient: server.URL + "/api?a=b", Method: http.MethodPut, Header: map[string]string{"X-API-KEY": "k"}}
	send := func() error { return hook.Send(t.Context(), "message-1", time.Time{}, c) }
	if err := send(); err != nil || method != http.MethodPut || key != "k" || path != "/api?a=b" || id != "message-1" {
		t.Fatalf("Send = %v; %s %s with %q as %q", err, method, path, key, id)
	}
	for status, forGood := range map[int]bool{400: true, 404: true, 408: false, 429: false, 500: false, 302: false} {
		answers = status
		if err := send(); err == nil || errors.Is(err, deliver.ErrPermanent) != forGood {
			t.Errorf("%d: %v, want for good: %v", status, err, forGood)
		}
	}
	server.Close()
	if err := send(); err == nil || errors.Is(err, deliver.ErrPermanent) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestCallsAreChecked(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		call := func(method, target string) error {
			return store.Update(t.Context(), func(tx identity.Tx) error {
				return h.outbox.Call(context.Background(), tx, method, target, nil, "")
			})
		}
		if err := call(http.MethodPut, "https://prov.example.test/api/v1/signup?a=b"); err != nil {
			t.Error(err)
		}
		for _, bad := range [][2]string{
			{"GET", "https://prov.example.test/"}, {"PUT", "ftp://prov.example.test/"}, {"PUT", "prov.example.test"}, {"PUT", ""},
			{"PUT", "https://user:pw@prov.example.test/"}, {"PUT", "https://prov.example.test/\r\nX: y"},
		} {
			if err := call(bad[0], bad[1]); !errors.Is(err, identity.Invalid) {
				t.Errorf("%s %q: %v", bad[0], bad[1], err)
			}
		}
	})
}
