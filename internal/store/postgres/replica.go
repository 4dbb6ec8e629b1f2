package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Parts of bootstraps may be read from streaming standbys. No cursor is minted there
// (trap P15): a witness is written at the primary, with what its snapshot shows, and a
// standby that shows the witness shows all of that. What it shows beyond is looked up at
// the primary afterwards, entry by entry, with their nonces: a server that went its own
// way, or follows one that did, has entries that the primary does not know, and nothing
// of it is used.

// How long a bootstrap is kept waiting for a replica.
const (
	replicaWithin  = 300 * time.Millisecond // to show a witness
	replicaLook    = 5 * time.Millisecond
	replicaConnect = 2 * time.Second
	replicaRead    = 10 * time.Second // one part, all in all
	replicaLag     = time.Second      // it is left alone after it was late
	replicaAway    = 5 * time.Second  // after anything else
)

// The reasons why a replica is not read that are no errors of its own.
var (
	errLags   = errors.New("it lags behind the primary")
	errMoved  = errors.New("it shows more than the cursor")
	errOwnWay = errors.New("it shows changes that the primary does not: it follows another server, or takes writes itself")
)

// replicas are the standbys of a store.
type replicas struct {
	list []*replica
	next atomic.Uint64
	pins pins
}

// A replica is one of them.
type replica struct {
	n    int // as people count
	pool *pool

	mu    sync.Mutex
	until time.Time // guarded by mu: it is not asked before
	why   string    // likewise: what went wrong last; "" when it served
	reads int64     // likewise
}

// A ReplicaState says how a replica fares.
type ReplicaState struct {
	Reads int64  // parts of bootstraps that were read there
	Why   string // what went wrong last; "" when it served the last time
}

// pins are the witnesses that this process wrote last, the newest first.
type pins struct {
	gate gate // one is written at a time, for all who wait
	mu   sync.Mutex
	list []*witness // guarded by mu
}

// mostPins is how many witnesses are known again on a replica that is behind.
const mostPins = 64

