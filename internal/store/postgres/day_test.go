package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// ago is the partition of a day before today.
func ago(n int) string { return time.Now().UTC().AddDate(0, 0, -n).Format(dayName) }

// past gives the log n days before today, in each of which c1 was changed once, and
// returns the cursors at the end of each, the oldest first.
func past(t *testing.T, s *Store, dsn string, n int) (list []change.Cursor) {
	t.Helper()
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for i := n; i > 0; i-- {
		from := today.AddDate(0, 0, -i)
		psql(t, dsn, `CREATE TABLE tidemark.`+from.Format(dayName)+` PARTITION OF tidemark.log FOR VALUES FROM ('`+from.Format(time.RFC3339)+`') TO ('`+from.AddDate(0, 0, 1).Format(time.RFC3339)+`');
			`+logged(from.Add(12*time.Hour)))
		list = append(list, at(t, s))
	}
	return list
}

// logged is a statement that logs a change of c1 at a time.
func logged(at time.Time) string {
	return `INSERT INTO tidemark.log (at, tbl, op, mask, origin, hlc, scope, key) VALUES ('` + at.Format(time.RFC3339) + `', (SELECT id FROM tidemark.tbl WHERE name = 'customer'), 2, 0, 0, 0, 'region/north', '{c1}')`
}

// touches is how many changes of c1 a store knows of since a cursor.
func touches(t *testing.T, s *Store, since change.Cursor) (n int) {
	t.Helper()
	view1(t, s, func(v hub.View) error {
		list, err := v.Touched("customer", change.Key{change.Text("c1")}, since, change.Incarnation{})
		n = len(list)
		return err
	})
	return n
}

// look explains a query of a view, and returns the days of the log that it opens.
func look(t *testing.T, s *Store, build func(v *view, a *args) string) string {
	t.Helper()
	var found []string
	view1(t, s, func(hv hub.View) error {
		v := hv.(*view)
		var a args
		q := build(v, &a)
		return query(t.Context(), v.c, "EXPLAIN (COSTS OFF) "+q, func(r *row) error {
			for _, word := range strings.Fields(r.text(0)) {
				if word = strings.Trim(word, `"`); strings.HasPrefix(word, "log_2") && len(word) == len(dayName) && word <= ago(0) {
					found = append(found, word)
				}
			}
			return nil
		}, a.list...)
	})
	return strings.Join(found, " ")
}

