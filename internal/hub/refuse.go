package hub

import (
	"errors"
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

// Refused returns why something that a person asked for cannot be applied now, and the
// reason's stable code; ok is false of other errors.
func Refused(err error) (code, reason string, ok bool) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return "", "", false
	}
	return r.code, r.reason, true
}
