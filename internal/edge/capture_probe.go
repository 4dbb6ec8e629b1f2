package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A probe finds the rows that a new row would collide with under one key or
// unique index: the rows that OR REPLACE deletes without a trigger (trap S1).
type probe struct {
	parts []probePart
	where string // predicate of a partial index, over the table's columns
	key   bool   // it is the primary key
}

type probePart struct {
	column string // "" for an expression
	expr   string
	coll   string // of the index
	plain  bool   // a stored column: UPDATE OF can name it
}

// A fileColumn is a column of the file's table.
type fileColumn struct {
	name      string
	generated bool
}

// columns lists the columns of the file's table, unknown to the setup or not.
func (e *Engine) columns(t *table) ([]fileColumn, error) {
	var out []fileColumn
	err := sqlite.Query(e.conn, `SELECT name, hidden FROM pragma_table_xinfo(?) WHERE hidden<>1 ORDER BY cid`, func(s *sqlite.Stmt) error {
		out = append(out, fileColumn{s.ColumnText(0), s.ColumnInt64(1) != 0})
		return nil
	}, change.Text(t.file))
	if err != nil {
		return nil, fmt.Errorf("list columns of %s: %w", t.file, err)
	}
	return out, nil
}

// plain reports whether only a change of the probe's own columns can cause a collision.
func (p *probe) plain() bool {
	return p.where == "" && !slices.ContainsFunc(p.parts, func(x probePart) bool { return !x.plain })
}

