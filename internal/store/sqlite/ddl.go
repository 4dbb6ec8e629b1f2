package sqlitestore

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// DDL is the statements that recreate the synced tables in an empty file, in
// order: tables with parents first, their indices, what their triggers need, the
// triggers, and the views that work with that. Tidemark's own are left out, and
// the app's triggers come as the app wrote them.
func (s *Store) DDL(ctx context.Context) ([]string, error) {
	var out []string
	err := s.View(ctx, func(hv hub.View) (err error) {
		out, err = hv.(*view).ddl()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the schema's statements: %w", err)
	}
	return out, nil
}

// An object is one entry of sqlite_schema.
type object struct{ typ, name, table, sql string }

func (v *view) objects() ([]object, error) {
	var out []object
	err := sqlite.Query(v.c, `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL
		AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_tidemark\_%' ESCAPE '\' ORDER BY rowid`, func(s *sqlite.Stmt) error {
		out = append(out, object{s.ColumnText(0), s.ColumnText(1), s.ColumnText(2), s.ColumnText(3)})
		return nil
	})
	return out, err
}

func (v *view) ddl() ([]string, error) {
	list, err := v.objects()
	if err != nil {
		return nil, err
	}
	scratch, err := sqlite.Open(":memory:", sqlite.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = scratch.Close() }() // nothing of its own to lose
	d := &recipe{c: scratch, all: list}
	for _, t := range v.p.tables {
		if err := d.must("table", t.def.Name); err != nil {
			return nil, err
		}
	}
	for _, t := range v.p.tables {
		for _, o := range list {
			if o.typ == "index" && strings.EqualFold(o.table, t.def.Name) {
				if err := d.add(o); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, t := range v.p.tables {
		for _, o := range list {
			if o.typ == "trigger" && strings.EqualFold(o.table, t.def.Name) {
				if err := d.trigger(o, t); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, o := range list {
		if o.typ == "view" {
			// A view of what does not sync cannot stand at an edge: it is left out.
			_ = d.try(o, "SELECT * FROM "+sqlite.Quote(o.name)+" LIMIT 0")
		}
	}
	return d.out, nil
}

// A recipe collects statements, each tried in a scratch database first.
type recipe struct {
	c   *sqlite.Conn
	all []object
	out []string
}

func (d *recipe) add(o object) error {
	if err := sqlite.Script(d.c, o.sql+";"); err != nil {
		return fmt.Errorf("%s %s: %w", o.typ, o.name, err)
	}
	d.out = append(d.out, o.sql)
	return nil
}

func (d *recipe) must(typ, name string) error {
	for _, o := range d.all {
		if o.typ == typ && strings.EqualFold(o.name, name) {
			return d.add(o)
		}
	}
	return fmt.Errorf("%s %s: %w", typ, name, hub.ErrNotFound)
}

// try adds an object if, with it, the probes compile.
func (d *recipe) try(o object, probes ...string) error {
	if err := sqlite.Exec(d.c, "SAVEPOINT attempt"); err != nil {
		return err
	}
	fault := sqlite.Script(d.c, o.sql+";")
	for i := 0; i < len(probes) && fault == nil; i++ {
		var s *sqlite.Stmt
		if s, _, fault = d.c.PrepareTransient(probes[i]); fault == nil {
			fault = s.Finalize()
		}
	}
	if fault != nil {
		if err := sqlite.Exec(d.c, "ROLLBACK TO attempt"); err != nil {
			return err
		}
	}
	if err := sqlite.Exec(d.c, "RELEASE attempt"); err != nil {
		return err
	}
	if fault == nil {
		d.out = append(d.out, o.sql)
	}
	return fault
}

// trigger adds a trigger and the tables it uses: an FTS index that it keeps, an
// audit log. A trigger that cannot work is left out, for it would make the
// edge's writes fail.
func (d *recipe) trigger(o object, on *table) error {
	for range len(d.all) { // each round brings one missing table
		err := d.try(o, on.firing()...)
		if err == nil {
			return nil
		}
		if !d.fetch(err.Error()) {
			return nil
		}
	}
	return nil
}

// fetch adds the table whose absence an error tells of.
func (d *recipe) fetch(fault string) bool {
	_, name, ok := strings.Cut(fault, "no such table: ")
	if !ok {
		return false
	}
	name = strings.TrimPrefix(strings.TrimSpace(name), "main.")
	for _, o := range d.all {
		if (o.typ == "table" || o.typ == "view") && strings.EqualFold(o.name, name) {
			return d.add(o) == nil
		}
	}
	return false
}
