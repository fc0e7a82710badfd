// Package e2e drives real processes of the real binary over the network, as its users would: several nodes on one database, a node
// that is killed, a start that cannot succeed.
package e2e
