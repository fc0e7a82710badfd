package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/storetest"
)

var now = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// named gives connections a name by which this test, and no other of the same server, ends them.
func named(t *testing.T, place string) (string, string) {
	name := t.Name()
	return place + "&application_name=" + name, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '` + name + `'`
}

func count(ctx context.Context, store identity.Store) error {
	return store.Update(ctx, func(tx identity.Tx) error {
		_, err := tx.CountAttempt(ctx, "k", now, time.Hour)
		return err
	})
}

// Whoever starts the house is told in one line what is wrong and what to do, and no log learns the password.
func TestRefusals(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := silent.Addr().String()
	_ = silent.Close()
	missing, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	q := missing.Query()
	q.Set("search_path", "nowhere")
	missing.RawQuery = q.Encode()
	unknown := *missing
	unknown.Path = "/nosuchdatabase"
	for name, tt := range map[string]struct {
		url  string
		says []string
	}{
		"nobody listens":        {"postgres://ada:s3cret@" + closed + "/x?sslmode=disable", []string{"cannot be used", "GATEHOUSE_DATABASE"}},
		"nobody at any address": {"postgres://ada:s3cret@localhost:" + port(closed) + "/x?sslmode=disable", []string{"cannot be used"}},
		"not a URL":             {"postgres://ada:s3cret@host:port/x", []string{"not a PostgreSQL URL", "postgres://"}},
		"no such database":      {unknown.String(), []string{"nosuchdatabase", "GATEHOUSE_DATABASE"}},
		"no such schema":        {missing.String(), []string{"search_path", "create one"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := postgres.Open(t.Context(), postgres.Options{URL: tt.url})
			if err == nil {
				t.Fatal("opened")
			}
			for _, words := range tt.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q shows the password or is more than one line", err)
			}
		})
	}
}

// A server that ends every connection, as it does when it restarts, costs no answered update and at most an outage for
// the others; then the pool finds its way back.
func TestConnectionsGo(t *testing.T) {
	place := storetest.PostgresURL(t)
	victims, kill := named(t, place)
	store := storetest.OpenPostgres(t, victims)
	killer, err := pgx.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close(context.Background())
	var answered, open atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := count(context.Background(), store); {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, identity.Unavailable):
					open.Add(1) // perhaps committed
				default:
					t.Errorf("Update = %v", err)
					return
				}
			}
		})
	}
	for range 5 {
		for before := answered.Load(); answered.Load() < before+20; {
			if err := store.Ping(t.Context()); err != nil && !errors.Is(err, identity.Unavailable) {
				t.Errorf("Ping = %v", err)
			}
		}
		if _, err := killer.Exec(t.Context(), kill); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	callers.Wait()
	if err := count(t.Context(), store); err != nil {
		t.Fatalf("after all: %v", err)
	}
	var a identity.Attempts
	if err := store.View(t.Context(), func(r identity.Reader) (err error) {
		a, err = r.Attempts(t.Context(), "k")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if low, high := answered.Load()+1, answered.Load()+open.Load()+1; int64(a.Count) < low || int64(a.Count) > high {
		t.Errorf("counted %d, answered %d, left open %d", a.Count, low, open.Load())
	}
	t.Logf("%d answered, %d left open", answered.Load(), open.Load())
}

// A node that lost its connection to the feed hears again.
func TestListenerComesBack(t *testing.T) {
	place := storetest.PostgresURL(t)
	victims, kill := named(t, place)
	a, b := storetest.OpenPostgres(t, place), storetest.OpenPostgres(t, victims)
	<-b.Wake()
	killer, err := pgx.Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close(context.Background())
	if _, err := killer.Exec(t.Context(), kill+` AND query LIKE 'LISTEN %'`); err != nil {
		t.Fatal(err)
	}
	<-b.Wake() // it looks for what it missed
	if err := a.Update(t.Context(), func(tx identity.Tx) error { return tx.Announce(t.Context(), identity.KeysChanged, "", now) }); err != nil {
		t.Fatal(err)
	}
	<-b.Wake()
}
