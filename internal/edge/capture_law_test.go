package edge

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// lawSchema has at least one table of every sort whose capture differs.
const lawSchema = `
CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, u TEXT UNIQUE, v, n INTEGER DEFAULT 0, w NUMERIC, x TEXT COLLATE NOCASE);
CREATE TABLE b (id INTEGER PRIMARY KEY, u TEXT COLLATE NOCASE UNIQUE, v BLOB, n INT, g AS (n+1), a TEXT REFERENCES a(id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE UNIQUE INDEX b_part ON b(n) WHERE v IS NOT NULL;
CREATE TABLE c (p, q INTEGER, v REAL, x, PRIMARY KEY (p, q), UNIQUE (x, q)) WITHOUT ROWID;
CREATE UNIQUE INDEX c_expr ON c(abs(v));
CREATE TABLE d (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, n INT DEFAULT 0, c TEXT REFERENCES a(u) ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TRIGGER d_ai AFTER INSERT ON d BEGIN UPDATE d SET n=n+1 WHERE id=NEW.id; UPDATE a SET n=n+1 WHERE id=NEW.v; END;
CREATE TRIGGER d_bu BEFORE UPDATE OF v ON d BEGIN UPDATE d SET n=n+10 WHERE id=OLD.id; INSERT OR IGNORE INTO a(id,u) VALUES (NEW.v,NEW.v); END;`

// lateTriggers are made after capture's own and so run before them.
const lateTriggers = `
CREATE TRIGGER d_ai2 AFTER INSERT ON d BEGIN UPDATE d SET v=coalesce(v,'')||'.' WHERE id=NEW.id AND length(v)<3; END;
CREATE TRIGGER a_bu AFTER UPDATE OF v ON a BEGIN UPDATE a SET n=n+1, w=NEW.v WHERE id=NEW.id; END;`

var lawTables = map[string][]string{
	"a": {"id", "u", "v", "n", "w", "x"}, "b": {"id", "u", "v", "n", "a"},
	"c": {"p", "q", "v", "x"}, "d": {"id", "v", "n", "c"},
}

// statement draws one SQL statement. Values come from a small set, so that keys
// and unique columns collide all the time.
func statement(r *rapid.T) string {
	value := rapid.SampledFrom([]string{"1", "2", "1.0", "'1'", "'a'", "'A'", "'b'", "'c'", "x'61'", "NULL", "2.5", "-1", "''", "0", "'0'"})
	or := rapid.SampledFrom([]string{"", "OR REPLACE ", "OR IGNORE ", "OR REPLACE "})
	table := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "table")
	cols := lawTables[table]
	column := rapid.SampledFrom(cols)
	where := ""
	if rapid.IntRange(0, 9).Draw(r, "all") > 0 {
		where = fmt.Sprintf(" WHERE %s %s %s", column.Draw(r, "where"), rapid.SampledFrom([]string{"=", "IS", ">"}).Draw(r, "op"), value.Draw(r, "is"))
	}
	switch rapid.IntRange(0, 9).Draw(r, "verb") {
	case 0, 1, 2, 3:
		vals := make([]string, len(cols))
		for i := range vals {
			vals[i] = value.Draw(r, "value")
		}
		tail := ""
		if table == "a" && rapid.Bool().Draw(r, "upsert") {
			return "INSERT INTO a VALUES (" + strings.Join(vals, ",") + ") ON CONFLICT (id) DO UPDATE SET v=excluded.v, u=excluded.u"
		}
		return "INSERT " + or.Draw(r, "or") + "INTO " + table + "(" + strings.Join(cols, ",") + ") VALUES (" + strings.Join(vals, ",") + ")" + tail
	case 4, 5, 6, 7:
		set := column.Draw(r, "set") + "=" + value.Draw(r, "to")
		if rapid.Bool().Draw(r, "two") {
			set += ", " + column.Draw(r, "set") + "=" + value.Draw(r, "to")
		}
		return "UPDATE " + or.Draw(r, "or") + table + " SET " + set + where
	default:
		return "DELETE FROM " + table + where
	}
}

// Replaying what was exported on a copy of the start gives the end, whatever SQL
// was written, and every operation finds its base values.
func TestCaptureLawReplay(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		c := &captured{t: t, path: filepath.Join(dir, fmt.Sprint(n, ".db"))}
		c.app = open(t, c.path)
		defer c.app.Close()
		c.exec(lawSchema)
		c.setup = setupOf(t, c.app, "a", "b", "c", "d")
		e, err := Open(config(c.path))
		if err != nil {
			r.Fatal(err)
		}
		defer e.Close()
		c.Engine = e
		for range 6 { // some content to start from
			_ = sqlite.Exec(c.app, statement(r))
		}
		for _, null := range []string{"DELETE FROM a WHERE id IS NULL", "DELETE FROM c WHERE p IS NULL"} {
			c.exec(null)
		}
		if _, err := e.Install(c.setup, deviceNo(1), InstallOptions{}); err != nil {
			r.Fatal(err)
		}
		c.start = c.content()
		if rapid.Bool().Draw(r, "late triggers") {
			c.exec(lateTriggers)
		}
		c.exec("PRAGMA foreign_keys=" + rapid.SampledFrom([]string{"ON", "OFF"}).Draw(r, "fk"))
		c.exec("PRAGMA recursive_triggers=" + rapid.SampledFrom([]string{"ON", "OFF"}).Draw(r, "recursive"))
		var log []string
		for range rapid.IntRange(1, 6).Draw(r, "transactions") {
			log = append(log, c.transaction(r)...)
			if rapid.Bool().Draw(r, "export") {
				if _, err := e.Export(); err != nil {
					r.Fatalf("export: %v\n%s", err, strings.Join(log, "\n"))
				}
				log = append(log, "-- export")
				if msg := c.replay(); msg != "" {
					r.Fatalf("%s\n%s", msg, strings.Join(log, "\n"))
				}
			}
		}
		if _, err := e.Export(); err != nil {
			r.Fatal(err)
		}
		if msg := c.replay(); msg != "" {
			r.Fatalf("%s\n%s", msg, strings.Join(log, "\n"))
		}
	})
}

// transaction runs some statements, most of which may fail, as one transaction.
func (c *captured) transaction(r *rapid.T) (log []string) {
	do := func(sql string) {
		if err := sqlite.Exec(c.app, sql); err != nil {
			sql += " -- " + err.Error()
		}
		log = append(log, sql)
	}
	do("BEGIN IMMEDIATE")
	if rapid.Bool().Draw(r, "aware") {
		do("UPDATE _tidemark_tx SET id=id+1")
	}
	for range rapid.IntRange(1, 8).Draw(r, "statements") {
		do(statement(r))
	}
	if rapid.IntRange(0, 9).Draw(r, "rollback") == 0 {
		do("ROLLBACK")
	} else {
		do("COMMIT")
	}
	return log
}
