package postgresstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The log has a partition for each day, by the server's clock; readers go by transactions.
// So that they need not look into every day, a day that is over is sealed: what the newest
// transaction is that any entry up to its end belongs to is written down. Whoever looks for
// newer ones begins with the day after.
//
// That holds for certain, whatever clocks do: a day is sealed under a lock that nobody has
// who wrote to it and is not done, and from then on a trigger on it notes in
// tidemark.reopened, in the same transaction, that there is an entry that came too late.
// While such a note stands nobody goes by the seals. The default partition takes what has
// no day, and notes what is older than the last seal.
const layoutDay = `
CREATE TABLE tidemark.reopened (at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION tidemark.reopen() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $tidemark$
BEGIN
  INSERT INTO tidemark.reopened DEFAULT VALUES;
  RETURN NULL;
END $tidemark$;
DROP INDEX tidemark.log_key;
CREATE INDEX log_row ON tidemark.log (hash_array_extended(key, tbl));
CREATE FUNCTION tidemark.gone(_tbl int, _key text[]) RETURNS text LANGUAGE plpgsql STABLE AS $tidemark$
DECLARE
  _s text;
BEGIN
  SELECT l.scope INTO _s FROM tidemark.log AS l WHERE l.at >= now() - interval '1 day' AND l.tbl = _tbl AND l.key = (_key COLLATE "C")
    AND hash_array_extended(l.key, l.tbl) = hash_array_extended(_key COLLATE "C", _tbl) AND l.op = 3 ORDER BY l.pos DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT l.scope INTO _s FROM tidemark.log AS l WHERE l.tbl = _tbl AND l.key = (_key COLLATE "C")
      AND hash_array_extended(l.key, l.tbl) = hash_array_extended(_key COLLATE "C", _tbl) AND l.op = 3 ORDER BY l.pos DESC LIMIT 1;
  END IF;
  RETURN _s;
END $tidemark$;
`

