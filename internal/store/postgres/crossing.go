package postgresstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A row that has its scope from a parent is logged under the scope which its writer saw
// there, and a parent that moves takes along the rows which its writer saw below. Two that
// write at the same time see nothing of each other: the row would be logged where it no
// longer belongs, and nobody would follow it up. Locks that prevent it would make programs
// wait for each other, and collide, which never did.
//
// So who moves a parent leaves a note of what was visible, and so does whoever may have
// seen a parent as it no longer is. When the note is committed, all that it did not see,
// and that had begun by then, is looked at: where a writer thought the row to be in another
// scope than it is, or two of them wrote to one row, everybody concerned is told to look at
// the row again. Where a row got another parent, but seems to stay in its scope, there are
// entries for all below it which no reader sees, but which are looked at here (seeming).
// What is still under way is waited for by its transaction number, and by nothing that goes
// on for other reasons. Whoever begins later sees the parent as it is.
//
// "Had begun" holds for writers whose snapshot is not older than their transaction number:
// those of READ COMMITTED. The hub's own are REPEATABLE READ, one at a time under the
// writer's lock, which following up takes, too. Others above READ COMMITTED leave a note of
// their own (crosses).
const layoutCrossing = `
CREATE TABLE tidemark.crossing (
  xid  xid8 PRIMARY KEY DEFAULT pg_current_xact_id(),
  snap pg_snapshot NOT NULL DEFAULT pg_current_snapshot(), -- the transaction saw at least this
  wait xid8[]                    -- what was under way when it was looked at; NULL: it was not yet
);
`

// crossChannel is where it is said that there is a note.
const crossChannel = "tidemark_crossing"

// crossing notes that rows below may be written at this moment by who sees another scope.
// What it covers must be done by a later statement.
const crossing = "INSERT INTO tidemark.crossing DEFAULT VALUES ON CONFLICT DO NOTHING;\n    PERFORM pg_notify('" + crossChannel + "', '')"

// noted are statements that follow rows below, after the note that covers them.
func noted(list ...[]string) []string { return append([]string{crossing}, slices.Concat(list...)...) }

// seeming is before the scope of entries that are only for following up.
const seeming = "'" + ledger.Orphan + "' || "

// crosses is crossing for writers whose snapshot may be older than what they write.
func (t *table) crosses() []string {
	if t.scope.parent == nil {
		return nil
	}
	return []string{when("_o = 0 AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable')", []string{crossing})}
}

// followEvery is how often it is looked whether what is waited for has ended.
const followEvery = 250 * time.Millisecond

// follow follows crossings up until the bell's end. It may be told of one by b.crossed.
func (b *bell) follow() {
	defer b.gone.Done()
	look := time.NewTicker(followEvery)
	defer look.Stop()
	pending := false
	for {
		var again <-chan time.Time
		if pending {
			again = look.C
		}
		select {
		case <-b.ctx.Done():
			return
		case <-b.crossed:
		case <-again:
		}
		left, err := b.s.FollowUp(b.ctx)
		if pending = left || err != nil; err != nil && b.ctx.Err() == nil {
			b.s.cfg.Log.Warn("rows whose parents moved while they were written are not followed up yet", "error", err)
			if b.s.pause(b.ctx, lookEvery) != nil {
				return
			}
		}
	}
}

// cross tells follow that there may be a crossing.
func (b *bell) cross() {
	select {
	case b.crossed <- struct{}{}:
	default:
	}
}

// FollowUp sees to it that rows which were written while their parent moved are told to
// those who have them, and who should. It is done whenever somebody waits for commits.
// pending says that some of the writers are not done yet: it must be called again. It may
// be called concurrently, and by several processes.
func (s *Store) FollowUp(ctx context.Context) (pending bool, err error) {
	due := false
	err = s.onLoan(ctx, func(c *pgx.Conn) error {
		return query(ctx, c, `SELECT count(*) > 0, coalesce(bool_or(`+crossingDue+`), false) FROM tidemark.crossing`, func(r *row) error {
			pending, due = r.bool(0), r.bool(1)
			return nil
		})
	})
	if err == nil && due {
		err = s.Update(ctx, func(ht hub.Tx) (err error) {
			pending, err = ht.(*tx).followUp()
			return err
		})
	}
	if err != nil {
		return true, fmt.Errorf("follow up rows whose parents moved: %w", err)
	}
	return pending, nil
}

const (
	underWay = `ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot()))`
	// crossingDue is whether something ended that a crossing waits for.
	crossingDue = `wait IS NULL OR NOT wait <@ ` + underWay
	// crossingSQL names the transactions to be looked at: some, and a range.
	crossingSQL = `SELECT coalesce((SELECT array_agg(DISTINCT x)::text FROM tidemark.crossing CROSS JOIN LATERAL (
			SELECT xid UNION SELECT pg_snapshot_xip(snap) WHERE wait IS NULL UNION SELECT unnest(wait)) AS u (x)
			WHERE (` + crossingDue + `) AND NOT x = ANY(` + underWay + `)), '{}'),
		coalesce((SELECT min(pg_snapshot_xmax(snap)::text::numeric)::text FROM tidemark.crossing WHERE wait IS NULL), ''), pg_snapshot_xmax(pg_current_snapshot())::text`
	crossedSQL = `UPDATE tidemark.crossing SET wait = ARRAY(SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE wait IS NULL OR x = ANY(wait)) WHERE ` + crossingDue
)

