package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// What was answered before the process was killed holds afterwards (P5): sessions are there, ended ones stay ended.
func TestKillNine(t *testing.T) {
	h := newHouse(t)
	h.must("", "apply", "-f", h.world(sampleWorld))
	type session struct {
		access string
		ended  bool
	}
	var sessions []session
	for range 3 {
		n := h.serve()
		var mu sync.Mutex
		var all sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		count := 0
		for range 8 {
			all.Go(func() {
				for {
					access, _, err := n.signIn("ada@example.test", "canary-password-ada-91")
					if err != nil {
						return // killed
					}
					mu.Lock()
					sessions = append(sessions, session{access: access})
					mine := len(sessions) - 1
					count++
					if count == 40 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
					if mine%2 == 0 {
						if err := n.signOut(access); err != nil {
							mu.Lock()
							sessions[mine].access = "" // unanswered: may be either
							mu.Unlock()
							return
						}
						mu.Lock()
						sessions[mine].ended = true
						mu.Unlock()
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(2 * time.Minute):
			t.Fatalf("too few sign-ins\n%s", n.logged())
		}
		n.kill()
		all.Wait()
	}
	n := h.serve()
	checked := 0
	for i, s := range sessions {
		if s.access == "" {
			continue
		}
		checked++
		if got := n.accepts(s.access); got == s.ended {
			t.Errorf("session %d: accepted %v, ended %v", i, got, s.ended)
		}
	}
	t.Logf("%d answered sessions checked after three kills", checked)
	n.stop()
	h.must("", "audit", "verify")
}

// No secret is in a log, on disk in clear, or in an error (P9).
func TestCanaries(t *testing.T) {
	h := newHouse(t)
	h.must("", "apply", "-f", h.world(sampleWorld))
	n := h.serve("--log-level=debug")
	access, refresh, err := n.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	insights := n.mustCall("POST", "/oauth/token?"+form("grant_type", "password", "username", "ada@example.test", "password", "canary-password-ada-91",
		"client_id", "fixstreamapp", "client_secret", "canary-client-secret-93"), "", "", "")
	if insights.status != 200 {
		t.Fatalf("insights: %d %s", insights.status, insights.text)
	}
	for _, wrong := range []string{"canary-wrong-94", "canary-password-ada-91x"} {
		n.mustCall("POST", "/auth/authenticate/signin", "", jsonType, `{"Username":"ada@example.test","Password":"`+wrong+`","KeepLoggedIn":true}`)
	}
	n.mustCall("POST", "/auth/authenticate/forgot-password", "", jsonType, `{"Email":"ada@example.test"}`)
	wifi := n.mustCall("POST", "/api/v1/oauth2?newPassword=canary-New-95!", "", jsonType, `{"userId":"ada@example.test","password":"canary-password-ada-91"}`)
	n.mustCall("GET", "/api/v1/validateToken?token="+access, access, "", "")
	canaries := []string{
		"canary-password-ada-91", "canary-password-bob-92", "canary-client-secret-93", "canary-wrong-94", "canary-New-95!",
		"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", access, refresh, insights.get(t, "access_token"), insights.get(t, "refresh_token"),
	}
	if wifi.status == 200 {
		canaries = append(canaries, wifi.get(t, "access_token"), wifi.get(t, "refresh_token"))
		n.mustCall("DELETE", "/api/v1/oauth2/"+wifi.get(t, "access_token"), wifi.get(t, "access_token"), "", "")
	}
	n.stop()
	var link string
	for line := range strings.Lines(h.must("", "outbox", "list", "--json")) {
		if _, rest, ok := strings.Cut(line, `"id":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			shown := h.must("", "outbox", "show", id, "--reveal")
			if _, rest, ok := strings.Cut(shown, "token="); ok {
				link = rest[:min(len(rest), 43)]
			}
		}
	}
	if link == "" {
		t.Error("the reset link is not in the outbox")
	} else {
		canaries = append(canaries, link)
	}
	if err := os.Remove(filepath.Join(h.dir, "world.yaml")); err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{"log": []byte(n.logged())}
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if places[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(places["log"], []byte("op=signin")) || len(places["gatehouse.db"]) < 1000 || !bytes.Contains(places["gatehouse.db"], []byte("ada@example.test")) {
		t.Fatal("the scan does not see what it should scan")
	}
	for place, text := range places {
		for _, c := range canaries {
			for form, spelled := range map[string]string{
				"plain": c, "base64": base64.StdEncoding.EncodeToString([]byte(c)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(c)),
				"hex": hex.EncodeToString([]byte(c)),
			} {
				if bytes.Contains(text, []byte(spelled)) {
					t.Errorf("%s holds %.12s… in %s form", place, c, form)
				}
			}
		}
	}
}
