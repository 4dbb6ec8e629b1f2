package sqlite

import (
	"zombiezen.com/go/sqlite"
)

// IsBusy reports whether err says that somebody else holds the file's lock.
func IsBusy(err error) bool {
	c := code(err)
	return c == sqlite.ResultBusy || c == sqlite.ResultLocked
}

// IsFull reports whether err says that the disk is full.
func IsFull(err error) bool { return code(err) == sqlite.ResultFull }

// IsReadOnly reports whether err says that the file or its directory cannot be
// written.
func IsReadOnly(err error) bool {
	c := code(err)
	return c == sqlite.ResultReadOnly || c == sqlite.ResultPerm
}

// IsDamaged reports whether err says that the file is no SQLite file, or a broken one.
func IsDamaged(err error) bool {
	c := code(err)
	return c == sqlite.ResultCorrupt || c == sqlite.ResultNotADB
}

// IsGone reports whether err says that the file cannot be opened or read at all.
func IsGone(err error) bool {
	c := code(err)
	return c == sqlite.ResultCantOpen || c == sqlite.ResultIOErr
}

func code(err error) sqlite.ResultCode {
	if err == nil {
		return sqlite.ResultOK
	}
	return sqlite.ErrCode(err).ToPrimary()
}
