package edge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// incoming is a pull, received and staged whole: what one local transaction
// installs.
type incoming struct {
	// each yields the rows in order: bootstrap chunks first, then the delta that
	// closes them. It may be called more than once.
	each func(fn func(*change.Rows) error) error

	full  bool           // the rows are everything there is: what is not among them is gone
	lost  bool           // the hub was restored: what it lost is offered back (see salvage.go)
	why   string         // of a full fetch, for people
	anew  bool           // the outcomes are all there are, of another history of the hub
	echo  bool           // rows that only we touched are among them, too (wire.Pull.Echo)
	evict []rule.ScopeID // scopes this device may no longer read
	keep  string         // when set: the reason under which replaced rows are kept as rescue copies
	// resolve writes the columns, too, that are held until they are compared.
	resolve bool

	next     change.Cursor
	seal     []byte // the hub's, of next
	outcomes []wire.TxResult
	mark     uint64

	scoped bool // grants and scopes below replace the ones in force
	grants []rule.Grant
	scopes change.Hash
}

// applied says what an apply did.
type applied struct {
	Rows     int           // written as the hub has them
	Gone     int           // removed
	Settled  int           // transactions whose outcome is now in the tables
	Parked   int           // transactions that the hub quarantined
	Aside    int           // transactions taken out of the tables (trap S19)
	Rescued  int           // local images kept in the rescue table
	Existing int           // local rows that became pending inserts at the first bootstrap
	Hold     time.Duration // how long the application's write lock was held
}

// The states of hub.Status on the wire.
const (
	outcomeApplied     = 1
	outcomeMerged      = 2
	outcomeQuarantined = 3
	outcomeDiscarded   = 4
)

// An applier installs one pull. run may happen several times, each time with more
// transactions set aside.
//
// Two strategies share the code. Usually only rows with pending work are
// tracked, and only those that the pull or an outcome touches are recomputed.
// When scopes change or everything is fetched anew, the whole overlay is lifted
// first, so that the tables hold the hub's view, and is put back at the end.
type applier struct {
	e   *Engine
	in  *incoming
	now time.Time
	out applied

	since time.Time // when the write lock was taken

	aside   map[uint64]bool // transactions whose effects are not in the tables
	fresh   map[uint64]bool // those of them set aside by this apply
	tracks  map[string]map[string]*track
	order   []*track
	txs     map[uint64]*outgoing
	plans   map[string]*plan // by table and columns
	refs    map[string][]ref // foreign keys by lower-case parent table
	lifted  bool
	wrote   map[string]bool // lower-case tables the pull or an outcome wrote
	removal map[rowRef]*removal
	removed []rowRef // keys of removal in order of arrival
	displ   map[rowRef]*displaced
	held    map[rowRef]held
	applied []*track       // rows that the hub now has as this device sent them
	kept    map[string]int // rows kept as rescue copies since they may be work, by table
	seen    *keySet
	lost    *wreck // nil: what the hub has not is not offered to it
	first   bool
	unique  map[string][]change.Unique // by table name
	empty   map[string]bool            // lower-case tables without a row before a full install
}

// A rowRef names one row, comparable.
type rowRef struct{ table, id string }

// A track is what an apply knows of one row with pending work, or held (trap S20).
type track struct {
	t    *table
	id   string
	key  change.Key
	seqs []uint64 // unsettled transactions that touch it, oldest first

	shadow  []change.Value // the hub's version in table order; nil: absent
	loaded  bool
	changed bool // shadow differs from what the file holds

	local  []change.Value // the row in the file before this apply; nil: absent
	read   bool
	stands bool // the file still holds local

	came  bool // the hub sent its state
	dirty bool // to be recomputed
	done  bool // its final version stands in the file
}

// apply installs a pull in one transaction of the application's file. When
// pending work turns out to be in the way, the transaction is rolled back and
// begun anew without that work: a savepoint would copy every page that the usual,
// undisturbed apply touches. The caller holds e.mu.
func (e *Engine) apply(in *incoming) (*applied, error) {
	a := &applier{e: e, in: in, now: e.cfg.Clock.Now(), fresh: map[uint64]bool{}}
	if in.next.IsZero() {
		return nil, errors.New("apply pull: the hub's answer has no cursor")
	}
	for {
		err := a.commit()
		var c *collision
		if errors.As(err, &c) && a.stepAside(c) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("apply pull up to %s: %w", in.next, err)
		}
		a.out.Hold = e.cfg.Clock.Now().Sub(a.since)
		a.out.Aside = len(a.fresh)
		return &a.out, nil
	}
}

// commit runs the transaction. One that installs a bootstrap, or other scopes,
// waits for the disk: what was staged for it is let go of afterwards.
func (a *applier) commit() error {
	once := func() error { return sqlite.Immediate(a.e.conn, a.run) }
	if a.in.full || a.in.scoped {
		return a.e.roomy(once)
	}
	return a.e.relaxed(once)
}

// step is where tests make an apply fail.
func (e *Engine) step(name string) error {
	if e.hook == nil {
		return nil
	}
	return e.hook(name)
}

