package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Config is what an Engine needs.
type Config struct {
	Path   string      // the application's SQLite file
	Clock  clock.Clock // required
	Rand   io.Reader   // required; a cryptographic source in production
	Logger *slog.Logger
	NoSync bool // tests only: no fsync
	// RedoBytes bounds the redo ring of settled transactions kept in the file, and
	// RedoAge how old they become, counted from when the application made them: a
	// hub that was restored gets back what the ring still has. 0 means
	// DefaultRedoBytes and DefaultRedoAge.
	RedoBytes int64
	RedoAge   time.Duration
	// ReadOnly is for who only looks: such an engine takes no write lock and writes
	// nothing, and every method that would is refused by the database. It waits for a
	// reader's lock for ReadOnlyWait at most.
	ReadOnly bool
	// FreeDisk tells the bytes that are free beside the file, for the hub; 0: not
	// known. nil: nobody looks.
	FreeDisk func() uint64
}

// Defaults of the redo ring.
const (
	DefaultRedoBytes = 64 << 20
	DefaultRedoAge   = 30 * 24 * time.Hour
)

// ReadOnlyWait is how long a read-only engine waits where an application keeps
// readers out, too. Whoever looks is told that sooner than a writer would give up.
const ReadOnlyWait = time.Second

// layoutFormat is the version of layoutSQL.
const layoutFormat = 2

// An Engine keeps one file in sync: it captures what the application writes,
// hands it in, and applies what comes back. Its methods are synchronous and may
// be called from several goroutines, one at a time proceeding.
type Engine struct {
	cfg Config

	mu     sync.Mutex
	conn   *sqlite.Conn     // the only connection Tidemark has to the file
	setup  *wire.Setup      // nil until Install
	tables []table          // synced tables, in setup order; index+1 is _tidemark_table.id
	shape  int64            // PRAGMA schema_version that tables was read at
	refs   map[string][]ref // see references; nil: not read since

	device      change.DeviceID    // zero until Install
	incarnation change.Incarnation // zero until Install

	untaken  bool                    // see takeUntaken
	synced   bool                    // every exported transaction outlives a power cut (see sync)
	hook     func(step string) error // tests make a step of apply fail with it
	contact  time.Time               // of the last word from the hub in this process
	compared *wire.VerifyReport      // how the last comparison in this process ended; nil: there was none
	epoch    change.Epoch            // of the hub in the present session; 0 before the first
	review   string                  // the epochs in SQL whose work that hub lets people look at; empty: none
}

// A table is a synced table with the SQL that the engine needs for it.
//
// schema is the file's share of the setup's table: columns that the file lacks
// are left out, columns that only the file has are not in it either. Its names are
// the setup's, but for their ASCII case; the file's own are in file and cols. missing
// tells that the file has no such table now (trap S18: the middle of a rebuild).
type table struct {
	id      int64
	schema  *change.Table
	stored  []int             // indices of stored columns in schema.Columns
	names   []string          // their names
	file    string            // the table's name in the file; "" when it is missing
	cols    []string          // the stored columns' names in the file, parallel to names
	hubKind []change.Affinity // of the stored columns at the hub, parallel to names
	key     []int             // indices into stored, in key order
	undo    []int             // the undo log's value column for each stored column
	other   []int             // of those, the ones that the triggers mask: see forms
	read    string            // SELECT by key, made on first use
	rules   *rule.Table       // of the setup; may be nil
	gap     gap               // what is not known of it
	have    *change.Table     // the file's table, all of it, under its own names; nil when there is none
	missing bool
}

