package edge

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A fakeHub is the smallest hub that an edge can tell nothing amiss about: rows
// in maps, a log of touched keys, cursors that count its entries.
type fakeHub struct {
	grant  func(*wire.LeaseAsk) *wire.LeaseGrant
	t      reporter
	setup  *wire.Setup
	epoch  change.Epoch
	rows   map[string]map[string][]change.Value // by table and key
	log    []fakeEntry
	floor  int
	grants []rule.Grant
	now    func() time.Time

	known    map[change.Hash]wire.TxResult // by uuid and content
	progress map[change.Incarnation]*fakeProgress
	outcomes []fakeOutcome
	decide   func(*change.Transaction) (status uint8, reason string) // nil: applied
	split    func(*change.Transaction) (waits []uint32)              // of a quarantined one; nil: all wait
	chunk    int                                                     // rows per chunk
	pushes   int
	received []change.TxID
	scopeOf  func(table string, row []change.Value) rule.ScopeID // nil: all
	parked   []*change.Transaction
	past     fakePast // see history_test.go
	frame    uint32
}

type fakeEntry struct {
	table, id string
	key       change.Key
	by        change.Incarnation
	left      rule.ScopeID // the scope the row was in before
}

type fakeProgress struct {
	seq uint64
	sum change.Hash
}

type fakeOutcome struct {
	inc change.Incarnation
	r   wire.TxResult
}

func newFakeHub(t reporter, setup *wire.Setup) *fakeHub {
	h := &fakeHub{t: t, setup: setup, epoch: 7, rows: map[string]map[string][]change.Value{},
		known: map[change.Hash]wire.TxResult{}, progress: map[change.Incarnation]*fakeProgress{}, chunk: 100, frame: 8 << 20,
		grants: everywhere()}
	for i := range setup.Schema.Tables {
		h.rows[setup.Schema.Tables[i].Name] = map[string][]change.Value{}
	}
	return h
}

// everywhere is the right to all that the tests' rows are in.
func everywhere() []rule.Grant {
	list := []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}
	for b := range int64(10) {
		list = append(list, rule.Grant{Scope: rule.Of("branch", change.Int(b)), Verbs: rule.Every})
	}
	return list
}

func (h *fakeHub) table(name string) *change.Table { return h.setup.Schema.Table(name) }

func (h *fakeHub) key(table string, row []change.Value) change.Key {
	t := h.table(table)
	st := t.Stored()
	k := make(change.Key, len(t.Key))
	for i, c := range t.Key {
		k[i] = row[slices.Index(st, c)]
	}
	return k
}

func (h *fakeHub) scope(table string, row []change.Value) rule.ScopeID {
	if row == nil {
		return ""
	}
	if h.scopeOf == nil {
		return rule.ScopeAll
	}
	return h.scopeOf(table, row)
}

func (h *fakeHub) readable(s rule.ScopeID) bool {
	return slices.ContainsFunc(h.grants, func(g rule.Grant) bool { return g.Scope == s })
}

func (h *fakeHub) scopes() (out change.Hash) {
	for i, g := range readable(h.grants) {
		out[i%32] ^= byte(len(g)*31) + g[len(g)-1]
		out[31]++
	}
	return out
}

// set writes a row as by; nil removes it.
func (h *fakeHub) set(by change.Incarnation, table string, key change.Key, row []change.Value) {
	id := key.ID()
	old := h.rows[table][id]
	h.log = append(h.log, fakeEntry{table, id, key, by, h.scope(table, old)})
	if h.scopeOf != nil && table == "patient" && old != nil && row != nil && old[1] != row[1] { // children move along
		for _, v := range h.ids("visit") {
			if r := h.rows["visit"][v]; r[1] == old[0] {
				h.log = append(h.log, fakeEntry{"visit", v, change.Key{r[0]}, by, h.scope(table, old)})
			}
		}
	}
	if row == nil {
		delete(h.rows[table], id)
		return
	}
	h.rows[table][id] = row
}

// put is a change by somebody else.
func (h *fakeHub) put(table string, vals ...change.Value) {
	h.set(change.Incarnation{1}, table, h.key(table, vals), vals)
}

func (h *fakeHub) del(table string, key ...change.Value) {
	h.set(change.Incarnation{1}, table, key, nil)
}

func (h *fakeHub) get(table string, key ...change.Value) []change.Value {
	return h.rows[table][change.Key(key).ID()]
}

func (h *fakeHub) cursor() change.Cursor {
	return change.Cursor{Epoch: h.epoch, Token: strconv.Itoa(len(h.log))}
}

// childFirst ranks deletes of children before everything else: afterwards nobody
// knows which scope they were in.
func childFirst(op *change.Op) int {
	if op.Kind == change.Delete && op.Table == "visit" {
		return 1
	}
	return 0
}

