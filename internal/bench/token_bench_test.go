package bench

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/core/manage"
)

// machine is the client of the benchmarks: it may do all that they do.
var machine = manage.NewClient{ID: "machine", Grants: []string{"client_credentials", "refresh_token"}, Scopes: []string{"read", "introspect"}}

// BenchmarkValidate is row one: validate a token, each door's form. The floor hashes the token, looks it up in memory, and writes the
// same answer.
func BenchmarkValidate(b *testing.B) {
	s := serve(b, "")
	secret := sha256.Sum256([]byte(s.secret.Reveal()))
	for _, door := range []string{"oidc", "insights", "nx", "titan", "openwifi"} {
		b.Run("introspect/"+door, func(b *testing.B) {
			body := "token=" + url.QueryEscape(s.tokens(b)[door])
			ask := request("POST", "/oauth2/introspect", basic("machine", s.secret.Reveal())+formType, body)
			r := httptest.NewRequest(http.MethodPost, "/oauth2/introspect", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth("machine", s.secret.Reveal())
			known := newMemory(s.tokens(b)[door], recordAnswer(b, s.Handler(), r))
			known.add(strings.TrimPrefix(body, "token="), known.any())
			mux := http.NewServeMux()
			mux.HandleFunc("POST /oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
				if !checkBasic(r, secret) || r.ParseForm() != nil {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				known.answer(w, r.PostForm.Get("token"))
			})
			compareAt(b, 16, floorServer(b, mux), s.address(), ask)
		})
	}
	b.Run("validateToken", func(b *testing.B) {
		token := s.tokens(b)["openwifi"]
		ask := request("GET", "/api/v1/validateToken?token="+token, "X-Api-Key: service-key\r\nX-Internal-Name: https://gw.example.test\r\n", "")
		r := httptest.NewRequest(http.MethodGet, "/api/v1/validateToken?token="+token, nil)
		r.Header.Set("X-Api-Key", "service-key")
		r.Header.Set("X-Internal-Name", "https://gw.example.test")
		known := newMemory(token, recordAnswer(b, s.ServiceHandler(), r))
		mux := http.NewServeMux()
		mux.HandleFunc("GET /api/v1/validateToken", func(w http.ResponseWriter, r *http.Request) {
			if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Api-Key")), []byte("service-key")) != 1 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			known.answer(w, r.URL.Query().Get("token"))
		})
		compareAt(b, 16, floorServer(b, mux), s.service, ask)
	})
}

// BenchmarkClientCredentials is row two: the floor checks Basic against SHA-256 and signs nine claims with ES256.
func BenchmarkClientCredentials(b *testing.B) {
	s := serve(b, "")
	secret := sha256.Sum256([]byte(s.secret.Reveal()))
	sign := newSigner(b)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		if !checkBasic(r, secret) || r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token, err := sign.sign(newID())
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		writeJSON(w, []byte(`{"access_token":"`+token+`","token_type":"Bearer","expires_in":600,"scope":"read"}`))
	})
	compareAt(b, 16, floorServer(b, mux), s.address(),
		request("POST", "/oauth2/token", basic("machine", s.secret.Reveal())+formType, "grant_type=client_credentials&scope=read"))
}

func compareAt(b *testing.B, callers int, floor, house string, ask []byte) {
	b.Helper()
	var floors, houses []*caller
	for range callers {
		floors = append(floors, dial(b, floor, always(ask)))
		houses = append(houses, dial(b, house, always(ask)))
	}
	compare(b, floors, houses)
}

// memory is a floor's whole knowledge: answers by the hash of a token.
type memory struct {
	mu     sync.RWMutex
	tokens map[[32]byte][]byte
}

func newMemory(token string, answer []byte) *memory {
	m := &memory{tokens: map[[32]byte][]byte{}}
	m.add(token, answer)
	return m
}

func (m *memory) add(token string, answer []byte) { m.tokens[sha256.Sum256([]byte(token))] = answer }

func (m *memory) any() []byte {
	for _, answer := range m.tokens {
		return answer
	}
	return nil
}

func (m *memory) answer(w http.ResponseWriter, token string) {
	m.mu.RLock()
	body, ok := m.tokens[sha256.Sum256([]byte(token))]
	m.mu.RUnlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	writeJSON(w, body)
}
