package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
)

// BenchmarkUsersPages asks GET /users for the first and the last page of 100 000 people, in turns. The ratio is the first page's time
// divided by the last one's: 1 says that a page costs the same wherever it stands. warm is once the landmarks stand, and cold-ms what
// the first call for the last page costs, which finds them.
func BenchmarkUsersPages(b *testing.B) {
	const people, page = 100_000, 500
	engines(b, func(b *testing.B, url string) {
		s := serve(b, url)
		for from := 0; from < people; from += 1000 {
			err := s.Store.Update(b.Context(), func(tx identity.Tx) error {
				for n := from; n < from+1000; n++ {
					if err := onePerson(b, tx, n); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		token := s.tokens(b)["openwifi"]
		ask := func(offset int) time.Duration {
			r := httptest.NewRequest("GET", fmt.Sprintf("/api/v1/users?limit=%d&offset=%d", page, offset), nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			began := time.Now()
			s.Handler().ServeHTTP(w, r)
			took := time.Since(began)
			if w.Code != http.StatusOK || w.Body.Len() < page*500 {
				b.Fatalf("offset %d: %d, %d bytes", offset, w.Code, w.Body.Len())
			}
			return took
		}
		last := people - page
		cold := ask(last)
		ask(0)
		var first, lastTook time.Duration
		for b.Loop() {
			first += ask(0)
			lastTook += ask(last)
		}
		b.ReportMetric(float64(first)/float64(lastTook), "ratio")
		b.ReportMetric(float64(first.Microseconds())/float64(b.N)/1e3, "first-ms/op")
		b.ReportMetric(float64(lastTook.Microseconds())/float64(b.N)/1e3, "last-ms/op")
		b.ReportMetric(float64(cold.Microseconds())/1e3, "cold-ms")
		b.ReportMetric(0, "ns/op")
	})
}

// onePerson has what a list shows of somebody.
func onePerson(b *testing.B, tx identity.Tx, n int) error {
	now := time.Now()
	id := identity.SubjectID(fmt.Sprintf("019b76da-0000-7000-8000-%012d", n))
	subject := identity.Subject{
		ID: id, Hash: fmt.Sprintf("%040x", n), Kind: identity.Person, Email: fmt.Sprintf("person%d@example.test", n), Name: "Person", CreatedAt: now,
		UpdatedAt: now, VerifiedAt: now, Attributes: identity.Attributes{openwifi.Door: []byte(`{"role":"csr","description":"field team"}`)},
	}
	if err := tx.CreateSubject(b.Context(), &subject); err != nil {
		return err
	}
	return tx.CreateCredential(b.Context(), identity.Credential{
		ID: identity.CredentialID(fmt.Sprintf("019b76db-0000-7000-8000-%012d", n)), SubjectID: id, Kind: identity.Password, Hash: "x", Version: 1,
		CreatedAt: now, UpdatedAt: now,
	})
}

// BenchmarkHeads is what the records of one page cost when they are read together, against one by one (profile.Service.Of).
func BenchmarkHeads(b *testing.B) {
	engines(b, func(b *testing.B, url string) {
		s := serve(b, url)
		err := s.Store.Update(b.Context(), func(tx identity.Tx) error {
			for n := range 500 {
				if err := onePerson(b, tx, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		var together, single time.Duration
		for b.Loop() {
			began := time.Now()
			list, err := s.Staff.List(b.Context(), staff.By{Service: true}, staff.Query{Limit: 500})
			together += time.Since(began)
			if err != nil || len(list) != 500 {
				b.Fatal(len(list), err)
			}
			began = time.Now()
			for _, p := range list {
				var one profile.Profile
				if one, err = s.Profiles.Of(b.Context(), p.Subject.ID); err != nil || one.Subject.ID != p.Subject.ID {
					b.Fatal(err)
				}
			}
			single += time.Since(began)
		}
		b.ReportMetric(float64(single)/float64(together), "times-faster")
		b.ReportMetric(float64(together.Microseconds())/float64(b.N)/1e3, "ms/op")
		b.ReportMetric(0, "ns/op")
	})
}
