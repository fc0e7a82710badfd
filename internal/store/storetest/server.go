package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// ServerVariable names the URL of a PostgreSQL server to use; without it each test process makes one of its own.
const ServerVariable = "GATEHOUSE_TEST_POSTGRES"

const (
	missing = "these tests need a PostgreSQL server, 15 or newer: run \"apt-get install postgresql\", or put its programs on the PATH, or name a server in " + ServerVariable
	// startLimit is for a machine that is busy with other tests; alone it takes a second.
	startLimit = 2 * time.Minute
)

var (
	schemas atomic.Int64
	server  = sync.OnceValues(startServer)
)

// PostgresURL gives a URL whose schema is fresh and empty, dropped when the test ends.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	base, err := server()
	if err != nil {
		tb.Fatal(err)
	}
	schema := fmt.Sprintf("t%d_%d", os.Getpid(), schemas.Add(1))
	run := func(statement string) error {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		conn, err := pgx.Connect(ctx, base)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, statement)
		return err
	}
	if err := run(`CREATE SCHEMA ` + schema); err != nil {
		tb.Fatalf("make a schema: %v", err)
	}
	tb.Cleanup(func() {
		if os.Getenv(ServerVariable) == "" {
			return // the server ends with this process
		}
		if err := run(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			tb.Errorf("drop the schema: %v", err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatalf("%s is not a URL", ServerVariable)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// startServer gives the URL of a server, and makes the server if none is named.
func startServer() (string, error) {
	if named := os.Getenv(ServerVariable); named != "" {
		return named, nil
	}
	bin, err := findServer()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "pg") // short, for a socket's path has at most 107 bytes
	if err != nil {
		return "", err
	}
	as := unprivileged(dir)
	// The collation is not "C" on purpose: an order that depends on it would differ from SQLite's, and a test should see that.
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "gatehouse", "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	sync := "off"
	if os.Getenv("GATEHOUSE_TEST_FSYNC") == "on" {
		sync = "on"
	}
	// A shell holds the server: it waits for our end of a pipe to close, which happens however this process ends, and then
	// ends the server and removes its files.
	keeper := exec.Command("/bin/sh", "-c", `"$@" >"$0/log" 2>&1 & pid=$!; read -r _; kill -QUIT $pid; wait $pid; rm -rf "$0"`,
		dir, filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-c", "listen_addresses=",
		"-c", "unix_socket_directories="+dir, "-c", "max_connections=400", "-c", "shared_buffers=64MB",
		"-c", "fsync="+sync, "-c", "full_page_writes="+sync, "-c", "synchronous_commit="+sync)
	keeper.Dir, keeper.SysProcAttr = dir, as
	if _, err = keeper.StdinPipe(); err != nil {
		return "", err
	}
	if err := keeper.Start(); err != nil {
		return "", err
	}
	go func() { _ = keeper.Wait() }() // it holds our end of the pipe, which must not be collected while the process lives
	base := "postgres://gatehouse@/postgres?host=" + url.QueryEscape(dir)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, base)
		if err == nil {
			return base, conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return "", fmt.Errorf("the PostgreSQL server did not start: %w\n%s", err, bytes.TrimSpace(log))
		}
	}
}

// findServer gives the directory of the newest PostgreSQL programs. Debian keeps them off the PATH.
func findServer() (string, error) {
	candidates, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	more, _ := filepath.Glob("/usr/pgsql-*/bin")
	candidates = append(candidates, more...)
	slices.SortFunc(candidates, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			candidates = append([]string{filepath.Dir(path)}, candidates...)
		}
	}
	for _, dir := range candidates {
		out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
		if len(fields) > 2 {
			if major, _, _ := strings.Cut(fields[2], "."); atoi(major) >= 15 {
				return dir, nil
			}
		}
	}
	return "", errors.New(missing)
}

// version is the number in a path like /usr/lib/postgresql/15/bin.
func version(dir string) int {
	return atoi(strings.TrimLeft(filepath.Base(filepath.Dir(dir)), "pgsql-"))
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
