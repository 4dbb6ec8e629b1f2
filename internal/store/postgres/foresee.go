package postgresstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// What taking a transaction in asks the database one by one, each a trip there and back,
// Foresee reads for all the pushes of a shared commit at once: whether it is known, the rows
// that it changes and points at, who touched them, and what the hub keeps of devices and
// chains. The snapshot stands still, so that what was read holds until this very Update
// writes: each write puts its own row right here too, or forgets it when only the database
// knows what became of it. What is kept of devices and chains is in books.go.

var _ hub.Foreseer = (*tx)(nil)

// foresight is what is known of rows and transactions without asking.
type foresight struct {
	blind   bool // this Update did what makes all that was read worthless
	calm    bool // nothing makes writes do more than they say: see calmSQL
	unknown map[change.TxID]bool
	rows    map[string]*knownRow // by op.id
	undo    []undone             // what rows held before each write
	touched map[touchKey][]touch
	numbers map[change.Incarnation]int64
	writers map[string]int64 // who wrote a row in this Update; severalWriters
}

// A knownRow is a row as it is now; nil values when there is none.
type knownRow struct{ values []change.Value }

type undone struct {
	id  string
	row *knownRow // nil: nothing was known
}

const severalWriters = -2

// calmSQL is whether writes of this connection do no more than they say: no row may hang
// in the air, and foreign keys are on.
const calmSQL = `SELECT current_setting('session_replication_role') = 'origin' AND NOT EXISTS (SELECT FROM tidemark.orphan)`

// Foresee implements hub.Foreseer.
func (t *tx) Foresee(a *hub.Ahead) error {
	f := &t.seen
	if f.blind || f.unknown != nil || t.wrote {
		return nil
	}
	n := 0
	for _, x := range a.Txs {
		n += len(x.Ops)
	}
	f.unknown, f.rows, f.touched = make(map[change.TxID]bool, len(a.Txs)), make(map[string]*knownRow, n), map[touchKey][]touch{}
	f.numbers, f.writers = map[change.Incarnation]int64{}, make(map[string]int64, n)
	t.haste.ops = slices.Grow(t.haste.ops, min(n, opsKept))
	t.books.progress = map[change.Incarnation]hub.Progress{}
	begun, err := t.Cursor()
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(calmSQL).Query(answers(func(r *row) error { f.calm = r.bool(0); return nil }))
	t.foreseeIDs(b, a.Txs)
	t.books.foresee(b, a)
	want := t.wanted(a.Txs)
	asked := t.foreseeBases(b, want.touched)
	if err := t.batch(b); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	for c, a := range asked {
		t.note(c, a)
	}
	b = &pgx.Batch{}
	for _, w := range want.rows {
		t.foreseeRows(b, w)
	}
	for base, lists := range want.touched {
		if err := t.foreseeTouched(b, base, lists); err != nil {
			return err
		}
	}
	if err := t.batch(b); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	t.begun = begun
	return t.foreseeParents(want.rows)
}

// Begun implements hub.Foreseer.
func (t *tx) Begun() (c change.Cursor, clean, ok bool) { return t.begun, !t.wrote, !t.begun.IsZero() }

// foreseeBases asks what the log says to the cursors that edits were made on.
func (t *tx) foreseeBases(b *pgx.Batch, bases map[change.Cursor]map[*table]*wish) map[change.Cursor]*claim {
	asked := make(map[change.Cursor]*claim, len(bases))
	for base := range bases {
		if base.IsZero() || t.checked[base] != nil {
			continue
		}
		a, ask, err := t.claim(base)
		if err != nil {
			continue // whoever checks it will hear so
		}
		if asked[base] = a; !ask {
			continue
		}
		var list args
		b.Queue(t.nonceSQL(&a.m, &list), list.list...).Query(answers(func(r *row) error {
			a.known = r.int(0)
			return nil
		}))
	}
	return asked
}

// forget drops what is known, for the rest of this Update.
func (t *tx) forget() { t.seen = foresight{blind: true} }

