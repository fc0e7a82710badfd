// Package deliver takes messages out of the house: mails over SMTP, SMS over HTTP, and whatever else has a Sender.
//
// A message is a row of the outbox, written in the transaction that causes it and sent after that has committed, by whichever
// node claims it first. Its content is sealed, for it holds links and codes. Sending is at least once: a node that dies between
// the server's answer and the row's mark leaves a message that is sent again, under the same Message-ID, by which mail servers and
// readers know the double; an SMS gateway gets it as Idempotency-Key. What a killed node was sending waits for the end of its lease where
// other nodes may live (PostgreSQL), and is sent at the next start where none can (SQLite). A code that would come too late is not sent at
// all.
package deliver
