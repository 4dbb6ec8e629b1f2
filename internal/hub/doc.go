// Package hub is the centre of the star: it takes transactions in from edges,
// decides what each one does now, and hands out what others did.
//
// A transaction's way through the room:
//
//	commit.go    several devices' pushes share one durable commit
//	ingest.go    chain, uuid de-duplication, copies of a file (copy.go)
//	hold.go      does it depend on something parked?
//	apply.go     one savepoint: validate.go, rights.go, conflict.go, write.go, foreign.go
//	receipt.go   who lost which value to whom
//	park.go      what cannot be applied waits, with its reason (queue.go settles it)
//
// and out again through session.go, pull.go and fetch.go. The room owns no
// goroutine and no timer, asks a clock.Clock for the time and a given reader
// for randomness, and reaches the database only through Store.
package hub
