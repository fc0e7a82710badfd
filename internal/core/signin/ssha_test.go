package signin_test

import (
	"crypto/sha1"
	"encoding/base64"
)

// ssha is how directory servers stored passwords (RFC 2307 with a salt).
func ssha(pw, salt string) string {
	sum := sha1.Sum([]byte(pw + salt))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}
