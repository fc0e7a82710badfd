package password

import (
	"crypto/md5" //nolint:gosec // verifies hashes that others made
	"crypto/subtle"
	"errors"
	"strings"

	"gatehouse/internal/factor/password/argon2"
)

// md5Crypt is $1$ of Unix, and $apr1$ of Apache's htpasswd, which differs in the name that is hashed along.
type md5Crypt struct{ magic, salt, key string }

func (md5Crypt) quick()        {}
func (md5Crypt) memory() int64 { return 4 << 10 }

func (m md5Crypt) match(password []byte, _ *argon2.Scratch) bool {
	return subtle.ConstantTimeCompare([]byte(md5CryptKey(m.magic, m.salt, password)), []byte(m.key)) == 1
}

func parseMD5Crypt(encoded string) (stored, error) {
	fields := strings.Split(encoded, "$")
	if len(fields) != 4 || len(fields[2]) > 8 || len(fields[3]) != 22 {
		return nil, errors.New("MD5-crypt hash has a wrong shape")
	}
	return md5Crypt{"$" + fields[1] + "$", fields[2], fields[3]}, nil
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
