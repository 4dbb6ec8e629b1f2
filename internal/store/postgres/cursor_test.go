package postgresstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := moment{max: rapid.Uint64Range(1, 1<<40).Draw(t, "max"), pos: rapid.Int64Range(0, 1<<40).Draw(t, "pos"), nonce: rapid.Int64Range(0, 1<<53).Draw(t, "nonce")}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			m.open = append(m.open, rapid.Uint64Range(0, m.max-1).Draw(t, "open"))
		}
		got, err := readToken(m.token())
		if err != nil || got.token() != m.token() || !got.covers(&m) || !m.covers(&got) {
			t.Fatalf("%s came back as %s: %v", m.token(), got.token(), err)
		}
	})
	for _, bad := range []string{"", "1", "1.2", "x.1.1", "5.-1.1", "5.1.1.", "5.1.1.9", "5.1.1.1.1", "5.1.1.z"} {
		if _, err := readToken(bad); !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

// covers is what it says, told number by number.
func TestCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) *moment {
			m := &moment{max: rapid.Uint64Range(0, 8).Draw(t, name)}
			for x := uint64(0); x+1 < m.max; x++ { // the last one is always shown
				if rapid.Bool().Draw(t, name) {
					m.open = append(m.open, x)
				}
			}
			return m
		}
		shows := func(m *moment, x uint64) bool {
			for _, o := range m.open {
				if o == x {
					return false
				}
			}
			return x < m.max
		}
		a, b := draw("a"), draw("b")
		want := true
		for x := uint64(0); x < 9; x++ {
			want = want && (shows(a, x) || !shows(b, x))
		}
		if got := a.covers(b); got != want {
			t.Fatalf("%v covers %v: %v", a, b, got)
		}
	})
}

// A writer that began earlier and commits later is in nobody's past (trap P1), and one
// that stays open holds nobody up (trap P4).
func TestTrapP4_OpenWriterHoldsNobodyUp(t *testing.T) {
	s, dsn := shop(t, family)
	slow := connect(t, dsn)
	for _, q := range []string{"BEGIN", `UPDATE customer SET name = 'slow' WHERE id = 'c1'`} {
		if _, err := slow.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	c := at(t, s)
	psql(t, dsn, `UPDATE invoice SET total = 9 WHERE id = 1`)
	expect(t, "the quick one is seen", since(t, s, c, edgeA, "region/north"), "invoice 1")
	c = at(t, s)
	if !strings.Contains(c.Token, ".") || len(strings.Split(c.Token, ".")) != 4 {
		t.Errorf("the cursor %s does not name the open transaction", c.Token)
	}
	if _, err := slow.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	expect(t, "the slow one later", since(t, s, c, edgeA, "region/north"), "customer 'c1'")
	expect(t, "and once", since(t, s, at(t, s), edgeA, "region/north"), "")
}

// A cursor from a future that a restore undid is noticed, also after the log grew
// beyond it again.
func TestPutBackAndGrownAgain(t *testing.T) {
	s, dsn := shop(t, family)
	psql(t, dsn, `UPDATE customer SET name = 'x'`)
	c := at(t, s)
	psql(t, dsn, `DELETE FROM tidemark.log WHERE xid = (SELECT max(xid) FROM tidemark.log); UPDATE customer SET name = 'y'`)
	view1(t, s, func(v hub.View) error {
		if err := v.Check(c); !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("a cursor of what is gone: %v", err)
		}
		return nil
	})
}

// Another cluster counts transactions anew: a new life begins, and all read anew.
func TestTrapP10_AnotherCluster(t *testing.T) {
	s, dsn := shop(t, family)
	psql(t, dsn, `UPDATE customer SET name = 'x'`)
	old, epoch := at(t, s), s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	psql(t, dsn, `UPDATE tidemark.meta SET value = '4711' WHERE key = 'system'`)
	s = serve(t, Config{DSN: dsn, Rules: shopRules()})
	if s.Epoch() == epoch {
		t.Error("the old life goes on")
	}
	view1(t, s, func(v hub.View) error {
		list, err := v.Lineage()
		if len(list) != 2 || list[1].Mode != change.Restored || list[1].Fork.Epoch != epoch {
			t.Errorf("lineage %+v", list)
		}
		for _, c := range []change.Cursor{old, {}} {
			if err := v.Check(c); !errors.Is(err, hub.ErrBelowFloor) {
				t.Errorf("cursor %s: %v", c, err)
			}
		}
		return err
	})
	c := at(t, s)
	psql(t, dsn, `UPDATE customer SET name = 'y' WHERE id = 'c1'`)
	expect(t, "it goes on", since(t, s, c, edgeA, "region/north"), "customer 'c1'")
}

// The delta's condition is two ranges of an index, whatever the log holds besides.
func TestDeltaReadsAnIndex(t *testing.T) {
	s, dsn := shop(t, family)
	psql(t, dsn, `INSERT INTO tidemark.log (tbl, op, mask, origin, hlc, scope, key) SELECT 1, 2, 0, 0, 0, 'region/' || i % 50, ARRAY[i::text] FROM generate_series(1, 20000) i; ANALYZE tidemark.log`)
	m := moment{max: 1 << 40, open: []uint64{7, 9}}
	tb, err := s.plan.Load().table("customer")
	if err != nil {
		t.Fatal(err)
	}
	var a args
	q := tb.deltaSQL(&m, ledger.Nobody, []rule.ScopeID{"region/7"}, &a)
	out := ""
	c := connect(t, dsn)
	err = query(t.Context(), c, "EXPLAIN "+q, func(r *row) error { out += r.text(0) + "\n"; return nil }, a.list...)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "Seq Scan on "+time.Now().UTC().Format("log_20060102")) || !strings.Contains(out, "scope_xid") {
		t.Errorf("the delta reads more than it must:\n%s", out)
	}
}

// What is below the floor is hidden at once, and goes as whole days.
func TestRetentionDropsDays(t *testing.T) {
	now := clock.NewManual(time.Now())
	s, dsn := shop(t, family)
	s.cfg.Clock = now
	day := time.Now().UTC().AddDate(0, 0, -40)
	psql(t, dsn, `CREATE TABLE tidemark.`+day.Format("log_20060102")+` PARTITION OF tidemark.log FOR VALUES FROM ('`+day.Format("2006-01-02")+`') TO ('`+day.AddDate(0, 0, 1).Format("2006-01-02")+`');
		INSERT INTO tidemark.log (at, tbl, op, mask, origin, hlc, scope, key) VALUES ('`+day.Format(time.DateOnly)+` 12:00Z', 1, 2, 0, 0, 0, 'region/north', '{c1}'),
			('2001-01-01', 1, 2, 0, 0, 0, 'region/north', '{c1}')`)
	days := func() string {
		return psql(t, dsn, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'tidemark.log'::regclass`)
	}
	before := days()
	for range 3 {
		if _, err := s.Prune(t.Context(), now.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		expect(t, "what was just hidden stays for those who read", days(), before)
		view1(t, s, func(v hub.View) error {
			list, err := v.Touched("customer", change.Key{change.Text("c1")}, change.Cursor{}, change.Incarnation{})
			if len(list) != 0 {
				t.Errorf("below the floor there is %v", list)
			}
			return err
		})
	}
	now.Advance(time.Hour)
	if _, err := s.Prune(t.Context(), now.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(t, "the old day", psql(t, dsn, `SELECT count(*) FROM pg_class WHERE relname = '`+day.Format("log_20060102")+`'`), "0")
	expect(t, "nor in the default partition", psql(t, dsn, `SELECT count(*) FROM tidemark.log_other`), "0")
}
