package app

import (
	"context"

	"gatehouse/internal/config"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
	"gatehouse/internal/store/sqlstore"
)

// openStore opens the engine that the configuration names.
func openStore(ctx context.Context, cfg config.Config) (identity.Store, error) {
	var store *sqlstore.Store
	var err error
	if cfg.Database != "" {
		store, err = postgres.Open(ctx, postgres.Options{URL: cfg.Database.Reveal(), NoMigrate: cfg.NoMigrate})
	} else {
		store, err = sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, NoMigrate: cfg.NoMigrate})
	}
	if err != nil {
		return nil, err // not store: a nil pointer in an interface is not nil
	}
	return store, nil
}
