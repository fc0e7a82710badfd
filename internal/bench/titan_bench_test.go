package bench

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the contract's change mark, which the floor makes too
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// BenchmarkTitan is row three at a door whose access token renews itself: a refresh, and a switch to another hub, by 64 people at
// once. The floor checks the old token's signature, spends its row for the next one's, signs that, and writes the same bytes.
func BenchmarkTitan(b *testing.B) {
	engines(b, func(b *testing.B, url string) {
		s := serve(b, url)
		var durable spender
		if url == "" {
			durable = newGroupCommit(b)
		} else {
			durable = newPlainPostgres(b, url)
		}
		people := s.hubPeople(b, refreshers)
		for name, path := range map[string]func(n int) string{
			"refresh":    func(int) string { return "/auth/refresh" },
			"hub-switch": func(n int) string { return fmt.Sprintf("/auth/hub/%d", 1+n%2) },
		} {
			b.Run(name, func(b *testing.B) {
				answer := s.titanSession(b, people[0])
				floor := floorServer(b, titanFloor(b, durable, answer))
				var floors, houses []*caller
				for _, email := range people {
					first := newEdToken(b, floorKey, newID())
					if !durable.spend([32]byte{}, sha256.Sum256([]byte(first))) {
						b.Fatal("the floor cannot begin")
					}
					floors = append(floors, dial(b, floor, titanCalls(path, first)))
					houses = append(houses, dial(b, s.address(), titanCalls(path, tokenOf(s.titanSession(b, email)))))
				}
				compare(b, floors, houses)
			})
		}
	})
}

// hubPeople makes n members of both hubs.
func (s *served) hubPeople(b *testing.B, n int) []string {
	b.Helper()
	op := identity.Caller{Door: "bench"}
	works, err := s.Manage.CreateOrganisation(b.Context(), op, manage.NewOrganisation{Key: "works", Name: "Works"})
	if err != nil {
		b.Fatal(err)
	}
	var acme identity.Organisation
	if err := s.Store.View(b.Context(), func(r identity.Reader) (err error) {
		acme, err = r.OrganisationByKey(b.Context(), "acme")
		return err
	}); err != nil {
		b.Fatal(err)
	}
	hash, err := s.Passwords.Hasher.Hash(b.Context(), "correct horse battery")
	if err != nil {
		b.Fatal(err)
	}
	var emails []string
	for i := range n {
		email := fmt.Sprintf("p%d@example.test", i)
		p, err := s.Manage.Create(b.Context(), op, manage.NewSubject{Email: email, Name: "Person", PasswordHash: hash, Verified: true})
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range []identity.OrganisationID{acme.ID, works.ID} {
			if _, err := s.Manage.SaveMembership(b.Context(), op, identity.Membership{SubjectID: p.ID, OrganisationID: o}); err != nil {
				b.Fatal(err)
			}
		}
		emails = append(emails, email)
	}
	return emails
}

// titanSession signs somebody in.
func (s *served) titanSession(b *testing.B, email string) []byte {
	b.Helper()
	v := s.post(b, "/auth", "application/json", `{"user":"`+email+`","password":"correct horse battery"}`)
	text, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func tokenOf(answer []byte) string {
	_, rest, _ := bytes.Cut(answer, []byte(`"token":"`))
	token, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(token)
}

// titanCalls builds each request with the token that the answer before brought.
func titanCalls(path func(n int) string, token string) func([]byte) []byte {
	n := 0
	return func(previous []byte) []byte {
		if next := tokenOf(previous); next != "" {
			token = next
		}
		n++
		return request("POST", path(n), "Authorization: Bearer "+token+"\r\n", "")
	}
}

var _, floorKey, _ = ed25519.GenerateKey(rand.Reader)

// newEdToken prints what a session's token here has: eleven claims, signed with EdDSA.
func newEdToken(tb testing.TB, key ed25519.PrivateKey, id string) string {
	tb.Helper()
	now := time.Now().Unix()
	payload, err := json.Marshal(map[string]any{"iss": "http://bench", "sub": "4711", "iat": now, "nbf": now, "exp": now + 600, "jti": id, "hub": 1, "stage": "full", "person": newID(), "gen": 1})
	if err != nil {
		tb.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"abcdefgh","typ":"titan+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

func titanFloor(b *testing.B, durable spender, answer []byte) http.Handler {
	public, _ := floorKey.Public().(ed25519.PublicKey)
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		b.Fatal(err)
	}
	before, after, _ := strings.Cut(string(envelope.Data), tokenOf(answer))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		i := strings.LastIndexByte(raw, '.')
		signature, err := base64.RawURLEncoding.DecodeString(raw[i+1:])
		if err != nil || !ed25519.Verify(public, []byte(raw[:i]), signature) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next := newEdToken(b, floorKey, newID())
		if !durable.spend(sha256.Sum256([]byte(raw)), sha256.Sum256([]byte(next))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		data := before + next + after
		sum := sha1.Sum([]byte(data)) //nolint:gosec // see above
		writeJSON(w, []byte(`{"success":true,"hash":"`+hex.EncodeToString(sum[:])+`","data":`+data+`,"timestamp":1767225600000}`))
	})
}
