package hub

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A verdict is what became of a transaction.
type verdict struct {
	status   Status
	reason   string
	receipts int
	park     *Parked // what to keep, when it is quarantined
}

// settle decides on a transaction now: it is applied in a savepoint of its own,
// or the verdict says why not. An error is the database's, never the
// transaction's. id is what the journal knows it by. byHub writes everything as
// the hub's own, for results that the edge does not have already.
func (b *batch) settle(id change.TxID, t *change.Transaction, byHub bool) (verdict, error) {
	list, err := b.inspect(t)
	if err == nil {
		var v verdict
		if v, err = b.try(id, t, list, byHub); err == nil {
			return v, nil
		}
	}
	no, ok := errors.AsType[*refusal](err)
	if !ok {
		return verdict{}, err
	}
	if t.Unaware && list != nil {
		if v, ok, err := b.split(id, t, list, no); ok || err != nil {
			return v, err
		}
	}
	v := parkWhole(t, no)
	return v, v.keepable(id)
}

// keepable refuses a transaction that cannot be kept in quarantine, and so is none.
func (v *verdict) keepable(id change.TxID) error {
	if _, err := change.DecodeTransaction(v.park.Tx); err != nil {
		return &wire.Fault{Code: "malformed", Message: fmt.Sprintf("transaction %s: %s", id, v.reason), Hint: "the edge is broken: update it"}
	}
	return nil
}

func parkWhole(t *change.Transaction, no *refusal) verdict {
	return verdict{status: Quarantined, reason: no.reason,
		park: &Parked{Code: no.code, Reason: no.reason, DependsOn: no.depends, Unaware: t.Unaware, Tx: change.AppendTransaction(nil, t)}}
}

// try applies work in a savepoint, first on the assumption that inserted keys are
// free and unique values do not trade places, then, when the database objects,
// looking before each step.
func (b *batch) try(id change.TxID, t *change.Transaction, list []*work, byHub bool) (verdict, error) {
	if err := b.holds.blocks(b, list); err != nil {
		return verdict{}, err
	}
	var v verdict
	run := func(careful bool) error {
		a := &attempt{batch: b, id: id, tx: t, list: list, careful: careful, byHub: byHub, hlc: b.stamp(t)}
		err := b.tx.Savepoint(a.run)
		if err != nil {
			clear(b.scopes)
		} else {
			a.bear()
			v = verdict{status: Applied, receipts: len(a.receipts)}
			if a.merged {
				v.status = Merged
			}
		}
		return err
	}
	err := run(false)
	if ce, ok := errors.AsType[*ConstraintError](err); ok && ce.Kind == "unique" {
		err = run(true)
	}
	if ce, ok := errors.AsType[*ConstraintError](err); ok {
		err = constraintRefusal(ce)
	}
	return v, err
}

// bear remembers the rows that this batch brought into being: nobody else can
// have touched them before it commits.
func (a *attempt) bear() {
	for _, w := range a.list {
		if w.kind == change.Insert && !w.byHub {
			a.born[w.id] = true
		}
	}
}

func constraintRefusal(ce *ConstraintError) error {
	switch ce.Kind {
	case "unique":
		return refuse("unique", "another row of %s already has this value (%s): change one of them, then retry", ce.Table, ce.Detail)
	case "type":
		return refuse("type", "a value does not fit its column in table %s: %s", ce.Table, ce.Detail)
	}
	return refuse("constraint", "a row of %s breaks a %s constraint: %s", ce.Table, ce.Kind, ce.Detail)
}

// An attempt is one transaction inside its savepoint.
type attempt struct {
	*batch
	id      change.TxID
	tx      *change.Transaction
	list    []*work
	careful bool
	byHub   bool
	hlc     change.HLC // the edge's, by the hub's clock

	extra    []*work // rows the foreign keys' actions change
	receipts []*Receipt
	merged   bool // some row became something else than the edge has
	writer   writer
	gone     map[rowID]bool  // keys this transaction deletes
	kept     map[linkID]bool // parents whose delete lost
	alive    map[rowID]bool  // parents known to exist
}

