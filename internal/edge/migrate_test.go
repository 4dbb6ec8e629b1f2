package edge

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func (b *branch) migrate(o MigrateOptions, sql ...string) *Migrated {
	b.t.Helper()
	m, err := b.e.Migrate(func(m *Migration) error { return m.Exec(strings.Join(sql, ";\n")) }, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (m *Migrated) of(table string) MigratedTable {
	i := slices.IndexFunc(m.Tables, func(t MigratedTable) bool { return t.Table == table })
	if i < 0 {
		return MigratedTable{}
	}
	return m.Tables[i]
}

// A trigger that names a column blocks DROP COLUMN in the plain shell; a migration
// takes capture out of the way, and hands in what it did to the rows.
func TestTrapS5_MigrationDropsAndFills(t *testing.T) {
	b := shaped(t)
	if err := b.try("ALTER TABLE visit DROP COLUMN note"); err == nil {
		t.Fatal("SQLite now drops columns that triggers name")
	}
	m := b.migrate(MigrateOptions{}, "-- up", "ALTER TABLE visit DROP COLUMN note", "ALTER TABLE patient ADD COLUMN email TEXT",
		"UPDATE patient SET name=upper(name), email='x'", "DELETE FROM visit WHERE id='v3'", "INSERT INTO visit (id, patient_id) VALUES ('v4','a')")
	p, v := m.of("patient"), m.of("visit")
	if p.Rows != 3 || !slices.Equal(p.Added, []string{"email"}) || !slices.Equal(p.Unsynced, []string{"email"}) || v.Rows != 2 || !slices.Equal(v.Dropped, []string{"note"}) {
		t.Fatalf("%+v", m)
	}
	b.settled()
	b.atHub("SELECT group_concat(name) FROM (SELECT * FROM patient ORDER BY id)", "'ANN,BOB,CY'")
	b.atHub("SELECT group_concat(id||coalesce(note,'-')) FROM (SELECT * FROM visit ORDER BY id)", "'v1first,v2second,v4-'")
	b.exec("UPDATE patient SET name='after' WHERE id='a'") // capture goes on
	b.settled()
	b.atHub("SELECT name FROM patient WHERE id='a'", "'after'")
	b.want("SELECT count(*) FROM _tidemark_shadow", "0")
}

// The usual rebuild, with other names and types, all in one script.
func TestMigrateRebuildAndRename(t *testing.T) {
	b := shaped(t)
	m := b.migrate(MigrateOptions{}, `ALTER TABLE patient RENAME COLUMN name TO full_name`,
		`CREATE TABLE new_visit (id TEXT PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patient ON DELETE CASCADE, note BLOB, extra)`,
		`INSERT INTO new_visit SELECT id, patient_id, note, 1 FROM visit`, `DROP TABLE visit`, `ALTER TABLE new_visit RENAME TO visit`,
		`ALTER TABLE patient RENAME TO client`, `UPDATE client SET full_name='Ann' WHERE id='a'`)
	if p := m.of("client"); p.Was != "patient" || p.Renamed["name"] != "full_name" || p.Rows != 1 || m.of("visit").Rows != 0 {
		t.Fatalf("%+v", m)
	}
	b.settled()
	b.atHub("SELECT name FROM patient WHERE id='a'", "'Ann'")
	b.atTheHub("UPDATE patient SET name='from the hub' WHERE id='b'; INSERT INTO visit VALUES ('v9','b','n')")
	b.settled()
	b.want("SELECT full_name FROM client WHERE id='b'", "'from the hub'")
	b.want("SELECT note FROM visit WHERE id='v9'", "'n'")
	b.exec("INSERT INTO client (id, branch, full_name) VALUES ('z', 1, 'zoe'); DELETE FROM client WHERE id='c'")
	b.settled()
	b.atHub("SELECT group_concat(name) FROM (SELECT * FROM patient ORDER BY id)", "'Ann,from the hub,zoe'")
	b.agrees()
}

func TestMigrateChangesNothingWhenItFails(t *testing.T) {
	b := shaped(t)
	b.exec("UPDATE patient SET name='mine' WHERE id='a'")
	before := b.rows("SELECT sql FROM sqlite_schema ORDER BY name")
	for sql, want := range map[string]string{
		"UPDATE patient SET name='x'; BEGIN":                   "one transaction already",
		"DROP TABLE visit; COMMIT":                             "one transaction already",
		"SAVEPOINT a":                                          "one transaction already",
		"ATTACH 'x.db' AS x":                                   "one file",
		"DELETE FROM _tidemark_outbox":                         "Tidemark's own table",
		"PRAGMA writable_schema=ON":                            "no place in a migration",
		"UPDATE patient SET nope=1":                            "no such column",
		"DELETE FROM patient WHERE id='a'":                     "1 rows of visit without their row in patient",
		"UPDATE patient SET name='x'; SELEC":                   "syntax error",
		"ALTER TABLE patient DROP COLUMN name; UPDATE visit x": "syntax error",
	} {
		_, err := b.e.Migrate(func(m *Migration) error { return m.Exec(sql) }, MigrateOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	stop := errors.New("stop")
	var kept *Migration
	_, err := b.e.Migrate(func(m *Migration) error { kept = m; return errors.Join(m.Exec("DROP TABLE visit"), stop) }, MigrateOptions{})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := kept.Exec("DROP TABLE visit"); !errors.Is(err, errMigrated) {
		t.Error(err)
	}
	if after := b.rows("SELECT sql FROM sqlite_schema ORDER BY name"); after != before {
		t.Errorf("the schema is another one: %s", after)
	}
	b.settled()
	b.atHub("SELECT name FROM patient WHERE id='a'", "'mine'")
	b.agrees()
}

func TestMigrateDryRunAndNoData(t *testing.T) {
	b := shaped(t)
	if m := b.migrate(MigrateOptions{DryRun: true}, "ALTER TABLE patient ADD COLUMN x; UPDATE patient SET name='dry'"); m.of("patient").Rows != 3 {
		t.Fatalf("%+v", m)
	}
	b.want("SELECT count(*) FROM patient WHERE name='dry'", "0")
	if n, err := b.e.Export(); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	m := b.migrate(MigrateOptions{NoData: true}, "UPDATE patient SET name=upper(name)")
	if m.of("patient").Rows != 0 {
		t.Fatalf("%+v", m)
	}
	b.want("SELECT count(*) FROM _tidemark_outbox WHERE state=0", "0")
	b.atTheHub("UPDATE patient SET name=upper(name)") // the hub runs it, too
	b.settled()
	b.agrees()
}

// A table made anew without its rows is filled again; one that is emptied is empty.
func TestMigrateTellsEmptiedFromMadeAnew(t *testing.T) {
	b := shaped(t)
	b.migrate(MigrateOptions{}, "DROP TABLE visit", clinicDDL[1])
	b.settled()
	b.want("SELECT count(*) FROM visit", "3")
	b.migrate(MigrateOptions{}, "DELETE FROM visit")
	b.settled()
	b.atHub("SELECT count(*) FROM visit", "0")
	m := b.migrate(MigrateOptions{}, "DROP TABLE visit")
	if !slices.Equal(m.Missing, []string{"visit"}) || !m.of("visit").Gone {
		t.Fatalf("%+v", m)
	}
	b.settled()
	b.atTheHub("INSERT INTO visit VALUES ('late','a','x')")
	b.exec("UPDATE patient SET name='on' WHERE id='a'")
	b.settled()
	b.atHub("SELECT name FROM patient WHERE id='a'", "'on'")
	b.migrate(MigrateOptions{}, clinicDDL[1])
	b.settled()
	b.want("SELECT id FROM visit", "'late'")
	b.agrees()
}

func TestMigrateQueries(t *testing.T) {
	b := shaped(t)
	var got []string
	_, err := b.e.Migrate(func(m *Migration) error {
		err := m.Query("SELECT id FROM patient WHERE visits>? ORDER BY id", func(s *sqlite.Stmt) error {
			got = append(got, s.ColumnText(0))
			return nil
		}, change.Int(1))
		if err != nil {
			return err
		}
		if err := m.Exec("SELECT ?"); err == nil {
			t.Error("a statement without its parameter")
		}
		return errors.Join(m.Exec(" -- nothing\n"), m.Exec("UPDATE patient SET visits=? WHERE id=?", change.Int(50), change.Text("a")))
	}, MigrateOptions{})
	if err != nil || !slices.Equal(got, []string{"b", "c"}) {
		t.Fatal(got, err)
	}
	b.settled()
	b.atHub("SELECT visits FROM patient WHERE id='a'", "50")
	c := &clinic{t: t, path: t.TempDir() + "/none.db", clk: b.clk}
	c.open()
	defer c.close()
	if _, err := c.e.Migrate(func(*Migration) error { return nil }, MigrateOptions{}); err == nil {
		t.Error("a file that is not enrolled")
	}
}

// A table made anew without its rows was not emptied, whether the old one was dropped or
// renamed away. Emptying one takes a DELETE.
func TestTrapS18_MigrationMakesTableAnew(t *testing.T) {
	for sql, left := range map[string]string{
		"DROP TABLE visit; " + clinicDDL[1]:                                                                                     "3",
		"ALTER TABLE visit RENAME TO visit_old; " + clinicDDL[1]:                                                                "3",
		"ALTER TABLE visit RENAME TO visit_old; " + clinicDDL[1] + "; DROP TABLE visit_old":                                     "3",
		"ALTER TABLE visit RENAME TO visit_old; " + clinicDDL[1] + "; INSERT INTO visit SELECT * FROM visit_old WHERE id<>'v2'": "2",
		"DELETE FROM visit; " + strings.Replace(clinicDDL[1], "TABLE", "TABLE IF NOT EXISTS", 1):                                "0",
		"DELETE FROM visit": "0",
	} {
		b := shaped(t)
		b.migrate(MigrateOptions{}, sql)
		b.settled()
		b.atHub("SELECT count(*) FROM visit", left)
		b.same("id||note AS line FROM visit", "id||note AS line FROM visit")
		b.agrees()
	}
}
