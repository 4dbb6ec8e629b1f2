package edge

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// push hands in what waits, several pushes under way at a time.
func (s *Session) push(emit emitFunc) error {
	if s.welcome == nil || s.offer.sent != 0 {
		return nil
	}
	for len(s.inflight) < s.cfg.PushWindow {
		txs, confirmed, ready, err := s.e.outgoing(s.pushed, s.cfg.PushBytes)
		if err != nil || !ready {
			return err
		}
		if len(txs) == 0 {
			return s.offerSalvage(emit)
		}
		p, err := s.seal(&txs)
		if err != nil || p == nil {
			return err
		}
		if err := s.e.attest(p, confirmed); err != nil {
			return err
		}
		s.pushed = txs[len(txs)-1].Seq
		if err := s.hand(p, s.pushed, emit); err != nil {
			return err
		}
	}
	return nil
}

// tooLarge notes on a transaction that an older hub, which knows no parts, takes no
// frame of its size.
func (e *Engine) tooLarge(tx *change.Transaction, size int, limit uint32) error {
	reason := fmt.Sprintf("%d operations in %d bytes, and the hub takes frames of %d at most: raise the hub's limit", len(tx.Ops), size, limit)
	return e.locked(func() error {
		v, _, err := sqlite.One(e.conn, "SELECT reason FROM _tidemark_outbox WHERE seq=?", change.Int(int64(tx.Seq)))
		if err != nil || v.Str() == reason {
			return err
		}
		e.cfg.Logger.Error("transaction too large to hand in; it holds back what follows", "transaction", tx.ID.String(), "bytes", size, "limit", limit)
		return sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET reason=? WHERE seq=?", change.Text(reason), change.Int(int64(tx.Seq)))
	})
}

// outgoing is what to push next, and in which epoch it was confirmed. ready says that
// this is all there is to say: nothing is handed in before the first bootstrap
// stands, for rows that were here before Tidemark belong ahead of it in the chain.
func (e *Engine) outgoing(after uint64, maxBytes int) (txs []*change.Transaction, confirmed change.Epoch, ready bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	complete, err := e.metaInt(metaComplete)
	if err != nil || complete != 1 {
		return nil, 0, false, err
	}
	if txs, confirmed, err = e.outbox(after, maxBytes); err != nil || len(txs) == 0 {
		return nil, 0, err == nil, err
	}
	if err := e.sync(); busy(err) {
		return nil, 0, false, nil // like an export that finds the file locked: the next Tick tries again
	} else if err != nil {
		return nil, 0, false, err
	}
	return txs, confirmed, true, nil
}

func (s *Session) pushResult(m *wire.PushResult, emit emitFunc) error {
	s.leases.unblock()
	if len(s.inflight) > 0 {
		s.inflight = slices.Delete(s.inflight, 0, 1)
	}
	if s.offer.sent != 0 {
		return s.offered(m, emit)
	}
	if m.Fork {
		if err := s.e.locked(s.e.fork); err != nil {
			return fmt.Errorf("begin new incarnation: %w", err)
		}
		return s.greet(emit)
	}
	if err := s.filled(m.Results); err != nil {
		return err
	}
	err := s.e.locked(func() error { return s.e.markDurable(m.Durable) })
	if err != nil && !busy(err) { // busy: it is sent again and known as a duplicate
		return err
	}
	if err := s.push(emit); err != nil {
		return err
	}
	if err := s.tellSafe(emit); err != nil {
		return err
	}
	if s.cfg.Once && !s.pulling && len(s.inflight) == 0 {
		return s.pull(emit, false)
	}
	return nil
}

// locked runs fn as the engine's only user.
func (e *Engine) locked(fn func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fn()
}

// setOffset keeps the measured distance to the hub's clock. Small differences
// are noise of the network and not worth a write.
func (e *Engine) setOffset(offset time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return
	}
	was, err := e.meta(metaOffset)
	if err != nil {
		return
	}
	ms := offset.Milliseconds()
	if d := ms - was.Int(); !was.IsNull() && d > -offsetNoise && d < offsetNoise {
		return
	}
	if err := e.setMeta(metaOffset, change.Int(ms)); err != nil {
		// Not fatal: the hub measures too, and the next session tries again.
		e.cfg.Logger.Warn("clock offset not stored", "error", err)
	}
}

// offsetNoise is how many milliseconds of change in the offset are ignored.
const offsetNoise = 50

// refreshGrants takes over changed rights where the readable scopes are the same:
// no row comes or goes.
func (e *Engine) refreshGrants(grants []rule.Grant, scopes change.Hash) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	have, err := e.meta(metaScopes)
	if err != nil || have.Str() != scopes.String() {
		return err
	}
	old, err := e.grants()
	if err != nil || slices.Equal(old, grants) {
		return err
	}
	return e.setGrants(grants)
}

// adoptSetup enrols the file, or brings it up to a new setup. Into empty tables
// the capture triggers come after the bootstrap: rows that the application writes
// until then are found by comparison.
func (e *Engine) adoptSetup(setup *wire.Setup, device change.DeviceID) error {
	o := InstallOptions{}
	var complete int64
	err := e.locked(func() (err error) {
		if e.setup != nil {
			device = e.device
			complete, err = e.metaInt(metaComplete)
			if err != nil {
				return err
			}
		}
		if complete != 1 {
			o.DeferTriggers, err = e.noRows(setup)
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = e.Install(setup, device, o)
	return err
}

// noRows reports that the file has no row of any table to be synced.
func (e *Engine) noRows(setup *wire.Setup) (bool, error) {
	for i := range setup.Schema.Tables {
		name := setup.Schema.Tables[i].Name
		_, ok, err := sqlite.One(e.conn, "SELECT 1 FROM sqlite_schema WHERE type='table' AND name=? COLLATE NOCASE", change.Text(name))
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		_, some, err := sqlite.One(e.conn, "SELECT 1 FROM "+sqlite.Quote(name)+" LIMIT 1")
		if err != nil || some {
			return false, err
		}
	}
	return true, nil
}
