// Package httpkit is what every door needs of HTTP: strict decoding of what strangers send, limits on size and time, CORS,
// routes that never redirect, one log line for each request. It knows no dialect: refusals are identity Kinds, and each door
// says them in its own words.
package httpkit