// answers is an answer's reader for a batch.
func answers(fn func(*row) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := fn(&row{rows.FieldDescriptions(), rows.RawValues()}); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

func (t *tx) foreseeIDs(b *pgx.Batch, txs []*change.Transaction) {
	ids, incs := make([][]byte, len(txs)), [][]byte(nil)
	for i, x := range txs {
		ids[i] = x.ID[:]
		t.seen.unknown[x.ID] = true
		if _, ok := t.seen.numbers[x.Incarnation]; !ok {
			t.seen.numbers[x.Incarnation] = ledger.Nobody
			t.books.progress[x.Incarnation] = hub.Progress{}
			incs = append(incs, x.Incarnation[:])
		}
	}
	b.Queue(`SELECT DISTINCT id FROM tidemark.tx WHERE id = ANY($1::bytea[])`, ids).Query(answers(func(r *row) error {
		delete(t.seen.unknown, change.TxID(r.blob(0)))
		return nil
	}))
	b.Queue(`SELECT inc, id, seq, sum FROM tidemark.origin WHERE inc = ANY($1::bytea[])`, incs).Query(answers(func(r *row) error {
		inc, id := change.Incarnation(r.blob(0)), r.int(1)
		t.seen.numbers[inc] = id
		p := hub.Progress{Seq: uint64(r.int(2))}
		copy(p.Sum[:], r.blob(3))
		t.books.progress[inc] = p
		if t.origins == nil {
			t.origins = ledger.Origins{}
		}
		t.origins[inc] = id // so that As need not ask, for which all kept back had to be sent
		return nil
	}))
}

// A wish is rows of one table, by their keys.
type wish struct {
	t    *table
	keys map[string]change.Key // by op.id
}

// wishes is what a batch will ask for.
type wishes struct {
	rows    map[*table]*wish
	touched map[change.Cursor]map[*table]*wish
}

func add(m map[*table]*wish, t *table, key change.Key) {
	w := m[t]
	if w == nil {
		w = &wish{t, map[string]change.Key{}}
		m[t] = w
	}
	w.keys[t.rowID(key)] = key
}

func (t *tx) wanted(txs []*change.Transaction) wishes {
	w := wishes{map[*table]*wish{}, map[change.Cursor]map[*table]*wish{}}
	for _, x := range txs {
		for i := range x.Ops {
			o := &x.Ops[i]
			tb, err := t.p.table(o.Table)
			if err != nil || len(o.Key) != len(tb.key) {
				continue // whoever takes it in will say so
			}
			t.wantParents(w.rows, tb, o.Columns, o.New)
			if o.Kind == change.Insert {
				continue
			}
			add(w.rows, tb, o.Key)
			if o.BaseAt < len(x.Bases) {
				base := x.Bases[o.BaseAt]
				if w.touched[base] == nil {
					w.touched[base] = map[*table]*wish{}
				}
				add(w.touched[base], tb, o.Key)
			}
		}
	}
	return w
}

// wantParents adds the rows that given columns point at by their keys.
func (t *tx) wantParents(rows map[*table]*wish, tb *table, columns []string, values []change.Value) {
	for i := range tb.parents {
		l := &tb.parents[i]
		if !l.byKey {
			continue
		}
		key := make(change.Key, len(l.columns))
		for j, c := range l.columns {
			at := ledger.IndexFold(columns, c)
			if at < 0 || at >= len(values) || values[at].IsNull() {
				key = nil
				break
			}
			key[j] = values[at]
		}
		if key != nil {
			add(rows, l.to, key)
		}
	}
}

// foreseeRows reads rows that are not known yet.
func (t *tx) foreseeRows(b *pgx.Batch, w *wish) {
	tb := w.t
	var keys []change.Key
	for id, key := range w.keys {
		if t.seen.rows[id] != nil || t.seen.writers[id] != 0 {
			delete(w.keys, id)
			continue
		}
		keys = append(keys, key)
	}
	cols, found := keyArrays(tb, keys)
	if cols == nil {
		return
	}
	read := map[string]bool{}
	for id := range found {
		t.seen.rows[id] = &knownRow{}
	}
	b.Queue("SELECT "+tb.columns+" FROM "+unnest(tb, 1)+" CROSS JOIN LATERAL (SELECT * FROM "+tb.name+" AS t WHERE "+atKeys(tb, "t.")+" OFFSET 0) AS t", cols...).
		Query(answers(func(r *row) error {
			values := tb.row(r, 0)
			key := make(change.Key, len(tb.key))
			for i, k := range tb.key {
				key[i] = values[k]
			}
			id := tb.rowID(key)
			read[id] = true
			t.seen.rows[id] = &knownRow{values}
			return nil
		}))
}

// keyArrays are the texts of keys, an array for each column; nil when there are none.
// found says which of the keys a row can have.
func keyArrays(t *table, keys []change.Key) (cols []any, found map[string]bool) {
	parts := make([][]string, len(t.key))
	found = map[string]bool{}
	for _, key := range keys {
		texts := t.keyTexts(key)
		if args, err := t.keyArgs(key); texts == nil || args == nil || err != nil {
			continue
		}
		for i, s := range texts {
			parts[i] = append(parts[i], s)
		}
		found[t.rowID(key)] = true
	}
	if len(found) == 0 {
		return nil, nil
	}
	for _, p := range parts {
		cols = append(cols, p)
	}
	return cols, found
}

// unnest is a table n of keys, from placeholder first on: k0, k1 ….
func unnest(t *table, first int, more ...string) string {
	args, names := make([]string, 0, len(t.key)+len(more)), make([]string, 0, len(t.key)+len(more))
	for i := range t.key {
		args, names = append(args, fmt.Sprintf("$%d::text[]", first+i)), append(names, fmt.Sprintf("k%d", i))
	}
	for i, m := range more {
		name, typ, _ := strings.Cut(m, " ")
		args, names = append(args, fmt.Sprintf("$%d::%s[]", first+len(t.key)+i, typ)), append(names, name)
	}
	return "unnest(" + strings.Join(args, ", ") + ") AS n (" + strings.Join(names, ", ") + ")"
}

// atKeys is the condition that a row has the key in n.
func atKeys(t *table, row string) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = row + t.cols[k].quoted + " = " + t.cols[k].fromText(fmt.Sprintf("n.k%d", i))
	}
	return strings.Join(parts, " AND ")
}