func tend(t *testing.T, s *Store) {
	t.Helper()
	err := s.onLoan(t.Context(), func(c *pgx.Conn) error { return s.tend(t.Context(), c) })
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever looks for changes since a cursor looks into the days since then, and whoever asks
// for the newest entry into the present one.
func TestDays_ReadersLookOnlyWhereTheyMust(t *testing.T) {
	s, dsn := shop(t, family)
	list := past(t, s, dsn, 9)
	psql(t, dsn, `UPDATE customer SET name = 'x' WHERE id = 'c1'`)
	since := func(c change.Cursor) func(*view, *args) string {
		return func(v *view, a *args) string {
			m, err := v.check(c)
			if err != nil {
				t.Fatal(err)
			}
			return "SELECT l.op FROM tidemark.log AS l WHERE " + ofRow("l.", "1", "'{c1}'::text[]") + " AND " + m.beyond("l.", a)
		}
	}
	entries := func(v *view, a *args) string {
		m, err := v.check(list[8])
		if err != nil {
			t.Fatal(err)
		}
		return "SELECT * FROM " + m.entries("scope = ANY('{region/north}') AND ", a) + " AS l"
	}
	newest := func(v *view, a *args) string {
		m := moment{from: v.sealed[len(v.sealed)-1].end}
		return momentSQL(m.since("", a))
	}
	if got := look(t, s, since(list[8])); !strings.HasPrefix(got, ago(9)) {
		t.Errorf("without seals it looks into %s", got)
	}
	cursor := at(t, s)
	tend(t, s)
	first := 1 // the days that are not sealed yet
	if time.Now().UTC().Hour() < 6 {
		first = 2
	}
	var open []string
	for i := first - 1; i >= 0; i-- {
		open = append(open, ago(i))
	}
	recent := strings.Join(open, " ")
	expect(t, "since yesterday's end", look(t, s, since(list[8])), recent)
	expect(t, "the entries", look(t, s, entries), recent)
	expect(t, "the newest", look(t, s, newest), recent)
	expect(t, "since long ago", look(t, s, since(list[4])), strings.Join([]string{ago(4), ago(3), ago(2), ago(1), ago(0)}, " "))
	for i, c := range list {
		if got := touches(t, s, c); got != 9-i {
			t.Errorf("since day %d there were %d changes, want %d", i, got, 9-i)
		}
	}
	if got := at(t, s); got != cursor {
		t.Errorf("the cursor moved from %s to %s", cursor, got)
	}
}

// A day that a transaction still writes to is not sealed, and nobody waits for that.
func TestDays_AWriterThatIsNotDone(t *testing.T) {
	s, dsn := shop(t, family)
	past(t, s, dsn, 4)
	slow := connect(t, dsn)
	run(t, slow, "BEGIN; "+logged(time.Now().UTC().AddDate(0, 0, -3)))
	c := at(t, s)
	tend(t, s)
	upto := func() string { return psql(t, dsn, `SELECT value FROM tidemark.meta WHERE key = 'seals'`) }
	if got := strings.Split(upto(), ","); len(got) != 1 {
		t.Errorf("sealed: %v", got)
	}
	run(t, slow, "COMMIT")
	tend(t, s)
	if got := strings.Split(upto(), ","); len(got) < 3 {
		t.Errorf("sealed: %v", got)
	}
	if n := touches(t, s, c); n != 1 {
		t.Errorf("%d changes of the slow writer were seen", n)
	}
}

// A clock that went back brings entries to days that were sealed: nobody goes by the
// seals until they were made anew. The same for those that have no day.
func TestDays_ALateEntryOpensThemAgain(t *testing.T) {
	s, dsn := shop(t, family)
	past(t, s, dsn, 5)
	for name, back := range map[string]int{"a sealed day": 3, "no day": 30} {
		tend(t, s)
		c := at(t, s)
		psql(t, dsn, logged(time.Now().UTC().AddDate(0, 0, -back)))
		if n := touches(t, s, c); n != 1 {
			t.Errorf("%s: %d changes were seen", name, n)
		}
		if d := at(t, s); d == c {
			t.Errorf("%s: the cursor stays", name)
		}
		expect(t, name+" is noted", psql(t, dsn, `SELECT count(*) FROM tidemark.reopened`), "1")
		tend(t, s)
		expect(t, name+" is sealed anew", psql(t, dsn, `SELECT count(*) FROM tidemark.reopened`), "0")
		view1(t, s, func(v hub.View) error {
			if len(v.(*view).sealed) == 0 {
				t.Errorf("%s: nobody goes by the seals", name)
			}
			return nil
		})
		if n := touches(t, s, c); n != 1 {
			t.Errorf("%s: sealed anew, %d changes are seen", name, n)
		}
	}
}

// Seals from the future, of a clock that was wrong, are not gone by.
func TestDays_SealsFromTheFuture(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	psql(t, dsn, fmt.Sprintf(`INSERT INTO tidemark.meta VALUES ('seals', '%d 1')`, time.Now().Add(time.Hour).Unix()))
	psql(t, dsn, `UPDATE customer SET name = 'x' WHERE id = 'c1'`)
	if n := touches(t, s, c); n != 1 {
		t.Errorf("%d changes were seen", n)
	}
	psql(t, dsn, `UPDATE tidemark.meta SET value = 'nonsense' WHERE key = 'seals'`)
	if err := s.View(t.Context(), func(hub.View) error { return nil }); err == nil {
		t.Error("seals that cannot be read are taken for none")
	}
}

// When no process ran for days there is no day for what programs write: the default
// partition takes it. Whoever comes back makes the days to come; today stays where it is.
func TestDays_CaptureGoesOnWithoutAny(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	past(t, s, dsn, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range daysAhead + 1 { // they end three days before now, as it were
		psql(t, dsn, `DROP TABLE tidemark.`+ago(-i))
	}
	psql(t, dsn, `UPDATE customer SET name = 'x' WHERE id = 'c1'`)
	s = serve(t, Config{DSN: dsn, Rules: shopRules()})
	for range 2 {
		tend(t, s)
		psql(t, dsn, `UPDATE customer SET name = name || 'x' WHERE id = 'c1'`)
	}
	expect(t, "it is known", since(t, s, c, edgeA, "region/north"), "customer 'c1'")
	if n := touches(t, s, c); n != 6 {
		t.Errorf("%d changes were seen", n)
	}
	expect(t, "today", psql(t, dsn, `SELECT to_regclass('tidemark.`+ago(0)+`') IS NULL`), "t")
	expect(t, "tomorrow", psql(t, dsn, `SELECT to_regclass('tidemark.`+ago(-1)+`') IS NULL`), "f")
	psql(t, dsn, logged(time.Now().UTC().AddDate(0, 0, 1)))
	expect(t, "is where it belongs", psql(t, dsn, `SELECT count(*) FROM tidemark.`+ago(-1)), "1")
}

// Days are made and dropped while programs write, and none waits for longer than a lock
// is waited for.
func TestDays_NobodyWaitsLong(t *testing.T) {
	now := clock.NewManual(time.Now())
	s, dsn := shop(t, family)
	s.cfg.Clock = now
	past(t, s, dsn, 3)
	old := func() string {
		return psql(t, dsn, `SELECT count(*) FROM pg_class WHERE relnamespace = 'tidemark'::regnamespace AND relkind = 'r' AND relname ~ '^log_[0-9]' AND relname < '`+ago(0)+`'`)
	}
	psql(t, dsn, `DROP TABLE tidemark.`+ago(-daysAhead))
	slow := connect(t, dsn)
	run(t, slow, "BEGIN; UPDATE customer SET name = 'slow' WHERE id = 'c2'")
	ctx, cancel := context.WithCancel(t.Context())
	longest := make(chan time.Duration)
	go func() { longest <- writeOn(ctx, dsn) }()
	prune := func() {
		t.Helper()
		if _, err := s.Prune(t.Context(), now.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		now.Advance(time.Hour)
	}
	prune()
	prune()
	expect(t, "with a transaction open, the days", old(), "3")
	expect(t, "are empty", psql(t, dsn, `SELECT count(*) FROM tidemark.log WHERE at < '`+time.Now().UTC().Format(time.DateOnly)+`Z'`), "0")
	tend(t, s)
	expect(t, "and the days to come are made", psql(t, dsn, `SELECT to_regclass('tidemark.`+ago(-daysAhead)+`') IS NULL`), "f")
	cancel()
	if d := <-longest; d > 2*time.Second { // the machine may be busy; without the bound it would be until the COMMIT
		t.Errorf("somebody waited for %v", d)
	}
	run(t, slow, "COMMIT")
	prune()
	expect(t, "with nobody in the way", old(), "0")
}

// writeOn writes until the context ends, and returns the longest that one write took.
func writeOn(ctx context.Context, dsn string) (longest time.Duration) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return time.Hour
	}
	defer func() { _ = c.Close(context.Background()) }()
	for ctx.Err() == nil {
		from := time.Now()
		if _, err := c.Exec(ctx, `UPDATE customer SET name = name || 'x' WHERE id = 'c1'`); err != nil && ctx.Err() == nil {
			return time.Hour
		}
		longest = max(longest, time.Since(from))
	}
	return longest
}

// Who lost the duty does not touch the days.
func TestDays_OnDuty(t *testing.T) {
	_, a, b := together(t, nil)
	duty, _, err := a.TakeDuty(t.Context(), "chores", "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() error {
		return a.onLoan(t.Context(), func(c *pgx.Conn) error {
			_, err := a.patch(OnDuty(t.Context(), duty), c, "", func() error { return nil })
			return err
		})
	}
	if err := nothing(); err != nil {
		t.Error(err)
	}
	if _, err := a.KeepDuty(t.Context(), duty, 0); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.TakeDuty(t.Context(), "chores", "b", time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := nothing(); !errors.Is(err, ErrOffDuty) {
		t.Errorf("the late one changed the days: %v", err)
	}
}

// A log from before its rows were indexed by their hash is brought up to date, while
// programs write, by two processes at once.
func TestDays_AnOlderLogIsBroughtUpToDate(t *testing.T) {
	s, dsn := shop(t, family)
	list := past(t, s, dsn, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	psql(t, dsn, `DROP INDEX tidemark.log_row; CREATE INDEX log_key ON tidemark.log (tbl, key); DROP TABLE tidemark.reopened, tidemark.crossing; DROP FUNCTION tidemark.reopen, tidemark.gone;
		UPDATE tidemark.meta SET value = '3' WHERE key = 'layout'`)
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() {
			s, err := Open(context.Background(), Config{DSN: dsn, Rules: shopRules()})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s = serve(t, Config{DSN: dsn, Rules: shopRules()})
	tend(t, s)
	if n := touches(t, s, list[0]); n != 2 {
		t.Errorf("%d changes are known", n)
	}
	expect(t, "indexes of each part", psql(t, dsn, `SELECT DISTINCT count(*) FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indrelid WHERE i.inhparent = 'tidemark.log'::regclass GROUP BY x.indrelid`), "3")
}
