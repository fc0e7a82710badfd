package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
	"gatehouse/internal/core/session"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/world"
)

const worldText = `
organisations: [{key: acme, name: ACME, sites: [{key: berlin, name: BERLIN}]}]
subjects:
  - {email: ada@example.test, name: Ada, password: "correct horse battery", memberships: [{organisation: acme}]}
  - {email: op@example.test, name: Op, password: "correct horse battery", openwifi: {role: admin}}
  - {email: root@example.test, name: Root, password: "correct horse battery", superadmin: true}
clients:
  - {id: fixstreamapp, secret: fixstream, grants: [password, refresh_token], scopes: [read, write, trust]}
`

// served is a running node.
type served struct {
	*app.Node
	secret  identity.Secret // of the client "machine"
	service string          // address of the internal listener
}

// serve runs a node as `gatehouse serve` does, its log lines formatted and thrown away. url "" is SQLite.
func serve(tb testing.TB, url string) *served {
	tb.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.InternalListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Data, cfg.Database = tb.TempDir(), identity.Secret(url)
	cfg.OpenWiFi.ServiceKey = "service-key"
	cfg.Limits.TitanUserPerMinute, cfg.Limits.TitanAddressPerMinute = 0, 0 // a benchmark calls more often than a person
	node, err := app.Start(tb.Context(), cfg, app.Options{Log: slog.New(logs.NewText(io.Discard))})
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := world.Parse("world", []byte(worldText))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := node.Worlds.Apply(tb.Context(), parsed, world.Options{}); err != nil {
		tb.Fatal(err)
	}
	_, secret, err := node.Manage.CreateClient(tb.Context(), identity.Caller{Door: "bench"}, machine)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := node.Serve(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		stop()
		all.Wait()
		if err := node.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &served{node, secret, node.InternalAddr().String()}
}

func (s *served) address() string { return s.Addr().String() }

// post gets one answer, outside what is measured.
func (s *served) post(tb testing.TB, path, contentType, body string) map[string]any {
	tb.Helper()
	res, err := http.Post("http://"+s.address()+path, contentType, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil || res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %d %s", path, res.StatusCode, text)
	}
	return v
}

// tokens gives one access token of each door.
func (s *served) tokens(tb testing.TB) map[string]string {
	tb.Helper()
	form, js := "application/x-www-form-urlencoded", "application/json"
	data, _ := s.post(tb, "/auth", js, `{"user":"ada@example.test","password":"correct horse battery"}`)["data"].(map[string]any)
	own, err := http.NewRequest("POST", "http://"+s.address()+"/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		tb.Fatal(err)
	}
	own.Header.Set("Content-Type", form)
	own.SetBasicAuth("machine", s.secret.Reveal())
	res, err := http.DefaultClient.Do(own)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	var granted map[string]any
	if err := json.NewDecoder(res.Body).Decode(&granted); err != nil {
		tb.Fatal(err)
	}
	text := func(v any) string { t, _ := v.(string); return t }
	signIn := func(login string) string {
		return text(s.post(tb, "/auth/authenticate/signin", js, `{"Username":"`+login+`","Password":"correct horse battery","KeepLoggedIn":true}`)["AccessToken"])
	}
	return map[string]string{
		"insights": text(s.post(tb, "/oauth/token", form, "grant_type=password&username=ada@example.test&password=correct+horse+battery&client_id=fixstreamapp&client_secret=fixstream")["access_token"]),
		"nx":       signIn("ada@example.test"),
		"nx root":  signIn("root@example.test"),
		"titan":    text(data["token"]),
		"openwifi": text(s.post(tb, "/api/v1/oauth2", js, `{"userId":"op@example.test","password":"correct horse battery"}`)["access_token"]),
		"oidc":     text(granted["access_token"]),
	}
}

// sessions begins n refreshable sessions of the standard door and gives their refresh tokens.
func (s *served) sessions(tb testing.TB, n int) []string {
	tb.Helper()
	var subject identity.Subject
	var raw []string
	err := s.Store.Update(tb.Context(), func(tx identity.Tx) (err error) {
		raw = nil
		if subject, err = tx.SubjectByLogin(tb.Context(), "ada@example.test"); err != nil {
			return err
		}
		for range n {
			begun, err := s.Sessions.Begin(tb.Context(), tx, session.Start{
				Caller: identity.Caller{Door: oidc.Door}, Subject: subject, ClientID: "machine", AMR: []string{"pwd"}, Scopes: []string{"read"},
			})
			if err != nil {
				return err
			}
			raw = append(raw, s.Sessions.Opaque(begun, identity.RefreshToken))
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret)) + "\r\n"
}

const formType = "Content-Type: application/x-www-form-urlencoded\r\n"

// floorServer serves a handler as the house is served: same server, same limits, nothing else.
func floorServer(tb testing.TB, h http.Handler) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := httpkit.Server(h)
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// checkBasic is what a floor does to know its client.
func checkBasic(r *http.Request, want [32]byte) bool {
	_, secret, ok := r.BasicAuth()
	got := sha256.Sum256([]byte(secret))
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// signer prints ES256 tokens with the header encoded once.
type signer struct {
	key    *ecdsa.PrivateKey
	header string
}

func newSigner(tb testing.TB) signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return signer{key, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"abcdefgh","typ":"at+jwt"}`)) + "."}
}

// claims are the nine that an access token has.
type claims struct {
	Iss      string `json:"iss"`
	Sub      string `json:"sub"`
	Aud      string `json:"aud"`
	Exp      int64  `json:"exp"`
	Iat      int64  `json:"iat"`
	Nbf      int64  `json:"nbf"`
	Jti      string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func (s signer) sign(id string) (string, error) {
	now := time.Now().Unix()
	payload, err := json.Marshal(claims{"http://bench", "machine", "http://bench", now + 600, now, now, id, "machine", "read"})
	if err != nil {
		return "", err
	}
	input := s.header + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(input))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature[:]), nil
}

func newID() string {
	var u [16]byte
	_, _ = rand.Read(u[:])
	return fmt.Sprintf("%x", u)
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// recordAnswer gives the bytes that the house answers a request with, so that the floor can write the same.
func recordAnswer(tb testing.TB, h http.Handler, r *http.Request) []byte {
	tb.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		tb.Fatalf("%s: %d %s", r.URL.Path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// engines are the stores that a row is measured on.
func engines(b *testing.B, bench func(b *testing.B, url string)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, "") })
	b.Run("postgres", func(b *testing.B) { bench(b, storetest.PostgresURL(b)) })
}
