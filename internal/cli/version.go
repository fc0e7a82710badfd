package cli

import (
	"runtime"
	"runtime/debug"
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

type versionCmd struct{ jsonFlag }

func (c *versionCmd) Run(e *environment) error {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.JSON {
		return object(e.Out, map[string]string{"version": Version(), "go": runtime.Version(), "platform": platform})
	}
	return say(e, "gatehouse "+Version()+" ("+runtime.Version()+", "+platform+")")
}
