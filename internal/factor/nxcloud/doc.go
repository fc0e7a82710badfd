// Package nxcloud asks an Nx Cloud who somebody is: the upstream Nx authority (nx.md 5.3).
//
// The cloud is another party's server, reached over a network that fails. Every call ends by its context and by a time-out of its own, reads a
// bounded answer, and follows no redirect. An answer that says neither yes nor no is identity.Unavailable, whatever it says: garbage
// never signs anybody in, and never reads like a wrong password either. After several such answers in a row the cloud is left alone
// for a while (see breaker), so that a dead upstream costs its callers nothing.
//
// Only what may happen twice is tried again: reading an account, a token, a list of systems. A password that is sent twice counts
// twice against its owner; a code, a refresh token or a TOTP may be spent by a call whose answer was lost.
//
// Tokens of the cloud stay inside the house. What they are worth is the core's to decide.
package nxcloud