// apply does what a transaction says; merged writes as the hub.
func (h *fakeHub) apply(tx *change.Transaction, by change.Incarnation) {
	ops := slices.Clone(tx.Ops)
	slices.SortStableFunc(ops, func(a, b change.Op) int { return childFirst(&b) - childFirst(&a) })
	for i := range ops {
		op := &ops[i]
		t := h.table(op.Table)
		names := t.StoredNames()
		row := slices.Clone(h.rows[t.Name][op.Key.ID()])
		if op.Kind == change.Update && len(op.Columns) == 0 {
			continue // it cancelled out
		}
		if op.Kind == change.Delete {
			h.set(by, t.Name, op.Key, nil)
			continue
		}
		if row == nil {
			row = make([]change.Value, len(names))
			for j, c := range t.Key {
				row[slices.Index(t.Stored(), c)] = op.Key[j]
			}
		}
		for j, c := range op.Columns {
			at := slices.Index(names, c)
			if op.Kind == change.Update && h.setup.Rules.Table(t.Name).PolicyOf(c) == rule.Counter {
				row[at] = change.Int(row[at].Int() + op.New[j].Int() - op.Base[j].Int())
				continue
			}
			row[at] = op.New[j]
		}
		h.set(by, t.Name, op.Key, row)
	}
}

// concurrent tells whether somebody else touched a row that its author had not
// seen, or a counter does not stand where its author had it, so that it becomes
// something else than the edge has.
func (h *fakeHub) concurrent(tx *change.Transaction) bool {
	for i := range tx.Ops {
		op := &tx.Ops[i]
		at, _ := strconv.Atoi(tx.Bases[op.BaseAt].Token)
		for _, e := range h.log[min(at, len(h.log)):] {
			if e.table == op.Table && e.id == op.Key.ID() && e.by != tx.Incarnation {
				return true
			}
		}
		row := h.rows[op.Table][op.Key.ID()]
		for j, c := range op.Columns {
			t := h.table(op.Table)
			if op.Kind == change.Update && row != nil && h.setup.Rules.Table(op.Table).PolicyOf(c) == rule.Counter &&
				row[slices.Index(t.StoredNames(), c)] != op.Base[j] {
				return true
			}
		}
	}
	return false
}

// identity is the uuid and the content: copies of one file may give one uuid to
// different work.
func identity(tx *change.Transaction) change.Hash {
	id := tx.Content()
	for i := range tx.ID {
		id[i] ^= tx.ID[i]
	}
	return id
}

// conclude decides a parked transaction.
func (h *fakeHub) conclude(tx *change.Transaction, status uint8, reason string) {
	if status == outcomeApplied && h.concurrent(tx) {
		status = outcomeMerged
	}
	if status == outcomeApplied {
		h.apply(tx, tx.Incarnation)
	}
	if status == outcomeMerged {
		h.apply(tx, change.Incarnation{})
	}
	r := wire.TxResult{Seq: tx.Seq, Status: status, Reason: reason}
	if status == outcomeQuarantined && h.split != nil {
		r.Waits = h.applyPart(tx, h.split(tx))
	}
	h.known[identity(tx)] = r
	h.outcomes = append(h.outcomes, fakeOutcome{tx.Incarnation, r})
}

// applyPart applies the operations of a split group that do not wait, as the hub.
func (h *fakeHub) applyPart(tx *change.Transaction, waits []uint32) []uint32 {
	part := *tx
	part.Ops = nil
	for i, op := range tx.Ops {
		if !slices.Contains(waits, uint32(i)) {
			part.Ops = append(part.Ops, op)
		}
	}
	h.apply(&part, change.Incarnation{})
	return waits
}

// A fakePeer is the hub's end of one session.
type fakePeer struct {
	h     *fakeHub
	inc   change.Incarnation
	held  *wire.Pull
	mute  bool
	hello *wire.Hello
}

func (p *fakePeer) Receive(_ context.Context, m wire.Message, emit func(wire.Message) error) error {
	h := p.h
	if p.mute {
		return nil
	}
	switch m := m.(type) {
	case *wire.Hello:
		p.inc, p.held, p.hello = m.Incarnation, nil, m
		w := &wire.Welcome{Protocol: 1, Hub: "fake", Epoch: h.epoch, Grants: h.grants, Scopes: h.scopes(), MaxFrame: h.frame, MaxTx: 8 << 20}
		w.Clock = m.Clock
		if h.now != nil {
			w.Clock = h.now()
		}
		if m.Rules != h.setup.Hash {
			w.Setup = h.setup
		}
		if pr := h.progress[m.Incarnation]; pr != nil {
			w.Progress, w.Sum = pr.seq, pr.sum
		}
		h.past.welcome(m, w)
		return emit(w)
	case *wire.Push:
		h.past.pushes = append(h.past.pushes, m)
		if m.Salvage {
			return p.salvage(m, emit)
		}
		return p.push(m, emit)
	case *wire.Pull:
		p.held = m
		return p.wake(emit)
	case *wire.Fetch:
		return p.fetch(m, emit)
	case *wire.Verify:
		return p.verify(m, emit)
	case *wire.Ping:
		return emit(&wire.Pong{N: m.N})
	case *wire.LeaseAsk:
		return emit(h.grant(m))
	}
	return fmt.Errorf("unexpected %T", m)
}

