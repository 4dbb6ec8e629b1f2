package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// A hub that was put back gets again what it lost, from each device when that comes
// by. Until the last one came, work of one may lack what another brings: a parent
// row, a delivery, the step before. Such work needs patience, not a person. It
// waits in quarantine and is tried again whenever more was taken in.

// patientFor is how long after a restore what devices hand in may wait for what
// others still have: as long as their files keep it.
const patientFor = DefaultKeep

// patientEnd is how long what waits is tried on after that: nobody brings anything
// back by then, so that a delete of what was lost is done.
const patientEnd = 24 * time.Hour

// Every transaction that is brought back pays for some tries of what waits: few are
// tried each time, of many not all for every push.
const (
	patientFew   = 64
	patientTries = 8  // for one transaction
	patientGroup = 32 // tries in one Update
)

// A patience is what a hub knows of the work that waits so.
type patience struct {
	trying sync.Mutex     // one tries at a time; guards looked
	looked *change.Cursor // the hub's state when all were last tried in vain; nil: not tried

	mu     sync.Mutex // guards what follows; nothing is waited for under it
	waits  int        // as far as known: at the last look, and parked since
	credit int        // tries that transactions taken in since paid for
}

// waitsForMore reports whether p needs only patience: more data can cure why it was
// parked, and lost data may still come. The other codes ask for somebody's decision,
// or for other rules, rights or tables.
func (p *Parked) waitsForMore(lives []change.Branch, now time.Time) bool {
	switch p.Code {
	case "missing-parent", "missing", "depends", "scope", "restrict", "unique", "identity", "transition", "floor", "constraint", "rule":
		return !p.Salvage && !p.Absent && now.Before(p.At.Add(patientFor+patientEnd)) && (p.Reoffered || recovering(lives, p.At))
	}
	return false
}

// recovering reports whether at a time devices may still have been bringing back
// what the hub had lost.
func recovering(lives []change.Branch, at time.Time) bool {
	return slices.ContainsFunc(lives, func(b change.Branch) bool {
		return b.Mode == change.Restored && !at.Before(b.At) && at.Before(b.At.Add(patientFor))
	})
}

// countWaits counts what a batch left waiting, once it is whole.
func (b *batch) countWaits() error {
	if b.parked == 0 {
		return nil
	}
	if !b.review.reoffered {
		lives, err := b.tx.Lineage()
		if err != nil {
			return fmt.Errorf("read lineage: %w", err)
		}
		if !recovering(lives, b.now) {
			return nil
		}
	}
	b.review.waits = b.parked
	return nil
}

// tookIn tries again what waits, after a batch was committed that brought back what
// the hub had lost. All other pushes go on as if nothing waited: Await comes to what
// they cure. The batch is safe whatever comes of it.
func (h *Hub) tookIn(ctx context.Context, b *batch) {
	p := &h.patience
	if !p.pays(&b.review) || !p.trying.TryLock() { // whoever tries now goes on while it helps
		return
	}
	defer p.trying.Unlock()
	if err := h.tryAll(ctx); err != nil && ctx.Err() == nil {
		h.log.Error("quarantine", "error", err.Error())
	}
}

// pays counts a batch, and reports whether what waits is to be tried after it.
func (p *patience) pays(r *review) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits += r.waits
	if r.taken == 0 || !r.reoffered || p.waits == 0 {
		return false
	}
	p.credit += patientTries * r.taken
	return p.waits <= patientFew || p.credit >= p.waits // others will pay, or Await
}

// Await tries again the transactions in quarantine that need only what the hub lost
// and devices bring back: parked for a reason that more data can cure, and handed in
// again after the hub was put back, or within DefaultKeep of a restore. A day and
// DefaultKeep after it was parked such a transaction is a person's. A push of what was handed in
// before does the same; Await is for what came otherwise. It does nothing while the
// hub's data is as it was when all were last tried.
func (h *Hub) Await(ctx context.Context) error {
	if h.Behind() != nil {
		return nil
	}
	h.patience.trying.Lock()
	defer h.patience.trying.Unlock()
	return h.tryAll(ctx)
}

// tryAll tries what waits until nothing more comes of it. The caller holds
// patience.trying.
func (h *Hub) tryAll(ctx context.Context) error {
	p := &h.patience
	for {
		p.count(0, true)
		list, end, err := h.waiting(ctx)
		if err != nil {
			p.count(1, false) // who knows
			return fmt.Errorf("read what waits for lost work: %w", err)
		}
		p.count(len(list), false)
		if len(list) == 0 || p.looked != nil && *p.looked == end {
			return nil
		}
		n, err := h.tryList(ctx, list)
		if err != nil {
			return fmt.Errorf("try again what waits for lost work: %w", err)
		}
		if n == 0 {
			p.looked = &end
			return nil
		}
		h.bump(change.DeviceID{})
		h.log.Info("transactions that waited for lost work settled", "count", n)
	}
}

// count counts what waits. It begins anew before a look: pushes that come between
// may be counted twice, never not at all.
func (p *patience) count(n int, anew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if anew {
		p.waits, p.credit = 0, 0
	}
	p.waits += n
}

// waiting lists the records of what needs only patience, and the hub's state.
func (h *Hub) waiting(ctx context.Context) (records []string, end change.Cursor, err error) {
	now := h.clock.Now()
	err = h.view(ctx, func(v View) (err error) {
		records = nil
		if end, err = v.Cursor(); err != nil {
			return err
		}
		lives, err := v.Lineage()
		if err != nil {
			return err
		}
		list, err := parkedWork(v, change.DeviceID{})
		for _, p := range list {
			if p.waitsForMore(lives, now) {
				records = append(records, p.record)
			}
		}
		return err
	})
	return records, end, err
}

// tryList tries records, a few in one Update so that pushes get between, and returns
// how many transactions that settled.
func (h *Hub) tryList(ctx context.Context, records []string) (n int, err error) {
	for group := range slices.Chunk(records, patientGroup) {
		done := 0
		err := h.update(ctx, func(tx Tx) error {
			done = 0
			for _, r := range group {
				k, err := h.tryOne(tx, r)
				if err != nil {
					return err
				}
				done += k
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += done
	}
	return n, nil
}

// errStays undoes a try that changed nothing.
var errStays = errors.New("it still waits")

// tryOne retries what waits under a record, if it is still there. One that waits on
// for the same reason leaves no trace: nobody asked for this try.
func (h *Hub) tryOne(tx Tx, record string) (n int, err error) {
	body, err := tx.Record(kindParked, record)
	if errors.Is(err, ErrNotFound) { // settled along with another
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	p, err := decodeParked(kindParked, record, body)
	if err != nil {
		return 0, err
	}
	b, err := h.batchOf(tx, p)
	if err != nil {
		return 0, err
	}
	reason, rows := p.Reason, len(p.Tx)
	err = tx.Savepoint(func() error {
		out, err := b.retry(p)
		if err != nil {
			return err
		}
		if len(out) == 1 && out[0].Status == Quarantined && p.Reason == reason && len(p.Tx) == rows {
			return errStays
		}
		for _, s := range out {
			if s.Status != Quarantined {
				n++
			}
		}
		return nil
	})
	if errors.Is(err, errStays) || errors.Is(err, ErrDepends) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("transaction %s: %w", p.ID, err)
	}
	return n, nil
}
