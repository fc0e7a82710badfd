package e2e_test

import (
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store/storetest"
)

// lag is how soon every node must refuse what was ended on one (design: one second).
const lag = time.Second

func twoNodes(t *testing.T, env ...string) (*house, *node, *node) {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("a master key of 32 bytes, shared"))
	h := newHouse(t, append(env, "GATEHOUSE_DATABASE="+storetest.PostgresURL(t), "GATEHOUSE_MASTER_KEY="+key)...)
	var a, b *node
	// Both find an empty database at the same moment; both must come up.
	var both sync.WaitGroup
	both.Go(func() { a = h.serve() })
	both.Go(func() { b = h.serve() })
	both.Wait()
	if a == nil || b == nil {
		t.FailNow()
	}
	h.must("", "apply", "-f", h.world(sampleWorld))
	return h, a, b
}

func TestTwoNodesOneDatabase(t *testing.T) {
	h, a, b := twoNodes(t)
	access, refresh, err := a.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	if !a.accepts(access) || !b.accepts(access) {
		t.Fatal("a token of one node is refused by another")
	}
	if err := a.signOut(access); err != nil {
		t.Fatal(err)
	}
	if a.accepts(access) {
		t.Error("the node that ended the session still takes its token")
	}
	t.Logf("signed out on one node, refused on the other after %v", until(t, lag, "the other node refuses the token", func() bool { return !b.accepts(access) }))
	if got := b.mustCall("POST", "/auth/authenticate/refresh-token", refresh, jsonType, `{}`); got.status != 401 {
		t.Errorf("the refresh token gives %d %s on the other node", got.status, got.text)
	}

	access, _, err = b.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	if !a.accepts(access) || !b.accepts(access) {
		t.Fatal("a token of one node is refused by another")
	}
	h.must("", "user", "suspend", "ada@example.test")
	t.Logf("suspended by a command, refused after %v", until(t, lag, "both nodes refuse the token", func() bool { return !a.accepts(access) && !b.accepts(access) }))
	if _, _, err := a.signIn("ada@example.test", "canary-password-ada-91"); err == nil {
		t.Error("a suspended person signs in")
	}
	h.must("", "user", "resume", "ada@example.test")
	if _, _, err := b.signIn("ada@example.test", "canary-password-ada-91"); err != nil {
		t.Error(err)
	}

	// Keys rotate under load without refusing a valid token (P12).
	access, _, err = a.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	h.must("", "key", "rotate", "EdDSA")
	if !a.accepts(access) || !b.accepts(access) {
		t.Error("a token from before the rotation is refused")
	}
	a.stop()
	if !b.accepts(access) {
		t.Error("the node that stays refuses a valid token")
	}
	b.stop()
	if out := h.must("", "audit", "verify"); out == "" {
		t.Error("audit verify says nothing")
	}
}

// One login's failures count on all nodes together.
func TestLockHoldsOverNodes(t *testing.T) {
	_, a, b := twoNodes(t)
	for i := range 10 {
		n := a
		if i%2 == 1 {
			n = b
		}
		if got := n.mustCall("POST", "/auth/authenticate/signin", "", jsonType, `{"Username":"ada@example.test","Password":"wrong","KeepLoggedIn":false}`); got.status != 401 {
			t.Fatalf("wrong password %d: %d %s", i, got.status, got.text)
		}
	}
	for _, n := range []*node{a, b} {
		got := n.mustCall("POST", "/auth/authenticate/signin", "", jsonType, `{"Username":"ada@example.test","Password":"canary-password-ada-91","KeepLoggedIn":false}`)
		if got.status != 429 || got.header.Get("Retry-After") == "" {
			t.Errorf("after ten failures: %d %s, Retry-After %q", got.status, got.text, got.header.Get("Retry-After"))
		}
	}
}
