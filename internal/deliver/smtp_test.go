package deliver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
)

// postOffice is a mail server with faults on demand.
type postOffice struct {
	server   *smtp.Server
	address  string
	roots    *x509.CertPool
	password string // "": nobody needs to say who he is

	mu      sync.Mutex
	letters []letter
	tries   int
	rcpt    func() error // asked at each RCPT TO
	data    func() error // asked at each DATA, after the letter was read
	drop    bool         // hang up in the middle of DATA
	stall   chan struct{}
}

type letter struct {
	from, to, user string
	encrypted      bool
	body           []byte
}

type visit struct {
	office *postOffice
	conn   *smtp.Conn
	letter letter
}

func (o *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, encrypted := c.TLSConnectionState()
	return &visit{office: o, conn: c, letter: letter{encrypted: encrypted}}, nil
}

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	if v.office.password != "" && v.letter.user == "" {
		return smtp.ErrAuthRequired
	}
	v.letter.from = from
	return nil
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.letter.to = to
	v.office.mu.Lock()
	defer v.office.mu.Unlock()
	v.office.tries++
	if v.office.rcpt != nil {
		return v.office.rcpt()
	}
	return nil
}

func (v *visit) Data(r io.Reader) error {
	o := v.office
	o.mu.Lock()
	drop, stall := o.drop, o.stall
	o.mu.Unlock()
	if drop {
		return v.conn.Conn().Close()
	}
	if stall != nil {
		<-stall
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.data != nil {
		if err := o.data(); err != nil {
			return err
		}
	}
	l := v.letter
	l.body = body
	o.letters = append(o.letters, l)
	return nil
}

func (v *visit) Reset()        {}
func (v *visit) Logout() error { return nil }
func (v *visit) AuthMechanisms() []string {
	if v.office.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != v.office.password {
			return smtp.ErrAuthFailed
		}
		v.letter.user = user
		return nil
	}), nil
}

func (o *postOffice) received() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]letter(nil), o.letters...)
}

