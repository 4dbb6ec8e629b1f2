package edge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Salvage. A hub that was restored after a disaster fetches anew with every file
// that had seen more than it has now. What the file held as the hub's, and the hub
// no longer has or has otherwise, may be the last copy there is of what others
// had written: it is offered back, for a person to look at. Such rows are not this
// file's own work: they go under an incarnation of their own, have no overlay, and
// are forgotten once the hub has them.

// salvageOps and salvageBytes bound one transaction of salvaged rows: any hub takes
// it, in one frame mostly.
const (
	salvageOps   = 500
	salvageBytes = 256 << 10
)

// A wreck is what a full fetch shows the hub to have lost.
type wreck struct {
	differs map[rowRef][]change.Value // what stood here, where the hub has something else
	order   []rowRef                  // of differs, as it came
	missing []change.Op               // inserts of what the hub has not, parents first
	gone    map[rowRef]bool           // deleted at the hub in its present life: no loss
}

func newWreck() *wreck {
	return &wreck{differs: map[rowRef][]change.Value{}, gone: map[rowRef]bool{}}
}

// noteDiffers keeps what the file holds of a row that comes, when it is not the
// same. Only the first time counts: what comes again changed just now.
func (a *applier) noteDiffers(p *plan, id string, key change.Key, in []change.Value) error {
	if a.lost == nil || a.seen.has(p.t, id) || a.lost.gone[rowRef{p.t.schema.Name, id}] {
		return nil
	}
	ref := rowRef{p.t.schema.Name, id}
	local, err := a.e.readRow(p.t, key)
	if err != nil {
		return err
	}
	if d := a.displ[ref]; d != nil {
		local = d.row
	}
	if local == nil {
		return nil
	}
	hub := slices.Clone(local)
	assign(p.t, hub, p.names, in)
	if !slices.Equal(hub, local) {
		a.lost.differs[ref] = local
		a.lost.order = append(a.lost.order, ref)
	}
	return nil
}

// noteGone tells that somebody deleted a row after the hub was restored.
func (a *applier) noteGone(t *table, id string) {
	if a.lost != nil {
		ref := rowRef{t.schema.Name, id}
		a.lost.gone[ref] = true
		delete(a.lost.differs, ref)
	}
}

// noteMissing keeps a row that the hub has not.
func (a *applier) noteMissing(t *table, key change.Key, id string) error {
	if a.lost == nil || a.lost.gone[rowRef{t.schema.Name, id}] {
		return nil
	}
	row, err := a.e.readRow(t, key)
	if err != nil || row == nil {
		return err
	}
	a.lost.add(t, key, row)
	return nil
}

func (w *wreck) add(t *table, key change.Key, row []change.Value) {
	w.missing = append(w.missing, change.Op{Table: t.schema.Name, Kind: change.Insert, Key: key, Columns: t.names, New: row})
}

// sweepDisplaced lets go of rows that were taken out of the way and that a full
// fetch did not bring: they are gone at the hub.
func (a *applier) sweepDisplaced() error {
	if a.first {
		return nil
	}
	var list []rowRef
	for ref, d := range a.displ {
		if !a.seen.has(d.t, ref.id) {
			list = append(list, ref)
		}
	}
	slices.SortFunc(list, func(x, y rowRef) int {
		return cmp.Or(cmp.Compare(x.table, y.table), cmp.Compare(x.id, y.id))
	})
	for _, ref := range list {
		d := a.displ[ref]
		if a.lost != nil && !a.lost.gone[ref] {
			a.lost.add(d.t, d.key, d.row)
		}
		if d.t.gap.unsure() && a.track(d.t, ref.id) == nil {
			a.kept[d.t.schema.Name]++
			if err := a.rescueRow(d.t, d.key, d.row, unsureReason); err != nil {
				return err
			}
		}
		if err := a.remove(d.t, d.key, ref.id); err != nil {
			return err
		}
	}
	return nil
}

