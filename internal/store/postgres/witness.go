package postgresstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A witness is a row that says what a snapshot showed when the row was written. Commits
// are replayed in the order of the WAL, and all that the snapshot shows stands before
// the row's own commit: so whatever copy of the database shows the row, a replica, a
// standby that took over, a restored archive, shows all of that, too. Numbers of WAL
// positions and timelines prove less: they are given out again by another server, and
// a standby cannot say which of them it follows.
const layoutWitness = `
CREATE TABLE tidemark.witness (
  name  text COLLATE "C" PRIMARY KEY, -- of the process that wrote it
  nonce bigint NOT NULL,              -- random, another one each time
  token text NOT NULL,                -- what was shown, see moment
  at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
`

// A witness in memory.
type witness struct {
	nonce int64
	shows moment
	lives []life // as of then
}

// testify writes a witness of now. It writes nothing to the change log: no cursor moves.
func (s *Store) testify(ctx context.Context) (w *witness, err error) {
	err = s.current(ctx, func() error {
		return s.again(ctx, func() error {
			c, err := s.pool.borrow(ctx)
			if err != nil {
				return err
			}
			defer s.pool.giveBack(c)
			return inTx(ctx, c, "BEGIN ISOLATION LEVEL REPEATABLE READ"+s.settings(), func() error {
				v := &view{s: s, ctx: ctx, c: c, p: s.plan.Load()}
				if err := v.open(); err != nil {
					return err
				}
				w, err = v.testify()
				return err
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("write a witness: %w", err)
	}
	s.replicas.pins.add(w)
	return w, nil
}

func (v *view) testify() (*witness, error) {
	m, err := v.now()
	if err != nil {
		return nil, err
	}
	w := &witness{shows: m}
	if w.lives, err = v.lineage(); err != nil {
		return nil, err
	}
	draw, err := ledger.DrawEpoch(v.s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	w.nonce = int64(draw)
	_, err = exec(v.ctx, v.c, `INSERT INTO tidemark.witness AS w (name, nonce, token) VALUES ($1::text, $2::int8, $3::text)
		ON CONFLICT (name) DO UPDATE SET nonce = excluded.nonce, token = excluded.token, at = excluded.at`, v.s.me, w.nonce, m.token())
	if err != nil {
		return nil, err
	}
	// Those of processes that are gone for long prove nothing that a newer one does not.
	_, err = exec(v.ctx, v.c, `DELETE FROM tidemark.witness WHERE at < now() - interval '1 day' AND name <> $1::text`, v.s.me)
	return w, err
}

// Testify notes in the database what it shows, so that after a failover it can be told
// which cursors are surely part of what is left. It is worth calling every few seconds
// while the change log moves; with nothing new it does nothing.
func (s *Store) Testify(ctx context.Context) error {
	s.said.Lock()
	defer s.said.Unlock()
	var now moment
	err := s.View(ctx, func(hv hub.View) (err error) {
		now, err = hv.(*view).now()
		return err
	})
	if err != nil {
		return err
	}
	if token := now.token(); token != s.saidToken {
		if _, err := s.testify(ctx); err != nil {
			return err
		}
		s.saidToken = token
	}
	return nil
}

// proven is the most that any witness in the database shows; the zero moment when there
// is none.
func proven(ctx context.Context, c *pgx.Conn) (most moment, err error) {
	err = query(ctx, c, `SELECT token FROM tidemark.witness`, func(r *row) error {
		m, err := readToken(r.text(0))
		if err == nil && m.covers(&most) {
			most = m
		}
		return err
	})
	if err != nil {
		return moment{}, fmt.Errorf("read the witnesses: %w", err)
	}
	return most, nil
}

// mostAborted is how many transactions a fork may name as not being there.
const mostAborted = 4096

// forkPoint is what is surely left of the life before, after another server took over.
// What its end in the log shows may lack transactions below that were lost: those that
// the standby had seen begin, and not commit. They count as aborted now, like any that
// was rolled back; so all aborted ones that no witness shows to be settled are left
// out, and whoever saw one of them saw something that is gone.
func (v *view) forkPoint() (moment, error) {
	sure, err := proven(v.ctx, v.c)
	if err != nil {
		return moment{}, err
	}
	if sure.max == 0 { // nobody ever testified: only the floor is sure
		return v.floor()
	}
	m, err := v.now()
	if err != nil {
		return moment{}, err
	}
	n := 0
	err = v.query(`SELECT x FROM (SELECT unnest($1::text::text[]::int8[]) AS x UNION SELECT generate_series($2::int8, $3::int8 - 1)) AS u
		WHERE x < $3::int8 AND coalesce(pg_xact_status(x::text::xid8), 'aborted') = 'aborted' ORDER BY x LIMIT $4::int8`, func(r *row) error {
		n++
		if x := uint64(r.int(0)); !slices.Contains(m.open, x) {
			m.open = append(m.open, x)
		}
		return nil
	}, sure.openList(), int64(sure.max), int64(m.max), int64(mostAborted+1))
	if err != nil {
		return moment{}, fmt.Errorf("look for transactions that were lost: %w", err)
	}
	if n > mostAborted {
		return sure, nil
	}
	slices.Sort(m.open)
	return m, nil
}

// entry is the newest log entry of a transaction.
type entry struct {
	xid        string
	pos, nonce int64
}

// mostBeyond is how many transactions beyond its witness a replica may show.
const mostBeyond = 256

// beyondOf lists the transactions in the log that a moment does not show; ok is false
// when they are too many.
func (v *view) beyondOf(m *moment) (list []entry, ok bool, err error) {
	var a args
	err = v.query("SELECT xid::text, pos, nonce FROM (SELECT DISTINCT ON (xid) xid, pos, nonce FROM tidemark.log AS l WHERE "+m.beyond("l.", &a)+
		" ORDER BY xid, pos DESC) AS one LIMIT "+strconv.Itoa(mostBeyond+1), func(r *row) error {
		list = append(list, entry{r.text(0), r.int(1), r.int(2)})
		return nil
	}, a.list...)
	return list, err == nil && len(list) <= mostBeyond, err
}

// shownAll reports whether the snapshot shows all of the entries.
func (v *view) shownAll(list []entry) (yes bool, err error) {
	if len(list) == 0 {
		return true, nil
	}
	xids, pos, nonces := make([]string, len(list)), make([]int64, len(list)), make([]int64, len(list))
	for i, e := range list {
		xids[i], pos[i], nonces[i] = e.xid, e.pos, e.nonce
	}
	err = v.query(`SELECT count(*) FROM unnest($1::text[], $2::int8[], $3::int8[]) AS e (xid, pos, nonce)
		JOIN tidemark.log AS l ON l.xid = e.xid::xid8 AND l.pos = e.pos AND l.nonce = e.nonce`, func(r *row) error {
		yes = r.int(0) == int64(len(list))
		return nil
	}, xids, pos, nonces)
	return yes, err
}
