package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
	"gatehouse/internal/store/storetest"
)

// What an administrator sets changes what this process writes at once, what the other nodes write within a moment, and what is
// written after a restart.
func TestLogLevelsHoldEverywhere(t *testing.T) {
	store := storetest.SQLite(t)
	h := newHouse(t, apptest.Options{Store: store})
	other := apptest.New(t, apptest.Options{Store: store, Clock: h.Clock, Configure: func(c *config.Config) { c.Log.Level = slog.LevelWarn }})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { other.Run(ctx) })
	defer func() { cancel(); running.Wait() }()

	lines := func() int {
		h.log.mu.Lock()
		defer h.log.mu.Unlock()
		return bytes.Count(h.log.text.Bytes(), []byte("subsystem=http"))
	}
	bearer := h.print(t, wifiAccess, "bob@example.test")
	command := func(body string) answer {
		return h.must(t, request{method: "POST", target: "/api/v1/system", bearer: bearer, body: body})
	}
	command(`{"command":"setloglevel","subsystems":[{"tag":"http","value":"error"},{"tag":"storage","value":"trace"}]}`)
	before := lines()
	h.must(t, request{method: "GET", target: "/auth/status"})
	if lines() != before {
		t.Error("requests are logged though nobody wants to know")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for other.System.Levels.Of(logs.Storage) != logs.Trace {
		<-tick.C // the test's own end is the limit
	}
	again := apptest.New(t, apptest.Options{Store: store, Clock: h.Clock, Configure: func(c *config.Config) { c.Log.Level = slog.LevelDebug }})
	for name, levels := range map[string]*logs.Levels{"another node": other.System.Levels, "after a restart": again.System.Levels} {
		if levels.Of(logs.HTTP) != logs.Error || levels.Of(logs.Keys) != levels.Start() {
			t.Errorf("%s: http at %d, keys at %d", name, levels.Of(logs.HTTP), levels.Of(logs.Keys))
		}
	}
	command(`{"command":"setloglevel","subsystems":[{"tag":"http","value":"information"}]}`)
	before = lines()
	h.must(t, request{method: "GET", target: "/auth/status"})
	if lines() != before+1 {
		t.Error("requests are not logged again")
	}
}

// A node says which certificate it serves and what it holds of the machine, and reads its files again.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	ends := coretest.Start.Add(90 * 24 * time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: ends}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, words := filepath.Join(dir, "sec.pem"), filepath.Join(dir, "words", "en", deliver.Code+".txt")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(words, "Subject: One\n\n{{.code}}\n")
	h := newHouse(t, apptest.Options{Configure: func(c *config.Config) {
		c.TLSCert, c.TLSKey, c.OpenWiFi.UIURL, c.MailTemplates = cert, cert, "https://ui.example.test", filepath.Join(dir, "words")
	}})
	bearer := h.print(t, wifiAccess, "bob@example.test")
	ask := func(command string, into any) {
		t.Helper()
		a := h.must(t, request{method: "GET", target: "/api/v1/system?command=" + command, bearer: bearer})
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			t.Fatal(err)
		}
	}
	h.Clock.Advance(time.Minute)
	var info struct {
		Uptime, Start int64
		OS, Hostname  string
		Processors    int
		UI            string
		Certificates  []struct {
			Filename           string
			ExpiresOn, Expires int64
		}
	}
	ask("info", &info)
	if info.Uptime != 60 || info.Start != coretest.Start.Unix() || info.OS == "" || info.Hostname == "" || info.Processors < 1 || info.UI != "https://ui.example.test" {
		t.Errorf("%+v", info)
	}
	if len(info.Certificates) != 1 || info.Certificates[0].Filename != "sec.pem" || info.Certificates[0].ExpiresOn != ends.Unix() || info.Certificates[0].Expires != ends.Unix() {
		t.Errorf("%+v", info.Certificates)
	}
	var held map[string]int64
	ask("resources", &held)
	for _, name := range []string{"currRealMem", "peakRealMem", "currVirtMem", "peakVirtMem"} {
		if held[name] < 1000 || held[name] > 1<<40 { // KiB
			t.Errorf("%s: %d", name, held[name])
		}
	}
	subject := func() string {
		t.Helper()
		c, err := h.Outbox.Templates.Render(deliver.Code, "en", map[string]string{"name": "Ada", "code": "042137", "minutes": "5"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Subject
	}
	reload := func() {
		t.Helper()
		h.must(t, request{method: "POST", target: "/api/v1/system", bearer: bearer, body: `{"command":"reload","subsystems":["daemon"]}`})
	}
	write(words, "Subject: Two\n\n{{.code}}\n")
	if subject() != "One" {
		t.Error("read before anybody asked for it")
	}
	reload()
	if got := subject(); got != "Two" {
		t.Errorf("after reloading: %q", got)
	}
	write(words, "Subject: Three\n\n{{.cod")
	reload() // the certificate has no key either: both are logged and left as they were
	if got := subject(); got != "Two" {
		t.Errorf("after reloading what is wrong: %q", got)
	}
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	for _, part := range []string{"part=delivery", "part=http"} {
		if !strings.Contains(h.log.text.String(), part) {
			t.Errorf("the log does not say that %s was not reloaded", part)
		}
	}
}

// A service that registered itself is no part of the described world: an export leaves it out, and pruning leaves it alone.
func TestRegisteredServicesAreNotDescribed(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	h.must(t, h.byService("PUT", "/api/v1/systemServices", object("type", "owprov", "publicURI", "https://prov.example.test", "key", "key-of-provisioning")))
	exported, err := h.Worlds.Export(t.Context())
	if err != nil || strings.Contains(string(exported), "owprov") || !strings.Contains(string(exported), "owgw") {
		t.Errorf("%v\n%s", err, exported)
	}
	// Described, it is the operator's for good, and keeps the key that it told.
	if _, err := h.Manage.SaveService(t.Context(), identity.Caller{Door: "cli"}, identity.Service{Type: "owprov", PublicURI: "https://prov.example.test"}); err != nil {
		t.Fatal(err)
	}
	h.Clock.Advance(time.Hour)
	a := h.must(t, h.byService("GET", "/api/v1/systemServices", ""))
	if !strings.Contains(a.body, `"publicURI":"https://prov.example.test","token":"key-of-provisioning"`) {
		t.Error(a)
	}
}
