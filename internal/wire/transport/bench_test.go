package transport

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/wire"
)

// BenchmarkRoundTrip is one small message there and back over real TLS.
func BenchmarkRoundTrip(b *testing.B) {
	r := newRig(b, newCore(), nil)
	client := r.client(b, nil)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	left := b.N
	peer := &scripted{
		start: func(_ context.Context, emit emitter) error {
			b.ResetTimer()
			return emit(&wire.Pong{})
		},
		receive: func(_ context.Context, m wire.Message, emit emitter) error {
			if left--; left <= 0 {
				b.StopTimer()
				cancel()
				return nil
			}
			return emit(m)
		},
	}
	if err := client.Run(ctx, peer); err != nil {
		b.Fatal(err)
	}
}
