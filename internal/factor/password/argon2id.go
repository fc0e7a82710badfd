package password

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"gatehouse/internal/factor/password/argon2"
)

// Params is what a new hash costs.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint32 // lanes; more than one gains nothing here, since all cores hash anyway
}

// DefaultParams is OWASP's choice among equals that takes least memory per second of work.
func DefaultParams() Params { return Params{Memory: 19456, Time: 2, Threads: 1} }

const (
	saltBytes = 16
	keyBytes  = 32
)

func (p Params) core() argon2.Params {
	return argon2.Params{Type: argon2.ID, Time: p.Time, Memory: p.Memory, Threads: p.Threads}
}

func (p Params) bytes() int64 { return int64(p.Memory) << 10 }

// Validate says why a hash cannot cost this, or must not: what is made here must pass CheckHash elsewhere.
func (p Params) Validate() error {
	if err := p.core().Valid(); err != nil {
		return fmt.Errorf("password hash parameters: %w", err)
	}
	if p.bytes() > maxMemory || uint64(p.Memory)*uint64(p.Time) > maxArgon2Work {
		return fmt.Errorf("password hash parameters: %d KiB with %d passes cost more than a stored hash may", p.Memory, p.Time)
	}
	return nil
}

// argon2Hash is a parsed $argon2id$ or $argon2i$ string.
type argon2Hash struct {
	argon2.Params
	salt, key []byte
}

func (h argon2Hash) String() string {
	name := "argon2id"
	if h.Type == argon2.I {
		name = "argon2i"
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", name, argon2.Version, h.Memory, h.Time, h.Threads, b64(h.salt), b64(h.key))
}

func (h argon2Hash) match(password []byte, scratch *argon2.Scratch) bool {
	key := make([]byte, len(h.key))
	scratch.Key(key, password, h.salt, h.Params)
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

func (h argon2Hash) memory() int64 { return int64(h.Memory) << 10 }

// parseArgon2 reads the PHC form. Version 1.3 only: 1.0 is another function, and no maintained library writes it.
func parseArgon2(encoded string) (argon2Hash, error) {
	var h argon2Hash
	fields := strings.Split(encoded, "$")
	if len(fields) != 6 || fields[0] != "" {
		return h, fmt.Errorf("an argon2 hash has 5 parts")
	}
	switch fields[1] {
	case "argon2id":
		h.Type = argon2.ID
	case "argon2i":
		h.Type = argon2.I
	default:
		return h, fmt.Errorf("%q is not supported", fields[1])
	}
	if fields[2] != "v=19" {
		return h, fmt.Errorf("argon2 version %q is not supported, only v=19", fields[2])
	}
	params, err := numbers(fields[3], "m", "t", "p")
	if err != nil {
		return h, err
	}
	h.Memory, h.Time, h.Threads = uint32(params[0]), uint32(params[1]), uint32(params[2])
	if h.salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil {
		return h, fmt.Errorf("salt: %w", err)
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil {
		return h, fmt.Errorf("key: %w", err)
	}
	if len(h.salt) < 8 || len(h.key) < 12 || len(h.key) > 128 {
		return h, fmt.Errorf("salt of %d or key of %d bytes is out of bounds", len(h.salt), len(h.key))
	}
	if err := h.Valid(); err != nil {
		return h, err
	}
	switch {
	case h.memory() > maxMemory:
		return h, fmt.Errorf("takes %d KiB of memory, more than the %d allowed", h.Memory, maxMemory>>10)
	case uint64(h.Memory)*uint64(h.Time) > maxArgon2Work:
		return h, fmt.Errorf("m=%d with t=%d takes too long", h.Memory, h.Time)
	}
	return h, nil
}

// numbers reads "m=1,t=2,p=3" with exactly these names in this order, each below 2^31.
func numbers(text string, names ...string) ([]int, error) {
	parts := strings.Split(text, ",")
	if len(parts) != len(names) {
		return nil, fmt.Errorf("parameters %q are not %s", text, strings.Join(names, ","))
	}
	out := make([]int, len(names))
	for i, part := range parts {
		digits, found := strings.CutPrefix(part, names[i]+"=")
		n, err := number(digits)
		if !found || err != nil {
			return nil, fmt.Errorf("parameter %q is not %s=<number>", part, names[i])
		}
		out[i] = n
	}
	return out, nil
}

// number reads plain digits: no sign, no leading zero, so that one hash has one spelling.
func number(digits string) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || digits[0] == '+' || (digits[0] == '0' && digits != "0") {
		return 0, fmt.Errorf("%q is not a number", digits)
	}
	return int(n), nil
}
