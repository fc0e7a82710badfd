// Package cli is the command line: each subcommand reads its arguments, calls one verb of the core, and prints. It works beside
// running nodes, which notice through the change feed.
package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

// Exit codes.
const (
	done    = 0
	refused = 1
	misused = 2
)

// Process is what a command has of the process that it runs in.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
}

// Main runs the command that this process was started for and gives its exit code. The first interrupt or SIGTERM asks the
// command to end in order; a second one ends the process at once.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return Run(ctx, os.Args[1:], Process{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()})
}

// grammar is everything that can be said.
type grammar struct {
	kong.Plugins

	Serve serveCmd `cmd:"" group:"Run" help:"Run one node."`
	Demo  demoCmd  `cmd:"" group:"Run" help:"Walk every door once with a sample world, then keep a server to play with."`

	Apply  applyCmd  `cmd:"" group:"Describe the world in a file" help:"Make the store match a world file."`
	Plan   planCmd   `cmd:"" group:"Describe the world in a file" help:"Show what apply would change, and change nothing."`
	Export exportCmd `cmd:"" group:"Describe the world in a file" help:"Print the world as such a file, secrets as hashes."`

	User      userCmd      `cmd:"" group:"Look after it" help:"People and machines."`
	Org       orgCmd       `cmd:"" group:"Look after it" help:"Organisations."`
	Client    clientCmd    `cmd:"" group:"Look after it" help:"OAuth clients."`
	Licence   licenceCmd   `cmd:"" group:"Look after it" help:"Who may use what, until when, on which devices."`
	Agreement agreementCmd `cmd:"" group:"Look after it" help:"What licences are of."`
	Device    deviceCmd    `cmd:"" group:"Look after it" help:"Devices that licences name."`
	Provider  providerCmd  `cmd:"" group:"Look after it" help:"Identity providers."`
	Session   sessionCmd   `cmd:"" group:"Look after it" help:"Who is signed in."`
	Recovery  recoveryCmd  `cmd:"" group:"Look after it" help:"Who lost a second factor."`
	Key       keyCmd       `cmd:"" group:"Look after it" help:"Signing keys."`
	Outbox    outboxCmd    `cmd:"" group:"Look after it" help:"Messages on their way out."`
	Audit     auditCmd     `cmd:"" group:"Look after it" help:"The audit log."`

	Doctor     doctorCmd     `cmd:"" group:"Understand it" help:"Check configuration, store, keys and delivery, and say what to do."`
	Explain    explainCmd    `cmd:"" group:"Understand it" help:"What is in force, and why."`
	Migrate    migrateCmd    `cmd:"" group:"Understand it" help:"Bring the store's schema up to date, as serve does at its start."`
	Completion completionCmd `cmd:"" group:"Understand it" help:"Print the completion script of a shell."`
	Version    versionCmd    `cmd:"" group:"Understand it" help:"Print the version."`
	Complete   completeCmd   `cmd:"" hidden:"" name:"__complete"`
}

// newParser gives the grammar with every setting as a flag, and how to read which were given.
func newParser(p Process, exit func(int)) (*kong.Kong, func() map[string]string, error) {
	var g grammar
	flags, given := config.Flags()
	g.Plugins = kong.Plugins{flags}
	parser, err := kong.New(&g,
		kong.Name("gatehouse"),
		kong.Description("One identity server for the auth APIs that your clients already speak."),
		kong.Writers(p.Out, p.Err),
		kong.Exit(exit),
		kong.Help(printHelp(p.Environ)),
	)
	if err != nil {
		return nil, nil, err
	}
	// The settings are many: `gatehouse explain config --docs` is their place, and not each command's help.
	for _, f := range parser.Model.Flags {
		switch f.Name {
		case "help":
			f.Help = "Print this."
		case "config":
		case "data":
			f.PlaceHolder = "DIR"
		default:
			f.Hidden = true
		}
	}
	return parser, given, nil
}

// Run runs one command and gives the process's exit code: 0 done, 1 refused, 2 misused.
func Run(ctx context.Context, args []string, p Process) int {
	code := -1
	parser, given, err := newParser(p, func(c int) { code = c })
	if err != nil {
		return fail(ctx, p, err)
	}
	switch {
	case len(args) == 0:
		parser.Stdout = p.Err // who asked for nothing gets no output, but an answer
		_, _ = parser.Parse([]string{"--help"})
		return misused
	case args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	case args[0] == "--version":
		args = []string{"version"}
	}
	command, err := parser.Parse(args)
	if code >= 0 { // --help was answered
		return code
	}
	if err != nil {
		var parse *kong.ParseError
		if errors.As(err, &parse) {
			fmt.Fprintf(p.Err, "gatehouse: %s\nTry: gatehouse %s--help\n", tame(mistake(parse, parser.Model.Node)), commandOf(parse))
			return misused
		}
		return fail(ctx, p, err)
	}
	env := &environment{Process: p, ctx: ctx, given: given, parser: parser}
	return fail(ctx, p, command.Run(env))
}

// mistake gives the parser's words with arguments spelled as the help spells them.
func mistake(err *kong.ParseError, root *kong.Node) string {
	text := placeholder.ReplaceAllStringFunc(strings.ReplaceAll(err.Error(), `"`, ""), func(s string) string { return strings.ToUpper(s[1 : len(s)-1]) })
	// Settings are suggested only where there is nothing nearer: they are flags of every command, and most mean nothing to it.
	problem, suggested, ok := strings.Cut(text, ", did you mean one of ")
	if !ok {
		return text
	}
	hidden := map[string]bool{}
	for _, f := range root.Flags {
		hidden["--"+f.Name] = f.Hidden
	}
	words := strings.Split(strings.TrimSuffix(suggested, "?"), ", ")
	if near := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return hidden[w] }); len(near) > 0 {
		words = near
	}
	return problem + ", did you mean " + strings.Join(words, " or ") + "?"
}

