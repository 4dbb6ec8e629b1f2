package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A standby that takes over begins a new timeline, and says nothing to anybody. What it
// had not received is gone, and the numbers of those transactions are given out again.
// So the timeline that a life belongs to is noted in the database, where whoever takes
// over finds the old one: every transaction of ours that begins on another timeline
// than the noted one ends with errPromoted, until a new life began that leaves the one
// before where surely nothing is missing; see forkPoint.

// timelineSQL is the timeline that the server writes, "" on a standby.
const timelineSQL = `CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END`

// notedSQL is the timeline that is noted, "" when none is.
const notedSQL = `coalesce((SELECT value FROM tidemark.meta WHERE key = '` + metaTimeline + `'), '')`

// errPromoted says that another server took over, and no life began there yet.
var errPromoted = errors.New("another server took over the database")

// election is what a store knows of servers that took over.
type election struct {
	settle atomic.Pointer[func(context.Context) error] // see OnPromotion; nil: nobody is there yet who could serve
	gate   gate                                        // one settles at a time
	let    atomic.Pointer[string]                      // a timeline on which the hub waits for its operator
}

var _ hub.Promotable = (*Store)(nil)

// OnPromotion implements hub.Promotable.
func (s *Store) OnPromotion(settle func(context.Context) error) { s.elected.settle.Store(&settle) }

type settlingKey struct{}

// stand judges where a view is opened. The timeline is "" on a standby.
func (v *view) stand(timeline, noted string) error {
	switch {
	case timeline == "":
		return ErrStandby
	case noted == "" || timeline == noted:
		return nil
	}
	let := v.s.elected.let.Load()
	if v.ctx.Value(settlingKey{}) == nil && v.s.elected.settle.Load() != nil && (let == nil || *let != timeline) {
		return errPromoted
	}
	v.promoted = timeline
	return nil
}

// settle lets the hub decide what becomes of a database that another server took over.
// When it decided to wait, transactions go on, and the hub serves nothing.
func (s *Store) settle(ctx context.Context) error {
	if err := s.elected.gate.lock(ctx); err != nil {
		return err
	}
	defer s.elected.gate.unlock()
	ctx = context.WithValue(ctx, settlingKey{}, true)
	timeline, epoch, err := s.unsettled(ctx)
	if err != nil || timeline == "" {
		return err
	}
	ctx = hub.InLife(ctx, epoch) // what is decided is decided about this one
	s.cfg.Log.Warn("another PostgreSQL server took over the database", "timeline", timeline)
	if err := (*s.elected.settle.Load())(ctx); err != nil {
		return fmt.Errorf("after another server took over: %w", err)
	}
	if timeline, _, err = s.unsettled(ctx); err == nil && timeline != "" {
		s.elected.let.Store(&timeline)
	}
	return err
}

// unsettled is the timeline on which no life began yet, "" when there is none, and the
// present life.
func (s *Store) unsettled(ctx context.Context) (timeline string, epoch change.Epoch, err error) {
	err = s.View(ctx, func(hv hub.View) error {
		v := hv.(*view)
		timeline = v.promoted
		list, err := v.recorded()
		if err == nil {
			epoch = present(list)
		}
		return err
	})
	return timeline, epoch, err
}

// amended is the lineage on a timeline that no life belongs to: the last one's end is
// where surely nothing is missing.
func (v *view) amended(list []life) ([]life, error) {
	end, err := v.forkPoint()
	if err != nil {
		return nil, err
	}
	out := slices.Clone(list)
	out[len(out)-1].end = &end
	return out, nil
}

// fork is where a life that begins now leaves the one before.
func (t *tx) fork() (change.Cursor, error) {
	if t.promoted == "" {
		return t.Cursor()
	}
	list, err := t.lineage()
	if err != nil {
		return change.Cursor{}, err
	}
	return change.Cursor{Epoch: present(list), Token: list[len(list)-1].end.token()}, nil
}

// noteFirstTimeline notes the timeline where none is noted yet, or anyhow.
func noteFirstTimeline(ctx context.Context, c *pgx.Conn, anyhow bool) error {
	over := "DO NOTHING"
	if anyhow {
		over = "(key) DO UPDATE SET value = excluded.value"
	}
	_, err := exec(ctx, c, `INSERT INTO tidemark.meta (key, value) VALUES ('`+metaTimeline+`', `+timelineSQL+`) ON CONFLICT `+over)
	if err != nil {
		return fmt.Errorf("note the timeline: %w", err)
	}
	return nil
}

// noteTimeline notes the timeline that a new life belongs to.
func (t *tx) noteTimeline() error {
	if t.promoted == "" {
		return nil
	}
	timeline := t.promoted
	t.promoted = ""
	return setMeta(t.ctx, t.c, metaTimeline, timeline)
}
