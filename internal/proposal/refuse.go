package proposal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func (r *reader) refuse(name, kind, reason, fix string) {
	r.p.Refused = append(r.p.Refused, Refusal{Name: name, Kind: kind, Reason: reason, Fix: fix})
}

// refuseSpecial lists what is no ordinary table.
func (r *reader) refuseSpecial(special map[string]string) {
	names := make([]string, 0, len(special))
	for n := range special {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		switch special[n] {
		case "view":
			r.refuse(n, "view", "a view holds no rows of its own", "nothing to do: it shows synced rows at every device that has the view")
		case "virtual":
			r.refuse(n, "virtual", "a virtual table (full-text index, R-tree …) keeps its rows in a form of its own", "nothing to do if triggers keep it up to date from a synced table; otherwise rebuild it at each device after a sync")
		case "shadow":
			r.refuse(n, "shadow", "it belongs to a virtual table", "nothing to do")
		}
	}
}

// collect looks at each ordinary table: its key, its size.
func (r *reader) collect() error {
	for i := range r.p.schema.Tables {
		t := &table{Table: &r.p.schema.Tables[i]}
		if len(t.Key) == 0 {
			r.refuse(t.Name, "table", "it has no primary key, so its rows cannot be told apart between devices", noKeyFix(t))
			continue
		}
		var err error
		if t.rows, err = r.count("SELECT count(*) FROM " + sqlite.Quote(t.Name)); err != nil {
			return err
		}
		nulls, err := r.nullKeys(t)
		if err != nil {
			return err
		}
		if nulls > 0 {
			r.refuse(t.Name, "table", fmt.Sprintf("%s of its rows have NULL in the primary key", plural(nulls, "one", "%d")), nullKeyFix(t))
			continue
		}
		t.rule = rule.Table{Name: t.Name, Scope: rule.Scope{All: true}}
		r.tables = append(r.tables, t)
	}
	return nil
}

// nullKeys counts rows whose key holds NULL, which SQLite allows in rowid tables,
// and warns where it could happen.
func (r *reader) nullKeys(t *table) (int64, error) {
	var open []string
	for _, k := range t.Key {
		c := &t.Columns[k]
		rowid := len(t.Key) == 1 && strings.EqualFold(c.Type, "integer") // its NULL becomes a number
		if !c.NotNull && !t.WithoutRowid && !rowid {
			open = append(open, c.Name)
		}
	}
	if len(open) == 0 {
		return 0, nil
	}
	n, err := r.count("SELECT count(*) FROM " + sqlite.Quote(t.Name) + " WHERE " + strings.Join(each(open, " IS NULL"), " OR "))
	if err == nil && n == 0 {
		t.note(open[0], false, "the key allows NULL; a row without a key cannot sync", "declare it NOT NULL when you next rebuild the table")
	}
	return n, err
}

func each(names []string, suffix string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = sqlite.Quote(n) + suffix
	}
	return out
}

func noKeyFix(t *table) string {
	for _, u := range t.Unique {
		if u.Where == "" && !slices.Contains(u.Columns, -1) {
			names := make([]string, len(u.Columns))
			for i, c := range u.Columns {
				names[i] = t.Columns[c].Name
			}
			return "rebuild the table with PRIMARY KEY (" + sqlite.QuoteAll("", names) + "), which is unique already, and NOT NULL"
		}
	}
	return "rebuild the table with a key of its own, such as id TEXT PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16))))"
}

func nullKeyFix(t *table) string {
	k := t.Columns[t.Key[0]].Name
	fix := "give those rows a key"
	if t.Affinity(t.Key[0]) == change.AffinityText {
		fix = fmt.Sprintf("UPDATE %s SET %s = lower(hex(randomblob(16))) WHERE %s IS NULL;", sqlite.Quote(t.Name), sqlite.Quote(k), sqlite.Quote(k))
	}
	return fix + " and declare the key NOT NULL"
}

// refuseOrphans takes out the tables that point at one that cannot sync, until
// none is left: their rows could not stand at a device that enforces foreign keys.
func (r *reader) refuseOrphans() error {
	for again := true; again; {
		again = false
		r.tables = slices.DeleteFunc(r.tables, func(t *table) bool {
			for i := range t.ForeignKeys {
				fk := &t.ForeignKeys[i]
				if r.table(fk.Parent) != nil {
					continue
				}
				again = true
				if r.p.schema.Table(fk.Parent) == nil {
					r.refuse(t.Name, "table", "its rows point at "+fk.Parent+", which is no table of this file", "create "+fk.Parent+", or rebuild "+t.Name+" without that foreign key")
				} else {
					r.refuse(t.Name, "table", "its rows point at "+fk.Parent+", which cannot sync", "fix "+fk.Parent+" first")
				}
				return true
			}
			return false
		})
	}
	return nil
}

// noteViolations warns of rows that break foreign keys already.
func (r *reader) noteViolations() error {
	for _, t := range r.tables {
		if len(t.ForeignKeys) == 0 {
			continue
		}
		broken, err := r.count("SELECT count(*) FROM pragma_foreign_key_check(?)", change.Text(t.Name))
		if err != nil {
			t.note("", true, "its foreign keys cannot be checked: "+err.Error(), "give the parent's columns a UNIQUE index")
			continue
		}
		if broken > 0 {
			t.note("", true, fmt.Sprintf("%s at no row: a foreign key is broken already", plural(broken, "one row points", "%d rows point")), "PRAGMA foreign_key_check("+sqlite.Quote(t.Name)+") lists them; repair or delete them before the first sync")
		}
	}
	return nil
}

// plural writes one for 1 and many, with its %d, otherwise.
func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}
