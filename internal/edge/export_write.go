package edge

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// An exporter writes transactions to the outbox, with what belongs to them: the
// chain, the pending index, the shadows.
type exporter struct {
	e      *Engine
	now    int64         // Unix ms
	cursor change.Cursor // of the data in the file
	seq    uint64
	sum    change.Hash
	hlc    change.HLC
	offset int64
	schema change.SchemaHash
	bases  []change.Cursor // of the transaction being built
	sets   map[string][]string
	work   bool                    // there was pending work before this export
	known  map[uint64]*pendingWork // pending transactions read so far
	buf    []byte
}

// knownLimit bounds exporter.known.
const knownLimit = 64

// newExporter reads where the chain stands. No change is dated later than now: a
// clock that was set back since leaves records from the future behind.
func (e *Engine) newExporter(now time.Time) (*exporter, error) {
	x := &exporter{e: e, now: now.UnixMilli(), sets: map[string][]string{}, known: map[uint64]*pendingWork{}}
	read := func(key string, into func(change.Value) error) error {
		v, err := e.meta(key)
		if err != nil || v.IsNull() {
			return err
		}
		return into(v)
	}
	for key, into := range map[string]func(change.Value) error{
		metaCursor: func(v change.Value) (err error) { x.cursor, err = change.ParseCursor(v.Str()); return err },
		metaSeq:    func(v change.Value) error { x.seq = uint64(v.Int()); return nil },
		metaSum:    func(v change.Value) error { copy(x.sum[:], v.Str()); return nil },
		metaHLC:    func(v change.Value) error { x.hlc = change.HLC(v.Int()); return nil },
		metaOffset: func(v change.Value) error { x.offset = v.Int(); return nil },
	} {
		if err := read(key, into); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
	}
	shape := change.Schema{}
	for i := range e.tables {
		if !e.tables[i].missing {
			shape.Tables = append(shape.Tables, *e.tables[i].schema)
		}
	}
	x.schema = shape.Hash()
	_, some, err := sqlite.One(e.conn, `SELECT 1 FROM _tidemark_pending LIMIT 1`)
	x.work = some
	return x, err
}

// baseAt is the place of a base cursor in the transaction being built.
func (x *exporter) baseAt(c change.Cursor) int {
	if i := slices.Index(x.bases, c); i >= 0 {
		return i
	}
	x.bases = append(x.bases, c)
	return len(x.bases) - 1
}

func (x *exporter) takeBases() []change.Cursor {
	out := x.bases
	x.bases = nil
	return out
}

// write appends t to the chain and to the outbox, and indexes its rows as pending.
// first and last are the wall clock (Unix ms) of its oldest and newest change.
func (x *exporter) write(t *change.Transaction, first, last int64) (uint64, error) {
	first, last = min(first, x.now), min(last, x.now)
	x.seq++
	x.hlc = nextHLC(x.hlc, last)
	t.Device, t.Incarnation = x.e.device, x.e.incarnation
	t.Seq, t.Prev, t.Schema = x.seq, x.sum, x.schema
	t.HLC, t.Offset = x.hlc, millis(x.offset)
	body := change.AppendTransaction(nil, t)
	x.sum = t.Sum()
	err := sqlite.Exec(x.e.conn, `INSERT INTO _tidemark_outbox (seq, id, sum, at, state, ops, body) VALUES (?,?,?,?,?,?,?)`,
		change.Int(int64(t.Seq)), change.Blob(t.ID[:]), change.Blob(x.sum[:]), change.Int(first),
		change.Int(int64(waiting)), change.Int(int64(len(t.Ops))), change.BlobString(string(body)))
	if err != nil {
		return 0, fmt.Errorf("write transaction %s: %w", t.ID, err)
	}
	st, err := x.e.conn.Prepare(`INSERT OR IGNORE INTO _tidemark_pending (tbl, key, seq) VALUES (?,?,?)`)
	if err != nil {
		return 0, err
	}
	for i := range t.Ops {
		st.BindText(1, t.Ops[i].Table)
		x.buf = change.AppendKey(x.buf[:0], t.Ops[i].Key)
		st.BindBytes(2, x.buf)
		st.BindInt64(3, int64(t.Seq))
		if err := run(st); err != nil {
			return 0, fmt.Errorf("index transaction %s: %w", t.ID, err)
		}
	}
	return t.Seq, nil
}

