package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// books: whatever a store was told to read ahead, and whatever it keeps back, an Update
// reads what it wrote of documents and of the journal, and what a savepoint undid it does
// not read; and so does everybody after it.
func books(t *testing.T, open Open) {
	b := start(t, open)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := newPlay(t, n)
		for range rapid.IntRange(1, 3).Draw(t, "updates") {
			p.update(b)
		}
	})
}

// A ledger is what documents and journal ought to be.
type ledger struct {
	docs     map[hub.Name]string
	outcomes map[change.Incarnation][]hub.Outcome // in the order of decision
	progress map[change.Incarnation]uint64
}

func (l *ledger) clone() ledger {
	out := ledger{map[hub.Name]string{}, map[change.Incarnation][]hub.Outcome{}, map[change.Incarnation]uint64{}}
	for k, v := range l.docs {
		out.docs[k] = v
	}
	for k, v := range l.outcomes {
		out.outcomes[k] = slices.Clone(v)
	}
	for k, v := range l.progress {
		out.progress[k] = v
	}
	return out
}

// A play is a few Updates with names of their own in a store that others use, too.
type play struct {
	t     *rapid.T
	kinds []string
	ids   []string
	incs  []change.Incarnation
	n     int
	rows  int
	is    ledger
	next  ledger // in the Update under way
}

func newPlay(t *rapid.T, n int) *play {
	p := &play{t: t, n: n, kinds: []string{fmt.Sprintf("a%d", n), fmt.Sprintf("b%d", n)}, ids: []string{"x/1", "x/2", "x/", "y/1", "y"}}
	for i := range 3 {
		p.incs = append(p.incs, change.Incarnation{0xC0, byte(n >> 16), byte(n >> 8), byte(n), byte(i)})
	}
	p.is = (&ledger{}).clone()
	return p
}

func (p *play) name() hub.Name {
	return hub.Name{Kind: rapid.SampledFrom(p.kinds).Draw(p.t, "kind"), ID: rapid.SampledFrom(p.ids).Draw(p.t, "id")}
}

func (p *play) inc() change.Incarnation { return rapid.SampledFrom(p.incs).Draw(p.t, "inc") }

// id is the transaction at a place in a chain.
func (p *play) id(inc change.Incarnation, seq uint64) change.TxID {
	id := change.TxID(inc)
	id[15] = byte(seq)
	return id
}

func (p *play) received(b *bench, inc change.Incarnation, seq uint64) hub.Received {
	r := b.received(inc, seq, hub.Applied)
	r.ID = p.id(inc, seq)
	tx := *r.Tx
	tx.ID = r.ID
	r.Tx = &tx
	return r
}

var errUndo = errors.New("undo")

