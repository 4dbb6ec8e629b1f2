package edge

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// aheadBytes is how large a sealed chunk may be for its rows to be decoded while those of
// the chunk before it are written. A hub fills chunks with some 256 KiB of values; larger
// are those with a large value in them, and of these memory holds one at a time.
const aheadBytes = 512 << 10

// rows hands out a journal's rows in order. Memory holds one decoded chunk, and the one
// after it where it is decoded beside the work of fn.
func (j *journal) rows(headed bool, beside wire.Beside, fn func(*change.Rows) error) error {
	var first *unsealing
	err := j.scan(func(kind byte, body []byte) error {
		if kind != recordChunk {
			return nil
		}
		if headed {
			var err error
			if _, body, err = splitChunk(body); err != nil {
				return err
			}
		}
		if len(body) == 0 {
			return nil
		}
		if beside == nil || len(body) > aheadBytes {
			if err := first.deliver(fn); err != nil {
				return err
			}
			first = nil
			return unseal(body, nil).deliver(fn)
		}
		second := unseal(body, beside)
		err := first.deliver(fn)
		first = second
		return err
	})
	if err != nil {
		first.drop()
		return err
	}
	return first.deliver(fn)
}

// An unsealing is a chunk that is being decoded.
type unsealing struct {
	rows  []*change.Rows
	err   error
	await func() // nil: it is done
}

func unseal(body []byte, beside wire.Beside) *unsealing {
	o := &unsealing{}
	work := func() { o.rows, o.err = change.OpenRows(body, change.Limits{}) }
	if beside == nil {
		work()
	} else {
		o.await = beside(work)
	}
	return o
}

// drop waits until nothing goes on any more. nil: nothing did.
func (o *unsealing) drop() {
	if o != nil && o.await != nil {
		await := o.await
		o.await = nil
		await()
	}
}

// deliver hands out a chunk's rows; only now it matters whether it decodes.
func (o *unsealing) deliver(fn func(*change.Rows) error) error {
	if o.drop(); o == nil {
		return nil
	}
	if o.err != nil {
		return fmt.Errorf("staged rows: %w", o.err)
	}
	for _, r := range o.rows {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}
