package ledger

import (
	"fmt"
	"math"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Seal makes one compressed batch of the transactions themselves.
func Seal(list []hub.Received) ([]byte, error) {
	txs := make([]*change.Transaction, len(list))
	for i := range list {
		if list[i].Tx == nil {
			return nil, fmt.Errorf("journal transaction %s: it is missing", list[i].ID)
		}
		txs[i] = list[i].Tx
	}
	body, err := change.SealTransactions(txs)
	if err != nil {
		return nil, fmt.Errorf("journal %d transactions: %w", len(list), err)
	}
	return body, nil
}

// Unseal takes the transaction at a place out of a batch.
func Unseal(id change.TxID, body []byte, place int64) (*change.Transaction, error) {
	// Our own writing: whoever let it in bounded it, and several may be in one batch.
	all := change.Limits{Encoded: math.MaxInt, Decoded: math.MaxInt, Rows: math.MaxInt}
	txs, err := change.OpenTransactions(body, all)
	if err != nil {
		return nil, fmt.Errorf("read transaction %s: %w", id, err)
	}
	if int(place) >= len(txs) || txs[place].ID != id {
		return nil, fmt.Errorf("read transaction %s: its batch holds another", id)
	}
	return txs[place], nil
}

// Furthest is the last place in each chain that a list of transactions reaches, in the
// order in which the chains come in it.
func Furthest(list []hub.Received) []*hub.Received {
	var out []*hub.Received
	at := map[change.Incarnation]int{}
	for i := range list {
		r := &list[i]
		j, ok := at[r.Inc]
		switch {
		case !ok:
			at[r.Inc] = len(out)
			out = append(out, r)
		case r.Seq > out[j].Seq:
			out[j] = r
		}
	}
	return out
}