// update runs one Update of steps that were drawn before, since it may run them again.
func (p *play) update(b *bench) {
	ahead := &hub.Ahead{}
	for _, k := range p.kinds {
		for _, id := range p.ids {
			if rapid.Bool().Draw(p.t, "ahead") {
				ahead.Records = append(ahead.Records, hub.Name{Kind: k, ID: id})
			}
		}
		if rapid.Bool().Draw(p.t, "list ahead") {
			ahead.Lists = append(ahead.Lists, hub.Name{Kind: k, ID: "x/"})
		}
	}
	for _, inc := range p.incs {
		if rapid.Bool().Draw(p.t, "chain ahead") {
			ahead.Txs = append(ahead.Txs, p.received(b, inc, p.is.progress[inc]+1).Tx)
		}
	}
	if rapid.Bool().Draw(p.t, "twice") { // two pushes of one device
		ahead.Records, ahead.Lists, ahead.Txs = append(ahead.Records, ahead.Records...), append(ahead.Lists, ahead.Lists...), append(ahead.Txs, ahead.Txs...)
	}
	told := rapid.Bool().Draw(p.t, "told")
	steps := p.steps(b, 3)
	err := b.s.Update(context.Background(), func(tx hub.Tx) error {
		tx.Again()
		p.next = p.is.clone()
		if f, ok := tx.(hub.Foreseer); ok && told {
			if err := f.Foresee(ahead); err != nil {
				return err
			}
		}
		return steps(tx)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.is = p.next
	err = b.s.View(context.Background(), func(v hub.View) error { return p.look(v) })
	if err != nil {
		p.t.Fatal(err)
	}
}

// steps draws what a part of an Update does; savepoints go so deep.
func (p *play) steps(b *bench, depth int) func(hub.Tx) error {
	var list []func(hub.Tx) error
	for range rapid.IntRange(1, 6).Draw(p.t, "steps") {
		list = append(list, p.step(b, depth))
	}
	return func(tx hub.Tx) error {
		for _, s := range list {
			if err := s(tx); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *play) step(b *bench, depth int) func(hub.Tx) error {
	what := rapid.SampledFrom([]string{"put", "put", "remove", "receive", "receive", "decide", "row", "savepoint", "savepoint", "record", "list", "chain", "look"}).Draw(p.t, "step")
	n, inc := p.name(), p.inc()
	switch what {
	case "put":
		body := rapid.StringMatching("[a-z]{0,3}").Draw(p.t, "body")
		return func(tx hub.Tx) error { p.next.docs[n] = body; return tx.PutRecord(n.Kind, n.ID, []byte(body)) }
	case "remove":
		return func(tx hub.Tx) error { delete(p.next.docs, n); return tx.PutRecord(n.Kind, n.ID, nil) }
	case "receive":
		many := rapid.IntRange(1, 3).Draw(p.t, "many")
		return func(tx hub.Tx) error { return p.receive(b, tx, inc, many) }
	case "decide":
		return func(tx hub.Tx) error { return p.decide(tx, inc) }
	case "row":
		p.rows++
		e := insert("product", "sku price", text(fmt.Sprintf("%d/%d", p.n, p.rows)), change.Float(1))
		return func(tx hub.Tx) error {
			if err := tx.As(inc, change.NewHLC(1_000_000, 1)); err != nil {
				return err
			}
			return tx.Write(e)
		}
	case "savepoint":
		if depth == 0 {
			return func(hub.Tx) error { return nil }
		}
		return p.savepoint(b, p.steps(b, depth-1))
	case "record":
		return func(tx hub.Tx) error { return p.record(tx, n) }
	case "list":
		after, limit := rapid.SampledFrom([]string{"", "x/1"}).Draw(p.t, "after"), rapid.IntRange(1, 20).Draw(p.t, "limit")
		return func(tx hub.Tx) error { return p.list(tx, n.Kind, "x/", after, limit) }
	case "chain":
		return func(tx hub.Tx) error { return p.chain(tx, inc) }
	}
	return func(tx hub.Tx) error { return p.look(tx) }
}

func (p *play) savepoint(b *bench, steps func(hub.Tx) error) func(hub.Tx) error {
	undo := rapid.Bool().Draw(p.t, "undo")
	return func(tx hub.Tx) error {
		before := p.next.clone()
		err := tx.Savepoint(func() error {
			if err := steps(tx); err != nil || !undo {
				return err
			}
			return errUndo
		})
		if undo && errors.Is(err, errUndo) {
			p.next = before
			return nil
		}
		return err
	}
}

func (p *play) receive(b *bench, tx hub.Tx, inc change.Incarnation, many int) error {
	var list []hub.Received
	for range many {
		p.next.progress[inc]++
		r := p.received(b, inc, p.next.progress[inc])
		list = append(list, r)
		p.next.outcomes[inc] = append(p.next.outcomes[inc], hub.Outcome{Seq: r.Seq, ID: r.ID, Status: r.Status, Reason: r.Reason})
	}
	return tx.Receive(list)
}

// decide changes the first outcome of a chain, which makes it the newest.
func (p *play) decide(tx hub.Tx, inc change.Incarnation) error {
	list := p.next.outcomes[inc]
	if len(list) == 0 {
		if err := tx.Decide(p.id(inc, 1), hub.Discarded, "no"); !errors.Is(err, hub.ErrNotFound) {
			return fmt.Errorf("decide what never came: %w", err)
		}
		return nil
	}
	o := list[0]
	o.Status, o.Reason = hub.Discarded, "no"
	p.next.outcomes[inc] = append(slices.Clone(list[1:]), o)
	return tx.Decide(o.ID, o.Status, o.Reason)
}

// look reads all that there is, in every way.
func (p *play) look(v hub.View) error {
	for _, k := range p.kinds {
		for _, id := range p.ids {
			if err := p.record(v, hub.Name{Kind: k, ID: id}); err != nil {
				return err
			}
		}
		for _, prefix := range []string{"", "x/", "y"} {
			if err := p.list(v, k, prefix, "", 20); err != nil {
				return err
			}
		}
	}
	for _, inc := range p.incs {
		if err := p.chain(v, inc); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) record(v hub.View, n hub.Name) error {
	want, there := p.docsNow(v)[n]
	body, err := v.Record(n.Kind, n.ID)
	if errors.Is(err, hub.ErrNotFound) && !there {
		return nil
	}
	if err != nil || !there || string(body) != want {
		return fmt.Errorf("document %v is %q, %w; want %q, %v", n, body, err, want, there)
	}
	return nil
}

// docsNow is what a reader ought to see.
func (p *play) docsNow(v hub.View) map[hub.Name]string { return p.now(v).docs }

func (p *play) now(v hub.View) *ledger {
	if _, writes := v.(hub.Tx); writes {
		return &p.next
	}
	return &p.is
}

func (p *play) list(v hub.View, kind, prefix, after string, limit int) error {
	var want []string
	for n := range p.docsNow(v) {
		if n.Kind == kind && strings.HasPrefix(n.ID, prefix) && n.ID > after {
			want = append(want, n.ID)
		}
	}
	slices.Sort(want)
	back := slices.Clone(want)
	slices.Reverse(back)
	want = want[:min(limit, len(want))]
	list, err := v.Records(kind, prefix, after, limit)
	if err != nil {
		return err
	}
	var got []string
	for _, r := range list {
		got = append(got, r.ID)
		if string(r.Body) != p.docsNow(v)[hub.Name{Kind: kind, ID: r.ID}] {
			return fmt.Errorf("%s %s is %q in a list", kind, r.ID, r.Body)
		}
	}
	ids, err := v.IDs(kind, prefix, after, limit)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) || !slices.Equal(ids, want) {
		return fmt.Errorf("list of %s under %q after %q: %v, ids %v, want %v", kind, prefix, after, got, ids, want)
	}
	if after != "" {
		return nil
	}
	last, err := v.RecordsBack(kind, prefix, "", len(back)+1)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(last, back, func(r hub.Record, id string) bool { return r.ID == id }) {
		return fmt.Errorf("list of %s under %q from the end: %v, want %v", kind, prefix, last, back)
	}
	return nil
}

func (p *play) chain(v hub.View, inc change.Incarnation) error {
	l := p.now(v)
	got, err := v.Progress(inc)
	if err != nil || got.Seq != l.progress[inc] {
		return fmt.Errorf("progress of %s is %d, %w; want %d", inc, got.Seq, err, l.progress[inc])
	}
	list, _, err := v.Outcomes(inc, 0, 1000)
	if err != nil || !slices.Equal(list, l.outcomes[inc]) {
		return fmt.Errorf("outcomes of %s: %v, %w; want %v", inc, list, err, l.outcomes[inc])
	}
	for _, o := range l.outcomes[inc] {
		rec, err := v.Known(o.ID)
		if err != nil || rec.Seq != o.Seq || rec.Status != o.Status {
			return fmt.Errorf("transaction %s is known as %+v, %w", o.ID, rec, err)
		}
		if tx, err := v.Payload(o.ID); err != nil || tx.ID != o.ID {
			return fmt.Errorf("payload of transaction %s: %w", o.ID, err)
		}
	}
	if _, err := v.Known(p.id(inc, l.progress[inc]+1)); !errors.Is(err, hub.ErrNotFound) {
		return fmt.Errorf("a transaction that never came is known: %w", err)
	}
	return nil
}
