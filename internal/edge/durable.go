package edge

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// metaSyncs counts the commits that sync made for their own sake.
const metaSyncs = "syncs"

// Which commits wait for the disk.
//
// A transaction that the hub has must never vanish from this file: the file would
// give its number to something else. So everything is written with
// synchronous=FULL, but for what relaxed runs: taking in what the hub already
// made durable. Losing the last of those commits in a power cut, together with
// every later one, leaves the file as it was a moment ago: rows, cursor, outcome
// mark and outbox states went back together, and the hub, which keeps all of them,
// answers the next session as it answered the lost one (I5). A transaction that
// is waiting again is handed in again and known as a duplicate.
//
// Such a commit may also export what the application wrote. That is synced
// before it is pushed (see sync): if both the application's commit and its export
// are lost, then the hub has not heard of them (I8). How durable a commit of the
// application's own is, is the application's setting.
//
// All this needs WAL, where a lost commit takes all later ones with it and nothing
// else. A rollback journal that was not synced can leave a damaged file.

// relaxed runs fn, which must not be inside a transaction yet, with commits that
// do not wait for the disk, where the file's journal mode allows it.
func (e *Engine) relaxed(fn func() error) error {
	if e.cfg.NoSync {
		return fn()
	}
	mode, _, err := sqlite.One(e.conn, "PRAGMA journal_mode")
	if err != nil {
		return fmt.Errorf("read journal mode: %w", err)
	}
	if !strings.EqualFold(mode.Str(), "wal") {
		return fn()
	}
	if err := sqlite.Exec(e.conn, "PRAGMA synchronous=NORMAL"); err != nil {
		return err
	}
	err = fn()
	if back := sqlite.Exec(e.conn, "PRAGMA synchronous=FULL"); err == nil {
		err = back
	}
	return err
}

// sync makes durable what relaxed commits exported: a commit that does wait for the
// disk takes with it all of the WAL before it. It must come before such a
// transaction is handed in. After Open nobody knows how an earlier process
// committed, so the first one always is.
func (e *Engine) sync() error {
	if e.synced || e.cfg.NoSync {
		return nil
	}
	n, err := e.metaInt(metaSyncs)
	if err != nil {
		return err
	}
	if err := e.setMeta(metaSyncs, change.Int(n+1)); err != nil { // a write that changes nothing is no write
		return fmt.Errorf("sync outbox: %w", err)
	}
	e.synced = true
	return nil
}

// roomyKB is the page cache of a transaction that writes all there is, in KiB. Rows come in
// the order of their keys, and other indexes are filled in any order: with SQLite's own
// 2 MB, each of their pages would be written out and read back again and again.
const roomyKB = 32 << 10

// roomy runs fn, which must not be inside a transaction yet, with that cache.
func (e *Engine) roomy(fn func() error) error {
	was, _, err := sqlite.One(e.conn, "PRAGMA cache_size")
	if err != nil {
		return fmt.Errorf("read cache size: %w", err)
	}
	if err := sqlite.Exec(e.conn, fmt.Sprintf("PRAGMA cache_size=%d", -roomyKB)); err != nil {
		return err
	}
	err = fn()
	if back := sqlite.Exec(e.conn, fmt.Sprintf("PRAGMA cache_size=%d", was.Int())); err == nil {
		err = back
	}
	return err
}