// A rowID names a row in a map.
type rowID struct {
	t   *table
	key string
}

func (a *attempt) run() error {
	a.gone, a.alive = map[rowID]bool{}, map[rowID]bool{}
	a.writer = writer{tx: a.batch.tx, scopes: a.scopes}
	steps := []func() error{a.load, a.resolveDeletes, a.resolveUpdates, a.resolveInserts, a.bound, a.write, a.foreign, a.judge, a.letGo, a.keepReceipts}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// load reads the hub's rows and asks for the right to change them.
func (a *attempt) load() error {
	for _, w := range a.list {
		w.reset(a.byHub, a.hlc)
		if w.op.Kind == change.Delete {
			a.gone[w.id] = true
		}
		if w.op.Kind == change.Insert && !a.careful {
			continue
		}
		var err error
		if w.row, err = a.batch.tx.Row(w.t.schema.Name, w.op.Key); err != nil {
			return fmt.Errorf("read row of %s: %w", w.t.schema.Name, err)
		}
		w.read = true
		if w.row == nil || w.op.Kind == change.Insert {
			continue
		}
		if err := a.mayChange(w); err != nil {
			return err
		}
	}
	return nil
}

// mayChange asks for the right to update or delete the row as the hub has it.
func (a *attempt) mayChange(w *work) error {
	verb := rule.Update
	if w.op.Kind == change.Delete {
		verb = rule.Delete
	}
	s, err := a.scopeOf(w.t, w.row)
	if err != nil {
		return err
	}
	return a.rights.need(w.t, w.op.Key, s, verb)
}

// reset forgets an earlier attempt.
func (w *work) reset(byHub bool, hlc change.HLC) {
	result := w.result
	if w.op.Kind != change.Insert {
		result = nil
	} else {
		clear(result)
		for i, c := range w.cols {
			result[c] = w.op.New[i]
		}
	}
	*w = work{op: w.op, raw: w.raw, gone: w.gone, at: w.at, t: w.t, id: w.id, cols: w.cols, partial: w.partial, result: result, byHub: byHub, hlc: hlc}
}

// scopeOf is the scope a row belongs to in the present state.
func (a *attempt) scopeOf(t *table, row []change.Value) (rule.ScopeID, error) {
	sc := t.rule.Scope
	switch {
	case sc.All:
		return rule.ScopeAll, nil
	case sc.Column != "":
		return rule.Of(sc.Kind, row[t.scopeCol]), nil
	case t.scopeCol < 0 || row[t.scopeCol].IsNull():
		return "", nil
	}
	id := rowID{t, change.Key{row[t.scopeCol]}.ID()}
	if s, ok := a.scopes[id]; ok {
		return s, nil
	}
	s, err := a.batch.tx.ScopeOf(t.schema.Name, row)
	if err != nil {
		return "", fmt.Errorf("scope of a row of %s: %w", t.schema.Name, err)
	}
	if s != "" { // a parent may still come
		a.scopes[id] = s
	}
	return s, nil
}

// judge looks at the rows as they have become: may they be where they are, and
// are they valid?
func (a *attempt) judge() error {
	for _, w := range a.list {
		if w.result == nil || w.kind == 0 {
			continue
		}
		s, err := a.scopeOf(w.t, w.result)
		if err != nil {
			return err
		}
		verb := rule.Update
		if w.op.Kind == change.Insert {
			verb = rule.Insert
		}
		if err := a.rights.need(w.t, w.op.Key, s, verb); err != nil {
			return err
		}
		if err := w.t.obeys(w.op.Key, w.result, w.row); err != nil {
			return err
		}
	}
	return nil
}

// obeys judges a row by the rules declared for its table; old is nil for a new row.
func (t *table) obeys(key change.Key, row, old []change.Value) error {
	if t.checks.Empty() {
		return nil
	}
	if bad := t.checks.Eval(row, old); len(bad) > 0 {
		return refuse("rule", "row %s: %s", key, bad[0])
	}
	return nil
}
