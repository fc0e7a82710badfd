// Package e2e drives real processes of the real binary over the network, as its users would: several nodes on one database, a node
// that is killed, a start that cannot succeed, an Nx Cloud upstream, a box at the edge that checks licences alone.
package e2e
