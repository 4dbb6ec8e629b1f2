package hub

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A draft is a chunk whose rows are not sealed yet. Sealing takes about as long as reading
// did, and needs no snapshot.
type draft struct {
	wire.Chunk
	rows []*change.Rows
}

// finish tells where the portion after p begins, and seals the chunk.
func (d *draft) finish(p *portion) (*wire.Chunk, error) {
	c := &d.Chunk
	if p.onward != nil && !c.Done {
		select {
		case p.onward <- after(c):
		default: // it is read a second time: what was told first is looked at again, by follows
		}
	}
	if len(d.rows) == 0 {
		return c, nil
	}
	var err error
	if c.Body, err = change.SealRows(d.rows); err != nil {
		return nil, fmt.Errorf("seal rows: %w", err)
	}
	return c, nil
}

// after is the portion that goes on where a chunk ends.
func after(c *wire.Chunk) portion {
	return portion{at: place{table: c.Table, after: c.After}, seen: c.At}
}

// An order is a portion on its way. While it is sealed, the next one may be ordered.
type order struct {
	p     portion
	await func() // nil once it is here
	chunk *wire.Chunk
	void  *wire.Rebase
	err   error
}

// order asks for a portion, and does not wait for it where work can be done beside.
// There, one order at a time reads: the next one is made when this one has told where
// it ends.
func (s *Session) order(ctx context.Context, m *wire.Fetch, p portion, start change.Cursor) *order {
	o := &order{p: p}
	o.p.onward = make(chan portion, 1)
	work := func() {
		defer close(o.p.onward)
		p.onward = o.p.onward
		o.chunk, o.void, o.err = s.portion(ctx, m, p, start)
	}
	if s.hub.shelf.beside != nil && m.Window > 1 {
		o.await = s.hub.shelf.beside(work)
		return o
	}
	close(o.p.onward)
	o.chunk, o.void, o.err = s.portion(ctx, m, p, start)
	return o
}

// wait returns when the portion is here. nil: nothing was ordered.
func (o *order) wait() {
	if o == nil || o.await == nil {
		return
	}
	await := o.await
	o.await = nil
	await()
}

// follows reports whether a portion begins where a chunk ends. It mostly does; but a
// chunk that was read may come out as another one that was filed meanwhile, with more
// rows or fewer.
func (o *order) follows(c *wire.Chunk) bool {
	return o.p.at.table == c.Table && o.p.at.after.Equal(c.After) && o.p.seen == c.At
}
