package postgresstore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// An op is a write that is kept back.
type op struct {
	t  *table
	e  hub.Effect
	by ledger.Author
	id string // of the row

	defaults []string // columns that an update gives their default
	spread   bool     // an update of a key, which the database carries on to those who point at it
	turns    []turn   // where it comes among the writes of its row; see number

	puts []put          // the values, ready for their columns; nil unless each is sure
	was  []change.Value // the row before an update; nil when it is not known
}

// Write implements hub.Tx. Deleting a row that is not there does nothing;
// updating one is ErrNotFound. Most errors come out of whatever reads next, or of
// the savepoint around it.
func (t *tx) Write(e hub.Effect) error {
	tb, err := t.p.table(e.Table)
	if err != nil {
		return err
	}
	if err := ledger.CheckEffect(&e, len(tb.key)); err != nil {
		return err
	}
	if err := t.ready(); err != nil {
		return err
	}
	if e.Kind == change.Update && len(e.Columns) == 0 {
		return nil
	}
	o := op{t: tb, e: e, by: t.by, id: tb.rowID(e.Key)}
	t.learn(&o)
	t.wrote = true
	t.ops = append(t.ops, o)
	if len(t.ops) >= opsKept {
		return t.put()
	}
	return nil
}

// rowID names a row in a map.
func (t *table) rowID(key change.Key) string { return t.number() + ":" + key.ID() }

// opsKept is how many writes are kept back at most: the more go together, the fewer
// pages are touched twice.
const opsKept = 16384

// put sends what is kept back.
func (t *tx) put() error {
	if err := t.catchUp(); err != nil {
		return err
	}
	if len(t.ops) == 0 {
		return t.send(nil)
	}
	list := t.revive(t.ops)
	t.ops = nil
	ops, err := t.arrange(list)
	if err == nil {
		ops, err = t.hide(ops)
	}
	if err != nil {
		return err
	}
	return t.send(ops)
}

// send sends writes in their order.
func (t *tx) send(ops []op) error {
	b := &pgx.Batch{}
	for _, q := range t.raw {
		b.Queue(q)
	}
	t.before += len(t.raw)
	t.raw = nil
	var fault error
	for i := range ops {
		if fault = t.queue(b, &ops[i]); fault != nil { // what came before may be at fault, too
			break
		}
	}
	if err := t.batch(b); err != nil {
		return t.blame(err)
	}
	if fault != nil {
		return fault
	}
	return t.tell()
}

// queue adds one write to a batch.
func (t *tx) queue(b *pgx.Batch, o *op) error {
	if t.sent != o.by {
		t.sent = o.by
		b.Queue(`SELECT set_config('tidemark.origin', $1::text, true), set_config('tidemark.hlc', $2::text, true)`,
			strconv.FormatInt(o.by.Origin, 10), strconv.FormatInt(int64(o.by.HLC), 10))
	}
	switch o.e.Kind {
	case change.Insert:
		return t.queueInsert(b, o)
	case change.Update:
		return t.queueUpdate(b, o)
	}
	return t.queueDelete(b, o)
}

func (t *tx) queueInsert(b *pgx.Batch, o *op) error {
	args, look, err := o.bind()
	if err != nil {
		return err
	}
	q := o.t.insert
	if !slices.Equal(o.e.Columns, o.t.names) {
		q = o.t.insertSQL(o.e.Columns)
	}
	b.Queue(q+o.returning(look), args...).Query(t.landing(o, look, done(o, func(n int64) error {
		if n == 0 {
			return &hub.ConstraintError{Kind: "trigger", Table: o.t.def.Name, Detail: "a trigger ignored the row"}
		}
		return nil
	})))
	return nil
}

func (t *tx) queueUpdate(b *pgx.Batch, o *op) error {
	gone := fmt.Errorf("update row of %s: %w", o.t.def.Name, hub.ErrNotFound)
	if t.took {
		gone = &hub.ConstraintError{Kind: "foreign key", Table: o.t.def.Name, Detail: "row " + o.e.Key.String() + " went with a row that it pointed at"}
	}
	key, err := o.t.keyArgs(o.e.Key)
	if err != nil {
		return err
	}
	if key == nil {
		return gone
	}
	args, look, err := o.bind()
	if err != nil {
		return err
	}
	if len(o.e.Columns)+len(o.defaults) == 0 { // a row of nothing but its key came back
		return nil
	}
	more := o.spread && t.apart(b, o)
	q := o.t.updateSQL(o.e.Columns, o.defaults) + o.returning(look)
	b.Queue(q, append(args, key...)...).Query(t.landing(o, look, done(o, func(n int64) error {
		if n == 0 {
			return gone
		}
		return nil
	})))
	if more {
		t.disown(b, o)
	}
	return nil
}

