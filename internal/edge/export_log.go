package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// errEnough stops a query that has given enough.
var errEnough = errors.New("enough")

// A rowID names a row of the file within an export.
type rowID struct {
	table int    // index into Engine.tables
	key   string // change.Key.ID
}

// A touch is what one group did to one row. A nil image is absence.
type touch struct {
	id            rowID
	key           change.Key
	before, after []change.Value // of table.names
	records       []uint64       // newest first
	varied        bool           // in between it was otherwise than after
}

// A group is the log records of one transaction, or of everything that unaware
// applications did since the last export.
type group struct {
	begun       bool  // the application said where it begins
	first, last int64 // wall clock of its oldest and newest record, Unix ms
	touched     []*touch
	moves       []move // oldest first
}

// A move is a change of primary key.
type move struct{ from, to rowID }

// readLog reads the capture log backwards. Each record tells how a row was
// before; how it was after is what the next younger record says, or the table
// itself. It returns the groups oldest first; group 0 is what comes before the
// first begin. Memory grows with the rows touched.
func (e *Engine) readLog() ([]*group, error) {
	r := &logReader{e: e, state: map[rowID][]change.Value{}, forms: make([][]imageForm, len(e.tables))}
	r.open()
	width := 0
	for i := range e.tables {
		r.forms[i] = e.formsOf(&e.tables[i], e.tables[i].other)
	}
	for i := range e.setup.Schema.Tables {
		width = max(width, len(e.setup.Schema.Tables[i].Stored()))
	}
	var sql strings.Builder
	sql.WriteString("SELECT rid, at, tbl, kind, mask")
	for i := range width {
		fmt.Fprintf(&sql, ", v%d", i)
	}
	sql.WriteString(" FROM _tidemark_undo ORDER BY seq DESC")
	if err := sqlite.Query(e.conn, sql.String(), r.record); err != nil {
		return nil, fmt.Errorf("read undo log: %w", err)
	}
	if r.records == 0 {
		return nil, nil
	}
	r.close(false)
	for i, j := 0, len(r.groups)-1; i < j; i, j = i+1, j-1 {
		r.groups[i], r.groups[j] = r.groups[j], r.groups[i]
	}
	if r.keyless > 0 {
		e.cfg.Logger.Warn("rows with a NULL key cannot sync", "records", r.keyless)
	}
	return r.groups, nil
}

// A logReader walks the log from the newest record to the oldest.
type logReader struct {
	e       *Engine
	forms   [][]imageForm
	state   map[rowID][]change.Value // how each row is just after the record being read
	groups  []*group                 // newest first
	now     *group
	in      map[rowID]*touch // of now
	to      rowID            // of the undoKeyTo record just read
	moving  bool
	absent  rowID // of the undoAbsent record read last
	room    int   // how many records before it may be of the same OR REPLACE
	records int
	keyless int
}

func (r *logReader) open() {
	r.now, r.in = &group{}, map[rowID]*touch{}
}

// close ends the group being read, in the order of its rows' last records.
func (r *logReader) close(begun bool) {
	g := r.now
	g.begun = begun
	for i, j := 0, len(g.touched)-1; i < j; i, j = i+1, j-1 {
		g.touched[i], g.touched[j] = g.touched[j], g.touched[i]
	}
	for i, j := 0, len(g.moves)-1; i < j; i, j = i+1, j-1 {
		g.moves[i], g.moves[j] = g.moves[j], g.moves[i]
	}
	r.groups = append(r.groups, g)
	r.open()
}

// Result columns of readLog's query.
const (
	logRid = iota
	logAt
	logTable
	logKind
	logMask
	logValues
)