// run steps a statement that returns no rows, and resets it.
func run(st *sqlite.Stmt) error {
	if _, err := st.Step(); err != nil {
		_ = st.Reset()
		return err
	}
	return st.Reset()
}

// finish writes down where the chain stands.
func (x *exporter) finish() error {
	if err := x.e.setMeta(metaSeq, change.Int(int64(x.seq))); err != nil {
		return err
	}
	if err := x.e.setMeta(metaSum, change.Blob(x.sum[:])); err != nil {
		return err
	}
	return x.e.setMeta(metaHLC, change.Int(int64(x.hlc)))
}

// shadow keeps the hub's version of a row that gets its first pending work: what
// the row was before. A row that has a shadow keeps it.
func (x *exporter) shadow(t *table, key string, before []change.Value) error {
	st, err := x.e.conn.Prepare(`INSERT OR IGNORE INTO _tidemark_shadow (tbl, key, row) VALUES (?,?,?)`)
	if err != nil {
		return err
	}
	st.BindText(1, t.schema.Name)
	x.buf = append(x.buf[:0], key...)
	st.BindBytes(2, x.buf)
	if before == nil {
		st.BindNull(3)
	} else {
		st.BindBytes(3, change.AppendRow(nil, t.names, before))
	}
	if err := run(st); err != nil {
		return fmt.Errorf("write shadow of %s: %w", t.schema.Name, err)
	}
	return nil
}

// shadowOf is shadow for an operation that did not come from the log.
func (x *exporter) shadowOf(t *table, op *change.Op) error {
	var before []change.Value
	switch op.Kind {
	case change.Delete:
		before = op.Base
	case change.Update:
		row, err := x.e.readRow(t, op.Key)
		if err != nil {
			return err
		}
		for i := range t.names {
			if j := t.opColumn(op, i); j >= 0 && row != nil {
				row[i] = op.Base[j]
			}
		}
		before = row
	}
	return x.shadow(t, op.Key.ID(), before)
}

// pending returns the unsettled edits of a row, oldest first.
func (x *exporter) pending(t *table, key string) (edits, error) {
	if !x.work {
		return nil, nil
	}
	var seqs []uint64
	err := sqlite.Query(x.e.conn, `SELECT seq FROM _tidemark_pending WHERE tbl=? AND key=? ORDER BY seq`, func(s *sqlite.Stmt) error {
		seqs = append(seqs, uint64(s.ColumnInt64(0)))
		return nil
	}, change.Text(t.schema.Name), change.BlobString(key))
	if err != nil {
		return nil, fmt.Errorf("read pending work: %w", err)
	}
	var out edits
	for _, seq := range seqs {
		p, err := x.transaction(seq)
		if err != nil {
			return nil, err
		}
		for _, i := range p.rows[pendingRow{t.schema.Name, key}] {
			op := &p.tx.Ops[i]
			var base change.Cursor
			if op.BaseAt < len(p.tx.Bases) {
				base = p.tx.Bases[op.BaseAt]
			}
			out = append(out, edit{base, op})
		}
	}
	return out, nil
}

// A pendingWork is an unsettled transaction and where its rows are in it: looking
// through its operations for each row would make a big transaction quadratic.
type pendingWork struct {
	tx   *change.Transaction
	rows map[pendingRow][]int // indices into tx.Ops
}

type pendingRow struct{ table, key string }

func (x *exporter) transaction(seq uint64) (*pendingWork, error) {
	if p, ok := x.known[seq]; ok {
		return p, nil
	}
	t, err := x.e.transaction(seq)
	if err != nil {
		return nil, err
	}
	p := &pendingWork{tx: t, rows: make(map[pendingRow][]int, len(t.Ops))}
	for i := range t.Ops {
		r := pendingRow{t.Ops[i].Table, t.Ops[i].Key.ID()}
		if now := x.e.tableNamed(r.table); now != nil {
			r.table = now.schema.Name // it may have been renamed since
		}
		p.rows[r] = append(p.rows[r], i)
	}
	if len(x.known) >= knownLimit {
		clear(x.known)
	}
	x.known[seq] = p
	return p, nil
}
