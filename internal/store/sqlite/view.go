package sqlitestore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A view is one snapshot: a read transaction of one connection.
type view struct {
	s     *Store
	c     *sqlite.Conn
	p     *plan
	flush func() error // writes log entries kept back; nil outside of a tx
	lives []life       // the lineage, once it was asked for
	facts *facts       // once they were asked for; nil in a tx, which may change them
}

var _ hub.View = (*view)(nil)

// sync makes the log complete before it is read.
func (v *view) sync() error {
	if v.flush == nil {
		return nil
	}
	return v.flush()
}

// tail is the last log position, 0 when the log is empty.
func (v *view) tail() (int64, error) {
	if err := v.sync(); err != nil {
		return 0, err
	}
	pos, _, err := sqlite.One(v.c, `SELECT max(pos) FROM _tidemark_log`)
	if err != nil {
		return 0, fmt.Errorf("read the log's end: %w", err)
	}
	return pos.Int(), nil
}

// Cursor implements hub.View.
func (v *view) Cursor() (change.Cursor, error) {
	if err := v.sync(); err != nil {
		return change.Cursor{}, err
	}
	var pos, nonce int64
	err := sqlite.Query(v.c, `SELECT pos, nonce FROM _tidemark_log ORDER BY pos DESC LIMIT 1`, func(s *sqlite.Stmt) error {
		pos, nonce = s.ColumnInt64(0), s.ColumnInt64(1)
		return nil
	})
	if err != nil {
		return change.Cursor{}, fmt.Errorf("mint cursor: %w", err)
	}
	return v.mint(pos, nonce)
}

// mint is the present life's cursor at a log entry: "pos.nonce" in hexadecimal.
func (v *view) mint(pos, nonce int64) (change.Cursor, error) {
	list, err := v.lineage()
	if err != nil {
		return change.Cursor{}, err
	}
	b := make([]byte, 0, 34)
	b = strconv.AppendInt(b, pos, 16)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(nonce), 16)
	return change.Cursor{Epoch: present(list), Token: string(b)}, nil
}

// parse reads a cursor of one of the hub's lives; the zero cursor is position 0.
// What an earlier life wrote after the next one left it is in no log.
func parse(lives []life, c change.Cursor) (pos, nonce int64, err error) {
	if c.IsZero() {
		return 0, 0, nil
	}
	for i := range lives {
		if lives[i].Epoch != c.Epoch {
			continue
		}
		pos, nonce, err = readToken(c.Token)
		if err == nil && pos > lives[i].end {
			err = hub.ErrOtherHistory
		}
		return pos, nonce, err
	}
	return 0, 0, hub.ErrOtherHistory
}

// readToken is the opposite of mint.
func readToken(token string) (pos, nonce int64, err error) {
	a, b, ok := strings.Cut(token, ".")
	if !ok {
		return 0, 0, fmt.Errorf("read cursor %q: %w", token, hub.ErrOtherHistory)
	}
	pos, err = strconv.ParseInt(a, 16, 64)
	n, err2 := strconv.ParseUint(b, 16, 64)
	if err != nil || err2 != nil || pos < 0 {
		return 0, 0, fmt.Errorf("read cursor %q: %w", token, hub.ErrOtherHistory)
	}
	return pos, int64(n), nil
}

// Check implements hub.View. The zero cursor is below the floor unless the log
// tells all that ever was.
func (v *view) Check(since change.Cursor) error {
	_, err := v.check(since)
	return err
}

// check returns the cursor's log position.
func (v *view) check(since change.Cursor) (int64, error) {
	if err := v.sync(); err != nil {
		return 0, err
	}
	lives, err := v.lineage()
	if err != nil {
		return 0, err
	}
	pos, nonce, err := parse(lives, since)
	if err != nil {
		return 0, err
	}
	floor, known, err := v.floor()
	if err != nil {
		return 0, err
	}
	switch {
	case pos < floor:
		return 0, hub.ErrBelowFloor
	case pos == 0:
		return 0, nil
	case pos > floor:
		err := sqlite.Query(v.c, `SELECT nonce FROM _tidemark_log WHERE pos=?`, func(s *sqlite.Stmt) error {
			known = s.ColumnInt64(0)
			return nil
		}, change.Int(pos))
		if err != nil {
			return 0, fmt.Errorf("check cursor: %w", err)
		}
	}
	if known != nonce {
		return 0, hub.ErrOtherHistory
	}
	return pos, nil
}

// facts are what nearly every snapshot is asked for.
type facts struct {
	epoch        change.Epoch // of the present life
	floor, nonce int64        // as view.floor returns them
}

