package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"gatehouse/internal/app"
	"gatehouse/internal/world"
)

// worldFile is the argument of apply and plan.
type worldFile struct {
	File  string `short:"f" required:"" help:"The world file; - is standard input." placeholder:"FILE"`
	Prune bool   `help:"Delete what the file's lists do not have."`
	JSON  bool   `name:"json" help:"Print one step as JSON a line."`
}

const maxWorld = 64 << 20

func (w worldFile) read(e *environment) ([]byte, error) {
	in := e.In
	if w.File != "-" {
		f, err := os.Open(w.File)
		if err != nil {
			return nil, misuse{fmt.Errorf("cannot read the world: %w", err)}
		}
		defer f.Close()
		in = f
	}
	text, err := e.read(io.LimitReader(in, maxWorld+1))
	switch {
	case e.ctx.Err() != nil:
		return nil, e.ctx.Err()
	case err != nil:
		return nil, misuse{fmt.Errorf("cannot read the world: %w", err)}
	case len(text) > maxWorld:
		return nil, misuse{fmt.Errorf("cannot read the world: %s is over %d bytes", w.File, maxWorld)}
	}
	return text, nil
}

// parse reads the file before anything is opened: one with mistakes touches nothing.
func (w worldFile) parse(e *environment) (*world.World, error) {
	text, err := w.read(e)
	if err != nil {
		return nil, err
	}
	name := w.File
	if name == "-" {
		name = "standard input"
	}
	parsed, err := world.Parse(name, text)
	return parsed, wrongFile(err)
}

// parseIfNamed is parse where a file is optional; nil: none was named.
func (w worldFile) parseIfNamed(e *environment) (*world.World, error) {
	if w.File == "" {
		return nil, nil
	}
	return w.parse(e)
}

type applyCmd struct{ worldFile }

func (c *applyCmd) Run(e *environment) error {
	parsed, err := c.parse(e)
	if err != nil {
		return err
	}
	return e.making(func(h *app.House) error { return c.apply(e, h, parsed) })
}

func (w worldFile) apply(e *environment, h *app.House, parsed *world.World) error {
	steps, err := h.Worlds.Apply(e.ctx, parsed, world.Options{Prune: w.Prune, Caller: e.caller()})
	if err != nil {
		return wrongFile(err)
	}
	return w.show(e, steps, "applied")
}

type planCmd struct{ worldFile }

// Run plans against the house that stands. Where none does, it plans against an empty one that goes with the command, for a
// question should build nothing.
func (c *planCmd) Run(e *environment) error {
	parsed, err := c.parse(e)
	if err != nil {
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	plan := func(h *app.House) error {
		steps, err := h.Worlds.Plan(e.ctx, parsed, world.Options{Prune: c.Prune, Caller: e.caller()})
		if err != nil {
			return wrongFile(err)
		}
		return c.show(e, steps, "would be applied")
	}
	err = e.open(cfg, true, plan)
	var none app.NoHouse
	if !errors.As(err, &none) {
		return err
	}
	fmt.Fprintf(e.Err, "gatehouse: no house stands in %s yet; this is what a new one would get\n", tame(none.Place))
	dir, err := os.MkdirTemp("", "gatehouse-plan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg.Data, cfg.Database, cfg.NoMigrate = dir, "", false
	return e.open(cfg, false, plan)
}

func (w worldFile) show(e *environment, steps []world.Step, verb string) error {
	for _, s := range steps {
		var err error
		if w.JSON {
			err = object(e.Out, s)
		} else {
			err = say(e, s.String())
		}
		if err != nil {
			return err
		}
	}
	switch {
	case w.JSON:
		return nil
	case len(steps) == 0:
		return say(e, "nothing to change")
	}
	return say(e, countWord(len(steps), "step")+" "+verb)
}

// wrongFile tells a file's mistakes, which are its author's to mend, from trouble in the house.
func wrongFile(err error) error {
	var mistakes world.Mistakes
	if errors.As(err, &mistakes) {
		return misuse{mistakes}
	}
	return err
}

type exportCmd struct {
	JSON bool `name:"json" help:"Print it as JSON, which apply reads too."`
}

func (c *exportCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		text, err := h.Worlds.Export(e.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			var all map[string]any
			if err := yaml.Unmarshal(text, &all); err != nil {
				return err
			}
			return object(e.Out, all)
		}
		_, err = io.Copy(e.Out, bytes.NewReader(text))
		return err
	})
}
