package postgresstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A standby's snapshot lacks transactions in progress, so that a cursor minted there
// skips them (trap P15), and it takes no writes. So every connection is asked when it is
// made, and every transaction when it begins: behind a pgbouncer the server changes
// under a connection that stays.

// ErrStandby says that the server takes no writes because it copies another one.
var ErrStandby = errors.New("the server is a standby, and a hub needs the primary: name all servers in hub.database, like " +
	"postgres://tidemark@db1,db2/shop?target_session_attrs=read-write, or the address that follows the primary")

// ErrReadOnly says that the role or the database is set to read only.
var ErrReadOnly = errors.New("sessions are read-only here (default_transaction_read_only is on), and a hub writes: " +
	"ALTER ROLE … SET default_transaction_read_only = off, or leave it out of the address")

// onPrimary makes connections go to a server that takes writes, of several in a DSN the
// first one that does.
func onPrimary(pc *pgx.ConnConfig) {
	asked := pc.ValidateConnect
	pc.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if err := takesWrites(ctx, c); err != nil {
			return err
		}
		if asked != nil {
			return asked(ctx, c)
		}
		return nil
	}
}

func takesWrites(ctx context.Context, c *pgconn.PgConn) error {
	list, err := c.Exec(ctx, "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')").ReadAll()
	if err != nil {
		return fmt.Errorf("ask the server whether it takes writes: %w", err)
	}
	if len(list) != 1 || len(list[0].Rows) != 1 || len(list[0].Rows[0]) != 2 {
		return errors.New("ask the server whether it takes writes: no answer")
	}
	row := list[0].Rows[0]
	switch {
	case string(row[0]) == "t":
		return ErrStandby
	case string(row[1]) == "on":
		return ErrReadOnly
	}
	return nil
}

// wrongServer makes a refusal to write on a standby an ErrStandby.
func wrongServer(err error) error {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && pe.Code == "25006" {
		return fmt.Errorf("%w: %w", ErrStandby, err)
	}
	return err
}
