package postgresstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// hostileTexts are what COPY's own format would trip over.
var hostileTexts = []string{"", `\N`, `\.`, "a\tb", "line\nline\r\n", `back\slash\`, "\\\t\\\n", "é😀", `"quoted", 'too'`, "{1,2}", " ", "\x01\x7f"}

// many is one device's transaction of n rows of a table with a key and all kinds of columns.
func many(n int) []hub.Effect {
	var out []hub.Effect
	for i := range n {
		s := hostileTexts[i%len(hostileTexts)]
		note := change.Text(s)
		if i%7 == 3 {
			note = change.Null
		}
		out = append(out, put1("thing", "id big small yes real half at day moment money code note short",
			change.Text(fmt.Sprintf("%s %d", s, i)), change.Int(int64(i)<<40-1), change.Int(int64(-i)), change.Bool(i%2 == 0),
			change.Float(float64(i)/3-10), change.Float(float64(float32(i)/3)), change.Text("2024-02-29 12:34:56.789"), change.Text("2024-02-29"),
			change.Text("2024-02-29 12:34:56"), change.Text(fmt.Sprintf("%d.50", i)), change.Text(fmt.Sprintf("00000000-0000-4000-8000-%012x", i)), note, change.Text(fmt.Sprint("s", i%10))))
	}
	return out
}

const thingDDL = `CREATE TABLE thing (id text PRIMARY KEY, big int8, small int2, yes bool, real float8, half float4, at timestamp, day date, moment timestamptz,
	money numeric(10,2), code uuid, note text, short varchar(3)%s)`

func things(t *testing.T, more string) (*Store, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	psql(t, dsn, fmt.Sprintf(thingDDL, more))
	s := serve(t, Config{DSN: dsn, Rules: &rule.Rules{Tables: []rule.Table{{Name: "thing", Scope: rule.Scope{All: true}}}}})
	greet(t, s)
	return s, dsn
}

// greet gives the devices their numbers, which takes a statement each the first time.
func greet(t *testing.T, s *Store) {
	t.Helper()
	err := s.Update(t.Context(), func(tx hub.Tx) error { return errors.Join(tx.As(edgeA, 1), tx.As(edgeB, 1)) })
	if err != nil {
		t.Fatal(err)
	}
}

// content is the rows and the log of thing.
func content(t *testing.T, dsn string) string {
	t.Helper()
	var out []string
	for _, q := range []string{"SELECT t::text FROM thing AS t ORDER BY id",
		"SELECT key::text || op || ' ' || mask || ' ' || hlc || scope FROM tidemark.log WHERE tbl > 0 ORDER BY key, pos"} {
		if err := query(t.Context(), connect(t, dsn), q, func(r *row) error { out = append(out, r.text(0)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(out, "\n")
}

// byCopy is a constraint that only COPY fulfils.
const byCopy = ", CHECK (current_query() LIKE 'COPY%%')"

func TestCopiedRowsAreWhatStatementsWrite(t *testing.T) {
	slow, slowDSN := things(t, "")
	fast, fastDSN := things(t, strings.ReplaceAll(byCopy, "%%", "%"))
	list := []deed{{edgeA, many(copyFrom + 60)}}
	if runs, errs := take(t, slow, list, false); runs != 1 || errors.Join(errs...) != nil {
		t.Fatalf("it ran %d times: %v", runs, errs)
	}
	if runs, errs := take(t, fast, list, true); runs != 1 || errors.Join(errs...) != nil {
		t.Fatalf("in haste it ran %d times: %v", runs, errs)
	}
	if got, want := content(t, fastDSN), content(t, slowDSN); got != want {
		t.Errorf("by COPY:\n%s\nby statements:\n%s", got, want)
	}
	if n := countOf(t, fastDSN, "tidemark.log WHERE tbl > 0 AND abs(extract(epoch FROM clock_timestamp() - at)) < 3600 AND nonce BETWEEN 0 AND 9007199254740991"); n != copyFrom+60 {
		t.Errorf("%d entries are dated and marked as the log's defaults would", n)
	}
	if n := countOf(t, fastDSN, "(SELECT DISTINCT nonce FROM tidemark.log WHERE tbl > 0) AS d"); n != copyFrom+60 {
		t.Errorf("%d different nonces", n)
	}
}

// Few rows, rows with bytes, and tables with rules go by statements.
func TestNotEverythingIsCopied(t *testing.T) {
	for name, more := range map[string]string{"": "", "bytes": ", b bytea"} {
		s, dsn := things(t, more)
		n := copyFrom + 1
		list := many(n)
		switch name {
		case "bytes":
			for i := range list {
				list[i].Columns = append(list[i].Columns, "b")
				list[i].Values = append(list[i].Values, change.Blob([]byte{0, byte(i), '\\'}))
			}
		default:
			psql(t, dsn, "CREATE RULE never AS ON INSERT TO thing WHERE new.note = 'never' DO INSTEAD NOTHING")
		}
		if runs, errs := take(t, s, []deed{{edgeA, list}}, true); runs != 1 || errors.Join(errs...) != nil {
			t.Errorf("%s: it ran %d times: %v", name, runs, errs)
		}
		psql(t, dsn, "DELETE FROM thing; ALTER TABLE thing ADD CHECK (current_query() NOT LIKE 'COPY%')")
		if runs, errs := take(t, s, []deed{{edgeB, list}}, true); runs != 1 || errors.Join(errs...) != nil {
			t.Errorf("%s: with rows that COPY must not write it ran %d times: %v", name, runs, errs)
		}
		if got := countOf(t, dsn, "thing"); got != int64(n) {
			t.Errorf("%s: %d rows", name, got)
		}
	}
}

// manyVisits are inserts and updates of rows whose scope hangs on another's, of two devices.
func manyVisits(n int) []deed {
	var a, b deed
	a.inc, b.inc = edgeA, edgeB
	for i := range n {
		id := fmt.Sprint("v", i)
		a.list = append(a.list, visit(id, fmt.Sprint("c", 1+i%9), hostileTexts[i%len(hostileTexts)], int64(i%100)))
		b.list = append(b.list, set1("visit", change.Text(id), "note", change.Text(fmt.Sprint("now ", i%3))))
	}
	own := put1("customer", "id region name email", change.Text("new"), change.Text(`we\st`), change.Null, change.Null)
	a.list = append(a.list, own, visit("last", "new", "", 1), set1("visit", change.Text("last"), "note", change.Text("x")))
	return []deed{a, b}
}

// The scopes of rows are known here where their parents were read ahead, and are looked up
// where they were not; the log is the same.
func TestCopiedLogKnowsScopes(t *testing.T) {
	slow, slowDSN := visits(t)
	list := manyVisits(copyFrom)
	take(t, slow, list, false)
	want := entries(t, slowDSN)
	for name, forget := range map[string]bool{"known": false, "looked up": true} {
		fast, fastDSN := visits(t)
		greet(t, fast)
		runs := 0
		err := fast.Update(t.Context(), func(x hub.Tx) error {
			tx := x.(*txOf)
			runs++
			if err := tx.Foresee(&hub.Ahead{Txs: asTransactions(list)}); err != nil {
				return err
			}
			for i, d := range list {
				err := tx.Savepoint(func() error {
					err := tx.As(d.inc, change.NewHLC(int64(1000+i), 0))
					for _, e := range d.list {
						err = errors.Join(err, tx.Write(e))
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			if forget {
				clear(tx.seen.rows)
			}
			return nil
		})
		if err != nil || runs != 1 {
			t.Fatalf("%s: it ran %d times: %v", name, runs, err)
		}
		if got := entries(t, fastDSN); got != want {
			t.Errorf("%s:\n%s\nwith triggers:\n%s", name, got, want)
		}
		copied := countOf(t, fastDSN, "(SELECT FROM tidemark.log WHERE tbl > 0 GROUP BY at HAVING count(*) > 1) AS same") > 0
		if copied == forget {
			t.Errorf("%s: by COPY: %v", name, copied)
		}
	}
}

// One row that does not fit is its transaction's own affair, among many that are copied.
func TestCopyIsUndoneWhereTheDatabaseRefuses(t *testing.T) {
	slow, slowDSN := visits(t)
	fast, fastDSN := visits(t)
	greet(t, fast)
	list := append(manyVisits(copyFrom), deed{edgeA, []hub.Effect{visit("bad", "c1", "", 100), visit("fine", "c1", "", 1)}})
	take(t, slow, list, false)
	runs, errs := take(t, fast, list, true)
	if runs != 2 || len(errs) != 3 || errs[2] == nil || errors.Join(errs[:2]...) != nil {
		t.Errorf("it ran %d times: %v", runs, errs)
	}
	if got, want := entries(t, fastDSN), entries(t, slowDSN); got != want {
		t.Errorf("in haste:\n%s\nwith triggers:\n%s", got, want)
	}
}