// indexRows makes the index of layoutDay in a log that is older, day by day, while
// programs write: the step itself then only gathers what is there.
func indexRows(ctx context.Context, c *pgx.Conn) error {
	var list []string
	// By the catalogue's rows: to_regclass would remember that there is no schema tidemark,
	// and say so again after another process made it.
	err := query(ctx, c, `SELECT c.relname FROM pg_namespace n JOIN pg_class p ON p.relnamespace = n.oid AND p.relname = 'log' JOIN pg_inherits i ON i.inhparent = p.oid
		JOIN pg_class c ON c.oid = i.inhrelid WHERE n.nspname = 'tidemark' AND NOT EXISTS (SELECT FROM pg_class x WHERE x.relnamespace = n.oid AND x.relname = 'log_row')`, func(r *row) error {
		list = append(list, "CREATE INDEX CONCURRENTLY IF NOT EXISTS "+quote(r.text(0)+"_row")+" ON tidemark."+quote(r.text(0))+" (hash_array_extended(key, tbl))")
		return nil
	})
	for _, q := range list {
		if err == nil {
			err = script(ctx, c, q)
		}
		if collided(err) || taken(err) { // another process is at it; what it does not finish the step does
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("index the change log: %w", err)
	}
	return nil
}

// metaSeals is the key of tidemark.meta under which the seals are: "end newest" of each,
// in order, with commas between; end in Unix seconds.
const metaSeals = "seals"

const (
	daysAhead = 3             // partitions made before their time
	sealAfter = 6 * time.Hour // how long after its end a day is sealed
	lockPatch = "200ms"       // how long who changes the partitions waits, and others behind it
	sealsKept = 100           // days further back are as if they were one
	scanPatch = "1s"          // how long it reads what nobody else can write to meanwhile
)

// A seal says that no entry of the log from before its end belongs to a newer transaction.
type seal struct {
	end    int64 // Unix seconds
	newest uint64
}

// seals is a text of metaSeals, read.
type seals struct {
	text string
	list []seal
}

func readSeals(text string) (*seals, error) {
	out := &seals{text: text}
	if text == "" {
		return out, nil
	}
	for _, part := range strings.Split(text, ",") {
		end, newest, _ := strings.Cut(part, " ")
		var s seal
		var err error
		if s.end, err = strconv.ParseInt(end, 10, 64); err == nil {
			s.newest, err = strconv.ParseUint(newest, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("read the seals of the change log: %w", err)
		}
		out.list = append(out.list, s)
	}
	return out, nil
}

func (s *seals) String() string {
	parts := make([]string, len(s.list))
	for i, x := range s.list {
		parts[i] = strconv.FormatInt(x.end, 10) + " " + strconv.FormatUint(x.newest, 10)
	}
	return strings.Join(parts, ",")
}

// last is the end of the last seal, 0 when there is none.
func (s *seals) last() int64 {
	if len(s.list) == 0 {
		return 0
	}
	return s.list[len(s.list)-1].end
}

// sealsSQL is the seals that a snapshot may go by, "" when there are none: also while the
// clock is back before the last one's end.
const sealsSQL = `CASE WHEN EXISTS (SELECT FROM tidemark.reopened) THEN '' ELSE coalesce((SELECT value FROM tidemark.meta WHERE key = '` + metaSeals + `'), '') END,
	floor(extract(epoch FROM clock_timestamp()))::int8`

// goBy makes a view go by seals, as sealsSQL read them.
func (v *view) goBy(text string, now int64) error {
	known := v.s.sealed.Load()
	if known == nil || known.text != text {
		var err error
		if known, err = readSeals(text); err != nil {
			return err
		}
		v.s.sealed.Store(known)
	}
	if known.last() < now {
		v.sealed = known.list
	}
	return nil
}

// near notes in a moment from when on entries can be that it does not show.
func (v *view) near(m moment) moment {
	low := m.max
	if len(m.open) > 0 {
		low = min(low, m.open[0])
	}
	m.from = 0
	for _, s := range v.sealed {
		if s.newest >= low {
			break
		}
		m.from = s.end
	}
	return m
}

// since is the condition that an entry is of one of the days from a time on; it lets the
// planner leave out the others. "" when that is all of them.
func (m *moment) since(prefix string, a *args) string {
	if m.from == 0 {
		return ""
	}
	return prefix + "at >= " + a.add(time.Unix(m.from, 0).UTC()) + "::timestamptz AND "
}

// tend makes the days to come and seals those that are over. It never waits long for
// others, nor they for it; what it cannot do it does the next time. Under OnDuty it does
// nothing once another process has the duty.
func (s *Store) tend(ctx context.Context, c *pgx.Conn) error {
	if err := s.ahead(ctx, c); err != nil {
		return fmt.Errorf("look after the change log's days: %w", err)
	}
	if err := s.sealDays(ctx, c); err != nil {
		return fmt.Errorf("seal the change log's days: %w", err)
	}
	return nil
}

// patch changes the partitions in a transaction that waits for nobody long. done is false
// when others were in the way.
func (s *Store) patch(ctx context.Context, c *pgx.Conn, set string, fn func() error) (done bool, err error) {
	err = inTx(ctx, c, "BEGIN; SET LOCAL lock_timeout = '"+lockPatch+"'; "+set, func() error {
		if err := stillOn(ctx, c, " FOR SHARE"); err != nil {
			return err
		}
		return fn()
	})
	if collided(err) || taken(err) || slow(err) {
		return false, nil
	}
	return err == nil, err
}

// days lists the days that have partitions, in order, by their names.
func days(ctx context.Context, c *pgx.Conn) (list []string, err error) {
	err = query(ctx, c, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'tidemark.log'::regclass AND c.relname ~ '^log_[0-9]{8}$' ORDER BY c.relname`, func(r *row) error {
		list = append(list, r.text(0))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the change log's days: %w", err)
	}
	return list, nil
}

const dayName = "log_20060102"

// serverNow is the server's clock, which days go by.
func serverNow(ctx context.Context, c *pgx.Conn) (now time.Time, err error) {
	err = query(ctx, c, `SELECT floor(extract(epoch FROM clock_timestamp()))::int8`, func(r *row) error {
		now = time.Unix(r.int(0), 0).UTC()
		return nil
	})
	return now, err
}

// ahead makes the partitions for today and the days to come. Where the default partition
// holds entries of a day already, that day stays there. Days before the last seal are never
// made: what a clock that went back says goes to the default partition.
func (s *Store) ahead(ctx context.Context, c *pgx.Conn) error {
	list, err := days(ctx, c)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, name := range list {
		have[name] = true
	}
	now, err := serverNow(ctx, c)
	if err != nil {
		return err
	}
	known, err := s.seals(ctx, c)
	if err != nil {
		return err
	}
	for i := range daysAhead + 1 {
		from := now.Truncate(24*time.Hour).AddDate(0, 0, i)
		if have[from.Format(dayName)] || from.Unix() < known.last() {
			continue
		}
		if done, err := s.make(ctx, c, from); err != nil {
			return fmt.Errorf("make %s: %w", from.Format(dayName), err)
		} else if !done && ctx.Err() == nil {
			s.cfg.Log.Debug("a day of the change log was not made now", "name", from.Format(dayName))
		}
	}
	return nil
}

// make makes a day's partition. It is made apart and attached: whoever writes to another
// day, or reads, does not notice. Attaching reads through the default partition, to which
// everybody writes while there are no days: where that takes long, it is left as it is.
func (s *Store) make(ctx context.Context, c *pgx.Conn, from time.Time) (done bool, err error) {
	name := from.Format(dayName)
	first, next := "'"+from.Format(time.RFC3339)+"'", "'"+from.AddDate(0, 0, 1).Format(time.RFC3339)+"'"
	return s.patch(ctx, c, "SET LOCAL statement_timeout = '"+scanPatch+"'", func() error {
		return script(ctx, c, "CREATE TABLE tidemark."+name+" (LIKE tidemark.log INCLUDING DEFAULTS); "+
			"ALTER TABLE tidemark.log ATTACH PARTITION tidemark."+name+" FOR VALUES FROM ("+first+") TO ("+next+")")
	})
}

// sealDays seals the days that are over, in order, and anew those that were opened again.
func (s *Store) sealDays(ctx context.Context, c *pgx.Conn) error {
	now, err := serverNow(ctx, c)
	if err != nil {
		return err
	}
	list, err := days(ctx, c)
	if err != nil {
		return err
	}
	known, err := s.seals(ctx, c)
	if err != nil {
		return err
	}
	reopened := false
	err = query(ctx, c, `SELECT EXISTS (SELECT FROM tidemark.reopened)`, func(r *row) error {
		reopened = r.bool(0)
		return nil
	})
	if err != nil {
		return err
	}
	var over []string
	for _, name := range list {
		day, err := time.Parse(dayName, name)
		if err != nil {
			continue // nobody's day: it is never sealed, and no later one
		}
		if end := day.AddDate(0, 0, 1); end.Add(sealAfter).After(now) {
			break
		} else if reopened || end.Unix() > known.last() {
			over = append(over, name)
		}
	}
	if reopened {
		known = &seals{}
		_, err := s.patch(ctx, c, "", func() error { return s.sealUp(ctx, c, known, over, true) })
		return err
	}
	for _, name := range over {
		done, err := s.patch(ctx, c, "", func() error { return s.sealUp(ctx, c, known, []string{name}, false) })
		if !done {
			return err
		}
	}
	return nil
}

// sealUp seals days. The locks are those that nobody gets before all who wrote there are
// done; what is read after has all that they wrote.
func (s *Store) sealUp(ctx context.Context, c *pgx.Conn, known *seals, list []string, anew bool) error {
	tables := []string{"tidemark.log_other"}
	for _, name := range list {
		tables = append(tables, "tidemark."+quote(name))
	}
	q := "LOCK TABLE " + strings.Join(tables, ", ") + " IN SHARE ROW EXCLUSIVE MODE"
	if anew {
		q += "; DELETE FROM tidemark.reopened"
	}
	for _, name := range tables[1:] {
		q += "; CREATE OR REPLACE TRIGGER tidemark_late AFTER INSERT ON " + name + " FOR EACH ROW EXECUTE FUNCTION tidemark.reopen()"
	}
	if err := script(ctx, c, q); err != nil {
		return err
	}
	for _, name := range list {
		day, err := time.Parse(dayName, name)
		if err != nil {
			return err
		}
		x := seal{end: day.AddDate(0, 0, 1).Unix()}
		if n := len(known.list); n > 0 {
			x.newest = known.list[n-1].newest
		}
		err = query(ctx, c, "(SELECT xid::text FROM tidemark."+quote(name)+" ORDER BY xid DESC LIMIT 1) UNION ALL (SELECT xid::text FROM tidemark.log_other WHERE at < to_timestamp("+
			strconv.FormatInt(x.end, 10)+") ORDER BY xid DESC LIMIT 1)", func(r *row) error {
			n, err := strconv.ParseUint(r.text(0), 10, 64)
			x.newest = max(x.newest, n)
			return err
		})
		if err != nil {
			return err
		}
		known.list = append(known.list, x)
	}
	known.list = known.list[max(0, len(known.list)-sealsKept):]
	q = "CREATE OR REPLACE TRIGGER tidemark_late AFTER INSERT ON tidemark.log_other FOR EACH ROW WHEN (NEW.at < to_timestamp(" + strconv.FormatInt(known.last(), 10) +
		")) EXECUTE FUNCTION tidemark.reopen()"
	if len(known.list) == 0 {
		q = "DROP TRIGGER IF EXISTS tidemark_late ON tidemark.log_other"
	}
	if err := script(ctx, c, q); err != nil {
		return err
	}
	return setMeta(ctx, c, metaSeals, known.String())
}

// seals reads what is sealed, whether or not one may go by it.
func (s *Store) seals(ctx context.Context, c *pgx.Conn) (*seals, error) {
	text, err := meta(ctx, c, metaSeals)
	if err != nil {
		return nil, err
	}
	return readSeals(text)
}
