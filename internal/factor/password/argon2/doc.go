// Package argon2 derives keys with Argon2id and Argon2i, version 1.3 (RFC 9106), in memory that the caller keeps.
//
// The usual implementation takes fresh memory and starts a goroutine for every segment. A server that hashes on all
// cores needs neither: here one call stays on one thread, which its caller may give a low priority (package password
// does), and its memory is used again. Lanes are computed one after another, with the same result.
//
// Tests compare each result with golang.org/x/crypto/argon2.
package argon2
