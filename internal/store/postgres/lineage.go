package postgresstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A life is one branch of the lineage as the database keeps it.
type life struct {
	change.Branch
	end *moment // where the next life left this one; nil for the present one
}

// present is the present life of a lineage, which is never empty.
func present(list []life) change.Epoch { return list[len(list)-1].Epoch }

// epochText is an epoch as meta holds it.
func epochText(e change.Epoch) string { return strconv.FormatInt(int64(e), 10) }

// found gives a database that has no lineage its first life.
func (s *Store) found(ctx context.Context, c *pgx.Conn) error {
	list, err := readLives(ctx, c)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		s.fresh = true
		b := change.Branch{Mode: change.Founded, At: s.cfg.Clock.Now()}
		if b.Epoch, err = ledger.DrawEpoch(s.cfg.Rand); err != nil {
			return err
		}
		if err := addLife(ctx, c, b); err != nil {
			return err
		}
		if list, err = readLives(ctx, c); err != nil {
			return err
		}
	}
	s.lives.Store(&list)
	return nil
}

// addLife makes b the present life.
func addLife(ctx context.Context, c *pgx.Conn, b change.Branch) error {
	r := ledger.RowOf(b)
	_, err := exec(ctx, c, `INSERT INTO tidemark.epoch (n, epoch, fork, mode, at)
		SELECT coalesce(max(n), 0) + 1, $1::int8, $2::text, $3::text, $4::int8 FROM tidemark.epoch`, r.Epoch, r.Fork, r.Mode, r.At)
	if err != nil {
		return fmt.Errorf("write lineage: %w", err)
	}
	return setMeta(ctx, c, metaEpoch, epochText(b.Epoch))
}

func readLives(ctx context.Context, c *pgx.Conn) ([]life, error) {
	var list []life
	err := query(ctx, c, `SELECT epoch, fork, mode, at FROM tidemark.epoch ORDER BY n`, func(r *row) error {
		b, err := ledger.LifeRow{Epoch: r.int(0), Fork: r.text(1), Mode: r.text(2), At: r.int(3)}.Branch()
		if err != nil {
			return err
		}
		if n := len(list); n > 0 {
			m, err := readToken(b.Fork.Token)
			if err != nil {
				return err
			}
			list[n-1].end = &m
		}
		list = append(list, life{Branch: b})
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
	list, err := v.recorded()
	if err == nil && v.promoted != "" {
		list, err = v.amended(list)
	}
	if err != nil {
		return nil, err
	}
	v.lives = list
	return list, nil
}

// recorded is the lives that the database holds.
func (v *view) recorded() ([]life, error) {
	epoch, err := meta(v.ctx, v.c, metaEpoch)
	if err != nil {
		return nil, err
	}
	if list := *v.s.lives.Load(); epochText(present(list)) == epoch {
		return list, nil
	}
	list, err := readLives(v.ctx, v.c)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || epochText(present(list)) != epoch {
		return nil, fmt.Errorf("read lineage: it does not end with the hub's epoch %s", epoch)
	}
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
		if b.Fork, err = t.fork(); err != nil {
			return err
		}
		if b.Epoch, err = ledger.DrawEpoch(s.cfg.Rand); err != nil {
			return err
		}
		if err := addLife(t.ctx, t.c, b); err != nil {
			return err
		}
		t.lives = nil
		if err := t.noteTimeline(); err != nil {
			return err
		}
		return t.retell()
	})
	if err != nil {
		return change.Branch{}, fmt.Errorf("begin a new life of the hub: %w", err)
	}
	return b, nil
}

// retell gives out new marks for what waits in quarantine. A device may have heard
// of other outcomes, under marks that this database never gave: those to come must be
// newer than all of them.
func (t *tx) retell() error {
	if err := t.whole(); err != nil {
		return err
	}
	last, err := t.lastMark()
	if err != nil {
		return err
	}
	if err := t.setMark(last + ledger.MarkLeap); err != nil {
		return err
	}
	// Marks are below markLeap from one another, so that those moved cannot meet others.
	_, err = exec(t.ctx, t.c, `UPDATE tidemark.tx SET mark = mark + $1::int8 WHERE status = $2::int2`, ledger.MarkLeap, int64(hub.Quarantined))
	if err != nil {
		return fmt.Errorf("tell of the quarantine again: %w", err)
	}
	return t.notch()
}
