// Package change holds the words every other room speaks: values, rows,
// operations, transactions, cursors, digests, schemas, and their encoding.
//
// Everything here is a plain value: no clock, no socket, no file, no goroutine.
// A value that crosses a room's border is never modified afterwards.
//
// The byte layout of everything that is stored or sent is in FORMAT.md.
package change
