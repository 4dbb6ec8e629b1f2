package edge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Capture is plain SQL triggers with built-in functions only, so that every
// program in every language is captured (and none needs this library).
//
// All of them fire BEFORE and write down what they see: "row K is now like this"
// or "row K is not there". A record is an observation, true whatever other
// triggers do and in whichever order they run (trap S2): the oldest observation
// of a row in a transaction is the row's state before the transaction. Nothing
// is concluded until export, which reads what became of the row. So an
// observation too many costs a little space and never correctness: that is how
// rows that OR REPLACE is about to delete silently are caught (trap S1).
//
// The one thing that cannot be seen before an insert is a key that SQLite is
// about to choose: such tables have an AFTER trigger too (see table.late).

// undoKind is what one record of _tidemark_undo says.
type undoKind int64

const (
	undoBegin   undoKind = 0 // the application said that a transaction begins (tbl is 0)
	undoAbsent  undoKind = 1 // the row with this key is not there; only the key is given
	undoPartial undoKind = 2 // the row's values, without those that the UPDATE leaves alone
	undoFull    undoKind = 3 // the row's values, all of them
	undoKeyFrom undoKind = 4 // undoFull, and the row is about to change its key…
	undoKeyTo   undoKind = 5 // undoAbsent of the new key; always the very next record
)

// imageForm is how undoPartial tells a value that the UPDATE leaves alone from
// one that it changes.
type imageForm uint8

const (
	formAlways imageForm = iota // keys, and numbers: shorter than any mark
	formText                    // TEXT affinity: the integer 0 means alone, since no such column can hold it
	formNumber                  // NUMERIC affinity: the text '0' means alone, for the same reason
	formMask                    // anything may be stored: a bit of mask means changed
)

// maxMask is how many columns have a bit in mask; further ones are always kept.
const maxMask = 62

// forms decides the form of each stored column. It looks at the setup's table, so
// that records stay readable when the file's table changes, and at which columns the
// triggers took for such as may hold anything, because their type in the file was
// another one (other, by place among the stored).
func forms(t *change.Table, other []int) []imageForm {
	var out []imageForm
	masked := 0
	for v, i := range t.Stored() {
		c := &t.Columns[i]
		f := formAlways
		switch change.AffinityOf(c.Type) {
		case change.AffinityText:
			f = formText
		case change.AffinityBlob:
			f = formMask
		case change.AffinityNumeric:
			if !shortType(c.Type) {
				f = formNumber
			}
		}
		if f == formNumber && t.Strict { // ANY in a STRICT table converts nothing
			f = formMask
		}
		if f != formAlways && slices.Contains(other, v) {
			f = formMask
		}
		if t.InKey(i) {
			f = formAlways
		}
		if f == formMask {
			if masked++; masked > maxMask {
				f = formAlways
			}
		}
		out = append(out, f)
	}
	return out
}

// shortType reports whether a NUMERIC column holds by its name something short.
func shortType(decl string) bool {
	d := strings.ToUpper(decl)
	for _, p := range []string{"NUM", "DEC", "BOOL", "DATE", "TIME", "MONEY"} {
		if strings.HasPrefix(d, p) {
			return true
		}
	}
	return false
}

// createTriggers makes the capture triggers of every table the file has, and
// notes the schema version. It must run inside a write transaction.
func (e *Engine) createTriggers() error {
	if err := sqlite.Script(e.conn, txTrigger); err != nil {
		return fmt.Errorf("create capture trigger: %w", err)
	}
	for i := range e.tables {
		if e.tables[i].missing {
			continue
		}
		list, err := e.captureSQL(&e.tables[i])
		if err != nil {
			return err
		}
		for _, sql := range list {
			if err := sqlite.Script(e.conn, sql); err != nil {
				return fmt.Errorf("create capture trigger on %s: %w", e.tables[i].file, err)
			}
		}
	}
	if err := e.noteForms(); err != nil {
		return err
	}
	if err := e.setMeta(metaCapture, change.Int(1)); err != nil {
		return err
	}
	return e.noteVersion()
}

