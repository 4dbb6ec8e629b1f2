package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func (b *bench) begin(mode change.BranchMode) change.Branch {
	b.Helper()
	br, err := b.s.Begin(b.Context(), mode)
	if err != nil {
		b.Fatal(err)
	}
	return br
}

func (b *bench) lineage() (list []change.Branch) {
	b.Helper()
	b.view(func(v hub.View) (err error) { list, err = v.Lineage(); return err })
	return list
}

// lineage: each life has an epoch of its own, and knows where it left the one before.
func lineage(t *testing.T, open Open) {
	b := start(t, open)
	first := b.lineage()
	if len(first) != 1 || first[0].Mode != change.Founded || !first[0].Fork.IsZero() || first[0].Epoch != b.now().Epoch {
		t.Fatalf("a new hub: %+v at %s", first, b.now())
	}
	b.as(edgeA, patient("p1", 7, "Ann"))
	end := b.now()
	second := b.begin(change.Restored)
	if second.Epoch == first[0].Epoch || second.Fork != end || second.Mode != change.Restored || second.At.IsZero() {
		t.Errorf("the second life: %+v, the first ended at %s", second, end)
	}
	if now := b.now(); now.Epoch != second.Epoch {
		t.Errorf("the cursor is still of the first life: %s", now)
	}
	b.as(edgeA, patient("p2", 7, "Bob"))
	third := b.begin(change.Undone)
	if third.Fork.Epoch != second.Epoch || third.Mode != change.Undone {
		t.Errorf("the third life: %+v", third)
	}
	got, want := b.lineage(), []change.Branch{first[0], second, third}
	if len(got) != 3 {
		t.Fatalf("lineage %+v", got)
	}
	for i := range want {
		if g, w := got[i], want[i]; g.Epoch != w.Epoch || g.Fork != w.Fork || g.Mode != w.Mode || !g.At.Equal(w.At) {
			t.Errorf("life %d: %+v, want %+v", i, g, w)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.s.Begin(ctx, change.Restored); !errors.Is(err, context.Canceled) {
		t.Errorf("begin under a context that ended: %v", err)
	}
	if len(b.lineage()) != 3 {
		t.Error("a life that failed to begin is in the lineage")
	}
}

// lineageCursors: a cursor of an earlier life serves as long as what it had seen is
// part of the present one, and not longer.
func lineageCursors(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"))
	early := b.now()
	b.as(edgeA, patient("p2", 7, "Bob"))
	fork := b.now()
	b.begin(change.Restored)
	b.as(edgeA, patient("p3", 7, "Cid"))
	middle := b.now()
	b.begin(change.Restored)
	b.as(edgeB, patient("p4", 7, "Dan"))
	b.expect("since the first life", b.changes(early, edgeB, branch(7)), "patient 'p2'; patient 'p3'")
	b.expect("since its end", b.changes(fork, edgeB, branch(7)), "patient 'p3'")
	b.expect("since the second life", b.changes(middle, edgeA, branch(7)), "patient 'p4'")
	b.expect("who wrote the row since", b.history("patient", text("p3"), fork, edgeB), "insert()a")

	// The position exists and its nonce is right, but the first life ended before it.
	late := middle
	late.Epoch = early.Epoch
	unknown := early
	unknown.Epoch ^= 1
	for name, c := range map[string]change.Cursor{"past the fork": late, "of no life": unknown} {
		if err := b.check(c); !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("a cursor %s: %v", name, err)
		}
		err := b.s.View(t.Context(), func(v hub.View) error {
			return v.Delta(c, edgeA, branch(7), 1000, func(*change.Rows) error { return nil })
		})
		if !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("delta since a cursor %s: %v", name, err)
		}
		if err := b.s.Wait(t.Context(), c); !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("wait since a cursor %s: %v", name, err)
		}
	}
	if err := b.s.Wait(t.Context(), fork); err != nil {
		t.Errorf("wait since the first life's end: %v", err)
	}
	var digests []change.Digest
	for range 2 {
		b.view(func(v hub.View) error {
			d, err := v.Digest("patient", []rule.ScopeID{"branch/7"})
			digests = append(digests, d)
			return err
		})
		b.begin(change.Undone)
	}
	if digests[0] != digests[1] {
		t.Error("a new life changes the digest of untouched rows")
	}
	if _, err := b.s.Prune(t.Context(), clock.System{}.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.check(early); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("an early cursor below the floor: %v", err)
	}
}

// lineageMarks: a device may have heard of outcomes that the restored hub knows
// nothing of. Those to come are newer than any of them, and it hears again of what
// still waits.
func lineageMarks(t *testing.T, open Open) {
	b := start(t, open)
	b.receive(edgeA, 1, hub.Applied)
	b.receive(edgeA, 2, hub.Quarantined)
	var heard uint64
	b.view(func(v hub.View) (err error) { _, heard, err = v.Outcomes(edgeA, 0, 10); return err })
	heard += 1000 // decisions of the lost part of the first life
	end := b.now()
	b.begin(change.Restored)
	if b.now().Token == end.Token {
		t.Error("a device that waits at the end of the first life is not woken to hear")
	}
	told := func(want string) {
		t.Helper()
		got := ""
		b.view(func(v hub.View) error {
			list, _, err := v.Outcomes(edgeA, heard, 10)
			for _, o := range list {
				got += o.Status.String() + " "
			}
			return err
		})
		b.expect("outcomes after a mark of the lost time", got, want)
	}
	told("quarantined ")
	b.receive(edgeA, 3, hub.Merged)
	told("quarantined merged ")
	b.update(func(tx hub.Tx) error { return tx.Decide(txID(edgeA, 2), hub.Applied, "retried") })
	told("merged applied ")
	b.begin(change.Restored)
	told("merged applied ")
}
