package hub

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A RowPage is rows of one table, for people.
type RowPage struct {
	Table   string
	Columns []string // stored ones
	Key     []int    // indices into Columns, in key order
	Rows    []ShownRow
	Next    change.Key // where the next page goes on; nil: nowhere
}

// A ShownRow is a row, and the scope that it is in; "" when in none.
type ShownRow struct {
	Values []change.Value
	Scope  rule.ScopeID
}

// rowBytes is about what one row of a page is taken to have.
const rowBytes = 512

// Rows lists rows of a table in key order, after a key (nil: from the start), that are
// in a scope; "" means in any that some device was granted.
func (h *Hub) Rows(ctx context.Context, table string, scope rule.ScopeID, after change.Key, limit int) (*RowPage, error) {
	limit = page(limit)
	var out *RowPage
	err := h.view(ctx, func(v View) error {
		t := h.shape.Load().table(table)
		if t == nil {
			return &InputError{"table", fmt.Sprintf("the hub has no synced table %q", table)}
		}
		if after != nil && len(after) != len(t.key) {
			return &InputError{"key", fmt.Sprintf("a key of %s has %d values, not %d", t.schema.Name, len(t.key), len(after))}
		}
		scopes, err := someScopes(v, scope)
		if err != nil {
			return err
		}
		out = &RowPage{Table: t.schema.Name, Columns: t.names, Key: t.key}
		for at, more := after, true; more && out.Next == nil; more = at != nil {
			rows, next, err := v.Scan(t.schema.Name, at, scopes, max(limit-len(out.Rows), 1)*rowBytes)
			if err != nil {
				return err
			}
			if err := out.add(v, rows, limit); err != nil {
				return err
			}
			if at = next; at != nil && len(out.Rows) == limit && out.Next == nil {
				out.Next = at
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rows of %s: %w", table, err)
	}
	return out, nil
}

// add takes rows up to limit; what does not fit makes it known where to go on.
func (p *RowPage) add(v View, rows *change.Rows, limit int) error {
	if rows == nil {
		return nil
	}
	for i := range rows.Len() {
		if len(p.Rows) == limit {
			p.Next = rows.KeyOf(i - 1)
			return nil
		}
		row := ShownRow{Values: slices.Clone(rows.Row(i))}
		var err error
		if row.Scope, err = v.ScopeOf(p.Table, row.Values); err != nil {
			return err
		}
		p.Rows = append(p.Rows, row)
	}
	return nil
}

// someScopes is one scope, or all that active devices may read.
func someScopes(v View, scope rule.ScopeID) ([]rule.ScopeID, error) {
	if scope != "" {
		return []rule.ScopeID{scope}, nil
	}
	granted, err := scopesOf(v)
	if err != nil {
		return nil, err
	}
	out := make([]rule.ScopeID, 0, len(granted))
	for _, g := range granted {
		out = append(out, g.Scope)
	}
	return out, nil
}

// A GrantedScope is a scope and who may read it.
type GrantedScope struct {
	Scope   rule.ScopeID
	Devices int // active ones
}

// Scopes lists the scopes that active devices may read, in order. Everybody reads
// rule.ScopeAll.
func (h *Hub) Scopes(ctx context.Context) (out []GrantedScope, err error) {
	err = h.store.View(ctx, func(v View) (err error) {
		out, err = scopesOf(v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list scopes: %w", err)
	}
	return out, nil
}

func scopesOf(v View) ([]GrantedScope, error) {
	n := map[rule.ScopeID]int{rule.ScopeAll: 0}
	err := eachDevice(v, func(d *Device) error {
		if d.State == Active {
			for _, s := range rightsOf(d.Grants).scopes() {
				n[s]++
			}
		}
		return nil
	})
	out := make([]GrantedScope, 0, len(n))
	for s, devices := range n {
		out = append(out, GrantedScope{Scope: s, Devices: devices})
	}
	slices.SortFunc(out, func(a, b GrantedScope) int {
		if a.Scope < b.Scope {
			return -1
		}
		return 1
	})
	return out, err
}

// Row returns one row's stored columns, or ErrNotFound.
func (h *Hub) Row(ctx context.Context, table string, key change.Key) (*RowPage, error) {
	var out *RowPage
	err := h.view(ctx, func(v View) error {
		t, err := h.tableFor(table, key)
		if err != nil {
			return err
		}
		row, err := v.Row(t.schema.Name, key)
		if err != nil {
			return err
		}
		if row == nil {
			return ErrNotFound
		}
		scope, err := v.ScopeOf(t.schema.Name, row)
		out = &RowPage{Table: t.schema.Name, Columns: t.names, Key: t.key, Rows: []ShownRow{{Values: row, Scope: scope}}}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("row %s of %s: %w", key, table, err)
	}
	return out, nil
}

// tableFor finds a synced table, and checks that a key is one of its rows'.
func (h *Hub) tableFor(name string, key change.Key) (*table, error) {
	t := h.shape.Load().table(name)
	if t == nil {
		return nil, &InputError{"table", fmt.Sprintf("the hub has no synced table %q", name)}
	}
	if len(key) != len(t.key) {
		return nil, &InputError{"key", fmt.Sprintf("a key of %s has %d values, not %d", t.schema.Name, len(t.key), len(key))}
	}
	return t, nil
}

// Related lists what a transaction in quarantine depends on, and what depends on it:
// the transactions that are settled along with it, or before it.
func (h *Hub) Related(ctx context.Context, id change.TxID) (on, by []Parked, err error) {
	err = h.view(ctx, func(v View) error {
		on, by = nil, nil
		p, err := findParked(v, id)
		if err != nil {
			return err
		}
		all, err := parkedWork(v, change.DeviceID{})
		for _, o := range all {
			if slices.Contains(p.DependsOn, o.ID) {
				on = append(on, *o)
			}
			if slices.Contains(o.DependsOn, id) {
				by = append(by, *o)
			}
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("related to transaction %s: %w", id, err)
	}
	return on, by, nil
}
