package edge

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// reconcile compares what the hub has of this file's chain with the file's own
// record of it. A chain that does not fit means that the file was copied or
// restored; transactions that the hub once confirmed and lacks now, or may lack
// because it is in another life, mean that the hub was set back. Either way what
// the hub may lack is offered again, never less: it knows by uuid what it has
// after all. again says that the file has to greet again, as a new incarnation.
func (e *Engine) reconcile(m *wire.Welcome) (again bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch = m.Epoch
	if err := e.keepLineage(m); err != nil {
		return false, err
	}
	if err := e.findReview(); err != nil {
		return false, err
	}
	top, err := e.confirmed()
	if err != nil {
		return false, err
	}
	fits, err := e.chainFits(m.Progress, m.Sum)
	if err != nil {
		return false, err
	}
	known, err := e.metaInt(metaEpoch)
	if err != nil {
		return false, err
	}
	r := rift{lost: allKnown}
	if !fits {
		// It confirmed another transaction at that very place, or the last of all.
		if m.Progress <= top || m.Lacks {
			r.lost = 0
		}
		return true, e.split(r)
	}
	if top <= m.Progress && change.Epoch(known) == m.Epoch && !m.Lacks {
		return false, e.markDurable(m.Progress)
	}
	ringed, err := e.ringed()
	if err != nil {
		return false, err
	}
	if !ringed {
		whole, err := e.recall(m.Progress)
		if err != nil {
			return false, err
		}
		if whole {
			return false, e.markDurable(m.Progress)
		}
	}
	if top > m.Progress || m.Lacks {
		r.lost = m.Progress
	}
	return true, e.split(r)
}

// allKnown is rift.lost when the hub lacks nothing that it confirmed in its
// present life.
const allKnown = math.MaxUint64

// confirmed is the last seq that a hub once said it has.
func (e *Engine) confirmed() (uint64, error) {
	v, _, err := sqlite.One(e.conn, "SELECT max(seq) FROM _tidemark_outbox WHERE state<>?", change.Int(int64(waiting)))
	return uint64(v.Int()), err
}

// landmark is the last transaction that a hub once said it has, of those that are
// still kept, when the hub has to be asked for it; zero when not. The outbox's own need
// not be asked for: either the hub's end of the chain fits and tells, or the file begins
// a new incarnation, and what was settled goes to the redo ring.
func (e *Engine) landmark() (out wire.Landmark, err error) {
	if top, err := e.confirmed(); err != nil || top > 0 {
		return out, err
	}
	v, ok, err := sqlite.One(e.conn, "SELECT body FROM _tidemark_redo ORDER BY n DESC LIMIT 1")
	if err != nil || !ok {
		return out, err
	}
	t, err := change.DecodeTransaction([]byte(v.Str()))
	if err != nil {
		return out, fmt.Errorf("read the last transaction that is at the hub: %w", err)
	}
	return wire.LandmarkOf(t), nil
}

// chainFits reports whether the chain that the hub has is the beginning of ours.
func (e *Engine) chainFits(progress uint64, sum change.Hash) (bool, error) {
	last, err := e.metaInt(metaSeq)
	if err != nil || progress > uint64(last) || progress == 0 {
		return progress == 0, err
	}
	v, ok, err := sqlite.One(e.conn, "SELECT sum FROM _tidemark_outbox WHERE seq=?", change.Int(int64(progress)))
	return !ok || v.Str() == string(sum[:]), err
}

// recall makes transactions after a seq unsafe again: the hub no longer has them,
// though it once said so. It reports whether the outbox still holds all of them;
// otherwise nothing was done.
func (e *Engine) recall(after uint64) (bool, error) {
	last, err := e.metaInt(metaSeq)
	if err != nil {
		return false, err
	}
	list, err := e.outboxRows(after)
	if err != nil || uint64(len(list)) != max(uint64(last), after)-after {
		return false, err
	}
	list = slices.DeleteFunc(list, func(o outboxRow) bool { return o.state == waiting })
	return true, sqlite.Immediate(e.conn, func() error {
		for _, o := range list {
			if err := e.recallOne(o); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			e.cfg.Logger.Warn("the hub lost transactions it once had; handing them in again", "from", list[0].seq, "to", list[len(list)-1].seq)
			if err := e.setMeta(metaForked, change.Int(int64(list[len(list)-1].seq))); err != nil {
				return err
			}
		}
		return e.enterLife(after, len(list))
	})
}

