package hub_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// What many greetings have to write stands in the line of the pushes, and is committed
// with them: each in a commit of its own, a fleet that comes back waits for the disk.
func TestTrapD13_GreetingsShareACommit(t *testing.T) {
	w := newWorld(t)
	pusher := w.site("pusher", everywhere)
	const many = 12
	var list []*site
	for i := range many {
		s := w.site(fmt.Sprint("s", i), everywhere)
		list = append(list, s)
	}
	w.clock.Advance(2 * time.Minute) // since then their records are old
	release := holdStore(w)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := w.hub.Push(w.ctx, pusher.id, []*change.Transaction{pusher.tx(ins("product", "a"))})
		w.report(err)
	})
	for !hub.Leading(w.hub) {
		runtime.Gosched()
	}
	for _, s := range list {
		m := s.hello()
		m.Agent = "newer"
		wg.Go(func() {
			w.report(w.hub.NewSession(s.id).Receive(w.ctx, m, func(wire.Message) error { return nil }))
		})
	}
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	for hub.InLine(w.hub) != many && ctx.Err() == nil {
		runtime.Gosched()
	}
	if n := hub.InLine(w.hub); n != many {
		t.Errorf("%d greetings of %d stand in line", n, many)
	}
	release()
	wg.Wait()
	w.want("SELECT count(*) FROM product", "1")
	devices, err := w.hub.Devices(w.ctx)
	w.must(err)
	newer := 0
	for _, d := range devices {
		if d.Agent == "newer" {
			newer++
		}
	}
	if newer != many {
		t.Errorf("%d devices of %d are known to run the newer agent", newer, many)
	}
}
