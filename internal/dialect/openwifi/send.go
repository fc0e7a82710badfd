package openwifi

import "gatehouse/internal/httpkit"

// sendRoutes are /email, /sms (openwifi.md 1.11).
func (d *Dialect) sendRoutes() []httpkit.Route { return nil }
