package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// MigrateOptions say how to migrate.
type MigrateOptions struct {
	// NoData says that every replica runs the same migration: what it changes in rows
	// is not handed in.
	NoData bool
	DryRun bool // undo everything at the end, and report what would have been
}

// Migrated is what a migration did.
type Migrated struct {
	Tables  []MigratedTable // those that changed
	Notes   []string        // what of the file's tables and the hub's does not sync
	Missing []string        // synced tables that the file lacks now
}

// MigratedTable is one synced table's part of a Migrated. Columns have the file's names.
type MigratedTable struct {
	Table    string   // in the file now; as the hub calls it when it is gone
	Was      string   // in the file before, when that was another name
	Gone     bool     // the file has it no more
	Added    []string // columns, also those that do not sync
	Dropped  []string
	Renamed  map[string]string // old → new
	Unsynced []string          // columns that the hub does not have
	Rows     int               // whose change is handed in
}

// errDry undoes a dry run.
var errDry = errors.New("dry run")

// Migrate runs an application's migration with capture handled around it, in one
// transaction: when script fails, or the rows that it leaves break a foreign key,
// nothing has happened. Meanwhile the file's foreign keys are not enforced and capture
// is off, so that every kind of ALTER TABLE works; what the migration did to synced
// rows is found by comparison and handed in as one transaction.
func (e *Engine) Migrate(script func(*Migration) error, o MigrateOptions) (*Migrated, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, errors.New("migrate: the file is not enrolled")
	}
	m := &Migration{e: e, o: o, copied: map[int64]*before{}}
	err := sqlite.Immediate(e.conn, func() error { return m.run(script) })
	if e2 := m.dropCopies(); err == nil {
		err = e2
	}
	if err != nil {
		if e2 := e.load(); e2 != nil { // back to what the file says
			err = errors.Join(err, e2)
		}
	}
	if errors.Is(err, errDry) {
		return m.out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	e.synced = false
	return m.out, nil
}

// A Migration is a migration under way. It belongs to the function that it was given to.
type Migration struct {
	e      *Engine
	o      MigrateOptions
	out    *Migrated
	start  []table // as they were
	copied map[int64]*before
	ended  bool
}

// Until interrupts the statement that runs, and fails those to come, once done is closed.
func (m *Migration) Until(done <-chan struct{}) { m.e.conn.SetInterrupt(done) }

func (m *Migration) run(script func(*Migration) error) error {
	e := m.e
	defer e.conn.SetInterrupt(nil) // or ROLLBACK would be interrupted, too
	if _, err := e.checkDrift(); err != nil {
		return err
	}
	m.start = slices.Clone(e.tables)
	broken, err := e.brokenKeys()
	if err != nil {
		return err
	}
	if err := e.noteNames(); err != nil {
		return err
	}
	if err := e.dropTriggers(); err != nil {
		return err
	}
	err = script(m)
	m.ended = true
	if err != nil {
		return err
	}
	if err := m.checkKeys(broken); err != nil {
		return err
	}
	if err := e.loadTables(); err != nil {
		return err
	}
	m.report()
	if err := m.hand(); err != nil {
		return err
	}
	d, err := e.renew()
	if err != nil {
		return err
	}
	m.out.Notes, m.out.Missing = d.Notes, d.Missing
	if m.o.DryRun {
		return errDry
	}
	return nil
}

// renew makes capture anew after the migration.
func (e *Engine) renew() (*Drift, error) {
	d := &Drift{}
	for i := range e.tables {
		t := &e.tables[i]
		if t.missing {
			d.Missing = append(d.Missing, t.schema.Name)
			if err := e.noteMissing(t); err != nil {
				return nil, err
			}
			continue
		}
		d.Notes = append(d.Notes, e.notes(t)...)
	}
	if on, err := e.metaInt(metaCapture); err != nil || on == 0 {
		return d, errors.Join(err, e.noteVersion())
	}
	if _, _, err := e.guardTriggers(); err != nil {
		return nil, err
	}
	if err := e.noteShared(); err != nil {
		return nil, err
	}
	return d, e.createTriggers()
}

// brokenKeys counts foreign keys that point nowhere, by child and parent.
func (e *Engine) brokenKeys() (map[[2]string]int, error) {
	out := map[[2]string]int{}
	err := sqlite.Query(e.conn, "PRAGMA foreign_key_check", func(s *sqlite.Stmt) error {
		out[[2]string{strings.ToLower(s.ColumnText(0)), strings.ToLower(s.ColumnText(2))}]++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check foreign keys: %w", err)
	}
	return out, nil
}

// checkKeys refuses a migration that leaves more rows without their parent than
// there were.
func (m *Migration) checkKeys(broken map[[2]string]int) error {
	now, err := m.e.brokenKeys()
	if err != nil {
		return err
	}
	was, is := 0, 0
	for _, n := range broken {
		was += n
	}
	for _, n := range now {
		is += n
	}
	if is <= was {
		return nil
	}
	for k, n := range now {
		if n > broken[k] {
			return fmt.Errorf("it would leave %d rows of %s without their row in %s", n-broken[k], k[0], k[1])
		}
	}
	return nil
}

// report compares the tables' shapes.
func (m *Migration) report() {
	m.out = &Migrated{}
	for i := range m.start {
		was, now := &m.start[i], &m.e.tables[i]
		r := MigratedTable{Table: now.file, Renamed: map[string]string{}}
		switch {
		case was.have == nil && now.have == nil:
			continue
		case now.have == nil:
			r.Table, r.Was, r.Gone = now.schema.Name, was.file, true
		case was.have == nil:
			r.Added = now.have.StoredNames()
		default:
			m.compare(&r, was, now)
		}
		if r.Gone || r.Was != "" || len(r.Added)+len(r.Dropped)+len(r.Renamed) > 0 || m.copied[now.id] != nil {
			m.out.Tables = append(m.out.Tables, r)
		}
	}
}

func (m *Migration) compare(r *MigratedTable, was, now *table) {
	if !sameName(was.file, now.file) {
		r.Was = was.file
	}
	for i, c := range was.cols {
		if j := now.column(was.names[i]); j >= 0 && !sameName(now.cols[j], c) {
			r.Renamed[c] = now.cols[j]
		}
	}
	for i := range now.have.Columns {
		n := now.have.Columns[i].Name
		renamed := false
		for _, to := range r.Renamed {
			renamed = renamed || sameName(to, n)
		}
		if was.have.Column(n) < 0 && !renamed {
			r.Added = append(r.Added, n)
		}
		if !now.have.Columns[i].Generated && !slices.ContainsFunc(now.cols, func(c string) bool { return sameName(c, n) }) {
			r.Unsynced = append(r.Unsynced, n)
		}
	}
	for i := range was.have.Columns {
		n := was.have.Columns[i].Name
		if now.have.Column(n) < 0 && r.Renamed[n] == "" {
			r.Dropped = append(r.Dropped, n)
		}
	}
}
