package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"gatehouse/internal/app"
	"gatehouse/internal/world"
)

// worldFile is the argument of apply and plan.
type worldFile struct {
	File  string `short:"f" required:"" help:"The world file; - is standard input." placeholder:"FILE"`
	Prune bool   `help:"Delete what the file's lists do not have."`
	JSON  bool   `name:"json" help:"One step as JSON a line."`
}

const maxWorld = 64 << 20

func (w worldFile) read(e *environment) ([]byte, error) {
	in := e.In
	if w.File != "-" {
		f, err := os.Open(w.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxWorld+1))
	if err == nil && len(text) > maxWorld {
		err = fmt.Errorf("%s is over %d bytes", w.File, maxWorld)
	}
	return text, err
}

type applyCmd struct{ worldFile }

func (c *applyCmd) Run(e *environment) error { return c.run(e, false) }

type planCmd struct{ worldFile }

func (c *planCmd) Run(e *environment) error { return c.run(e, true) }

func (w worldFile) run(e *environment, dry bool) error {
	text, err := w.read(e)
	if err != nil {
		return err
	}
	return e.with(func(h *app.House) error {
		return w.steps(e.ctx, e, h, text, dry)
	})
}

func applyText(ctx context.Context, e *environment, h *app.House, name string, text []byte, dry, prune bool) error {
	return worldFile{File: name, Prune: prune}.steps(ctx, e, h, text, dry)
}

func (w worldFile) steps(ctx context.Context, e *environment, h *app.House, text []byte, dry bool) error {
	parsed, err := world.Parse(w.File, text)
	if err != nil {
		return wrongFile(err)
	}
	do := h.Worlds.Apply
	if dry {
		do = h.Worlds.Plan
	}
	steps, err := do(ctx, parsed, world.Options{Prune: w.Prune, Caller: e.caller()})
	if err != nil {
		return wrongFile(err)
	}
	for _, s := range steps {
		if w.JSON {
			if err := object(e.Out, s); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(e.Out, s); err != nil {
			return err
		}
	}
	if !w.JSON {
		verb := "applied"
		if dry {
			verb = "would be applied"
		}
		if len(steps) == 0 {
			_, err = fmt.Fprintln(e.Out, "nothing to change")
		} else {
			_, err = fmt.Fprintf(e.Out, "%s %s\n", countWord(len(steps), "step"), verb)
		}
	}
	return err
}

// wrongFile tells a file's mistakes, which are its author's to mend, from trouble in the house.
func wrongFile(err error) error {
	var mistakes world.Mistakes
	if errors.As(err, &mistakes) {
		return misuse{err}
	}
	return err
}

type exportCmd struct{}

func (c *exportCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		text, err := h.Worlds.Export(e.ctx)
		if err != nil {
			return err
		}
		_, err = e.Out.Write(text)
		return err
	})
}
