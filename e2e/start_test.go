package e2e_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A start that cannot succeed says in one line what is wrong and what to do, and damages nothing.
func TestStartsThatCannotSucceed(t *testing.T) {
	oneLine := func(t *testing.T, h *house, code int, want string, args ...string) {
		t.Helper()
		out, errs, got := h.run("", args...)
		lines := strings.Split(strings.TrimSpace(errs), "\n")
		if got != code || len(lines) != 1 || !strings.Contains(errs, want) {
			t.Errorf("exit %d, want %d; stderr\n%swant one line with %q\nstdout %s", got, code, errs, want, out)
		}
	}
	t.Run("second serve on one directory", func(t *testing.T) {
		h := newHouse(t)
		n := h.serve()
		oneLine(t, h, 1, "stop it first", "serve")
		h.must("some long password", "user", "add", "ada@example.test", "--superadmin", "--password-stdin") // other verbs do work beside it
		if _, _, err := n.signIn("ada@example.test", "some long password"); err != nil {
			t.Error(err)
		}
	})
	t.Run("newer schema", func(t *testing.T) {
		h := newHouse(t)
		h.must("", "user", "add", "ada@example.test")
		db, err := sql.Open("sqlite", filepath.Join(h.dir, "gatehouse.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		oneLine(t, h, 1, "newer", "serve")
	})
	t.Run("unreachable database", func(t *testing.T) {
		h := newHouse(t, "GATEHOUSE_DATABASE=postgres://nobody@127.0.0.1:1/nothing?connect_timeout=2", "GATEHOUSE_MASTER_KEY=YSBtYXN0ZXIga2V5IG9mIDMyIGJ5dGVzLCBzaGFyZWQ=")
		oneLine(t, h, 1, "127.0.0.1", "serve")
	})
	t.Run("directory is a file", func(t *testing.T) {
		h := newHouse(t)
		file := filepath.Join(h.dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h.env = append(h.env, "GATEHOUSE_DATA="+file)
		oneLine(t, h, 1, "GATEHOUSE_DATA", "serve")
	})
	t.Run("address taken", func(t *testing.T) {
		h := newHouse(t)
		n := h.serve()
		other := newHouse(t, "GATEHOUSE_LISTEN="+strings.TrimPrefix(n.base, "http://"))
		oneLine(t, other, 1, "cannot listen", "serve")
	})
	t.Run("unknown setting", func(t *testing.T) {
		h := newHouse(t, "GATEHOUSE_LISTN=127.0.0.1:0")
		oneLine(t, h, 2, "GATEHOUSE_LISTEN", "serve")
	})
	t.Run("another master key", func(t *testing.T) {
		h := newHouse(t)
		h.must("", "user", "add", "ada@example.test")
		h.env = append(h.env, "GATEHOUSE_MASTER_KEY=YW5vdGhlciBtYXN0ZXIga2V5IG9mIDMyIGJ5dGVzLi4=")
		oneLine(t, h, 1, "master key", "serve")
	})
}

// A fresh house has nobody in it, says so, and lets nobody in (P13).
func TestFreshHouseIsEmpty(t *testing.T) {
	h := newHouse(t)
	n := h.serve()
	if !strings.Contains(n.logged(), "gatehouse user add EMAIL --superadmin") {
		t.Errorf("the log does not say how to make an administrator:\n%s", n.logged())
	}
	for _, guess := range [][2]string{{"admin", "admin"}, {"root", "root"}, {"tip@ucentral.com", "openwifi"}, {"admin@localhost", "password"}} {
		if _, _, err := n.signIn(guess[0], guess[1]); err == nil {
			t.Errorf("%s signs in to a fresh house", guess[0])
		}
	}
	got := n.mustCall("POST", "/oauth/token", "", "application/x-www-form-urlencoded", form("grant_type", "password", "username", "a", "password", "b", "client_id", "fixstreamapp", "client_secret", "fixstream"))
	if got.status != 401 {
		t.Errorf("the public client is there without having been made: %d %s", got.status, got.text)
	}
	if out := h.must("", "user", "list", "--json"); out != "" {
		t.Errorf("a fresh house has %s", out)
	}
}
