// Package recoverycode proves that a person holds codes that she was given for the day on which she loses her second factor: ten to
// print, each of which works once.
//
// A code has 50 bits, so it is not kept as a plain hash, which could be tried out (ASVS 5.0, 6.5.2): the store has a MAC of it under
// a key that is not in the store, bound to its credential. Guessing at the doors is bounded as for any other code.
package recoverycode

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

const (
	// Length is of one code, and Count how many are printed at once.
	Length = 10
	Count  = 10
	// alphabet has nothing that is read as something else: no I, O, 0, 1. Its 32 letters are 5 bits each.
	alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
)

// Template is the mail that tells a person that a code of hers was used; its data are name and left, how many there are still.
const Template = "recovery-used"

// New makes a code.
func New(random io.Reader) (string, error) {
	var b [Length]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness for a recovery code: %w", err)
	}
	for i := range b {
		b[i] = alphabet[b[i]&31] // 256 is a multiple of 32: each is as likely as any other
	}
	return string(b[:]), nil
}

// Parse gives a code as it was made: in capitals, without the spaces and dashes that people type. ok is false for what is no code.
func Parse(typed string) (code string, ok bool) {
	if len(typed) > 4*Length {
		return "", false
	}
	code = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(typed))
	return code, len(code) == Length && strings.Trim(code, alphabet) == ""
}

// Show writes a code so that it can be read off: in two halves.
func Show(code string) string { return code[:Length/2] + "-" + code[Length/2:] }

// MAC is a keyed pseudo-random function with the house's own key.
type MAC interface {
	MAC(purpose string, parts ...[]byte) []byte
}

// Sum is what is kept of a code that belongs to a record.
func Sum(keys MAC, record, code string) []byte {
	return keys.MAC("recovery-code", []byte(record), []byte(code))
}

// Outbox writes a message in the transaction that causes it.
type Outbox interface {
	Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
}

// Factor makes printed codes a signin.Factor. Its credential keeps them in Previous, as hex.
type Factor struct {
	Keys   MAC
	Outbox Outbox
}

// Credential holds fresh codes, and gives them to be shown this once.
func Credential(keys MAC, random io.Reader, id identity.CredentialID, subject identity.SubjectID, now time.Time) (identity.Credential, []identity.Secret, error) {
	c := identity.Credential{ID: id, SubjectID: subject, Kind: identity.RecoveryCode, Version: 1, CreatedAt: now, UpdatedAt: now}
	var codes []identity.Secret
	for range Count {
		code, err := New(random)
		if err != nil {
			return c, nil, err
		}
		codes = append(codes, identity.Secret(Show(code)))
		c.Previous = append(c.Previous, hex.EncodeToString(Sum(keys, string(id), code)))
	}
	return c, codes, nil
}

// Kind names it.
func (*Factor) Kind() identity.CredentialKind { return identity.RecoveryCode }

// AMR names it in sessions (RFC 8176 has no word for it).
func (*Factor) AMR() string { return "recovery" }

// Offer has nothing to prepare: the codes are on paper.
func (*Factor) Offer(_ context.Context, _ identity.Tx, _ identity.Caller, _ identity.Subject, c identity.Credential, _ time.Time) (string, bool, error) {
	return "", len(c.Previous) > 0, nil
}

// Check takes a right code out of her list, so that it works once whoever else sends it at the same moment, and tells her.
func (f *Factor) Check(ctx context.Context, tx identity.Tx, c identity.Credential, _, typed string) (bool, error) {
	code, ok := Parse(typed)
	if !ok {
		return false, nil
	}
	sum := []byte(hex.EncodeToString(Sum(f.Keys, string(c.ID), code)))
	at := -1
	for i, kept := range c.Previous {
		if hmac.Equal([]byte(kept), sum) {
			at = i
		}
	}
	if at < 0 {
		return false, nil
	}
	c.Previous = slices.Delete(slices.Clone(c.Previous), at, at+1)
	if spent, err := tx.UpdateCredential(ctx, c); err != nil || !spent {
		return false, err
	}
	subject, err := tx.Subject(ctx, c.SubjectID)
	if err != nil {
		return false, err
	}
	return true, f.Outbox.Mail(ctx, tx, subject.Email, Template, subject.Locale, map[string]string{"name": subject.Name, "left": strconv.Itoa(len(c.Previous))})
}