// foreseeTouched reads who touched rows since a cursor. Instead of one that Check
// refuses, all that the log still holds will be asked for.
func (t *tx) foreseeTouched(b *pgx.Batch, base change.Cursor, lists map[*table]*wish) error {
	var m moment
	var err error
	if !base.IsZero() {
		m, err = t.check(base)
	}
	if errors.Is(err, hub.ErrBelowFloor) || errors.Is(err, hub.ErrOtherHistory) {
		base, err = change.Cursor{}, nil
	}
	if err == nil && base.IsZero() {
		m, err = t.floor()
	}
	if err != nil {
		return err
	}
	m = t.near(m)
	for tb, w := range lists {
		var keys []change.Key
		for id, key := range w.keys {
			if t.seen.writers[id] == 0 && t.seen.touched[touchKey{base, id}] == nil {
				keys = append(keys, key)
			}
		}
		cols, found := keyArrays(tb, keys)
		if cols == nil {
			continue
		}
		for id := range found {
			t.seen.touched[touchKey{base, id}] = []touch{}
		}
		parts := make([]string, len(tb.key))
		for i := range parts {
			parts[i] = fmt.Sprintf("n.k%d", i)
		}
		a := args{list: append(cols, tb.id)}
		id := fmt.Sprintf("$%d::int4", len(a.list))
		// OFFSET 0 makes the planner, who knows nothing of the newest part of the log, go by
		// the key: what came since the cursor may be nearly all of it.
		b.Queue("SELECT l.op, l.mask, l.origin, l.hlc, o.inc, "+strings.Join(parts, ", ")+" FROM "+unnest(tb, 1)+
			" CROSS JOIN LATERAL (SELECT * FROM tidemark.log AS l WHERE "+m.since("l.", &a)+ofRow("l.", id, "ARRAY["+strings.Join(parts, ", ")+"]")+
			" AND l.op IN (1, 2, 3) OFFSET 0) AS l LEFT JOIN tidemark.origin AS o ON o.id = l.origin WHERE "+m.beyond("l.", &a)+" ORDER BY l.pos", a.list...).
			Query(answers(func(r *row) error {
				key := make(change.Key, len(tb.key))
				for i, k := range tb.key {
					v, err := tb.cols[k].parse(r.text(5 + i))
					if err != nil {
						return err
					}
					key[i] = v
				}
				e := touch{op: r.int(0), mask: r.int(1), origin: r.int(2), hlc: r.int(3)}
				copy(e.inc[:], r.blob(4))
				at := touchKey{base, tb.rowID(key)}
				t.seen.touched[at] = append(t.seen.touched[at], e)
				return nil
			}))
	}
	return nil
}

