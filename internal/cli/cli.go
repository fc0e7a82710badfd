// Package cli is the command line: each subcommand reads its arguments, calls one verb of the core, and prints. It works beside
// running nodes, which notice through the change feed.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
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

// grammar is everything that can be said.
type grammar struct {
	kong.Plugins

	Serve      serveCmd      `cmd:"" help:"Run one node."`
	Demo       demoCmd       `cmd:"" help:"Walk every door once with a sample world, then keep a server to play with."`
	Apply      applyCmd      `cmd:"" help:"Make the store match a world file."`
	Plan       planCmd       `cmd:"" help:"Show what apply would change."`
	Export     exportCmd     `cmd:"" help:"Print the world as such a file, secrets as hashes."`
	User       userCmd       `cmd:"" help:"People and machines."`
	Org        orgCmd        `cmd:"" help:"Organisations."`
	Client     clientCmd     `cmd:"" help:"OAuth clients."`
	Session    sessionCmd    `cmd:"" help:"Who is signed in."`
	Key        keyCmd        `cmd:"" help:"Signing keys."`
	Outbox     outboxCmd     `cmd:"" help:"Messages on their way out."`
	Audit      auditCmd      `cmd:"" help:"The audit log."`
	Doctor     doctorCmd     `cmd:"" help:"Check configuration, store, keys and delivery, and say what to do."`
	Explain    explainCmd    `cmd:"" help:"Print every setting, its value and where that comes from."`
	Completion completionCmd `cmd:"" help:"Print the completion script of a shell."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Complete   completeCmd   `cmd:"" hidden:"" name:"__complete"`
}

// Run runs one command and gives the process's exit code: 0 done, 1 refused, 2 misused.
func Run(ctx context.Context, args []string, p Process) int {
	var g grammar
	flags, given := config.Flags()
	g.Plugins = kong.Plugins{flags}
	code := -1
	parser, err := kong.New(&g,
		kong.Name("gatehouse"),
		kong.Description("One identity server for the auth APIs that your clients already speak."),
		kong.UsageOnError(),
		kong.Writers(p.Out, p.Err),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return fail(p, err)
	}
	hideSettings(parser)
	command, err := parser.Parse(args)
	if code >= 0 { // --help was answered
		return code
	}
	if err != nil {
		var parse *kong.ParseError
		if errors.As(err, &parse) {
			fmt.Fprintf(p.Err, "gatehouse: %v\n", err)
			fmt.Fprintf(p.Err, "Try: gatehouse %s--help\n", commandOf(parse))
			return misused
		}
		return fail(p, err)
	}
	env := &environment{Process: p, ctx: ctx, given: given, parser: parser}
	return fail(p, command.Run(env))
}

// hideSettings keeps the settings out of each command's help; `gatehouse explain config` is their place.
func hideSettings(parser *kong.Kong) {
	for _, f := range parser.Model.Flags {
		switch f.Name {
		case "config", "data", "help":
		default:
			f.Hidden = true
		}
	}
}

func commandOf(err *kong.ParseError) string {
	if err.Context == nil || err.Context.Command() == "" {
		return ""
	}
	words, _, _ := strings.Cut(err.Context.Command(), " <")
	return words + " "
}

// misuse is an error of whoever typed the command.
type misuse struct{ error }

// fail prints an error for an operator, and gives the exit code.
func fail(p Process, err error) int {
	if err == nil {
		return done
	}
	var m misuse
	var mistakes config.Mistakes
	switch {
	case errors.As(err, &m), errors.As(err, &mistakes):
		fmt.Fprintln(p.Err, prefixed(err.Error()))
		return misused
	case errors.Is(err, errSilent):
		return refused
	}
	fmt.Fprintln(p.Err, prefixed(strings.Join(strings.Fields(explain(err)), " "))) // one line, whatever a driver says
	return refused
}

// errSilent refuses without a word: what is wrong was printed already.
var errSilent = errors.New("refused")

func prefixed(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = "gatehouse: " + line
	}
	return strings.Join(lines, "\n")
}

// explain gives the words that are meant for people where there are such, the whole chain otherwise: an operator may see it.
func explain(err error) string {
	e := identity.Describe(err)
	if e.Kind != identity.Internal && e.Public != "" && e.Err == nil {
		if e.Field != "" {
			return e.Field + ": " + e.Public
		}
		return e.Public
	}
	return err.Error()
}

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

// with opens the house for one command that serves nothing.
func (e *environment) with(work func(*app.House) error) (err error) {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	h, err := app.Open(e.ctx, cfg, app.Options{Log: slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	defer func() {
		if closed := h.Close(); err == nil {
			err = closed
		}
	}()
	return work(h)
}

// caller is the operator at the command line.
func (e *environment) caller() identity.Caller {
	who := "unknown"
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if i := indexPrefix(e.Environ, name+"="); i != "" {
			who = i
			break
		}
	}
	host, _ := os.Hostname()
	return identity.Caller{Door: "cli", UserAgent: "gatehouse " + Version() + " (" + who + "@" + host + ")", RequestID: "cli"}
}

func indexPrefix(environ []string, prefix string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, prefix); ok && v != "" {
			return v
		}
	}
	return ""
}

// secret reads one from standard input: arguments are visible to every user of the machine.
func (e *environment) secret() (identity.Secret, error) {
	text, err := io.ReadAll(io.LimitReader(e.In, 4097))
	if err != nil {
		return "", err
	}
	if len(text) > 4096 {
		return "", misuse{errors.New("standard input holds more than a secret")}
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" {
		return "", misuse{errors.New("standard input is empty; the secret is read from there")}
	}
	return identity.Secret(line), nil
}
