package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// backupHub copies the hub's database as it stands between two commits.
func (w *world) backupHub() error {
	h := w.hub
	if err := errors.Join(w.settleSlow(true), h.base.copy()); err != nil {
		return fmt.Errorf("copy the hub: %w", err)
	}
	h.backup, h.backupAt = true, w.step
	w.logf("hub is backed up")
	return nil
}

// A word is what the operator says of a hub that was put back.
type word int

const (
	saysRestored word = iota // before the hub serves: it was a disaster
	saysUndone               // before the hub serves: it was on purpose
	saysLater                // nothing, until somebody notices
	recovers                 // nothing: the hub is configured to help itself
)

// rollbackHub puts an old copy of the hub's database in its place. Devices hold what it
// no longer has.
func (w *world) rollbackHub() error {
	h := w.hub
	if !h.backup || w.behind() {
		return nil
	}
	if err := errors.Join(w.settleSlow(false), w.letGo()); err != nil {
		return err
	}
	w.hangUp(nil)
	end, err := w.end()
	if err != nil {
		return err
	}
	if err := errors.Join(h.app.conn.Close(), w.closeHub(), h.base.putBack(), h.base.at(w.time.Now())); err != nil {
		return fmt.Errorf("put the hub back: %w", err)
	}
	says := word(w.rng.IntN(4))
	w.logf("hub is put back to step %d, word %d", h.backupAt, says)
	w.sometimes("hub put back")
	h.backup, h.put = false, true
	n, app := h.app.n, h.app
	h.app, h.recover = nil, says == recovers
	if err := w.bootHub(); err != nil {
		return err
	}
	h.app.n, h.app.rng = n, app.rng
	if err := w.still(); err != nil {
		return err
	}
	switch says {
	case saysRestored:
		err = w.sayRestored(change.Restored)
	case saysUndone:
		err = w.sayRestored(change.Undone)
	default:
		err = w.compare(end)
	}
	if err != nil {
		return err
	}
	return w.forget()
}

// end is the hub's present state, as a serving hub notes it beside its database.
func (w *world) end() (c change.Cursor, err error) {
	err = w.hub.store.View(w.ctx, func(v hub.View) (err error) {
		c, err = v.Cursor()
		return err
	})
	return c, err
}

// compare shows the hub that note, unless it went down with the database: then only
// devices can tell, and until one does the hub repeats itself.
func (w *world) compare(end change.Cursor) error {
	if w.rng.IntN(2) == 0 {
		w.blind = true
		return nil
	}
	if err := w.hub.hub.Compare(w.ctx, end, w.time.Now()); err != nil {
		return fmt.Errorf("compare the hub with its note: %w", err)
	}
	if w.behind() {
		w.sometimes("hub found itself put back")
	}
	now, err := w.end()
	w.blind = w.blind || err == nil && now == end // nothing but numbers was lost, and no log tells
	return err
}

// sayRestored is the operator's word, given at a start of the hub.
func (w *world) sayRestored(mode change.BranchMode) error {
	w.logf("the operator says: %s", mode)
	w.sometimes("hub " + string(mode))
	line, err := w.hub.hub.Lineage(w.ctx)
	if err != nil {
		return err
	}
	b, err := w.hub.hub.Begin(w.ctx, mode)
	if err != nil {
		return err
	}
	w.oracle.before[b.Epoch] = line[len(line)-1].Epoch
	if mode == change.Undone {
		return w.undo(line, b.Epoch)
	}
	return nil
}

// word is the operator reading the hub's complaint, some time later.
func (w *world) word() error {
	if !w.behind() {
		return nil
	}
	if err := w.person(); err != nil || !w.behind() {
		return err
	}
	w.hangUp(nil)
	mode := change.Restored
	if w.rng.IntN(3) == 0 {
		mode = change.Undone
	}
	return w.sayRestored(mode)
}

// undo marks what the hub had confirmed to its devices, as their files have it, and
// has no longer: put back on purpose, it must not take that back by itself. What an
// earlier life that ended otherwise had confirmed is none of that, and neither is what
// it has in quarantine: the person who mends what that waits for lets it in.
func (w *world) undo(line []change.Branch, by change.Epoch) error {
	confirmed := map[string]bool{}
	for _, s := range w.edges {
		if w.oracle.copied[s.app.name] {
			continue // another copy may offer the same as if it were new
		}
		if err := w.confirmed(s, line, confirmed); err != nil {
			return err
		}
	}
	for _, p := range w.packets {
		for ledger := range p.holds {
			delete(confirmed, ledger)
		}
	}
	known, err := w.received()
	if err != nil {
		return err
	}
	for _, d := range w.oracle.deeds {
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		if !at && !known[d.ledger] && confirmed[d.ledger] {
			d.undone = by
		}
	}
	return nil
}

