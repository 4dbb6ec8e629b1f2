package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The app's own triggers run for whoever writes, the hub's processes included. Those
// that write synced tables must not run when an edge's changes are applied: their
// effects arrive from the edge as changes of their own, and a second run would sell
// twice (trap S23). They get a WHEN on the setting that tells who writes; how they
// stood before is kept in tidemark.guarded, and Detach puts it back.

// guardCondition holds where another program writes.
const guardCondition = `coalesce(current_setting('tidemark.origin', true), '') = ''`

// Triggers names the app's triggers that run when an edge's changes are applied,
// and those that do not, because they write synced tables.
func (s *Store) Triggers() (run, mute []string) {
	p := s.plan.Load()
	return slices.Clone(p.run), slices.Clone(p.mute)
}

// An appTrigger is a trigger that is not ours.
type appTrigger struct {
	table      *table
	name       string
	def        string // its CREATE statement
	source     string // of its function
	constraint bool
}

// guard sees to the app's triggers on the synced tables.
func (r *refreshing) guard() (redone bool, err error) {
	byOID := map[int64]*table{}
	for _, t := range r.p.tables {
		byOID[int64(t.rel.OID)] = t
	}
	var list []appTrigger
	err = query(r.ctx, r.c, `SELECT t.tgrelid::int8, t.tgname::text, pg_get_triggerdef(t.oid), p.prosrc, t.tgconstraint <> 0
		FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'tidemark' AND t.tgrelid = ANY($1::int8[]::oid[])
		ORDER BY t.tgrelid, t.tgname`, func(w *row) error {
		list = append(list, appTrigger{byOID[w.int(0)], w.text(1), w.text(2), w.text(3), w.bool(4)})
		return nil
	}, r.p.oidArg())
	if err != nil {
		return false, fmt.Errorf("read the app's triggers: %w", err)
	}
	for _, g := range list {
		guarded := strings.Contains(g.def, "tidemark.origin")
		if !guarded && !r.p.writtenIn(g.source) {
			r.p.run = append(r.p.run, g.name)
			continue
		}
		r.p.mute = append(r.p.mute, g.name)
		if guarded {
			continue
		}
		redone = true
		if err := r.mute(g); err != nil {
			return false, fmt.Errorf("guard trigger %s on %s: %w", g.name, g.table.def.Name, err)
		}
		r.s.cfg.Log.Info("a trigger of the application writes synced tables: it no longer runs for what edges did", "trigger", g.name, "table", g.table.def.Name)
	}
	return redone, nil
}

func (r *refreshing) mute(g appTrigger) error {
	text, ok := guardedText(g.def)
	if !ok {
		return errors.New("its definition is not understood: give it WHEN (" + guardCondition + ")")
	}
	err := r.exec(`INSERT INTO tidemark.guarded (tbl, name, def) VALUES ($1::int8::oid, $2::text, $3::text)
		ON CONFLICT (tbl, name) DO UPDATE SET def = excluded.def`, int64(g.table.rel.OID), g.name, g.def)
	if err != nil {
		return err
	}
	return script(r.ctx, r.c, "DROP TRIGGER "+quote(g.name)+" ON "+g.table.name+"; "+text)
}

// guardedText is a CREATE TRIGGER with the condition.
func guardedText(def string) (string, bool) {
	end := strings.LastIndex(def, " EXECUTE FUNCTION ")
	if end < 0 {
		return "", false
	}
	head, cond, has := strings.Cut(def[:end], " WHEN (")
	if has {
		cond = " AND (" + strings.TrimSuffix(cond, ")") + ")"
	}
	return head + " WHEN (" + guardCondition + cond + ")" + def[end:], true
}

// writtenIn reports whether a function's source writes a synced table.
func (p *plan) writtenIn(source string) bool {
	for _, m := range writes.FindAllStringSubmatch(strings.ToLower(bare(source)), -1) {
		name := strings.ReplaceAll(m[1], `"`, "")
		if i := strings.LastIndex(name, "."); i >= 0 {
			name = name[i+1:]
		}
		if p.list.Index(name) >= 0 {
			return true
		}
	}
	return false
}

var writes = regexp.MustCompile(`\b(?:insert\s+into|update|delete\s+from|merge\s+into|truncate(?:\s+table)?)\s+(?:only\s+)?("[^"]+"(?:\."[^"]+")?|[\w.$]+)`)

var aside = regexp.MustCompile(`(?s)'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/`)

// bare is a source without its texts and comments.
func bare(source string) string { return aside.ReplaceAllString(source, " ") }

// Detach takes Tidemark out of a database: its schema and triggers go, and the app's
// triggers are again as they were. No store may serve the database.
func Detach(ctx context.Context, dsn string) (err error) {
	c, err := reach(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	return inTx(ctx, c, "BEGIN", func() error {
		var list []string
		err := query(ctx, c, `SELECT 'DROP TRIGGER ' || quote_ident(g.name) || ' ON ' || g.tbl::regclass || '; ' || g.def
			FROM tidemark.guarded g JOIN pg_trigger t ON t.tgrelid = g.tbl AND t.tgname = g.name WHERE pg_get_triggerdef(t.oid) LIKE '%tidemark.origin%'`, func(r *row) error {
			list = append(list, r.text(0))
			return nil
		})
		if err != nil {
			return fmt.Errorf("read guarded triggers: %w", err)
		}
		for _, q := range append(list, "DROP SCHEMA tidemark CASCADE") {
			if err := script(ctx, c, q); err != nil {
				return fmt.Errorf("detach: %w", err)
			}
		}
		return nil
	})
}
