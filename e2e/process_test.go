package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/cli"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
)

const (
	// asBinary makes this test program be the gatehouse binary, so that what is tested is built once and with the race detector.
	asBinary = "GATEHOUSE_TEST_AS_BINARY"
	// asCloud makes it be somebody else's Nx Cloud.
	asCloud = "GATEHOUSE_TEST_AS_CLOUD"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCloud) != "" {
		if err := nxcloudtest.Main(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if os.Getenv(asBinary) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Run(ctx, os.Args[1:], cli.Process{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()})
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// house is where the processes of one test keep their store, and how they are configured.
type house struct {
	t   *testing.T
	env []string
	dir string
}

func newHouse(t *testing.T, env ...string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.env = append([]string{
		asBinary + "=1", "GATEHOUSE_DATA=" + h.dir, "GATEHOUSE_LISTEN=127.0.0.1:0", "GATEHOUSE_PASSWORD_MEMORY_KIB=7168",
		"GATEHOUSE_PASSWORD_ITERATIONS=1", "GORACE=atexit_sleep_ms=0", "HOME=" + h.dir, "PATH=" + os.Getenv("PATH"),
	}, env...)
	return h
}

func (h *house) command(args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := myself(h.t, args...)
	cmd.Env = h.env
	return cmd
}

// myself runs this test program again, as what its environment says.
func myself(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self, args...)
}

// run runs a command to its end.
func (h *house) run(stdin string, args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := h.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (h *house) must(stdin string, args ...string) string {
	h.t.Helper()
	out, errs, code := h.run(stdin, args...)
	if code != 0 {
		h.t.Fatalf("gatehouse %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// node is a serving process.
type node struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{}
}

var serving = regexp.MustCompile(`msg=serving address=(\S+)`)

// serve starts a node and waits until it says that it serves.
func (h *house) serve(args ...string) *node {
	h.t.Helper()
	n := &node{t: h.t, cmd: h.command(append([]string{"serve"}, args...)...), done: make(chan struct{})}
	pipe, err := n.cmd.StderrPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	up := make(chan string, 1)
	go func() {
		defer close(n.done)
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			n.mu.Lock()
			n.log.WriteString(lines.Text() + "\n")
			n.mu.Unlock()
			if m := serving.FindStringSubmatch(lines.Text()); m != nil {
				up <- m[1]
			}
		}
	}()
	h.t.Cleanup(n.kill)
	select {
	case address := <-up:
		n.base = "http://" + address
	case <-n.done:
		h.t.Fatalf("the node ended before it served:\n%s", n.logged())
	case <-time.After(time.Minute):
		h.t.Fatalf("the node does not serve:\n%s", n.logged())
	}
	return n
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// kill ends the process at once, as a power cut would.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.done
	_ = n.cmd.Wait()
}

// stop ends it in good order.
func (n *node) stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	<-n.done
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("the node stopped with %v\n%s", err, n.logged())
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) get(t *testing.T, name string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		t.Fatalf("%v in %d %s", err, a.status, a.text)
	}
	s, _ := v[name].(string)
	return s
}

// call sends a request; err is set where no answer came.
func (n *node) call(method, path, bearer, contentType, body string) (answer, error) {
	r, err := http.NewRequest(method, n.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}, err
}

func (n *node) mustCall(method, path, bearer, contentType, body string) answer {
	n.t.Helper()
	a, err := n.call(method, path, bearer, contentType, body)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", method, path, err, n.logged())
	}
	return a
}

const jsonType = "application/json"

// signIn goes through the Nx door.
func (n *node) signIn(login, password string) (access, refresh string, err error) {
	a, err := n.call("POST", "/auth/authenticate/signin", "", jsonType, fmt.Sprintf(`{"Username":%q,"Password":%q,"KeepLoggedIn":true}`, login, password))
	if err != nil {
		return "", "", err
	}
	if a.status != http.StatusOK {
		return "", "", fmt.Errorf("sign-in answered %d %s", a.status, a.text)
	}
	return a.get(n.t, "AccessToken"), a.get(n.t, "RefreshToken"), nil
}

// signOut ends the session.
func (n *node) signOut(access string) error {
	a, err := n.call("POST", "/auth/authenticate/signout", access, "", "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("sign-out answered %d %s", a.status, a.text)
	}
	return err
}

// accepts says whether the node takes an Nx access token.
func (n *node) accepts(access string) bool {
	n.t.Helper()
	a := n.mustCall("GET", "/auth/configuration", access, "", "")
	if a.status != http.StatusOK && a.status != http.StatusUnauthorized {
		n.t.Fatalf("the token gives %d %s", a.status, a.text)
	}
	return a.status == http.StatusOK
}

// until waits for a condition, and says how long that took.
func until(t *testing.T, limit time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(began)
}

const sampleWorld = `
organisations: [{key: acme, name: ACME, sites: [{key: berlin, name: BERLIN}]}]
subjects:
  - {email: ada@example.test, name: Ada, password: "canary-password-ada-91", memberships: [{organisation: acme}]}
  - {email: bob@example.test, name: Bob, password: "canary-password-bob-92", memberships: [{organisation: acme}], factors: {totp: JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP}}
clients:
  - {id: fixstreamapp, secret: canary-client-secret-93, grants: [password, refresh_token], scopes: [read, write, trust]}
`

func (h *house) world(text string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, "world.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return file
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
