package password

import (
	"crypto/md5" //nolint:gosec // verifies hashes that others made
	"crypto/subtle"
	"strings"
)

// apache is $apr1$ of htpasswd: MD5-crypt with another name hashed along. No library that we use reads it; its sibling $1$,
// which one does read, tests the steps that both share.
type apache struct{ salt, key string }

func (apache) quick()        {}
func (apache) memory() int64 { return 4 << 10 }

func (h apache) match(password []byte) bool {
	return subtle.ConstantTimeCompare([]byte(md5CryptKey("$apr1$", h.salt, password)), []byte(h.key)) == 1
}

func parseApache(encoded string) (stored, error) {
	fields := strings.Split(encoded, "$")[1:]
	if _, err := boundMD5Crypt(fields); err != nil {
		return nil, err
	}
	return apache{fields[1], fields[2]}, nil
}

// cryptAlphabet is crypt(3)'s own base 64, least significant digit first.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func md5CryptKey(magic, salt string, password []byte) string {
	sum := func(parts ...[]byte) []byte {
		h := md5.New()
		for _, part := range parts {
			h.Write(part)
		}
		return h.Sum(nil)
	}
	inner := sum(password, []byte(salt), password)
	h := md5.New()
	h.Write(password)
	h.Write([]byte(magic + salt))
	for left := len(password); left > 0; left -= md5.Size {
		h.Write(inner[:min(left, md5.Size)])
	}
	for bit := len(password); bit > 0; bit >>= 1 {
		if bit&1 == 1 {
			h.Write([]byte{0}) // a zero where one expects the first byte of inner: the original's slip, now the format
		} else {
			h.Write(password[:1])
		}
	}
	key := h.Sum(nil)
	for round := range 1000 {
		parts := make([][]byte, 0, 4)
		if round%2 == 1 {
			parts = append(parts, password)
		} else {
			parts = append(parts, key)
		}
		if round%3 != 0 {
			parts = append(parts, []byte(salt))
		}
		if round%7 != 0 {
			parts = append(parts, password)
		}
		if round%2 == 1 {
			parts = append(parts, key)
		} else {
			parts = append(parts, password)
		}
		key = sum(parts...)
	}

	out := make([]byte, 0, 22)
	write := func(value uint, digits int) {
		for range digits {
			out = append(out, cryptAlphabet[value&63])
			value >>= 6
		}
	}
	for _, i := range [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}} {
		write(uint(key[i[0]])<<16|uint(key[i[1]])<<8|uint(key[i[2]]), 4)
	}
	write(uint(key[11]), 2)
	return string(out)
}
