package tidemark

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Stamp is the statement that says where a transaction begins. Any program may run
// it as the first statement after BEGIN IMMEDIATE on an enrolled file: what it
// commits then travels as exactly this transaction. [DB.Write] and [Begin] do.
const Stamp = "UPDATE _tidemark_tx SET id = id + 1"

// An Execer runs a statement: *sql.Tx and *sql.Conn do.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Begin says where a transaction begins, on the application's own connection: call
// it right after BeginTx, before the first statement that writes.
func Begin(ctx context.Context, tx Execer) error {
	if _, err := tx.ExecContext(ctx, Stamp); err != nil {
		return fmt.Errorf("mark the transaction's begin: %w", err)
	}
	return nil
}

// driverPackage is the SQLite library this process may use on the file: the same
// engine that this package brings.
const driverPackage = "modernc.org/sqlite"

// Adopt checks that the application may use its own connections beside this DB in
// one process: that they come from the driver modernc.org/sqlite, which is the
// same engine, and that they lead to the same file. Any other driver is refused
// with [ErrDriver]: two SQLite libraries in one process wipe each other's locks on
// a file, which damages it sooner or later. Close such connections at once, or
// leave syncing to a `tidemark edge` process of its own. A driver that wraps
// another one cannot be looked into and is refused, too.
//
// The agent hears of what those connections write from the file system, within
// Config.Poll at the latest. Set busy_timeout and foreign_keys on them, as on any
// SQLite connection.
func (db *DB) Adopt(own *sql.DB) error {
	t := reflect.TypeOf(own.Driver())
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() != driverPackage {
		return fmt.Errorf("adopt: %w: the driver is %s, and only %s may open %s beside it", ErrDriver, orUnnamed(t), driverPackage, db.cfg.Path)
	}
	if err := db.usable(context.Background()); err != nil {
		return err
	}
	var path string
	if err := own.QueryRow("SELECT file FROM pragma_database_list WHERE name='main'").Scan(&path); err != nil {
		return fmt.Errorf("adopt: look at the connection: %w", err)
	}
	theirs, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("adopt: the connection leads to %q: %w", path, err)
	}
	ours, err := os.Stat(db.cfg.Path)
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	if !os.SameFile(theirs, ours) {
		return fmt.Errorf("adopt: the connection leads to %s, not to %s", path, db.cfg.Path)
	}
	return nil
}

func orUnnamed(t reflect.Type) string {
	return strings.TrimPrefix(t.PkgPath()+"."+t.Name(), ".")
}
