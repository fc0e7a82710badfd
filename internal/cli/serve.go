package cli

import (
	"cmp"
	"log/slog"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
	"gatehouse/internal/logs"
)

type serveCmd struct {
	World string `help:"World file to apply before serving." placeholder:"FILE"`
}

// Help is shown behind the command's line.
func (c *serveCmd) Help() string {
	return "Settings come from flags, GATEHOUSE_* variables, the --config file and defaults, in this order: `gatehouse explain config` shows " +
		"which are in force, and with --docs what each means. SIGTERM or Ctrl-C ends it in order, a second one at once."
}

func (c *serveCmd) Run(e *environment) (err error) {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	levels := logs.NewLevels(logs.LevelOf(cfg.Log.Level))
	log := logger(cfg, e, levels)
	slog.SetDefault(log)
	file := worldFile{File: c.World}
	parsed, err := file.parseIfNamed(e)
	if err != nil {
		return err
	}
	node, err := app.Start(e.ctx, cfg, app.Options{Log: log, Levels: levels, Version: Version()})
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, node.Close()) }()
	if parsed != nil {
		if err := file.apply(e, node.House, parsed); err != nil {
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

// logger writes as configured what the levels let through.
func logger(cfg config.Config, e *environment, levels *logs.Levels) *slog.Logger {
	if cfg.Log.Format == "json" {
		return slog.New(logs.NewHandler(slog.NewJSONHandler(e.Err, &slog.HandlerOptions{Level: logs.Everything}), levels))
	}
	return slog.New(logs.NewHandler(logs.NewText(e.Err), levels))
}
