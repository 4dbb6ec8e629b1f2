package sqlitestore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A unique is one way for OR REPLACE to delete a row without a trigger (trap S1).
type unique struct {
	columns []string // that an UPDATE must name to collide; nil: any
	cond    string   // row _t collides with NEW
	primary bool
}

// probes log the rows that another program's OR REPLACE may be about to delete.
// They also fire for IGNORE and DO UPDATE: an entry too many does no harm.
func (t *table) probes() []trigger {
	var out []trigger
	for i, u := range t.uniques() {
		from := t.name + " AS _t"
		maybe := t.logInto() + sqlite.QuoteAll("_t.", t.keyNames) + ", " + opText(opMaybe) + ", 0, " + other.who + ", " + other.clock + ", " +
			t.expr("_t.") + " FROM " + from + " WHERE "
		tomb := t.entomb("_t.", " FROM "+t.name+" AS _t WHERE ")
		others := " AND NOT (" + equals("_t.", t.keyNames, prefixed("OLD.", t.keyNames)) + ")"
		if !u.primary || len(t.below) > 0 || !t.scope.All {
			body := append(t.leaving("_t.", from+" CROSS JOIN ", " AND "+u.cond), maybe+u.cond)
			if !u.primary {
				body = append(body, tomb+u.cond)
			}
			out = append(out, t.make(fmt.Sprintf("pri%d_", i), "BEFORE INSERT", "", body...))
		}
		event := "BEFORE UPDATE"
		if len(u.columns) > 0 {
			event += " OF " + sqlite.QuoteAll("", u.columns)
		}
		cond := u.cond + others
		body := append(t.leaving("_t.", from+" CROSS JOIN ", " AND "+cond), maybe+cond, tomb+cond)
		out = append(out, t.make(fmt.Sprintf("pru%d_", i), event, "", body...))
	}
	return out
}

// uniques are the primary key and every UNIQUE index.
func (t *table) uniques() []unique {
	list := []unique{{columns: t.keyNames, cond: equals("_t.", t.keyNames, prefixed("NEW.", t.keyNames)), primary: true}}
	for i := range t.def.Unique {
		ix := &t.def.Unique[i]
		terms := t.terms[ix.Name]
		if len(terms) != len(ix.Columns) {
			continue // an index whose text is not understood; refresh has said so
		}
		u := unique{}
		var conds []string
		plain := true
		for j, c := range ix.Columns {
			coll := ""
			if terms[j].collation != "" {
				coll = " COLLATE " + terms[j].collation
			}
			if c < 0 {
				plain = false
				conds = append(conds, "("+terms[j].expr+") = "+t.ofNew(terms[j].expr)+coll)
				continue
			}
			n := sqlite.Quote(t.def.Columns[c].Name)
			u.columns = append(u.columns, t.def.Columns[c].Name)
			conds = append(conds, "_t."+n+" = NEW."+n+coll)
		}
		if !plain || ix.Where != "" {
			u.columns = nil
		}
		if ix.Where != "" {
			conds = append(conds, "("+ix.Where+")")
		}
		u.cond = strings.Join(conds, " AND ")
		list = append(list, u)
	}
	return list
}

// ofNew evaluates an index expression for the row NEW: in the inner query the
// bare column names are NEW's.
func (t *table) ofNew(expr string) string {
	cols := make([]string, len(t.def.Columns))
	for i := range t.def.Columns {
		n := sqlite.Quote(t.def.Columns[i].Name)
		cols[i] = "NEW." + n + " AS " + n
	}
	return "(SELECT " + expr + " FROM (SELECT " + strings.Join(cols, ", ") + "))"
}

// A term is one column or expression of an index.
type term struct {
	expr      string // as written, when it is an expression
	collation string
}

// indexTerms reads the terms of a table's UNIQUE indexes.
func indexTerms(c *sqlite.Conn, def *change.Table) (map[string][]term, error) {
	out := map[string][]term{}
	for i := range def.Unique {
		ix := &def.Unique[i]
		var list []term
		err := sqlite.Query(c, `SELECT coll FROM pragma_index_xinfo(?) WHERE key=1 ORDER BY seqno`, func(s *sqlite.Stmt) error {
			list = append(list, term{collation: sqlite.Quote(s.ColumnText(0))})
			return nil
		}, change.Text(ix.Name))
		if err != nil {
			return nil, fmt.Errorf("describe index %s: %w", ix.Name, err)
		}
		text, _, err := sqlite.One(c, `SELECT sql FROM sqlite_schema WHERE type='index' AND name=?`, change.Text(ix.Name))
		if err != nil {
			return nil, fmt.Errorf("describe index %s: %w", ix.Name, err)
		}
		exprs := indexExprs(text.Str())
		for j := range list {
			if ix.Columns[j] < 0 {
				if j >= len(exprs) {
					list = nil
					break
				}
				list[j].expr = exprs[j]
			}
		}
		out[ix.Name] = list
	}
	return out, nil
}
