package openwifi

import "gatehouse/internal/httpkit"

// ownRoutes are /preferences, /totp, /apiKey (openwifi.md 2.1, 2.4, 2.5).
func (d *Dialect) ownRoutes() []httpkit.Route { return nil }
