package hub

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// A Foreseer is a Tx that reads together what jobs of a shared commit will ask for one by
// one. It is optional, and what it is told binds nobody.
type Foreseer interface {
	// Foresee is called before anything is written, at most once in an Update.
	Foresee(a *Ahead) error
	// Begun is the cursor that the Update found. ok is false when Foresee was not called;
	// clean is whether nothing was written since.
	Begun() (c change.Cursor, clean, ok bool)
}

// Ahead is what jobs will ask for, and what they take in.
type Ahead struct {
	Txs     []*change.Transaction
	Records []Name // documents
	Lists   []Name // of documents: a kind, and a prefix of ids
}

// A Name is where a document is kept.
type Name struct{ Kind, ID string }

// aheadOf is what taking transactions in will ask for.
func aheadOf(txs []*change.Transaction) *Ahead {
	a := &Ahead{Txs: txs}
	devices, incs := map[change.DeviceID]bool{}, map[change.Incarnation]bool{}
	for _, t := range txs {
		if !devices[t.Device] {
			devices[t.Device] = true
			a.Records = append(a.Records, Name{kindDevice, t.Device.String()})
			a.Lists = append(a.Lists, Name{kindParked, t.Device.String() + "/"})
		}
		if !incs[t.Incarnation] {
			incs[t.Incarnation] = true
			a.Records = append(a.Records, Name{kindIncarnation, t.Incarnation.String()})
		}
	}
	return a
}

// foresee tells the store what comes.
func foresee(tx Tx, group []*job) error {
	f, ok := tx.(Foreseer)
	if !ok {
		return nil
	}
	var all Ahead
	for _, j := range group {
		if j.ahead != nil {
			all.Txs, all.Records, all.Lists = append(all.Txs, j.ahead.Txs...), append(all.Records, j.ahead.Records...), append(all.Lists, j.ahead.Lists...)
		}
	}
	if len(all.Txs) == 0 {
		return nil
	}
	if err := f.Foresee(&all); err != nil {
		return fmt.Errorf("look ahead: %w", err)
	}
	return nil
}

// startOf is the hub's state before a batch, or the zero cursor when others' work of the
// same Update comes before it: no device has seen that.
func startOf(tx Tx) (change.Cursor, error) {
	f, ok := tx.(Foreseer)
	if !ok {
		return tx.Cursor()
	}
	c, clean, ok := f.Begun()
	switch {
	case !ok:
		return tx.Cursor()
	case !clean:
		return change.Cursor{}, nil
	}
	return c, nil
}