// confirmed adds to a set what a site's file knows as confirmed by the last life of
// a line, or by one that left the line there.
func (w *world) confirmed(s *site, line []change.Branch, to map[string]bool) error {
	err := s.app.conn.query(`SELECT body, epoch FROM _tidemark_outbox UNION ALL SELECT body, epoch FROM _tidemark_redo`, func(row []change.Value) error {
		t, err := change.DecodeTransaction([]byte(row[0].Str()))
		if err == nil && w.endsWith(line, change.Epoch(row[1].Int())) {
			ledgers(t, to)
		}
		return err
	})
	if ready, _ := s.ready(); ready && err != nil {
		return fmt.Errorf("outbox of e%d: %w", s.n, err)
	}
	return nil
}

// still drops the marks of lives that are no part of the hub's history any more: put
// back to before them, it knows nothing of why they began.
func (w *world) still() error {
	line, err := w.hub.hub.Lineage(w.ctx)
	if err != nil {
		return err
	}
	for _, d := range w.oracle.deeds {
		if !slices.ContainsFunc(line, func(b change.Branch) bool { return b.Epoch == d.undone }) {
			d.undone = 0
		}
	}
	return nil
}

// unaware drops the marks of what a restored file does not know to have been
// confirmed: the copy is older. Neither the file nor the hub that was put back can
// know, so that it is new to everybody.
func (w *world) unaware(s *site) error {
	line, err := w.hub.hub.Lineage(w.ctx)
	if err != nil {
		return err
	}
	for i := 1; i < len(line); i++ {
		knows := map[string]bool{}
		if err := w.confirmed(s, line[:i], knows); err != nil {
			return err
		}
		for _, d := range w.oracle.deeds {
			if d.undone == line[i].Epoch && s.holds[d.ledger] && !knows[d.ledger] {
				d.undone = 0
			}
		}
	}
	return nil
}

// endsWith reports whether the life of an epoch is the last one of a line, or left
// the line there.
func (w *world) endsWith(line []change.Branch, epoch change.Epoch) bool {
	for {
		if i := slices.IndexFunc(line, func(b change.Branch) bool { return b.Epoch == epoch }); i >= 0 {
			return i == len(line)-1
		}
		var ok bool
		if epoch, ok = w.oracle.before[epoch]; !ok {
			return false
		}
	}
}

// ledgers adds the ledger rows that a transaction inserts to a set.
func ledgers(t *change.Transaction, to map[string]bool) {
	for i := range t.Ops {
		if op := &t.Ops[i]; op.Table == "ledger" && op.Kind == change.Insert {
			to[op.Key[0].Str()] = true
		}
	}
}

// applied notes what a person is about to have applied.
func (o *oracle) applied(p *hub.Parked) {
	if t, err := p.Transaction(); err == nil {
		ledgers(t, o.retried)
	}
}

// behind reports whether the hub waits for a word.
func (w *world) behind() bool {
	return slices.ContainsFunc(w.hub.all, func(p *process) bool { return p.hub.Behind() != nil })
}

// letGo notes which transactions a person has let go of: with the hub put back
// they may come again, or not.
func (w *world) letGo() error {
	gone, err := w.discarded()
	if err != nil {
		return err
	}
	for _, d := range w.oracle.deeds {
		d.maybe = d.maybe || gone[d.ledger]
	}
	return nil
}

// forget marks the deeds that went down with a disk: no file holds them any more,
// and they are neither at the hub nor parked there. They need not come back.
func (w *world) forget() error {
	parked, err := w.received()
	if err != nil {
		return err
	}
	for _, d := range w.oracle.deeds {
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		d.maybe = d.maybe || !at && !parked[d.ledger] && !w.held(d)
	}
	return nil
}

// held reports whether some site's file has a deed of its application, or of the
// one its file was copied from.
func (w *world) held(d *deed) bool {
	for _, s := range w.edges {
		if s.holds[d.ledger] {
			return true
		}
	}
	for _, p := range w.packets {
		if p.holds[d.ledger] {
			return true
		}
	}
	return false
}

// retries draws whether the operator has a parked transaction applied after all.
// Rows that a device held as the hub's are taken back only when everybody has
// handed in what he has. Amounts in them are what they are: they count again what
// came by itself, so that nothing adds up from there on.
func (w *world) retries(p *hub.Parked, all bool) bool {
	yes := w.rng.IntN(2) == 0
	// What cannot be told apart by the hub is compared by the person first: here, the
	// work is always there already, in another form.
	if p.Code == "forgotten" || p.Code == "diverged" {
		return false
	}
	if p.Code != "salvage" {
		return yes && !all
	}
	t, err := p.Transaction()
	if err != nil || !all || !yes {
		return false
	}
	for i := range t.Ops {
		w.oracle.salvaged[t.Ops[i].Key[0].Str()] = true
	}
	w.oracle.forced = w.oracle.forced || p.Contested
	w.sometimes("salvage retried")
	return true
}
