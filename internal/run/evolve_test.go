package run

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A fleet is a hub and two files, one of which stays on the old schema.
type fleet struct {
	*world
	new, old Edge
}

const clinicSQL = `PRAGMA journal_mode=WAL;
CREATE TABLE patient(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax TEXT, age INTEGER);
CREATE TABLE visit(id TEXT PRIMARY KEY NOT NULL, patient_id TEXT NOT NULL REFERENCES patient, note TEXT);
INSERT INTO patient VALUES('a','ann','1',30),('b','bob','2',40),('c','cy',NULL,50);
INSERT INTO visit VALUES('v1','a','x'),('v2','b','y');`

const clinicYAML = `tables:
  patient: {scope: all}
  visit: {scope: all}
`

func newFleet(t *testing.T) *fleet {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	sh(t, w.path("app.db"), clinicSQL)
	w.yaml(clinicYAML)
	w.up()
	return &fleet{world: w, new: w.join("new.db", rule.ScopeAll), old: w.join("old.db", rule.ScopeAll)}
}

// rules gives the hub another tidemark.yaml, and sql to its file, between two runs.
func (f *fleet) rules(text, sql string) {
	f.t.Helper()
	f.down()
	if err := os.WriteFile(f.hub.Dir().Config(), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if sql != "" {
		sh(f.t, f.hub.Dir().DB(), sql)
	}
	f.up()
}

func (f *fleet) migrate(e Edge, sql string) *Migrated {
	f.t.Helper()
	path := f.path("up.sql")
	if err := os.WriteFile(path, []byte(sql), 0o600); err != nil {
		f.t.Fatal(err)
	}
	m, err := Migrate(context.Background(), MigrateConfig{Edge: e, Scripts: []string{path}})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// round syncs both files until everybody has everything.
func (f *fleet) round() {
	f.t.Helper()
	for range 2 {
		f.sync(f.new)
		f.sync(f.old)
	}
}

// converged checks that everybody agrees with the hub (I2, I10) and nothing waits.
func (f *fleet) converged(edges ...Edge) {
	f.t.Helper()
	for _, e := range edges {
		v, err := Verify(context.Background(), VerifyConfig{Edge: e})
		if err != nil || !v.InSync {
			f.t.Fatalf("%s: %+v, %v", e.File, v, err)
		}
		s, err := FileStatus(context.Background(), e)
		if err != nil || s.OutboxDepth+s.Unsettled+s.Quarantined != 0 {
			f.t.Fatalf("%s: %+v, %v", e.File, s, err)
		}
	}
}

// want checks a query here, or at the hub when the edge has no file.
func (f *fleet) want(e Edge, sql, want string) {
	f.t.Helper()
	file := e.File
	if file == "" {
		file = f.hub.Dir().DB()
	}
	if got := strings.TrimSpace(sh(f.t, file, sql)); got != want {
		f.t.Fatalf("%s: %s\n got %s\nwant %s", file, sql, got, want)
	}
}

var atTheHub = Edge{}

func TestEvolve_ColumnAddedAtTheHubFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.hub.Dir().DB(), "ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='a@hub' WHERE id='a'")
	sh(t, f.old.File, "UPDATE patient SET name='Ann' WHERE id='a'; INSERT INTO patient VALUES('d','dan',NULL,1)")
	f.round()
	f.want(atTheHub, "SELECT name||email FROM patient WHERE id='a'", "Anna@hub")
	f.migrate(f.new, "ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='d@new' WHERE id='d'")
	sh(t, f.new.File, "UPDATE patient SET email='b@new' WHERE id='b'")
	f.round()
	f.want(f.new, "SELECT group_concat(coalesce(email,'-')) FROM (SELECT * FROM patient ORDER BY id)", "a@hub,b@new,-,d@new")
	f.want(atTheHub, "SELECT group_concat(coalesce(email,'-')) FROM (SELECT * FROM patient ORDER BY id)", "a@hub,b@new,-,d@new")
	f.converged(f.new, f.old)
}

