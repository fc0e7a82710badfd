package password

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

// CheckRule says why a new password breaks the rule, as identity.WeakPassword with words for the person, or nil. words
// are the local part of her address, her name, the organisation and the product: the password must not contain one.
//
// History and age need stored hashes and times; the caller sees to them.
func CheckRule(rule identity.PasswordRule, typed identity.Secret, words ...string) error {
	form, problem := normalise(typed)
	if problem != "" && typed != "" {
		return identity.WeakPassword.In("password", "the password "+problem)
	}
	if length := max(rule.MinLength, 1); utf8.RuneCountInString(form) < length {
		return identity.WeakPassword.In("password", fmt.Sprintf("the password must have at least %d characters", length))
	}
	if has := classes(form); has < rule.Classes {
		return identity.WeakPassword.In("password", classesWanted(rule.Classes))
	}
	if IsCommon(form) {
		return identity.WeakPassword.In("password", "the password is among the most used ones")
	}
	folded := fold(form)
	for _, word := range words {
		if word = fold(strings.TrimSpace(word)); word == folded || utf8.RuneCountInString(word) >= 3 && strings.Contains(folded, word) {
			return identity.WeakPassword.In("password", "the password must not contain the name, the address or the organisation")
		}
	}
	if rule.MinScore > 0 && Score(typed, words...) < rule.MinScore {
		return identity.WeakPassword.In("password", "the password is too easy to guess")
	}
	return nil
}

// The four classes are those of the pattern below, so that a browser and we say the same: letters beyond ASCII are "other".
var classSets = []struct{ name, pattern string }{
	{"an upper-case letter", "[A-Z]"}, {"a lower-case letter", "[a-z]"}, {"a digit", "[0-9]"}, {"another character", "[^A-Za-z0-9]"},
}

func classes(form string) (count int) {
	var has [4]int
	for _, r := range form {
		switch {
		case r >= 'A' && r <= 'Z':
			has[0] = 1
		case r >= 'a' && r <= 'z':
			has[1] = 1
		case r >= '0' && r <= '9':
			has[2] = 1
		default:
			has[3] = 1
		}
	}
	return has[0] + has[1] + has[2] + has[3]
}

func classesWanted(count int) string {
	names := make([]string, len(classSets))
	for i, class := range classSets {
		names[i] = class.name
	}
	if count >= len(classSets) {
		return "the password must have " + strings.Join(names[:3], ", ") + " and " + names[3]
	}
	return fmt.Sprintf("the password must have %d of: %s", count, strings.Join(names, ", "))
}

// Pattern renders length and classes as a regular expression for browsers (openwifi.md 1.5): one look-ahead for each class,
// or where some of the four are enough, one group for each choice of them.
func Pattern(rule identity.PasswordRule) string {
	want := min(rule.Classes, len(classSets))
	var choices []string
	for set := range 1 << len(classSets) {
		var choice strings.Builder
		count := 0
		for i, class := range classSets {
			if set&(1<<i) != 0 {
				count++
				choice.WriteString("(?=.*" + class.pattern + ")")
			}
		}
		if count == want {
			choices = append(choices, choice.String())
		}
	}
	ahead := ""
	switch {
	case want <= 1: // any character has a class
	case len(choices) == 1:
		ahead = choices[0]
	default:
		ahead = "(?:" + strings.Join(choices, "|") + ")"
	}
	return fmt.Sprintf("^%s.{%d,}$", ahead, max(rule.MinLength, 1))
}