// followUp is FollowUp under the writer's lock. All its statements have one snapshot.
func (t *tx) followUp() (pending bool, err error) {
	if err := t.ready(); err != nil {
		return true, err
	}
	var points, from, to string
	err = t.query(crossingSQL, func(r *row) error {
		points, from, to = r.text(0), r.text(1), r.text(2)
		return nil
	})
	if err != nil {
		return true, err
	}
	told := int64(0)
	for _, tb := range t.p.tables {
		if tb.scope.parent == nil {
			continue
		}
		list := []any{points, int64(t.by.HLC)}
		if from != "" {
			list = append(list, from, to)
		}
		n, err := t.exec(tb.followUpSQL(from != ""), list...)
		if err != nil {
			return true, fmt.Errorf("table %s: %w", tb.def.Name, err)
		}
		told += n
	}
	if _, err := t.exec(crossedSQL); err != nil {
		return true, err
	}
	if _, err := t.exec(`DELETE FROM tidemark.crossing WHERE wait = '{}'`); err != nil {
		return true, err
	}
	err = t.query(`SELECT EXISTS (SELECT FROM tidemark.crossing)`, func(r *row) error {
		pending = r.bool(0)
		return nil
	})
	if err == nil && told > 0 {
		_, err = t.exec(`SELECT pg_notify('tidemark', '')`)
	}
	return pending, err
}

// followUpSQL logs, under all the scopes in question, rows that some transactions wrote
// as if they were in another scope than they are, rows that several of them wrote, and rows
// below one that another of them moved: they may have been elsewhere when they were last
// looked at. The transactions are parameter 1, an array, and perhaps those from parameter 3
// up to 4; it is the hub that logs, at the clock reading of parameter 2.
func (t *table) followUpSQL(span bool) string {
	entries := "SELECT tbl, key, CASE WHEN scope LIKE '" + ledger.Orphan + "_%' THEN substr(scope, 2) ELSE scope END AS scope, xid, op, pos FROM tidemark.log WHERE key IS NOT NULL AND "
	set := entries + "xid = ANY($1::text::xid8[])"
	if span {
		set += " UNION ALL " + entries + "xid >= $3::text::xid8 AND xid < $4::text::xid8"
	}
	// Where each thought that a row came to be is in its last entry but for one that says
	// where it left.
	rows := "SELECT key, scope, xid, first_value(scope) OVER (PARTITION BY key, xid ORDER BY op = " + strconv.Itoa(ledger.Leave) + ", pos DESC) AS thought FROM e WHERE tbl = " + t.number()
	with := []string{ // entries; rows of the table; who left a note, where; keys of rows below others' rows
		"e AS MATERIALIZED (" + set + ")",
		"r AS MATERIALIZED (SELECT key, array_agg(DISTINCT scope) AS scopes, array_agg(DISTINCT thought) AS thought, array_agg(DISTINCT xid) AS xids FROM (" + rows + ") AS e GROUP BY key)",
		"h AS MATERIALIZED (SELECT DISTINCT tbl, key, xid FROM e WHERE xid IN (SELECT xid FROM tidemark.crossing))",
		"u AS MATERIALIZED (" + t.belowOthersSQL() + ")",
	}
	return "WITH " + strings.Join(with, ", ") + " " + t.logInto("") + t.number() + ", r.key, " + strconv.Itoa(ledger.Follow) + ", 0, " + strconv.Itoa(ledger.Hub) + ", $2::int8, s.scope FROM r" +
		" LEFT JOIN LATERAL (SELECT " + t.expr("t.") + " AS scope FROM " + t.name + " AS t WHERE " + t.atLogKey("t.", "r.") + " OFFSET 0) AS c ON true" +
		" CROSS JOIN LATERAL (SELECT DISTINCT x.scope FROM unnest(r.scopes || c.scope) AS x (scope) WHERE x.scope NOT IN ('', '" + ledger.Orphan + "')) AS s" +
		" WHERE cardinality(r.xids) > 1 AND cardinality(r.scopes) > 1 OR c.scope <> ANY (r.thought) OR r.key IN (SELECT key FROM u)"
}

// belowOthersSQL reads, of the rows r, those below one in h that is by somebody else.
func (t *table) belowOthersSQL() string {
	from := "r CROSS JOIN LATERAL (SELECT * FROM " + t.name + " AS t WHERE " + t.atLogKey("t.", "r.") + " OFFSET 0) AS t"
	var list []string
	for c, me := t, "t."; c.scope.parent != nil; c = c.scope.parent {
		p, up := c.scope.parent, fmt.Sprintf("_p%d.", len(list))
		from += " JOIN " + p.name + " AS " + strings.TrimSuffix(up, ".") + " ON " + equals(p.pick(up, c.scope.to), c.pick(me, c.scope.from))
		list = append(list, "SELECT r.key FROM "+from+" JOIN h ON h.tbl = "+p.number()+" AND h.key = ("+p.logKey(up)+" COLLATE \"C\") AND h.xid <> ALL (r.xids)")
		me = up
	}
	return strings.Join(list, " UNION ALL ")
}
