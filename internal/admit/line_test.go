package admit

import (
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

func dev(n byte) change.DeviceID { return change.DeviceID{n} }

// order lets everybody through one by one, and says in which order they came.
func order(l *Line, first *Ticket) (who []byte, class []Class) {
	for in := []*Ticket{first}; len(in) > 0; {
		t := in[0]
		who, class = append(who, t.ask.Who[0]), append(class, t.ask.Class)
		in = append(in[1:], l.Leave(t)...)
	}
	return who, class
}

// One device's many parts do not hold up the others.
func TestDevicesTakeTurns(t *testing.T) {
	l := NewLine(Limits{InFlight: 1})
	first, _ := l.Enter(Ask{Who: dev(1), Weight: 1})
	for range 5 {
		l.Enter(Ask{Who: dev(1), Weight: 1})
	}
	for n := range byte(3) {
		l.Enter(Ask{Who: dev(2 + n), Weight: 1})
	}
	who, _ := order(l, first)
	if got, want := string(who), "\x01\x01\x02\x03\x04\x01\x01\x01\x01"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}

// A scope with many devices does not hold up one with few, nor a device that is alone;
// within a scope devices take turns.
func TestPartiesTakeTurns(t *testing.T) {
	l := NewLine(Limits{InFlight: 1})
	first, _ := l.Enter(Ask{Who: dev('z'), Weight: 1})
	large, small := change.Hash{1}, change.Hash{2}
	for n := range byte(4) {
		for range 2 {
			l.Enter(Ask{Who: dev('a' + n), Party: large, Weight: 1})
		}
	}
	l.Enter(Ask{Who: dev('k'), Party: small, Weight: 1})
	l.Enter(Ask{Who: dev('l'), Party: small, Weight: 1})
	l.Enter(Ask{Who: dev('x'), Weight: 1})
	who, _ := order(l, first)
	if got, want := string(who), "zakxblcdabcd"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}

// Small pushes go before bootstraps, which still get their share.
func TestClassesTakeTurnsByTheirShares(t *testing.T) {
	l := NewLine(Limits{InFlight: 1})
	first, _ := l.Enter(Ask{Who: dev(1), Class: Bulk, Weight: 1})
	for n := range byte(20) {
		for _, c := range []Class{Bulk, News, Live} {
			l.Enter(Ask{Who: dev(n), Class: c, Weight: 1})
		}
	}
	_, class := order(l, first)
	var seen [classes]int
	for _, c := range class[1:26] {
		seen[c]++
	}
	if seen != [classes]int{16, 8, 1, 0} {
		t.Errorf("%v in two rounds: %v, want 16 live, 8 news and, after the one that ran, 1 bulk", class, seen)
	}
	if class[1] != Live {
		t.Errorf("first came %v", class[1])
	}
}

// However many devices bootstrap, a push finds room.
func TestBulkLeavesRoomForPushes(t *testing.T) {
	l := NewLine(Limits{InFlight: 16, Bytes: 1000})
	running := 0
	for n := range byte(100) {
		_, in := l.Enter(Ask{Who: dev(n), Class: Bulk, Weight: 4, Bytes: 1})
		running += len(in)
	}
	if running != 2 {
		t.Errorf("%d bootstraps at once, want 2", running)
	}
	if _, in := l.Enter(Ask{Who: dev(200), Class: Live, Weight: 1}); len(in) != 1 {
		t.Error("a push waits although half of the room is free")
	}
}

// A heavy one that is next is waited for: lighter ones do not slip by for ever.
func TestWhoIsNextIsNotOvertakenForWantOfRoom(t *testing.T) {
	l := NewLine(Limits{InFlight: 8})
	var light []*Ticket
	for n := range byte(8) {
		ticket, _ := l.Enter(Ask{Who: dev(n), Class: Live, Weight: 1})
		light = append(light, ticket)
	}
	heavy, _ := l.Enter(Ask{Who: dev(100), Class: Bulk, Weight: 4})
	for n := 0; heavy.stage == waits; n++ {
		if n > 30 {
			t.Fatal("the heavy one was overtaken 30 times")
		}
		ticket, in := l.Enter(Ask{Who: dev(101), Class: Live, Weight: 1})
		light = append(light, in...)
		light = append(light, l.Leave(light[0])...)[1:]
		_ = ticket
	}
}

func TestAppointmentsAreSpread(t *testing.T) {
	d := &Diary{}
	now := time.Unix(1_000_000, 0)
	if at := d.Book(now); at != Soonest {
		t.Errorf("the first appointment in %v", at)
	}
	work := func(n int, every time.Duration, more bool) {
		for range n {
			now = now.Add(every)
			d.Worked(now, more)
		}
	}
	work(2000, 3*time.Millisecond, true)
	last := time.Duration(0)
	for i := range 1000 {
		at := d.Book(now)
		if at < Soonest || at < last {
			t.Fatalf("appointment %d in %v, after one in %v", i, at, last)
		}
		last = at
	}
	if want := Soonest + 1000*visit*3*time.Millisecond; last < want*9/10 || last > want*11/10 {
		t.Errorf("the last of 1000 in %v, want about %v", last, want)
	}
	for range 100_000 {
		last = d.Book(now)
	}
	if last > Latest {
		t.Errorf("an appointment in %v", last)
	}
	if at := d.Book(now.Add(time.Hour)); at != Soonest {
		t.Errorf("an hour later: %v, want %v", at, Soonest)
	}
	if at := d.Book(now.Add(-24 * time.Hour)); at > Latest { // the clock was set back
		t.Errorf("after the clock was set back: %v", at)
	}
	pace := d.pace
	work(1000, time.Hour, false) // nobody waits: that says nothing
	d.Worked(now.Add(-time.Hour), true)
	if d.pace > 2*pace+slowest {
		t.Errorf("pace %v after idle hours, %v before", d.pace, pace)
	}
}

func TestClassesHaveNames(t *testing.T) {
	if got := Live.String() + News.String() + Bulk.String() + Large.String(); got != "livenewsbulklarge" {
		t.Error(got)
	}
}
