package postgresstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Config says which database to serve, and how.
type Config struct {
	DSN string // of the database, as libpq reads it; pgbouncer may stand in front
	// Listen is the DSN for the one connection that hears of commits. It must not lead
	// through a pgbouncer in transaction mode. "" is DSN.
	Listen string
	// Replicas are the DSNs of streaming standbys, to read parts of bootstraps from.
	Replicas []string
	Pooled   bool        // DSN leads through a pgbouncer in transaction mode: nothing is prepared
	Rules    *rule.Rules // the tables to sync; nil syncs none
	// Common says that other processes serve the database, too, each with rules of its
	// own: then those that are in force in the database count, and Rules where there are
	// none yet. Enforce puts Rules in force for all of them.
	Common, Enforce bool
	// Heard is told the words of other processes, see Store.Tell; "" is that some may have
	// been missed. It must not block. It may be nil.
	Heard func(word string)
	Clock clock.Clock  // dates the journal; nil is the machine's
	Rand  io.Reader    // source of the epoch and of backoff; nil is the machine's
	Log   *slog.Logger // nil logs nothing
	// Conns is how many connections there are at most, beside the one that listens.
	// 0 means DefaultConns; there are at least two.
	Conns int
}

// DefaultConns is how many connections a store has at most.
const DefaultConns = 8

// Store implements hub.Store. Its methods may be called concurrently, and any number
// of processes may serve one database.
type Store struct {
	cfg   Config
	pool  *pool
	lives atomic.Pointer[[]life] // the lineage as last read; never nil after Open
	plan  atomic.Pointer[plan]
	moved atomic.Bool // the plan changed since the last Open or Refresh
	fresh bool        // this Open made the lineage; set before anything runs concurrently
	bell  *bell
	sums  ledger.Digests

	me string // among the processes that serve the database

	ticks atomic.Int64 // see sight

	writing gate // one Update at a time: those in line must not hold all connections

	closing sync.Once

	elected  election
	replicas replicas

	said      sync.Mutex
	saidToken string // guarded by said: what the last witness of this process shows

	sealed atomic.Pointer[seals] // the seals of the log's days, as last read

	dating sync.Mutex
	dated  int64 // Unix ms of the last entry of tidemark.time that is known
}

var _ hub.Store = (*Store)(nil)

// Open serves a database: it lays out the schema tidemark when it is not there yet,
// and sets up the capture for the tables of the rules.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Rules == nil {
		cfg.Rules = &rule.Rules{}
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Conns <= 0 {
		cfg.Conns = DefaultConns
	}
	cfg.Conns = max(cfg.Conns, 2) // an Update may need another one, see tx.blame
	if cfg.Listen == "" {
		cfg.Listen = cfg.DSN
	}
	pc, err := config(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("open hub: %w", err)
	}
	if cfg.Pooled {
		pc.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	s := &Store{cfg: cfg, pool: newPool(pc, cfg.Conns), writing: make(gate, 1)}
	s.elected.gate = make(gate, 1)
	err = errors.Join(s.drawName(), s.openReplicas())
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open hub: %w", err), s.pool.close(), s.replicas.close())
	}
	s.bell = newBell(s)
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	err := s.again(ctx, func() error {
		c, err := s.pool.borrow(ctx)
		if err != nil {
			return err
		}
		defer s.pool.giveBack(c)
		if err := s.layOut(ctx, c); err != nil {
			return err
		}
		if err := s.ahead(ctx, c); err != nil {
			return err
		}
		return inTx(ctx, c, "BEGIN; LOCK TABLE tidemark.writer IN EXCLUSIVE MODE", func() error {
			if err := s.found(ctx, c); err != nil {
				return err
			}
			return s.recognize(ctx, c)
		})
	})
	if err != nil {
		return err
	}
	rules := s.cfg.Rules
	if s.cfg.Common && !s.cfg.Enforce {
		rules = nil
	}
	_, err = s.refresh(ctx, rules)
	return err
}

// Schema implements hub.Store.
func (s *Store) Schema() change.Schema { return s.plan.Load().schema }

// Epoch names this life of the hub.
func (s *Store) Epoch() change.Epoch { return present(*s.lives.Load()) }

// errStale says that another program changed the schema: the capture must be brought
// up to date first.
var errStale = errors.New("the schema changed")

// current runs fn until it no longer meets a changed schema.
func (s *Store) current(ctx context.Context, fn func() error) error {
	for lost := false; ; {
		err := wrongServer(fn())
		if (errors.Is(err, errLost) || errors.Is(err, ErrStandby)) && !lost {
			lost = true
			s.pool.forget()
			continue
		}
		if errors.Is(err, errPromoted) {
			if err := s.settle(ctx); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, errStale) {
			return err
		}
		changed, err := s.refresh(ctx, nil)
		if err != nil {
			return err
		}
		if changed {
			s.moved.Store(true)
		}
	}
}

// View implements hub.Store.
func (s *Store) View(ctx context.Context, fn func(hub.View) error) error {
	return s.current(ctx, func() error {
		c, err := s.pool.borrow(ctx)
		if err != nil {
			return err
		}
		defer s.pool.giveBack(c)
		return inTx(ctx, c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"+s.settings(), func() error {
			v := &view{s: s, ctx: ctx, c: c, p: s.plan.Load()}
			if err := v.open(); err != nil {
				return err
			}
			return fn(v)
		})
	})
}

// Update implements hub.Store. The lock comes before the snapshot, so that what the
// Update before wrote is seen, whatever process it ran in (trap P14).
func (s *Store) Update(ctx context.Context, fn func(hub.Tx) error) error {
	return s.current(ctx, func() error {
		if err := s.writing.lock(ctx); err != nil {
			return err
		}
		defer s.writing.unlock()
		defer watch(s.cfg.Log, stallAfter)()
		return s.again(ctx, func() error {
			err := s.updateOnce(ctx, fn, false)
			if errors.Is(err, errHaste) {
				err = s.updateOnce(ctx, fn, true)
			}
			return err
		})
	})
}

func (s *Store) updateOnce(ctx context.Context, fn func(hub.Tx) error, slow bool) error {
	c, err := s.pool.borrow(ctx)
	if err != nil {
		return err
	}
	defer s.pool.giveBack(c)
	return inTx(ctx, c, "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE tidemark.writer IN EXCLUSIVE MODE"+s.settings(), func() error {
		t := newTx(s, ctx, c)
		t.haste.never = slow
		if err := t.open(); err != nil {
			return err
		}
		if err := t.fenced(); err != nil {
			return err
		}
		if err := fn(t); err != nil {
			if t.fault != nil { // fn may have made something else of it
				return t.fault
			}
			return err
		}
		return t.end()
	})
}

// Close implements hub.Store.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		s.bell.close()
		err = errors.Join(s.pool.close(), s.replicas.close())
	})
	return err
}
