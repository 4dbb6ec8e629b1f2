package postgresstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// sample is the path of a form of the Chinook sample database: in TIDEMARK_CHINOOK's
// directory, or beside the checkout.
func sample(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "..", "shared", "data")
	if path := os.Getenv("TIDEMARK_CHINOOK"); path != "" {
		dir = filepath.Dir(path)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is absent: set TIDEMARK_CHINOOK to the sample database beside it (%v)", name, err)
	}
	return path
}

// everything is rules under which all of some tables goes everywhere.
func everything(names []string) *rule.Rules {
	r := &rule.Rules{}
	for _, n := range names {
		r.Tables = append(r.Tables, rule.Table{Name: n, Scope: rule.Scope{All: true}})
	}
	return r
}

// held is all rows of a store, by table and key, as edges get them.
func held(t *testing.T, s *Store) map[string]map[string][]change.Value {
	t.Helper()
	out := map[string]map[string][]change.Value{}
	err := s.View(t.Context(), func(v hub.View) error {
		for _, tab := range s.Schema().Tables {
			rows := map[string][]change.Value{}
			out[tab.Name] = rows
			for after := change.Key(nil); ; {
				got, next, err := v.Scan(tab.Name, after, []rule.ScopeID{rule.ScopeAll}, 1<<18)
				if err != nil {
					return err
				}
				for i := range got.Len() {
					rows[got.KeyOf(i).String()] = got.Row(i)
				}
				if after = next; next == nil {
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A database nobody here wrote, imported: what edges get is what the file holds, to
// the last bit.
func TestChinookImportedFromSQLite(t *testing.T) {
	file, err := sqlite.Open(sample(t, "Chinook_Sqlite.sqlite"), sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	names, _, err := sqlite.TableNames(file)
	if err != nil {
		t.Fatal(err)
	}
	src := Source{}
	if src.Schema, err = sqlite.Describe(file, names); err != nil {
		t.Fatal(err)
	}
	err = sqlite.Query(file, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid`, func(s *sqlite.Stmt) error {
		src.DDL = append(src.DDL, s.ColumnText(0))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.Database(t)
	notes, err := Create(t.Context(), dsn, src)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		if !strings.Contains(n.Text, "SQLite keeps NUMERIC(10,2)") {
			t.Errorf("%s", n)
		}
	}
	want := map[string]map[string][]change.Value{}
	rows, err := Load(t.Context(), dsn, names, func(table string, columns []string, emit func([]change.Value) error) error {
		tab := src.Schema.Table(table)
		want[table] = map[string][]change.Value{}
		return sqlite.Query(file, "SELECT "+sqlite.QuoteAll("", columns)+" FROM "+sqlite.Quote(table), func(s *sqlite.Stmt) error {
			row := make([]change.Value, len(columns))
			for i := range row {
				row[i] = sqlite.Column(s, i)
			}
			want[table][keyOf(tab, row).String()] = row
			return emit(row)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{DSN: dsn, Rules: everything(names)})
	hubs := s.Schema()
	if hubs.Hash() != src.Schema.Hash() {
		t.Error("the hub's schema is not the file's")
	}
	ddl, err := s.DDL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if edge := edgeSchema(t, ddl, names...); (&edge).Hash() != src.Schema.Hash() {
		t.Error("edges do not get the file's tables")
	}
	got := held(t, s)
	compared := int64(0)
	for table, list := range want {
		if len(got[table]) != len(list) {
			t.Errorf("%s: %d rows, want %d", table, len(got[table]), len(list))
		}
		for key, row := range list {
			compared++
			for i, v := range row {
				if g := got[table][key]; g == nil || g[i] != v {
					t.Fatalf("%s %s, column %d: %v, want %s", table, key, i, g, v)
				}
			}
		}
	}
	if compared != rows || rows < 15000 {
		t.Errorf("%d rows compared, %d loaded", compared, rows)
	}
}

func keyOf(t *change.Table, row []change.Value) (out change.Key) {
	for _, k := range t.Key {
		out = append(out, row[k])
	}
	return out
}

// The same database in its PostgreSQL form, as somebody keeps it: adopted as it is.
func TestChinookAdopted(t *testing.T) {
	dsn := pgtest.Database(t)
	b, err := os.ReadFile(sample(t, "Chinook_PostgreSql.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var sql []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "DROP DATABASE") && !strings.HasPrefix(line, "CREATE DATABASE") && !strings.HasPrefix(line, `\c`) {
			sql = append(sql, line)
		}
	}
	psql(t, dsn, strings.Join(sql, ""))
	found, err := Survey(t.Context(), dsn, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 11 {
		t.Fatalf("%d tables", len(found))
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Table.Name)
		if len(f.Refused) > 0 || len(f.Notes) > 0 {
			t.Errorf("table %s: refused %q, notes %q", f.Table.Name, f.Refused, f.Notes)
		}
	}
	s := serve(t, Config{DSN: dsn, Rules: everything(names)})
	ddl, err := s.DDL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	edge := edgeSchema(t, ddl, names...)
	hubs := s.Schema()
	if edge.Hash() != hubs.Hash() {
		t.Error("edges get other tables")
	}
	all := held(t, s)
	var rows, exact int
	for table, list := range all {
		rows += len(list)
		tab := hubs.Table(table)
		for _, row := range list {
			for i, v := range row { // an SQLite file will hold what is sent
				if tab.Affinity(i).Store(v) != v {
					t.Fatalf("%s: an edge would keep %s as %s", table, v, tab.Affinity(i).Store(v))
				}
				if strings.HasPrefix(v.Str(), "0.99") {
					exact++
				}
			}
		}
	}
	if rows < 15000 || exact < 2000 {
		t.Errorf("%d rows, %d prices", rows, exact)
	}
	// psql writes, and it is in the next pull; nothing of the table is ours but triggers.
	cursor := (&experiment{t: t, dsn: dsn}).cursor(s)
	psql(t, dsn, `UPDATE track SET unit_price = unit_price + 0.1 WHERE track_id = 1; DELETE FROM playlist_track WHERE playlist_id = 1 AND track_id < 10;
		INSERT INTO artist VALUES (9001, 'Die Ärzte''s "Band"')`)
	got := map[string]int{}
	err = s.View(t.Context(), func(v hub.View) error {
		return v.Delta(cursor, change.Incarnation{9}, []rule.ScopeID{rule.ScopeAll}, 1<<20, func(r *change.Rows) error {
			got[r.Table] += r.Len()
			got["-"+r.Table] += r.GoneLen()
			return nil
		})
	})
	if err != nil || got["track"] != 1 || got["artist"] != 1 || got["-playlist_track"] < 5 {
		t.Errorf("the pull: %v, %v", got, err)
	}
	if n := countOf(t, dsn, `pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'track' AND a.attnum > 0`); n != 9 {
		t.Errorf("track has %d columns", n)
	}
}

func TestLoadIsAllOrNone(t *testing.T) {
	dsn := pgtest.Database(t)
	schema := edgeSchema(t, []string{`CREATE TABLE a (id INTEGER PRIMARY KEY, v INT, up INT REFERENCES a(id), r REAL, b BLOB, t TEXT)`}, "a")
	if _, err := Create(t.Context(), dsn, Source{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	feed := func(rows ...[]change.Value) Feed {
		return func(_ string, _ []string, emit func([]change.Value) error) error {
			for _, r := range rows {
				if err := emit(r); err != nil {
					return err
				}
			}
			return nil
		}
	}
	i, null := change.Int, change.Null
	good := []change.Value{i(1), null, i(2), change.Float(0.5), change.Blob([]byte{1}), change.Text("x")}
	parent := []change.Value{i(2), i(1 << 60), null, null, null, null}
	var rule *hub.ConstraintError
	_, err := Load(t.Context(), dsn, []string{"a"}, feed(parent, []change.Value{i(3), change.Text("abc"), null, null, null, null}))
	if !errors.As(err, &rule) || rule.Kind != "type" || rule.Table != "a" {
		t.Errorf("a text among the integers: %v", err)
	}
	if _, err := Load(t.Context(), dsn, []string{"a"}, feed(parent, parent)); !errors.As(err, &rule) || rule.Kind != "unique" {
		t.Errorf("one key twice: %v", err)
	}
	if _, err := Load(t.Context(), dsn, []string{"a"}, feed(good)); err == nil {
		t.Error("a foreign key that points nowhere")
	}
	if _, err := Load(t.Context(), dsn, []string{"a"}, feed(good[:2])); err == nil {
		t.Error("a row of two values")
	}
	run(t, connect(t, dsn), "CREATE TABLE keyless (v int)")
	if _, err := Load(t.Context(), dsn, []string{"keyless"}, feed()); err == nil {
		t.Error("a table that cannot sync")
	}
	if n := countOf(t, dsn, "a"); n != 0 {
		t.Fatalf("%d rows were left behind", n)
	}
	many := [][]change.Value{good} // and what it points at comes last, in another lot
	for n := range int64(loadRows) {
		many = append(many, []change.Value{i(10 + n), null, i(1), null, null, null})
	}
	many = append(many, parent)
	if n, err := Load(t.Context(), dsn, []string{"a"}, feed(many...)); err != nil || n != loadRows+2 {
		t.Errorf("%d rows, %v", n, err)
	}
	if n := countOf(t, dsn, "a WHERE b = '\\x01' AND r = 0.5 AND t = 'x' AND up = 2 AND v IS NULL"); n != 1 {
		t.Error("the values were mixed up")
	}
}
