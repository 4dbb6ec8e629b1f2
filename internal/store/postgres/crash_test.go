package postgresstore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// The server loses its power while two processes write: what was answered is there,
// whole, and both go on by themselves when it is back. The epoch stays.
func TestI1_TheServerIsKilledAndComesBack(t *testing.T) {
	server := pgtest.Own(t, pgtest.Options{Durable: true})
	dsn := server.Database(t)
	run(t, connect(t, dsn), `CREATE TABLE parent (id text PRIMARY KEY); CREATE TABLE child (id text PRIMARY KEY, up text NOT NULL REFERENCES parent)`)
	rules := everything([]string{"parent", "child"})
	stores := []*Store{serve(t, Config{DSN: dsn, Rules: rules}), serve(t, Config{DSN: dsn, Rules: rules})}
	epoch := stores[0].Epoch()
	start := (&experiment{t: t, dsn: dsn}).cursor(stores[0])

	answered := make([]map[string]bool, len(stores))
	enough := make(chan struct{}, len(stores)) // each process has done some
	back := make(chan struct{})                // the server is there again
	var all sync.WaitGroup
	for i, s := range stores {
		answered[i] = map[string]bool{}
		all.Go(func() {
			for n, after := 0, 0; after < 20; n++ {
				id := change.Text(fmt.Sprintf("%d-%d", i, n))
				err := s.Update(t.Context(), func(tx hub.Tx) error {
					tx.Again()
					err := tx.Write(hub.Effect{Table: "parent", Kind: change.Insert, Key: change.Key{id}, Columns: []string{"id"}, Values: []change.Value{id}})
					if err != nil {
						return err
					}
					return tx.Write(hub.Effect{Table: "child", Kind: change.Insert, Key: change.Key{id}, Columns: []string{"id", "up"}, Values: []change.Value{id, id}})
				})
				if err == nil {
					answered[i][id.Str()] = true
				}
				if n == 20 {
					enough <- struct{}{}
				}
				select {
				case <-back:
					after++
				default:
				}
			}
		})
	}
	for range stores {
		<-enough
	}
	server.Kill(t)
	server.Start(t)
	close(back)
	all.Wait()

	rows := held(t, stores[0])
	if len(rows["parent"]) != len(rows["child"]) {
		t.Errorf("a transaction is there by half: %d parents, %d children", len(rows["parent"]), len(rows["child"]))
	}
	for i, list := range answered {
		if len(list) < 30 {
			t.Errorf("process %d had %d answers only", i, len(list))
		}
		for id := range list {
			if rows["child"]["'"+id+"'"] == nil {
				t.Errorf("%s was answered, and is gone", id)
			}
		}
	}
	if stores[0].Epoch() != epoch {
		t.Error("a restart is no other history")
	}
	err := stores[1].View(t.Context(), func(v hub.View) error {
		seen := 0
		err := v.Delta(start, change.Incarnation{9}, []rule.ScopeID{rule.ScopeAll}, 1<<20, func(r *change.Rows) error {
			seen += r.Len()
			return nil
		})
		if seen != 2*len(rows["parent"]) {
			t.Errorf("the cursor from before the crash gives %d rows, not %d", seen, 2*len(rows["parent"]))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// The connection that listens was lost, too.
	heard := make(chan error, 1)
	now := (&experiment{t: t, dsn: dsn}).cursor(stores[0])
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	go func() { heard <- stores[0].Wait(ctx, now) }()
	run(t, connect(t, dsn), `INSERT INTO parent VALUES ('plain')`)
	if err := <-heard; err != nil {
		t.Errorf("nobody heard of a write after the crash: %v", err)
	}
}
