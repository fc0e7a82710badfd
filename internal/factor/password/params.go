package password

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
)

// Params is what a new Argon2id hash costs.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint32 // lanes; more than one gains nothing here, since all cores hash anyway
}

// DefaultParams are those of OWASP's equally strong choices that take 19 MiB.
func DefaultParams() Params { return Params{Memory: 19456, Time: 2, Threads: 1} }

const (
	saltBytes = 16
	keyBytes  = 32
)

func (p Params) bytes() int64 { return int64(p.Memory) << 10 }

// Validate says why a hash cannot cost this (RFC 9106, section 3.1), or must not: the same bounds hold for new hashes and
// for stored ones.
func (p Params) Validate() error {
	switch {
	case p.Time < 1 || p.Threads < 1:
		return errors.New("argon2 needs at least one pass and one lane")
	case p.Threads > 255 || p.Memory < 8*p.Threads:
		return errors.New("argon2 needs 8 KiB of memory for each lane, and takes 255 lanes at most")
	case p.bytes() > maxMemory || uint64(p.Memory)*uint64(p.Time) > maxArgon2Work:
		return fmt.Errorf("argon2 with m=%d,t=%d costs too much", p.Memory, p.Time)
	}
	return nil
}

// rounded is what Argon2 computes with (RFC 9106, section 3.2, step 2). Written otherwise, each hash would differ from its
// own parameters and be made anew at every sign-in.
func (p Params) rounded() Params {
	p.Memory -= p.Memory % (4 * p.Threads)
	return p
}

func (p Params) prefix() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$", p.Memory, p.Time, p.Threads)
}

// hash makes a new hash.
func (p Params) hash(password string, salt []byte) (algorithm.Digest, error) {
	// A hasher writes its defaults into itself, so that it must not be shared.
	hasher, err := argon2.New(argon2.WithVariantID(), argon2.WithM(p.Memory), argon2.WithT(int(p.Time)), argon2.WithP(int(p.Threads)), argon2.WithK(keyBytes))
	if err != nil {
		return nil, err
	}
	return hasher.HashWithSalt(password, salt)
}

// made says whether a stored hash is as Hash would make it.
func (p Params) made(h stored) bool {
	digest, ok := h.(library)
	return ok && strings.HasPrefix(digest.Encode(), p.prefix()) && len(digest.Salt()) >= saltBytes && len(digest.Key()) == keyBytes
}
