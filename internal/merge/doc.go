// Package merge decides what a column becomes when two histories meet.
//
// The hub calls Column when a transaction from an edge touches a column that
// somebody else changed without the author having seen it. The edge calls
// Overlay to show its pending work on top of what it pulled. Row is Column for
// tables whose conflicts concern whole rows.
//
// Everything here is a pure function: no clock, no I/O, no state, and arguments
// are neither kept nor modified, so all of it may be called concurrently. Each
// policy names the laws it obeys (LawsOf), and the tests check exactly those.
package merge