// probes reads the unique indexes of the file's table as it is now.
func (e *Engine) probes(t *table, all []fileColumn) ([]probe, error) {
	type index struct {
		name, origin string
		partial      bool
	}
	var list []index
	err := sqlite.Query(e.conn, `SELECT name, origin, partial FROM pragma_index_list(?) WHERE "unique"=1 ORDER BY name`, func(s *sqlite.Stmt) error {
		list = append(list, index{s.ColumnText(0), s.ColumnText(1), s.ColumnInt64(2) != 0})
		return nil
	}, change.Text(t.file))
	if err != nil {
		return nil, fmt.Errorf("list indexes of %s: %w", t.file, err)
	}
	var out []probe
	if rowidKey(t.schema) {
		out = append(out, probe{key: true, parts: []probePart{{column: t.cols[t.key[0]], plain: true}}})
	}
	for _, ix := range list {
		p := probe{key: ix.origin == "pk"}
		var exprs []string
		if ix.origin == "c" {
			sql, _, err := sqlite.One(e.conn, `SELECT sql FROM sqlite_schema WHERE type='index' AND name=?`, change.Text(ix.name))
			if err != nil {
				return nil, fmt.Errorf("read index %s: %w", ix.name, err)
			}
			exprs, p.where = indexParts(sql.Str())
		}
		if p.parts, err = e.probeParts(all, ix.name, exprs); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (e *Engine) probeParts(all []fileColumn, index string, exprs []string) ([]probePart, error) {
	var parts []probePart
	err := sqlite.Query(e.conn, `SELECT cid, coalesce(name,''), coll FROM pragma_index_xinfo(?) WHERE key=1 ORDER BY seqno`, func(s *sqlite.Stmt) error {
		p := probePart{coll: s.ColumnText(2)}
		if s.ColumnInt64(0) >= 0 {
			p.column = s.ColumnText(1)
			p.plain = slices.Contains(all, fileColumn{p.column, false})
		} else if len(parts) < len(exprs) {
			p.expr = exprs[len(parts)]
		}
		parts = append(parts, p)
		return nil
	}, change.Text(index))
	if err != nil {
		return nil, fmt.Errorf("read index %s: %w", index, err)
	}
	return parts, nil
}

// indexParts cuts the indexed expressions and the predicate out of a CREATE
// INDEX statement, without COLLATE, ASC and DESC.
func indexParts(sql string) (exprs []string, where string) {
	toks := tokenize(sql)
	i, depth, from := 0, 0, 0
	for i < len(toks) && !toks[i].is("ON") {
		i++
	}
	for i += 2; i < len(toks); i++ {
		switch {
		case toks[i].punct('('):
			if depth++; depth == 1 {
				from = i + 1
			}
		case toks[i].punct(')'):
			if depth--; depth == 0 {
				exprs = append(exprs, indexPart(sql, toks[from:i]))
			}
		case toks[i].punct(',') && depth == 1:
			exprs = append(exprs, indexPart(sql, toks[from:i]))
			from = i + 1
		case toks[i].is("WHERE") && depth == 0 && i+1 < len(toks):
			return exprs, strings.TrimRight(strings.TrimSpace(sql[toks[i+1].start:]), ";")
		}
	}
	return exprs, ""
}

func indexPart(sql string, toks []token) string {
	for len(toks) > 1 {
		n := len(toks)
		switch {
		case toks[n-1].is("ASC") || toks[n-1].is("DESC"):
			toks = toks[:n-1]
		case n > 2 && toks[n-2].is("COLLATE"):
			toks = toks[:n-2]
		default:
			return sql[toks[0].start:toks[n-1].end]
		}
	}
	if len(toks) == 0 {
		return ""
	}
	return sql[toks[0].start:toks[0].end]
}

// probeInsert logs every row that the new row collides with.
func (g *generator) probeInsert() []string {
	var out []string
	for i := range g.probes {
		if c := g.collides(&g.probes[i]); c != "" {
			out = append(out, g.image(undoFull, g.t.sql()+".", c))
		}
	}
	return out
}

// collides is the FROM and WHERE of the rows in the new row's way.
func (g *generator) collides(p *probe) string {
	name := g.t.sql()
	var cond []string
	for _, x := range p.parts {
		coll := ""
		if x.coll != "" && !strings.EqualFold(x.coll, "BINARY") {
			coll = " COLLATE " + sqlite.Quote(x.coll)
		}
		if x.column != "" {
			q := sqlite.Quote(x.column)
			if coll == "" && !g.binary(x.column) {
				coll = " COLLATE BINARY"
			}
			cond = append(cond, fmt.Sprintf("%s.%s%s = NEW.%s", name, q, coll, q))
			continue
		}
		if x.expr == "" {
			return ""
		}
		// The index's expression over the new row, with its own column names.
		cond = append(cond, fmt.Sprintf("(%s)%s = (SELECT %s FROM (SELECT %s))", x.expr, coll, x.expr, g.newRow()))
	}
	if p.where != "" {
		cond = append(cond, "("+p.where+")")
	}
	return " FROM " + name + " WHERE " + strings.Join(cond, " AND ")
}

// binary reports whether a column compares bytes by itself.
func (g *generator) binary(column string) bool {
	c := g.t.schema.Column(column)
	if i := g.t.column(column); i >= 0 {
		c = g.t.stored[i]
	}
	return c >= 0 && g.t.schema.Columns[c].Collation == ""
}

// newRow is NEW as the select list of a one-row table with the table's column names.
func (g *generator) newRow() string {
	parts := make([]string, len(g.all))
	for i, c := range g.all {
		parts[i] = "NEW." + sqlite.Quote(c.name) + " AS " + sqlite.Quote(c.name)
	}
	return strings.Join(parts, ", ")
}

// rekey logs what an UPDATE of keys or unique columns may do beyond its own row.
func (g *generator) rekey() []string {
	changed := g.keyChanged()
	self := g.notSelf()
	var out []string
	for i := range g.probes {
		p := &g.probes[i]
		c := g.collides(p)
		if c == "" {
			continue
		}
		if p.plain() {
			c += " AND (" + g.differs(p) + ")"
		} else {
			c += " AND (" + self + ")"
		}
		out = append(out, g.image(undoFull, g.t.sql()+".", c))
	}
	return append(out,
		g.image(undoKeyFrom, "OLD.", " WHERE "+changed),
		g.absent(undoKeyTo, " WHERE "+changed))
}

// keyChanged compares the old and the new key as storage, not as SQL values.
func (g *generator) keyChanged() string {
	var or []string
	for i, n := range g.keyNames() {
		o, w := "OLD."+sqlite.Quote(n), "NEW."+sqlite.Quote(n)
		or = append(or, fmt.Sprintf("%s IS NOT %s COLLATE BINARY", o, w))
		if change.AffinityOf(g.t.schema.Columns[g.t.schema.Key[i]].Type) == change.AffinityBlob {
			or = append(or, fmt.Sprintf("typeof(%s) <> typeof(%s)", o, w))
		}
	}
	return strings.Join(or, " OR ")
}

// notSelf leaves out the very row that is being updated.
func (g *generator) notSelf() string {
	var or []string
	for _, n := range g.keyNames() {
		or = append(or, fmt.Sprintf("%s.%s IS NOT OLD.%s COLLATE BINARY", g.t.sql(), sqlite.Quote(n), sqlite.Quote(n)))
	}
	return strings.Join(or, " OR ")
}

func (g *generator) differs(p *probe) string {
	var or []string
	for _, x := range p.parts {
		or = append(or, fmt.Sprintf("NEW.%s IS NOT OLD.%s", sqlite.Quote(x.column), sqlite.Quote(x.column)))
	}
	return strings.Join(or, " OR ")
}

// rekeyColumns is the OF clause that spares other updates the check, or "" when
// a partial or computed index makes every column count.
func (g *generator) rekeyColumns() string {
	names := g.keyNames()
	for i := range g.probes {
		if !g.probes[i].plain() {
			return ""
		}
		for _, x := range g.probes[i].parts {
			if !slices.Contains(names, x.column) {
				names = append(names, x.column)
			}
		}
	}
	if rowidKey(g.t.schema) { // the key has these names too, and OF goes by name
		names = append(names, "rowid", "oid", "_rowid_")
	}
	return " OF " + sqlite.QuoteAll("", names)
}
