package sim

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// counters are the columns that add up, of tables that every site holds whole.
var counters = []struct{ table, column string }{{"stock", "qty"}, {"account", "balance"}}

// checkWaiting looks at a world where everything is delivered, and some work is
// parked: what an application sees of a counter is the hub's value and what waits
// on top, once. Of a group that was split only the rest waits (I4).
func (w *world) checkWaiting() error {
	parked, err := w.hub.hub.Queue(w.ctx, change.DeviceID{})
	if err != nil {
		return err
	}
	byID := map[change.TxID]hub.Parked{}
	for _, p := range parked {
		byID[p.ID] = p
	}
	var errs []error
	for _, s := range w.edges {
		waits, known, err := w.waiting(s, byID)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		for _, c := range counters {
			errs = append(errs, w.checkCounter(s, c.table, c.column, waits))
		}
	}
	return errors.Join(errs...)
}

// waiting adds up what the parked transactions of a site, as the hub keeps them,
// would add to counters. known is false when the hub keeps one under other ids
// than the file, which was copied since.
func (w *world) waiting(s *site, parked map[change.TxID]hub.Parked) (sum map[string]int64, known bool, err error) {
	st, err := s.engine.Status()
	if err != nil {
		return nil, false, err
	}
	queue, err := s.engine.Queue(0, 1<<20)
	if err != nil {
		return nil, false, err
	}
	sum = map[string]int64{}
	split := false
	for _, q := range queue {
		p, ok := parked[q.ID]
		if !ok || p.Inc != st.Incarnation {
			return nil, false, nil
		}
		if q.Aside {
			continue
		}
		t, err := p.Transaction()
		if err != nil {
			return nil, false, err
		}
		split = split || p.Split
		for i := range t.Ops {
			op := &t.Ops[i]
			for _, c := range counters {
				if j := op.Column(c.column); op.Table == c.table && op.Kind == change.Update && j >= 0 {
					sum[c.table+" "+op.Key.String()] += op.New[j].Int() - op.Base[j].Int()
				}
			}
		}
	}
	if len(queue) > 0 {
		w.sometimes("parked work looked at")
	}
	if split {
		w.sometimes("split group looked at")
	}
	return sum, true, nil
}

func (w *world) checkCounter(s *site, table, column string, waits map[string]int64) error {
	var errs []error
	err := w.hub.app.conn.query(`SELECT id, `+column+` FROM `+table, func(row []change.Value) error {
		id := row[0]
		want := row[1].Int() + waits[table+" "+change.Key{id}.String()]
		got, ok, err := one(s.app.conn, `SELECT `+column+` FROM `+table+` WHERE id=?`, id)
		if err == nil && ok && got.Int() != want {
			errs = append(errs, fmt.Errorf("I4: e%d shows %d for %s of %s %s; the hub has %d, and what waits makes that %d",
				s.n, got.Int(), column, table, id.Str(), row[1].Int(), want))
		}
		return err
	})
	return errors.Join(append(errs, err)...)
}
