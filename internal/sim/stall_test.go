package sim

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// deliverAll delivers what is under way without telling the edge of local writes.
func (w *world) deliverAll(t *testing.T, s *site) {
	t.Helper()
	for range 500 {
		if len(s.link.up)+len(s.link.down) == 0 {
			return
		}
		for _, deliver := range []func(*site) error{w.deliverUp, w.deliverDown} {
			if err := deliver(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("the session never comes to rest")
}

// A write that falls between Hello and Welcome, and one whose nudge got lost, leave
// the file without the application writing again: no silent stall.
func TestNoWriteWaitsForTheNext(t *testing.T) {
	w, err := newWorld(Options{Seed: 1, Dir: dir(t), Edges: 1, calm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	s := w.edges[0]
	redial := func() {
		if err := w.dial(s); err != nil {
			t.Fatal(err)
		}
	}
	write := func(id string) {
		if err := s.app.exec(`INSERT INTO ledger VALUES (?, 'x')`, change.Text(id)); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(id string) {
		t.Helper()
		if at, err := w.atHubNow(&deed{ledger: id}); err != nil || !at {
			t.Errorf("%s is not at the hub, err %v", id, err)
		}
	}
	redial()
	w.deliverAll(t, s)

	redial() // Hello is on its way
	write("between")
	w.deliverAll(t, s)
	arrived("between")

	write("unannounced")
	if err := w.atSite(s, func() error { return s.link.es.Tick(w.ctx, w.post(&s.link.up, 0)) }); err != nil {
		t.Fatal(err)
	}
	w.deliverAll(t, s)
	arrived("unannounced")
}
