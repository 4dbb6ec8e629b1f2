package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// recognize notices that the database came to another cluster, by dump and restore:
// transactions are counted anew there, so that no number in the log or in a cursor
// means anything any more (trap P10). That is a restore: a new life begins, and
// everyone reads anew.
func (s *Store) recognize(ctx context.Context, c *pgx.Conn) error {
	system := ""
	err := query(ctx, c, `SELECT system_identifier::text FROM pg_control_system()`, func(r *row) error {
		system = r.text(0)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the cluster's identity: %w", err)
	}
	was, err := meta(ctx, c, metaSystem)
	if err != nil || was == system {
		return errors.Join(err, noteFirstTimeline(ctx, c, false))
	}
	err = errors.Join(setMeta(ctx, c, metaSystem, system), noteFirstTimeline(ctx, c, true))
	if err != nil {
		return err
	}
	if was == "" {
		return nil
	}
	s.cfg.Log.Warn("the database was moved to another PostgreSQL cluster: a new life of the hub begins, and every device reads its data anew")
	v := &view{s: s, ctx: ctx, c: c}
	end := moment{}
	err = query(ctx, c, `SELECT xid::text, pos, nonce FROM tidemark.log ORDER BY xid DESC, pos DESC LIMIT 1`, func(r *row) error {
		x, err := strconv.ParseUint(r.text(0), 10, 64)
		end = moment{max: x + 1, pos: r.int(1), nonce: r.int(2)}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the log's end: %w", err)
	}
	if floor, err := v.floor(); err != nil {
		return err
	} else if floor.max > end.max {
		end = floor
	}
	list, err := readLives(ctx, c)
	if err != nil {
		return err
	}
	b := change.Branch{Mode: change.Restored, At: s.cfg.Clock.Now(), Fork: change.Cursor{Epoch: present(list), Token: end.token()}}
	if b.Epoch, err = ledger.DrawEpoch(s.cfg.Rand); err != nil {
		return err
	}
	if err := addLife(ctx, c, b); err != nil {
		return err
	}
	return s.countAnew(ctx, c, len(list))
}

// countAnew empties the log, which speaks of the other cluster's transactions, and
// puts the floor above everything before.
func (s *Store) countAnew(ctx context.Context, c *pgx.Conn, lives int) error {
	err := script(ctx, c, `TRUNCATE tidemark.log, tidemark.time, tidemark.witness, tidemark.reopened; DELETE FROM tidemark.meta WHERE key IN ('floor', 'sunk', '`+metaSeals+`')`)
	if err != nil {
		return fmt.Errorf("empty the change log: %w", err)
	}
	t := &tx{view: view{s: s, ctx: ctx, c: c}}
	t.flush = t.whole
	if err := setMeta(ctx, c, metaReset, strconv.Itoa(lives)); err != nil {
		return err
	}
	if err := t.retell(); err != nil { // this writes the first entry, too
		return err
	}
	m, err := t.now()
	if err != nil {
		return err
	}
	if err := setMeta(ctx, c, metaFloor, m.token()); err != nil {
		return err
	}
	list, err := readLives(ctx, c)
	if err != nil {
		return err
	}
	s.lives.Store(&list)
	return nil
}
