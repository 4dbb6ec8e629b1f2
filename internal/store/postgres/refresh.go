package postgresstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Refresh implements hub.Store. A schema changed by another program is also
// noticed by the next Update or View; Refresh still reports it then.
func (s *Store) Refresh(ctx context.Context, rules *rule.Rules) (bool, error) {
	if s.cfg.Common {
		rules = nil // who opens a store may put others in force, see Config
	}
	changed, err := s.refresh(ctx, rules)
	if err != nil {
		return false, fmt.Errorf("refresh hub: %w", err)
	}
	return s.moved.Swap(false) || changed, nil
}

// refresh derives a new plan and makes the database's capture agree with it. Its
// transaction is READ COMMITTED: what others committed before a trigger stood must be
// seen after it does. nil stands for the rules in force.
func (s *Store) refresh(ctx context.Context, rules *rule.Rules) (changed bool, err error) {
	if err := s.writing.lock(ctx); err != nil {
		return false, err
	}
	defer s.writing.unlock()
	err = s.again(ctx, func() error {
		c, err := s.pool.borrow(ctx)
		if err != nil {
			return err
		}
		defer s.pool.giveBack(c)
		var p *plan
		err = inTx(ctx, c, "BEGIN; LOCK TABLE tidemark.writer IN EXCLUSIVE MODE", func() error {
			r := &refreshing{s: s, ctx: ctx, c: c, known: map[int64]bool{}, old: s.plan.Load()}
			now, err := s.enact(ctx, c, rules)
			if err != nil {
				return err
			}
			changed, err = r.run(now)
			p = r.p
			return err
		})
		if err == nil {
			s.plan.Store(p)
		}
		return err
	})
	return changed, err
}

// A refreshing is one refresh under way.
type refreshing struct {
	s       *Store
	ctx     context.Context //nolint:containedctx // of the one call that this is
	c       *pgx.Conn
	old, p  *plan
	had     ledger.Listings  // what tidemark.tbl holds, by name
	stand   map[int64]string // hash of the triggers that stand, by its id
	known   map[int64]bool   // tables whose changes the log already holds
	fresh   []*table         // tables that join
	restart bool             // the log cannot tell what happened: raise the floor
}

func (r *refreshing) run(rules *rule.Rules) (changed bool, err error) {
	if err := r.load(); err != nil {
		return false, err
	}
	rels, err := relations(r.ctx, r.c, rules.Names())
	if err != nil {
		return false, err
	}
	var schema change.Schema
	refused := map[string]string{}
	for i := range rels {
		if len(rels[i].refused) > 0 {
			refused[strings.ToLower(rels[i].Name)] = strings.Join(rels[i].refused, "; ")
			continue
		}
		schema.Tables = append(schema.Tables, rels[i].describe())
	}
	var inForce *rule.Rules
	if r.old != nil {
		inForce = &r.old.rules
	}
	fit, lost, err := r.had.Fit(rules, inForce, &schema, refused)
	if err != nil {
		return false, err
	}
	if r.same(rules, &schema, lost) {
		schema = r.old.schema
	}
	p, err := newPlan(schema, rels, fit)
	if err != nil {
		return false, err
	}
	if err := p.readLoose(r.ctx, r.c); err != nil {
		return false, err
	}
	p.finish()
	r.p, p.rules, p.lost, p.hash = p, *rules, lost, schema.Hash()
	changed = r.old != nil && (!ledger.Same(&r.old.rules, rules) || !ledger.Same(&r.old.schema, &schema))
	if err := r.number(); err != nil {
		return false, err
	}
	redone, err := r.triggers()
	if err != nil {
		return false, err
	}
	guarded, err := r.guard()
	if err != nil {
		return false, err
	}
	if err := r.settle(); err != nil {
		return false, err
	}
	p.version, err = version(r.ctx, r.c, p)
	return changed || redone || guarded, err
}

// same reports whether nothing changed that the hub knows of. Then the list of tables
// stays the one that was handed out: by another one the hub tells that it must look.
func (r *refreshing) same(rules *rule.Rules, schema *change.Schema, lost map[string]bool) bool {
	return r.old != nil && ledger.Same(&r.old.rules, rules) && ledger.Same(&r.old.schema, schema) && maps.Equal(r.old.lost, lost)
}

