package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	tsqlite "github.com/tidemark-sync/tidemark/internal/sqlite"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
)

// A server is a PostgreSQL that plays histories, one at a time, each in a database of
// its own. Its clock is the history's: triggers, and the days of the change log, go
// by virtual time.
type server struct {
	*pgtest.Postgres
	ctx   context.Context //nolint:containedctx // of the one test that it serves
	count int
}

// clockSQL makes the functions that tell the time ask a table instead.
const clockSQL = `CREATE SCHEMA sim;
CREATE TABLE sim.now (at timestamptz NOT NULL);
INSERT INTO sim.now VALUES (clock_timestamp());
ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp;
ALTER FUNCTION pg_catalog.now() RENAME TO real_now;
CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM sim.now';
CREATE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM sim.now';`

const templateName = "virtual_time"

// newServer starts a server. What was committed outlives its being killed, as the
// machine lives on, and nothing goes on in it that nobody asked for.
func newServer(ctx context.Context) (*server, error) {
	p, err := pgtest.Run(ctx, pgtest.Options{Settings: []string{"synchronous_commit=on", "autovacuum=off", "shared_buffers=32MB"}})
	if err != nil {
		return nil, err
	}
	s := &server{Postgres: p, ctx: ctx}
	dsn, err := s.Create(ctx, templateName)
	if err == nil {
		err = s.do(dsn, clockSQL)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// do runs statements in a database.
func (s *server) do(dsn, sql string) error {
	c, err := pgx.Connect(s.ctx, dsn)
	if err != nil {
		return err
	}
	_, err = c.Exec(s.ctx, sql)
	return errors.Join(err, c.Close(s.ctx))
}

// A serverBase is a database of a server.
type serverBase struct {
	*server
	name     string
	created  bool // its tables are made as init does it; else they were there before
	physical bool // it is put back with its whole machine: transactions get the same numbers again
	clients  []*client
	time     *client // tells the machine the time
	say      words
	duty     map[*process]postgresstore.Duty // what each process believes it has
}

// base makes a database for a history.
func (s *server) base(seed uint64) *serverBase {
	s.count++
	rng := rand.New(newRand(seed, "server"))
	b := &serverBase{server: s, name: fmt.Sprintf("history_%d_%d", seed, s.count), created: rng.IntN(2) == 0, physical: rng.IntN(2) == 0, say: serverWords, duty: map[*process]postgresstore.Duty{}}
	if rng.IntN(2) == 0 { // people drop a column, or make the table anew
		b.say.migrations[2] = []string{`ALTER TABLE once DROP COLUMN extra`}
	}
	return b
}

func (b *serverBase) dsn() string { return b.DSN(b.name) }

func (b *serverBase) create(ddl []string) error {
	if err := b.Copy(b.ctx, templateName, b.name); err != nil {
		return err
	}
	if !b.created {
		later := func(s string) int { return strings.Count(s, "REFERENCES") }
		ddl = slices.Clone(ddl)
		slices.SortStableFunc(ddl, func(x, y string) int { return later(x) - later(y) })
		return b.do(b.dsn(), strings.Join(ddl, ";\n"))
	}
	c, err := tsqlite.Open(":memory:", tsqlite.Options{NoSync: true})
	if err != nil {
		return err
	}
	src := postgresstore.Source{DDL: ddl}
	var names []string
	if err = tsqlite.Script(c, strings.Join(ddl, ";\n")); err == nil {
		names, _, err = tsqlite.TableNames(c)
	}
	if err == nil {
		src.Schema, err = tsqlite.Describe(c, names)
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	notes, err := postgresstore.Create(b.ctx, b.dsn(), src)
	if err == nil && len(notes) > 0 {
		err = fmt.Errorf("the tables are not what they were: %v", notes)
	}
	return err
}

func (b *serverBase) open(p *process, rules *rule.Rules) (hub.Store, error) {
	delete(b.duty, p) // it begins anew
	return postgresstore.Open(b.ctx, postgresstore.Config{DSN: b.dsn(), Rules: rules, Common: true, Enforce: true, Clock: p.clock, Rand: p.rand, Conns: 3})
}

func (b *serverBase) renew(p *process, d time.Duration) (bool, error) {
	const name = "chores"
	st := p.store.(*postgresstore.Store)
	duty, ok := b.duty[p]
	if ok {
		kept, err := st.KeepDuty(b.ctx, duty, d)
		if err != nil || kept {
			return kept, err
		}
		delete(b.duty, p)
	}
	free, err := st.DutyFree(b.ctx, name)
	if err != nil || !free {
		return false, err
	}
	if duty, ok, err = st.TakeDuty(b.ctx, name, fmt.Sprint("process ", p.n), d); ok {
		b.duty[p] = duty
	}
	return ok, err
}

func (b *serverBase) onDuty(ctx context.Context, p *process) context.Context {
	duty, ok := b.duty[p]
	if !ok {
		return nil
	}
	return postgresstore.OnDuty(ctx, duty)
}

func (b *serverBase) isOff(err error) bool { return errors.Is(err, postgresstore.ErrOffDuty) }

func (b *serverBase) ddl(ctx context.Context, st hub.Store, _ []string) ([]string, error) {
	return st.(*postgresstore.Store).DDL(ctx)
}

func (b *serverBase) connect(clock.Clock) (program, error) {
	c := &client{b: b}
	b.clients = append(b.clients, c)
	return c, nil
}

// adopt starts a process again with the new rules. The others hear of it.
func (b *serverBase) adopt(w *world, _ *rule.Rules) error {
	return errors.Join(w.turn(), w.kill(w.hub.process))
}

func (b *serverBase) copyName() string { return b.name + "_copy" }

func (b *serverBase) copy() error {
	if err := b.cut(); err != nil {
		return err
	}
	if b.physical {
		return b.Save(b.ctx)
	}
	return errors.Join(b.Drop(b.ctx, b.copyName()), b.Copy(b.ctx, b.name, b.copyName()))
}

func (b *serverBase) putBack() error {
	if err := b.cut(); err != nil {
		return err
	}
	if b.physical {
		return b.PutBack(b.ctx)
	}
	if err := b.Drop(b.ctx, b.name); err != nil {
		return err
	}
	return b.do(b.DSN("postgres"), "ALTER DATABASE "+b.copyName()+" RENAME TO "+b.name)
}

// cut ends all connections to the database.
func (b *serverBase) cut() error {
	var errs []error
	for _, c := range b.clients {
		errs = append(errs, c.Close())
	}
	const sql = `DO $$ BEGIN PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '%s'; END $$`
	return errors.Join(append(errs, b.do(b.DSN("postgres"), fmt.Sprintf(sql, b.name)))...)
}

// crash kills the server, and starts it again.
func (b *serverBase) crash() error {
	var errs []error
	for _, c := range b.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, b.Crash(b.ctx))...)
}

func (b *serverBase) at(now time.Time) error {
	if b.time == nil {
		b.time = &client{b: b}
		b.clients = append(b.clients, b.time)
	}
	return b.time.exec(`UPDATE sim.now SET at = ?::text::timestamptz`, change.Text(now.UTC().Format(time.RFC3339Nano)))
}

func (b *serverBase) end() error {
	var errs []error
	for _, c := range b.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, b.Drop(b.ctx, b.name), b.Drop(b.ctx, b.copyName()))...)
}