func (v *view) known() (*facts, error) {
	if v.facts != nil {
		return v.facts, nil
	}
	f := &facts{}
	err := sqlite.Query(v.c, `SELECT key, value FROM _tidemark_meta WHERE key IN (?, ?, ?)`, func(s *sqlite.Stmt) error {
		n := s.ColumnInt64(1)
		switch s.ColumnText(0) {
		case metaEpoch:
			f.epoch = change.Epoch(n)
		case metaFloor:
			f.floor = n
		case metaNonce:
			f.nonce = n
		}
		return nil
	}, change.Text(metaEpoch), change.Text(metaFloor), change.Text(metaNonce))
	if err != nil {
		return nil, fmt.Errorf("read the hub's epoch and the log's floor: %w", err)
	}
	if v.flush == nil {
		v.facts = f
	}
	return f, nil
}

// floor is the position below which the log may have been pruned, and the nonce there.
func (v *view) floor() (pos, nonce int64, err error) {
	f, err := v.known()
	if err != nil {
		return 0, 0, err
	}
	return f.floor, f.nonce, nil
}

// Row implements hub.View.
func (v *view) Row(name string, key change.Key) ([]change.Value, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	if len(key) != len(t.key) {
		return nil, fmt.Errorf("read row of %s: the key has %d values, not %d", name, len(key), len(t.key))
	}
	var row []change.Value
	err = sqlite.Query(v.c, t.byKey, func(s *sqlite.Stmt) error {
		row = readRow(s, 0, len(t.names))
		return nil
	}, key...)
	if err != nil {
		return nil, fmt.Errorf("read row of %s: %w", name, err)
	}
	return row, nil
}

func readRow(s *sqlite.Stmt, from, n int) []change.Value {
	return readInto(make([]change.Value, n), s, from)
}

// readInto fills a row from column from on.
func readInto(row []change.Value, s *sqlite.Stmt, from int) []change.Value {
	for i := range row {
		row[i] = sqlite.Column(s, from+i)
	}
	return row
}

// Children implements hub.View.
func (v *view) Children(name string, fk *change.ForeignKey, parent []change.Value, limit int) ([]change.Key, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	var keys []change.Key
	q := "SELECT " + sqlite.QuoteAll("t.", t.keyNames) + " FROM " + t.name + " AS t WHERE " +
		v.p.points(t, fk, params(len(fk.Columns))) + " LIMIT ?"
	err = sqlite.Query(v.c, q, func(s *sqlite.Stmt) error {
		keys = append(keys, readRow(s, 0, len(t.key)))
		return nil
	}, append(append([]change.Value{}, parent...), change.Int(int64(limit)))...)
	if err != nil {
		return nil, fmt.Errorf("read children in %s: %w", name, err)
	}
	return keys, nil
}

// points is the condition that row t of fk's table points at parent values. The
// parent's collation decides, as for SQLite's own foreign keys.
func (p *plan) points(t *table, fk *change.ForeignKey, values []string) string {
	parent := p.schema.Table(fk.Parent)
	parts := make([]string, len(values))
	for i, n := range fkNames(t, fk) {
		parts[i] = "t." + sqlite.Quote(n) + " = " + values[i]
		if parent == nil {
			continue
		}
		if c := parent.Column(fk.To[i]); c >= 0 {
			// The child's own collation lets its index serve; the parent's is checked on top.
			if coll := collation(parent.Columns[c].Collation); coll != collation(t.def.Columns[fk.Columns[i]].Collation) {
				parts[i] = "t." + sqlite.Quote(n) + " = " + values[i] + " COLLATE " + coll
			}
		}
	}
	return strings.Join(parts, " AND ")
}

func collation(name string) string {
	if name == "" {
		return "BINARY"
	}
	return strings.ToUpper(name)
}

// ScopeOf implements hub.View.
func (v *view) ScopeOf(name string, row []change.Value) (rule.ScopeID, error) {
	t, err := v.p.table(name)
	if err != nil {
		return "", err
	}
	if len(row) != len(t.names) {
		return "", fmt.Errorf("scope of a row of %s: %d values for %d columns", name, len(row), len(t.names))
	}
	switch {
	case t.scope.All:
		return rule.ScopeAll, nil
	case t.scope.Column != "":
		val := row[ledger.IndexFold(t.names, t.scope.Column)]
		if val.Kind() != change.KindFloat {
			return rule.Of(t.scope.Kind, val), nil
		}
		// Only the engine knows how it writes a double.
		text, _, err := sqlite.One(v.c, "SELECT ?1 || '/' || ?2", change.Text(t.scope.Kind), val)
		return rule.ScopeID(text.Str()), err
	}
	args := make([]change.Value, len(t.scope.FK.Columns))
	for i, n := range fkNames(t, t.scope.FK) {
		args[i] = row[ledger.IndexFold(t.names, n)]
	}
	got, _, err := sqlite.One(v.c, "SELECT "+t.scope.parent.exprAt("_p0.", 1)+" FROM "+t.scope.parent.name+
		" AS _p0 WHERE "+equals("_p0.", t.scope.FK.To, params(len(args))), args...)
	if err != nil {
		return "", fmt.Errorf("scope of a row of %s: %w", name, err)
	}
	if got.Str() == ledger.Orphan {
		return "", nil
	}
	return rule.ScopeID(got.Str()), nil
}
