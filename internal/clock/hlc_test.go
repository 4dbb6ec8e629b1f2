package clock

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func TestHLCFollowsTheWall(t *testing.T) {
	m := NewManual(noon)
	h := NewHLC(m, 0, 0)
	a, b := h.Now(), h.Now()
	if a != change.NewHLC(noon.UnixMilli(), 0) || b != a+1 {
		t.Errorf("two readings in one millisecond: %x, %x", a, b)
	}
	m.Advance(time.Millisecond)
	if c := h.Now(); c != change.NewHLC(noon.UnixMilli()+1, 0) {
		t.Errorf("a later millisecond starts counting anew: %x", c)
	}
}

func TestHLCNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := NewManual(noon)
		h := NewHLC(m, 0, time.Minute)
		last := h.Last()
		r.Repeat(map[string]func(*rapid.T){
			"jump": func(r *rapid.T) {
				m.Advance(time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(r, "by")))
			},
			"restart": func(*rapid.T) { h = NewHLC(m, h.Last(), time.Minute) },
			"observe": func(r *rapid.T) {
				ms := noon.UnixMilli() + rapid.Int64Range(-1e6, 1e6).Draw(r, "ms")
				h.Observe(change.NewHLC(ms, rapid.Uint16().Draw(r, "count")))
			},
			"now": func(r *rapid.T) {
				if n := h.Now(); n <= last {
					r.Fatalf("%x after %x", n, last)
				}
			},
			"": func(r *rapid.T) {
				if h.Last() < last {
					r.Fatalf("last went from %x to %x", last, h.Last())
				}
				last = h.Last()
			},
		})
	})
}

func TestHLCFullCounterCarries(t *testing.T) {
	h := NewHLC(NewManual(noon), change.NewHLC(noon.UnixMilli(), 0xffff), 0)
	if n := h.Now(); n != change.NewHLC(noon.UnixMilli()+1, 0) {
		t.Errorf("got %x", n)
	}
}

func TestHLCNowFollowsWhatWasObserved(t *testing.T) {
	h := NewHLC(NewManual(noon), 0, time.Minute)
	seen := change.NewHLC(noon.Add(30*time.Second).UnixMilli(), 7)
	if h.Observe(seen) {
		t.Error("half a minute ahead is within the drift")
	}
	if n := h.Now(); n != seen+1 {
		t.Errorf("got %x, want %x", n, seen+1)
	}
}

func TestHLCBefore1970IsZero(t *testing.T) {
	h := NewHLC(NewManual(time.Time{}), 0, 0)
	if n := h.Now(); n != 1 {
		t.Errorf("got %x", n)
	}
}

func TestHLCConcurrentReadingsDiffer(t *testing.T) {
	h := NewHLC(System{}, 0, 0)
	var mu sync.Mutex
	seen := map[change.HLC]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				n := h.Now()
				mu.Lock()
				seen[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 2000 {
		t.Errorf("%d different readings of 2000", len(seen))
	}
}

func TestTrapD6_FutureReadingIsClamped(t *testing.T) {
	future := change.NewHLC(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), 9)
	most := change.NewHLC(noon.Add(DefaultMaxDrift).UnixMilli(), 0)

	h := NewHLC(NewManual(noon), 0, 0)
	if !h.Observe(future) || h.Last() != most {
		t.Errorf("observed %x, want it cut to %x", h.Last(), most)
	}
	got, clamped := Correct(future, 0, noon, DefaultMaxDrift)
	if !clamped || got != most {
		t.Errorf("corrected to %x, want %x", got, most)
	}
	// A device that lives in 2030 but whose offset is known is simply corrected.
	offset := noon.Sub(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	got, clamped = Correct(future, offset, noon, DefaultMaxDrift)
	if clamped || got != change.NewHLC(noon.UnixMilli(), 9) {
		t.Errorf("corrected to %x, clamped %v", got, clamped)
	}
}

func TestCorrectBefore1970IsZero(t *testing.T) {
	got, clamped := Correct(change.NewHLC(5, 1), -time.Hour, noon, time.Minute)
	if got != 0 || clamped {
		t.Errorf("got %x, %v", got, clamped)
	}
}
