package cli

import (
	"fmt"

	"gatehouse/internal/app"
	"gatehouse/internal/config"
)

type explainCmd struct {
	Config explainConfigCmd `cmd:"" default:"withargs" help:"Every setting, its value and where that comes from."`
}

type explainConfigCmd struct {
	Docs bool `help:"Print what each setting means instead, as Markdown."`
	listFlags
}

func (c *explainConfigCmd) Run(e *environment) error {
	if c.Docs {
		_, err := fmt.Fprint(e.Out, config.Markdown())
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	t := newTable(e.Out, c.JSON, "SETTING", "VALUE", "FROM")
	for _, v := range cfg.Values() {
		t.row(map[string]string{"setting": v.Key, "value": v.Value, "from": v.Origin}, v.Key, v.Value, v.Origin)
	}
	return t.end(nil)
}

type migrateCmd struct{ jsonFlag }

func (c *migrateCmd) Run(e *environment) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	cfg.NoMigrate = false // it says what serve may not do by itself
	return e.open(cfg, false, func(*app.House) error {
		if c.JSON {
			return object(e.Out, map[string]bool{"current": true})
		}
		return say(e, "the schema is up to date")
	})
}