// noteForms keeps which columns the triggers take for such as may hold anything.
func (e *Engine) noteForms() error {
	all := map[int64][]int{}
	for i := range e.tables {
		t := &e.tables[i]
		if t.other = t.otherUndo(); len(t.other) > 0 {
			all[t.id] = t.other
		}
	}
	if len(all) == 0 {
		return e.setMeta(metaForms, change.Null)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return e.setMeta(metaForms, change.Text(string(raw)))
}

// otherUndo are the columns that convert values otherwise in the file than at the hub,
// by place in the capture log.
func (t *table) otherUndo() []int {
	out := t.otherKinds()
	for i, j := range out {
		out[i] = t.undo[j]
	}
	return out
}

// loadForms reads what noteForms kept.
func (e *Engine) loadForms(tables []table) error {
	v, err := e.meta(metaForms)
	if err != nil || v.IsNull() {
		return err
	}
	all := map[int64][]int{}
	if err := json.Unmarshal([]byte(v.Str()), &all); err != nil {
		return fmt.Errorf("read %s: %w", metaForms, err)
	}
	for i := range tables {
		tables[i].other = all[tables[i].id]
	}
	return nil
}

// dropTriggers removes every trigger of ours. It must run inside a write transaction.
func (e *Engine) dropTriggers() error {
	var names []string
	err := sqlite.Query(e.conn, `SELECT name FROM sqlite_schema WHERE type='trigger'`, func(s *sqlite.Stmt) error {
		if n := s.ColumnText(0); sqlite.Ours(n) {
			names = append(names, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list triggers: %w", err)
	}
	for _, n := range names {
		if err := sqlite.Script(e.conn, "DROP TRIGGER "+sqlite.Quote(n)); err != nil {
			return fmt.Errorf("drop trigger %s: %w", n, err)
		}
	}
	return nil
}

// noteVersion remembers the file's schema as the one capture was built for.
func (e *Engine) noteVersion() error {
	v, err := e.version()
	if err != nil {
		return err
	}
	e.shape = v
	return e.setMeta(metaVersion, change.Int(v))
}

// mute keeps a trigger from running inside an apply transaction (trap D1). The
// row is only ever visible to the connection that applies.
const mute = `NOT EXISTS (SELECT 1 FROM _tidemark_applying)`

// txTrigger marks in the log where the application says that a transaction
// begins: one record per transaction instead of a column in every record.
const txTrigger = `CREATE TRIGGER _tidemark_begin AFTER UPDATE ON _tidemark_tx BEGIN
  INSERT INTO _tidemark_undo (tbl, kind) VALUES (0, 0);
END`

// captureSQL is the triggers of one table. Its output depends on nothing but the
// table's shape, so that the drift check can compare texts.
func (e *Engine) captureSQL(t *table) ([]string, error) {
	g := &generator{t: t, forms: e.formsOf(t, t.otherUndo())}
	var err error
	if g.all, err = e.columns(t); err != nil {
		return nil, err
	}
	if g.probes, err = e.probes(t, g.all); err != nil {
		return nil, err
	}
	late := g.late()
	insert := g.probeInsert()
	if !late {
		insert = append(insert, g.absent(undoAbsent, ""))
	}
	out := []string{
		g.trigger("insert", "BEFORE INSERT", insert),
		g.trigger("update", "BEFORE UPDATE", []string{g.partial()}),
		g.trigger("rekey", "BEFORE UPDATE"+g.rekeyColumns(), g.rekey()),
		g.trigger("delete", "BEFORE DELETE", []string{g.image(undoFull, "OLD.", "")}),
	}
	if late {
		out = append(out, g.trigger("inserted", "AFTER INSERT", []string{g.absent(undoAbsent, "")}))
	}
	return append(out, e.leaseTriggers(t)...), nil
}

// formsOf is the forms of the stored columns that the file has.
func (e *Engine) formsOf(t *table, other []int) []imageForm {
	all := forms(&e.setup.Schema.Tables[t.id-1], other)
	out := make([]imageForm, len(t.undo))
	for i, v := range t.undo {
		out[i] = all[v]
	}
	return out
}

// A generator writes the capture triggers of one table.
type generator struct {
	t      *table
	forms  []imageForm
	probes []probe
	all    []fileColumn // of the file's table, unknown to the setup or not
}

func (g *generator) trigger(name, when string, body []string) string {
	return fmt.Sprintf("CREATE TRIGGER _tidemark_%d_%s %s ON %s\nWHEN %s BEGIN\n  %s;\nEND",
		g.t.id, name, when, g.t.sql(), mute, strings.Join(body, ";\n  "))
}

// late reports whether a row's key can be unknown before the insert: SQLite
// chooses it, or an expression computes it (twice, before SQLite 3.31).
func (g *generator) late() bool {
	s := g.t.schema
	if rowidKey(s) {
		return true
	}
	for _, k := range s.Key {
		if s.Columns[k].Default != "" {
			return true
		}
	}
	return false
}

// rowidKey reports whether the key is the table's rowid.
func rowidKey(s *change.Table) bool {
	return !s.WithoutRowid && len(s.Key) == 1 && strings.EqualFold(s.Columns[s.Key[0]].Type, "INTEGER")
}

// image is the statement that logs a whole row: OLD, or the rows of a query.
func (g *generator) image(kind undoKind, prefix, from string) string {
	vals := sqlite.QuoteAll(prefix, g.t.cols)
	return fmt.Sprintf("INSERT INTO _tidemark_undo (tbl, kind, %s) SELECT %d, %d, %s%s", g.columns(nil), g.t.id, kind, vals, from)
}

// absent is the statement that logs that the new row's key is not there.
func (g *generator) absent(kind undoKind, from string) string {
	return fmt.Sprintf("INSERT INTO _tidemark_undo (tbl, kind, %s) SELECT %d, %d, %s%s",
		g.columns(g.t.key), g.t.id, kind, sqlite.QuoteAll("NEW.", g.keyNames()), from)
}

// partial is the statement that logs OLD without what the UPDATE leaves alone.
func (g *generator) partial() string {
	vals := make([]string, len(g.t.cols))
	mask := []string{"0"}
	bit := 0
	for i, n := range g.t.cols {
		o, w := "OLD."+sqlite.Quote(n), "NEW."+sqlite.Quote(n)
		switch g.forms[i] {
		case formText: // COLLATE: 'a' → 'A' is a change in a NOCASE column too (trap S17)
			vals[i] = fmt.Sprintf("CASE WHEN %s IS %s COLLATE BINARY THEN 0 ELSE %s END", o, w, o)
		case formNumber:
			vals[i] = fmt.Sprintf("CASE WHEN %s IS %s COLLATE BINARY THEN '0' ELSE %s END", o, w, o)
		case formMask:
			same := fmt.Sprintf("(%s IS %s COLLATE BINARY AND typeof(%s) = typeof(%s))", o, w, o, w)
			vals[i] = fmt.Sprintf("CASE WHEN %s THEN NULL ELSE %s END", same, o)
			mask = append(mask, fmt.Sprintf("((NOT %s) << %d)", same, bit))
			bit++
		default:
			vals[i] = o
		}
	}
	return fmt.Sprintf("INSERT INTO _tidemark_undo (tbl, kind, mask, %s) VALUES (%d, %d, %s, %s)",
		g.columns(nil), g.t.id, undoPartial, strings.Join(mask, " | "), strings.Join(vals, ", "))
}

// columns names the log's value columns for the given stored columns, or all.
func (g *generator) columns(of []int) string {
	if of == nil {
		of = make([]int, len(g.t.undo))
		for i := range of {
			of[i] = i
		}
	}
	out := make([]string, len(of))
	for i, c := range of {
		out[i] = fmt.Sprintf("v%d", g.t.undo[c])
	}
	return strings.Join(out, ", ")
}

func (g *generator) keyNames() []string {
	out := make([]string, len(g.t.key))
	for i, k := range g.t.key {
		out[i] = g.t.cols[k]
	}
	return out
}
