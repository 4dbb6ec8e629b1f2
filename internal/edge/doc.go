// Package edge keeps one SQLite file of an application in sync with a hub.
//
// The application knows nothing of it. Triggers write undo images into a capture
// log, in the application's own transactions (capture.go). Export turns them into
// hash-chained transactions in an outbox inside the same file (export.go). A
// Session hands them in and fetches what others wrote; an apply installs what was
// fetched in one transaction of the file (apply.go), on top of which the rows with
// unsettled work keep the application's own values (overlay.go) until the hub's
// outcome arrives (settle.go).
//
// What belongs to the file is in the file: identity, cursor, outbox, shadow. What
// is on its way lies beside it (stage.go). Everything is synchronous, with clock and
// randomness from outside, so that the simulator runs this very code; what is decoded ahead is
// handed to whoever drives the session (SessionConfig.Beside), and waited for.
package edge
