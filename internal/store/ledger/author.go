package ledger

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// An Author is who writes, and by which clock. The zero one is nobody yet.
type Author struct {
	Origin int64 // an incarnation's number, or Hub
	HLC    change.HLC
}

// Sign makes the author of what comes next. The zero incarnation is the hub, and a zero
// clock reading is the hub's clock now. number numbers an incarnation, for good.
func Sign(inc change.Incarnation, hlc change.HLC, c clock.Clock, number func(change.Incarnation) (int64, error)) (Author, error) {
	by := Author{Hub, hlc}
	if !inc.IsZero() {
		var err error
		if by.Origin, err = number(inc); err != nil {
			return Author{}, err
		}
	}
	if hlc == 0 {
		by.HLC = change.NewHLC(c.Now().UnixMilli(), 0)
	}
	return by, nil
}

// Origins remembers the numbers of incarnations that one transaction looked up.
type Origins map[change.Incarnation]int64

// Number is an incarnation's number: look finds it, Nobody when it has none yet, and
// add then gives it one.
func (o *Origins) Number(inc change.Incarnation, look, add func(change.Incarnation) (int64, error)) (int64, error) {
	if id, ok := (*o)[inc]; ok {
		return id, nil
	}
	id, err := look(inc)
	if err != nil {
		return 0, err
	}
	if id == Nobody {
		if id, err = add(inc); err != nil {
			return 0, fmt.Errorf("number origin: %w", err)
		}
	}
	if *o == nil {
		*o = Origins{}
	}
	(*o)[inc] = id
	return id, nil
}

// CheckEffect refuses a write that does not fit a key of so many columns, or is of no
// kind that there is.
func CheckEffect(e *hub.Effect, key int) error {
	if len(e.Columns) != len(e.Values) {
		return fmt.Errorf("write to %s: %d values for %d columns", e.Table, len(e.Values), len(e.Columns))
	}
	if len(e.Key) != key {
		return fmt.Errorf("write to %s: the key has %d values, not %d", e.Table, len(e.Key), key)
	}
	switch e.Kind {
	case change.Insert, change.Update, change.Delete:
		return nil
	}
	return fmt.Errorf("write to %s: unknown kind of change %d", e.Table, e.Kind)
}
