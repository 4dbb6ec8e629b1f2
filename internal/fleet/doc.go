// Package fleet plays many devices that come back at once.
//
// The hub is a process of its own, as it always is. The devices are sessions of the
// real transport, over TLS, each with a key, a chain of transactions and a connection
// of its own, but without a file: what is measured is the hub.
package fleet
