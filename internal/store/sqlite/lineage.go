package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A life is one branch of the lineage as the file keeps it.
type life struct {
	change.Branch
	end int64 // log position at which the next life left this one; unlimited for the present one
}

// unlimited is the end of the present life.
const unlimited = int64(^uint64(0) >> 1)

// present is the present life of a lineage, which is never empty.
func present(list []life) change.Epoch { return list[len(list)-1].Epoch }

// found gives a file that has no lineage its first life: the epoch that it has
// already, from before there were lineages, or a new one.
func (s *Store) found() (fresh bool, err error) {
	list, err := readLives(s.writer)
	if err != nil || len(list) > 0 {
		s.lives.Store(&list)
		return false, err
	}
	epoch, err := meta(s.writer, metaEpoch)
	if err != nil {
		return false, err
	}
	fresh = epoch.IsNull()
	b := change.Branch{Epoch: change.Epoch(epoch.Int()), Mode: change.Founded}
	if fresh {
		if b.Epoch, err = ledger.DrawEpoch(s.cfg.Rand); err != nil {
			return false, err
		}
		b.At = s.cfg.Clock.Now()
	}
	if err := addLife(s.writer, b); err != nil {
		return false, err
	}
	list, err = readLives(s.writer)
	s.lives.Store(&list)
	return fresh, err
}

// addLife makes b the present life. The epoch in meta is what builds look for
// that know no lineage.
func addLife(c *sqlite.Conn, b change.Branch) error {
	r := ledger.RowOf(b)
	err := sqlite.Exec(c, `INSERT INTO _tidemark_epoch (epoch, fork, mode, at) VALUES (?, ?, ?, ?)`,
		change.Int(r.Epoch), change.Text(r.Fork), change.Text(r.Mode), change.Int(r.At))
	if err != nil {
		return fmt.Errorf("write lineage: %w", err)
	}
	return setMeta(c, metaEpoch, change.Int(r.Epoch))
}

func readLives(c *sqlite.Conn) ([]life, error) {
	var list []life
	err := sqlite.Query(c, `SELECT epoch, fork, mode, at FROM _tidemark_epoch ORDER BY n`, func(s *sqlite.Stmt) error {
		b, err := ledger.LifeRow{Epoch: s.ColumnInt64(0), Fork: s.ColumnText(1), Mode: s.ColumnText(2), At: s.ColumnInt64(3)}.Branch()
		if err != nil {
			return err
		}
		if n := len(list); n > 0 {
			if list[n-1].end, _, err = readToken(b.Fork.Token); err != nil {
				return err
			}
		}
		list = append(list, life{Branch: b, end: unlimited})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read lineage: %w", err)
	}
	return list, nil
}

// lineage is the lives as of the snapshot. Another process may have begun one, so
// what the store remembers only counts while the epoch is the same.
func (v *view) lineage() ([]life, error) {
	if v.lives != nil {
		return v.lives, nil
	}
	f, err := v.known()
	if err != nil {
		return nil, err
	}
	if list := *v.s.lives.Load(); present(list) == f.epoch {
		v.lives = list
		return list, nil
	}
	list, err := readLives(v.c)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || present(list) != f.epoch {
		return nil, fmt.Errorf("read lineage: it does not end with the hub's epoch %s", f.epoch)
	}
	v.lives = list
	if v.flush == nil { // not what a write transaction may yet undo
		v.s.lives.Store(&list)
	}
	return list, nil
}

// Lineage implements hub.View.
func (v *view) Lineage() ([]change.Branch, error) {
	list, err := v.lineage()
	if err != nil {
		return nil, err
	}
	out := make([]change.Branch, len(list))
	for i := range list {
		out[i] = list[i].Branch
	}
	return out, nil
}

// Begin implements hub.Store.
func (s *Store) Begin(ctx context.Context, mode change.BranchMode) (change.Branch, error) {
	b := change.Branch{Mode: mode, At: s.cfg.Clock.Now().Truncate(time.Millisecond).UTC()}
	err := s.Update(ctx, func(ht hub.Tx) (err error) {
		t := ht.(*tx)
		if err = hub.SameLife(ctx, t); err != nil {
			return err
		}
		if b.Fork, err = t.Cursor(); err != nil {
			return err
		}
		if b.Epoch, err = ledger.DrawEpoch(s.cfg.Rand); err != nil {
			return err
		}
		if err := addLife(t.c, b); err != nil {
			return err
		}
		t.lives = nil
		return t.retell()
	})
	if err != nil {
		return change.Branch{}, fmt.Errorf("begin a new life of the hub: %w", err)
	}
	return b, nil
}

// retell gives out new marks for what waits in quarantine. A device may have heard
// of other outcomes, under marks that this file never gave: those to come must be
// newer than all of them.
func (t *tx) retell() error {
	last, err := t.mark()
	if err != nil {
		return err
	}
	next := last + ledger.MarkLeap
	if err := setMeta(t.c, metaMark, change.Int(next)); err != nil {
		return err
	}
	// Marks are below markLeap from one another, so that those moved cannot meet others.
	err = sqlite.Exec(t.c, `UPDATE _tidemark_tx SET mark = mark + ? WHERE status = ?`, change.Int(ledger.MarkLeap), change.Int(int64(hub.Quarantined)))
	if err != nil {
		return fmt.Errorf("tell of the quarantine again: %w", err)
	}
	return t.notch()
}
