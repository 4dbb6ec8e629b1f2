// Package postgresstore is the hub's store over a PostgreSQL database: the user's
// own tables, which get triggers and nothing else, and Tidemark's tables in a
// schema of their own, tidemark. Any number of processes may serve one database.
//
// Every writer is captured by triggers, the hub's own processes and any other
// program alike; who writes is told by the settings tidemark.origin and
// tidemark.hlc, never by session_replication_role, so that foreign keys stay on.
// The change log holds keys, never images but of deleted rows: readers take the
// changed keys and the current rows from one snapshot.
//
// A cursor is that snapshot, cut down to what the log shows: transactions up to
// the newest one visible in the log, less those still in progress then. Beside it
// stand position and nonce of the newest entry, so that a server put back from a
// copy and grown again is told apart from its own past. Nothing here goes by the
// order of a sequence or a clock: neither is the order of commits.
//
// Updates run one after another over all processes, behind a lock that is taken
// before the snapshot. Other programs are not held up; where they collide with an
// Update, it runs again. Writes are kept back until something reads, and then sent
// together, in an order that the database's own foreign keys allow.
package postgresstore