var placeholder = regexp.MustCompile(`<[a-z-]+>`)

// commandOf names the command whose help says what was wrong.
func commandOf(err *kong.ParseError) string {
	if err.Context == nil || err.Context.Command() == "" {
		return ""
	}
	words, _, _ := strings.Cut(err.Context.Command(), " <")
	return words + " "
}

// misuse is an error of whoever typed the command.
type misuse struct{ error }

// errSilent refuses without a word: what is wrong was printed already.
var errSilent = errors.New("refused")

// fail prints an error for an operator, and gives the exit code.
func fail(ctx context.Context, p Process, err error) int {
	var m misuse
	var mistakes config.Mistakes
	switch {
	case err == nil:
		return done
	case errors.As(err, &m), errors.As(err, &mistakes):
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(p.Err, "gatehouse: %s\n", tame(strings.TrimSpace(line)))
		}
		return misused
	case errors.Is(err, errSilent):
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(p.Err, "gatehouse: interrupted")
	default:
		fmt.Fprintf(p.Err, "gatehouse: %s\n", tame(explain(err)))
	}
	return refused
}

// tame makes one line of a text that strangers or drivers had a hand in.
func tame(text string) string { return audit.Line(strings.Join(strings.Fields(text), " "), 2000) }

// explain gives the words that are meant for people where there are such, the whole chain otherwise: an operator may see it.
func explain(err error) string {
	e := identity.Describe(err)
	switch {
	case e.Kind == identity.Internal, e.Public == "", e.Err != nil:
		return err.Error()
	case e.Field == "" || strings.Contains(e.Public, e.Field):
		return e.Public
	case predicate.MatchString(e.Public):
		return e.Field + " " + e.Public // "email" "is taken"
	}
	return e.Field + ": " + e.Public
}

var predicate = regexp.MustCompile(`^(is|are|was|has|holds|must|needs|cannot|does|contains)\b`)

// environment is what a command works with.
type environment struct {
	Process
	ctx    context.Context
	given  func() map[string]string
	parser *kong.Kong
}

func (e *environment) config() (config.Config, error) {
	return config.Load(config.Sources{Flags: e.given(), Environ: e.Environ})
}

// with opens the house that stands, for one command that serves nothing. Where none does, it makes none: the directory may be
// mistyped.
func (e *environment) with(work func(*app.House) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	return e.open(cfg, true, work)
}

// making is with for the commands that a new house may begin with.
func (e *environment) making(work func(*app.House) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	return e.open(cfg, false, work)
}

func (e *environment) open(cfg config.Config, existing bool, work func(*app.House) error) (err error) {
	log := slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := app.Open(e.ctx, cfg, app.Options{Log: log, Existing: existing})
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, h.Close()) }()
	return work(h)
}

// caller is the operator at the command line, for the audit log: who and on which machine, and one id for all that this command
// does.
func (e *environment) caller() identity.Caller {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return identity.Caller{
		Door: "cli", Address: operator(e.Environ) + "@" + host, UserAgent: "gatehouse " + Version(), RequestID: "cli-" + rand.Text()[:12],
	}
}

// record writes what an operator did where no verb of the core does.
func (e *environment) record(h *app.House, entry audit.Entry) error {
	caller := e.caller()
	return h.Store.Update(e.ctx, func(tx identity.Tx) error { return h.Audit.Record(e.ctx, tx, caller, entry) })
}

// operator is the system's name for who runs this, and who she was before sudo.
func operator(environ []string) string {
	name := fmt.Sprint("uid-", os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	for _, kv := range environ {
		if before, ok := strings.CutPrefix(kv, "SUDO_USER="); ok && before != "" && before != name {
			return before + "/" + name
		}
	}
	return name
}

const maxSecret = 4 << 10

// secret reads one from standard input: arguments are visible to every user of the machine.
func (e *environment) secret(what string) (identity.Secret, error) {
	text, err := e.typed(what)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(text), "\r\n")
	switch {
	case len(text) > maxSecret, strings.ContainsAny(line, "\r\n"):
		return "", misuse{fmt.Errorf("standard input holds more than one line: give the %s alone", what)}
	case line == "":
		return "", misuse{fmt.Errorf("standard input is empty: the %s is read from there", what)}
	}
	return identity.Secret(line), nil
}

func (e *environment) typed(what string) ([]byte, error) {
	if f, ok := e.In.(*os.File); ok {
		if restore, ok := quiet(f); ok {
			defer restore()
			fmt.Fprintf(e.Err, "%s (not shown): ", what)
			defer fmt.Fprintln(e.Err)
			return e.read(firstLine{e.In})
		}
	}
	return e.read(io.LimitReader(e.In, maxSecret+2)) // with a line end
}

// read is io.ReadAll that an interrupt ends: nobody may come to type.
func (e *environment) read(from io.Reader) (text []byte, err error) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		text, err = io.ReadAll(from)
	}()
	select {
	case <-read:
		return text, err
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
}

// firstLine ends at a line's end: a terminal gives no other sign that somebody is done.
type firstLine struct{ terminal io.Reader }

func (l firstLine) Read(p []byte) (int, error) {
	n, err := l.terminal.Read(p)
	if n > 0 && p[n-1] == '\n' {
		err = io.EOF
	}
	return n, err
}
