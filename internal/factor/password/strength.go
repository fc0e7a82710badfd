package password

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"gatehouse/internal/identity"
)

// scoredRunes bounds the work of Score. What follows cannot make a password weaker, and counts as guessed for nothing.
const scoredRunes = 100

// Score estimates how many guesses a password withstands, on zxcvbn's scale: 0 below 10^3, 1 below 10^6, 2 below 10^8,
// 3 below 10^10, else 4. words are what a guesser would try first: her name, address, organisation.
//
// It is our own estimator in the manner of zxcvbn (Wheeler 2016) because anybody may ask for a score, and the Go port takes
// seconds for 100 well-chosen characters and 70 ms at every start; this one takes a millisecond at worst, nothing at start.
func Score(typed identity.Secret, words ...string) int {
	form, problem := normalise(typed)
	if problem != "" {
		return 0
	}
	power := guesses(form, contextWords(words))
	for score, limit := range []float64{3, 6, 8, 10} {
		if power < limit {
			return score
		}
	}
	return 4
}

// fold is the form in which words are compared: NFKC and without case.
func fold(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
		}
	}
	return strings.ToLower(text)
}

// contextWords gives the folded words and their parts, "ada.lovelace" as "ada.lovelace", "ada" and "lovelace"; those of
// three characters or more, since shorter ones are in every other password.
func contextWords(words []string) map[string]bool {
	set := map[string]bool{}
	for _, word := range words {
		word = fold(strings.TrimSpace(word))
		parts := strings.FieldsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		for _, part := range append(parts, word, strings.Join(parts, "")) {
			if utf8.RuneCountInString(part) >= 3 {
				set[part] = true
			}
		}
	}
	return set
}

// guesses is the power of ten of the cheapest way to put the password together out of known pieces.
func guesses(form string, words map[string]bool) float64 {
	typed := []rune(form)
	if len(typed) > scoredRunes {
		typed = typed[:scoredRunes]
	}
	n := len(typed)
	low := make([]rune, n) // folded rune by rune, so that positions agree
	for i, r := range typed {
		low[i] = unicode.ToLower(r)
	}

	best := make([]float64, n+1) // of the first i runes
	for i := range n {
		best[i+1] = math.Inf(1)
	}
	// Any rune is one of ten, as in zxcvbn: classes of characters say little about what people choose.
	pieces := func(i int) []piece {
		found := []piece{{1, 1}}
		found = append(found, repeated(low, i)...)
		found = append(found, run(low, i)...)
		found = append(found, date(low, i)...)
		return found
	}
	dictionary := dictionaryPieces(typed, low, words)
	for i := range n {
		for _, p := range append(pieces(i), dictionary[i]...) {
			if power := best[i] + p.power; power < best[i+p.length] {
				best[i+p.length] = power
			}
		}
	}
	return best[n]
}

// piece is a part of the password that begins where it was asked for.
type piece struct {
	length int
	power  float64 // log10 of the guesses
}

// repeated finds "aaa" and "abcabc": the unit is guessed once.
func repeated(low []rune, i int) (out []piece) {
	for unit := 1; unit <= 12 && i+2*unit <= len(low); unit++ {
		times := 1
		for i+(times+1)*unit <= len(low) && equal(low[i:i+unit], low[i+times*unit:i+(times+1)*unit]) {
			times++
		}
		if times*unit < 3 || times < 2 {
			continue
		}
		power := float64(unit)
		if rank, _, _ := lookUp(string(low[i : i+unit])); rank > 0 {
			power = math.Min(power, math.Log10(rank))
		}
		out = append(out, piece{times * unit, power + math.Log10(float64(times))})
	}
	return out
}

func equal(a, b []rune) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// rows are what fingers and children run along, and back.
var rows = []string{
	"abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm",
	"!@#$%^&*()_+", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik", "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujmik", "147258369", "абвгдежзийклмнопрстуфхцчшщъыьэюя", "йцукенгшщзхъ",
}

// run finds "abcd", "7654", "qwer".
func run(low []rune, i int) (out []piece) {
	if i+3 > len(low) {
		return nil
	}
	for _, row := range rows {
		for _, back := range []bool{false, true} {
			length := along(low[i:], []rune(row), back)
			if length >= 3 {
				power := math.Log10(float64(length) * 12) // which row, from where, how far
				if back {
					power += math.Log10(2)
				}
				out = append(out, piece{length, power})
			}
		}
	}
	return out
}

// along counts how many runes of text follow the row from where the first one stands.
func along(text, row []rune, back bool) int {
	step, length := 1, 0
	if back {
		step = -1
	}
	at := -1
	for j, r := range row {
		if r == text[0] {
			at = j
			break
		}
	}
	for at >= 0 && at < len(row) && length < len(text) && row[at] == text[length] {
		at, length = at+step, length+1
	}
	return length
}

