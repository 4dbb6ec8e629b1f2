// Package tidemark lets a Go application work on a SQLite file that syncs with a
// hub, offline-first: reads and writes are always local, and what is written
// reaches the hub when there is a network, whole transactions, exactly once.
//
//	db, err := tidemark.Open(ctx, tidemark.Config{Path: "till.db", Token: token})
//	…
//	defer db.Close()
//	err = db.Start(ctx) // keeps the file in sync from now on
//	err = db.Write(ctx, func(tx *tidemark.Tx) error {
//		return tx.Exec(`UPDATE stock SET qty = qty - ? WHERE id = ?`, 3, "aspirin")
//	})
//
// # Transactions
//
// What one [DB.Write] commits travels as one transaction: other sites see all of
// it, or nothing. Write takes the file's write lock, says where the transaction
// begins, runs the function, and commits; an error or a panic undoes everything.
// [DB.Read] reads one consistent snapshot.
//
// An application that prefers its own *sql.DB keeps it, see [Begin] and
// [DB.Adopt]. Two different SQLite libraries in one process must not open one
// file: POSIX locks belong to the process, and when either library closes the
// file, the locks of both are gone.
//
// # Values
//
// SQLite's five storage classes come and go bit for bit: nil is NULL, int64 is
// INTEGER, float64 is REAL, string is TEXT, []byte is BLOB. An empty string and
// an empty []byte are not NULL; a nil []byte is. A bool is stored as 0 or 1, the
// other integer types as INTEGER, and a [time.Time] as TEXT in UTC with nine
// digits of a second ("2026-03-01T09:30:00.000000000Z"), which sorts by time and
// which SQLite's date functions read. NaN is refused: SQLite would store NULL.
//
// # Syncing
//
// [DB.Start] runs an agent inside the application; [DB.Sync] syncs once and
// returns. A separate `tidemark edge` process does the same job; only one of them
// works on a file at a time, the others get [ErrInUse]. Nothing here needs the
// network but the first [Open] with a token, Start and Sync.
//
// # Status
//
// The first thing to show a person is [Status].OldestUnsafe: for how long work
// has been waiting that exists nowhere but here. It grows while anything is
// stuck, whatever the reason. [DB.Watch] tells whenever the status changes.
//
// # Conflicts
//
// Conflicts are decided at the hub, by the rules in tidemark.yaml, with receipts
// that can be undone there; the decision then arrives like any other change. A
// transaction that cannot be applied is parked at the hub: [DB.Queue] lists it
// with its reason and operations, and it is edited, retried or discarded at the
// hub, by whoever may (`tidemark queue`). What can be done here: work that was
// discarded, or gave way to the hub's row, is kept as a rescue copy, which
// [DB.Rescues] lists; [DB.Reapply] enters its values once more as a new
// transaction, and [DB.Dismiss] lets it go.
package tidemark
