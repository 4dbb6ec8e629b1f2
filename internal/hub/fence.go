package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// ErrOtherLife says that the hub is in another life by now than the one that somebody
// decided about: another process was quicker.
var ErrOtherLife = errors.New("the hub is in another life by now")

type lifeKey struct{}

// InLife makes a Store.Begin under the context end with ErrOtherLife, and begin nothing,
// when the present life is not the given one any more. Two processes that find out the
// same thing at one instant begin one life.
func InLife(ctx context.Context, e change.Epoch) context.Context {
	return context.WithValue(ctx, lifeKey{}, e)
}

// SameLife returns ErrOtherLife when the context asks for another life than the one that
// v shows. A Store's Begin calls it in its write transaction.
func SameLife(ctx context.Context, v View) error {
	want, ok := ctx.Value(lifeKey{}).(change.Epoch)
	if !ok {
		return nil
	}
	list, err := v.Lineage()
	if err != nil {
		return err
	}
	if now := list[len(list)-1].Epoch; now != want {
		return fmt.Errorf("%s, not %s: %w", now, want, ErrOtherLife)
	}
	return nil
}
