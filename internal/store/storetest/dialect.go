package storetest

import (
	"strings"
	"testing"
)

// A Dialect is the SQL that a store's database speaks. The suite is written in
// SQLite's; see Translate.
type Dialect int

// The dialects.
const (
	SQLite Dialect = iota
	PostgreSQL
)

// onlySQLite is an aspect that means nothing elsewhere: conflict policies of the
// outer statement, REPLACE above all, are SQLite's own. On other databases the store
// has to open with the suite's schema, and nothing more.
func onlySQLite(test func(*testing.T, Open)) func(*testing.T, Open) {
	return func(t *testing.T, open Open) {
		if b := start(t, open); b.dialect != SQLite {
			t.Log("this aspect is about statements that only SQLite has")
			return
		}
		test(t, open)
	}
}

// Translate says a statement of the suite, or a few of them, in the dialect. Most
// mean the same in both.
func (d Dialect) Translate(sql string) string {
	if d == SQLite {
		return sql
	}
	if s, ok := inPostgres[sql]; ok {
		return s
	}
	for _, w := range wordsInPostgres {
		sql = strings.ReplaceAll(sql, w[0], w[1])
	}
	return sql
}

// wordsInPostgres are what statements have in common. Whoever turns foreign keys off
// there is a replica: logical replication writes so.
var wordsInPostgres = [][2]string{
	{"PRAGMA foreign_keys=OFF", "SET session_replication_role=replica"},
	{"price REAL", "price DOUBLE PRECISION"},
}

// inPostgres are the statements that only SQLite understands.
var inPostgres = map[string]string{
	// TrapS9_KeysOfAllShapes
	`CREATE TABLE "my ""odd"" table" ("the key" TEXT, "select" INTEGER, "Wert" BLOB, PRIMARY KEY ("select", "the key")) WITHOUT ROWID`:         `CREATE TABLE "my ""odd"" table" ("the key" TEXT, "select" INTEGER, "Wert" BYTEA, PRIMARY KEY ("select", "the key"))`,
	`CREATE TABLE gen (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED, c TEXT AS (a || 'x') VIRTUAL, d TEXT)`: `CREATE TABLE gen (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED, c TEXT GENERATED ALWAYS AS (a::text || 'x') STORED, d TEXT)`,
	`CREATE TABLE nocase (id TEXT PRIMARY KEY COLLATE NOCASE, v TEXT) STRICT`:                                                                  `CREATE TABLE nocase (id TEXT PRIMARY KEY, v TEXT)`,
	`CREATE TABLE three (a, b, c, d, e, PRIMARY KEY (a, b, c, d, e))`:                                                                          `CREATE TABLE three (a SMALLINT, b NUMERIC(5,1), c VARCHAR(10), d BYTEA, e TEXT, PRIMARY KEY (a, b, c, d, e))`,
	`INSERT INTO "my ""odd"" table" VALUES ('l', 2, NULL); UPDATE gen SET a=5; UPDATE nocase SET v='w' WHERE id='AB'`:                          `INSERT INTO "my ""odd"" table" VALUES ('l', 2, NULL); UPDATE gen SET a=5; UPDATE nocase SET v='w' WHERE id='Ab'`,
	// TrapS17_NocaseUpdate
	`CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT COLLATE NOCASE)`: `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT COLLATE nocase)`,
	// Constraint
	`CREATE TABLE exact (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT`: `CREATE TABLE exact (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)`,
	`CREATE TRIGGER no_zoe BEFORE INSERT ON patient WHEN NEW.name = 'Zoe' BEGIN SELECT RAISE(ROLLBACK, 'no Zoe'); END`: `CREATE FUNCTION no_zoe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no Zoe'; END $$;
		CREATE TRIGGER no_zoe BEFORE INSERT ON patient FOR EACH ROW WHEN (NEW.name = 'Zoe') EXECUTE FUNCTION no_zoe()`,
	`CREATE TRIGGER not_max BEFORE INSERT ON patient WHEN NEW.name = 'Max' BEGIN SELECT RAISE(IGNORE); END`: `CREATE FUNCTION not_max() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		CREATE TRIGGER not_max BEFORE INSERT ON patient FOR EACH ROW WHEN (NEW.name = 'Max') EXECUTE FUNCTION not_max()`,
	// TrapS23_AppTriggerAtApply
	`CREATE TRIGGER sold AFTER INSERT ON item BEGIN UPDATE OR FAIL "product" SET price = price - 1; END`: `CREATE FUNCTION sold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE "product" SET price = price - 1; RETURN NULL; END $$;
		CREATE TRIGGER sold AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION sold()`,
	`CREATE TRIGGER seen AFTER INSERT ON item BEGIN INSERT INTO audit VALUES ('item ' || NEW.id); INSERT INTO audit SELECT 'update product' WHERE 0; END`: `CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES ('item ' || NEW.id); INSERT INTO audit SELECT 'update product' WHERE false; RETURN NULL; END $$;
		CREATE TRIGGER seen AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION seen()`,
	// Highest: a typed column holds nothing else.
	`INSERT INTO patient (id, branch) VALUES ('a', 7), ('b', 70), ('c', NULL), ('d', 'zebra'), ('e', 8.5)`: `INSERT INTO patient (id, branch) VALUES ('a', 7), ('b', 70), ('c', NULL)`,
	// Refresh
	`CREATE TABLE extra (id INTEGER PRIMARY KEY, v); INSERT INTO extra VALUES (1, 'old')`: `CREATE TABLE extra (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO extra VALUES (1, 'old')`,
	// Dropped
	`PRAGMA foreign_keys=OFF; DROP TABLE visit; UPDATE product SET price=2 WHERE sku='s1'`: `DROP TABLE visit CASCADE; UPDATE product SET price=2 WHERE sku='s1'`,
	// REPLACE is a delete and an insert, which shows.
	`PRAGMA foreign_keys=OFF; INSERT OR REPLACE INTO patient VALUES ('p2', 7, 'Bob', NULL)`: `SET session_replication_role=replica; BEGIN; DELETE FROM patient WHERE id='p2'; INSERT INTO patient VALUES ('p2', 7, 'Bob', NULL); COMMIT`,
	`INSERT OR REPLACE INTO patient VALUES ('p2', 8, 'Bob', NULL)`:                          `BEGIN; DELETE FROM patient WHERE id='p2'; INSERT INTO patient VALUES ('p2', 8, 'Bob', NULL); COMMIT`,
	`INSERT OR REPLACE INTO patient VALUES ('p6', 7, 'Gil', 'same')`:                        `BEGIN; DELETE FROM patient WHERE note='same'; INSERT INTO patient VALUES ('p6', 7, 'Gil', 'same'); COMMIT`,
}
