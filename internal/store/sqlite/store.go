package sqlitestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Config says which file to serve, and how.
type Config struct {
	Path   string      // an existing SQLite file; see Create and Import
	Rules  *rule.Rules // the tables to sync; nil syncs none
	Clock  clock.Clock // dates the journal; nil is the machine's
	Rand   io.Reader   // source of the epoch and the nonces; nil is the machine's
	Logger *slog.Logger
	NoSync bool // tests only: no fsync, so a power cut may lose what was answered as durable
	// Readers is how many snapshots may be read at once. 0 means DefaultReaders.
	Readers int
}

// DefaultReaders is how many snapshots may be read at once.
const DefaultReaders = 4

const cacheKB = 16 << 10 // page cache of each connection

// Store implements hub.Store. Its methods may be called concurrently.
type Store struct {
	cfg    Config
	lives  atomic.Pointer[[]life] // the lineage as last read; never nil after Open
	plan   atomic.Pointer[plan]
	free   chan struct{} // a token for each reader that is not lent
	done   chan struct{} // closed by Close
	bell   *bell
	sums   ledger.Digests
	photos photos

	reading sync.Mutex
	idle    []*sqlite.Conn // readers opened and not lent, the last used one last

	writing  sync.Mutex
	writer   *sqlite.Conn
	updates  map[updateKey]string // UPDATE statements by table and columns
	moved    bool                 // the plan changed since the last Open or Refresh
	dated    dating               // the last entry of _tidemark_time
	latest   dating               // as the last Update left the log
	cautious int                  // updates to come that make real savepoints

	closing sync.Once
}

var _ hub.Store = (*Store)(nil)

// Open serves an existing file: it lays out Tidemark's own tables when they are
// not there yet, and sets up the capture for the tables of the rules.
func Open(cfg Config) (*Store, error) {
	if cfg.Rules == nil {
		cfg.Rules = &rule.Rules{}
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Readers <= 0 {
		cfg.Readers = DefaultReaders
	}
	w, err := sqlite.Open(cfg.Path, sqlite.Options{MustExist: true, WAL: true, Full: true, NoSync: cfg.NoSync, CacheKB: cacheKB})
	if err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	s := &Store{cfg: cfg, writer: w, free: make(chan struct{}, cfg.Readers),
		done: make(chan struct{}), updates: map[updateKey]string{}}
	s.photos.prepare()
	for range cfg.Readers {
		s.free <- struct{}{}
	}
	if err := s.start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("open hub %s: %w", cfg.Path, err)
	}
	s.bell = newBell(cfg.Path)
	return s, nil
}

func (s *Store) start() error {
	if err := sqlite.MuteTriggers(s.writer); err != nil {
		return err
	}
	// The undo log of savepoints would otherwise go to a file of its own.
	if err := sqlite.Exec(s.writer, "PRAGMA temp_store=MEMORY"); err != nil {
		return err
	}
	return sqlite.Immediate(s.writer, func() error {
		fresh, err := s.layout()
		if err != nil {
			return err
		}
		if _, err := s.refresh(s.cfg.Rules); err != nil {
			return err
		}
		if !fresh {
			return nil
		}
		return s.firstFloor()
	})
}

// layout creates Tidemark's tables and the epoch; fresh when they were not there.
func (s *Store) layout() (fresh bool, err error) {
	c := s.writer
	_, known, err := sqlite.One(c, `SELECT 1 FROM sqlite_schema WHERE name='_tidemark_undo'`)
	if err != nil {
		return false, err
	}
	if known {
		return false, errors.New("the file belongs to an edge; detach it first")
	}
	if err := sqlite.Script(c, layoutSQL); err != nil {
		return false, fmt.Errorf("create layout: %w", err)
	}
	format, err := meta(c, metaFormat)
	if err != nil {
		return false, err
	}
	if v := format.Int(); v > layoutFormat {
		return false, fmt.Errorf("the file has layout %d, this build knows %d: use a newer build", v, layoutFormat)
	}
	if err := widen(c, 1, 1); err != nil {
		return false, err
	}
	fresh, err = s.found()
	if err != nil || !fresh {
		return false, err
	}
	return true, setMeta(c, metaFormat, change.Int(layoutFormat))
}

