package postgresstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

const (
	datedEvery = 60_000           // ms between entries of tidemark.time
	sinkRest   = 10 * time.Minute // how long a floor stands before what is below it is dropped
	pruneStep  = 20_000           // log entries deleted at once
)

// Prune implements hub.Store. What counts is when an entry came to the hub, to about
// a minute, not the clock it carries: an edge that was away for weeks hands in old
// readings. The floor moves at once, and hides what is below it; the days that are
// wholly below go as partitions, when no snapshot from before can be in use any more.
func (s *Store) Prune(ctx context.Context, before time.Time) (change.Cursor, error) {
	var floor change.Cursor
	var gone *moment
	err := s.Update(ctx, func(ht hub.Tx) (err error) {
		t := ht.(*tx)
		if floor, gone, err = t.sink(before); err != nil {
			return err
		}
		return t.pruneJournal(before)
	})
	if err == nil {
		err = s.tidy(ctx, gone)
	}
	if err != nil {
		return change.Cursor{}, fmt.Errorf("prune: %w", err)
	}
	return floor, nil
}

// sink moves the floor to the last moment that was noted before a time. gone is the
// floor that stood long enough; nil when none did.
func (t *tx) sink(before time.Time) (at change.Cursor, gone *moment, err error) {
	floor, err := t.floor()
	if err != nil {
		return at, nil, err
	}
	now := t.s.cfg.Clock.Now()
	next := floor
	if before.After(now) { // all there is
		if next, err = t.now(); err != nil {
			return at, nil, err
		}
	} else {
		err = t.query(`SELECT token FROM tidemark.time WHERE at < $1::int8 ORDER BY at DESC LIMIT 1`, func(r *row) (err error) {
			next, err = readToken(r.text(0))
			return err
		}, before.UnixMilli())
		if err != nil {
			return at, nil, err
		}
	}
	if !next.covers(&floor) {
		next = floor
	}
	if gone, err = t.rest(&floor, &next, now); err != nil {
		return at, nil, err
	}
	if _, err := t.exec(`DELETE FROM tidemark.time WHERE at < $1::int8`, before.UnixMilli()-datedEvery); err != nil {
		return at, nil, err
	}
	if next.max > 0 {
		if err := setMeta(t.ctx, t.c, metaFloor, next.token()); err != nil {
			return at, nil, err
		}
	}
	t.low = &next
	at, err = t.mint(&next)
	return at, gone, err
}

// rest remembers a floor that is left, until it has been left for sinkRest. Who
// began to read before it was set has ended by then.
func (t *tx) rest(floor, next *moment, now time.Time) (gone *moment, err error) {
	s, err := meta(t.ctx, t.c, metaSunk)
	if err != nil {
		return nil, err
	}
	ms, token, _ := strings.Cut(s, " ")
	since, err := strconv.ParseInt(ms, 10, 64)
	if s != "" && err == nil && now.Sub(time.UnixMilli(since)) < sinkRest {
		return nil, nil //nolint:nilnil // none yet
	}
	if s != "" && err == nil {
		m, err := readToken(token)
		if err != nil {
			return nil, err
		}
		gone = &m
	}
	if next.max > 0 {
		err = setMeta(t.ctx, t.c, metaSunk, strconv.FormatInt(now.UnixMilli(), 10)+" "+next.token())
	} else {
		err = nil
	}
	return gone, err
}

// pruneJournal drops what old transactions did. That they came, and what became
// of them, stays for good: a device restored from an old backup hands them in
// again, and one that was away has not heard of the outcome yet. Those that a
// person parked or discarded stay whole.
func (t *tx) pruneJournal(before time.Time) error {
	_, err := t.exec(`DELETE FROM tidemark.batch AS b WHERE NOT EXISTS
		(SELECT FROM tidemark.tx AS t WHERE t.batch = b.id AND (t.at >= $1::int8 OR t.status IN ($2::int2, $3::int2)))`,
		before.UnixMilli(), int64(hub.Quarantined), int64(hub.Discarded))
	return err
}

