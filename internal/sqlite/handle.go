package sqlite

import (
	"errors"
	"reflect"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The driver switches double-quoted string literals off on every connection and
// offers no way back, so that schemas which the C library's default build accepts
// cannot be opened (trap S15). handle reaches the two fields sqlite3_db_config
// needs; TestTrapS15 fails at once should a new driver version move them.
func handle(c *Conn) (*libc.TLS, uintptr, error) {
	v := reflect.ValueOf(c).Elem()
	tls, conn := v.FieldByName("tls"), v.FieldByName("conn")
	if !tls.IsValid() || !conn.IsValid() || tls.Kind() != reflect.Pointer || conn.Kind() != reflect.Uintptr {
		return nil, 0, errors.New("reach the native connection: the driver's layout is not the one this build knows")
	}
	return (*libc.TLS)(unsafe.Pointer(tls.Pointer())), uintptr(conn.Uint()), nil
}

// acceptDoubleQuoted makes "text" a string literal where no column has the name.
func acceptDoubleQuoted(c *Conn) error {
	tls, conn, err := handle(c)
	if err != nil {
		return err
	}
	args := libc.NewVaList(int32(1), uintptr(0))
	if args == 0 {
		return errors.New("configure the native connection: out of memory")
	}
	defer libc.Xfree(tls, args)
	for _, op := range []int32{lib.SQLITE_DBCONFIG_DQS_DDL, lib.SQLITE_DBCONFIG_DQS_DML} {
		if rc := lib.Xsqlite3_db_config(tls, conn, op, args); rc != lib.SQLITE_OK {
			return errors.New("configure the native connection: double-quoted string literals refused")
		}
	}
	return nil
}
