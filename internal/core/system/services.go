package system

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/identity"
)

// Peer is another service of the installation with the key that opens it to its peers, where that is known.
type Peer struct {
	identity.Service
	Key identity.Secret
}

const (
	// PeerTTL is how long a registration stands if it is not repeated.
	PeerTTL    = 5 * time.Minute
	maxPeers   = 100
	maxPeerURI = 500
)

var (
	peerType = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	peerKey  = regexp.MustCompile(`^[!-~]{16,256}$`)
)

// peerPurpose binds a sealed key to its row.
func peerPurpose(s identity.Service) string { return "service-key/" + s.Type + "/" + s.PublicURI }

// Peers lists the services that stand now with their keys: to other services, and to who may keep secrets.
func (s *Service) Peers(ctx context.Context, by staff.By) ([]Peer, error) {
	return view(ctx, s, func(r identity.Reader) ([]Peer, error) {
		if err := s.Staff.Allow(ctx, r, by, staff.SeeSecrets); err != nil {
			return nil, err
		}
		all, err := r.Services(ctx)
		if err != nil {
			return nil, err
		}
		peers := []Peer{}
		for _, service := range identity.StandingServices(all, s.Now()) {
			key, err := s.peerKey(service)
			if err != nil {
				return nil, err
			}
			peers = append(peers, Peer{service, key})
		}
		return peers, nil
	})
}

func (s *Service) peerKey(service identity.Service) (identity.Secret, error) {
	if len(service.Sealed) == 0 {
		return "", nil
	}
	key, err := s.Box.Open(peerPurpose(service), service.Sealed)
	if err != nil {
		return "", fmt.Errorf("service %s: %w", service.PublicURI, err)
	}
	return identity.Secret(key), nil
}

// Join lists a service that announces itself, until PeerTTL after its last announcement. What the operator described stands: no
// announcement changes it, nor adds a second service of its type, which clients would take for the first.
func (s *Service) Join(ctx context.Context, by staff.By, in Peer) (Peer, error) {
	in.Type, in.PublicURI = strings.ToLower(in.Type), strings.TrimRight(in.PublicURI, "/")
	if err := checkPeer(in); err != nil {
		return Peer{}, err
	}
	var out Peer
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		out = Peer{}
		if !by.Service {
			return identity.Denied.Because("only services register")
		}
		all, err := tx.Services(ctx)
		if err != nil {
			return err
		}
		now := s.Now()
		var old *identity.Service
		standing := 0
		for i := range all {
			switch row := &all[i]; {
			case row.ExpiresAt.IsZero():
				if strings.EqualFold(row.Type, in.Type) {
					return identity.Conflict.Because("services of this type are described by the operator")
				}
			case row.Type == in.Type && row.PublicURI == in.PublicURI:
				old = row
			case now.Before(row.ExpiresAt):
				standing++
			}
		}
		if standing >= maxPeers {
			return identity.Conflict.Because("no more services can register")
		}
		next := in
		next.ExpiresAt, next.UpdatedAt = now.Add(PeerTTL), now
		change := old == nil || !now.Before(old.ExpiresAt) || old.PrivateURI != in.PrivateURI
		if old != nil {
			key, err := s.peerKey(*old)
			same := err == nil && subtle.ConstantTimeCompare([]byte(key), []byte(in.Key)) == 1
			next.Sealed = old.Sealed
			change = change || !same
		}
		if change {
			next.Sealed = nil
			if in.Key != "" {
				next.Sealed = s.Box.Seal(peerPurpose(in.Service), []byte(in.Key.Reveal()))
			}
		}
		if err := tx.SaveService(ctx, &next.Service); err != nil {
			return err
		}
		out = next
		if !change {
			return nil // one more sign of life
		}
		if err := tx.Announce(ctx, identity.ServicesChanged, in.Type, now); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, by.Caller, audit.Entry{Action: "service.join", After: map[string]any{
			"type": in.Type, "uri": in.PublicURI, "private_uri": in.PrivateURI, "has_key": in.Key != "",
		}})
	})
	return out, err
}

// Leave takes a service that announced itself off the list.
func (s *Service) Leave(ctx context.Context, by staff.By, kind, publicURI string) error {
	publicURI = strings.TrimRight(publicURI, "/")
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if !by.Service {
			return identity.Denied.Because("only services register")
		}
		all, err := tx.Services(ctx)
		if err != nil {
			return err
		}
		for _, row := range identity.StandingServices(all, s.Now()) {
			if !strings.EqualFold(row.Type, kind) || row.PublicURI != publicURI {
				continue
			}
			if row.ExpiresAt.IsZero() {
				return identity.Conflict.Because("services of this type are described by the operator")
			}
			if err := tx.DeleteService(ctx, row.Number); err != nil {
				return err
			}
			if err := tx.Announce(ctx, identity.ServicesChanged, row.Type, s.Now()); err != nil {
				return err
			}
			return s.Log.Record(ctx, tx, by.Caller, audit.Entry{
				Action: "service.leave", Before: map[string]any{"type": row.Type, "uri": row.PublicURI, "private_uri": row.PrivateURI},
			})
		}
		return identity.NotFound.Because("no such service has registered")
	})
}

func checkPeer(in Peer) error {
	if !peerType.MatchString(in.Type) {
		return identity.Invalid.In("type", "must be up to 32 letters, digits, dashes or underscores")
	}
	if err := checkPeerURI("publicURI", in.PublicURI); err != nil {
		return err
	}
	if in.PrivateURI != "" {
		if err := checkPeerURI("privateURI", in.PrivateURI); err != nil {
			return err
		}
	}
	if in.Key != "" && !peerKey.MatchString(in.Key.Reveal()) {
		return identity.Invalid.In("key", "must be 16 to 256 visible ASCII characters")
	}
	return nil
}

// checkPeerURI accepts an address that others append paths to.
func checkPeerURI(field, text string) error {
	if text == "" {
		return identity.Invalid.In(field, "is required")
	}
	if len(text) > maxPeerURI || !utf8.ValidString(text) {
		return identity.Invalid.In(field, fmt.Sprintf("must be text of at most %d bytes", maxPeerURI))
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?#") {
		return identity.Invalid.In(field, "must be an absolute http or https address without credentials, query or fragment")
	}
	return nil
}
