package postgresstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// What an edge wrote may land otherwise: true in a boolean column is 1 when it is read
// back, 0.9 in a numeric(10,2) is 0.90, jsonb has an order of its own, and a trigger of
// the app may set a column. The log says that the edge itself wrote the row, so that it
// would never hear of it. Such a row is touched besides: it goes to everybody.

// bind makes the values of a write parameters, and reports whether they may land
// otherwise.
func (o *op) bind() (args []any, look bool, err error) {
	args = make([]any, len(o.e.Values))
	for i, v := range o.e.Values {
		j := ledger.IndexFold(o.t.names, o.e.Columns[i])
		if j < 0 {
			return nil, false, fmt.Errorf("table %s has no column %s", o.t.def.Name, o.e.Columns[i])
		}
		c := &o.t.cols[j]
		p, err := c.put(v)
		if err == nil && c.always && o.e.Kind == change.Update {
			err = c.refuse(v, "only its sequence fills it")
		}
		if err == nil && slices.Contains(o.t.key, j) {
			p, err = c.same(v)
		}
		if err != nil {
			return nil, false, err
		}
		args[i] = p.arg
		look = look || !p.sure || p.now != v
	}
	return args, look && o.by.Origin != ledger.Hub, nil
}

// returning asks for what was stored.
func (o *op) returning(look bool) string {
	if !look {
		return ""
	}
	parts := make([]string, len(o.e.Columns))
	for i, n := range o.e.Columns {
		parts[i] = o.t.cols[ledger.IndexFold(o.t.names, n)].read("")
	}
	return " RETURNING " + strings.Join(parts, ", ")
}

// landing compares what was stored with what was written.
func (t *tx) landing(o *op, look bool, then func(pgx.Rows) error) func(pgx.Rows) error {
	if o.t.rel.amends && o.by.Origin != ledger.Hub {
		t.other = append(t.other, o)
	} else if look {
		return func(rows pgx.Rows) error {
			for rows.Next() {
				r := row{rows.FieldDescriptions(), rows.RawValues()}
				for i, n := range o.e.Columns {
					if o.t.cols[ledger.IndexFold(o.t.names, n)].value(r.value(i)) != o.e.Values[i] {
						t.other = append(t.other, o)
						break
					}
				}
			}
			return then(rows)
		}
	}
	return then
}

// tell touches the rows that landed otherwise.
func (t *tx) tell() error {
	list := t.other
	t.other = nil
	for _, o := range list {
		if err := t.Touch(o.t.def.Name, o.e.Key); err != nil {
			return err
		}
	}
	return nil
}
