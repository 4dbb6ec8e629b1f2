package hub

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// A Foreseer is a Tx that reads together what taking transactions in will ask for one
// by one. It is optional, and what it is told binds nobody.
type Foreseer interface {
	Foresee(txs []*change.Transaction) error
}

// foresee tells the store what comes.
func (b *batch) foresee(txs []*change.Transaction) error {
	f, ok := b.tx.(Foreseer)
	if !ok || len(txs) == 0 {
		return nil
	}
	if err := f.Foresee(txs); err != nil {
		return fmt.Errorf("look ahead: %w", err)
	}
	return nil
}
