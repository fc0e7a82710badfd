package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
)

type serveCmd struct {
	World string `help:"World file to apply before serving." type:"existingfile" placeholder:"FILE"`
}

// Help is shown behind the command's line.
func (c *serveCmd) Help() string {
	return "Settings come from flags, GATEHOUSE_* variables, the --config file and defaults, in this order; `gatehouse explain config --docs` lists them."
}

func (c *serveCmd) Run(e *environment) (err error) {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	log := logger(cfg, e)
	slog.SetDefault(log)
	node, err := app.Start(e.ctx, cfg, app.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() {
		if closed := node.Close(); err == nil {
			err = closed
		}
	}()
	if c.World != "" {
		if err := apply(e.ctx, e, node.House, c.World); err != nil {
			return err
		}
	}
	anybody, err := node.Profiles.Anybody(e.ctx)
	if err != nil {
		return err
	}
	if !anybody {
		log.Warn("nobody can sign in yet: make an administrator with " +
			"`gatehouse user add EMAIL --superadmin --password-stdin`, or describe your world and `gatehouse apply -f world.yaml`")
	}
	attrs := []any{"address", node.Addr().String(), "issuer", node.Config.Issuer, "version", Version()}
	if a := node.InternalAddr(); a != nil {
		attrs = append(attrs, "internal", a.String())
	}
	if cfg.Database == "" {
		attrs = append(attrs, "store", "sqlite in "+cfg.Data)
	} else {
		attrs = append(attrs, "store", "postgresql")
	}
	log.Info("serving", attrs...)
	err = node.Serve(e.ctx)
	log.Info("stopped")
	return err
}

func logger(cfg config.Config, e *environment) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Log.Level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(e.Err, options))
	}
	return slog.New(slog.NewTextHandler(e.Err, options))
}

func apply(ctx context.Context, e *environment, h *app.House, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return applyText(ctx, e, h, file, text, false, false)
}

func countWord(n int, word string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