// tidy looks after the log's partitions. gone is the floor below which they may go,
// or nil.
func (s *Store) tidy(ctx context.Context, gone *moment) error {
	c, err := s.pool.borrow(ctx)
	if err != nil {
		return err
	}
	defer s.pool.giveBack(c)
	if gone != nil {
		if err := s.sweep(ctx, c, gone); err != nil {
			return err
		}
	}
	return s.tend(ctx, c)
}

// sweep drops the partitions that are wholly below a floor, and deletes what is below
// it where days share a partition. To drop one, nobody may be using the log: where there
// is always somebody, it is emptied at least, for which only its own readers count.
func (s *Store) sweep(ctx context.Context, c *pgx.Conn, floor *moment) error {
	parts, err := days(ctx, c)
	if err != nil {
		return err
	}
	now, err := serverNow(ctx, c)
	if err != nil {
		return err
	}
	today := now.Format(dayName)
	how := "DROP TABLE"
	for _, p := range parts {
		if p >= today {
			break
		}
		done, err := s.discard(ctx, c, p, floor, how)
		if err == nil && !done && how == "DROP TABLE" {
			how = "TRUNCATE"
			_, err = s.discard(ctx, c, p, floor, how)
		}
		if err != nil {
			return fmt.Errorf("drop %s: %w", p, err)
		}
	}
	for more := true; more; {
		var a args
		n, err := exec(ctx, c, "DELETE FROM tidemark.log_other WHERE ctid = ANY(ARRAY(SELECT l.ctid FROM tidemark.log_other AS l WHERE NOT ("+
			floor.beyond("l.", &a)+") LIMIT "+strconv.Itoa(pruneStep)+"))", a.list...)
		if err != nil {
			return err
		}
		more = n == pruneStep
	}
	_, err = exec(ctx, c, `DELETE FROM tidemark.orphan WHERE NOT EXISTS (SELECT FROM tidemark.log WHERE scope = '?')`)
	return err
}

// discard drops or empties a partition that holds nothing beyond a floor. Whether it does
// is looked at twice: without a lock, and under one that nobody gets before all who wrote
// there are done.
func (s *Store) discard(ctx context.Context, c *pgx.Conn, name string, floor *moment, how string) (done bool, err error) {
	some := func(what string) (yes bool, err error) {
		var a args
		err = query(ctx, c, "SELECT EXISTS (SELECT FROM tidemark."+quote(name)+" AS l WHERE "+floor.beyond("l.", &a)+")"+what, func(r *row) error {
			yes = r.bool(0)
			return nil
		}, a.list...)
		return yes, err
	}
	empty := ""
	if how == "TRUNCATE" { // which is done already, maybe
		empty = " OR NOT EXISTS (SELECT FROM tidemark." + quote(name) + ")"
	}
	if rest, err := some(empty); err != nil || rest {
		return true, err
	}
	return s.patch(ctx, c, "", func() error {
		if err := script(ctx, c, "LOCK TABLE tidemark."+quote(name)+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		if rest, err := some(""); err != nil || rest {
			return err
		}
		return script(ctx, c, how+" tidemark."+quote(name))
	})
}

// date notes about once a minute what the log shows.
func (t *tx) date() error {
	now := t.s.cfg.Clock.Now().UnixMilli()
	t.s.dating.Lock()
	d := now - t.s.dated
	t.s.dating.Unlock()
	if d >= 0 && d < datedEvery {
		return nil
	}
	m, err := t.now()
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO tidemark.time (at, token) VALUES ($1::int8, $2::text) ON CONFLICT (at) DO UPDATE SET token = excluded.token`, now, m.token())
	if err != nil {
		return fmt.Errorf("date the change log: %w", err)
	}
	t.s.dating.Lock()
	t.s.dated = now
	t.s.dating.Unlock()
	return nil
}
