// Package sqlite is how this module opens and speaks to SQLite files: one pure
// Go engine (zombiezen over modernc) for the whole process, because two engines
// on one file wipe each other's POSIX locks (trap S13).
//
// It knows SQL text, identifiers, values and schema introspection. It knows
// nothing about sync.
package sqlite
