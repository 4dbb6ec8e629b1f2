package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/config"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
)

// A serverBase is a PostgreSQL database.
type serverBase struct {
	dir    HubDir
	dsn    string // with everything secret in it: only String is for people
	direct string // the same past a pgbouncer
	pooled bool

	replicas []string // with everything secret in them
	conf     config.Database
}

func newServerBase(dir HubDir, conf config.Database) (*serverBase, error) {
	b := &serverBase{dir: dir, pooled: conf.Pooled == "true", conf: conf}
	var err error
	if b.dsn, err = config.Expand(conf.DSN, os.LookupEnv); err != nil {
		return nil, err
	}
	if b.direct, err = config.Expand(conf.Listen, os.LookupEnv); err != nil {
		return nil, err
	}
	if b.direct == "" {
		b.direct = b.dsn
	}
	for _, r := range conf.Replicas {
		dsn, err := config.Expand(r, os.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("hub.replicas: %w", err)
		}
		b.replicas = append(b.replicas, dsn)
	}
	return b, nil
}

func (b *serverBase) String() string { return config.Redact(b.dsn) }

func (b *serverBase) shared() bool { return true }

func (b *serverBase) exists(ctx context.Context) error {
	yes, err := postgresstore.Founded(ctx, b.direct)
	if err != nil {
		return b.named(err)
	}
	if !yes {
		return fmt.Errorf("%s: %w", b, ErrNoHub)
	}
	return nil
}

// tables: what is there already is adopted.
func (b *serverBase) tables(ctx context.Context) error {
	list, err := postgresstore.Survey(ctx, b.direct, nil)
	if err != nil {
		return b.named(err)
	}
	if len(list) == 0 {
		return fmt.Errorf("%s: %w", b, ErrNoTables)
	}
	return nil
}

// fits looks at every table along the search path, and changes nothing.
func (b *serverBase) fits(ctx context.Context, conf *config.Config) error {
	list, err := postgresstore.Survey(ctx, b.direct, nil)
	if err != nil {
		return b.named(err)
	}
	var schema change.Schema
	for i := range list {
		schema.Tables = append(schema.Tables, list[i].Table)
	}
	var faults []error
	for i := range conf.Tables.Tables {
		r := &conf.Tables.Tables[i]
		for _, f := range list {
			if len(f.Refused) > 0 && goesBy(r.Name, r.Was, f.Table.Name) {
				faults = append(faults, fmt.Errorf("table %s cannot sync: %s", f.Table.Name, strings.Join(f.Refused, "; ")))
			}
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	return conf.ValidateAgainst(&schema)
}

// goesBy reports whether one of a table's names is the given one.
func goesBy(name string, was []string, have string) bool {
	if strings.EqualFold(name, have) {
		return true
	}
	for _, w := range was {
		if strings.EqualFold(w, have) {
			return true
		}
	}
	return false
}

func (b *serverBase) make(ctx context.Context, m making) error {
	src, err := openSource(m)
	if err != nil {
		return err
	}
	defer src.close()
	types, err := b.conf.ColumnTypes()
	if err != nil {
		return err
	}
	feed := src.feed
	if m.rows == "" {
		feed = nil
	}
	_, notes, err := postgresstore.Import(ctx, b.direct, postgresstore.Source{Schema: src.schema, DDL: src.ddl, Types: types}, feed)
	if err != nil {
		return fmt.Errorf("make the tables of %s in %s: %w", m.from(), b, err)
	}
	for _, n := range notes {
		m.note(n.String())
	}
	for _, name := range src.left {
		m.note(name + ": it does not sync, and was left where it is")
	}
	return nil
}

func (b *serverBase) open(ctx context.Context, o opening) (Store, error) {
	s, err := postgresstore.Open(ctx, postgresstore.Config{
		DSN: b.dsn, Listen: b.direct, Pooled: b.pooled, Rules: &o.conf.Tables, Clock: o.Clock, Rand: o.Rand, Log: o.Logger,
		Common: true, Enforce: o.enforce, Heard: o.heard, Replicas: b.replicas,
	})
	if err != nil {
		return nil, b.named(err)
	}
	return s, nil
}

func (b *serverBase) peek(ctx context.Context, kind, id string) ([]byte, error) {
	body, err := postgresstore.Peek(ctx, b.direct, kind, id)
	if err != nil {
		return nil, b.named(err)
	}
	return body, nil
}

// look has nothing to do: the store is told by whoever writes.
func (b *serverBase) look(ctx context.Context, _ func()) { <-ctx.Done() }

// named says which database an error is about.
func (b *serverBase) named(err error) error { return fmt.Errorf("%s: %w", b, err) }

// tooOld is how many transactions a database may be away from its last freeze: at
// twice that PostgreSQL takes no more writes.
const tooOld = 1 << 30

func (b *serverBase) examine(ctx context.Context, c *exam) {
	version, age, err := postgresstore.Server(ctx, b.direct)
	if err != nil {
		c.Add("database", checkup.Bad, "is the server up, and hub.database right?", "%s cannot be reached: %v", b, err)
		return
	}
	c.Add("database", checkup.Good, "", "PostgreSQL %s at %s", version, b)
	if age > tooOld {
		c.Add("freeze", checkup.Warn, "let VACUUM FREEZE through: look for transactions that never end, and for replication slots nobody reads",
			"the oldest transaction that the database remembers is %d transactions old", age)
	}
	b.examineReplicas(ctx, c)
}
