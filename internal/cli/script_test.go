package cli

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/internal/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatehouse": func() { os.Exit(Main()) }})
}

// cheap makes password hashes quick, and keeps the race detector from sleeping for a second at each process's end.
var cheap = []string{"GATEHOUSE_PASSWORD_MEMORY_KIB=7168", "GATEHOUSE_PASSWORD_ITERATIONS=1", "GORACE=atexit_sleep_ms=0"}

var update = flag.Bool("update", false, "write what scripts compare with cmp")

// scripts runs what testdata describes against the real binary.
func scripts(t *testing.T, p testscript.Params, environ ...string) {
	p.Setup = func(env *testscript.Env) error {
		env.Vars = append(env.Vars, "GATEHOUSE_DATA="+filepath.Join(env.WorkDir, "data"), "GATEHOUSE_LISTEN=127.0.0.1:0", "SUDO_USER=")
		env.Vars = append(append(env.Vars, cheap...), environ...)
		env.Values[running] = processes{}
		return nil
	}
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "serve": serve, "halt": halt, "post": post, "keep": keep, "jsonlines": jsonLines, "sealed": sealed, "tamper": tamper,
		"occupy": occupy,
	}
	p.UpdateScripts = *update
	testscript.Run(t, p)
}

func TestScripts(t *testing.T) { scripts(t, testscript.Params{Dir: "testdata"}) }

// The same words on the other engine, for the verbs whose answers come from the store.
func TestScriptsOnPostgreSQL(t *testing.T) {
	for _, name := range []string{"user", "world", "client", "session", "empty", "licence"} {
		t.Run(name, func(t *testing.T) {
			scripts(t, testscript.Params{Files: []string{filepath.Join("testdata", name+".txtar")}},
				"GATEHOUSE_DATABASE="+storetest.PostgresURL(t), "GATEHOUSE_MASTER_KEY=YSBtYXN0ZXIga2V5IG9mIDMyIGJ5dGVzLCBzaGFyZWQ=")
		})
	}
}

// exits runs a program and wants this very exit code: `exits 2 gatehouse usr`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}

// processes are a script's serving nodes and demos, by name.
type processes map[string]*process

// running is where a script keeps them.
const running = "running"

type process struct {
	*exec.Cmd
	out  *lines
	done chan struct{}
}

// lines is what a process printed, to wait on.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.grew <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// begin starts a command with the environment given and waits until it prints a match.
func begin(env []string, dir string, want *regexp.Regexp, name string, args ...string) (*process, []string, error) {
	p := &process{Cmd: exec.Command(name, args...), out: &lines{grew: make(chan struct{}, 1)}, done: make(chan struct{})}
	p.Env, p.Dir, p.Stdout, p.Stderr = env, dir, p.out, p.out
	if err := p.Start(); err != nil {
		return nil, nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.Wait()
	}()
	for limit := time.After(time.Minute); ; {
		if found := want.FindStringSubmatch(p.out.String()); found != nil {
			return p, found, nil
		}
		select {
		case <-p.out.grew:
		case <-p.done:
			return nil, nil, fmt.Errorf("ended before it printed %s:\n%s", want, p.out)
		case <-limit:
			_ = p.Process.Kill()
			return nil, nil, fmt.Errorf("did not print %s:\n%s", want, p.out)
		}
	}
}

var (
	servingLine = regexp.MustCompile(`msg=serving address=(\S+)`)
	openLine    = regexp.MustCompile(`stays open on http://(\S+) until`)
)

// serve starts `gatehouse serve` or `gatehouse demo` under a name, and sets $name to its base URL: `serve node serve --world w.yaml`.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve NAME serve|demo ARGUMENT…")
	}
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "GATEHOUSE_DATA", "GATEHOUSE_LISTEN", "GATEHOUSE_DATABASE", "GATEHOUSE_MASTER_KEY",
		"GATEHOUSE_PASSWORD_MEMORY_KIB", "GATEHOUSE_PASSWORD_ITERATIONS", "GORACE",
	} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	want := servingLine
	if args[1] == "demo" {
		want = openLine
	}
	binary, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "gatehouse"))
	ts.Check(err)
	p, found, err := begin(env, ts.MkAbs("."), want, binary, args[1:]...)
	ts.Check(err)
	ts.Defer(func() {
		_ = p.Process.Kill()
		<-p.done
	})
	ts.Value(running).(processes)[args[0]] = p
	ts.Setenv(args[0], "http://"+found[1])
}

