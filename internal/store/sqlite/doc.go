// Package sqlitestore is the hub's store over one SQLite file: the user's own
// tables, and Tidemark's tables and triggers beside them.
//
// Every writer is captured by triggers in plain SQL, this process and any other
// program that opens the file. The change log holds keys, never images: readers
// take the changed keys and the current rows from one snapshot. One log entry
// stands for one change in one scope; a row that moves writes an entry for the
// scope it left and one for the scope it entered.
//
// A cursor is a log position and the random nonce of the entry there, so that a
// file copied back and grown again is told apart from its own past. Log
// positions and outcome marks are plain rowids, which restart when the newest
// row goes: so nothing here ever deletes the newest one.
//
// One connection writes, behind a lock; a small pool reads.
package sqlitestore