func (p *fakePeer) push(m *wire.Push, emit func(wire.Message) error) error {
	h := p.h
	h.pushes++
	txs, err := change.OpenTransactions(m.Body, change.Limits{})
	if err != nil {
		return err
	}
	pr := h.progress[p.inc]
	if pr == nil {
		pr = &fakeProgress{}
		h.progress[p.inc] = pr
	}
	res := &wire.PushResult{}
	for _, tx := range txs {
		if tx.Seq <= pr.seq {
			continue
		}
		if tx.Incarnation != p.inc || tx.Seq != pr.seq+1 || tx.Prev != pr.sum {
			res.Fork = true
			break
		}
		pr.seq, pr.sum = tx.Seq, tx.Sum()
		if r, ok := h.known[identity(tx)]; ok { // applied in another life: its rows travel again
			r.Seq = tx.Seq
			h.outcomes = append(h.outcomes, fakeOutcome{p.inc, r})
			for _, op := range tx.Ops {
				h.set(change.Incarnation{}, op.Table, op.Key, h.rows[op.Table][op.Key.ID()])
			}
			continue
		}
		h.received = append(h.received, tx.ID)
		status, reason := uint8(outcomeApplied), ""
		if h.decide != nil {
			status, reason = h.decide(tx)
		}
		h.conclude(tx, status, reason)
		res.Results = append(res.Results, h.known[identity(tx)])
	}
	res.Durable = pr.seq
	return emit(res)
}

// wake answers a held pull.
func (p *fakePeer) wake(emit func(wire.Message) error) error {
	h, m := p.h, p.held
	if m == nil {
		return nil
	}
	if m.Scopes != h.scopes() {
		p.held = nil
		return emit(&wire.Rebase{Reason: "scopes changed", Grants: h.grants, Scopes: h.scopes()})
	}
	at, _ := strconv.Atoi(m.Cursor.Token)
	if m.Cursor.Epoch != h.epoch || at < h.floor || at > len(h.log) {
		p.held = nil
		return emit(&wire.Rebase{Full: true, Reason: "another history", Grants: h.grants, Scopes: h.scopes(), Salvage: h.past.salvage})
	}
	if m.Wait && at == len(h.log) && uint64(len(h.outcomes)) == m.Outcome {
		return nil
	}
	p.held = nil
	return p.delta(at, m.Outcome, m.Echo, emit)
}

func (p *fakePeer) delta(at int, mark uint64, echo bool, emit func(wire.Message) error) error {
	h := p.h
	type row struct {
		e      fakeEntry
		others bool
		was    bool
	}
	found := map[string]*row{}
	var order []string
	for _, e := range h.log[at:] {
		id := e.table + "\x00" + e.id
		if found[id] == nil {
			found[id] = &row{e: e}
			order = append(order, id)
		}
		found[id].others = found[id].others || e.by != p.inc
		found[id].was = found[id].was || h.readable(e.left)
	}
	for _, id := range order {
		f := found[id]
		now := h.rows[f.e.table][f.e.id]
		in := h.readable(h.scope(f.e.table, now))
		if !f.others && !echo && (in || now == nil) || !in && !f.was {
			continue
		}
		r := h.batch(f.e.table)
		if in {
			r.Values = append(r.Values, now...)
		} else {
			r.Gone = append(r.Gone, f.e.key...)
		}
		if err := emit(&wire.Delta{Body: h.seal(r)}); err != nil {
			return err
		}
	}
	d := &wire.Delta{Last: true, Next: h.cursor(), Mark: uint64(len(h.outcomes)), Seal: h.past.seal(h.cursor())}
	for _, o := range h.outcomes[mark:] {
		if o.inc == p.inc {
			d.Outcomes = append(d.Outcomes, o.r)
		}
	}
	return emit(d)
}

func (h *fakeHub) batch(table string) *change.Rows {
	t := h.table(table)
	r := &change.Rows{Table: t.Name, Columns: t.StoredNames()}
	for _, c := range t.Key {
		r.Key = append(r.Key, slices.Index(t.Stored(), c))
	}
	return r
}

