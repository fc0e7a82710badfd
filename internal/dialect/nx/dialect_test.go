package nx

import (
	"strings"
	"testing"
	"time"
)

// The time of every operation is the contract's (nx.md 1.6).
func TestDeadlines(t *testing.T) {
	seconds := map[string]int{
		"status": 1, "configuration": 1, "license": 1, "user": 1, "nx-totp": 1, "openapi": 1,
		"licenses": 5, "license-document": 5, "user-patch": 5,
		"signin": 15, "refresh": 15, "signout": 15, "password-strength": 15, "register": 15, "forgot-password": 15, "reset-password": 15,
		"reset-page": 15, "reset-form": 15, "update-password": 15,
	}
	for _, op := range operations {
		want, known := seconds[op.name]
		if !known && strings.HasPrefix(op.paths[0], "/nx/") {
			want = 5
		}
		if op.deadline != time.Duration(want)*time.Second {
			t.Errorf("%s: %v, want %d s", op.name, op.deadline, want)
		}
	}
}
