package httpkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestServeFinishesWhatWasBegun(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	var cancelled error
	server := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		cancelled = r.Context().Err()
		_, _ = io.WriteString(w, "done")
	}))
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, server, listener, time.Minute) }()

	answered := make(chan string, 1)
	go func() { answered <- get(t, http.DefaultClient, "http://"+listener.Addr().String()) }()
	<-begun
	stop()
	select {
	case err := <-ended:
		t.Fatalf("ended with %v while a request was under way", err)
	default:
	}
	close(goOn)
	if got := <-answered; got != "done" {
		t.Errorf("answered %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if cancelled != nil {
		t.Errorf("the request saw %v", cancelled)
	}
}

func TestServeGivesUpAfterGrace(t *testing.T) {
	begun := make(chan struct{})
	server := Server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, server, listener, time.Millisecond) }()
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String(), nil)
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	<-begun
	stop()
	if err := <-ended; err == nil {
		t.Error("cutting a request off is called an orderly end")
	}
}

func TestServerReadsLongQueries(t *testing.T) {
	server := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strconv.Itoa(len(r.URL.RawQuery)))
	}))
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, server, listener, time.Minute) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	const id = "5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10,"
	for ids, want := range map[int]int{1000: http.StatusOK, 1500: http.StatusOK, 10000: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String()+"/?select="+strings.Repeat(id, ids), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%d ids: status %d, want %d", ids, answer.StatusCode, want)
		}
	}
}

func TestServeReportsTrouble(t *testing.T) {
	listener := listen(t)
	_ = listener.Close()
	if err := Serve(t.Context(), Server(http.NotFoundHandler()), listener, time.Minute); err == nil {
		t.Error("a closed listener is no trouble")
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := Certificate(cert, key); err == nil {
		t.Error("missing files are a certificate")
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pool := x509.NewCertPool()
	writePair(t, cert, key, at, 1, pool)
	config, err := Certificate(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	server.TLSConfig = config
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, server, listener, time.Minute) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	serial := func() int64 {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+listener.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 1 {
		t.Errorf("a broken file replaced the certificate: serial %d", got)
	}
	writePair(t, cert, key, at.Add(time.Hour), 2, pool)
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the renewal", got)
	}
}

func writePair(t *testing.T, certFile, keyFile string, at time.Time, serial int64, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func get(t *testing.T, client *http.Client, url string) string {
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
