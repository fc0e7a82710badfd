// Package manage makes, changes and removes records: subjects with their logins and credentials, organisations with sites and
// memberships, roles, policies, clients and services.
//
// It trusts its caller: who may ask for what was decided before (core/profile, the command line's owner). What it holds to
// whoever asks: names belong to one subject only, references point somewhere, the house keeps an active superadmin, what ends
// somebody's right ends the sessions that rest on it. Each verb writes its audit row and announces itself to other nodes in the
// transaction of its change. A verb ending in In is the same inside another verb's transaction.
package manage

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/picture"
)

// Box seals what the store keeps and must be able to read back.
type Box interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Service changes records.
type Service struct {
	Store     identity.Store
	Passwords *credential.Passwords
	Sessions  *session.Service
	Log       *audit.Log
	Box       Box
	Pictures  *picture.Cleaner
	// OfOrganisation are the doors that read what is kept for them of an organisation: each refuses, with the field at fault, what it
	// could not read. May be nil.
	OfOrganisation map[identity.Door]func(text []byte) error
	Now            func() time.Time
	Rand           io.Reader
}

// Bounds on what one record may hold: far above what anybody needs, far below what would hurt a list or a token.
const (
	maxName       = 200
	maxKey        = 100
	maxURI        = 2000
	maxWords      = 200 // in a list of scopes, privileges, addresses
	maxLogins     = 50
	maxAttributes = 64 << 10 // bytes of one door's JSON
)

// update runs a verb in a transaction of its own.
func update[T any](ctx context.Context, s *Service, verb func(identity.Tx) (T, error)) (T, error) {
	var v T
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		v, err = verb(tx)
		return err
	})
	return v, err
}

// newID makes an id, or takes the one that the caller fixed.
func newID[ID ~string](s *Service, field string, fixed ID) (ID, error) {
	if fixed != "" {
		if !identity.ValidID(string(fixed)) {
			return "", identity.Invalid.In(field, "must be a UUID in lower case")
		}
		return fixed, nil
	}
	id, err := identity.NewID(s.Now(), s.Rand)
	return ID(id), err
}

// newHash makes the random name that some doors show instead of an id, or takes the one that the caller fixed.
func (s *Service) newHash(fixed string) (string, error) {
	var random [20]byte
	if fixed != "" {
		if n, err := hex.DecodeString(fixed); err != nil || len(n) != len(random) || strings.ToLower(fixed) != fixed {
			return "", identity.Invalid.In("hash", "must be 40 hexadecimal digits in lower case")
		}
		return fixed, nil
	}
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return "", fmt.Errorf("make a hash: %w", err)
	}
	return hex.EncodeToString(random[:]), nil
}

