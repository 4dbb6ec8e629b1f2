// Package people says who may come in: persons with their roles and proofs, the
// sessions of their browsers, tokens for scripts, and the audit of what they did.
//
// Everything is a record of the hub's store, so that it is the same in both databases
// and in all processes that serve one, and takes effect in all of them at once:
//
//	person            by id: name, role, password, TOTP, passkeys
//	person-link       by SHA-256 of the secret: a one-time link, to set up or to accept
//	person-session    by person and SHA-256 of the secret
//	person-token      by id
//	person-ceremony   by SHA-256: answers of passkeys that were taken, until they expire
//	audit, audit-head by number; each entry names the hash of the one before it
//
// Secrets are kept as hashes, but those of TOTP, which are encrypted with a key that is
// not in the store. The room knows no HTTP, starts no goroutine, and asks a clock for
// the time.
package people
