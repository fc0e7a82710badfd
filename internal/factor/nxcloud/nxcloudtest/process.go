package nxcloudtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Described is what a cloud that is a process of its own is started with.
type Described struct {
	Listen   string // "": any port
	Accounts []Account
	Systems  []System
}

// Fault is how calls of an operation fail in a process.
type Fault struct {
	Op     Op
	Times  int // below zero: until told otherwise
	How    How
	Status int    // of Answered
	Body   string // of Answered
}

// How a call fails.
type How string

// The ways. Mended is none.
const (
	Mended    How = ""
	Answered  How = "answer"
	CutOff    How = "cut"
	KeptQuiet How = "silent"
	TooLate   How = "late" // the right answer, once Release is called
)

const control = "/control/"

// Main is the process: it reads a Described, says in a line where it listens, and serves until it is killed. Beside the cloud's
// operations it serves the methods of Process.
func Main(in io.Reader, out io.Writer) error {
	var d Described
	if err := json.NewDecoder(in).Decode(&d); err != nil {
		return err
	}
	if d.Listen == "" {
		d.Listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", d.Listen)
	if err != nil {
		return err
	}
	c := open(time.Now, d.Accounts, d.Systems)
	c.controls()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	return (&http.Server{Handler: c.mux, ReadHeaderTimeout: time.Minute}).Serve(l)
}

func (c *Cloud) controls() {
	released := make(chan struct{})
	c.mux.HandleFunc("POST "+control+"fail", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serve, known := map[How]http.HandlerFunc{
			Mended: nil, Answered: Answer(f.Status, f.Body), CutOff: Cut, KeptQuiet: c.Silent, TooLate: c.Late(f.Op, released),
		}[f.How]
		if !known {
			http.Error(w, "fails in no known way", http.StatusBadRequest)
			return
		}
		c.Fail(f.Op, f.Times, serve)
	})
	c.mux.HandleFunc("POST "+control+"release", func(http.ResponseWriter, *http.Request) { close(released) })
	c.mux.HandleFunc("POST "+control+"code", func(w http.ResponseWriter, r *http.Request) { say(w, http.StatusOK, c.Code(r.FormValue("email"))) })
	c.mux.HandleFunc("POST "+control+"kept", func(w http.ResponseWriter, r *http.Request) { say(w, http.StatusOK, c.Kept(r.FormValue("email"))) })
	c.mux.HandleFunc("POST "+control+"calls", func(w http.ResponseWriter, r *http.Request) { say(w, http.StatusOK, c.Calls(Op(r.FormValue("op")))) })
}

// Process is a cloud in a process of its own.
type Process struct {
	URL string

	tb      testing.TB
	command func() *exec.Cmd
	is      Described
	running *exec.Cmd
}

// Start runs a cloud that ends with the test. The command is of a program that calls Main.
func Start(tb testing.TB, command func() *exec.Cmd, d Described) *Process {
	tb.Helper()
	p := &Process{tb: tb, command: command, is: d}
	tb.Cleanup(p.Kill)
	p.Again()
	return p
}

// Again starts it after a Kill, at the same address and with what it was described with: what it learned since is gone.
func (p *Process) Again() {
	p.tb.Helper()
	given, err := json.Marshal(p.is)
	if err != nil {
		p.tb.Fatal(err)
	}
	cmd := p.command()
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(given), &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.tb.Fatal(err)
	}
	p.running = cmd
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Kill()
		p.tb.Fatalf("the cloud did not start: %v\n%s", err, said.String())
	}
	p.is.Listen = strings.TrimSpace(address)
	p.URL = "http://" + p.is.Listen
}

// Kill ends it at once, whatever it is doing.
func (p *Process) Kill() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Kill()
	_ = p.running.Wait()
	p.running = nil
}

// Fail is Cloud.Fail.
func (p *Process) Fail(f Fault) {
	p.tb.Helper()
	body, err := json.Marshal(f)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.control("fail", "application/json", string(body), nil)
}

// Release lets all late answers go.
func (p *Process) Release() {
	p.tb.Helper()
	p.control("release", "", "", nil)
}

// Code is Cloud.Code.
func (p *Process) Code(email string) (code string) {
	p.tb.Helper()
	p.control("code", formType, "email="+email, &code)
	return code
}

// Kept is Cloud.Kept.
func (p *Process) Kept(email string) (n int) {
	p.tb.Helper()
	p.control("kept", formType, "email="+email, &n)
	return n
}

// Calls is Cloud.Calls.
func (p *Process) Calls(op Op) (n int) {
	p.tb.Helper()
	p.control("calls", formType, "op="+string(op), &n)
	return n
}

const formType = "application/x-www-form-urlencoded"

func (p *Process) control(what, contentType, body string, answer any) {
	p.tb.Helper()
	w, err := http.Post(p.URL+control+what, contentType, strings.NewReader(body))
	if err != nil {
		p.tb.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err == nil && w.StatusCode == http.StatusOK && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || w.StatusCode != http.StatusOK {
		p.tb.Fatalf("%s: %d %s, %v", what, w.StatusCode, text, err)
	}
}
