package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite" // the floor's own database
)

const refreshers = 64

// spender spends a refresh token for its successor, durably.
type spender interface {
	spend(old, next [32]byte) bool
}

// BenchmarkRefresh is row three: refresh with durable rotation by 64 callers. The floor knows its client, spends the old row,
// inserts the new one, and signs an access token.
func BenchmarkRefresh(b *testing.B) {
	engines(b, func(b *testing.B, url string) {
		s := serve(b, url)
		secret := sha256.Sum256([]byte(s.secret.Reveal()))
		sign := newSigner(b)
		var durable spender
		if url == "" {
			durable = newGroupCommit(b)
		} else {
			durable = newPlainPostgres(b, url)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
			if !checkBasic(r, secret) || r.ParseForm() != nil || r.PostForm.Get("grant_type") != "refresh_token" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next := newID() + newID()
			if !durable.spend(sha256.Sum256([]byte(r.PostForm.Get("refresh_token"))), sha256.Sum256([]byte(next))) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			token, err := sign.sign(newID())
			if err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			writeJSON(w, []byte(`{"access_token":"`+token+`","token_type":"Bearer","expires_in":600,"refresh_token":"`+next+`","scope":"read"}`))
		})
		floor := floorServer(b, mux)
		var floors, houses []*caller
		for _, raw := range s.sessions(b, refreshers) {
			first := newID() + newID()
			if !durable.spend([32]byte{}, sha256.Sum256([]byte(first))) {
				b.Fatal("the floor cannot begin")
			}
			floors = append(floors, dial(b, floor, s.refreshing(first)))
			houses = append(houses, dial(b, s.address(), s.refreshing(raw)))
		}
		compare(b, floors, houses)
	})
}

// refreshing builds each request from the token that the answer before brought.
func (s *served) refreshing(token string) func([]byte) []byte {
	return func(previous []byte) []byte {
		if len(previous) > 0 {
			var v struct {
				RefreshToken string `json:"refresh_token"`
			}
			if json.Unmarshal(previous, &v) == nil && v.RefreshToken != "" {
				token = v.RefreshToken
			}
		}
		return request("POST", "/oauth2/token", basic("machine", s.secret.Reveal())+formType, "grant_type=refresh_token&refresh_token="+url.QueryEscape(token))
	}
}

// groupCommit is the floor's SQLite: one writer that commits what waits.
type groupCommit struct {
	queue chan *spending
}

type spending struct {
	old, next [32]byte
	done      chan bool
}

func newGroupCommit(tb testing.TB) *groupCommit {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(tb.TempDir(), "floor.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, "CREATE TABLE tokens (hash BLOB PRIMARY KEY, used_at INTEGER) WITHOUT ROWID"); err != nil {
		tb.Fatal(err)
	}
	spend, err := conn.PrepareContext(ctx, "UPDATE tokens SET used_at = ? WHERE hash = ? AND used_at IS NULL")
	if err != nil {
		tb.Fatal(err)
	}
	insert, err := conn.PrepareContext(ctx, "INSERT INTO tokens (hash) VALUES (?)")
	if err != nil {
		tb.Fatal(err)
	}
	g := &groupCommit{queue: make(chan *spending, 1024)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for first := range g.queue {
			group := []*spending{first}
			for len(group) < 256 {
				select {
				case next := <-g.queue:
					group = append(group, next)
					continue
				default:
				}
				break
			}
			good := commit(ctx, conn, spend, insert, group)
			for _, s := range group {
				s.done <- good
			}
		}
	}()
	tb.Cleanup(func() {
		close(g.queue)
		<-stopped
		_ = conn.Close()
		_ = db.Close()
	})
	return g
}

func commit(ctx context.Context, conn *sql.Conn, spend, insert *sql.Stmt, group []*spending) bool {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return false
	}
	for _, s := range group {
		if s.old != ([32]byte{}) {
			res, err := spend.ExecContext(ctx, time.Now().UnixMicro(), s.old[:])
			if err != nil {
				return false
			}
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				return false
			}
		}
		if _, err := insert.ExecContext(ctx, s.next[:]); err != nil {
			return false
		}
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err == nil
}

func (g *groupCommit) spend(old, next [32]byte) bool {
	s := &spending{old, next, make(chan bool, 1)}
	g.queue <- s
	return <-s.done
}

// plainPostgres is the floor's PostgreSQL: one statement that spends and inserts.
type plainPostgres struct{ pool *pgxpool.Pool }

func newPlainPostgres(tb testing.TB, address string) *plainPostgres {
	tb.Helper()
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	if _, err := pool.Exec(ctx, "CREATE TABLE floor_tokens (hash BYTEA PRIMARY KEY, used_at BIGINT)"); err != nil {
		tb.Fatal(err)
	}
	return &plainPostgres{pool}
}

func (p *plainPostgres) spend(old, next [32]byte) bool {
	ctx := context.Background()
	if old == ([32]byte{}) {
		_, err := p.pool.Exec(ctx, "INSERT INTO floor_tokens (hash) VALUES ($1)", next[:])
		return err == nil
	}
	tag, err := p.pool.Exec(ctx, `WITH spent AS (UPDATE floor_tokens SET used_at = $1 WHERE hash = $2 AND used_at IS NULL RETURNING 1)
		INSERT INTO floor_tokens (hash) SELECT $3 FROM spent`, time.Now().UnixMicro(), old[:], next[:])
	if err != nil {
		fmt.Println(err)
	}
	return err == nil && tag.RowsAffected() == 1
}
