package identity

import "net/netip"

// Caller is where a request comes from and on whose behalf: for counters, sessions and the audit log. A door fills it
// from the request; the command line fills it with its own door.
type Caller struct {
	Door      Door
	Address   string // client address without port; who@machine for the command line
	UserAgent string
	RequestID string
	// Who is signed in, where a token was shown. ActorID differs from SubjectID while impersonating.
	ActorID   SubjectID
	SubjectID SubjectID
	SessionID SessionID
	ClientID  ClientID
}

// Network names the sender's network for counters: IPv4 as it is, IPv6 by its /64, which one customer holds whole; "" where there
// is no address.
func (c Caller) Network() string {
	a, err := netip.ParseAddr(c.Address)
	if err != nil {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	network, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return network.String()
}

// Acting says that somebody acts as another person.
func (c Caller) Acting() bool { return c.ActorID != "" && c.ActorID != c.SubjectID }

// Herself refuses whoever is not the person at a session of her own: a service, a program with a key of hers, and somebody who acts
// as her. Passwords and second factors, and what they rest on, are hers alone to change.
func (c Caller) Herself() error {
	if c.Acting() {
		return Denied.Because("not while acting as another person")
	}
	if c.SubjectID == "" || c.SessionID == "" {
		return Denied.Because("this needs a person who has signed in")
	}
	return nil
}
