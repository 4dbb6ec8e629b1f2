package postgresstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A view is one snapshot: a transaction of one connection.
type view struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // of the one View or Update call that this lives in
	c      *pgx.Conn
	p      *plan
	flush  func() error    // writes what is kept back; nil outside of a tx
	lives  []life          // the lineage, once it was asked for
	low    *moment         // the floor, likewise
	shown  string          // the snapshot
	hidden map[string]bool // rows that a tx deleted and that are still there, by op.id
	reset  int             // number of lives from before transactions were counted anew

	promoted string   // the timeline, when no life belongs to it: see promoted.go
	pinned   *witness // of a replica: what it shows at least
	sealed   []seal   // the days of the log that are over, see day.go

	checked map[change.Cursor]*claim     // cursors that were looked at
	chains  map[change.Incarnation]chain // likewise; see chain
}

var _ hub.View = (*view)(nil)

// open looks at what every call needs to know; errStale when the plan does not fit.
func (v *view) open() error {
	l := v.gaze()
	floor, epoch, timeline, noted := "", "", "", ""
	err := query(v.ctx, v.c, `SELECT `+gazeSQL+`, coalesce((SELECT value FROM tidemark.meta WHERE key = 'floor'), ''),
		coalesce((SELECT value FROM tidemark.meta WHERE key = 'reset'), '0')::int8, (SELECT value FROM tidemark.meta WHERE key = 'epoch'),
		shown, timeline, `+notedSQL+`, `+sealsSQL+gazeFrom, func(r *row) error {
		l.read(r)
		floor, epoch = r.text(2), r.text(4)
		v.reset, v.shown = int(r.int(3)), r.text(5)
		timeline, noted = r.text(6), r.text(7)
		return v.goBy(r.text(8), r.int(9))
	}, l.known, l.tick, l.name)
	if err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	if v.pinned == nil {
		if err := v.stand(timeline, noted); err != nil {
			return err
		}
	}
	if err := l.done(timeline); err != nil {
		return err
	}
	v.low = &moment{}
	if floor != "" {
		if *v.low, err = readToken(floor); err != nil {
			return err
		}
	}
	if list := *v.s.lives.Load(); epochText(present(list)) == epoch && v.promoted == "" {
		v.lives = list
	}
	return nil
}

// sync makes the database complete before it is read.
func (v *view) sync() error {
	if v.flush == nil {
		return nil
	}
	return v.flush()
}

// query reads, after what is kept back was written.
func (v *view) query(sql string, each func(*row) error, args ...any) error {
	if err := v.sync(); err != nil {
		return err
	}
	return query(v.ctx, v.c, sql, each, args...)
}

// Row implements hub.View.
func (v *view) Row(name string, key change.Key) ([]change.Value, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	args, err := t.keyArgs(key)
	if err != nil || args == nil {
		return nil, err
	}
	var out []change.Value
	err = v.query(t.byKey, func(r *row) error {
		out = t.row(r, 0)
		return nil
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("read row of %s: %w", name, err)
	}
	if v.hidden[t.rowID(key)] {
		return nil, nil
	}
	return out, nil
}

// Children implements hub.View.
func (v *view) Children(name string, fk *change.ForeignKey, parent []change.Value, limit int) ([]change.Key, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	parts, args := make([]string, len(fk.Columns)), make([]any, len(fk.Columns), len(fk.Columns)+1)
	for i, c := range fk.Columns {
		j := ledger.IndexFold(t.names, t.def.Columns[c].Name)
		if j < 0 || i >= len(parent) {
			return nil, fmt.Errorf("read children in %s: the foreign key does not fit", name)
		}
		p, err := t.cols[j].put(parent[i])
		if err != nil || p.arg == nil {
			return nil, nil //nolint:nilerr // no row can hold such a value
		}
		parts[i], args[i] = "t."+t.cols[j].quoted+" = "+t.cols[j].match(i+1), p.arg
	}
	keys := make([]string, len(t.key))
	for i, k := range t.key {
		keys[i] = t.cols[k].read("t.")
	}
	var out []change.Key
	q := "SELECT " + strings.Join(keys, ", ") + " FROM " + t.name + " AS t WHERE " + strings.Join(parts, " AND ") + fmt.Sprintf(" LIMIT $%d::int8", len(args)+1)
	err = v.query(q, func(r *row) error {
		k := make(change.Key, len(t.key))
		for i, c := range t.key {
			k[i] = t.cols[c].value(r.value(i))
		}
		if !v.hidden[t.rowID(k)] {
			out = append(out, k)
		}
		return nil
	}, append(args, int64(limit))...)
	if err != nil {
		return nil, fmt.Errorf("read children in %s: %w", name, err)
	}
	return out, nil
}

// ScopeOf implements hub.View.
func (v *view) ScopeOf(name string, values []change.Value) (rule.ScopeID, error) {
	t, err := v.p.table(name)
	if err != nil {
		return "", err
	}
	if len(values) != len(t.names) {
		return "", fmt.Errorf("scope of a row of %s: %d values for %d columns", name, len(values), len(t.names))
	}
	switch sc := &t.scope; {
	case sc.All:
		return rule.ScopeAll, nil
	case sc.parent == nil:
		return rule.Of(sc.Kind, values[sc.column]), nil
	default:
		return v.scopeVia(t, values)
	}
}

func (v *view) scopeVia(t *table, values []change.Value) (rule.ScopeID, error) {
	sc := &t.scope
	parts, args := make([]string, len(sc.from)), make([]any, len(sc.from))
	for i, c := range sc.from {
		to := &sc.parent.cols[sc.to[i]]
		p, err := to.put(values[c])
		if err != nil || p.arg == nil {
			return "", nil //nolint:nilerr // no parent can have such a value
		}
		parts[i], args[i] = "_p0."+to.quoted+" = "+to.match(i+1), p.arg
	}
	out := ""
	err := v.query("SELECT "+sc.parent.exprAt("_p0.", 1, false)+" FROM "+sc.parent.name+" AS _p0 WHERE "+strings.Join(parts, " AND "), func(r *row) error {
		out = r.text(0)
		return nil
	}, args...)
	if err != nil {
		return "", fmt.Errorf("scope of a row of %s: %w", t.def.Name, err)
	}
	if out == ledger.Orphan {
		return "", nil
	}
	return rule.ScopeID(out), nil
}
