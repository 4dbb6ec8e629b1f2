package hub

import (
	"context"
	"errors"
	"testing"
)

// The lead must not get lost when it is handed to a push that goes away at that
// very moment: whoever stands behind gets it, or nobody holds it.
func TestCommitter_LeadIsPassedOn(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	took, passed := 0, 0
	for n := 0; n < 1000 && (took == 0 || passed == 0); n++ {
		c := &committer{busy: true}
		gone, next := &job{wake: make(chan bool, 1)}, &job{wake: make(chan bool, 1)}
		c.waiting = []*job{gone, next}
		c.pass() // to gone, whose context has ended
		if c.await(ctx, gone) {
			took++
			continue
		}
		passed++
		if !errors.Is(gone.err, context.Canceled) || len(c.waiting) != 1 || len(next.wake) != 1 || <-next.wake {
			t.Fatalf("the next in line did not get the lead: %+v", c)
		}
	}
	if took == 0 || passed == 0 {
		t.Fatalf("took %d, passed %d: one of the ways was never tried", took, passed)
	}
	c := &committer{busy: true, waiting: []*job{}}
	if c.pass(); c.busy {
		t.Error("with nobody in line somebody still leads")
	}
	// A push that is being committed waits for its outcome, cancelled or not.
	j := &job{wake: make(chan bool, 1)}
	j.wake <- true
	if c.await(ctx, j) || j.err != nil {
		t.Errorf("a committed push ended with %v", j.err)
	}
}
