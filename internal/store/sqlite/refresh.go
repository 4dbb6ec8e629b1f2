package sqlitestore

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Refresh implements hub.Store. A schema changed by another program is also
// noticed by the next Update or View; Refresh still reports it then.
func (s *Store) Refresh(ctx context.Context, rules *rule.Rules) (bool, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer == nil {
		return false, errClosed
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	before := s.plan.Load()
	var changed bool
	err := sqlite.Immediate(s.writer, func() (err error) {
		changed, err = s.refresh(rules)
		return err
	})
	if err != nil {
		s.plan.Store(before)
		return false, fmt.Errorf("refresh hub: %w", err)
	}
	changed = changed || s.moved
	s.moved = false
	return changed, nil
}

// refresh derives a new plan inside a write transaction and makes the file's
// capture agree with it.
func (s *Store) refresh(rules *rule.Rules) (changed bool, err error) {
	c := s.writer
	schema, err := sqlite.Describe(c, rules.Names())
	if err != nil {
		return false, err
	}
	r := &refreshing{s: s, c: c, known: map[int64]bool{}}
	if err := r.load(); err != nil {
		return false, err
	}
	old := s.plan.Load()
	var inForce *rule.Rules
	if old != nil {
		inForce = &old.rules
	}
	fit, lost, err := r.had.Fit(rules, inForce, &schema, nil)
	if err != nil {
		return false, err
	}
	p, err := newPlan(schema, fit)
	if err != nil {
		return false, err
	}
	r.p, p.rules, p.lost, p.hash = p, *rules, lost, schema.Hash()
	keys, columns := 1, 1
	for _, t := range p.tables {
		keys, columns = max(keys, len(t.key)), max(columns, len(t.names))
		if t.terms, err = indexTerms(c, t.def); err != nil {
			return false, err
		}
	}
	if err := widen(c, keys, columns); err != nil {
		return false, err
	}
	changed = old != nil && (!ledger.Same(&old.rules, rules) || !ledger.Same(&old.schema, &schema))
	p.width = keys
	if err := r.number(); err != nil {
		return false, err
	}
	for _, t := range p.tables {
		t.prepare()
	}
	redone, err := r.triggers()
	if err != nil {
		return false, err
	}
	if err := r.settle(); err != nil {
		return false, err
	}
	if err := r.lend(); err != nil {
		return false, err
	}
	version, _, err := sqlite.One(c, "PRAGMA schema_version")
	if err != nil {
		return false, err
	}
	p.version = version.Int()
	s.plan.Store(p)
	return changed || redone, nil
}

// A refreshing is one refresh under way.
type refreshing struct {
	s       *Store
	c       *sqlite.Conn
	p       *plan
	had     ledger.Listings // what _tidemark_table holds, by name
	known   map[int64]bool  // tables whose changes the log already holds
	fresh   []*table        // tables that join
	restart bool            // the log cannot tell what happened: raise the floor
}

func (r *refreshing) load() error {
	r.had = ledger.Listings{}
	err := sqlite.Query(r.c, `SELECT name, id, columns, key, scope FROM _tidemark_table`, func(s *sqlite.Stmt) error {
		r.had[s.ColumnText(0)] = ledger.Listing{ID: s.ColumnInt64(1), Columns: s.ColumnText(2), Key: s.ColumnText(3), Scope: s.ColumnText(4)}
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
			if err := sqlite.Exec(r.c, `INSERT INTO _tidemark_table (name, columns, key, scope) VALUES (?, '', '', '')`, change.Text(t.def.Name)); err != nil {
				return fmt.Errorf("number table %s: %w", t.def.Name, err)
			}
			e.ID = r.c.LastInsertRowID()
		}
		t.id = e.ID
		r.p.byID[t.id] = t
		switch {
		case e.Columns == "": // new, or back again
			r.fresh = append(r.fresh, t)
			err = r.join(t)
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
		err = sqlite.Exec(r.c, `UPDATE _tidemark_table SET columns=?, key=?, scope=? WHERE id=?`,
			change.Text(now.Columns), change.Text(now.Key), change.Text(now.Scope), change.Int(t.id))
		if err != nil {
			return fmt.Errorf("number table %s: %w", t.def.Name, err)
		}
	}
	return r.retire()
}

// retire notes which tables do not sync any more.
func (r *refreshing) retire() error {
	for _, name := range r.had.Retiring(r.p.lost) {
		if err := sqlite.Exec(r.c, `UPDATE _tidemark_table SET columns='', key='', scope='' WHERE name=?`, change.Text(name)); err != nil {
			return fmt.Errorf("retire table %s: %w", name, err)
		}
	}
	return nil
}

// join refuses a table with NULLs in its key: such rows have no name (trap S9).
func (r *refreshing) join(t *table) error {
	for _, k := range t.keyNames {
		_, found, err := sqlite.One(r.c, "SELECT 1 FROM "+t.name+" AS t WHERE t."+sqlite.Quote(k)+" IS NULL LIMIT 1")
		if err != nil {
			return fmt.Errorf("read table %s: %w", t.def.Name, err)
		}
		if found {
			return fmt.Errorf("table %s: rows with NULL in the key column %s cannot sync: give them a key", t.def.Name, k)
		}
	}
	return r.forget(t.id)
}

// forget drops the images of a table whose old entries no longer mean anything.
func (r *refreshing) forget(id int64) error {
	err := sqlite.Exec(r.c, `DELETE FROM _tidemark_tomb WHERE pos IN (SELECT pos FROM _tidemark_log WHERE tbl=? AND op IN (3, 8))`, change.Int(id))
	if err != nil {
		return fmt.Errorf("forget images: %w", err)
	}
	return nil
}

// reshape adapts masks and images to a changed list of columns. Columns added at
// the end leave them as they are; an update seen meanwhile by triggers that did
// not know the new column then counts as touching any (trap S18).
func (r *refreshing) reshape(t *table, was string) error {
	from, same, err := ledger.Reshape(t.rule, t.names, was)
	if err != nil {
		return err
	}
	if same {
		return r.exec(`UPDATE _tidemark_log SET mask=0 WHERE tbl=? AND op=2 AND mask=?`, change.Int(t.id), change.Int(ledger.MaskSeen))
	}
	if err := r.exec(`UPDATE _tidemark_log SET mask=0 WHERE tbl=?`, change.Int(t.id)); err != nil {
		return err
	}
	set := ""
	for i, j := range from {
		image := "NULL"
		if j >= 0 {
			image = fmt.Sprintf("v%d", j)
		}
		set += fmt.Sprintf(", v%d=%s", i, image)
	}
	return r.exec(`UPDATE _tidemark_tomb SET `+set[2:]+` WHERE pos IN (SELECT pos FROM _tidemark_log WHERE tbl=? AND op IN (3, 8))`, change.Int(t.id))
}

func (r *refreshing) exec(q string, args ...change.Value) error {
	if err := sqlite.Exec(r.c, q, args...); err != nil {
		return fmt.Errorf("adapt the change log: %w", err)
	}
	return nil
}

// triggers makes the file's capture what the plan wants. A known table that had
// lost its triggers may have changed unseen.
func (r *refreshing) triggers() (redone bool, err error) {
	have := map[string]string{}
	err = sqlite.Query(r.c, `SELECT name, sql FROM sqlite_schema WHERE type='trigger' AND name LIKE '\_tidemark\_%' ESCAPE '\'`, func(s *sqlite.Stmt) error {
		have[s.ColumnText(0)] = s.ColumnText(1)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("read triggers: %w", err)
	}
	for _, t := range r.p.tables {
		for _, tr := range t.capture() {
			text, there := have[tr.name]
			delete(have, tr.name)
			if there && text == tr.sql {
				continue
			}
			redone = true
			if there {
				if err := sqlite.Exec(r.c, "DROP TRIGGER "+sqlite.Quote(tr.name)); err != nil {
					return false, fmt.Errorf("drop trigger: %w", err)
				}
			} else if r.known[t.id] && !r.restart {
				r.restart = true
				r.s.cfg.Logger.Warn("change capture was missing; every device reads its data anew", "table", t.def.Name)
			}
			if err := sqlite.Exec(r.c, tr.sql); err != nil {
				return false, fmt.Errorf("capture table %s: %w", t.def.Name, err)
			}
		}
	}
	for name := range have {
		redone = true
		if err := sqlite.Exec(r.c, "DROP TRIGGER "+sqlite.Quote(name)); err != nil {
			return false, fmt.Errorf("drop trigger: %w", err)
		}
	}
	return redone, nil
}

// settle makes readers receive what the log did not see: rows of tables that
// join a running hub, or everything.
func (r *refreshing) settle() error {
	if r.s.plan.Load() == nil {
		floor, err := meta(r.c, metaFloor)
		if err != nil {
			return err
		}
		if floor.IsNull() { // the first start of all: firstFloor sees to it
			return nil
		}
	}
	now := change.Int(int64(change.NewHLC(r.s.cfg.Clock.Now().UnixMilli(), 0)))
	for _, t := range r.fresh {
		q := t.logInto() + sqlite.QuoteAll("t.", t.keyNames) + ", 4, 0, 1, ?, " + t.expr("t.") + " FROM " + t.name + " AS t"
		if err := r.exec(q, now); err != nil {
			return err
		}
	}
	if r.restart {
		return r.s.raiseFloor()
	}
	return nil
}

// raiseFloor makes every cursor minted so far too old.
func (s *Store) raiseFloor() error {
	now := int64(change.NewHLC(s.cfg.Clock.Now().UnixMilli(), 0))
	var pos, nonce int64
	err := sqlite.Query(s.writer, `INSERT INTO _tidemark_log (tbl, op, mask, origin, hlc, scope) VALUES (0, 4, 0, 1, ?, '') RETURNING pos, nonce`,
		func(st *sqlite.Stmt) error {
			pos, nonce = st.ColumnInt64(0), st.ColumnInt64(1)
			return nil
		}, change.Int(now))
	if err != nil {
		return fmt.Errorf("raise the log's floor: %w", err)
	}
	return s.setFloor(pos, nonce)
}

func (s *Store) setFloor(pos, nonce int64) error {
	if err := setMeta(s.writer, metaFloor, change.Int(pos)); err != nil {
		return err
	}
	return setMeta(s.writer, metaNonce, change.Int(nonce))
}
