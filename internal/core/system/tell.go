package system

import (
	"context"
	"strings"

	"gatehouse/internal/identity"
)

// Call is what services of a type are told, in the words of their API.
type Call struct {
	Type   string
	Method string
	Path   string // with its query, below the service's address
	// Header says what goes along to a service, given the key that opens it; "" where that is not known.
	Header func(service identity.Service, key identity.Secret) map[string]string
}

// TellIn has every service of a type told, in the caller's transaction: the calls leave after its commit and are repeated until
// they are taken. Where no such service stands nobody is told. A service is called at its private address, if it has one.
func (s *Service) TellIn(ctx context.Context, tx identity.Tx, c Call) error {
	all, err := tx.Services(ctx)
	if err != nil {
		return err
	}
	for _, service := range identity.StandingServices(all, s.Now()) {
		if strings.ToLower(service.Type) != c.Type {
			continue
		}
		key, err := s.peerKey(service)
		if err != nil {
			return err
		}
		target := service.PrivateURI
		if target == "" {
			target = service.PublicURI
		}
		if err := s.Outbox.Call(ctx, tx, c.Method, strings.TrimRight(target, "/")+c.Path, c.Header(service, key), ""); err != nil {
			return err
		}
	}
	return nil
}
