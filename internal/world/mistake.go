package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/internal/identity"
)

// Mistake is one thing wrong with a file.
type Mistake struct {
	File    string
	Line    int
	Field   string // "subjects[2].email"; "" where the text is no YAML
	Problem string
}

func (m Mistake) String() string {
	text := fmt.Sprintf("%s:%d: ", m.File, m.Line)
	if m.Field != "" {
		text += m.Field + ": "
	}
	return text + m.Problem
}

// Mistakes are all that is wrong with a file, in its order.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// Is makes a file with mistakes an invalid request.
func (m Mistakes) Is(target error) bool { return target == identity.Invalid }

// maxMistakes that are told: who has more has one and its consequences.
const maxMistakes = 100

func (m *Mistakes) add(file string, place place, problem string) {
	if len(*m) < maxMistakes {
		*m = append(*m, Mistake{file, place.line, place.field, problem})
	}
}

func (m Mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	slices.SortStableFunc(m, func(a, b Mistake) int { return a.Line - b.Line })
	return m
}

// place is where a value stands.
type place struct {
	line  int
	field string
}

// refused turns a verb's refusal into a mistake of the record that caused it; trouble of the house stays what it is.
func refused(file string, where record, err error) error {
	var e *identity.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case identity.Invalid, identity.TooLarge, identity.Conflict, identity.Denied, identity.NotFound:
	default:
		return err
	}
	at := where.at(e.Field)
	problem := e.Public
	if problem == "" {
		problem = e.Kind.Error()
	}
	return Mistakes{{file, at.line, at.field, problem}}
}