func (o *postOffice) set(change func(*postOffice)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

type security int

const (
	plain security = iota
	startTLS
	implicitTLS
)

func openPostOffice(t *testing.T, s security, password string) *postOffice {
	t.Helper()
	o := &postOffice{password: password}
	o.server = smtp.NewServer(o)
	o.server.Domain = "mail.example.com"
	o.server.AllowInsecureAuth = true // the client must be the one that keeps its password to itself
	o.server.ErrorLog = quiet{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = listener.Addr().String()
	if s != plain {
		certificate, roots := selfMade(t)
		o.roots = roots
		config := &tls.Config{Certificates: []tls.Certificate{certificate}}
		if s == startTLS {
			o.server.TLSConfig = config
		} else {
			listener = tls.NewListener(listener, config)
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = o.server.Serve(listener) }()
	t.Cleanup(func() { _ = o.server.Close(); <-done })
	return o
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func selfMade(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mail.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots
}

func mailer(t *testing.T, url string, o *postOffice) *deliver.Mailer {
	t.Helper()
	m, err := deliver.NewMailer(identity.Secret(url), "Gatehouse <gatehouse@id.example.com>", &tls.Config{RootCAs: o.roots})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var aLetter = deliver.Content{
	Channel: identity.Mail, Recipient: "ada@example.com", Template: deliver.Code, Subject: "Grüße", Text: "code 042137\n", HTML: "<p>code 042137</p>",
}

var writtenAt = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func TestMailArrives(t *testing.T) {
	tests := []struct {
		name      string
		security  security
		url       string // ADDR stands for the server's address
		password  string
		encrypted bool
		want      string // part of the error
	}{
		{"plain, on this machine", plain, "smtp://ADDR", "", false, ""},
		{"plain with a user, on this machine", plain, "smtp://ada:s3cr%40t@ADDR", "s3cr@t", false, ""},
		{"STARTTLS because it is offered", startTLS, "smtp://ADDR", "", true, ""},
		{"STARTTLS with a user", startTLS, "smtp://ada:s3cr%40t@ADDR", "s3cr@t", true, ""},
		{"TLS from the first byte", implicitTLS, "smtps://ada:s3cr%40t@ADDR", "s3cr@t", true, ""},
		{"wrong password", startTLS, "smtp://ada:wrong@ADDR", "s3cr@t", true, "535"},
		{"user where none is asked", plain, "smtp://ada:x@ADDR", "", false, "AUTH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := openPostOffice(t, tt.security, tt.password)
			m := mailer(t, strings.Replace(tt.url, "ADDR", o.address, 1), o)
			err := m.Send(t.Context(), "0199-id", writtenAt, aLetter)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, deliver.ErrPermanent) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			letters := o.received()
			if len(letters) != 1 {
				t.Fatalf("%d letters", len(letters))
			}
			l := letters[0]
			if l.encrypted != tt.encrypted || l.from != "gatehouse@id.example.com" || l.to != "ada@example.com" || (l.user != "") != (tt.password != "") {
				t.Errorf("letter %+v", l)
			}
			read, err := mail.ReadMessage(bytes.NewReader(l.body))
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]string{
				"Message-Id": "<0199-id@id.example.com>", "Auto-Submitted": "auto-generated", "To": "<ada@example.com>",
				"Date": "Tue, 24 Nov 2026 08:00:00 +0000", "From": `"Gatehouse" <gatehouse@id.example.com>`,
			} {
				if got := read.Header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if !strings.Contains(string(l.body), "text/html") || !strings.Contains(string(l.body), "042137") {
				t.Errorf("body:\n%s", l.body)
			}
		})
	}
}

// A subject is read as it was written, even one that looks encoded.
func TestSubjectsHideNothing(t *testing.T) {
	for _, subject := range []string{"Plain", "Grüße", "=?utf-8?q?=0d=0aBcc:_eve@example.com?=", "=?" + strings.Repeat("ü", 99)} {
		o := openPostOffice(t, plain, "")
		c := aLetter
		c.Subject = subject
		if err := mailer(t, "smtp://"+o.address, o).Send(t.Context(), "0199-id", writtenAt, c); err != nil {
			t.Fatal(err)
		}
		read, err := mail.ReadMessage(bytes.NewReader(o.received()[0].body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject")); err != nil || got != subject {
			t.Errorf("%q is read as %q, err %v", subject, got, err)
		}
	}
}

func TestMailKeepsItsPasswordFromEavesdroppers(t *testing.T) {
	o := openPostOffice(t, plain, "s3cret")
	_, port, _ := net.SplitHostPort(o.address)
	// The system connects this address to itself, but the mailer does not take it for this machine.
	m := mailer(t, "smtp://ada:s3cret@0.0.0.0:"+port, o)
	if err := m.Send(t.Context(), "id", writtenAt, aLetter); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("err = %v", err)
	}
	if letters := o.received(); len(letters) > 0 {
		t.Errorf("sent in clear: %+v", letters)
	}
}

func TestMailServersCertificateIsChecked(t *testing.T) {
	for scheme, s := range map[string]security{"smtp": startTLS, "smtps": implicitTLS} {
		o := openPostOffice(t, s, "")
		o.roots = x509.NewCertPool()
		if err := mailer(t, scheme+"://"+o.address, o).Send(t.Context(), "id", writtenAt, aLetter); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: err = %v", scheme, err)
		}
	}
}

func TestMailRefusals(t *testing.T) {
	reply := func(code int) func() error {
		return func() error { return &smtp.SMTPError{Code: code, Message: "no\r\nnext line"} }
	}
	tests := []struct {
		name      string
		fault     func(*postOffice)
		permanent bool
	}{
		{"421 at RCPT", func(o *postOffice) { o.rcpt = reply(421) }, false},
		{"450 at RCPT", func(o *postOffice) { o.rcpt = reply(450) }, false},
		{"550 at RCPT", func(o *postOffice) { o.rcpt = reply(550) }, true},
		{"451 after DATA", func(o *postOffice) { o.data = reply(451) }, false},
		{"554 after DATA", func(o *postOffice) { o.data = reply(554) }, true},
		{"hangs up in DATA", func(o *postOffice) { o.drop = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := openPostOffice(t, plain, "")
			o.set(tt.fault)
			err := mailer(t, "smtp://"+o.address, o).Send(t.Context(), "id", writtenAt, aLetter)
			if err == nil || errors.Is(err, deliver.ErrPermanent) != tt.permanent {
				t.Errorf("err = %v, want permanent: %v", err, tt.permanent)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		if err := mailer(t, "smtp://"+address, &postOffice{}).Send(t.Context(), "id", writtenAt, aLetter); err == nil || errors.Is(err, deliver.ErrPermanent) {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("stalls", func(t *testing.T) {
		o := openPostOffice(t, plain, "")
		stall := make(chan struct{})
		o.set(func(o *postOffice) { o.stall = stall })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := mailer(t, "smtp://"+o.address, o).Send(ctx, "id", writtenAt, aLetter); err == nil || errors.Is(err, deliver.ErrPermanent) {
			t.Errorf("err = %v", err)
		}
		close(stall)
	})
}

func TestNewMailerSaysWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"http://mail.example.com": "smtp://", "smtp://": "smtp://", "smtp://u:hunter2@h:99999": "port", "smtp://u:hunter2@h/x": "smtp://",
		"smtp://u:hunter2@%zz": "URL", "smtp://u:hunter2@h?tls=off": "smtp://",
	} {
		_, err := deliver.NewMailer(identity.Secret(url), "a@example.com", nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := deliver.NewMailer("smtp://h", "not an address", nil); err == nil {
		t.Error("a wrong sender was taken")
	}
}
