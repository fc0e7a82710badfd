package openwifi

import "gatehouse/internal/httpkit"

// userRoutes are /user, /users, /securityProfiles (openwifi.md 1.8, 1.13).
func (d *Dialect) userRoutes() []httpkit.Route { return nil }
