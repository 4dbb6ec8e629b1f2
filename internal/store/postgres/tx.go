package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A tx is the one write transaction in progress, of all the processes'.
//
// What it writes is kept back until something reads or a savepoint ends, and then
// sent together: see flush.
type tx struct {
	view
	by      ledger.Author
	origins ledger.Origins // numbers looked up in this transaction

	ops    []op          // kept back
	raw    []string      // statements to be sent before them
	before int           // how many such were sent, or dropped
	sent   ledger.Author // whom the database knows to write; zero: nobody
	depth  int           // of savepoints
	other  []*op         // what landed otherwise than it was written, see tell
	late   []op          // deletes that wait, see hide
	took   bool          // a delete may have taken rows along that are still to be written
	fault  error         // why the whole Update must run again, whatever fn makes of it

	seen  foresight
	haste haste
	books books
	begun change.Cursor // what Foresee found; zero: it was not called
	wrote bool          // something that the log tells of
}

var _ hub.Tx = (*tx)(nil)

func newTx(s *Store, ctx context.Context, c *pgx.Conn) *tx {
	t := &tx{view: view{s: s, ctx: ctx, c: c, p: s.plan.Load()}}
	t.flush = t.whole
	return t
}

// Again implements hub.Tx: any Update may run again here.
func (t *tx) Again() {}

// Savepoint implements hub.Tx. Its statements are kept back like writes.
func (t *tx) Savepoint(fn func() error) error {
	if t.hasty() {
		return t.hurry(fn)
	}
	if len(t.ops) > 0 || t.haste.open {
		if err := t.put(); err != nil {
			return err
		}
	}
	if err := t.keep(); err != nil { // what a savepoint undoes must not be more than its own
		return err
	}
	p := t.begin()
	t.set(&p)
	t.depth++
	return t.leave(&p, fn())
}

// A savepoint is one that fn runs in.
type savepoint struct {
	name string
	at   int // of its statement, among all that were ever in t.raw
	by   ledger.Author
	late []op
	undo int
}

func (t *tx) begin() savepoint {
	return savepoint{name: "tidemark_" + strconv.Itoa(t.depth), by: t.by, late: slices.Clone(t.late), undo: len(t.seen.undo)}
}

// set queues a savepoint's statement.
func (t *tx) set(p *savepoint) {
	p.at = t.before + len(t.raw)
	t.raw = append(t.raw, "SAVEPOINT "+p.name)
	if t.p.deferred && p.name == "tidemark_0" {
		t.raw = append(t.raw, "SET CONSTRAINTS ALL DEFERRED")
	}
}

// leave ends a savepoint, with fn's error.
func (t *tx) leave(p *savepoint, err error) error {
	if err == nil {
		err = t.finish(len(p.late))
	}
	t.depth--
	t.took = t.took && t.depth > 0
	if err == nil && t.p.deferred && t.depth == 0 {
		err = t.settle()
	}
	if err == nil {
		t.raw = append(t.raw, "RELEASE "+p.name)
		return nil
	}
	t.late = p.late
	t.see()
	t.by, t.ops, t.other, t.sent, t.origins = p.by, nil, nil, ledger.Author{}, nil
	t.unlearn(p.undo)
	if p.at >= t.before { // nothing inside was ever sent
		t.raw = t.raw[:p.at-t.before]
		return err
	}
	t.before += len(t.raw)
	t.raw = nil
	if t.fault != nil { // the transaction is lost
		return t.fault
	}
	if e := script(t.ctx, t.c, "ROLLBACK TO "+p.name+"; RELEASE "+p.name); e != nil {
		return errors.Join(err, fmt.Errorf("undo savepoint: %w", e))
	}
	return err
}

// settle checks the constraints that would be checked at the commit, where one device's
// violation would be everybody's (trap D23).
func (t *tx) settle() error {
	err := script(t.ctx, t.c, "SET CONSTRAINTS ALL IMMEDIATE")
	if err == nil {
		return nil
	}
	table := ""
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		table = pe.TableName
	}
	return t.blame(constraint(table, err))
}

// As implements hub.Tx. A zero clock reading is the hub's clock now.
func (t *tx) As(origin change.Incarnation, hlc change.HLC) error {
	by, err := ledger.Sign(origin, hlc, t.s.cfg.Clock, t.number)
	if err != nil {
		return err
	}
	t.by = by
	return nil
}

// number numbers an incarnation, for good.
func (t *tx) number(inc change.Incarnation) (int64, error) {
	return t.origins.Number(inc, t.origin, func(inc change.Incarnation) (id int64, err error) {
		err = t.query(`INSERT INTO tidemark.origin (inc) VALUES ($1::bytea) RETURNING id`, func(r *row) error {
			id = r.int(0)
			return nil
		}, inc[:])
		return id, err
	})
}

// ready says who writes when nobody did yet: the hub itself.
func (t *tx) ready() error {
	if t.by != (ledger.Author{}) {
		return nil
	}
	return t.As(change.Incarnation{}, 0)
}

// whole sends all that is kept back.
func (t *tx) whole() error {
	if err := t.put(); err != nil {
		return err
	}
	if t.depth > 0 { // then nothing else is
		return nil
	}
	return t.keep()
}

// exec runs a statement after what is kept back.
func (t *tx) exec(sql string, args ...any) (int64, error) {
	if err := t.whole(); err != nil {
		return 0, err
	}
	t.wrote = true
	return exec(t.ctx, t.c, sql, args...)
}

// batch sends statements in one trip, when there are any.
func (t *tx) batch(b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return t.c.SendBatch(t.ctx, b).Close()
}

// notch lengthens the log without a row: something else moved.
func (t *tx) notch() error {
	if err := t.ready(); err != nil {
		return err
	}
	return t.notchFor([]int64{t.by.Origin})
}

// end completes the transaction.
func (t *tx) end() error {
	t.books.sealAhead()
	if err := t.finish(0); err != nil {
		return err
	}
	if err := t.keep(); err != nil {
		return err
	}
	if t.fault != nil {
		return t.fault
	}
	return t.date()
}

// blame looks at an error of the database. A collision undoes the whole Update, even
// where fn goes on after a savepoint that failed. Of a broken constraint it asks whether
// another program may have had its part in it: a row that this snapshot does not show.
func (t *tx) blame(err error) error {
	ce, ok := errors.AsType[*hub.ConstraintError](err)
	switch {
	case collided(err):
		t.fault = err
	case ok && (ce.Kind == "unique" || ce.Kind == "foreign key"):
		if now := t.s.elsewhere(t.ctx, t.shown); now {
			t.fault = fmt.Errorf("%w: %w", errCollided, err)
			return t.fault
		}
	}
	return err
}

// elsewhere reports whether others committed changes that a snapshot does not show.
func (s *Store) elsewhere(ctx context.Context, snapshot string) (some bool) {
	c, err := s.pool.borrow(ctx)
	if err != nil {
		return false
	}
	defer s.pool.giveBack(c)
	err = query(ctx, c, `SELECT EXISTS (SELECT FROM tidemark.log WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot)
		OR xid = ANY(ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))`, func(r *row) error {
		some = r.bool(0)
		return nil
	}, snapshot)
	return err == nil && some
}