func TestEvolve_ColumnAddedAtAnEdgeFirst(t *testing.T) {
	f := newFleet(t)
	m := f.migrate(f.new, "ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email=id||'@new'")
	if m.Tables[0].Unsynced[0] != "email" {
		t.Fatalf("%+v", m)
	}
	sh(t, f.old.File, "UPDATE patient SET name='Bob' WHERE id='b'")
	f.round()
	f.want(f.new, "SELECT name||email FROM patient WHERE id='b'", "Bobb@new")
	sh(t, f.hub.Dir().DB(), "ALTER TABLE patient ADD COLUMN email TEXT")
	sh(t, f.old.File, "UPDATE patient SET name='BOB' WHERE id='b'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(name||email) FROM (SELECT * FROM patient ORDER BY id)", "anna@new,BOBb@new,cyc@new")
	f.converged(f.new, f.old)
}

func TestEvolve_ColumnRenamedAtTheHubFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.old.File, "UPDATE patient SET fax='captured before' WHERE id='c'")
	f.rules("tables:\n  patient: {scope: all, columns: {telefax: {was: [fax]}}}\n  visit: {scope: all}\n", "ALTER TABLE patient RENAME COLUMN fax TO telefax")
	sh(t, f.new.File, "UPDATE patient SET fax='11' WHERE id='a'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(telefax) FROM (SELECT * FROM patient ORDER BY id)", "11,2,captured before")
	f.want(f.new, "SELECT group_concat(fax) FROM (SELECT * FROM patient ORDER BY id)", "11,2,captured before")
	f.migrate(f.new, "ALTER TABLE patient RENAME COLUMN fax TO telefax")
	sh(t, f.new.File, "UPDATE patient SET telefax='12' WHERE id='a'")
	sh(t, f.old.File, "UPDATE patient SET fax='22' WHERE id='b'")
	f.round()
	for e, c := range map[Edge]string{f.new: "telefax", f.old: "fax", atTheHub: "telefax"} {
		f.want(e, "SELECT group_concat("+c+") FROM (SELECT * FROM patient ORDER BY id)", "12,22,captured before")
	}
	f.converged(f.new, f.old)
}

func TestEvolve_ColumnRenamedAtAnEdgeFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.new.File, "UPDATE patient SET fax='10' WHERE id='a'; ALTER TABLE patient RENAME COLUMN fax TO telefax; UPDATE patient SET telefax='11' WHERE id='a'")
	sh(t, f.old.File, "UPDATE patient SET fax='22' WHERE id='b'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(fax) FROM (SELECT * FROM patient ORDER BY id)", "11,22")
	f.want(f.new, "SELECT group_concat(telefax) FROM (SELECT * FROM patient ORDER BY id)", "11,22")
	f.converged(f.new, f.old)
	sh(t, f.new.File, "UPDATE patient SET telefax='12' WHERE id='a'") // on its way while the hub follows
	f.rules("tables:\n  patient: {scope: all, columns: {telefax: {was: [fax]}}}\n  visit: {scope: all}\n", "ALTER TABLE patient RENAME COLUMN fax TO telefax")
	sh(t, f.old.File, "UPDATE patient SET fax='23' WHERE id='b'")
	f.round()
	f.want(f.new, "SELECT group_concat(telefax) FROM (SELECT * FROM patient ORDER BY id)", "12,23")
	f.want(f.old, "SELECT group_concat(fax) FROM (SELECT * FROM patient ORDER BY id)", "12,23")
	f.converged(f.new, f.old)
}

// A rebuild tells nothing of names: tidemark.yaml does, also when the hub comes last.
func TestEvolve_ColumnRenamedByARebuildAtAnEdge(t *testing.T) {
	f := newFleet(t)
	f.rules("tables:\n  patient: {scope: all, columns: {fax: {was: [telefax]}}}\n  visit: {scope: all}\n", "")
	f.round()
	f.migrate(f.new, `CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, telefax TEXT, name TEXT, age INTEGER); INSERT INTO n SELECT id, fax, name, age FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient; UPDATE patient SET telefax='99' WHERE id='c'`)
	sh(t, f.old.File, "UPDATE patient SET fax='22' WHERE id='b'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(fax) FROM (SELECT * FROM patient ORDER BY id)", "1,22,99")
	f.converged(f.new, f.old)
}