// Open opens a file, which need not exist yet. The engine captures nothing until
// Install. A file written by a newer layout is refused.
func Open(cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.RedoBytes == 0 {
		cfg.RedoBytes = DefaultRedoBytes
	}
	if cfg.RedoAge == 0 {
		cfg.RedoAge = DefaultRedoAge
	}
	if cfg.Clock == nil || cfg.Rand == nil {
		return nil, errors.New("open edge: a clock and a source of randomness are required")
	}
	// The acknowledgement chain must survive a power cut: the hub will not send
	// twice what this file said it had.
	o := sqlite.Options{NoSync: cfg.NoSync, Full: true}
	if cfg.ReadOnly {
		o = sqlite.Options{ReadOnly: true, Busy: ReadOnlyWait}
	}
	conn, err := sqlite.Open(cfg.Path, o)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, conn: conn}
	if err := e.load(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open edge %s: %w", cfg.Path, err)
	}
	return e, nil
}

// load reads what an earlier Install left in the file.
func (e *Engine) load() error {
	e.forget()
	has, err := e.hasLayout()
	if err != nil || !has {
		return err
	}
	v, err := e.meta(metaFormat)
	if err != nil {
		return err
	}
	if v.Int() > layoutFormat {
		return fmt.Errorf("the file was written by a newer Tidemark (layout %d, this build knows %d): upgrade this agent", v.Int(), layoutFormat)
	}
	if v.Int() < layoutFormat {
		if err := e.upgrade(); err != nil {
			return fmt.Errorf("bring the file's layout up to date: %w", err)
		}
	}
	raw, err := e.meta(metaSetup)
	if err != nil || raw.IsNull() {
		return err
	}
	setup := new(wire.Setup)
	if err := json.Unmarshal([]byte(raw.Str()), setup); err != nil {
		return fmt.Errorf("read stored setup: %w", err)
	}
	e.setup = setup
	if err := e.loadIdentity(); err != nil {
		return err
	}
	if err := e.loadTables(); err != nil {
		return err
	}
	e.shape, err = e.metaInt(metaVersion) // if the file moved on since, the next export sees it
	return err
}

// forget is a file that is not enrolled.
func (e *Engine) forget() {
	e.setup, e.tables, e.shape, e.refs = nil, nil, 0, nil
	e.device, e.incarnation = change.DeviceID{}, change.Incarnation{}
}

func (e *Engine) hasLayout() (bool, error) {
	_, ok, err := sqlite.One(e.conn, `SELECT 1 FROM sqlite_schema WHERE type='table' AND name='_tidemark_meta'`)
	return ok, err
}

// Close closes the file. It is safe to call twice.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return nil
	}
	err := e.conn.Close()
	e.conn = nil
	return err
}

// Installed reports whether the file is enrolled.
func (e *Engine) Installed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.setup != nil
}

// Setup returns the setup in force, or nil. It must not be modified.
func (e *Engine) Setup() *wire.Setup {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.setup
}

// meta reads one value of _tidemark_meta; NULL when absent.
func (e *Engine) meta(key string) (change.Value, error) {
	v, _, err := sqlite.One(e.conn, `SELECT value FROM _tidemark_meta WHERE key=?`, change.Text(key))
	if err != nil {
		return v, fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

// setMeta writes one value of _tidemark_meta; NULL removes it.
func (e *Engine) setMeta(key string, v change.Value) error {
	var err error
	if v.IsNull() {
		err = sqlite.Exec(e.conn, `DELETE FROM _tidemark_meta WHERE key=?`, change.Text(key))
	} else {
		err = sqlite.Exec(e.conn, `INSERT INTO _tidemark_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value=?2`, change.Text(key), v)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// metaInt reads an integer of _tidemark_meta; 0 when absent.
func (e *Engine) metaInt(key string) (int64, error) {
	v, err := e.meta(key)
	return v.Int(), err
}

// tableNamed returns a synced table by one of its names, the setup's before others,
// or nil.
func (e *Engine) tableNamed(name string) *table {
	for i := range e.tables {
		if sameName(e.tables[i].schema.Name, name) {
			return &e.tables[i]
		}
	}
	for i := range e.tables {
		if e.tables[i].called(name) {
			return &e.tables[i]
		}
	}
	return nil
}