// A client is some program's connection, which it makes anew when it has none.
type client struct {
	b *serverBase
	c *pgx.Conn
}

func (c *client) conn() (*pgx.Conn, error) {
	if c.c == nil {
		var err error
		if c.c, err = pgx.Connect(c.b.ctx, c.b.dsn()+"&options=-c%20lock_timeout%3D50"); err != nil {
			return nil, err
		}
	}
	return c.c, nil
}

func (c *client) Close() error {
	if c.c == nil {
		return nil
	}
	_ = c.c.Close(c.b.ctx) // it may be cut already
	c.c = nil
	return nil
}

// numbered puts $1, $2 … in the place of question marks, and values in a driver's form.
func numbered(sql string, list []change.Value) (string, []any) {
	var out strings.Builder
	args := make([]any, 0, len(list))
	for i, part := range strings.Split(sql, "?") {
		if i > 0 {
			out.WriteString("$" + strconv.Itoa(i))
		}
		out.WriteString(part)
	}
	for _, v := range list {
		switch v.Kind() {
		case change.KindNull:
			args = append(args, nil)
		case change.KindInt:
			args = append(args, v.Int())
		default:
			args = append(args, v.Str())
		}
	}
	return out.String(), args
}

func (c *client) exec(sql string, args ...change.Value) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	sql, list := numbered(sql, args)
	_, err = conn.Exec(c.b.ctx, sql, list...)
	return err
}

func (c *client) query(sql string, row func([]change.Value) error, args ...change.Value) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	sql, list := numbered(sql, args)
	rs, err := conn.Query(c.b.ctx, sql, list...)
	if err != nil {
		return err
	}
	var all [][]change.Value // a callback may ask something else
	for rs.Next() {
		vals, err := rs.Values()
		if err != nil {
			rs.Close()
			return err
		}
		out := make([]change.Value, len(vals))
		for i, v := range vals {
			if out[i], err = valueOf(v); err != nil {
				rs.Close()
				return err
			}
		}
		all = append(all, out)
	}
	if err := rs.Err(); err != nil {
		return err
	}
	for _, r := range all {
		if err := row(r); err != nil {
			return err
		}
	}
	return nil
}

func valueOf(v any) (change.Value, error) {
	switch v := v.(type) {
	case nil:
		return change.Value{}, nil
	case string:
		return change.Text(v), nil
	case []byte:
		return change.Blob(v), nil
	case int16:
		return change.Int(int64(v)), nil
	case int32:
		return change.Int(int64(v)), nil
	case int64:
		return change.Int(v), nil
	case bool:
		if v {
			return change.Int(1), nil
		}
		return change.Int(0), nil
	}
	return change.Value{}, fmt.Errorf("a value of type %T", v)
}

func (c *client) atomic(fn func() error) error {
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return errors.Join(err, c.exec("ROLLBACK"))
	}
	return c.exec("COMMIT")
}

func (c *client) columns(table string) (out []string, err error) {
	err = c.query(`SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, func(row []change.Value) error {
		out = append(out, row[0].Str())
		return nil
	}, change.Text(table))
	return out, err
}

func (c *client) broken() (out []string, err error) {
	for _, fk := range [][3]string{{"patient", "branch_id", "branch"}, {"visit", "patient_id", "patient"}, {"tag", "ledger_id", "ledger"}} {
		list, err := rows(c, `SELECT c.id FROM `+fk[0]+` AS c LEFT JOIN `+fk[2]+` AS p ON p.id = c.`+fk[1]+` WHERE p.id IS NULL`)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func (c *client) refused(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (strings.HasPrefix(pe.Code, "23") || pe.Code == "55P03") // a lock was not to be had
}

func (c *client) words() *words { return &c.b.say }

var serverWords = words{
	migrations: fileWords.migrations,
	replace: `INSERT INTO stock (id, item, qty, low) SELECT id, item, qty+1, low FROM stock WHERE id=?
		ON CONFLICT (id) DO UPDATE SET item = excluded.item, qty = excluded.qty, low = excluded.low`,
	journal: `tidemark.tx`,
}
