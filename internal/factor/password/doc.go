// Package password checks and makes password hashes, says whether a new password is good enough, and keeps both from
// taking the machine down.
//
// New hashes are Argon2id in PHC form. Hashes made elsewhere (foreign.go) verify too and report that they should be made
// anew. All hashing goes through a Pool: as many at once as there are cores and memory, the rest in a short queue.
//
// The package stores nothing and knows no subject: it takes text and gives text.
package password
