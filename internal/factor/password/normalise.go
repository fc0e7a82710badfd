package password

import (
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"

	"golang.org/x/text/unicode/norm"
)

// MaxBytes bounds a password as it was typed. Nothing is ever cut off: a longer one is refused.
const MaxBytes = 1024

// normalise gives the form that is hashed, NFKC, so that two keyboards spell one password (NIST SP 800-63B, 5.1.1.2);
// or why the text cannot be a password.
func normalise(typed identity.Secret) (form, problem string) {
	text := typed.Reveal()
	switch {
	case text == "":
		return "", "is empty"
	case len(text) > MaxBytes:
		return "", "is longer than 1024 bytes"
	case !utf8.ValidString(text):
		return "", "is not valid UTF-8"
	case strings.IndexByte(text, 0) >= 0:
		return "", "contains a NUL character"
	}
	return norm.NFKC.String(text), ""
}

// forms lists what may have been hashed: the normalised text, and what was typed if it differs, since other servers did
// not normalise. None if it cannot be a password.
func forms(typed identity.Secret) [][]byte {
	form, problem := normalise(typed)
	if problem != "" {
		return nil
	}
	if form == typed.Reveal() {
		return [][]byte{[]byte(form)}
	}
	return [][]byte{[]byte(form), []byte(typed.Reveal())}
}
