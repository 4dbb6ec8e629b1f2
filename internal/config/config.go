package config

import (
	"fmt"
	"os"
	"time"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Config is a whole tidemark.yaml. In the zero value everything has its default
// and no table syncs. See keys.go, or the reference page, for what each key means.
type Config struct {
	Hub    Hub
	Edge   Edge
	Tables rule.Rules

	lines map[string]int // where a path stands in the file; nil when it came from no file
}

// Hub is how `tidemark hub` runs.
type Hub struct {
	Name      string
	Listen    string
	URL       string
	Limits    Limits
	Retention Retention
	Heartbeat time.Duration
	TokenTTL  time.Duration
	Copies    string
	Rollback  string
	Salvage   string
	Database  Database
	Redis     string
	Console   Console
}

// Console is how a hub serves people. In the zero value it listens on this machine alone,
// with a certificate of its own.
type Console struct {
	Listen      string
	URL         string
	Certificate string // a file, PEM, as is Key
	Key         string
	Off         string // "true": none is served
}

// Database is the PostgreSQL database that a hub serves. In the zero value it is the
// SQLite file in the hub's directory.
type Database struct {
	DSN    string   // hub.database
	Listen string   // hub.listen_database
	Pooled string   // hub.pooled
	Types  []string // hub.types

	Replicas []string // hub.replicas
}

// Limits bound what one device may ask of the hub.
type Limits struct {
	Frame       Size
	Transaction Size
	Row         Size
	Rows        int
	Sessions    int
	InFlight    int // 0: as many as fit the machine
	Queue       int
	Memory      Size // 0: as much as fits the machine
	Cache       Size
	Rate        int // requests a minute; 0: as many as it likes
}

// Retention says how long the hub keeps what it no longer strictly needs.
type Retention struct{ Log time.Duration }

// Edge is how `tidemark edge` runs.
type Edge struct {
	Hub       string
	Files     []string
	Heartbeat time.Duration
	RetryMax  time.Duration
	Redo      Size
	RedoAge   time.Duration
	Page      string
}

// The defaults.
const (
	DefaultName        = "tidemark hub"
	DefaultListen      = ":8443"
	DefaultFrame       = 16 * MiB
	DefaultTransaction = 64 * MiB
	DefaultRow         = 16 * MiB
	DefaultRows        = 500_000
	DefaultSessions    = 10_000
	DefaultQueue       = 10_000
	DefaultCache       = 64 * MiB
	DefaultLog         = 30 * day
	DefaultHeartbeat   = 15 * time.Second
	DefaultTokenTTL    = 24 * time.Hour
	DefaultCopies      = "allow"
	DefaultRollback    = "wait"
	DefaultSalvage     = "true"
	DefaultPooled      = "false"
	DefaultRetryMax    = time.Minute
	DefaultRedo        = 64 * MiB
	DefaultRedoAge     = 30 * day
)

// Load reads a file. See Parse.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// WithDefaults returns c with every zero field set to its default. A row may by
// default be as large as a transaction, and no larger.
func (c Config) WithDefaults() Config {
	rowUnset := c.Hub.Limits.Row == 0
	for _, k := range keys() {
		if k.def == nil {
			continue
		}
		if f := k.field(&c); isZero(f) {
			assign(f, k.def)
		}
	}
	if l := &c.Hub.Limits; rowUnset {
		l.Row = min(l.Row, l.Transaction)
	}
	return c
}