// halt ends one in good order, and keeps what it printed in a file of its name.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: halt NAME SIGTERM|SIGINT")
	}
	p := ts.Value(running).(processes)[args[0]]
	signal := map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt}[args[1]]
	ts.Check(p.Process.Signal(signal))
	<-p.done
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".log"), []byte(p.out.String()), 0o600))
	if !p.ProcessState.Success() {
		ts.Fatalf("%s: %v\n%s", args[0], p.ProcessState, p.out)
	}
}

// post sends JSON and shows the answer: `post $node/auth/authenticate/signin {"Username":…}`. What it prints can be matched.
func post(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: post URL JSON")
	}
	res, err := http.Post(args[0], "application/json", strings.NewReader(args[1]))
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", res.Status, text)
	if ok := res.StatusCode < 400; ok == neg {
		ts.Fatalf("%s\n%s", res.Status, text)
	}
}

// keep sets a variable to the first group of an expression in the last output: `keep id '"id":"([^"]+)"'`.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME EXPRESSION")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("the output has no %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// jsonLines wants so many lines, each one JSON object: `jsonlines 3`.
func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jsonlines NUMBER")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("not an object: %s%v", line, err)
		}
		n++
	}
	if n != want {
		ts.Fatalf("%d lines, want %d", n, want)
	}
}

func database(ts *testscript.TestScript) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(ts.Getenv("GATEHOUSE_DATA"), "gatehouse.db")+"?_pragma=busy_timeout(10000)")
	ts.Check(err)
	return db
}

// sealed waits until a serving node has sealed every row.
func sealed(ts *testscript.TestScript, neg bool, args []string) {
	db := database(ts)
	defer db.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		var open int
		ts.Check(db.QueryRow(`SELECT COUNT(*) FROM events WHERE position = 0`).Scan(&open))
		if open == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			ts.Fatalf("%d rows are not sealed", open)
		}
	}
}

// tamper does to the audit log what somebody with the database file could do: change, remove or insert the row at position 2.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper change|remove|insert")
	}
	db := database(ts)
	defer db.Close()
	do := map[string][]string{
		"change": {`UPDATE events SET outcome = 'forged' WHERE position = 2`},
		"remove": {`DELETE FROM events WHERE position = 2`},
		"insert": {
			// In two steps, because positions are unique.
			`UPDATE events SET position = position + 1000000 WHERE position >= 2`,
			`UPDATE events SET position = position - 999999 WHERE position > 1000000`,
			`INSERT INTO events (id, at, action, outcome, actor_id, subject_id, session_id, client_id, organisation_id, door, address, request_id, detail, position, chain)
				SELECT 'forged', at, action, outcome, actor_id, subject_id, session_id, client_id, organisation_id, door, address, request_id, detail, 2, chain
				FROM events WHERE position = 1`,
		},
	}[args[0]]
	for _, statement := range do {
		_, err := db.Exec(statement)
		ts.Check(err)
	}
}

// occupy holds a port that nobody else can take then, and names it: `occupy ADDRESS`.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// A node that waits for a request to end can still be ended at once: the second SIGTERM does it.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "gatehouse") // the test program is gatehouse when it is called so
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	p, found, err := begin(append(os.Environ(), append(cheap, "GATEHOUSE_DATA="+t.TempDir(), "GATEHOUSE_LISTEN=127.0.0.1:0", "GATEHOUSE_SHUTDOWN_GRACE=10m")...),
		"", servingLine, name, "serve")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = p.Process.Kill()
		<-p.done
	}()
	slow, err := net.Dial("tcp", found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// A request whose body does not come: the node waits for it, and has begun to when it says 100 Continue.
	fmt.Fprint(slow, "POST /auth/authenticate/signin HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	if _, err := io.ReadFull(slow, make([]byte, len("HTTP/1.1 100"))); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for closed := false; !closed; <-tick.C { // it has heard the first signal when nobody new is let in
		conn, err := net.Dial("tcp", found[1])
		if closed = err != nil; !closed {
			_ = conn.Close()
		}
	}
	for ended := false; !ended; {
		_ = p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			ended = true
		case <-tick.C:
		}
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v\n%s", p.ProcessState, p.out)
	}
}
