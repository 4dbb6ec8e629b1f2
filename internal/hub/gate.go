package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// A Gate says whether a table or a column can be dropped without work getting stuck.
type Gate struct {
	Table, Column string        // as the hub calls them; Column "" for a whole table
	Hub           bool          // the hub has it still
	Users         []ShapeDevice // active devices whose file has it
	Unknown       []ShapeDevice // active devices that have not said what they have
	Parked        []change.TxID // transactions in quarantine that name it
	Unsent        []ShapeDevice // devices that gave it up, with work on the way that may name it: only a hint
}

// Open reports whether nothing stands in the way.
func (g *Gate) Open() bool { return len(g.Users) == 0 && len(g.Unknown) == 0 && len(g.Parked) == 0 }

// Droppable looks who still uses a column, or with column "" a whole table, under
// any of its names.
func (h *Hub) Droppable(ctx context.Context, tableName, column string) (*Gate, error) {
	all, err := h.Shapes(ctx)
	if err != nil {
		return nil, err
	}
	s := h.shape.Load()
	g := &Gate{Table: tableName, Column: column}
	tables, columns := []string{tableName}, []string{column}
	if t := s.table(tableName); t != nil {
		g.Table = t.schema.Name
		tables = append([]string{g.Table}, t.rule.Was...)
		if c := t.column(column); c >= 0 {
			g.Column = t.names[c]
			columns = append([]string{g.Column}, t.rule.Columns[strings.ToLower(g.Column)].Was...)
		}
		g.Hub = column == "" || t.column(column) >= 0
	}
	known := g.Hub
	for _, u := range all.Uses {
		switch {
		case !u.Known:
			g.Unknown = append(g.Unknown, u.Devices...)
		case has(&u.Schema, tables, columns):
			g.Users, known = append(g.Users, u.Devices...), true
		default:
			for _, d := range u.Devices {
				if d.Unsent > 0 {
					g.Unsent = append(g.Unsent, d)
				}
			}
		}
	}
	if err := h.view(ctx, func(v View) error { return g.parked(v, tables, columns) }); err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	if !known && len(g.Parked) == 0 && !s.dropped(g.Table, column) {
		return nil, fmt.Errorf("%s: no such %s, here or at any device: %w", g.Name(), g.what(), ErrNotFound)
	}
	return g, nil
}

// Name is what the gate is about, as table.column.
func (g *Gate) Name() string {
	if g.Column == "" {
		return g.Table
	}
	return g.Table + "." + g.Column
}

func (g *Gate) what() string {
	if g.Column == "" {
		return "table"
	}
	return "column"
}

// dropped reports whether the rules say that a column was given up.
func (s *shape) dropped(tableName, column string) bool {
	t := s.table(tableName)
	return t != nil && column != "" && t.gaveUp(column)
}

// has reports whether a schema has one of the columns in one of the tables.
func has(s *change.Schema, tables, columns []string) bool {
	for _, n := range tables {
		t := s.Table(n)
		if t == nil {
			continue
		}
		for _, c := range columns {
			if c == "" || t.Column(c) >= 0 {
				return true
			}
		}
	}
	return false
}

func (g *Gate) parked(v View, tables, columns []string) error {
	list, err := parkedOf(v, change.DeviceID{})
	if err != nil {
		return err
	}
	fold := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
	}
	for _, p := range list {
		t, err := p.Transaction()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(t.Ops, func(op change.Op) bool {
			return fold(tables, op.Table) && (g.Column == "" || op.Kind != change.Delete && slices.ContainsFunc(op.Columns, func(c string) bool { return fold(columns, c) }))
		}) {
			g.Parked = append(g.Parked, p.ID)
		}
	}
	return nil
}
