package titan

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// language is that of the sentences in an answer. Its values index words.
type language int

const (
	english language = iota
	german
)

// languageOf reads Content-Language, which is what this API's clients send (titan.md 1.1).
func languageOf(h http.Header) language {
	if values := h["Content-Language"]; len(values) == 1 {
		tag, _, _ := strings.Cut(strings.TrimSpace(values[0]), "-")
		if strings.EqualFold(tag, "de") {
			return german
		}
	}
	return english
}

func (l language) String() string { return [...]string{"en", "de"}[l] }

// words are one sentence in each language; {field} stands for a field's name.
type words [2]string

func (w words) in(l language, field string) string { return strings.ReplaceAll(w[l], "{field}", field) }

// What may be wrong with a field.
var (
	required   = words{"The {field} field is required.", "Das Feld {field} muss angegeben werden."}
	notText    = words{"The {field} field must be a string.", "Das Feld {field} muss eine Zeichenkette sein."}
	notFlag    = words{"The {field} field must be true or false.", "Das Feld {field} muss true oder false sein."}
	givenTwice = words{"The {field} field is given twice.", "Das Feld {field} ist doppelt angegeben."}
	notBeside  = words{"The {field} field must not be given beside a token.", "Das Feld {field} darf nicht neben einem Token angegeben werden."}
	notChosen  = words{"The {field} field must be login or link.", "Das Feld {field} muss login oder link sein."}
	stale      = words{"The {field} is not valid or no longer so.", "Das Feld {field} ist nicht oder nicht mehr gültig."}

	notConfigured = words{"This identity provider is not available here.", "Dieser Identitätsanbieter steht hier nicht zur Verfügung."}
)

// unit is a measure of time with its names: one of it, several, and several after "vor".
type unit struct {
	length    time.Duration
	one, many words
	ago       string
}

const day = 24 * time.Hour

// units are round: nobody counts leap days in «2 years ago».
var units = []unit{
	{365 * day, words{"year", "Jahr"}, words{"years", "Jahre"}, "Jahren"},
	{30 * day, words{"month", "Monat"}, words{"months", "Monate"}, "Monaten"},
	{7 * day, words{"week", "Woche"}, words{"weeks", "Wochen"}, "Wochen"},
	{day, words{"day", "Tag"}, words{"days", "Tage"}, "Tagen"},
	{time.Hour, words{"hour", "Stunde"}, words{"hours", "Stunden"}, "Stunden"},
	{time.Minute, words{"minute", "Minute"}, words{"minutes", "Minuten"}, "Minuten"},
	{time.Second, words{"second", "Sekunde"}, words{"seconds", "Sekunden"}, "Sekunden"},
}

// measure gives a duration in the largest unit that it fills; at least one second.
func measure(d time.Duration) (int64, unit) {
	for _, u := range units {
		if d >= u.length {
			return int64(d / u.length), u
		}
	}
	return 1, units[len(units)-1]
}

// relative says how long ago something was: "3 days ago", «vor 3 Tagen».
func relative(d time.Duration, l language) string {
	n, u := measure(d)
	name := u.many[l]
	switch {
	case n == 1:
		name = u.one[l]
	case l == german:
		name = u.ago
	}
	text := strconv.FormatInt(n, 10) + " " + name
	if l == german {
		return "vor " + text
	}
	return text + " ago"
}

// remaining says how long something lasts: "3 days", «3 Tage».
func remaining(d time.Duration, l language) string {
	if d <= 0 {
		return words{"expired", "abgelaufen"}[l]
	}
	n, u := measure(d)
	name := u.many[l]
	if n == 1 {
		name = u.one[l]
	}
	return strconv.FormatInt(n, 10) + " " + name
}
