package hub_test

import (
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// BenchmarkStatus is the fleet page's question to a hub of ten thousand devices.
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b)
	w.fleet(10_000)
	for b.Loop() {
		if _, err := w.hub.Status(w.ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// fleet adds devices that joined.
func (w *world) fleet(n int) {
	w.t.Helper()
	for i := range n {
		inv, err := w.hub.AddDevice(w.ctx, fmt.Sprintf("till %d", i), []rule.Grant{branchGrant(fmt.Sprint(i % 100))}, 0)
		w.must(err)
		_, _, err = w.hub.Join(w.ctx, inv.Secret, fmt.Appendf(nil, "key %d", i))
		w.must(err)
	}
}
