package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A Store is a hub's store that can say, too, how its tables are made at edges.
type Store interface {
	hub.Store
	// DDL is the statements that create the synced tables in an empty SQLite file.
	DDL(ctx context.Context) ([]string, error)
}

// A base is the database of a hub: a file in its directory, or one on a server.
type base interface {
	// exists returns nil, ErrNoHub when there is no hub in the database, or what
	// keeps it from being looked at.
	exists(ctx context.Context) error
	// tables returns nil when there are tables that a new hub can serve as they are,
	// and else ErrNoTables.
	tables(ctx context.Context) error
	// fits compares a configuration with the tables. Faults come as config.Faults.
	fits(ctx context.Context, conf *config.Config) error
	// make creates the tables of a new hub, all or none of them.
	make(ctx context.Context, m making) error
	open(ctx context.Context, o opening) (Store, error)
	// peek reads one record without opening the store, or hub.ErrNotFound.
	peek(ctx context.Context, kind, id string) ([]byte, error)
	// look calls strike, until ctx ends, when other processes did what the change
	// log does not show.
	look(ctx context.Context, strike func())
	examine(ctx context.Context, c *exam)
	// shared says that other processes may serve the database, too.
	shared() bool
	String() string // for people, and nothing secret in it
}

// A making says what a new hub's tables are made from: one of the two is set.
type making struct {
	rows     string // a SQLite file, with its rows
	tables   string // a SQLite file, or an SQL script, without
	conf     *config.Config
	progress func(done, total int64) // may be nil
	note     func(string)            // is told what is different from the source
}

func (m *making) from() string { return m.rows + m.tables }

// An opening says how a store is opened.
type opening struct {
	OfficeConfig
	conf *config.Config
	// enforce puts the rules of conf in force; without it, those that are in force
	// already stay, where processes share the database.
	enforce bool
	heard   func(word string) // what other processes tell, see postgresstore.Config
	word    change.BranchMode // what the operator said of a database that was put back; "" for nothing
}

// EnvDatabase is the environment variable that names the database, before the
// configuration does.
const EnvDatabase = "TIDEMARK_DATABASE"

// database is where a hub notes the address that it was started with by hand, for
// the verbs that come later.
func (d HubDir) database() string { return filepath.Join(string(d), "database") }

// base finds the database of a directory: dsn, when it was given, or what the
// environment, the configuration, or an earlier start says. conf may be nil.
func (d HubDir) base(conf *config.Config, dsn string) (base, error) {
	db := config.Database{}
	if conf != nil {
		db = conf.Hub.Database
	}
	switch {
	case dsn != "" && db.DSN != "" && dsn != db.DSN:
		return nil, errors.New("the database is named by --database, and otherwise by hub.database of tidemark.yaml: give one of them")
	case dsn != "":
		db.DSN = dsn
	case os.Getenv(EnvDatabase) != "":
		db.DSN = os.Getenv(EnvDatabase)
	case db.DSN == "":
		b, err := os.ReadFile(d.database())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for the hub's database: %w", err)
		}
		db.DSN = strings.TrimSpace(string(b))
	}
	if db.DSN == "" {
		return fileBase{d}, nil
	}
	if d.exists() == nil {
		return nil, fmt.Errorf("%s holds a hub on SQLite, and is told to serve a PostgreSQL database: name another directory with --data", string(d))
	}
	return newServerBase(d, db)
}

// absolute is the directory's whole path, as far as that can be found out.
func (d HubDir) absolute() string {
	if path, err := filepath.Abs(string(d)); err == nil {
		return path
	}
	return string(d)
}

// keepDatabase notes an address that was given by hand.
func (d HubDir) keepDatabase(dsn string) error {
	return disk.WriteFile(d.database(), []byte(dsn+"\n"))
}

// find reads the configuration of a directory, nil when there is none, and finds the
// database.
func (d HubDir) find(dsn string) (base, *config.Config, error) {
	conf, err := loadConfig(d.Config())
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || d.exists() == nil) {
		return nil, nil, err
	}
	b, err := d.base(conf, dsn)
	return b, conf, err
}