func (r *logReader) record(s *sqlite.Stmt) error {
	r.records++
	kind := undoKind(s.ColumnInt64(logKind))
	if kind == undoBegin {
		r.close(true)
		return nil
	}
	n := int(s.ColumnInt64(logTable)) - 1
	if n < 0 || n >= len(r.e.tables) {
		return fmt.Errorf("record of unknown table %d", n+1)
	}
	t := &r.e.tables[n]
	if t.missing {
		return nil
	}
	at := julianMillis(s.ColumnFloat(logAt))
	if r.now.last == 0 {
		r.now.last = at
	}
	r.now.first = at
	key := make(change.Key, len(t.key))
	for i, k := range t.key {
		if key[i] = sqlite.Column(s, logValues+t.undo[k]); key[i].IsNull() {
			r.keyless++
			return nil
		}
	}
	id := rowID{n, key.ID()}
	was, known := r.state[id]
	if !known {
		var err error
		if was, err = r.e.readRow(t, key); err != nil {
			return err
		}
	}
	c := r.in[id]
	if c == nil {
		c = &touch{id: id, key: key, after: was}
		r.in[id] = c
		r.now.touched = append(r.now.touched, c)
	} else if !c.varied && !r.replaced(kind, id) {
		c.varied = !sameImage(c.before, c.after)
	}
	c.records = append(c.records, uint64(s.ColumnInt64(logRid)))
	c.before = r.before(s, t, n, kind, was)
	r.state[id] = c.before
	r.link(kind, id)
	r.around(t, kind, id)
	return nil
}

// replaced reports whether a record and the one of the row's absence read before it
// are one OR REPLACE: nobody saw the row missing.
func (r *logReader) replaced(kind undoKind, id rowID) bool {
	return kind == undoFull && r.room > 0 && r.absent == id
}

// around keeps that a row was absent while the records before that may be what an OR
// REPLACE wrote down of it: the row by its key, and rows by each unique value.
func (r *logReader) around(t *table, kind undoKind, id rowID) {
	switch kind {
	case undoAbsent:
		r.absent, r.room = id, 1+len(t.schema.Unique)
	case undoFull:
		r.room--
	default:
		r.room = 0
	}
}

// before is the row's state before a record, given its state after.
func (r *logReader) before(s *sqlite.Stmt, t *table, n int, kind undoKind, after []change.Value) []change.Value {
	switch kind {
	case undoAbsent, undoKeyTo:
		return nil
	case undoPartial:
		if after == nil {
			// An app's trigger updated the row that an insert with a key chosen by
			// SQLite had just made: the insert's own record is younger.
			return nil
		}
	}
	vals := make([]change.Value, len(t.names))
	bit, mask := 0, s.ColumnInt64(logMask)
	for i, v := range t.undo {
		x := sqlite.Column(s, logValues+v)
		if kind == undoPartial {
			alone := false
			switch r.forms[n][i] {
			case formText:
				alone = x.Kind() == change.KindInt
			case formNumber:
				alone = x == change.Text("0")
			case formMask:
				alone = mask>>bit&1 == 0
				bit++
			}
			if alone {
				x = after[i]
			}
		}
		vals[i] = x
	}
	return vals
}

func sameImage(a, b []change.Value) bool { return slices.Equal(a, b) && (a == nil) == (b == nil) }

// link joins the two records of a key change.
func (r *logReader) link(kind undoKind, id rowID) {
	if kind == undoKeyFrom && r.moving {
		r.now.moves = append(r.now.moves, move{from: id, to: r.to})
	}
	r.moving = kind == undoKeyTo
	r.to = id
}

// readRow reads a row of the file by its key, bit for bit: an equal key that is
// written differently is another row. nil when there is none.
func (e *Engine) readRow(t *table, key change.Key) (row []change.Value, err error) {
	if t.read == "" {
		var cond []string
		for _, k := range t.key {
			cond = append(cond, sqlite.Quote(t.cols[k])+"=?")
		}
		t.read = "SELECT " + sqlite.QuoteAll("", t.cols) + " FROM " + t.sql() + " WHERE " + strings.Join(cond, " AND ")
	}
	err = sqlite.Query(e.conn, t.read, func(s *sqlite.Stmt) error {
		vals := make([]change.Value, len(t.names))
		for i := range vals {
			vals[i] = sqlite.Column(s, i)
		}
		for i, k := range t.key {
			if vals[k] != key[i] {
				return nil
			}
		}
		row = vals
		return nil
	}, key...)
	if err != nil {
		return nil, fmt.Errorf("read row %s of %s: %w", key, t.schema.Name, err)
	}
	return row, nil
}
