package openwifi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"time"

	"gatehouse/internal/identity"
)

// Keeper seals what the store holds.
type Keeper interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Settings is the part of the store that the service key needs.
type Settings interface {
	View(ctx context.Context, read func(identity.Reader) error) error
	Update(ctx context.Context, write func(identity.Tx) error) error
}

const (
	serviceKeySetting = "openwifi-service-key"
	derivedKey        = "derived"
)

// ServiceKey gives the key that other services show on the internal listener (openwifi.md 1.3): the configured one; for
// "derived" the vendor's, hex SHA-256 of our public address, which anybody can compute; else a random one, made once and kept.
func ServiceKey(ctx context.Context, store Settings, keeper Keeper, configured identity.Secret, issuer string, random io.Reader, now time.Time) (identity.Secret, error) {
	switch configured.Reveal() {
	case "":
	case derivedKey:
		return identity.Secret(derive(issuer)), nil
	default:
		return configured, nil
	}
	read := func() (kept []byte, err error) {
		err = store.View(ctx, func(r identity.Reader) error {
			s, err := r.Setting(ctx, serviceKeySetting)
			kept = s.Sealed
			return err
		})
		return kept, err
	}
	kept, err := read()
	if errors.Is(err, identity.NotFound) {
		var fresh [32]byte
		if _, err := io.ReadFull(random, fresh[:]); err != nil {
			return "", err
		}
		sealed := keeper.Seal(serviceKeySetting, []byte(hex.EncodeToString(fresh[:])))
		err = store.Update(ctx, func(tx identity.Tx) error {
			_, err := tx.CreateSetting(ctx, identity.Setting{Name: serviceKeySetting, Sealed: sealed, UpdatedAt: now})
			return err
		})
		if err == nil {
			kept, err = read() // another node may have been first
		}
		if err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	plain, err := keeper.Open(serviceKeySetting, kept)
	return identity.Secret(plain), err
}

// Derived says whether a configured key asks for the vendor's form.
func Derived(configured identity.Secret) bool { return configured.Reveal() == derivedKey }

// derive gives the key of the vendor's form, which anybody can compute, of a service with this public address.
func derive(publicURI string) string {
	sum := sha256.Sum256([]byte(publicURI))
	return hex.EncodeToString(sum[:])
}

// byService says whether another service is calling: it names itself and shows our key (openwifi.md 1.3). Whoever does not name
// herself is left to show a bearer token.
func (d *Dialect) byService(r *http.Request) (bool, error) {
	names, shown := r.Header["X-Internal-Name"], r.Header["X-Api-Key"]
	if len(names) == 0 {
		if len(shown) > 0 { // a user's key is for the public listener, and a service's alone is not enough
			return false, identity.TokenInvalid
		}
		return false, nil
	}
	if len(names) > 1 || names[0] == "" || len(shown) > 1 {
		return false, identity.ClientInvalid
	}
	if len(shown) == 0 {
		return false, identity.ClientMissing
	}
	if d.Key == "" || subtle.ConstantTimeCompare([]byte(shown[0]), []byte(d.Key.Reveal())) != 1 {
		return false, identity.ClientInvalid
	}
	return true, nil
}
