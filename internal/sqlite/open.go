package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Conn is the native connection. It must not be used by two goroutines at once.
type Conn = sqlite.Conn

// Stmt is a prepared statement, owned by its Conn.
type Stmt = sqlite.Stmt

// Options say how to open a file. The zero value opens an existing or new file
// for reading and writing, in the journal mode the file already has.
type Options struct {
	ReadOnly  bool
	MustExist bool          // error instead of creating the file
	WAL       bool          // switch the file to WAL
	Busy      time.Duration // how long to wait for a lock; 0 means DefaultBusy, negative means not at all
	// NoSync turns fsync off. For tests and the simulator only: a power cut may
	// then lose what was answered as durable.
	NoSync bool
	// Full makes each commit durable in WAL mode too (synchronous=FULL), as every
	// file whose commits are acknowledged to someone else must be.
	Full    bool
	CacheKB int // page cache; 0 leaves SQLite's default of 2 MB
}

// DefaultBusy is how long a connection waits for a lock before SQLITE_BUSY.
const DefaultBusy = 10 * time.Second

// Open opens a file. Foreign keys are off: the corridor checks them itself
// (trap S6). Double-quoted string literals are accepted in the schema, as in the
// C library's default build (trap S15).
func Open(path string, o Options) (*Conn, error) {
	flags := sqlite.OpenReadWrite | sqlite.OpenCreate | sqlite.OpenURI
	switch {
	case o.ReadOnly:
		flags = sqlite.OpenReadOnly | sqlite.OpenURI
	case o.MustExist:
		flags = sqlite.OpenReadWrite | sqlite.OpenURI
	}
	c, err := sqlite.OpenConn(path, flags&^sqlite.OpenURI)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := setup(c, o); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return c, nil
}

func setup(c *Conn, o Options) error {
	busy := o.Busy
	if busy == 0 {
		busy = DefaultBusy
	}
	c.SetBusyTimeout(max(busy, 0))
	if err := acceptDoubleQuoted(c); err != nil {
		return err
	}
	pragmas := []string{"PRAGMA foreign_keys=OFF", "PRAGMA recursive_triggers=OFF"}
	if o.WAL && !o.ReadOnly {
		pragmas = append(pragmas, "PRAGMA journal_mode=WAL")
	}
	switch {
	case o.NoSync:
		pragmas = append(pragmas, "PRAGMA synchronous=OFF")
	case o.Full:
		pragmas = append(pragmas, "PRAGMA synchronous=FULL")
	default:
		pragmas = append(pragmas, "PRAGMA synchronous=NORMAL")
	}
	if o.CacheKB > 0 {
		pragmas = append(pragmas, fmt.Sprintf("PRAGMA cache_size=-%d", o.CacheKB))
	}
	for _, p := range pragmas {
		if err := sqlitex.ExecuteTransient(c, p, nil); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}