// recallOne makes one transaction unsafe again. All of it may be missing at the
// hub, also what was settled of it, whole or in part.
func (e *Engine) recallOne(o outboxRow) error {
	tx, err := e.transaction(o.seq)
	if err != nil {
		return err
	}
	for i := range tx.Ops {
		if err := e.track(o.seq, &tx.Ops[i]); err != nil {
			return err
		}
	}
	if o.state == settled {
		if err := e.addRedo(-o.size); err != nil {
			return err
		}
	}
	return sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET state=? WHERE seq=?", change.Int(int64(waiting)), change.Int(int64(o.seq)))
}

// enterLife notes that the hub, in its present life, has the chain up to a seq,
// and all of the redo ring. again is how much of what it had is offered anew. It
// must run inside a write transaction.
func (e *Engine) enterLife(progress uint64, again int) error {
	known, err := e.metaInt(metaEpoch)
	if err != nil || e.epoch == 0 {
		return err
	}
	if change.Epoch(known) == e.epoch {
		if again == 0 {
			return nil
		}
		return e.addEvent(EventHubBack, fmt.Sprintf("the hub no longer had what it once confirmed: %s offered again", transactions(again)))
	}
	err = sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET epoch="+e.epochSQL()+" WHERE seq<=? AND epoch<>?",
		epochValue(e.epoch), change.Int(int64(min(progress, math.MaxInt64))), epochValue(e.epoch))
	if err != nil {
		return err
	}
	if known != 0 {
		if err := e.addEvent(EventHubBack, fmt.Sprintf("the hub was restored: %s offered again", transactions(again))); err != nil {
			return err
		}
	}
	return e.setMeta(metaEpoch, epochValue(e.epoch))
}

func rowCount(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

func transactions(n int) string {
	switch n {
	case 0:
		return "nothing had to be"
	case 1:
		return "1 transaction"
	}
	return fmt.Sprintf("%d transactions", n)
}

// branchesMost bounds how many lives of hubs a file remembers.
const branchesMost = 64

// keepLineage remembers the hub's lives beside the ones heard of earlier: a hub
// that was set back to before one of them knows nothing of it, but this file may
// hold work that was confirmed then.
func (e *Engine) keepLineage(m *wire.Welcome) error {
	if len(m.Lineage) == 0 {
		return nil
	}
	known, err := e.branches()
	if err != nil {
		return err
	}
	n := len(known)
	for _, b := range m.Lineage {
		if !slices.ContainsFunc(known, func(k change.Branch) bool { return k.Epoch == b.Epoch }) {
			known = append(known, b)
		}
	}
	if len(known) == n {
		return nil
	}
	known = known[max(0, len(known)-branchesMost):]
	body, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("encode lineage: %w", err)
	}
	return e.setMeta(metaLineage, change.Text(string(body)))
}

// branches are the lives of hubs that the file has heard of.
func (e *Engine) branches() (out []change.Branch, err error) {
	v, err := e.meta(metaLineage)
	if err != nil || v.IsNull() {
		return nil, err
	}
	if err := json.Unmarshal([]byte(v.Str()), &out); err != nil {
		return nil, fmt.Errorf("read stored lineage: %w", err)
	}
	return out, nil
}

// findReview finds the lives that the present one ended on purpose: what they had
// confirmed waits at the hub until a person has looked at it.
func (e *Engine) findReview() error {
	known, err := e.branches()
	if err != nil {
		return err
	}
	var list []string
	hub := change.Line(known, e.epoch)
	for _, b := range known {
		end, ok := change.Successor(hub, change.Line(known, b.Epoch), b.Epoch)
		if ok && end.Mode == change.Undone {
			list = append(list, strconv.FormatInt(int64(b.Epoch), 10))
		}
	}
	e.review = strings.Join(list, ",")
	return nil
}

// epochSQL is what to note as the epoch of a transaction that the hub has, but has
// not applied; its parameter is the present one. The word of a life that was undone
// stays: a hub that is set back again forgets that the transaction waits, and must
// be told again why.
func (e *Engine) epochSQL() string {
	if e.review == "" {
		return "?"
	}
	return "CASE WHEN epoch IN (" + e.review + ") THEN epoch ELSE ? END"
}

// attest tells with a push in which life a hub once had the transactions, when one
// had, and how that life came to be.
func (e *Engine) attest(p *wire.Push, confirmed change.Epoch) error {
	if confirmed == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p.Confirmed = confirmed
	known, err := e.branches()
	p.Lineage = change.Line(known, p.Confirmed)
	return err
}
