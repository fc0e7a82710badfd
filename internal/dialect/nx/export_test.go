package nx

import (
	"slices"
	"time"

	"gatehouse/internal/identity"
)

// PrintAccess prints an access token of a session that no operation begins.
func (d *Dialect) PrintAccess(s identity.Session, subject identity.Subject) (string, error) {
	return d.accessToken(s, subject)
}

// Operations names every row of both tables.
func Operations() []string {
	var names []string
	for _, op := range slices.Concat(operations, cloudOperations) {
		names = append(names, op.name)
	}
	return names
}

// WithDeadline gives every operation the same time while do builds a handler.
func WithDeadline(d time.Duration, do func()) {
	kept, keptCloud := operations, cloudOperations
	defer func() { operations, cloudOperations = kept, keptCloud }()
	operations, cloudOperations = slices.Clone(kept), slices.Clone(keptCloud)
	for _, table := range [][]operation{operations, cloudOperations} {
		for i := range table {
			table[i].deadline = d
		}
	}
	do()
}
