package clock

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the two one-way delays, the truth lies within the stated uncertainty.
func TestMidpointBoundsTheTruth(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ms := func(name string, most int64) time.Duration {
			return time.Duration(rapid.Int64Range(0, most).Draw(r, name)) * time.Millisecond
		}
		truth := ms("ahead", 1e9) - ms("behind", 1e9)
		there, back := ms("there", 1e4), ms("back", 1e4)
		remote := noon.Add(there).Add(truth)
		offset, uncertain, ok := Midpoint(noon, noon.Add(there+back), remote)
		if !ok || (offset-truth).Abs() > uncertain {
			r.Fatalf("offset %v ± %v (%v), truth %v", offset, uncertain, ok, truth)
		}
	})
}

func TestMidpointRefusesAClockThatJumpedBack(t *testing.T) {
	if _, _, ok := Midpoint(noon, noon.Add(-time.Second), noon); ok {
		t.Error("an answer cannot come before its question")
	}
}

func TestManual(t *testing.T) {
	m := NewManual(noon)
	if got := m.Advance(-time.Hour); got != noon.Add(-time.Hour) || m.Now() != got {
		t.Errorf("advanced to %v", got)
	}
	if m.Set(noon); m.Now() != noon {
		t.Errorf("set to %v", m.Now())
	}
}

func TestSystemMoves(t *testing.T) {
	var c Clock = System{}
	a := c.Now()
	for range 1_000_000 {
		if c.Now().After(a) {
			return
		}
	}
	t.Error("the machine's clock stands still")
}
