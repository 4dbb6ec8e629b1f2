package sqlite

import (
	"errors"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// MuteTriggers makes a connection run none of the file's triggers from here on,
// only TEMP triggers of its own. Other connections are not concerned.
func MuteTriggers(c *Conn) error {
	tls, conn, err := handle(c)
	if err != nil {
		return err
	}
	args := libc.NewVaList(int32(0), uintptr(0))
	if args == 0 {
		return errors.New("mute triggers: out of memory")
	}
	defer libc.Xfree(tls, args)
	if rc := lib.Xsqlite3_db_config(tls, conn, lib.SQLITE_DBCONFIG_ENABLE_TRIGGER, args); rc != lib.SQLITE_OK {
		return errors.New("mute triggers: refused")
	}
	return nil
}
