package postgresstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// A Finding is what is to be known about a table that exists, before it is adopted.
type Finding struct {
	Table   change.Table // as edges would see it
	Refused []string     // why it cannot sync; empty when it can
	Notes   []string     // what is different at edges
	DDL     string       // the statement that makes it at an edge; "" when refused
}

// Survey looks at tables of a database, all along its search path when none are
// named, in name order. A name that no table has is an error. Nothing is changed.
func Survey(ctx context.Context, dsn string, names []string) (out []Finding, err error) {
	c, err := reach(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	if len(names) == 0 {
		err = query(ctx, c, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND n.nspname NOT IN ('tidemark', 'pg_catalog', 'information_schema')
				AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`,
			func(r *row) error {
				names = append(names, r.text(0))
				return nil
			})
		if err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
	}
	list, err := relations(ctx, c, names)
	if err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		f := Finding{Table: r.def, Refused: r.refused, Notes: r.notes}
		if len(r.refused) == 0 {
			f.DDL = r.edgeTable()
		}
		out = append(out, f)
	}
	for _, n := range names {
		if found(out, n) {
			continue
		}
		return nil, fmt.Errorf("table %s: the database has no such table along its search path", n)
	}
	return orphaned(out), nil
}

func found(list []Finding, name string) bool {
	s := change.Schema{}
	for i := range list {
		s.Tables = append(s.Tables, list[i].Table)
	}
	return s.Table(name) != nil
}

// orphaned refuses tables that point at one that cannot sync, until none is left:
// edges could not keep their foreign keys.
func orphaned(list []Finding) []Finding {
	for more := true; more; {
		more = false
		fit := change.Schema{}
		for i := range list {
			if len(list[i].Refused) == 0 {
				fit.Tables = append(fit.Tables, list[i].Table)
			}
		}
		for i := range list {
			f := &list[i]
			for _, fk := range f.Table.ForeignKeys {
				if len(f.Refused) == 0 && fit.Table(fk.Parent) == nil {
					f.Refused, f.DDL, more = append(f.Refused, "its rows point at "+fk.Parent+", which does not sync"), "", true
				}
			}
		}
	}
	return list
}
