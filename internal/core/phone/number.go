// Package phone knows what a phone number is, and who has proven that one is hers.
package phone

import (
	"errors"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"gatehouse/internal/identity"
)

// FieldNumber is the field of refusals.
const FieldNumber = "number"

// maxTyped is far above any number with its blanks and brackets.
const maxTyped = 40

// Parse gives a number, as people write them, the form of E.164: +15145550100. It must begin with + and the country, for no
// country is ours. What no network could give out is refused, and what is dialled at the caller's cost, which is what makes
// sending SMS to it pay for somebody.
func Parse(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	if !strings.HasPrefix(typed, "+") {
		return "", identity.Invalid.In(FieldNumber, "must begin with + and the country, as in +15145550100")
	}
	// The library also reads letters as the digits below them, and what stands behind an x as an extension.
	if len(typed) > maxTyped || strings.LastIndex(typed, "+") > 0 || strings.ContainsFunc(typed, func(r rune) bool { return !strings.ContainsRune("+-.()/ 0123456789", r) || r > unicode.MaxASCII }) {
		return "", errImpossible
	}
	n, err := phonenumbers.Parse(typed, phonenumbers.UNKNOWN_REGION)
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", errImpossible
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST:
		return "", identity.Invalid.In(FieldNumber, "is a number that costs its caller")
	}
	number := phonenumbers.Format(n, phonenumbers.E164)
	// The library takes zeros away that callers inside a country dial. Where it would take more from what it gives, the number
	// could be read as two, and the counts of messages to it with them.
	if again, err := phonenumbers.Parse(number, phonenumbers.UNKNOWN_REGION); err != nil || phonenumbers.Format(again, phonenumbers.E164) != number {
		return "", errImpossible
	}
	return number, nil
}

var errImpossible = identity.Invalid.In(FieldNumber, "is not a possible phone number")

// In gives a refusal of Parse the name that the sender used for the field.
func In(field string, err error) error {
	var e *identity.Error
	if errors.As(err, &e) && e.Field == FieldNumber {
		return e.Kind.In(field, e.Public)
	}
	return err
}