// A touchKey names what is known of one row since a cursor.
type touchKey struct {
	since change.Cursor
	id    string // op.id
}

// foreseeParents reads up the ways to the scopes of the rows that were read.
func (t *tx) foreseeParents(rows map[*table]*wish) error {
	for range len(t.p.tables) {
		next := map[*table]*wish{}
		for tb, w := range rows {
			if tb.scope.parent == nil {
				continue
			}
			for id := range w.keys {
				if r := t.seen.rows[id]; r != nil && r.values != nil {
					t.wantParents(next, tb, tb.names, r.values)
				}
			}
		}
		b := &pgx.Batch{}
		for _, w := range next {
			t.foreseeRows(b, w)
		}
		if b.Len() == 0 {
			return nil
		}
		if err := t.batch(b); err != nil {
			return fmt.Errorf("read ahead: %w", err)
		}
		rows = next
	}
	return nil
}

// Row implements hub.View.
func (t *tx) Row(name string, key change.Key) ([]change.Value, error) {
	if tb, err := t.p.table(name); err == nil && len(key) == len(tb.key) {
		id := tb.rowID(key)
		if r := t.seen.rows[id]; r != nil && !t.hidden[id] {
			return slices.Clone(r.values), nil
		}
	}
	return t.view.Row(name, key)
}

// ScopeOf implements hub.View.
func (t *tx) ScopeOf(name string, values []change.Value) (rule.ScopeID, error) {
	tb, err := t.p.table(name)
	if err != nil || tb.scope.parent == nil || !tb.scope.byKey || len(values) != len(tb.names) {
		return t.view.ScopeOf(name, values)
	}
	key := make(change.Key, len(tb.scope.from))
	for i, c := range tb.scope.from {
		key[i] = values[c]
	}
	up := tb.scope.parent
	if id := up.rowID(key); !t.hidden[id] {
		if r := t.seen.rows[id]; r != nil && r.values != nil {
			return t.ScopeOf(up.def.Name, r.values)
		}
	}
	return t.view.ScopeOf(name, values)
}

// Known implements hub.View.
func (t *tx) Known(id change.TxID) (*hub.Received, error) {
	if t.seen.unknown[id] {
		return nil, fmt.Errorf("transaction %s: %w", id, hub.ErrNotFound)
	}
	return t.view.Known(id)
}

// Touched implements hub.View. What the asker itself wrote in this Update does not count.
func (t *tx) Touched(name string, key change.Key, since change.Cursor, self change.Incarnation) ([]hub.Touch, error) {
	tb, err := t.p.table(name)
	if err != nil {
		return nil, err
	}
	id := tb.rowID(key)
	list, ok := t.seen.touched[touchKey{since, id}]
	me, known := t.seen.numbers[self]
	if n, given := t.origins[self]; given {
		me = n
	}
	by := t.seen.writers[id]
	if !ok || !known || by != 0 && by != me {
		return t.view.Touched(name, key, since, self)
	}
	var out []hub.Touch
	for i := range list {
		e := &list[i]
		if !e.by(me) {
			out = append(out, tb.touch(e))
		}
	}
	return out, nil
}
