package edge

import (
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// upgrade brings the tables that an earlier build left in the file up to
// layoutSQL, in one transaction: whoever opens the file meanwhile sees the old
// ones or the new ones.
func (e *Engine) upgrade() error {
	return sqlite.Immediate(e.conn, func() error {
		have, err := e.metaInt(metaFormat)
		if err != nil || have >= layoutFormat { // another process was faster
			return err
		}
		// The tables of ours are no drift. One that was there before stays one.
		before, err := e.version()
		if err != nil {
			return err
		}
		built, err := e.metaInt(metaVersion)
		if err != nil {
			return err
		}
		if err := sqlite.Script(e.conn, layoutSQL); err != nil {
			return err
		}
		if err := e.addEpoch(); err != nil {
			return err
		}
		if built == before {
			if err := e.noteVersion(); err != nil {
				return err
			}
		}
		return e.setMeta(metaFormat, change.Int(layoutFormat))
	})
}

// addEpoch gives an outbox of layout 1 its epochs. What the hub had confirmed then
// it confirmed in the life that the file's cursor is of, or in an earlier one that
// nobody can tell any more.
func (e *Engine) addEpoch() error {
	_, has, err := sqlite.One(e.conn, `SELECT 1 FROM pragma_table_info('_tidemark_outbox') WHERE name='epoch'`)
	if err != nil || has {
		return err
	}
	if err := sqlite.Script(e.conn, `ALTER TABLE _tidemark_outbox ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0`); err != nil {
		return err
	}
	v, err := e.meta(metaCursor)
	if err != nil {
		return err
	}
	c, err := change.ParseCursor(v.Str())
	if err != nil || c.IsZero() {
		return err
	}
	if err := sqlite.Exec(e.conn, `UPDATE _tidemark_outbox SET epoch=? WHERE state<>?`, epochValue(c.Epoch), change.Int(int64(waiting))); err != nil {
		return err
	}
	return e.setMeta(metaEpoch, epochValue(c.Epoch))
}