func TestEvolve_ColumnDroppedAtAnEdgeFirst(t *testing.T) {
	f := newFleet(t)
	f.migrate(f.new, "ALTER TABLE patient DROP COLUMN fax")
	sh(t, f.new.File, "UPDATE patient SET name='Ann' WHERE id='a'; INSERT INTO patient VALUES('d','dan',9)")
	sh(t, f.old.File, "UPDATE patient SET fax='22' WHERE id='b'")
	f.round()
	f.want(f.old, "SELECT group_concat(name||coalesce(fax,'-')) FROM (SELECT * FROM patient ORDER BY id)", "Ann1,bob22,cy-,dan-")
	f.converged(f.new, f.old)
}

func TestEvolve_ColumnDroppedAtTheHubFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.old.File, "UPDATE patient SET fax='22', name='Bob' WHERE id='b'") // captured before anybody knew
	f.rules("tables:\n  patient: {scope: all, dropped: [fax]}\n  visit: {scope: all}\n", `BEGIN;
		CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, age INTEGER); INSERT INTO n SELECT id, name, age FROM patient; DROP TABLE patient; ALTER TABLE n RENAME TO patient; COMMIT`)
	f.migrate(f.new, "ALTER TABLE patient DROP COLUMN fax")
	f.round()
	f.want(atTheHub, "SELECT name FROM patient WHERE id='b'", "Bob")
	f.want(f.new, "SELECT name FROM patient WHERE id='b'", "Bob")
	sh(t, f.old.File, "UPDATE patient SET fax='23', name='BOB' WHERE id='b'")
	f.round()
	f.want(f.new, "SELECT name FROM patient WHERE id='b'", "BOB")
	f.converged(f.new, f.old)
}

func TestEvolve_TableAdded(t *testing.T) {
	f := newFleet(t)
	const ddl = "CREATE TABLE drug(id TEXT PRIMARY KEY NOT NULL, name TEXT);"
	f.migrate(f.new, ddl+"INSERT INTO drug VALUES('d1','here'),('d2','both here')")
	f.round()
	f.rules(clinicYAML+"  drug: {scope: all}\n", ddl+"INSERT INTO drug VALUES('d2','both hub'),('d3','hub')")
	f.round()
	f.want(atTheHub, "SELECT group_concat(name) FROM (SELECT * FROM drug ORDER BY id)", "here,both hub,hub")
	f.want(f.old, "SELECT group_concat(name) FROM (SELECT * FROM drug ORDER BY id)", "here,both hub,hub")
	f.want(f.new, "SELECT count(*) FROM _tidemark_rescue", "1") // d2 as it stood here
	f.converged(f.new, f.old)
}

func TestEvolve_TableRenamedAtTheHubFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.old.File, "UPDATE visit SET note='pending' WHERE id='v2'")
	f.rules("tables:\n  patient: {scope: all}\n  consult: {scope: all, was: [visit]}\n", "ALTER TABLE visit RENAME TO consult")
	sh(t, f.new.File, "INSERT INTO visit VALUES('v3','c','new')")
	f.round()
	f.want(atTheHub, "SELECT group_concat(note) FROM (SELECT * FROM consult ORDER BY id)", "x,pending,new")
	f.migrate(f.new, "ALTER TABLE visit RENAME TO consult")
	sh(t, f.new.File, "UPDATE consult SET note='X' WHERE id='v1'")
	f.round()
	f.want(f.old, "SELECT group_concat(note) FROM (SELECT * FROM visit ORDER BY id)", "X,pending,new")
	f.converged(f.new, f.old)
}