func (a *applier) run() error {
	e := a.e
	a.since = e.cfg.Clock.Now()
	if err := e.step("begin"); err != nil {
		return err
	}
	// Muting capture and exporting what the application committed meanwhile
	// belong to this transaction: no other connection ever sees the flag (trap
	// D1), and no write of the application's slips in between (S24).
	n, err := e.export(a.now)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if n > 0 {
		e.synced = false
	}
	if err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_applying VALUES (1)"); err != nil {
		return err
	}
	err = a.attempt()
	var c *collision
	if errors.As(err, &c) {
		return a.widen(c)
	}
	if err != nil {
		return err
	}
	if err := a.finish(); err != nil {
		return err
	}
	if err := e.pruneRedo(); err != nil {
		return err
	}
	if err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_applying"); err != nil {
		return err
	}
	return e.step("commit")
}

func (a *applier) attempt() error {
	if err := a.begin(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		fn   func() error
	}{
		{"lift", a.lift},
		{"look", a.look},
		{"evict", a.evict},
		{"rows", a.receive},
		{"sweep", a.sweep},
		{"lower", a.lower},
		{"settle", a.settle},
		{"overlay", a.overlay},
		{"displaced", a.restoreDisplaced},
		{"foreign keys", a.checkParents},
		{"shadow", a.storeShadows},
	} {
		if err := a.e.step(step.name); err != nil {
			return err
		}
		if err := step.fn(); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) begin() error {
	a.out = applied{}
	a.tracks, a.order = map[string]map[string]*track{}, nil
	a.txs = map[uint64]*outgoing{}
	a.plans = map[string]*plan{}
	a.wrote = map[string]bool{}
	a.removal, a.removed = map[rowRef]*removal{}, nil
	a.displ = map[rowRef]*displaced{}
	a.held, a.kept, a.applied = nil, map[string]int{}, nil
	a.unique = map[string][]change.Unique{}
	a.lifted = a.in.full || len(a.in.evict) > 0
	a.first = false
	if a.in.full {
		complete, err := a.e.meta(metaComplete)
		if err != nil {
			return err
		}
		a.first = complete.Int() != 1
		a.seen = newKeySet()
	}
	a.lost = nil
	if a.in.lost && a.in.full && !a.first {
		a.lost = newWreck()
	}
	var err error
	if a.refs, err = a.e.references(); err != nil {
		return err
	}
	for seq := range a.fresh {
		if err := sqlite.Exec(a.e.conn, "UPDATE _tidemark_outbox SET aside=1 WHERE seq=?", change.Int(int64(seq))); err != nil {
			return err
		}
	}
	if err := a.reopen(); err != nil {
		return err
	}
	return a.loadTracks()
}

// loadTracks reads which rows have pending work, or are held. Usually none are.
func (a *applier) loadTracks() error {
	a.aside = map[uint64]bool{}
	err := sqlite.Query(a.e.conn, "SELECT seq FROM _tidemark_outbox WHERE state < ? AND aside", func(s *sqlite.Stmt) error {
		a.aside[uint64(s.ColumnInt64(0))] = true
		return nil
	}, change.Int(int64(settled)))
	if err != nil {
		return err
	}
	a.tracks, a.order = map[string]map[string]*track{}, nil
	return sqlite.Query(a.e.conn, `SELECT s.tbl, s.key, p.seq FROM _tidemark_shadow s
		LEFT JOIN _tidemark_pending p ON p.tbl = s.tbl AND p.key = s.key ORDER BY s.tbl, s.key, p.seq`, func(s *sqlite.Stmt) error {
		name, id := s.ColumnText(0), sqlite.Column(s, 1).Str()
		t := a.e.tableNamed(name)
		if t == nil {
			return nil // no longer synced: nothing to compute
		}
		tr := a.track(t, id)
		if tr == nil {
			key, err := change.ParseKeyID(id)
			if err != nil {
				return fmt.Errorf("shadow of table %s: %w", name, err)
			}
			tr = &track{t: t, id: id, key: key}
			m := a.tracks[strings.ToLower(t.schema.Name)]
			if m == nil {
				m = map[string]*track{}
				a.tracks[strings.ToLower(t.schema.Name)] = m
			}
			m[id] = tr
			a.order = append(a.order, tr)
		}
		if p := sqlite.Column(s, 2); !p.IsNull() {
			tr.seqs = append(tr.seqs, uint64(p.Int()))
			tr.dirty = tr.dirty || a.fresh[uint64(p.Int())]
		}
		return nil
	})
}

// track returns what is known of a row with pending work, or nil.
func (a *applier) track(t *table, id string) *track {
	if len(a.order) == 0 {
		return nil
	}
	return a.tracks[strings.ToLower(t.schema.Name)][id]
}

// finish records how far the file has come, in the transaction that brought it
// there.
func (a *applier) finish() error {
	e, in := a.e, a.in
	if err := a.keepSeal(); err != nil {
		return err
	}
	if err := e.stand(in.next, in.mark, a.now); err != nil {
		return err
	}
	if in.scoped {
		if err := e.setScopes(in.grants, in.scopes); err != nil {
			return err
		}
	}
	if e.contact.After(time.Time{}) {
		if err := e.setMeta(metaContact, change.Int(e.contact.UnixMilli())); err != nil {
			return err
		}
	}
	if err := a.storeSalvage(); err != nil {
		return err
	}
	if err := a.noteKept(); err != nil {
		return err
	}
	if !a.first {
		return a.noteAnew()
	}
	// Into empty tables the triggers come last: the rows go in twice as fast.
	if err := e.dropTriggers(); err != nil {
		return err
	}
	if err := e.createTriggers(); err != nil {
		return err
	}
	return e.setMeta(metaComplete, change.Int(1))
}
