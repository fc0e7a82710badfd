package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"gatehouse/internal/config"
)

// Version is the module's, or the commit's where it was built from a checkout.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

type versionCmd struct {
	JSON bool `name:"json" help:"As JSON."`
}

func (c *versionCmd) Run(e *environment) error {
	if c.JSON {
		return object(e.Out, map[string]string{"version": Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	_, err := fmt.Fprintf(e.Out, "gatehouse %s (%s, %s/%s)\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

type explainCmd struct {
	Config explainConfigCmd `cmd:"" help:"Every setting of this node."`
}

type explainConfigCmd struct {
	Docs bool `help:"What each means instead, as in docs/configuration.md."`
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
	t := newTable(e.Out, false, "SETTING", "VALUE", "FROM")
	defer t.end()
	for _, v := range cfg.Values() {
		t.row(nil, v.Key, v.Value, v.Origin)
	}
	return nil
}
