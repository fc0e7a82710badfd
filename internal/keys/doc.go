// Package keys holds the house's keys: the master key that seals secrets at rest (Box), and the signing keys of tokens
// (Ring), made, published, rotated and kept in the store under that seal.
package keys
