package password

import (
	"crypto/sha1" //nolint:gosec // verifies hashes that others made
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// Bounds on what a stored hash may demand, since hashes are imported and whoever wrote them must not decide how long a
// sign-in keeps a core. Each is a few times what the maintainers of that scheme advise.
const (
	maxEncoded    = 1024
	maxMemory     = 256 << 20
	maxArgon2Work = 6 << 20 // KiB times passes: a few seconds
	maxBcryptCost = 15
	maxScryptWork = 1 << 22 // N times r times p
	maxPBKDF2     = 2_000_000
	maxSHACrypt   = 1_000_000
)

// stored is a parsed hash, ready to be compared.
type stored interface {
	match(password []byte) bool
	memory() int64 // bytes while it runs
}

// quick hashes take microseconds. Where one does not match, the work of a new hash is added, or the time of the answer
// would tell which logins still have an old hash, and so which exist.
type quick interface{ quick() }

// CheckHash says whether a stored hash can be verified here at a bearable cost. Imports call it for every hash.
func CheckHash(encoded string) error {
	_, err := parse(encoded, "")
	return err
}

// EncodeOpenWiFi gives our spelling of the OpenWiFi bootstrap form: 64 hexadecimal digits of SHA-256 over password and
// lower-case e-mail (openwifi.md 1.5). The e-mail is not kept in it; Verify is told.
func EncodeOpenWiFi(digits string) (string, error) {
	encoded := openWiFiPrefix + strings.ToLower(digits)
	if err := CheckHash(encoded); err != nil {
		return "", err
	}
	return encoded, nil
}

const openWiFiPrefix = "{OWSEC}"

// parse reads every form that Verify knows. context is the e-mail that an OpenWiFi hash was made with.
func parse(encoded, context string) (stored, error) {
	if len(encoded) > maxEncoded {
		return nil, errors.New("password hash is longer than 1024 bytes")
	}
	h, err := parseAny(encoded, context)
	if err != nil {
		return nil, fmt.Errorf("password hash: %w", err) // err never holds the hash itself, only its parameters
	}
	return h, nil
}

func parseAny(encoded, context string) (stored, error) {
	if strings.HasPrefix(encoded, "{") {
		end := strings.IndexByte(encoded, '}')
		if end < 0 {
			return nil, errors.New("scheme in braces has no end")
		}
		scheme, rest := strings.ToUpper(encoded[1:end]), encoded[end+1:]
		switch scheme {
		case "CRYPT", "ARGON2": // wrappers that LDAP servers put around the forms below
			if strings.HasPrefix(rest, "$") {
				return parseAny(rest, context)
			}
			return nil, errors.New("traditional DES crypt is not supported")
		case "OWSEC":
			return parseOpenWiFi(rest, context)
		}
		return parseSalted(scheme, rest)
	}

	name := ""
	if fields := strings.SplitN(encoded, "$", 3); len(fields) == 3 && fields[0] == "" {
		name = fields[1]
	}
	switch name {
	case "argon2id", "argon2i":
		return parseLibrary(encoded, boundArgon2)
	case "1":
		h, err := parseLibrary(encoded, boundMD5Crypt)
		return quickLibrary{h}, err
	case "apr1":
		return parseApache(encoded)
	case "2a", "2b", "2y":
		return parseLibrary(encoded, boundBcrypt)
	case "5", "6":
		return parseLibrary(encoded, boundSHACrypt)
	case "scrypt":
		return parseLibrary(encoded, boundScrypt)
	case "pbkdf2", "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512":
		return parseLibrary(encoded, boundPBKDF2)
	}
	return nil, errors.New("form is not supported")
}

// library is a hash that go-crypt reads and compares.
type library struct {
	algorithm.Digest
	bytes int64
}

func (l library) memory() int64 { return l.bytes }

func (l library) match(password []byte) bool {
	match, err := l.MatchBytesAdvanced(password)
	return err == nil && match
}

// decoder knows only the schemes that have a bound here; the library's own sets may grow.
var decoder = sync.OnceValue(func() *crypt.Decoder {
	d := crypt.NewDecoder()
	for _, register := range []func(algorithm.DecoderRegister) error{
		argon2.RegisterDecoderArgon2id, argon2.RegisterDecoderArgon2i, md5crypt.RegisterDecoderCommon, bcrypt.RegisterDecoderStandard, scrypt.RegisterDecoderScrypt, shacrypt.RegisterDecoder,
		pbkdf2.RegisterDecoderSHA1, pbkdf2.RegisterDecoderSHA256, pbkdf2.RegisterDecoderSHA512,
	} {
		if err := register(d); err != nil {
			panic("password: " + err.Error()) // fails for a name given twice only
		}
	}
	return d
})

// parseLibrary applies the bound first: the library believes the parameters that it reads.
func parseLibrary(encoded string, bound func(fields []string) (memory int64, err error)) (library, error) {
	memory, err := bound(strings.Split(encoded, "$")[1:])
	if err != nil {
		return library{}, err
	}
	digest, err := decoder().Decode(encoded)
	if err != nil {
		return library{}, errors.New("salt or key is malformed") // the library's words may quote the hash
	}
	return library{digest, memory}, nil
}

// quickLibrary is a library's hash that takes microseconds.
type quickLibrary struct{ library }

func (quickLibrary) quick() {}

func boundArgon2(fields []string) (int64, error) {
	if len(fields) != 5 || fields[1] != "v=19" {
		return 0, errors.New("argon2 hash has a wrong shape, or another version than v=19")
	}
	p, err := numbers(fields[2], "m", "t", "p")
	if err != nil {
		return 0, err
	}
	params := Params{Memory: uint32(p[0]), Time: uint32(p[1]), Threads: uint32(p[2])}
	if err := params.Validate(); err != nil {
		return 0, err
	}
	if len(fields[3]) < 11 || len(fields[4]) < 16 || len(fields[4]) > 171 { // 8 bytes of salt, 12 to 128 of key
		return 0, errors.New("argon2 salt or key is out of bounds")
	}
	return params.bytes(), nil
}

func boundMD5Crypt(fields []string) (int64, error) {
	if len(fields) != 3 || len(fields[1]) > 8 || len(fields[2]) != 22 {
		return 0, errors.New("MD5-crypt hash has a wrong shape")
	}
	return 4 << 10, nil
}

// numbers reads "m=1,t=2,p=3" with exactly these names in this order, each below 2^31.
func numbers(text string, names ...string) ([]int, error) {
	parts := strings.Split(text, ",")
	if len(parts) != len(names) {
		return nil, fmt.Errorf("parameters are not %s", strings.Join(names, ","))
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
	if err != nil || digits[0] == '0' && digits != "0" {
		return 0, fmt.Errorf("%q is not a number", digits)
	}
	return int(n), nil
}

func boundBcrypt(fields []string) (int64, error) {
	if len(fields) != 3 || len(fields[1]) != 2 || len(fields[2]) != 53 {
		return 0, errors.New("bcrypt hash has a wrong shape")
	}
	cost, err := number(strings.TrimPrefix(fields[1], "0"))
	if err != nil || cost < 4 || cost > maxBcryptCost {
		return 0, fmt.Errorf("bcrypt cost %q is not within 4 to %d", fields[1], maxBcryptCost)
	}
	return 4 << 10, nil
}

func boundSHACrypt(fields []string) (int64, error) {
	if len(fields) == 4 {
		rounds, err := numbers(fields[1], "rounds")
		if err != nil || rounds[0] < 1000 || rounds[0] > maxSHACrypt {
			return 0, fmt.Errorf("SHA-crypt %q is not within rounds=1000 to %d", fields[1], maxSHACrypt)
		}
		fields = append(fields[:1:1], fields[2:]...)
	}
	if len(fields) != 3 || len(fields[1]) < 1 || len(fields[1]) > 16 || len(fields[2]) != map[string]int{"5": 43, "6": 86}[fields[0]] {
		return 0, errors.New("SHA-crypt hash has a wrong shape")
	}
	return 4 << 10, nil
}

func boundScrypt(fields []string) (int64, error) {
	if len(fields) != 4 || len(fields[3]) < 16 || len(fields[3]) > 172 {
		return 0, errors.New("scrypt hash has a wrong shape")
	}
	p, err := numbers(fields[1], "ln", "r", "p")
	if err != nil {
		return 0, err
	}
	ln, r, lanes := p[0], p[1], p[2]
	if ln < 1 || ln > 22 || r < 1 || r > 64 || lanes < 1 || lanes > 64 {
		return 0, fmt.Errorf("scrypt ln=%d,r=%d,p=%d is out of bounds", ln, r, lanes)
	}
	memory := int64(128*r) << ln
	if memory > maxMemory || r*lanes<<ln > maxScryptWork {
		return 0, fmt.Errorf("scrypt ln=%d,r=%d,p=%d costs too much", ln, r, lanes)
	}
	return memory, nil
}

func boundPBKDF2(fields []string) (int64, error) {
	if len(fields) != 4 || len(fields[3]) < 16 || len(fields[3]) > 86 { // longer keys multiply the work
		return 0, errors.New("PBKDF2 hash has a wrong shape")
	}
	if n, err := number(fields[1]); err != nil || n < 1 || n > maxPBKDF2 {
		return 0, fmt.Errorf("PBKDF2 iterations %q are not within 1 to %d", fields[1], maxPBKDF2)
	}
	return 4 << 10, nil
}

// salted is one application of a hash to password and salt, as LDAP servers write it (RFC 2307; {SSHA} by convention).
type salted struct {
	sum  func() hash.Hash
	salt []byte
	key  []byte
}

func (salted) quick()        {}
func (salted) memory() int64 { return 4 << 10 }

func (s salted) match(password []byte) bool {
	h := s.sum()
	h.Write(password)
	h.Write(s.salt)
	return subtle.ConstantTimeCompare(h.Sum(nil), s.key) == 1
}

func parseSalted(scheme, text string) (stored, error) {
	s := salted{}
	switch strings.TrimPrefix(strings.TrimPrefix(scheme, "S"), "S") {
	case "HA":
		s.sum = sha1.New
	case "HA256":
		s.sum = sha256.New
	case "HA512":
		s.sum = sha512.New
	}
	withSalt := strings.HasPrefix(scheme, "SS")
	if s.sum == nil || !strings.HasPrefix(scheme, "S") {
		return nil, errors.New("scheme in braces is not supported")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if raw, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("is not base64")
		}
	}
	size := s.sum().Size()
	if len(raw) < size || len(raw) > size+64 || (len(raw) > size) != withSalt {
		return nil, fmt.Errorf("{%s} of %d bytes has a wrong length", scheme, len(raw))
	}
	s.key, s.salt = raw[:size], raw[size:]
	return s, nil
}

func parseOpenWiFi(digits, email string) (stored, error) {
	key, err := hex.DecodeString(digits)
	if err != nil || len(key) != sha256.Size {
		return nil, errors.New("{OWSEC} is followed by 64 hexadecimal digits")
	}
	return salted{sum: sha256.New, salt: []byte(strings.ToLower(email)), key: key}, nil
}
