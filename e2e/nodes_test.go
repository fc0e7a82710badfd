package e2e_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
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

const (
	wifiWorld = `
subjects:
  - {email: root@example.test, name: Root, superadmin: true, password: "canary-password-root-90"}
  - {email: ann@example.test, id: 01a0a000-0000-7000-8000-0000000000a1, name: Ann, password: "canary-password-ann-94", openwifi: {role: csr}}
  - {email: ben@example.test, name: Ben, password: "canary-password-ben-95", openwifi: {role: csr}, factors: {sms: "+15145550100"}}
`
	annID          = "01a0a000-0000-7000-8000-0000000000a1"
	wifiServiceKey = "canary-service-key-97"
)

var internalAt = regexp.MustCompile(` internal=(\S+)`)

// validates says whether the node's internal listener tells another service that an OpenWiFi token is good.
func (n *node) validates(token string) bool {
	n.t.Helper()
	at := internalAt.FindStringSubmatch(n.logged())
	if at == nil {
		n.t.Fatalf("no internal listener:\n%s", n.logged())
	}
	r, err := http.NewRequest("GET", "http://"+at[1]+"/api/v1/validateToken?token="+token, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("X-API-KEY", wifiServiceKey)
	r.Header.Set("X-INTERNAL-NAME", "https://gw.example.test")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound {
		n.t.Fatalf("validateToken: %d", res.StatusCode)
	}
	return res.StatusCode == http.StatusOK
}

// What is done at the OpenWiFi door of one node holds at the other's.
func TestOpenWiFiOnTwoNodes(t *testing.T) {
	gateway := openHook(t)
	gateway.down = false
	h, a, b := twoNodes(t, "GATEHOUSE_INTERNAL_LISTEN=127.0.0.1:0", "GATEHOUSE_OPENWIFI_SERVICE_KEY="+wifiServiceKey,
		"GATEHOUSE_SMS_FROM=ACME", "GATEHOUSE_SMS_URL="+strings.Replace(gateway.URL, "http://", "http://house:canary-hook-96@", 1))
	h.must("", "apply", "-f", h.world(wifiWorld))
	signIn := func(n *node, login, password string) string {
		t.Helper()
		got := n.mustCall("POST", "/api/v1/oauth2", "", jsonType, fmt.Sprintf(`{"userId":%q,"password":%q}`, login, password))
		if got.status != http.StatusOK || got.get(t, "access_token") == "" {
			t.Fatalf("%s signs in: %d %s", login, got.status, got.text)
		}
		return got.get(t, "access_token")
	}
	must := func(n *node, method, path, bearer, contentType, body string) answer {
		t.Helper()
		got := n.mustCall(method, path, bearer, contentType, body)
		if got.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, got.status, got.text)
		}
		return got
	}
	root, ann := signIn(a, "root@example.test", "canary-password-root-90"), signIn(a, "ann@example.test", "canary-password-ann-94")
	for _, n := range []*node{a, b} {
		if !n.validates(ann) || !n.validates(root) {
			t.Fatal("a token of one node is not good on both")
		}
	}

	const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="3" fill="#c03030"/></svg>`
	must(a, "POST", "/api/v1/avatar/"+annID, ann, "image/svg+xml", picture)
	here, there := must(a, "GET", "/api/v1/avatar/"+annID, ann, "", ""), must(b, "GET", "/api/v1/avatar/"+annID, ann, "", "")
	if here.text != there.text || !strings.Contains(there.text, "<circle") || here.header.Get("ETag") != there.header.Get("ETag") {
		t.Errorf("the picture is %s on one node, %s on the other", here.text, there.text)
	}
	must(b, "DELETE", "/api/v1/avatar/"+annID, ann, "", "")
	if got := a.mustCall("GET", "/api/v1/avatar/"+annID, ann, "", ""); got.status != http.StatusNotFound {
		t.Errorf("removed on the other node: %d", got.status)
	}

	must(a, "POST", "/api/v1/system", root, jsonType, `{"command":"setloglevel","subsystems":[{"tag":"audit","value":"trace"}]}`)
	t.Logf("a log level is the other node's after %v", until(t, lag, "the other node has the log level", func() bool {
		return strings.Contains(must(b, "POST", "/api/v1/system", root, jsonType, `{"command":"getloglevels"}`).text, `{"tag":"audit","value":"trace"}`)
	}))

	asked := must(a, "POST", "/api/v1/oauth2", "", jsonType, `{"userId":"ben@example.test","password":"canary-password-ben-95"}`)
	code := sixDigits.FindString(gateway.wait(1).Text)
	answered := must(b, "POST", "/api/v1/oauth2?completeMFAChallenge=true", "", jsonType, fmt.Sprintf(`{"uuid":%q,"answer":%q}`, asked.get(t, "uuid"), code))
	if ben := answered.get(t, "access_token"); ben == "" || !a.validates(ben) {
		t.Errorf("a challenge of one node, answered at the other: %s", answered.text)
	}

	must(a, "PUT", "/api/v1/user/"+annID, root, jsonType, `{"suspended":true}`)
	if a.validates(ann) {
		t.Error("the node that suspended her still takes her token")
	}
	t.Logf("suspended on one node, refused on the other after %v", until(t, lag, "the other node refuses the token", func() bool { return !b.validates(ann) }))
	if got := b.mustCall("POST", "/api/v1/oauth2", "", jsonType, `{"userId":"ann@example.test","password":"canary-password-ann-94"}`); got.status != http.StatusForbidden {
		t.Errorf("suspended, she signs in at the other node: %d %s", got.status, got.text)
	}

	if got := b.mustCall("DELETE", "/api/v1/oauth2/"+root, root, "", ""); got.status != http.StatusNoContent {
		t.Errorf("sign-out: %d %s", got.status, got.text)
	}
	until(t, lag, "a sign-out holds on the other node", func() bool { return !a.validates(root) })
	a.stop()
	b.stop()
}