func (s *Store) openReplicas() error {
	s.replicas.pins.gate = make(gate, 1)
	for i, dsn := range s.cfg.Replicas {
		pc, err := anyServer(dsn)
		if err != nil {
			return fmt.Errorf("replica %d: its address is not understood", i+1) // the error may repeat it
		}
		pc.ConnectTimeout = replicaConnect
		if s.cfg.Pooled { // nobody said that this one is not
			pc.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		s.replicas.list = append(s.replicas.list, &replica{n: i + 1, pool: newPool(pc, s.cfg.Conns)})
	}
	return nil
}

func (r *replicas) close() error {
	var errs []error
	for _, p := range r.list {
		errs = append(errs, p.pool.close())
	}
	return errors.Join(errs...)
}

var _ hub.Replicated = (*Store)(nil)

// Replicas implements hub.Replicated.
func (s *Store) Replicas() int { return len(s.replicas.list) }

// ReplicaStates says how each replica fares, in the order of Config.Replicas.
func (s *Store) ReplicaStates() []ReplicaState {
	var out []ReplicaState
	for _, r := range s.replicas.list {
		r.mu.Lock()
		out = append(out, ReplicaState{r.reads, r.why})
		r.mu.Unlock()
	}
	return out
}

// Aside implements hub.Replicated.
func (s *Store) Aside(ctx context.Context, seen change.Cursor, exact bool, fn func(hub.View) error) (at change.Cursor, err error) {
	n := uint64(len(s.replicas.list))
	if n == 0 {
		return at, hub.ErrNoReplica
	}
	need, err := s.pinFor(ctx, seen)
	if err != nil {
		return at, fmt.Errorf("%w: %w", hub.ErrNoReplica, err)
	}
	for i, from := uint64(0), s.replicas.next.Add(1); i < n; i++ {
		r := s.replicas.list[(from+i)%n]
		if !r.ready(s.cfg.Clock.Now()) {
			continue
		}
		at, err = s.asideOn(ctx, r, need, exact, fn)
		s.judge(ctx, r, err)
		if err == nil {
			return at, nil
		}
		if ctx.Err() != nil {
			return at, ctx.Err()
		}
	}
	return change.Cursor{}, hub.ErrNoReplica
}

func (r *replica) ready(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := r.until.Sub(now)
	return wait <= 0 || wait > replicaAway // a clock that was set back does not keep it away
}

// judge remembers how a replica fared, and says so when that is new.
func (s *Store) judge(ctx context.Context, r *replica, err error) {
	if errors.Is(err, errMoved) || errors.Is(err, errStale) || err != nil && ctx.Err() != nil {
		return // no fault of its own
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.why
	if err == nil {
		r.why = ""
		r.reads++
		if was != "" {
			s.cfg.Log.Info("the replica serves again", "replica", r.n)
		}
		return
	}
	r.why = err.Error()
	away := replicaAway
	if errors.Is(err, errLags) {
		away = replicaLag
	} else {
		r.pool.forget()
	}
	r.until = s.cfg.Clock.Now().Add(away)
	if was == "" {
		s.cfg.Log.Warn("a replica does not serve; parts of bootstraps are read from the primary", "replica", r.n, "why", r.why)
	}
}

func (s *Store) asideOn(ctx context.Context, r *replica, need *moment, exact bool, fn func(hub.View) error) (at change.Cursor, err error) {
	ctx, cancel := context.WithTimeout(ctx, replicaRead)
	defer cancel()
	c, err := r.pool.borrow(ctx)
	if err != nil {
		return at, err
	}
	defer r.pool.giveBack(c)
	w, err := s.await(ctx, c, need)
	if err != nil {
		return at, err
	}
	var more []entry
	err = inTx(ctx, c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"+s.settings(), func() error {
		v := &view{s: s, ctx: ctx, c: c, p: s.plan.Load(), pinned: w}
		if err := v.open(); err != nil {
			return err
		}
		var few bool
		if more, few, err = v.beyondOf(&w.shows); err != nil {
			return err
		}
		if !few || exact && len(more) > 0 {
			return errMoved
		}
		if err := fn(v); err != nil {
			return err
		}
		return following(ctx, c)
	})
	if err != nil {
		return at, err
	}
	return s.seal(ctx, w, more)
}

// seal is a state of the primary that shows a witness, and transactions that a replica
// showed beyond. One of these may not be over at the primary, which waits for standbys
// before it shows a commit: there is no such state for a moment.
func (s *Store) seal(ctx context.Context, w *witness, more []entry) (at change.Cursor, err error) {
	limit := time.NewTimer(replicaWithin)
	defer limit.Stop()
	look := time.NewTicker(replicaLook)
	defer look.Stop()
	for {
		if at, err = s.shownAt(ctx, w, more); !errors.Is(err, errOwnWay) {
			return at, err
		}
		select {
		case <-look.C:
		case <-limit.C:
			return at, err
		case <-ctx.Done():
			return at, ctx.Err()
		}
	}
}

func (s *Store) shownAt(ctx context.Context, w *witness, more []entry) (at change.Cursor, err error) {
	err = s.View(ctx, func(hv hub.View) error {
		v := hv.(*view)
		if len(more) == 0 {
			at, err = v.mint(&w.shows)
			if list, e := v.lineage(); e != nil || present(list) != present(w.lives) {
				return errors.Join(e, errMoved)
			}
			return err
		}
		all, err := v.shownAll(more)
		if err != nil {
			return err
		}
		if !all {
			return errOwnWay
		}
		at, err = v.Cursor()
		return err
	})
	return at, err
}

// following returns an error when a server is no standby any more. After the rows were
// read it says that they were a standby's.
func following(ctx context.Context, c *pgx.Conn) error {
	standby := false
	err := query(ctx, c, "SELECT pg_is_in_recovery()", func(r *row) error {
		standby = r.bool(0)
		return nil
	})
	if err == nil && !standby {
		err = errors.New("it is no standby: it takes writes itself")
	}
	return err
}

// await waits until a replica shows a witness of this process that shows what another
// one does.
func (s *Store) await(ctx context.Context, c *pgx.Conn, need *moment) (*witness, error) {
	if err := following(ctx, c); err != nil {
		return nil, err
	}
	limit := time.NewTimer(replicaWithin)
	defer limit.Stop()
	look := time.NewTicker(replicaLook)
	defer look.Stop()
	for {
		var nonce int64
		err := query(ctx, c, `SELECT nonce FROM tidemark.witness WHERE name = $1::text`, func(r *row) error {
			nonce = r.int(0)
			return nil
		}, s.me)
		if pe, ok := errors.AsType[*pgconn.PgError](err); ok && pe.Code == "42P01" {
			return nil, errLags // the layout has not come there yet
		}
		if err != nil {
			return nil, err
		}
		if w := s.replicas.pins.known(nonce); w != nil && w.shows.covers(need) {
			return w, nil
		}
		select {
		case <-look.C:
		case <-limit.C:
			return nil, errLags
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// known is the witness of a nonce, nil when this process did not write it lately.
func (p *pins) known(nonce int64) *witness {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.list {
		if w.nonce == nonce {
			return w
		}
	}
	return nil
}

func (p *pins) add(w *witness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append([]*witness{w}, p.list[:min(len(p.list), mostPins-1)]...)
}

// pinFor sees to it that there is a witness that shows what a cursor does, and returns
// what that is.
func (s *Store) pinFor(ctx context.Context, seen change.Cursor) (*moment, error) {
	p := &s.replicas.pins
	if err := p.gate.lock(ctx); err != nil {
		return nil, err
	}
	defer p.gate.unlock()
	lives := *s.lives.Load()
	need, err := parse(lives, seen)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	have := len(p.list) > 0 && p.list[0].shows.covers(&need) && present(p.list[0].lives) == present(lives)
	p.mu.Unlock()
	if have {
		return &need, nil
	}
	w, err := s.testify(ctx)
	if err != nil {
		return nil, err
	}
	if need, err = parse(w.lives, seen); err == nil && !w.shows.covers(&need) {
		err = errMoved // a cursor of an earlier life: the primary knows what of it is left
	}
	return &need, err
}
