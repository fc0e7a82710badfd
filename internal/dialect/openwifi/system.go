package openwifi

import (
	"net/http"

	"gatehouse/internal/httpkit"
)

// systemRoutes are /system, /systemEndpoints, /systemServices, /systemSecret (openwifi.md 1.9, 1.13, 1.14, 2.8).
func (d *Dialect) systemRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/systemEndpoints", "systemEndpoints", d.endpointsForUser),
	}
}
