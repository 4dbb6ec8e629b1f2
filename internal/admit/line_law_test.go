package admit

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
)

// bench is a line under test, with what is known of it from outside.
type bench struct {
	t       *rapid.T
	line    *Line
	limits  Limits
	waiting []*Ticket
	running []*Ticket
	kept    []*Ticket
}

func (b *bench) let(in []*Ticket) {
	for _, t := range in {
		i := slices.Index(b.waiting, t)
		if i < 0 {
			b.t.Fatalf("let in what did not wait")
		}
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.running = append(b.running, t)
	}
}

// check holds the bounds, and that nobody waits without a reason.
func (b *bench) check() {
	var units int
	var bytes, held int64
	var perClass [classes]int
	var room [classes]int64
	for _, t := range b.running {
		units += t.ask.Weight
		perClass[t.ask.Class] += t.ask.Weight
	}
	for _, t := range slices.Concat(b.running, b.kept) {
		bytes += t.ask.Bytes
		room[t.ask.Class] += t.ask.Bytes
	}
	var queued [classes]int
	for _, t := range b.waiting {
		held += t.ask.Held
		queued[t.ask.Class]++
	}
	if u, n := b.line.Taken(); u != units || n != bytes || b.line.Held() != held {
		b.t.Fatalf("the line counts %d units, %d bytes, %d held; there are %d, %d, %d", u, n, b.line.Held(), units, bytes, held)
	}
	if units > b.limits.InFlight || bytes > b.limits.Bytes || held > b.limits.Bytes {
		b.t.Fatalf("%d units, %d bytes, %d held, beyond %+v", units, bytes, held, b.limits)
	}
	for c := range classes {
		if perClass[c] > b.limits.units(c) || room[c] > b.limits.room(c) || queued[c] > b.limits.Queue || queued[c] != b.line.Waiting(c) {
			b.t.Fatalf("class %v: %d units, %d bytes, %d wait (%d counted), beyond %+v", c, perClass[c], room[c], queued[c], b.line.Waiting(c), b.limits)
		}
	}
	if len(b.running)+len(b.kept) == 0 && len(b.waiting) > 0 {
		b.t.Fatalf("%d wait for nothing", len(b.waiting))
	}
}

func take(list *[]*Ticket, i int) *Ticket {
	t := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return t
}

func drawBench(t *rapid.T) *bench {
	l := Limits{InFlight: rapid.IntRange(1, 20).Draw(t, "in flight"), Queue: rapid.IntRange(1, 30).Draw(t, "queue"), Bytes: rapid.Int64Range(4, 1000).Draw(t, "bytes")}
	return &bench{t: t, line: NewLine(l), limits: l}
}

func drawAsk(t *rapid.T) Ask {
	a := Ask{Class: Class(rapid.IntRange(0, int(classes)-1).Draw(t, "class")), Weight: rapid.IntRange(0, 25).Draw(t, "weight"), Bytes: rapid.Int64Range(-1, 1200).Draw(t, "bytes")}
	a.Held = rapid.Int64Range(-1, max(a.Bytes, 0)).Draw(t, "held")
	a.Who[0] = byte(rapid.IntRange(0, 5).Draw(t, "who"))
	a.Party[0] = byte(rapid.IntRange(0, 2).Draw(t, "party")) // 0: the device alone
	return a
}

// Whatever comes, ends and gives up, in whatever order: no bound is exceeded, nobody
// waits at an empty desk, and when all have left nothing is taken.
func TestBoundsHoldWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBench(t)
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				a := drawAsk(t)
				ticket, in := b.line.Enter(a)
				if ticket == nil {
					if b.line.Waiting(a.Class) < b.limits.Queue && b.line.Held()+a.Held <= b.limits.Bytes {
						t.Fatalf("turned away although there is room to wait")
					}
				} else {
					b.waiting = append(b.waiting, ticket)
				}
				b.let(in)
			},
			"work": func(t *rapid.T) {
				if len(b.running) == 0 {
					t.Skip()
				}
				ticket := take(&b.running, rapid.IntRange(0, len(b.running)-1).Draw(t, "which"))
				b.kept = append(b.kept, ticket)
				b.let(b.line.Worked(ticket, rapid.Int64Range(-1, 2000).Draw(t, "bytes")))
				if b.line.Worked(ticket, 1) != nil {
					t.Fatal("worked twice")
				}
			},
			"leave": func(t *rapid.T) {
				for _, list := range []*[]*Ticket{&b.running, &b.kept, &b.waiting} {
					if n := len(*list); n > 0 && rapid.Bool().Draw(t, "here") {
						ticket := take(list, rapid.IntRange(0, n-1).Draw(t, "which"))
						b.let(b.line.Leave(ticket))
						if b.line.Leave(ticket) != nil {
							t.Fatal("left twice")
						}
						return
					}
				}
			},
			"": func(*rapid.T) { b.check() },
		})
		for len(b.running)+len(b.kept)+len(b.waiting) > 0 {
			for _, list := range []*[]*Ticket{&b.running, &b.kept, &b.waiting} {
				if len(*list) > 0 {
					b.let(b.line.Leave(take(list, 0)))
					break
				}
			}
			b.check()
		}
	})
}

// Nobody starves: with others of every class coming in without end, each one runs
// after so many others as fit into the rounds before it.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBench(t)
		b.limits.Queue = 1000
		b.line = NewLine(b.limits)
		for range rapid.IntRange(0, 40).Draw(t, "before") {
			ticket, in := b.line.Enter(drawAsk(t))
			if ticket != nil {
				b.waiting = append(b.waiting, ticket)
			}
			b.let(in)
		}
		a := drawAsk(t)
		a.Held, a.Who = 0, change.DeviceID{9}
		mine, in := b.line.Enter(a)
		b.waiting = append(b.waiting, mine)
		b.let(in)
		before := len(b.waiting) + len(b.running)
		// One round has 14 turns, of which each class has one at least; each of at most
		// 9 parties has one of those, and each of its at most 7 devices one of these.
		limit := before + 14*9*7
		for n := 0; mine.stage == waits; n++ {
			if n > limit {
				t.Fatalf("%v of a device with one ask still waits after %d others", a.Class, n)
			}
			other := drawAsk(t) // the crowd goes on, always
			other.Held = 0
			if ticket, in := b.line.Enter(other); ticket != nil {
				b.waiting = append(b.waiting, ticket)
				b.let(in)
			}
			if mine.stage == waits && len(b.running) > 0 {
				b.let(b.line.Leave(take(&b.running, 0)))
			}
			b.check()
		}
	})
}
