package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

// A RowHistory is who wrote which value of a row when.
type RowHistory struct {
	Table    string
	Columns  []string       // stored ones
	Now      []change.Value // the row as it stands; nil: it is not there
	Versions []RowVersion   // newest first
	Next     string         // the before of the next page; "" when there is none
	Cut      bool           // what was done earlier is no longer known, or was never put down
}

// A RowVersion is what one transaction, or another program at the hub, did to a row.
type RowVersion struct {
	At         time.Time       // when the hub took it
	Written    time.Time       // by its author's clock, corrected to the hub's
	Tx         change.TxID     // zero: another program at the hub, or a person there
	Device     change.DeviceID // zero likewise
	DeviceName string          // HubName likewise
	Kind       change.OpKind
	Columns    []ValueChange // those that it wrote; without values where nobody kept them
	Status     Status        // of the whole transaction
	Reason     string        // why it waits or was discarded
}

// A ValueChange is what became of one column.
type ValueChange struct {
	Name  string
	Known bool // Base and New are; otherwise only that it was written
	Base  change.Value
	New   change.Value
}

// maxPayloads is how many transactions one call opens, and maxTraces through how many
// traces it looks.
const (
	maxPayloads = 500
	maxTraces   = 50_000
)

// History lists what was done to a row, newest first, as far as the journal reaches: by
// devices, what is in quarantine and what was discarded included; and by programs and
// people at the hub, of which the log keeps the columns and not the values. before is
// the Next of the page before, "" for the first one. A page may hold fewer than limit.
func (h *Hub) History(ctx context.Context, table string, key change.Key, before string, limit int) (*RowHistory, error) {
	limit = page(limit)
	var out *RowHistory
	err := h.view(ctx, func(v View) error {
		t, err := h.tableFor(table, key)
		if err != nil {
			return err
		}
		c := &chronicle{v: v, t: t, key: key, limit: limit, who: authors{v: v}, seen: map[change.TxID]bool{},
			out: &RowHistory{Table: t.schema.Name, Columns: t.names}}
		if c.out.Now, err = v.Row(t.schema.Name, key); err != nil {
			return err
		}
		if err := c.devices(before); err != nil {
			return err
		}
		if err := c.others(before); err != nil {
			return err
		}
		out = c.finish()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("history of row %s of %s: %w", key, table, err)
	}
	return out, nil
}

// A chronicle collects the versions of one row.
type chronicle struct {
	v     View
	t     *table
	key   change.Key
	limit int
	who   authors
	out   *RowHistory
	end   string // trace up to which all was looked at; "": all there are
	seen  map[change.TxID]bool
}

// names are those that the row's table goes by, now or in what older builds wrote.
func (c *chronicle) names() []string {
	return append([]string{c.t.schema.Name}, c.t.rule.Was...)
}

// devices collects what came from devices, before a trace.
func (c *chronicle) devices(before string) error {
	var marks []uint32
	for _, n := range c.names() {
		m, _ := markOf(nil, n, c.key)
		marks = append(marks, m)
	}
	opened, looked := 0, 0
	return eachBack(c.v, kindTrace, "", before, func(id string, body []byte) error {
		err := traced(body, marks, func(tx change.TxID) error {
			opened++
			return c.transaction(tx)
		})
		if err != nil {
			return fmt.Errorf("trace %s: %w", id, err)
		}
		if looked++; len(c.out.Versions) >= c.limit || opened >= maxPayloads || looked >= maxTraces {
			c.end = id
			return errStop
		}
		return nil
	})
}

// transaction adds what one transaction did to the row, if it did.
func (c *chronicle) transaction(id change.TxID) error {
	if c.seen[id] { // it came more than once
		return nil
	}
	c.seen[id] = true
	rec, err := c.v.Known(id)
	if errors.Is(err, ErrNotFound) {
		return nil // of a life of the hub that is over
	}
	if err != nil {
		return err
	}
	t, err := c.v.Payload(id)
	if errors.Is(err, ErrNotFound) {
		c.out.Cut = true // its values are no longer kept
		return nil
	}
	if err != nil {
		return err
	}
	hlc, _ := clock.Correct(t.HLC, t.Offset, rec.At, MaxDrift)
	for i := len(t.Ops) - 1; i >= 0; i-- {
		raw := &t.Ops[i]
		if len(raw.Key) != len(c.t.key) || !c.called(raw.Table) {
			continue
		}
		op := c.t.present(raw)
		if !op.Key.Equal(c.key) {
			continue
		}
		ver := RowVersion{At: rec.At, Written: hlc.Time(), Tx: id, Device: rec.Device, Kind: op.Kind, Status: rec.Status, Reason: rec.Reason, Columns: written(op)}
		if ver.DeviceName, err = c.who.called(rec.Device); err != nil {
			return err
		}
		c.out.Versions = append(c.out.Versions, ver)
	}
	return nil
}

func (c *chronicle) called(table string) bool {
	return slices.ContainsFunc(c.names(), func(n string) bool { return strings.EqualFold(n, table) })
}

// written is what an operation wrote, column by column.
func written(op *change.Op) (out []ValueChange) {
	for i, n := range op.Columns {
		c := ValueChange{Name: n, Known: true}
		if i < len(op.Base) {
			c.Base = op.Base[i]
		}
		if i < len(op.New) {
			c.New = op.New[i]
		}
		if op.Kind == change.Update && c.Base == c.New {
			continue
		}
		out = append(out, c)
	}
	return out
}

// others adds what programs and people at the hub did, of the stretch of time that this
// page is about.
func (c *chronicle) others(before string) error {
	list, err := c.v.Touched(c.t.schema.Name, c.key, change.Cursor{}, change.Incarnation{})
	if errors.Is(err, ErrBelowFloor) || errors.Is(err, ErrOtherHistory) {
		c.out.Cut = true
		return nil
	}
	if err != nil {
		return err
	}
	merged := false
	for i := range list {
		e := &list[i]
		merged = merged || e.Merged
		if !e.Origin.IsZero() || e.Merged || !c.covers(e.HLC.Time(), before) {
			continue
		}
		ver := RowVersion{At: e.HLC.Time(), Written: e.HLC.Time(), DeviceName: HubName, Kind: e.Kind, Status: Applied}
		for _, n := range e.Columns {
			ver.Columns = append(ver.Columns, ValueChange{Name: n})
		}
		c.out.Versions = append(c.out.Versions, ver)
	}
	if !merged {
		return nil
	}
	return c.undone(before)
}

// covers reports whether a time is in the stretch that this page is about.
func (c *chronicle) covers(t time.Time, before string) bool {
	at := traceID(t, change.TxID{})
	return (before == "" || at < before) && at >= c.end
}

// undone adds what people turned round. The hub wrote that itself, and the log does not
// tell it from the result of a merge.
func (c *chronicle) undone(before string) error {
	f := DecisionFilter{Table: c.t.schema.Name, Key: c.key, Kind: kindUndo}
	return decisionsBack(c.v, "", func(r *Receipt) (bool, error) {
		if !f.wants(r) || !c.covers(r.At, before) {
			return true, nil
		}
		ver := RowVersion{At: r.At, Written: r.At, DeviceName: HubName, Kind: change.Update, Status: Applied, Reason: "a decision was undone" + by(r.By)}
		if r.Column != "" {
			ver.Columns = []ValueChange{{Name: r.Column, Known: true, Base: r.Hub, New: r.Result}}
		}
		c.out.Versions = append(c.out.Versions, ver)
		return true, nil
	}, new(string))
}

// finish puts the versions in order. With the first version of a row on the last page
// nothing is missing.
func (c *chronicle) finish() *RowHistory {
	slices.SortStableFunc(c.out.Versions, func(a, b RowVersion) int { return b.At.Compare(a.At) })
	c.out.Next = c.end
	if c.end != "" {
		return c.out
	}
	n := len(c.out.Versions)
	begins := n > 0 && c.out.Versions[n-1].Kind == change.Insert
	c.out.Cut = c.out.Cut || !begins && (n > 0 || c.out.Now != nil)
	return c.out
}
