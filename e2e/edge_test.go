package e2e_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	quayCamera  = "5a1d9b7e-3b0e-4a49-8d53-8f9f0a2c7c44" // of docs/licences.md
	otherCamera = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a02"
)

// desk is where somebody sits who follows docs/licences.md: files beside a house, and the same files on a box without one.
type desk struct {
	*house
	files string
}

// gatehouse runs a command among the files.
func (d *desk) gatehouse(env []string, args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	cmd := d.command(args...)
	cmd.Env = append(slices.Clone(cmd.Env), env...)
	cmd.Dir = d.files
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// verify runs a check on the box, where there is no house.
func (d *desk) verify(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	nowhere := filepath.Join(d.files, "no-house-here")
	stdout, stderr, code = d.gatehouse([]string{"GATEHOUSE_DATA=" + nowhere, "GATEHOUSE_ISSUER="}, append([]string{"licence", "verify"}, args...)...)
	if _, err := os.Stat(nowhere); !errors.Is(err, fs.ErrNotExist) {
		d.t.Errorf("a check made a house, %v", err)
	}
	return stdout, stderr, code
}

func (d *desk) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.files, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.files, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// keep runs a command whose answer goes to a file.
func (d *desk) keep(name string, args ...string) string {
	d.t.Helper()
	out, errs, code := d.gatehouse(nil, args...)
	if code != 0 {
		d.t.Fatalf("gatehouse %s: exit %d\n%s", strings.Join(args, " "), code, errs)
	}
	d.write(name, out)
	return strings.TrimSpace(out)
}

// workedExample gives the world of docs/licences.md and its console, with ends that no calendar reaches.
func workedExample(t *testing.T) (world, console string) {
	t.Helper()
	text, err := os.ReadFile("../docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## On the server\n")
	section, _, found := strings.Cut(section, "\n### What to know\n")
	blocks := regexp.MustCompile("(?s)```(yaml|console)\n(.*?)```").FindAllStringSubmatch(section, -1)
	if !found || len(blocks) < 5 {
		t.Fatalf("docs/licences.md has another form: %d blocks", len(blocks))
	}
	later := strings.NewReplacer("2027-06-30", "2097-06-30", "2028-06-30", "2098-06-30")
	for _, b := range blocks {
		if b[1] == "yaml" {
			world += later.Replace(b[2])
		} else {
			console += later.Replace(b[2])
		}
	}
	return world, console
}

var (
	aCommand  = regexp.MustCompile(`(?m)^\$ gatehouse (.*)\n((?:[^$\n].*\n|\n)*)`)
	aWord     = regexp.MustCompile(`"[^"]*"|\S+`)
	anInstant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	anID      = regexp.MustCompile(`\b01[0-9a-f]{6}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
)

// says compares what was printed with what the document shows: ids that the house made, and instants, are others each time, and … is
// whatever stands there.
func says(printed, shown string) bool {
	pattern := regexp.QuoteMeta(anID.ReplaceAllString(anInstant.ReplaceAllString(shown, "<instant>"), "<id>"))
	pattern = strings.ReplaceAll(pattern, "…\n", `(?s:.*)`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(anID.ReplaceAllString(anInstant.ReplaceAllString(printed, "<instant>"), "<id>"))
}

// The worked example of docs/licences.md, word for word, by the binary; then what it leaves to the reader's imagination: the time
// passes, lists come in the wrong order, documents are tampered with, and a program of somebody else's checks them.
func TestLicenceOnAnEdgeBox(t *testing.T) {
	world, console := workedExample(t)
	h := newHouse(t, "GATEHOUSE_ISSUER=https://id.example.test")
	d := &desk{h, t.TempDir()}
	d.write("world.yaml", world)
	commands := aCommand.FindAllStringSubmatch(console, -1)
	if n := strings.Count(console, "$ gatehouse"); n != len(commands) || n < 10 {
		t.Fatalf("%d commands of %d", len(commands), n)
	}
	for _, c := range commands {
		line, file, kept := strings.Cut(c[1], " > ")
		var args []string
		for _, word := range aWord.FindAllString(line, -1) {
			args = append(args, strings.Trim(word, `"`))
		}
		var out, errs string
		if strings.HasPrefix(line, "licence verify") {
			out, errs, _ = d.verify(args[2:]...)
		} else {
			out, errs, _ = d.gatehouse(nil, args...)
		}
		if kept {
			d.write(file, out)
			out = ""
		}
		if !says(out+errs, c[2]) {
			t.Errorf("$ gatehouse %s\n%s%swhere the document shows\n%s", c[1], out, errs, c[2])
		}
	}
	if t.Failed() {
		return
	}

	binding := []string{"--keys", "keys.json", "--device", quayCamera}
	expect := func(what string, code int, want string, args ...string) {
		t.Helper()
		out, errs, got := d.verify(append(args, binding...)...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", what, got, code, want, out, errs)
		}
	}
	var claims struct {
		State       string
		ExpiresAt   time.Time `json:"lease_end"`
		GraceEndsAt time.Time `json:"grace_end"`
	}
	out, _, _ := d.verify(append([]string{"camera-1.licence", "--json"}, binding...)...)
	if err := json.Unmarshal([]byte(out), &claims); err != nil || claims.State != "valid" || claims.ExpiresAt.IsZero() || claims.GraceEndsAt.IsZero() {
		t.Fatalf("%v in %s", err, out)
	}
	at := func(when time.Time) string { return "--at=" + when.Format(time.RFC3339) }
	expect("in the grace", 0, "in grace", "camera-1.licence", at(claims.ExpiresAt.Add(time.Hour)))
	expect("after the grace", 1, "lease and grace are over", "camera-1.licence", at(claims.GraceEndsAt.Add(time.Hour)))

	// Given back, it yields documents that count again; a list that is carried in the wrong order counts no more.
	d.keep("one", "licence", "revocations")
	d.write("again.yaml", strings.Replace(world, "key: quay,", "key: quay, revoked: false,", 1)) // and ends earlier again: what is out promises too much
	d.keep("applied", "apply", "-f", "again.yaml")
	d.keep("renewed.licence", "licence", "issue", "quay")
	d.keep("keys.json", "key", "jwks")
	expect("a document of after the revocation", 0, "valid", "renewed.licence", "--revocations=one", "--state=box")
	expect("the one of before", 1, "revoked", "camera-1.licence", "--revocations=one", "--state=box")
	d.keep("revoked", "licence", "revoke", "quay", "--reason=again")
	d.keep("two", "licence", "revocations")
	expect("taken back", 1, "revoked", "renewed.licence", "--revocations=two", "--state=box")
	expect("the older list", 1, "older revocation list than seen", "renewed.licence", "--revocations=one", "--state=box")
	expect("no list any more", 1, "older revocation list than seen", "renewed.licence", "--state=box")
	if err := os.Remove(filepath.Join(d.files, "box")); err != nil {
		t.Fatal(err)
	}
	expect("a box that has forgotten", 0, "valid", "renewed.licence", "--revocations=one", "--state=box")

	// A clock that runs ahead and is set back.
	expect("a clock ahead", 0, "valid", "renewed.licence", "--state=clock", at(time.Now().Add(48*time.Hour)))
	expect("set back", 1, "the clock is behind a time known past", "renewed.licence", "--state=clock")

	// Tampered with; the tests of verify/licence have many more.
	parts := strings.Split(strings.TrimSpace(d.read("renewed.licence")), ".")
	decode := func(part string) string {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	header, payload := decode(parts[0]), decode(parts[1])
	stranger := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	resigned := func(header, payload string) string {
		input := encode(header) + "." + encode(payload)
		return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(stranger, []byte(input)))
	}
	forDevice := strings.Replace(payload, quayCamera, otherCamera, 1)
	for what, tt := range map[string]struct{ document, want string }{
		"for another device":   {parts[0] + "." + encode(forDevice) + "." + parts[2], "signature"},
		"signed by a stranger": {resigned(header, payload), "signature"},
		"signed by nobody":     {encode(strings.Replace(header, "EdDSA", "none", 1)) + "." + parts[1] + ".", "not signed with EdDSA"},
		"a revocation list":    {strings.TrimSpace(d.read("two")), "type"},
	} {
		if tt.document == strings.Join(parts, ".") {
			t.Fatalf("%s: nothing is altered", what)
		}
		d.write("tampered", tt.document+"\n")
		expect(what, 1, tt.want, "tampered")
	}
	d.write("tampered", fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"mine","x":%q}]}`, encode(string(stranger.Public().(ed25519.PublicKey)))))
	if _, errs, code := d.verify("renewed.licence", "--keys=tampered", "--device="+quayCamera); code != 1 || !strings.Contains(errs, "key") {
		t.Errorf("with a stranger's keys: exit %d, %s", code, errs)
	}

	d.edgeProgram(claims.ExpiresAt)
}

// edgeProgram builds the example of verify/licence with nothing else of this module, and with the clock of a real box, and gives it what
// the house printed.
func (d *desk) edgeProgram(ends time.Time) {
	t := d.t
	module := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("../verify/licence", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	sources, err := filepath.Glob("../verify/licence/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if name := filepath.Base(source); !strings.HasSuffix(name, "_test.go") {
			put("verify/licence/"+name, get(name))
		}
	}
	put("go.mod", "module gatehouse\n\ngo 1.26\n")
	program, _, _ := strings.Cut(get("example_test.go"), "// A revocation list arrives")
	for old, new := range map[string]string{
		"package licence_test": "package main", "func Example()": "func main()",
		"func() time.Time { return time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC) }, // time.Now in a real box": "time.Now,",
	} {
		if strings.Count(program, old) != 1 {
			t.Fatalf("the example has another form: no %q", old)
		}
		program = strings.Replace(program, old, new, 1)
	}
	put("box/main.go", program)
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = module
		// No other module can be had, so whatever is not in Go itself would be missed.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("go", "build", "-o", "box/box", "./box")
	for _, imported := range strings.Fields(run("go", "list", "-deps", "./box")) {
		if imported == "net" || strings.HasPrefix(imported, "net/") {
			t.Errorf("what is to work without a network imports %s", imported)
		}
	}
	put("testdata/keys.json", d.read("keys.json"))
	put("testdata/camera-1.licence", d.read("camera-1.licence")) // the box has not heard of the revocation
	if out, want := run("./box/box"), "Edge Pro is valid until "+ends.Format(time.DateOnly)+"\ninference: true\n"; out != want {
		t.Errorf("the box says %q, want %q", out, want)
	}
}
