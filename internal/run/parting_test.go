package run

import (
	"context"
	"testing"
	"time"
)

// Work that a single sync handed in does not stay unsafe in the hub's books until
// the device comes again.
func TestHubKnowsThatSyncedWorkIsSafe(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "UPDATE item SET note='mine' WHERE id='a'")
	w.sync(e)
	list, err := h.Core().Devices(context.Background())
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	if s := list[0].Status; s.OutboxDepth != 0 || s.OldestUnsafe != 0 {
		t.Errorf("the hub believes %d transactions to be unsafe, the oldest for %s", s.OutboxDepth, s.OldestUnsafe)
	}
	if s := time.Since(list[0].Seen); s > time.Hour {
		t.Errorf("seen %s ago", s)
	}
}
