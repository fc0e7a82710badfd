package app

import (
	"context"

	"gatehouse/internal/config"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
)

// openStore opens the engine that the configuration names.
func openStore(ctx context.Context, cfg config.Config) (identity.Store, error) {
	if cfg.Database != "" {
		return postgres.Open(ctx, postgres.Options{URL: cfg.Database.Reveal(), NoMigrate: cfg.NoMigrate})
	}
	return sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, NoMigrate: cfg.NoMigrate})
}
