package hub

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// shaping is the shape in force, and whose turn it is to make another one.
//
// One at a time makes it. A shape belongs to the very list of tables that the store handed
// out when it was made: if all who find it outdated made one at once, each would outdate
// those of the others, and under load that never ended.
type shaping struct {
	atomic.Pointer[shape]
	turn chan struct{}                               // holds a token while somebody makes one
	ddl  func(ctx context.Context) ([]string, error) // see Config.DDL
}

func newShaping(ddl func(ctx context.Context) ([]string, error)) shaping {
	return shaping{turn: make(chan struct{}, 1), ddl: ddl}
}

// alone runs fn when nobody else does.
func (s *shaping) alone(ctx context.Context, fn func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	return fn()
}

// Reload takes new rules, or notices that the tables changed. Sessions that have
// another Setup end with the fault setup-changed, and come back for the new one. A
// table that was served and can be no longer is left out, see Lost.
func (h *Hub) Reload(ctx context.Context, rules *rule.Rules) error {
	return h.shape.alone(ctx, func() error { return h.reload(ctx, rules) })
}

// renew runs fn, and again with the tables as they are now when it says that they
// changed.
func (h *Hub) renew(ctx context.Context, fn func() error) error {
	for {
		was := h.shape.Load()
		err := fn()
		if !errors.Is(err, errStale) {
			return err
		}
		err = h.shape.alone(ctx, func() error {
			// Somebody did meanwhile. The store's own word does not do: fn's transaction,
			// in which it saw the change, was undone.
			if h.shape.Load() != was {
				return nil
			}
			return h.reload(ctx, h.shape.Load().rules)
		})
		if err != nil {
			return err
		}
	}
}