// storeSalvage writes down what the hub lost, in the transaction that installs
// what it has. The file's cursor is the new one already.
func (a *applier) storeSalvage() error {
	if a.lost == nil {
		return nil
	}
	ops := a.lost.missing
	for _, ref := range a.lost.order {
		op, err := a.difference(ref)
		if err != nil {
			return err
		}
		if op != nil {
			ops = append(ops, *op)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	if err := a.e.addEvent(EventSalvage, rowCount(len(ops))+" that this file held and the restored hub lacks, or has otherwise: offered to the hub for review"); err != nil {
		return err
	}
	c, err := a.e.newSalvageChain(a.in.next)
	if err != nil {
		return err
	}
	for len(ops) > 0 {
		n, size := 0, 0
		for n < len(ops) && n < salvageOps && (n == 0 || size < salvageBytes) {
			size += opWeight(&ops[n])
			n++
		}
		if err := c.write(ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return c.finish()
}

// difference is the update that would make a row what the file held, or nil when
// that is what the hub has after all.
func (a *applier) difference(ref rowRef) (*change.Op, error) {
	was := a.lost.differs[ref]
	t := a.e.tableNamed(ref.table)
	if was == nil || t == nil {
		return nil, nil
	}
	key := t.keyOf(was)
	now, err := a.hubRow(t, key, ref.id)
	if err != nil || now == nil {
		return nil, err
	}
	op := &change.Op{Table: t.schema.Name, Kind: change.Update, Key: key}
	for i, n := range t.names {
		if was[i] != now[i] && !slices.Contains(t.key, i) {
			op.Columns = append(op.Columns, n)
			op.New, op.Base = append(op.New, was[i]), append(op.Base, now[i])
		}
	}
	if len(op.Columns) == 0 {
		return nil, nil
	}
	return op, nil
}

// hubRow is the hub's version of a row: the shadow where work is pending.
func (a *applier) hubRow(t *table, key change.Key, id string) ([]change.Value, error) {
	if tr := a.track(t, id); tr != nil {
		err := a.load(tr)
		return tr.shadow, err
	}
	return a.e.readRow(t, key)
}

// A salvageChain writes transactions of salvaged rows. Their ids follow from what
// is in them: ten devices that hold the same rows offer the same transactions.
type salvageChain struct {
	e    *Engine
	x    *exporter
	at   change.Cursor
	inc  change.Incarnation
	seq  uint64
	prev change.Hash
}

func (e *Engine) newSalvageChain(at change.Cursor) (*salvageChain, error) {
	x, err := e.newExporter(e.cfg.Clock.Now())
	if err != nil {
		return nil, err
	}
	c := &salvageChain{e: e, x: x, at: at}
	inc, err := e.meta(metaSalvage)
	if err != nil {
		return nil, err
	}
	if inc.IsNull() {
		return c, c.begin()
	}
	if c.inc, err = change.ParseIncarnation(inc.Str()); err != nil {
		return nil, err
	}
	seq, err := e.metaInt(metaSalvageSeq)
	if err != nil {
		return nil, err
	}
	sum, err := e.meta(metaSalvageSum)
	if err != nil {
		return nil, err
	}
	c.seq = uint64(seq)
	copy(c.prev[:], sum.Str())
	return c, nil
}

// begin starts the chain under a new incarnation.
func (c *salvageChain) begin() (err error) {
	c.seq, c.prev = 0, change.Hash{}
	if c.inc, err = change.NewIncarnation(c.e.cfg.Rand); err != nil {
		return err
	}
	return c.e.setMeta(metaSalvage, change.Text(c.inc.String()))
}

func (c *salvageChain) write(ops []change.Op) error {
	c.x.hlc = nextHLC(c.x.hlc, c.x.now)
	t := &change.Transaction{Schema: c.x.schema, Bases: []change.Cursor{c.at}, HLC: c.x.hlc, Offset: millis(c.x.offset), Unaware: true, Ops: ops}
	sum := t.Content()
	copy(t.ID[:], sum[:])
	t.ID[6], t.ID[8] = t.ID[6]&0x0f|0x80, t.ID[8]&0x3f|0x80
	return c.link(t)
}

// link gives a transaction its place in the chain.
func (c *salvageChain) link(t *change.Transaction) error {
	c.seq++
	t.Device, t.Incarnation, t.Seq, t.Prev = c.e.device, c.inc, c.seq, c.prev
	c.prev = t.Sum()
	err := sqlite.Exec(c.e.conn, "INSERT INTO _tidemark_salvage (seq, rows, body) VALUES (?,?,?)",
		change.Int(int64(t.Seq)), change.Int(int64(len(t.Ops))), change.Blob(change.AppendTransaction(nil, t)))
	if err != nil {
		return fmt.Errorf("write salvaged rows: %w", err)
	}
	return nil
}

// finish writes down where the chain stands.
func (c *salvageChain) finish() error {
	if err := c.e.setMeta(metaHLC, change.Int(int64(c.x.hlc))); err != nil {
		return err
	}
	if err := c.e.setMeta(metaSalvageSeq, change.Int(int64(c.seq))); err != nil {
		return err
	}
	return c.e.setMeta(metaSalvageSum, change.Blob(c.prev[:]))
}

// rechainSalvage begins the chain of what is not offered yet anew: the hub does not
// know the old one, or knows it from a copy of this file. It must run inside a
// write transaction.
func (e *Engine) rechainSalvage() error {
	var list []*change.Transaction
	err := sqlite.Query(e.conn, "SELECT body FROM _tidemark_salvage ORDER BY seq", func(s *sqlite.Stmt) error {
		t, err := change.DecodeTransaction([]byte(sqlite.Column(s, 0).Str()))
		list = append(list, t)
		return err
	})
	if err != nil {
		return fmt.Errorf("read salvaged rows: %w", err)
	}
	if len(list) == 0 { // the next one begins a chain
		return e.setMeta(metaSalvage, change.Null)
	}
	if err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_salvage"); err != nil {
		return err
	}
	c, err := e.newSalvageChain(change.Cursor{})
	if err != nil {
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	for _, t := range list {
		if err := c.link(t); err != nil {
			return err
		}
	}
	return c.finish()
}

// salvaged reads what to offer next, or nil.
func (e *Engine) salvaged() (tx *change.Transaction, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err = sqlite.Query(e.conn, "SELECT body FROM _tidemark_salvage ORDER BY seq LIMIT 1", func(s *sqlite.Stmt) (err error) {
		tx, err = change.DecodeTransaction([]byte(sqlite.Column(s, 0).Str()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read salvaged rows: %w", err)
	}
	return tx, nil
}

// holdsSalvage reports whether rows are to be offered.
func (e *Engine) holdsSalvage() (some bool, err error) {
	err = e.locked(func() error {
		_, some, err = sqlite.One(e.conn, "SELECT 1 FROM _tidemark_salvage LIMIT 1")
		return err
	})
	return some, err
}

// dropSalvaged forgets what the hub has taken.
func (e *Engine) dropSalvaged(seq uint64) error {
	return e.locked(func() error {
		return sqlite.Exec(e.conn, "DELETE FROM _tidemark_salvage WHERE seq<=?", change.Int(int64(seq)))
	})
}

// An offer is how far a session is with salvaged rows.
type offer struct {
	sent uint64 // seq of the push under way; 0: none
	stop bool   // the hub does not take them now: the next session tries again
}

// offerSalvage hands in salvaged rows once all the file's own work is at the hub:
// what the hub gets back that way it need not be offered.
func (s *Session) offerSalvage(emit emitFunc) error {
	if len(s.inflight) > 0 || s.offer.sent != 0 || s.offer.stop {
		return nil
	}
	tx, err := s.e.salvaged()
	if err != nil || tx == nil {
		return err
	}
	txs := []*change.Transaction{tx}
	body, err := change.SealTransactions(txs)
	if err != nil {
		return fmt.Errorf("seal salvaged rows: %w", err)
	}
	one := s.welcome.MaxFrame == 0 || len(body)+frameRoom <= int(s.welcome.MaxFrame)
	if !s.takes(txs, body) || !one && s.welcome.Unpack.Encoded == 0 {
		return s.keepSalvaged(tx)
	}
	s.offer.sent = tx.Seq
	return s.hand(&wire.Push{Body: body, Salvage: true}, tx.Seq, emit)
}

// keepSalvaged keeps rows that are larger than the hub takes as a rescue copy: they
// stay with the file, where a person finds them.
func (s *Session) keepSalvaged(tx *change.Transaction) error {
	s.offer.stop = true // the rest goes with the next session, under a new chain
	err := s.e.locked(func() error {
		return sqlite.Immediate(s.e.conn, func() error {
			if err := s.e.keepRescue(tx, "the hub lost these rows, and takes no transaction of their size", s.e.cfg.Clock.Now()); err != nil {
				return err
			}
			if err := sqlite.Exec(s.e.conn, "DELETE FROM _tidemark_salvage WHERE seq=?", change.Int(int64(tx.Seq))); err != nil {
				return err
			}
			return s.e.rechainSalvage()
		})
	})
	if busy(err) {
		return nil
	}
	return err
}

// offered takes in the answer to offerSalvage.
func (s *Session) offered(m *wire.PushResult, emit emitFunc) error {
	sent := s.offer.sent
	s.offer.sent = 0
	var err error
	switch {
	case m.Fork:
		err = s.e.locked(func() error { return sqlite.Immediate(s.e.conn, s.e.rechainSalvage) })
	case m.Durable < sent:
		s.offer.stop = true
	default:
		err = s.e.dropSalvaged(m.Durable)
	}
	if busy(err) {
		s.offer.stop, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("offer salvaged rows: %w", err)
	}
	return s.push(emit)
}
