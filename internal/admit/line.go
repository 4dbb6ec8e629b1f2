package admit

import "github.com/tidemark-sync/tidemark/change"

// A Class is a kind of work. Lower ones come first, within their shares.
type Class uint8

// The classes.
const (
	Live  Class = iota // what somebody waits for: small pushes, greetings
	News               // pulls, and the answers to those that waited
	Bulk               // bootstraps, snapshots, verification
	Large              // pushes in parts, which stay in memory until their last part
	classes
)

func (c Class) String() string {
	return [...]string{"live", "news", "bulk", "large"}[c]
}

// share is how many turns a class has in one round while others wait, too.
func (c Class) share() int { return [...]int{8, 4, 1, 1}[c] }

// part is how many quarters of all room a class may take: however many devices
// bootstrap, small pushes find room.
func (c Class) part() int { return [...]int{4, 3, 2, 1}[c] }

// An Ask is work that somebody wants done.
type Ask struct {
	Who    change.DeviceID
	Party  change.Hash // those whose devices share their turns, such as all of one scope; zero: the device alone
	Class  Class
	Weight int   // units of work, ≥ 1; more than the class may take counts as all of that
	Bytes  int64 // that the work takes in memory; likewise
	Held   int64 // of them, those that are taken while it waits, too
}

// Limits bound a Line. A zero field means its default.
type Limits struct {
	InFlight int   // units of work at once; DefaultInFlight
	Queue    int   // asks of each class that may wait; DefaultQueue
	Bytes    int64 // of what runs and is sent; as much again may wait; DefaultBytes
}

// The defaults of Limits.
const (
	DefaultInFlight = 64
	DefaultQueue    = 10_000
	DefaultBytes    = 256 << 20
)

func (l Limits) withDefaults() Limits {
	if l.InFlight < 1 {
		l.InFlight = DefaultInFlight
	}
	if l.Queue < 1 {
		l.Queue = DefaultQueue
	}
	if l.Bytes < 1 {
		l.Bytes = DefaultBytes
	}
	return l
}

// units is how much work a class may take at once.
func (l Limits) units(c Class) int { return max(1, l.InFlight*c.part()/4) }

// room is how many bytes a class may take at once.
func (l Limits) room(c Class) int64 { return max(1, l.Bytes/4*int64(c.part())) }

type stage uint8

const (
	out stage = iota
	waits
	runs
	keeps // the work is done, its bytes are still taken
)

// A Ticket is an Ask in a Line.
type Ticket struct {
	ask   Ask
	party change.Hash
	stage stage
	open  chan struct{} // the Gate's: closed when it runs
}

// A Line says who runs and who waits. It is not safe for concurrent use. What it
// decides depends on the order of the calls and on nothing else.
//
// The classes take turns: in each round every class has its share, and a class that
// nobody waits in loses its. Within a class the parties take turns, and the devices of
// a party among themselves: neither one device's many asks nor a scope's many devices
// hold up the others. Who is next and finds no room is
// waited for; only a class that has all it may take is passed over until some of its
// own work is done. So nobody starves as long as what runs comes to an end.
type Line struct {
	limits Limits
	queue  [classes]ring
	credit [classes]int
	units  [classes]int   // of what runs
	bytes  [classes]int64 // of what runs and what is kept
	held   int64          // bytes of what waits
}

// NewLine makes an empty line.
func NewLine(l Limits) *Line { return &Line{limits: l.withDefaults()} }

// Enter takes an ask, and returns who runs from now on: its ticket, if it need not
// wait. The ticket is nil when the line is full.
func (l *Line) Enter(a Ask) (t *Ticket, in []*Ticket) {
	a.Weight = min(max(a.Weight, 1), l.limits.units(a.Class))
	a.Bytes = min(max(a.Bytes, 0), l.limits.room(a.Class))
	a.Held = min(max(a.Held, 0), l.limits.Bytes)
	t = &Ticket{ask: a, party: a.party(), stage: waits}
	l.queue[a.Class].push(t)
	l.held += a.Held
	in = l.admit()
	if t.stage == waits && (l.queue[a.Class].n > l.limits.Queue || l.held > l.limits.Bytes) {
		l.withdraw(t)
		return nil, in
	}
	return t, in
}

// Worked says that the work is done and that its answer is still in memory: so many
// bytes, of those that were asked for. It returns who runs from now on.
func (l *Line) Worked(t *Ticket, bytes int64) []*Ticket {
	if t.stage != runs {
		return nil
	}
	t.stage = keeps
	l.units[t.ask.Class] -= t.ask.Weight
	bytes = min(max(bytes, 0), t.ask.Bytes)
	l.bytes[t.ask.Class] += bytes - t.ask.Bytes
	t.ask.Bytes = bytes
	return l.admit()
}

// Leave takes a ticket out, wherever it stands, and returns who runs from now on.
func (l *Line) Leave(t *Ticket) []*Ticket {
	c := t.ask.Class
	switch t.stage {
	case out:
		return nil
	case waits:
		l.withdraw(t)
	case runs:
		l.units[c] -= t.ask.Weight
		l.bytes[c] -= t.ask.Bytes
	case keeps:
		l.bytes[c] -= t.ask.Bytes
	}
	t.stage = out
	return l.admit()
}

func (l *Line) withdraw(t *Ticket) {
	l.queue[t.ask.Class].remove(t)
	l.held -= t.ask.Held
	t.stage = out
}

// admit lets in who is next, for as long as there is room for them.
func (l *Line) admit() (in []*Ticket) {
	for {
		if units, _ := l.Taken(); units >= l.limits.InFlight {
			return in // whose turn it is shows when there is room
		}
		c, ok := l.turn()
		if !ok {
			return in
		}
		t := l.queue[c].first()
		if !l.fits(&t.ask) {
			return in // what comes free is kept for it
		}
		l.queue[c].remove(t)
		l.queue[c].rotate(t)
		l.credit[c]--
		l.held -= t.ask.Held
		l.units[c] += t.ask.Weight
		l.bytes[c] += t.ask.Bytes
		t.stage = runs
		in = append(in, t)
	}
}

// turn is the class whose turn it is, of those that have somebody waiting and have
// not all they may take.
func (l *Line) turn() (Class, bool) {
	for range 2 {
		some := false
		for c := range classes {
			t := l.queue[c].first()
			if t == nil || !l.within(&t.ask) {
				continue
			}
			if some = true; l.credit[c] > 0 {
				return c, true
			}
		}
		if !some {
			return 0, false
		}
		for c := range classes {
			l.credit[c] = c.share()
		}
	}
	return 0, false
}

// within reports whether a class may take this much more.
func (l *Line) within(a *Ask) bool {
	return l.units[a.Class]+a.Weight <= l.limits.units(a.Class) && l.bytes[a.Class]+a.Bytes <= l.limits.room(a.Class)
}

// fits reports whether there is room in all.
func (l *Line) fits(a *Ask) bool {
	units, bytes := l.Taken()
	return units+a.Weight <= l.limits.InFlight && bytes+a.Bytes <= l.limits.Bytes
}

// Taken is what runs now: units of work, and bytes.
func (l *Line) Taken() (units int, bytes int64) {
	for c := range classes {
		units += l.units[c]
		bytes += l.bytes[c]
	}
	return units, bytes
}

// Waiting is how many asks of a class wait.
func (l *Line) Waiting(c Class) int { return l.queue[c].n }

// Held is how many bytes the asks that wait have taken already.
func (l *Line) Held() int64 { return l.held }