func TestEvolve_TableRenamedAtAnEdgeFirst(t *testing.T) {
	f := newFleet(t)
	sh(t, f.new.File, "ALTER TABLE visit RENAME TO consult; UPDATE consult SET note='X' WHERE id='v1'")
	sh(t, f.old.File, "UPDATE visit SET note='Y' WHERE id='v2'")
	f.round()
	f.want(f.new, "SELECT group_concat(note) FROM (SELECT * FROM consult ORDER BY id)", "X,Y")
	f.want(atTheHub, "SELECT group_concat(note) FROM (SELECT * FROM visit ORDER BY id)", "X,Y")
	f.converged(f.new, f.old)
}

func TestEvolve_TableDroppedAtAnEdgeFirst(t *testing.T) {
	f := newFleet(t)
	f.migrate(f.new, "DROP TABLE visit")
	sh(t, f.old.File, "INSERT INTO visit VALUES('v3','c','z'); UPDATE patient SET name='Ann' WHERE id='a'")
	f.round()
	f.want(f.new, "SELECT name FROM patient WHERE id='a'", "Ann")
	f.want(atTheHub, "SELECT count(*) FROM visit", "3")
	f.migrate(f.new, "CREATE TABLE visit(id TEXT PRIMARY KEY NOT NULL, patient_id TEXT NOT NULL REFERENCES patient, note TEXT)") // after all
	f.round()
	f.want(f.new, "SELECT count(*) FROM visit", "3")
	f.converged(f.new, f.old)
}

func TestEvolve_TableDroppedAtTheHubFirst(t *testing.T) {
	f := newFleet(t)
	f.rules("tables:\n  patient: {scope: all}\n", "DROP TABLE visit")
	f.round()
	sh(t, f.old.File, "INSERT INTO visit VALUES('v3','c','z'); UPDATE patient SET name='Ann' WHERE id='a'")
	f.round()
	f.want(f.new, "SELECT name FROM patient WHERE id='a'", "Ann")
	f.want(f.old, "SELECT count(*) FROM visit", "3")
	sh(t, f.hub.Dir().DB(), "DELETE FROM patient WHERE id='c'") // a row of the table given up points at it
	f.round()
	f.want(f.old, "SELECT count(*) FROM patient WHERE id='c'", "0")
	f.want(f.old, "SELECT count(*) FROM visit WHERE patient_id='c'", "1")
	f.converged(f.new, f.old)
}

// Values travel as they are, and each column makes of them what its type says.
func TestEvolve_TypeChangedOnOneSide(t *testing.T) {
	f := newFleet(t)
	f.migrate(f.new, `CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax INTEGER, age TEXT); INSERT INTO n SELECT id, name, fax, age FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient`)
	if s, err := Waiting(context.Background(), f.new); err != nil || len(s) != 0 {
		t.Fatalf("the same values in another type are no change: %+v, %v", s, err)
	}
	sh(t, f.new.File, "UPDATE patient SET age='31' WHERE id='a'; UPDATE patient SET fax=77 WHERE id='b'")
	sh(t, f.old.File, "UPDATE patient SET age=51, fax='033' WHERE id='c'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(quote(fax)||quote(age)) FROM (SELECT * FROM patient ORDER BY id)", "'1'31,'77'40,'033'51")
	f.want(f.new, "SELECT group_concat(quote(fax)||quote(age)) FROM (SELECT * FROM patient ORDER BY id)", "1'31',77'40',33'51'")
	f.converged(f.new, f.old)
	f.migrate(f.new, `CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax TEXT, age INTEGER); INSERT INTO n SELECT id, name, fax, age FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient`)
	f.round()
	f.converged(f.new, f.old)
}

