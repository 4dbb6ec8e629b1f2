package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// The life of table once: each file goes through its versions by itself, the hub's
// as well as each site's, in any order between them.
//
//	0  id, body
//	1  id, body, extra
//	2  id, content, extra    body got another name
//	3  id, content
const lastVersion = 3

// onceDDL is table once in a version.
var onceDDL = [lastVersion + 1]string{
	`CREATE TABLE once (id TEXT PRIMARY KEY, body TEXT)`,
	`CREATE TABLE once (id TEXT PRIMARY KEY, body TEXT, extra TEXT)`,
	`CREATE TABLE once (id TEXT PRIMARY KEY, content TEXT, extra TEXT)`,
	`CREATE TABLE once (id TEXT PRIMARY KEY, content TEXT)`,
}

// versionOf reads which version a database's table once has.
func versionOf(p program) (int, error) {
	cols, err := p.columns("once")
	if err != nil {
		return 0, err
	}
	has := func(name string) bool { return slices.Contains(cols, name) }
	switch {
	case has("body") && has("extra"):
		return 1, nil
	case has("body"):
		return 0, nil
	case has("extra"):
		return 2, nil
	}
	return 3, nil
}

// bodyOf is what the column body is called in a version.
func bodyOf(version int) string {
	if version >= 2 {
		return "content"
	}
	return "body"
}

func hasExtra(version int) bool { return version == 1 || version == 2 }

// ddl is the tables of a history, once in the given version.
func (w *world) ddl(base []string, version int) []string {
	out := slices.Clone(base)
	if version > 0 {
		for i, s := range out {
			if strings.HasPrefix(s, `CREATE TABLE once `) {
				out[i] = onceDDL[version]
			}
		}
	}
	if w.opt.Families&Leases != 0 {
		out = append(out, invoiceDDL)
	}
	return out
}

// rules is what the operator declares while the hub's table once has a version.
func (w *world) rules(version int) *rule.Rules {
	r := clinicRules()
	if w.opt.Families&Schemas != 0 {
		once := r.Table("once")
		other := "content"
		if version >= 2 {
			other = "body"
		}
		once.Columns = map[string]rule.Column{bodyOf(version): {Was: []string{other}}}
		if version == 3 {
			once.Dropped = []string{"extra"}
		}
	}
	if w.opt.Families&Leases != 0 {
		declareLeases(r)
	}
	return r
}

// migrateHub changes the hub's table and the rules with it.
func (w *world) migrateHub() error {
	h := w.hub
	if h.version == lastVersion {
		return nil
	}
	if err := errors.Join(w.settleSlow(true), migrate(h.app.conn, h.version)); err != nil {
		return fmt.Errorf("migrate the hub: %w", err)
	}
	h.version++
	w.logf("hub's table is of version %d", h.version)
	w.sometimes(fmt.Sprintf("hub at version %d", h.version))
	return h.base.adopt(w, w.rules(h.version))
}

// migrateSite changes a site's table.
func (w *world) migrateSite(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	v, err := versionOf(s.app.conn)
	if err != nil || v == lastVersion {
		return err
	}
	if err := migrate(s.app.conn, v); err != nil {
		return fmt.Errorf("migrate e%d: %w", s.n, err)
	}
	w.logf("e%d's table is of version %d", s.n, v+1)
	w.dropped = w.dropped || v+1 == lastVersion
	switch {
	case v >= w.hub.version:
		w.sometimes("site migrated first")
	default:
		w.sometimes("hub migrated first")
	}
	return nil
}

// onceQuery reads the columns of once that the hub and a site both have.
func (w *world) onceQuery(s *site) (query, error) {
	v, err := versionOf(s.app.conn)
	if err != nil {
		return query{}, err
	}
	of := func(own int) string {
		cols := "id, " + bodyOf(own)
		if hasExtra(v) && hasExtra(w.hub.version) {
			cols += ", extra"
		}
		return `SELECT ` + cols + ` FROM once ORDER BY id`
	}
	return query{"once", of(w.hub.version), of(v)}, nil
}

// writeOnce inserts a row into once with all the columns the file has.
func (a *app) writeOnce(d *deed) (bool, error) {
	v, err := versionOf(a.conn)
	if err != nil {
		return false, err
	}
	id := a.fresh("o")
	if !hasExtra(v) {
		return true, a.exec(`INSERT INTO once (id, `+bodyOf(v)+`) VALUES (?, ?)`, id, change.Text(d.ledger))
	}
	d.edits = append(d.edits, edit{"once", id.Str(), "extra", "", d.ledger})
	return true, a.exec(`INSERT INTO once (id, `+bodyOf(v)+`, extra) VALUES (?, ?, ?)`, id, change.Text(d.ledger), change.Text(d.ledger))
}

// editOnce overwrites one column of once.
func (a *app) editOnce(d *deed) (bool, error) {
	id, err := a.any("once")
	if id == "" {
		return false, err
	}
	v, err := versionOf(a.conn)
	if err != nil {
		return false, err
	}
	if hasExtra(v) && a.rng.IntN(2) == 0 {
		return true, a.overwrite(d, "once", id, "extra", "extra", d.ledger)
	}
	return true, a.overwrite(d, "once", id, "body", bodyOf(v), d.ledger)
}

// atHubColumn is what the hub calls an edit's column. ok is false where nothing is
// promised: the hub has no such column, or was put back, or the writer's file gave it up.
func (w *world) atHubColumn(e edit) (name string, ok bool) {
	if e.table != "once" {
		return e.column, true
	}
	if e.column == "body" {
		return bodyOf(w.hub.version), true
	}
	return e.column, hasExtra(w.hub.version) && !w.hub.put && !w.dropped
}