// apart notes where the log ends, so that disown can tell what the foreign keys'
// actions write; not needed when the hub itself writes.
func (t *tx) apart(b *pgx.Batch, o *op) bool {
	if o.by.Origin == ledger.Hub {
		return false
	}
	b.Queue(`SELECT set_config('tidemark.pos', nextval('tidemark.log_pos')::text, true)`)
	return true
}

// disown says, of what the foreign keys' actions changed besides a row, that it is the
// hub's doing: the author may not know of those rows.
func (t *tx) disown(b *pgx.Batch, o *op) {
	keys := o.t.keyTexts(o.e.Key)
	now := make(change.Key, len(o.t.key)) // where it has another key since
	for i, k := range o.t.key {
		now[i] = o.e.Key[i]
		if at := ledger.IndexFold(o.e.Columns, o.t.names[k]); at >= 0 && o.e.Kind == change.Update {
			now[i] = o.e.Values[at]
		}
	}
	b.Queue(`UPDATE tidemark.log SET origin = 1 WHERE xid = pg_current_xact_id() AND pos > current_setting('tidemark.pos')::int8
		AND NOT (tbl = $1::int4 AND key IN ($2::text[], $3::text[]))`, o.t.id, keys, o.t.keyTexts(now))
}

func (t *tx) queueDelete(b *pgx.Batch, o *op) error {
	key, err := o.t.keyArgs(o.e.Key)
	if err != nil || key == nil {
		return err
	}
	more := o.t.cascades && t.apart(b, o)
	b.Queue(o.t.remove, key...).Query(done(o, func(int64) error { return nil }))
	t.took = t.took || o.t.cascades
	if more {
		t.disown(b, o)
	}
	return nil
}

// done looks at a write's answer.
func done(o *op, check func(rows int64) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		rows.Close()
		err := rows.Err()
		if err == nil {
			err = check(rows.CommandTag().RowsAffected())
		}
		if err == nil || errors.Is(err, hub.ErrNotFound) {
			return err
		}
		return constraint(o.t.def.Name, err)
	}
}

// Touch implements hub.Tx. For a row that is gone it tells every scope that the
// log saw it in, or everybody when the log saw it nowhere.
func (t *tx) Touch(name string, key change.Key) error {
	tb, err := t.p.table(name)
	if err != nil {
		return err
	}
	if err := t.ready(); err != nil {
		return err
	}
	texts := tb.keyTexts(key)
	args, err := tb.keyArgs(key)
	if err != nil || args == nil || texts == nil {
		return err
	}
	by := origin{strconv.Itoa(ledger.Hub), strconv.FormatInt(int64(t.by.HLC), 10) + "::bigint"}
	n, err := t.exec(tb.log("t.", ledger.Touch, "0", tb.expr("t."), by, " FROM "+tb.name+" AS t WHERE "+tb.where(1)), args...)
	if err == nil && n == 0 {
		n, err = t.exec(tb.logInto("")+"$1::int4, $2::text[], 4, 0, "+by.who+", "+by.clock+", s.scope FROM (SELECT DISTINCT l.scope FROM tidemark.log AS l WHERE "+ofRow("l.", "$1::int4", "$2::text[]")+") AS s",
			tb.id, texts)
	}
	if err == nil && n == 0 { // the log forgot where the row was: everybody may hear that it is gone
		_, err = t.exec(tb.logInto("")+"$1::int4, $2::text[], 4, 0, "+by.who+", "+by.clock+", 'all'", tb.id, texts)
	}
	if err == nil {
		_, err = t.exec(`SELECT pg_notify('tidemark', '')`)
	}
	if err != nil {
		return fmt.Errorf("touch row of %s: %w", name, err)
	}
	return nil
}