// The plain shell does it, there and back: what the type made of a value is not taken
// for anybody's work.
func TestEvolve_TypeChangedAndBackByTheShell(t *testing.T) {
	f := newFleet(t)
	sh(t, f.new.File, `BEGIN; CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax INTEGER, age INTEGER); INSERT INTO n SELECT * FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient; COMMIT; UPDATE patient SET fax=5 WHERE id='a'`)
	sh(t, f.old.File, "UPDATE patient SET fax='033' WHERE id='c'")
	f.round()
	f.want(f.new, "SELECT group_concat(quote(fax)) FROM (SELECT * FROM patient ORDER BY id)", "5,2,33")
	f.converged(f.new, f.old)
	sh(t, f.new.File, `BEGIN; CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax TEXT, age INTEGER); INSERT INTO n SELECT * FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient; COMMIT; UPDATE patient SET fax='06' WHERE id='a'`)
	f.round()
	f.want(atTheHub, "SELECT group_concat(quote(fax)) FROM (SELECT * FROM patient ORDER BY id)", "'06','2','033'")
	f.want(f.new, "SELECT group_concat(quote(fax)) FROM (SELECT * FROM patient ORDER BY id)", "'06','2','033'")
	f.converged(f.new, f.old)
}

// The hub changes a type: files with the old one go on.
func TestEvolve_TypeChangedAtTheHub(t *testing.T) {
	f := newFleet(t)
	f.rules(clinicYAML, `BEGIN; CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, fax TEXT, age TEXT); INSERT INTO n SELECT * FROM patient;
		DROP TABLE patient; ALTER TABLE n RENAME TO patient; COMMIT`)
	sh(t, f.old.File, "UPDATE patient SET age=41 WHERE id='b'")
	f.round()
	f.want(atTheHub, "SELECT group_concat(quote(age)) FROM (SELECT * FROM patient ORDER BY id)", "'30','41','50'")
	f.want(f.new, "SELECT group_concat(quote(age)) FROM (SELECT * FROM patient ORDER BY id)", "30,41,50")
	f.converged(f.new, f.old)
}

// The plain shell, behind the agent's back, and work in between: nothing is lost.
func TestTrapS12_ShellBehindTheAgentsBack(t *testing.T) {
	f := newFleet(t)
	a := f.agent(f.new)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	sh(t, f.new.File, "ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET name='one' WHERE id='a'")
	reads(t, f.hub.Dir().DB(), "SELECT name FROM patient WHERE id='a'", "one")
	sh(t, f.hub.Dir().DB(), "ALTER TABLE patient ADD COLUMN email TEXT")
	sh(t, f.new.File, "UPDATE patient SET email='two' WHERE id='a'")
	reads(t, f.hub.Dir().DB(), "SELECT email FROM patient WHERE id='a'", "two")
	sh(t, f.new.File, "ALTER TABLE patient RENAME COLUMN fax TO telefax; UPDATE patient SET telefax='three' WHERE id='a'")
	reads(t, f.hub.Dir().DB(), "SELECT fax FROM patient WHERE id='a'", "three")
	sh(t, f.new.File, `BEGIN; CREATE TABLE n(id TEXT PRIMARY KEY NOT NULL, name TEXT, telefax TEXT, email TEXT, age INTEGER);
		INSERT INTO n SELECT id, name, telefax, email, age FROM patient; DROP TABLE patient; ALTER TABLE n RENAME TO patient; COMMIT;
		UPDATE patient SET name='unseen' WHERE id='b'; DELETE FROM patient WHERE id='c'; INSERT INTO patient(id,name) VALUES('d','born unseen')`)
	reads(t, f.hub.Dir().DB(), "SELECT group_concat(name) FROM (SELECT * FROM patient ORDER BY id)", "one,unseen,born unseen")
	if _, err := Migrate(context.Background(), MigrateConfig{Edge: f.new, Scripts: []string{"-"}, Input: strings.NewReader("ALTER TABLE patient DROP COLUMN age; UPDATE patient SET name='five' WHERE id='a'")}); err != nil {
		t.Fatal(err) // beside the agent
	}
	reads(t, f.hub.Dir().DB(), "SELECT name FROM patient WHERE id='a'", "five")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	f.round()
	f.converged(f.new, f.old)
}
