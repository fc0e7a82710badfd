package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/internal/config"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
	"gatehouse/internal/store/sqlstore"
)

// NoHouse is the error of a place where no house stands, under Options.Existing.
type NoHouse struct{ Place string }

func (n NoHouse) Error() string { return "no house stands in " + n.Place + " yet: " + n.Remedy() }

// Remedy is what the operator can do.
func (n NoHouse) Remedy() string {
	return "`gatehouse serve` or `gatehouse user add` makes one; if it stands elsewhere, name that with --data, GATEHOUSE_DATA or GATEHOUSE_DATABASE"
}

// openStore opens the engine that the configuration names.
func openStore(ctx context.Context, cfg config.Config, existing bool) (identity.Store, error) {
	place := "the database"
	if existing && cfg.Database == "" {
		place = cfg.Data
		if _, err := os.Stat(filepath.Join(cfg.Data, sqlite.FileName)); errors.Is(err, fs.ErrNotExist) {
			return nil, NoHouse{place} // the engine would make the directory
		}
	}
	var store *sqlstore.Store
	var err error
	if cfg.Database != "" {
		store, err = postgres.Open(ctx, postgres.Options{URL: cfg.Database.Reveal(), NoMigrate: cfg.NoMigrate || existing})
	} else {
		store, err = sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, NoMigrate: cfg.NoMigrate || existing})
	}
	switch {
	case existing && errors.Is(err, sqlstore.ErrEmpty):
		return nil, NoHouse{place}
	case err != nil:
		return nil, err // not store: a nil pointer in an interface is not nil
	}
	return store, nil
}

// openBox loads the master key, and makes one only for a store that belongs to none: a new key opens nothing of what is there.
func openBox(ctx context.Context, cfg config.Config, store identity.Store, existing bool) (*keys.Box, error) {
	if cfg.MasterKey == "" {
		path := filepath.Join(cfg.Data, keys.MasterKeyFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			tied, err := keys.Tied(ctx, store)
			if err != nil {
				return nil, err
			}
			if tied || existing {
				return nil, fmt.Errorf("the master key of this store is not in %s: put it there, or set GATEHOUSE_MASTER_KEY to it (every node needs the same)", path)
			}
		}
	}
	return keys.LoadMaster(cfg.Data, cfg.MasterKey, rand.Reader)
}