// date finds years and dates of six or eight digits, with or without separators.
func date(low []rune, i int) (out []piece) {
	digits, separators, value := 0, 0, 0
	for j := i; j < len(low) && j < i+10; j++ {
		switch r := low[j]; {
		case r >= '0' && r <= '9':
			digits++
			value = value*10 + int(r-'0')
		case (r == '-' || r == '.' || r == '/') && digits > 0 && separators < 2:
			separators++
		default:
			return out
		}
		length := j - i + 1
		switch {
		case digits == 4 && separators == 0 && value >= 1900 && value <= 2050:
			out = append(out, piece{length, math.Log10(130)})
		case digits == 6 && (separators == 0 || separators == 2) && plausible(value/10000, value/100%100, value%100):
			out = append(out, piece{length, math.Log10(130 * 365)})
		case digits == 8 && (separators == 0 || separators == 2) &&
			(century(value/10000) && plausible(0, value/100%100, value%100) || century(value%10000) && plausible(0, value/10000%100, value/1000000)):
			out = append(out, piece{length, math.Log10(130 * 365)})
		}
	}
	return out
}

func century(year int) bool { return year >= 1900 && year <= 2050 }

// plausible says whether three numbers may be day, month and year in some order.
func plausible(a, b, c int) bool {
	dayMonth := func(x, y int) bool { return x >= 1 && x <= 31 && y >= 1 && y <= 12 }
	return dayMonth(a, b) || dayMonth(b, a) || dayMonth(b, c) || dayMonth(c, b)
}

// leet are the digits and signs that people write for letters; where two letters are usual there are two tables.
var leet = [2]map[rune]rune{
	{'4': 'a', '@': 'a', '8': 'b', '(': 'c', '{': 'c', '3': 'e', '€': 'e', '6': 'g', '9': 'g', '1': 'i', '!': 'i', '|': 'i', '0': 'o', '$': 's', '5': 's', '7': 't', '+': 't', '2': 'z'},
	{'4': 'a', '@': 'a', '8': 'b', '(': 'c', '{': 'c', '3': 'e', '€': 'e', '6': 'g', '9': 'g', '1': 'l', '!': 'l', '|': 'l', '0': 'o', '$': 's', '5': 's', '7': 'l', '+': 't', '2': 'z'},
}

// dictionaryPieces finds known words at every position: as written, with leet letters, and backwards.
func dictionaryPieces(typed, low []rune, words map[string]bool) [][]piece {
	n := len(low)
	out := make([][]piece, n)
	longest := 0
	for word := range words {
		longest = max(longest, utf8.RuneCountInString(word))
	}
	find := func(text []rune, extra float64, place func(i, length int) int) {
		for i := range text {
			for length := 1; i+length <= n && length <= 32; length++ {
				word := string(text[i : i+length])
				rank, _, longer := lookUp(word)
				if words[word] {
					rank = 1
				}
				if rank > 0 && length >= 2 {
					at := place(i, length)
					out[at] = append(out[at], piece{length, math.Log10(rank) + extra + capitals(typed[at:at+length])})
				}
				if !longer && length >= longest {
					break
				}
			}
		}
	}
	forward := func(i, _ int) int { return i }
	find(low, 0, forward)

	for _, table := range leet {
		plain, changed := make([]rune, n), false
		for i, r := range low {
			if letter, found := table[r]; found {
				plain[i], changed = letter, true
			} else {
				plain[i] = r
			}
		}
		if changed {
			find(plain, math.Log10(4), forward)
		}
	}

	turned := make([]rune, n)
	for i, r := range low {
		turned[n-1-i] = r
	}
	find(turned, math.Log10(2), func(i, length int) int { return n - i - length })
	return out
}

// capitals is what the pattern of upper case adds: nothing for none, little for the first, the last or all letters.
func capitals(word []rune) float64 {
	upper, letters := 0, 0
	for _, r := range word {
		if unicode.IsUpper(r) {
			upper++
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	switch {
	case upper == 0:
		return 0
	case upper == letters, upper == 1 && (unicode.IsUpper(word[0]) || unicode.IsUpper(word[len(word)-1])):
		return math.Log10(2)
	}
	ways := 0.0
	for k := 1; k <= min(upper, letters-upper); k++ {
		ways += binomial(letters, k)
	}
	return math.Log10(math.Max(2, ways))
}

func binomial(n, k int) float64 {
	out := 1.0
	for i := 1; i <= k; i++ {
		out = out * float64(n-k+i) / float64(i)
	}
	return out
}
