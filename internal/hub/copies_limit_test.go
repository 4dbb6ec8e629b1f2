package hub_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// turns lets files greet and pull in turns, until one is refused.
func turns(files ...*twin) error {
	for range 4 {
		for _, f := range files {
			if _, err := f.tryGreet(); err != nil {
				return err
			}
			if _, err := f.tryAsk(&wire.Ping{N: 1}); err != nil && faultCode(err) != "copied" {
				return err
			}
		}
	}
	return nil
}

// A file that is copied again and again becomes so many devices, and not one more
// without the operator's word.
func TestTrapD4_CopiesWithoutEnd(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p"))
	a.pull()
	image := a.copy()
	spread := func(i int) (*twin, error) {
		c := image.copy()
		a.applies(ins("product", fmt.Sprint("a", i)))
		a.pull()
		return c, turns(c, a)
	}
	const most = 64
	var last *twin
	for i := range most {
		c, err := spread(i)
		w.must(err)
		if c.id == a.id {
			t.Fatalf("copy %d is no device of its own", i)
		}
		last = c
	}
	held, err := spread(most)
	if faultCode(err) != "copy-held" || held.id != a.id {
		t.Fatalf("one more copy: %v", err)
	}
	if _, err := held.tryGreet(); faultCode(err) != "copy-held" {
		t.Errorf("and when it comes back: %v", err)
	}
	w.must(turns(a, last)) // they are not taken for copies of it
	if n := strings.Count(w.names(), " copy "); n != most {
		t.Errorf("%d copies", n)
	}
	if got := a.events(); !strings.HasSuffix(got, hub.EventHeld) {
		t.Errorf("events: %s", got)
	}
	w.must(w.hub.Allow(w.ctx, a.id))
	w.must(turns(held, a))
	if held.id == a.id || strings.Count(w.names(), " copy ") != most+1 {
		t.Error("what the operator let go on is no device of its own")
	}
	w.sql("UPDATE _tidemark_record SET kind='hidden' WHERE kind='device' AND id='" + last.id.String() + "'")
	if _, err := spread(most + 3); faultCode(err) != "copy-held" {
		t.Errorf("one more while the record of one is gone: %v", err)
	}
	w.sql("UPDATE _tidemark_record SET kind='device' WHERE kind='hidden'")
	// Room for others: two of the copies were needed no more.
	w.must(w.hub.Revoke(w.ctx, last.id, ""))
	w.must(w.hub.Revoke(w.ctx, held.id, ""))
	if c, err := spread(most + 1); err != nil || c.id == a.id {
		t.Errorf("a copy where two were revoked: %v", err)
	}
}

// Of the lives of a file that is restored every night those are remembered that
// something was decided about, and the late ones.
func TestCopies_OldLivesAreForgotten(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Copies = hub.HoldCopies })
	a := w.twin("till")
	a.applies(ins("product", "p"))
	restore := func() error {
		a.parent = a.inc
		a.live()
		_, err := a.tryGreet()
		return err
	}
	if err := restore(); faultCode(err) != "copy-held" {
		t.Fatal(err)
	}
	refused := a.inc
	w.must(w.hub.Refuse(w.ctx, a.id, "stolen"))
	var young change.Incarnation
	for i := range 300 {
		a.parent = change.Incarnation{}
		a.live()
		a.greets()
		if i%3 == 0 {
			_, err := a.tryAsk(&wire.Ping{N: 1})
			w.must(err)
		}
		young = a.inc
	}
	list, err := w.hub.Lives(w.ctx, a.id)
	w.must(err)
	if len(list) > 128 || len(list) < 64 {
		t.Errorf("%d lives are remembered", len(list))
	}
	found := map[change.Incarnation]bool{}
	for _, l := range list {
		found[l.Inc] = true
	}
	if !found[refused] || !found[young] {
		t.Errorf("remembered: the one that was refused %v, the last one %v", found[refused], found[young])
	}
}
