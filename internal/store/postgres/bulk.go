package postgresstore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// originBulk in tidemark.origin tells capture that whoever writes keeps the log, too: the
// transactions of many devices in one statement have authors and clocks of their own.
const originBulk = "-2"

// A bundle is writes that are one statement: of one kind, to the same columns.
type bundle struct {
	round int // a row is written once in a round
	t     *table
	kind  change.OpKind
	names []string
	ops   []*op
	keyed [][]string // the keys as texts, an array for each column, parallel to ops
}

// bulk sends plain writes together, and logs them. Within a round come inserts, parents
// first, then updates; rows go in the order of their keys. Two writes to one row keep
// their order, and so do their entries, which come last.
func (t *tx) bulk(ops []op) error {
	list := bundles(ops)
	e := &logging{t: t, b: &pgx.Batch{}, many: len(ops) >= copyFrom}
	e.b.Queue(`SELECT set_config('tidemark.origin', $1::text, true), (extract(epoch FROM clock_timestamp()) * 1000000)::int8`, originBulk).
		Query(answers(func(r *row) error { e.at = r.int(1); return nil }))
	t.sent = ledger.Author{}
	for _, u := range list {
		if err := u.send(e); err != nil {
			return err
		}
	}
	for _, u := range list {
		if err := u.log(e); err != nil {
			return err
		}
	}
	if err := e.copy(); err != nil {
		return err
	}
	e.b.Queue(`SELECT set_config('tidemark.origin', '', true), pg_notify('tidemark', '')`)
	return e.send()
}

func bundles(ops []op) []*bundle {
	rounds, at := map[string]int{}, map[string]*bundle{}
	var list []*bundle
	for i := range ops {
		o := &ops[i]
		n := rounds[o.id]
		rounds[o.id] = n + 1
		name := fmt.Sprint(n, " ", o.t.id, " ", o.e.Kind, " ", strings.Join(o.e.Columns, "\x00"))
		u := at[name]
		if u == nil {
			u = &bundle{round: n, t: o.t, kind: o.e.Kind, names: o.e.Columns}
			at[name] = u
			list = append(list, u)
		}
		u.ops = append(u.ops, o)
	}
	slices.SortStableFunc(list, func(a, b *bundle) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.kind, b.kind), cmp.Compare(a.t.rank, b.t.rank))
	})
	for _, u := range list {
		slices.SortStableFunc(u.ops, func(a, b *op) int { return cmp.Compare(a.id, b.id) })
	}
	return list
}

// send writes the rows, or leaves it to the batch.
func (u *bundle) send(e *logging) (err error) {
	if u.keyed, err = u.keys(); err != nil {
		return err
	}
	if e.many && u.copied() {
		if err := e.send(); err != nil {
			return err
		}
		return u.copy(e.t)
	}
	q, args := u.insert()
	if u.kind == change.Update {
		q, args = u.update(u.keyed)
	}
	e.b.Queue(q, args...).Exec(u.all)
	return nil
}

// all fails when not each row was written.
func (u *bundle) all(tag pgconn.CommandTag) error {
	if n := tag.RowsAffected(); n != int64(len(u.ops)) {
		return fmt.Errorf("wrote %d of %d rows of %s", n, len(u.ops), u.t.def.Name)
	}
	return nil
}

// keys are the keys as texts, an array for each column.
func (u *bundle) keys() ([][]string, error) {
	out := make([][]string, len(u.t.key))
	for i := range out {
		out[i] = make([]string, len(u.ops))
	}
	for i, o := range u.ops {
		texts := u.t.keyTexts(o.e.Key)
		if texts == nil {
			return nil, fmt.Errorf("row %s cannot be in %s", o.e.Key, u.t.def.Name)
		}
		for k, s := range texts {
			out[k][i] = s
		}
	}
	return out, nil
}

// columns are the values, an array for each column, and what they are in n.
func (u *bundle) columns(from int) (args []any, params, names, values []string) {
	for i, name := range u.names {
		c := &u.t.cols[ledger.IndexFold(u.t.names, name)]
		args = append(args, array(c.class, u.ops, i))
		params = append(params, fmt.Sprintf("$%d::%s[]", from+i, classType[c.class]))
		names = append(names, fmt.Sprintf("v%d", i))
		values = append(values, c.convert(fmt.Sprintf("n.v%d", i)))
	}
	return args, params, names, values
}

func array(c class, ops []*op, i int) any {
	switch c {
	case classInt:
		return pointers[int64](ops, i)
	case classFloat:
		return pointers[float64](ops, i)
	case classBlob:
		out := make([][]byte, len(ops))
		for j, o := range ops {
			out[j], _ = o.puts[i].arg.([]byte)
		}
		return out
	}
	return pointers[string](ops, i)
}

func pointers[T any](ops []*op, i int) []*T {
	out := make([]*T, len(ops))
	for j, o := range ops {
		if v, ok := o.puts[i].arg.(T); ok {
			out[j] = &v
		}
	}
	return out
}

func (u *bundle) insert() (string, []any) {
	args, params, names, values := u.columns(1)
	cols := make([]string, len(u.names))
	for i, n := range u.names {
		cols[i] = u.t.cols[ledger.IndexFold(u.t.names, n)].quoted
	}
	return "INSERT INTO " + u.t.name + " (" + strings.Join(cols, ", ") + ") OVERRIDING SYSTEM VALUE SELECT " + strings.Join(values, ", ") +
		" FROM unnest(" + strings.Join(params, ", ") + ") AS n (" + strings.Join(names, ", ") + ")", args
}

func (u *bundle) update(keys [][]string) (string, []any) {
	nk := len(keys)
	args, params, names, values := u.columns(nk + 1)
	all, kp, kn := make([]any, nk, nk+len(args)), make([]string, nk), make([]string, nk)
	for i := range keys {
		all[i], kp[i], kn[i] = keys[i], fmt.Sprintf("$%d::text[]", i+1), fmt.Sprintf("k%d", i)
	}
	set := make([]string, len(u.names))
	for i, n := range u.names {
		set[i] = u.t.cols[ledger.IndexFold(u.t.names, n)].quoted + " = " + values[i]
	}
	return "UPDATE " + u.t.name + " AS t SET " + strings.Join(set, ", ") + " FROM unnest(" + strings.Join(append(kp, params...), ", ") + ") AS n (" +
		strings.Join(append(kn, names...), ", ") + ") WHERE " + atKeys(u.t, "t."), append(all, args...)
}

// mask is the columns that an update changes, as a trigger's mask; 0 when there are none.
func (o *op) mask() int64 {
	mask, some := ledger.MaskSeen, false
	for i, n := range o.e.Columns {
		c := ledger.IndexFold(o.t.names, n)
		if o.was[c] == o.puts[i].now {
			continue
		}
		some = true
		if c < ledger.MaskBits {
			mask |= 1 << c
		} else {
			return ledger.MaskSeen
		}
	}
	if !some {
		return 0
	}
	return mask
}
