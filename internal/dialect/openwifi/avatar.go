package openwifi

import "gatehouse/internal/httpkit"

// avatarRoutes are /avatar (openwifi.md 1.10).
func (d *Dialect) avatarRoutes() []httpkit.Route { return nil }
