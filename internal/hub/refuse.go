package hub

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// A refusal is why a transaction cannot be applied now. It quarantines the
// transaction; everything else goes on (I11).
type refusal struct {
	code    string        // stable, see Parked.Code
	reason  string        // for people
	depends []change.TxID // the parked transactions it waits for
}

func (r *refusal) Error() string { return r.reason }

func refuse(code, format string, args ...any) error {
	return &refusal{code: code, reason: fmt.Sprintf(format, args...)}
}