func (h *fakeHub) seal(r ...*change.Rows) []byte {
	b, err := change.SealRows(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *fakeHub) ids(table string) []string {
	out := make([]string, 0, len(h.rows[table]))
	for id := range h.rows[table] {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (p *fakePeer) fetch(m *wire.Fetch, emit func(wire.Message) error) error {
	h := p.h
	after := m.After.ID()
	for n := uint32(0); n < m.Window; n++ {
		table := m.Table
		if table == "" {
			table = h.setup.Schema.Tables[0].Name
		}
		r := h.batch(table)
		last := ""
		for _, id := range h.ids(table) {
			row := h.rows[table][id]
			s := h.scope(table, row)
			if id <= after || !h.readable(s) || m.Scopes != nil && !slices.Contains(m.Scopes, s) {
				continue
			}
			if r.Len() == h.chunk {
				break
			}
			r.Values = append(r.Values, row...)
			last = id
		}
		c := &wire.Chunk{At: h.cursor(), Body: h.seal(r), Table: table, Total: map[string]int64{table: int64(len(h.rows[table]))}}
		if r.Len() < h.chunk { // on to the next table
			next := slices.IndexFunc(h.setup.Schema.Tables, func(t change.Table) bool { return t.Name == table }) + 1
			if next == len(h.setup.Schema.Tables) {
				c.Done = true
				return emit(c)
			}
			c.Table, c.After = h.setup.Schema.Tables[next].Name, nil
		} else {
			c.After, _ = change.ParseKeyID(last)
		}
		if err := emit(c); err != nil {
			return err
		}
		m.Table, after = c.Table, c.After.ID()
	}
	return nil
}

func (p *fakePeer) verify(m *wire.Verify, emit func(wire.Message) error) error {
	h := p.h
	at, _ := strconv.Atoi(m.Cursor.Token)
	if err := p.delta(at, m.Outcome, false, emit); err != nil {
		return err
	}
	out := &wire.Digests{At: h.cursor()}
	var rows []*change.Rows
	for _, name := range m.Tables {
		d := change.Digest{Table: name}
		r := h.batch(name)
		for _, id := range h.ids(name) {
			row := h.rows[name][id]
			if !h.readable(h.scope(name, row)) {
				continue
			}
			key := h.key(name, row)
			d.Add(key, change.HashRow(r.Columns, row))
			if slices.Contains(m.Buckets, change.Bucket(key)) {
				r.Values = append(r.Values, row...)
			}
		}
		out.Digests = append(out.Digests, d)
		rows = append(rows, r)
	}
	if len(m.Buckets) > 0 {
		out.Digests = nil
		out.Body = h.seal(rows...)
	}
	return emit(out)
}

// A line carries one session between an edge and the fake hub, message by
// message, and can be cut anywhere.
type line struct {
	t     reporter
	e     *Engine
	h     *fakeHub
	s     *Session
	p     *fakePeer
	up    []wire.Message
	down  []wire.Message
	sent  []wire.Message // all that the edge ever sent
	limit int            // cut after so many messages; 0: never
	n     int
}

func dial(t reporter, e *Engine, h *fakeHub, cfg SessionConfig) *line {
	t.Helper()
	cfg.Device = testDevice
	l := &line{t: t, e: e, h: h, s: NewSession(e, cfg), p: &fakePeer{h: h}}
	if err := l.s.Start(context.Background(), l.send); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *line) send(m wire.Message) error {
	l.up = append(l.up, m)
	l.sent = append(l.sent, m)
	return nil
}

func (l *line) receive(m wire.Message) error { l.down = append(l.down, m); return nil }

// run carries messages until both sides are idle; it returns the edge's error.
func (l *line) run() error {
	ctx := context.Background()
	for {
		if l.limit > 0 && l.n >= l.limit {
			return nil
		}
		l.n++
		switch {
		case len(l.down) > 0:
			m := l.down[0]
			l.down = l.down[1:]
			if err := l.s.Receive(ctx, m, l.send); err != nil {
				return err
			}
		case len(l.up) > 0:
			m := l.up[0]
			l.up = l.up[1:]
			if err := l.p.Receive(ctx, m, l.receive); err != nil {
				l.t.Fatalf("fake hub: %v", err)
			}
		default:
			if err := l.p.wake(l.receive); err != nil {
				l.t.Fatalf("fake hub: %v", err)
			}
			if len(l.down) == 0 {
				return nil
			}
		}
	}
}

// sync runs until idle, hands in local work, and runs again.
func (l *line) sync() {
	l.t.Helper()
	if err := l.run(); err != nil {
		l.t.Fatal(err)
	}
	if err := l.s.Nudge(context.Background(), l.send); err != nil {
		l.t.Fatal(err)
	}
	if err := l.run(); err != nil {
		l.t.Fatal(err)
	}
}
