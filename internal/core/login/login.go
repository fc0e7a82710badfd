// Package login knows what a person types to be found: an e-mail address, a phone number or a name.
//
// A login has three forms. What was typed is shown. What is Folded is looked up: NFKC and without case, so that every way
// to type a name finds it. Its Skeleton is compared when one is given out: two names that look alike cannot belong to two
// people (UTS 39). Text that mixes scripts in a way that only serves to deceive is no login at all.
package login

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"gatehouse/internal/identity"
)

// MaxBytes bounds a folded login: what an e-mail address may have at most (RFC 5321, section 4.5.3.1.3, less the brackets).
const MaxBytes = 254

// maxTyped bounds the work on what was typed; folding shortens some text.
const maxTyped = 4 * MaxBytes

// Folded is the one spelling under which a login is stored and looked up.
type Folded string

// New gives a login in its three forms. The caller says whose it is, and since when.
func New(typed string) (identity.Login, error) {
	folded, err := Fold(typed)
	if err != nil {
		return identity.Login{}, err
	}
	return identity.Login{Kind: folded.Kind(), Typed: strings.TrimSpace(typed), Folded: string(folded), Skeleton: Skeleton(folded)}, nil
}

// Fold brings what was typed into the form for look-ups. Text that cannot be a login is identity.Invalid.
func Fold(typed string) (Folded, error) {
	if len(typed) > maxTyped {
		return "", identity.Invalid.Because("the login is too long")
	}
	text, plain := asciiFold(typed)
	if !plain {
		var err error
		if text, err = unicodeFold(typed); err != nil {
			return "", err
		}
	}
	if text == "" {
		return "", identity.Invalid.Because("the login is empty")
	}
	if text[0] == '+' {
		if phone, ok := Phone(text); ok {
			text = phone
		}
	}
	if len(text) > MaxBytes {
		return "", identity.Invalid.Because("the login is too long")
	}
	return Folded(text), nil
}

// asciiFold folds without allocating where nothing changes; plain is false for text that has anything beyond printable ASCII.
func asciiFold(typed string) (text string, plain bool) {
	typed = strings.Trim(typed, " \t\r\n") // copied along, never meant
	for i := range len(typed) {
		if typed[i] < ' ' || typed[i] > '~' {
			return "", false
		}
	}
	return strings.ToLower(typed), true
}

func unicodeFold(typed string) (string, error) {
	if !utf8.ValidString(typed) {
		return "", identity.Invalid.Because("the login is not valid UTF-8")
	}
	text := strings.TrimSpace(typed)
	// Folding can undo normalisation and the other way round; after a few rounds nothing changes any more.
	for range 4 {
		again := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
		if again == text {
			break
		}
		text = strings.TrimSpace(again)
	}
	for _, r := range text {
		// Controls, invisible format characters, private and unassigned ones: all that cannot be seen or agreed upon.
		if r != ' ' && !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) || invisible[r] {
			return "", identity.Invalid.Because("the login has a character that cannot be seen")
		}
	}
	if first, _ := utf8.DecodeRuneInString(text); unicode.Is(unicode.M, first) {
		return "", identity.Invalid.Because("the login begins with an accent without a letter")
	}
	for _, label := range strings.FieldsFunc(text, func(r rune) bool { return r == '@' || r == '.' }) {
		if deceptive(label) {
			return "", identity.Invalid.Because("the login mixes letters of different scripts")
		}
	}
	return text, nil
}

// invisible letters, marks and symbols; the other invisible ones are of category Cf.
var invisible = map[rune]bool{
	'\u034f': true, '\u115f': true, '\u1160': true, '\u17b4': true, '\u17b5': true, '\u3164': true, '\uffa0': true, '\u2800': true,
	'\ufe0e': true, '\ufe0f': true,
}

// Kind says what sort of name it is, by its form alone.
func (f Folded) Kind() identity.LoginKind {
	switch {
	case ValidEmail(string(f)):
		return identity.EmailLogin
	case ValidPhone(string(f)):
		return identity.PhoneLogin
	}
	return identity.UsernameLogin
}

// ValidEmail says whether text is an address that a mail can be sent to: dot-atom local part, host name, lengths of
// RFC 5321, letters beyond ASCII as in RFC 6531. Quoted local parts and address literals are not taken: nobody has one, and
// they smuggle blanks and commands. The domain needs no dot.
func ValidEmail(text string) bool {
	local, domain, found := strings.Cut(text, "@")
	if !found || len(text) > MaxBytes || len(local) > 64 || !utf8.ValidString(text) {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !atomRune(r) }) {
			return false
		}
	}
	return validHost(domain)
}

// atomRune is atext of RFC 5322, section 3.2.3.
func atomRune(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return unicode.In(r, unicode.L, unicode.M, unicode.N)
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func validHost(domain string) bool {
	if len(domain) > 253 {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && (r < utf8.RuneSelf && !alphanumeric(r) || r >= utf8.RuneSelf && !unicode.In(r, unicode.L, unicode.M, unicode.N))
		}) {
			return false
		}
	}
	return true
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// ValidPlainEmail is the narrower form that OpenWiFi clients agree on (openwifi.md 1.8): lower-case letters, digits, "_" and
// "-", dot-separated, an optional "+tag"; the domain needs no dot.
func ValidPlainEmail(text string) bool {
	local, domain, _ := strings.Cut(text, "@")
	name, tag, tagged := strings.Cut(local, "+")
	return ValidEmail(text) && plainName(name) && (!tagged || plainName(tag)) && plainName(domain)
}

func plainName(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-')
		}) {
			return false
		}
	}
	return true
}

// ValidPhone says whether text is an international number as E.164 writes it: "+", a country code that does not begin with
// zero, 8 to 15 digits.
func ValidPhone(text string) bool {
	if len(text) < 9 || len(text) > 16 || text[0] != '+' || text[1] == '0' {
		return false
	}
	for i := 1; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// Phone takes out what people put between the digits of an international number; ok says whether the rest is one.
func Phone(typed string) (number string, ok bool) {
	if len(typed) > maxTyped {
		return "", false
	}
	number = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -./()", r) {
			return -1
		}
		return r
	}, strings.TrimSpace(typed))
	return number, ValidPhone(number)
}