// versionSQL names the state of some tables in the catalogue: their names, whether they
// have rules, columns, and triggers.
const versionSQL = `(SELECT count(*) || ':' || coalesce(sum(xmin::text::int8), 0) FROM pg_attribute WHERE attrelid = ANY($1::int8[]::oid[]))
	|| '/' || (SELECT coalesce(string_agg(relname || ' ' || relhasrules, ',' ORDER BY oid), '') FROM pg_class WHERE oid = ANY($1::int8[]::oid[]))
	|| '/' || (SELECT count(*) || ':' || coalesce(sum(xmin::text::int8), 0) FROM pg_trigger WHERE tgrelid = ANY($1::int8[]::oid[]) AND NOT tgisinternal)`

func version(ctx context.Context, c *pgx.Conn, p *plan) (v string, err error) {
	err = query(ctx, c, "SELECT "+versionSQL, func(r *row) error {
		v = r.text(0)
		return nil
	}, p.oidArg())
	if err != nil {
		return "", fmt.Errorf("read the catalogue: %w", err)
	}
	return v, nil
}

func (p *plan) oidArg() []int64 {
	out := make([]int64, len(p.oids))
	for i, o := range p.oids {
		out[i] = int64(o)
	}
	return out
}

func (r *refreshing) load() error {
	r.had, r.stand = ledger.Listings{}, map[int64]string{}
	err := query(r.ctx, r.c, `SELECT name, id, columns, key, scope, capture FROM tidemark.tbl`, func(w *row) error {
		r.had[w.text(0)] = ledger.Listing{ID: w.int(1), Columns: w.text(2), Key: w.text(3), Scope: w.text(4)}
		r.stand[w.int(1)] = w.text(5)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read tables: %w", err)
	}
	return nil
}

// number gives each table its number, and adapts what the log holds about it to
// a new shape.
func (r *refreshing) number() error {
	for _, t := range r.p.tables {
		now := ledger.Listing{Columns: ledger.NameList(t.names), Key: ledger.NameList(t.keyNames), Scope: t.signature()}
		e, ok, err := r.listed(t)
		if err != nil {
			return err
		}
		if !ok {
			err := query(r.ctx, r.c, `INSERT INTO tidemark.tbl (name, columns, key, scope, capture) VALUES ($1::text, '', '', '', '') RETURNING id`, func(w *row) error {
				e.ID = w.int(0)
				return nil
			}, t.def.Name)
			if err != nil {
				return fmt.Errorf("number table %s: %w", t.def.Name, err)
			}
		}
		t.id, t.captured = e.ID, r.stand[e.ID]
		r.p.byID[t.id] = t
		switch {
		case e.Columns == "": // new, or back again
			r.fresh = append(r.fresh, t)
			err = r.forget(t.id)
		case r.moved(t, &e, &now):
			r.known[t.id], r.restart = true, true
			err = r.forget(t.id)
		default:
			r.known[t.id] = true
			if e.Columns != now.Columns {
				err = r.reshape(t, e.Columns)
			}
		}
		if err != nil {
			return err
		}
		if e.Columns == now.Columns && e.Key == now.Key && e.Scope == now.Scope {
			continue
		}
		err = r.exec(`UPDATE tidemark.tbl SET columns = $1::text, key = $2::text, scope = $3::text WHERE id = $4::int4`, now.Columns, now.Key, now.Scope, t.id)
		if err != nil {
			return fmt.Errorf("number table %s: %w", t.def.Name, err)
		}
	}
	return r.retire()
}

// retire notes which tables do not sync any more.
func (r *refreshing) retire() error {
	for _, name := range r.had.Retiring(r.p.lost) {
		if err := r.exec(`UPDATE tidemark.tbl SET columns = '', key = '', scope = '', capture = '' WHERE name = $1::text`, name); err != nil {
			return fmt.Errorf("retire table %s: %w", name, err)
		}
	}
	return nil
}

// forget drops the images of a table whose old entries no longer mean anything.
func (r *refreshing) forget(id int64) error {
	return r.exec(`UPDATE tidemark.log SET image = NULL WHERE tbl = $1::int4 AND image IS NOT NULL`, id)
}

// reshape adapts masks and images to a changed list of columns. Columns added at
// the end leave them as they are; an update seen meanwhile by triggers that did
// not know the new column counts as touching any (trap S18).
func (r *refreshing) reshape(t *table, was string) error {
	from, same, err := ledger.Reshape(t.rule, t.names, was)
	if err != nil || same {
		return err
	}
	if err := r.exec(`UPDATE tidemark.log SET mask = 0 WHERE tbl = $1::int4 AND mask <> 0`, t.id); err != nil {
		return err
	}
	parts := make([]string, len(t.names))
	for i, j := range from {
		parts[i] = "NULL"
		if j >= 0 {
			parts[i] = "image[" + strconv.Itoa(j+1) + "]"
		}
	}
	return r.exec(`UPDATE tidemark.log SET image = ARRAY[`+strings.Join(parts, ", ")+`]::text[] WHERE tbl = $1::int4 AND image IS NOT NULL`, t.id)
}

func (r *refreshing) exec(q string, args ...any) error {
	if _, err := exec(r.ctx, r.c, q, args...); err != nil {
		return fmt.Errorf("adapt the change log: %w", err)
	}
	return nil
}

// triggers makes the database's capture what the plan wants. A known table that had
// lost its triggers may have changed unseen.
func (r *refreshing) triggers() (redone bool, err error) {
	have := map[string]string{} // by table and trigger: how to drop it
	whole := map[int64]int{}
	byOID := map[int64]*table{}
	for _, t := range r.p.tables {
		byOID[int64(t.rel.OID)] = t
	}
	err = query(r.ctx, r.c, `SELECT t.tgrelid::int8, t.tgname, t.tgrelid::regclass::text, t.tgenabled::text FROM pg_trigger t
		JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = 'tidemark' AND t.tgname = ANY($1::text[])`, func(w *row) error {
		if t := byOID[w.int(0)]; t == nil {
			have[w.text(2)+" "+w.text(1)] = "DROP TRIGGER " + quote(w.text(1)) + " ON " + w.text(2)
		} else if strings.HasPrefix(captureFires[w.text(1)], w.text(3)) {
			whole[t.id]++
		}
		return nil
	}, slices.Collect(maps.Keys(captureFires)))
	if err != nil {
		return false, fmt.Errorf("read triggers: %w", err)
	}
	for _, t := range r.p.tables {
		hash := t.captureHash()
		there := whole[t.id] == t.captureWhole()
		if there && t.captured == hash {
			continue
		}
		redone = true
		if !there && r.known[t.id] && !r.restart {
			r.restart = true
			r.s.cfg.Log.Warn("change capture was missing; every device reads its data anew", "table", t.def.Name)
		}
		for _, q := range t.capture() {
			if err := script(r.ctx, r.c, q); err != nil {
				return false, fmt.Errorf("capture table %s: %w", t.def.Name, err)
			}
		}
		if err := r.exec(`UPDATE tidemark.tbl SET capture = $1::text WHERE id = $2::int4`, hash, t.id); err != nil {
			return false, err
		}
	}
	for _, q := range have {
		redone = true
		if err := script(r.ctx, r.c, q); err != nil {
			return false, fmt.Errorf("drop trigger: %w", err)
		}
	}
	return redone, nil
}

// settle makes readers receive what the log did not see: rows of tables that
// join a running hub, or everything.
func (r *refreshing) settle() error {
	now := strconv.FormatInt(int64(change.NewHLC(r.s.cfg.Clock.Now().UnixMilli(), 0)), 10)
	if r.s.fresh && r.old == nil { // the first start of all: only the floor can tell
		for _, t := range r.p.tables {
			some := false
			err := query(r.ctx, r.c, "SELECT EXISTS (SELECT FROM "+t.name+")", func(w *row) error {
				some = w.bool(0)
				return nil
			})
			if err != nil {
				return err
			}
			r.restart = r.restart || some
		}
		r.fresh = nil
	}
	for _, t := range r.fresh {
		if err := r.exec(t.log("t.", ledger.Touch, "0", t.expr("t."), origin{strconv.Itoa(ledger.Hub), now}, " FROM "+t.name+" AS t")); err != nil {
			return err
		}
	}
	if !r.restart {
		return nil
	}
	err := r.exec(`INSERT INTO tidemark.log (tbl, op, mask, origin, hlc, scope) VALUES (0, $1::int2, 0, 1, $2::int8, '')`, int64(ledger.Touch), now)
	if err != nil {
		return err
	}
	v := &view{s: r.s, ctx: r.ctx, c: r.c, p: r.p}
	m, err := v.now()
	if err != nil {
		return err
	}
	return setMeta(r.ctx, r.c, metaFloor, m.token())
}
