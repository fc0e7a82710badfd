package login

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Skeleton is equal for logins that look alike. An ASCII login is its own skeleton: "adal" and "ada1" look alike too, but
// both are addresses that people have, and whoever holds one has shown so by mail.
func Skeleton(f Folded) string {
	text := string(f)
	if ascii(text) {
		return text
	}
	var out strings.Builder
	table := lookalikes()
	for _, r := range norm.NFD.String(text) {
		if to, found := table[r]; found {
			out.WriteString(to)
		} else {
			out.WriteRune(r)
		}
	}
	return norm.NFD.String(out.String())
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lookalikeList has a line for each folded character that looks like another: the character, a tab, what it looks like.
// gen_lookalikes.go says where it comes from.
//
//go:embed lookalikes.txt
var lookalikeList string

// lookalikes is read at the first login beyond ASCII; many servers never see one.
var lookalikes = sync.OnceValue(func() map[rune]string {
	table := make(map[rune]string, strings.Count(lookalikeList, "\n"))
	for line := range strings.Lines(lookalikeList) {
		if from, to, found := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); found && line[0] != '#' {
			r, _ := utf8.DecodeRuneInString(from)
			table[r] = to
		}
	}
	return table
})

// deceptive says whether a label mixes scripts beyond what UTS 39, section 5.2, calls moderately restrictive: one script;
// those that Chinese, Japanese and Korean write together, with or without Latin; Latin with one other, unless the other has
// letters that look Latin.
func deceptive(label string) bool {
	if ascii(label) {
		return false
	}
	var latin, han, japanese, bopomofo, hangul bool
	other := ""
	for _, r := range label {
		switch script := scriptOf(r); script {
		case "Common", "Inherited":
		case "Latin":
			latin = true
		case "Han":
			han = true
		case "Hiragana", "Katakana":
			japanese = true
		case "Bopomofo":
			bopomofo = true
		case "Hangul":
			hangul = true
		case other:
		default:
			if other != "" {
				return true
			}
			other = script
		}
	}
	east := 0
	for _, present := range []bool{japanese, bopomofo, hangul} {
		if present {
			east++
		}
	}
	return east > 1 || other != "" && (east > 0 || han || latin && looksLatin[other])
}

// looksLatin are the scripts with several letters that pass for Latin ones.
var looksLatin = map[string]bool{
	"Armenian": true, "Cherokee": true, "Coptic": true, "Cyrillic": true, "Deseret": true, "Greek": true, "Lisu": true, "Old_Italic": true,
	"Tifinagh": true, "Vai": true, "Warang_Citi": true, "Osage": true, "Elbasan": true, "Carian": true, "Lycian": true, "Lydian": true, "Gothic": true,
}

// scriptOf names the script of a character. The frequent ones are tried first.
func scriptOf(r rune) string {
	if r < utf8.RuneSelf {
		if unicode.IsLetter(r) {
			return "Latin"
		}
		return "Common"
	}
	for _, name := range []string{"Latin", "Common", "Inherited", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic", "Hebrew"} {
		if unicode.Is(unicode.Scripts[name], r) {
			return name
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "Unknown"
}
