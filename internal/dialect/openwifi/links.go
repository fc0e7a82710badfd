package openwifi

import "gatehouse/internal/httpkit"

// linkRoutes are /actionLink, /signup (openwifi.md 1.12, 2.7).
func (d *Dialect) linkRoutes() []httpkit.Route { return nil }