// firstFloor puts the floor of a new hub: rows that were there before the
// capture are in no log, so that who starts from nothing must read them all.
func (s *Store) firstFloor() error {
	for _, t := range s.plan.Load().tables {
		_, any, err := sqlite.One(s.writer, "SELECT 1 FROM "+t.name+" LIMIT 1")
		if err != nil {
			return err
		}
		if any {
			return s.raiseFloor()
		}
	}
	return s.setFloor(0, 0)
}

// Schema implements hub.Store.
func (s *Store) Schema() change.Schema { return s.plan.Load().schema }

// Epoch names this life of the hub.
func (s *Store) Epoch() change.Epoch { return present(*s.lives.Load()) }

// View implements hub.Store.
func (s *Store) View(ctx context.Context, fn func(hub.View) error) error {
	for {
		stale, err := s.viewOnce(ctx, fn)
		if err != nil || !stale {
			return err
		}
		// Another program changed the schema: bring the capture up to date first.
		if err := s.Update(ctx, func(hub.Tx) error { return nil }); err != nil {
			return err
		}
	}
}

func (s *Store) viewOnce(ctx context.Context, fn func(hub.View) error) (stale bool, err error) {
	c, err := s.borrow(ctx)
	if err != nil {
		return false, err
	}
	defer s.giveBack(c)
	err = sqlite.Snapshot(c, func() error {
		p := s.plan.Load()
		version, _, err := sqlite.One(c, "PRAGMA schema_version")
		if err != nil {
			return fmt.Errorf("begin snapshot: %w", err)
		}
		if version.Int() != p.version {
			stale = true
			return nil
		}
		return fn(&view{s: s, c: c, p: p})
	})
	return stale, err
}

// Update implements hub.Store.
func (s *Store) Update(ctx context.Context, fn func(hub.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.writer == nil {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	before := s.plan.Load()
	tail, spoiled, err := s.attempt(fn, s.cautious == 0)
	if spoiled {
		s.plan.Store(before)
		s.cautious = cautiousFor
		tail, _, err = s.attempt(fn, false)
	} else if s.cautious > 0 {
		s.cautious--
	}
	if err != nil {
		s.plan.Store(before)
		return err
	}
	s.bell.ring(tail)
	return nil
}

// cautiousFor is how many updates make real savepoints after one that needed them:
// trouble seldom comes alone.
const cautiousFor = 16

// attempt runs fn once. A bold one makes no savepoints, if fn may be run again;
// spoiled says that it would have needed one.
func (s *Store) attempt(fn func(hub.Tx) error, bold bool) (tail int64, spoiled bool, err error) {
	var t *tx
	err = sqlite.Immediate(s.writer, func() error {
		if err := s.current(); err != nil {
			return err
		}
		t = newTx(s, s.plan.Load())
		t.mayBold = bold
		if err := fn(t); err != nil {
			return err
		}
		if t.spoiled {
			return errSpoiled
		}
		var err error
		tail, err = t.end()
		return err
	})
	return tail, t != nil && t.spoiled, err
}

// current brings the capture up to date when another program changed the schema.
func (s *Store) current() error {
	version, _, err := sqlite.One(s.writer, "PRAGMA schema_version")
	if err != nil {
		return fmt.Errorf("begin update: %w", err)
	}
	p := s.plan.Load()
	if version.Int() == p.version {
		return nil
	}
	changed, err := s.refresh(&p.rules)
	s.moved = s.moved || changed
	return err
}

var errClosed = errors.New("the store is closed")

// Close implements hub.Store.
func (s *Store) Close() error {
	var errs []error
	s.closing.Do(func() {
		close(s.done)
		s.photos.close()
		s.bell.close()
		for range s.cfg.Readers {
			<-s.free
		}
		for _, c := range s.idle {
			errs = append(errs, c.Close())
		}
		s.writing.Lock()
		defer s.writing.Unlock()
		errs = append(errs, s.writer.Close())
		s.writer = nil
	})
	return errors.Join(errs...)
}
