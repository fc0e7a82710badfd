package openwifi

import "gatehouse/internal/httpkit"

// subscriberRoutes are the sub… calls (openwifi.md 2.6).
func (d *Dialect) subscriberRoutes() []httpkit.Route { return nil }
