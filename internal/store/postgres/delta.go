package postgresstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Delta implements hub.View. It refuses a cursor as Check does. emit must not read.
func (v *view) Delta(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	m, err := v.check(since)
	if err != nil || len(scopes) == 0 {
		return err
	}
	origin, err := v.origin(self)
	if err != nil {
		return err
	}
	touched, err := v.stirredTables(&m, origin, scopes)
	if err != nil {
		return err
	}
	for _, t := range v.p.tables {
		if !touched[t.id] {
			continue
		}
		if err := v.deltaOf(t, &m, origin, scopes, limit, emit); err != nil {
			return fmt.Errorf("changes of %s: %w", t.def.Name, err)
		}
	}
	return nil
}

// origin is an incarnation's number; ledger.Nobody for the hub itself, whose
// entries nobody filters, and for one that never wrote.
func (v *view) origin(inc change.Incarnation) (int64, error) {
	if inc.IsZero() {
		return ledger.Nobody, nil
	}
	c, err := v.chain(inc)
	return c.id, err
}

// A chain is what is known of an incarnation's transactions.
type chain struct {
	id       int64 // ledger.Nobody: there is none
	progress hub.Progress
}

// chain looks an incarnation up, once in a snapshot that nothing is written in.
func (v *view) chain(inc change.Incarnation) (chain, error) {
	if c, ok := v.chains[inc]; ok {
		return c, nil
	}
	c := chain{id: ledger.Nobody}
	err := v.query(`SELECT id, seq, sum FROM tidemark.origin WHERE inc = $1::bytea`, func(r *row) error {
		c.id, c.progress.Seq = r.int(0), uint64(r.int(1))
		copy(c.progress.Sum[:], r.blob(2))
		return nil
	}, inc[:])
	if err != nil {
		return c, fmt.Errorf("look up incarnation %s: %w", inc, err)
	}
	if v.flush == nil {
		if v.chains == nil {
			v.chains = map[change.Incarnation]chain{}
		}
		v.chains[inc] = c
	}
	return c, nil
}

// stirredTables are those with changes that self may not know, or that may have taken rows
// out of its scopes. A device's own inserts and updates do neither, for a row that leaves a
// scope has an entry there that says so: most pulls follow the reader's own push, and read no
// row for it.
func (v *view) stirredTables(m *moment, self int64, scopes []rule.ScopeID) (map[int64]bool, error) {
	out := map[int64]bool{}
	var a args
	err := v.query(m.stirredTablesSQL(self, scopes, &a), func(r *row) error {
		out[r.int(0)] = true
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("read the change log: %w", err)
	}
	return out, nil
}

func (m *moment) stirredTablesSQL(self int64, scopes []rule.ScopeID, a *args) string {
	return "SELECT l.tbl FROM " + m.entries("scope = ANY("+a.add(scopeTexts(scopes))+"::text[]) AND ", a) +
		" AS l GROUP BY l.tbl HAVING bool_or(l.origin <> " + a.add(self) + "::int4 OR l.op > " + strconv.Itoa(ledger.Update) + ")"
}

// deltaSQL joins the keys touched in some of the scopes with the rows as they are.
// What follows a parent that the reader moved or deleted is not the reader's own
// change: the hub may have taken children along that it does not know of.
// OFFSET 0 keeps the planner, who knows nothing of the newest part of the log, from
// reading the whole table for it; tbl + 0 from reading all entries of the table.
// Columns: whether anybody but self touched the row, whether it is there, whether it
// is in the scopes, the key as logged, the stored columns.
func (t *table) deltaSQL(m *moment, origin int64, scopes []rule.ScopeID, a *args) string {
	here := "false"
	if rel := t.scope.Relevant(scopes); len(rel) > 0 {
		// Row by row up to the parents: few rows changed, of however many are in the scopes.
		here = t.expr("t.") + " = ANY(" + a.add(scopeTexts(rel)) + "::text[])"
	}
	return "SELECT l.other, t." + quote(t.keyNames[0]) + " IS NOT NULL, " + here + ", " + strings.Join(keyParts("l.", len(t.key)), ", ") + ", " + t.columns +
		" FROM (SELECT e.key, bool_or(e.origin <> " + a.add(origin) + "::int4 OR e.op = " + strconv.Itoa(ledger.Follow) + ") AS other FROM " +
		m.entries("scope = ANY("+a.add(scopeTexts(scopes))+"::text[]) AND tbl + 0 = "+a.add(t.id)+"::int4 AND ", a) +
		" AS e GROUP BY e.key HAVING e.key IS NOT NULL) AS l LEFT JOIN LATERAL (SELECT * FROM " + t.name + " AS t WHERE " + t.atLogKey("t.", "l.") + " OFFSET 0) AS t ON true"
}

func (v *view) deltaOf(t *table, m *moment, origin int64, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	var a args
	q := t.deltaSQL(m, origin, scopes, &a)
	b := ledger.NewBatch(t.newRows(), limit, emit)
	nk := len(t.key)
	err := v.query(q, func(r *row) error {
		other, there, in := r.bool(0), r.bool(1), r.bool(2)
		switch {
		case there && in && other:
			return b.Row(t.row(r, 3+nk))
		case there && in: // the reader's own change, which it has
			return nil
		case !there && !other: // likewise
			return nil
		}
		key, err := t.loggedKey(r, 3)
		if err != nil {
			return err
		}
		return b.Gone(key)
	}, a.list...)
	if err != nil {
		return err
	}
	return b.Flush()
}

// newRows is an empty set of the table's rows.
func (t *table) newRows() *change.Rows {
	return &change.Rows{Table: t.def.Name, Columns: t.names, Key: t.key}
}

// loggedKey reads a key, as the log holds it, from column from on.
func (t *table) loggedKey(r *row, from int) ([]change.Value, error) {
	out := make([]change.Value, len(t.key))
	for i, k := range t.key {
		var err error
		if out[i], err = t.cols[k].parse(r.text(from + i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
