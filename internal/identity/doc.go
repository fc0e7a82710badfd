// Package identity holds the nouns of the house: subjects and their logins, organisations, memberships, credentials,
// sessions, clients, policies, keys, audit events; why the core says no (Kind); and what it asks of a store.
//
// It speaks no dialect and imports the standard library only, so that every other package may import it.
package identity
