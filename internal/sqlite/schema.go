package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// Prefix starts the name of every table, index and trigger of ours in a user's file.
const Prefix = "_tidemark_"

// Ours reports whether a schema object's name belongs to Tidemark.
func Ours(name string) bool {
	return len(name) >= len(Prefix) && strings.EqualFold(name[:len(Prefix)], Prefix)
}

// TableNames lists the ordinary tables of the file that are not ours and not
// SQLite's, in name order. Views, virtual tables and the shadow tables of
// virtual tables are listed in special, with what they are.
func TableNames(c *Conn) (tables []string, special map[string]string, err error) {
	special = map[string]string{}
	err = Query(c, `SELECT name, type FROM pragma_table_list WHERE schema='main' ORDER BY name`, func(s *Stmt) error {
		name, typ := s.ColumnText(0), s.ColumnText(1)
		switch {
		case Ours(name) || strings.HasPrefix(strings.ToLower(name), "sqlite_"):
		case typ == "table":
			tables = append(tables, name)
		default:
			special[name] = typ // view, virtual, shadow
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list tables: %w", err)
	}
	return tables, special, nil
}

// Describe reads the shape of the named tables, in name order. A table that does
// not exist is left out.
func Describe(c *Conn, names []string) (change.Schema, error) {
	names = slices.Clone(names)
	slices.Sort(names)
	var out change.Schema
	for _, n := range names {
		t, err := describe(c, n)
		if err != nil {
			return change.Schema{}, fmt.Errorf("describe table %s: %w", n, err)
		}
		if t != nil {
			out.Tables = append(out.Tables, *t)
		}
	}
	for i := range out.Tables { // a REFERENCES clause without columns means the parent's key
		for j := range out.Tables[i].ForeignKeys {
			fk := &out.Tables[i].ForeignKeys[j]
			if fk.To[0] != "" {
				continue
			}
			p, err := describe(c, fk.Parent)
			if err != nil {
				return change.Schema{}, fmt.Errorf("describe table %s: %w", fk.Parent, err)
			}
			if p != nil && len(p.Key) == len(fk.To) {
				fk.To = p.KeyNames()
			}
		}
	}
	return out, nil
}

func describe(c *Conn, name string) (*change.Table, error) {
	t := &change.Table{Name: name}
	found := false
	err := Query(c, `SELECT name, wr, strict FROM pragma_table_list WHERE schema='main' AND type='table' AND name=? COLLATE NOCASE`, func(s *Stmt) error {
		found, t.Name = true, s.ColumnText(0)
		t.WithoutRowid, t.Strict = s.ColumnInt64(1) != 0, s.ColumnInt64(2) != 0
		return nil
	}, change.Text(name))
	if err != nil || !found {
		return nil, err
	}
	var order []int // key ordinal of each column
	err = Query(c, `SELECT name, type, "notnull", coalesce(dflt_value,''), pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid`, func(s *Stmt) error {
		hidden := s.ColumnInt64(5)
		if hidden == 1 { // a virtual table's hidden column
			return nil
		}
		t.Columns = append(t.Columns, change.Column{
			Name: s.ColumnText(0), Type: s.ColumnText(1), NotNull: s.ColumnInt64(2) != 0,
			Default: s.ColumnText(3), Generated: hidden >= 2,
		})
		order = append(order, int(s.ColumnInt64(4)))
		return nil
	}, change.Text(t.Name))
	if err != nil {
		return nil, err
	}
	for k := 1; ; k++ {
		i := slices.Index(order, k)
		if i < 0 {
			break
		}
		t.Key = append(t.Key, i)
	}
	if err := describeIndexes(c, t); err != nil {
		return nil, err
	}
	return t, describeForeignKeys(c, t)
}

func describeIndexes(c *Conn, t *change.Table) error {
	type index struct {
		name, origin string
		partial      bool
	}
	var list []index
	err := Query(c, `SELECT name, origin, partial FROM pragma_index_list(?) WHERE "unique"=1 ORDER BY seq`, func(s *Stmt) error {
		list = append(list, index{s.ColumnText(0), s.ColumnText(1), s.ColumnInt64(2) != 0})
		return nil
	}, change.Text(t.Name))
	if err != nil {
		return err
	}
	for _, ix := range list {
		u := change.Unique{Name: ix.name}
		err := Query(c, `SELECT cid, coalesce(name,''), coll FROM pragma_index_xinfo(?) WHERE key=1 ORDER BY seqno`, func(s *Stmt) error {
			i := -1
			if s.ColumnInt64(0) >= 0 {
				i = t.Column(s.ColumnText(1))
			}
			u.Columns = append(u.Columns, i)
			if coll := s.ColumnText(2); i >= 0 && !strings.EqualFold(coll, "BINARY") && t.Columns[i].Collation == "" {
				t.Columns[i].Collation = strings.ToUpper(coll)
			}
			return nil
		}, change.Text(ix.name))
		if err != nil {
			return err
		}
		if ix.origin == "pk" {
			continue
		}
		if ix.partial {
			sql, _, err := One(c, `SELECT sql FROM sqlite_schema WHERE type='index' AND name=?`, change.Text(ix.name))
			if err != nil {
				return err
			}
			if i := indexWhere(sql.Str()); i >= 0 {
				u.Where = strings.TrimSpace(sql.Str()[i:])
			}
		}
		t.Unique = append(t.Unique, u)
	}
	return nil
}

// indexWhere finds where the predicate of a CREATE INDEX … WHERE starts, outside
// quotes, brackets and parentheses, or -1.
func indexWhere(sql string) int {
	depth := 0
	for i := 0; i < len(sql); i++ {
		switch ch := sql[i]; ch {
		case '\'', '"', '`':
			for i++; i < len(sql) && sql[i] != ch; i++ {
			}
		case '[':
			for i++; i < len(sql) && sql[i] != ']'; i++ {
			}
		case '(':
			depth++
		case ')':
			depth--
		case 'w', 'W':
			if depth == 0 && i > 0 && i+5 < len(sql) && strings.EqualFold(sql[i:i+5], "where") && strings.ContainsRune(" \t\r\n)", rune(sql[i-1])) {
				return i + 5
			}
		}
	}
	return -1
}

func describeForeignKeys(c *Conn, t *change.Table) error {
	last := int64(-1)
	return Query(c, `SELECT id, "table", "from", coalesce("to",''), on_delete, on_update FROM pragma_foreign_key_list(?) ORDER BY id, seq`, func(s *Stmt) error {
		if id := s.ColumnInt64(0); id != last {
			last = id
			t.ForeignKeys = append(t.ForeignKeys, change.ForeignKey{
				Parent: s.ColumnText(1), OnDelete: s.ColumnText(4), OnUpdate: s.ColumnText(5)})
		}
		fk := &t.ForeignKeys[len(t.ForeignKeys)-1]
		fk.Columns = append(fk.Columns, t.Column(s.ColumnText(2)))
		fk.To = append(fk.To, s.ColumnText(3))
		return nil
	}, change.Text(t.Name))
}
