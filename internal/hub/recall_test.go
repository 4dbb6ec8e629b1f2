package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// What Status remembers must never be what was.
func TestStatusSeesEveryChangeAtOnce(t *testing.T) {
	w := newWorld(t)
	w.fleet(3)
	look := func() *hub.Health {
		t.Helper()
		h, err := w.hub.Status(w.ctx)
		w.must(err)
		return h
	}
	h := look()
	id := h.Devices[1].ID
	_, err := w.hub.Rename(w.ctx, id, "renamed", "")
	w.must(err)
	if got := look().Devices[1].Name; got != "renamed" {
		t.Errorf("after a rename: %q", got)
	}
	undone := errors.New("undone")
	err = w.store.Update(w.ctx, func(tx hub.Tx) error {
		d, err := tx.Record("device", id.String())
		if err != nil {
			return err
		}
		var v map[string]any
		if err := json.Unmarshal(d, &v); err != nil {
			return err
		}
		v["name"] = "never"
		body, err := json.Marshal(v)
		return errors.Join(err, tx.PutRecord("device", id.String(), body), undone)
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if got := look().Devices[1].Name; got != "renamed" {
		t.Errorf("after a change that was undone: %q", got)
	}
	w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { return tx.PutRecord("device", id.String(), nil) }))
	if got := look().Devices; len(got) != 2 {
		t.Errorf("after one is gone: %d devices", len(got))
	}
}

// A database from before receipts were marked is marked when the first one is written.
func TestReceiptsOfAnOlderVersionAreCounted(t *testing.T) {
	w := newWorld(t)
	w.conflicts(3)
	count := func(want int, when string) {
		t.Helper()
		h, err := w.hub.Status(w.ctx)
		w.must(err)
		if h.Receipts != want {
			t.Errorf("%s: %d open, want %d", when, h.Receipts, want)
		}
	}
	count(3, "as they came")
	all := w.receipts()
	w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { // as an older version leaves them
		for _, id := range []string{"!", all[0].ID, all[1].ID, all[2].ID} {
			if err := tx.PutRecord("receipt-open", id, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	w.reopen()
	count(3, "unmarked")
	if _, err := w.hub.Accept(w.ctx, []string{all[1].ID}, "mia", ""); err != nil {
		t.Fatal(err)
	}
	count(2, "after one was accepted")
	if _, err := w.hub.Undo(w.ctx, all[0].ID, "mia"); err != nil {
		t.Fatal(err)
	}
	count(1, "after one was undone")
	w.clock.Advance(2 * hub.DefaultKeep)
	if _, err := w.hub.Retain(context.Background(), hub.DefaultKeep); err != nil {
		t.Fatal(err)
	}
	count(0, "after all were forgotten")
	marks := 0
	w.must(w.store.View(w.ctx, func(v hub.View) error {
		list, err := v.IDs("receipt-open", "", "", 10)
		marks = len(list)
		return err
	}))
	if marks != 1 {
		t.Errorf("%d marks are left", marks)
	}
}

// listed is a store that counts the records that were read.
type listed struct {
	hub.Store
	lists *atomic.Int64
}

func (l listed) View(ctx context.Context, fn func(hub.View) error) error {
	return l.Store.View(ctx, func(v hub.View) error { return fn(listedView{v, l.lists}) })
}

type listedView struct {
	hub.View
	lists *atomic.Int64
}

func (v listedView) Records(kind, prefix, after string, limit int) ([]hub.Record, error) {
	v.lists.Add(1)
	return v.View.Records(kind, prefix, after, limit)
}

func (v listedView) IDs(kind, prefix, after string, limit int) ([]string, error) {
	v.lists.Add(1)
	return v.View.IDs(kind, prefix, after, limit)
}

// A fleet of which nothing changed is not read again, until it might have been changed
// by a process that stamps nothing.
func TestStatusReadsWhatChangedAndNothingElse(t *testing.T) {
	lists := &atomic.Int64{}
	w := newWorld(t, func(c *hub.Config) { c.Store = listed{c.Store, lists} })
	w.fleet(3)
	look := func() int64 {
		t.Helper()
		before := lists.Load()
		_, err := w.hub.Status(w.ctx)
		w.must(err)
		return lists.Load() - before
	}
	all := look()
	if all < 5 {
		t.Errorf("the first look lists %d kinds", all)
	}
	w.clock.Advance(30 * time.Second)
	if n := look(); n != 0 {
		t.Errorf("the second look lists %d", n)
	}
	w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { return tx.PutRecord("event", "nobody/1", []byte("{}")) }))
	if n := look(); n != 1 {
		t.Errorf("after one kind was changed %d are listed", n)
	}
	w.clock.Advance(time.Minute)
	if n := look(); n < all {
		t.Errorf("after a minute %d are listed, at first %d were", n, all)
	}
}

// How far a first download is, in bytes, while it is under way.
func TestAFirstDownloadIsSeenToProceed(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits.Part = 2000 })
	w.products(300)
	a := w.device("new", everywhere)
	var seen []uint64
	for next := (&wire.Fetch{Window: 2}); next != nil; {
		var err error
		next, err = a.fetchOn(next, nil)
		w.must(err)
		d, err := w.hub.DeviceStatus(w.ctx, a.id)
		w.must(err)
		seen = append(seen, d.Download.Sent)
	}
	if len(seen) < 3 || seen[len(seen)-1] != 0 {
		t.Fatalf("seen %v", seen)
	}
	for i := 1; i < len(seen)-1; i++ {
		if seen[i] <= seen[i-1] {
			t.Fatalf("seen %v", seen)
		}
	}
}