// who names the one who acts, for display: her address, or the door where nobody is signed in.
func (s *Service) who(ctx context.Context, r identity.Reader, caller identity.Caller) (string, error) {
	id := caller.ActorID
	if id == "" {
		id = caller.SubjectID
	}
	if id == "" {
		return string(caller.Door), nil
	}
	subject, err := r.Subject(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && subject.Email == "" {
		return string(id), nil
	}
	return subject.Email, err
}

// announce and record are what every verb ends with.
func (s *Service) finish(ctx context.Context, tx identity.Tx, caller identity.Caller, kind identity.ChangeKind, id string, e audit.Entry) error {
	if err := tx.Announce(ctx, kind, id, s.Now()); err != nil {
		return err
	}
	return s.Log.Record(ctx, tx, caller, e)
}

// line accepts text that fits into one line of a page, a mail and a log.
func line(field, value string, limit int) error {
	switch {
	case !utf8.ValidString(value):
		return identity.Invalid.In(field, "is not UTF-8 text")
	case utf8.RuneCountInString(value) > limit:
		return identity.Invalid.In(field, fmt.Sprintf("must not be longer than %d characters", limit))
	}
	for _, r := range value {
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || bidi(r) {
			return identity.Invalid.In(field, "must not hold control characters")
		}
	}
	return nil
}

// CheckLine, CheckLines and CheckKey are the rules for texts of records that other packages keep.
func CheckLine(field, value string) error { return line(field, value, maxName) }

// CheckLines is CheckLine for a list of words without repeats.
func CheckLines(field string, values []string) error { return lines(field, values, maxKey) }

// CheckKey accepts the operator's name for a record.
func CheckKey(field, value string) error { return key(field, value) }

// bidi marks reorder the text around them, so that a page or a log shows something else than it says.
func bidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// lines is line for a list of words without repeats.
func lines(field string, values []string, limit int) error {
	if len(values) > maxWords {
		return identity.Invalid.In(field, fmt.Sprintf("must not hold more than %d entries", maxWords))
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if v == "" {
			return identity.Invalid.In(field, "must not hold an empty entry")
		}
		if seen[v] {
			return identity.Invalid.In(field, "must not hold an entry twice")
		}
		seen[v] = true
		if err := line(field, v, limit); err != nil {
			return err
		}
	}
	return nil
}

// key accepts the operator's name for a record: it stands in files, addresses and command lines.
func key(field, value string) error {
	if value == "" {
		return identity.Invalid.In(field, "is needed")
	}
	for _, r := range value {
		if unicode.IsSpace(r) {
			return identity.Invalid.In(field, "must not hold spaces")
		}
	}
	return line(field, value, maxKey)
}

// checkAttributes accepts JSON objects only: doors read members of them.
func checkAttributes(attributes identity.Attributes) error {
	for door, text := range attributes {
		if text == nil {
			continue
		}
		if len(text) > maxAttributes {
			return identity.TooLarge.In(string(door), "is too large")
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil || object == nil {
			return identity.Invalid.In(string(door), "must be a JSON object")
		}
	}
	return nil
}

// merged gives attributes after a change: set replaces a door's JSON (nil removes it), merge patches it (RFC 7396).
func merged(old, set, merge identity.Attributes) (identity.Attributes, error) {
	if len(set) == 0 && len(merge) == 0 {
		return old, nil
	}
	next := identity.Attributes{}
	for door, text := range old {
		next[door] = text
	}
	for door, text := range set {
		if text == nil {
			delete(next, door)
			continue
		}
		next[door] = text
	}
	for door, patch := range merge {
		text, err := mergePatch(next[door], patch)
		if err != nil {
			return nil, identity.Invalid.In(string(door), "must be a JSON object")
		}
		next[door] = text
	}
	return next, checkAttributes(next)
}

// Patches says whether merging patch into old (RFC 7396) would leave it as it is.
func Patches(old, patch []byte) bool {
	next, err := mergePatch(old, patch)
	return err == nil && old != nil && SameJSON(old, next)
}

// Merged gives a door's JSON after a patch (RFC 7396); old may be nil.
func Merged(old, patch []byte) ([]byte, error) { return mergePatch(old, patch) }

// mergePatch is RFC 7396 for objects.
func mergePatch(target, patch []byte) ([]byte, error) {
	var p map[string]json.RawMessage
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	t := map[string]json.RawMessage{}
	if len(target) > 0 && target[0] == '{' {
		if err := json.Unmarshal(target, &t); err != nil {
			return nil, err
		}
	}
	for name, value := range p {
		switch value = bytes.TrimSpace(value); {
		case string(value) == "null":
			delete(t, name)
		case value[0] == '{':
			inner, err := mergePatch(bytes.TrimSpace(t[name]), value)
			if err != nil {
				return nil, err
			}
			t[name] = inner
		default:
			t[name] = value
		}
	}
	return json.Marshal(t)
}

func sameAttributes(a, b identity.Attributes) bool {
	if len(a) != len(b) {
		return false
	}
	for door, text := range a {
		other, ok := b[door]
		if !ok || !SameJSON(text, other) {
			return false
		}
	}
	return true
}

// SameJSON says whether two texts are the same JSON, however they are spaced and spelled.
func SameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	left, errLeft := Canonical(a)
	right, errRight := Canonical(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}

// Canonical gives the one spelling of a JSON text: no spaces, members sorted, numbers shortest.
func Canonical(text []byte) ([]byte, error) {
	v, err := DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// DecodeJSON gives a JSON text as Go values: whole numbers as int64 or uint64 where they fit, others as float64.
func DecodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = numbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = numbers(inner)
		}
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return string(v) // beyond float64
	}
	return v
}

// set takes a new value where a change names one, and says whether that is another one.
func set[T comparable](into *T, value *T) bool {
	if value == nil || *value == *into {
		return false
	}
	*into = *value
	return true
}
