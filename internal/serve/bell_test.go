package serve

import (
	"context"
	"errors"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestBellNeverMissesAStrike(t *testing.T) {
	b := newBell()
	first, second := b.listener(change.DeviceID{}), b.listener(change.DeviceID{})
	ctx, stop := context.WithCancel(context.Background())
	b.strike()
	b.strike() // nobody waited in between: one wake is enough
	for _, wait := range []func(context.Context) error{first, second} {
		if err := wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	woken := make(chan error)
	go func() { woken <- first(ctx) }()
	b.strike()
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	stop()
	if err := first(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("after the end: %v", err)
	}
}
