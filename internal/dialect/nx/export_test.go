package nx

import "gatehouse/internal/identity"

// PrintAccess prints an access token of a session that no operation begins.
func (d *Dialect) PrintAccess(s identity.Session, subject identity.Subject) (string, error) {
	return d.accessToken(s, subject)
}
