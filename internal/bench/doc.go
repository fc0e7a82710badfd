// Package bench measures the server against floors: the smallest honest program that does the same work, in the same run, over the
// same loopback. Its benchmarks report ratios (floor time divided by the server's, 1 is the limit), because absolute times say more about the
// machine than about the code. `make bench` prints them; benchstat reads them.
package bench
