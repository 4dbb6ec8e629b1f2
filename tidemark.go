package tidemark

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Defaults of Config.
const (
	DefaultPoll    = run.DefaultPoll
	DefaultBusy    = sqlite.DefaultBusy
	DefaultReaders = 4
)

// Config says which file to open, and how. Only Path is required.
type Config struct {
	// Path is the application's SQLite file. With a Token it need not exist: it is
	// created with the tables the hub tells it to have, in WAL mode.
	Path string
	// Token enrols the file when it is not enrolled yet: what `tidemark device add`
	// printed at the hub. It is good for one file, once. A file that is enrolled
	// ignores it, so that it may stand in a configuration for ever.
	Token string
	// URL is where the hub is, when it moved since the file joined: https://HOST:PORT.
	// The hub's key must still be the one the file joined with.
	URL string
	// Agent is the application's name and version, for the people at the hub.
	Agent string
	// Logger is told of state changes and of what failed; nil means nothing is logged.
	// Row contents are never logged.
	Logger *slog.Logger
	// Poll is how often the agent that Start runs, and Watch, ask the file for changes
	// by other programs when the file system does not tell. 0 means DefaultPoll.
	Poll time.Duration
	// Busy is how long to wait for a lock that another process holds on the file.
	// 0 means DefaultBusy, negative means not at all.
	Busy time.Duration
	// Readers is how many Reads may run at once. 0 means DefaultReaders.
	Readers int
	// Retry bounds the pause between two tries of the agent to reach the hub.
	// 0 means a minute.
	Retry time.Duration
	// RedoBytes and RedoAge bound the confirmed work that stays in the file: a hub that
	// was restored from a backup gets it again. Work that is not confirmed and settled
	// is kept whatever they say. 0 means 64 MiB and 30 days.
	RedoBytes int64
	RedoAge   time.Duration
	// Progress is told of the rows of a first sync, or of one after a long absence,
	// during Sync: total is an estimate, 0 when unknown. It must not block.
	Progress func(done, total int64)
}

// A DB is one SQLite file that syncs with a hub. All its methods may be called
// concurrently. Close it when done.
type DB struct {
	cfg  Config
	edge run.Edge

	writer  chan *conn    // the one connection that writes, while nobody has it
	readers chan *conn    // those that read; nil ones are yet to be opened
	done    chan struct{} // closed by Close
	once    sync.Once
	fault   error // of Close; written in once

	mu      sync.Mutex
	agent   *run.Agent      // guarded by mu; nil unless started
	started context.Context // that of Start; guarded by mu
}

// Open opens a file that is enrolled with a hub, or enrols it with the token. Only
// the latter needs the network: [ErrUnreachable] and [ErrRefused] then leave the
// token and the file as they were, and Open can be called again. A new file is
// empty until the first [DB.Sync] or [DB.Start] filled it, see [Status].Complete.
//
// On the connections of a DB foreign keys are enforced, and a commit is on the
// disk when Write returns.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Path == "" {
		return nil, errors.New("open: no path given")
	}
	if cfg.Readers <= 0 {
		cfg.Readers = DefaultReaders
	}
	e := run.Edge{File: cfg.Path, Agent: cfg.Agent, Clock: clock.System{}, Rand: rand.Reader, Logger: cfg.Logger, URL: cfg.URL, RetryMost: cfg.Retry, RedoBytes: cfg.RedoBytes, RedoAge: cfg.RedoAge}
	_, err := run.ReadIdentity(cfg.Path)
	if errors.Is(err, ErrNotJoined) && cfg.Token != "" {
		_, err = run.Join(ctx, run.JoinConfig{Edge: e, Token: cfg.Token})
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", class(err))
	}
	db := &DB{cfg: cfg, edge: e, writer: make(chan *conn, 1), readers: make(chan *conn, cfg.Readers), done: make(chan struct{})}
	w, err := db.open(false)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	db.writer <- w
	for range cfg.Readers {
		db.readers <- nil
	}
	return db, nil
}

// A conn is a connection, and the file that it was opened on.
type conn struct {
	*sqlite.Conn
	file os.FileInfo
}

// open opens one connection.
func (db *DB) open(readOnly bool) (*conn, error) {
	file, err := os.Stat(db.cfg.Path)
	if err != nil {
		return nil, err // SQLite's own words do not tell the reason
	}
	c, err := sqlite.Open(db.cfg.Path, sqlite.Options{ReadOnly: readOnly, MustExist: true, Busy: db.cfg.Busy, Full: true})
	if err != nil {
		return nil, err
	}
	if err := sqlite.Exec(c, "PRAGMA foreign_keys=ON"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &conn{c, file}, nil
}

// take takes a connection out of a pool, when one is free. What is written to a
// file that was moved away or replaced would be lost (trap S12): the connection is
// opened anew then.
func (db *DB) take(ctx context.Context, pool chan *conn) (*conn, error) {
	if err := db.usable(ctx); err != nil {
		return nil, err
	}
	var c *conn
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.done:
		return nil, ErrClosed
	case c = <-pool:
	}
	file, err := os.Stat(db.cfg.Path)
	if err != nil {
		pool <- c
		return nil, err
	}
	if c != nil && os.SameFile(file, c.file) {
		return c, nil
	}
	if c != nil {
		_ = c.Close() // nothing was under way on it
	}
	c, err = db.open(pool == db.readers)
	if err != nil {
		pool <- nil
	}
	return c, err
}

// usable returns why not, when ctx ended or the DB was closed.
func (db *DB) usable(ctx context.Context) error {
	select {
	case <-db.done:
		return fmt.Errorf("%s: %w", db.cfg.Path, ErrClosed)
	default:
		return ctx.Err()
	}
}

// Path is the file's path, as given to Open.
func (db *DB) Path() string { return db.cfg.Path }

// Close stops the agent, ends a Sync, waits for the functions of Write and Read that are
// running, and closes the file. What is not at the hub yet stays in the file. It
// is safe to call twice, and must not be called inside Write or Read.
func (db *DB) Close() error {
	db.once.Do(func() {
		close(db.done)
		errs := []error{db.Stop()}
		for n := range 1 + db.cfg.Readers {
			pool := db.readers
			if n == 0 {
				pool = db.writer
			}
			if c := <-pool; c != nil {
				errs = append(errs, c.Close())
			}
		}
		db.fault = errors.Join(errs...)
	})
	return db.fault
}

// Detach takes Tidemark out of the file again: its tables and triggers, and the
// directory beside the file. While work is not safe at the hub it refuses with
// [ErrUnsafe], unless force is set: then it writes that work to a JSON file beside
// the file first, and returns its path. Afterwards the file is an ordinary SQLite
// file, and the DB can only be closed. An agent started here is stopped; one of
// another process makes it fail with [ErrInUse].
func (db *DB) Detach(ctx context.Context, force bool) (rescue string, err error) {
	if err := db.usable(ctx); err != nil {
		return "", err
	}
	if err := db.Stop(); err != nil {
		return "", err
	}
	d, err := run.Detach(ctx, db.edge, force)
	if err != nil {
		return "", fmt.Errorf("detach: %w", err)
	}
	return d.Rescue, nil
}
