package admit

import "time"

// A Diary gives appointments to those who are turned away: one after another at the
// pace at which work gets done, so that they do not come back all at once, to be
// turned away again. It is not safe for concurrent use.
type Diary struct {
	next time.Time     // the first free appointment
	last time.Time     // when work was done last, while more waited; zero otherwise
	pace time.Duration // between two pieces of work, as long as more wait
}

// The bounds of an appointment.
const (
	Soonest  = 2 * time.Second
	Latest   = 2 * time.Minute
	fastest  = 250 * time.Microsecond
	slowest  = 10 * time.Millisecond
	settling = 64 // how many pieces of work make up the pace
	visit    = 4  // pieces of work that a device comes for: to be let in, to greet, to push, to pull
)

// Worked notes that a piece of work was done, and whether more waits: only then the
// time between two says what can be done.
func (d *Diary) Worked(now time.Time, more bool) {
	last := d.last
	d.last = time.Time{}
	if more {
		d.last = now
	}
	if last.IsZero() || now.Before(last) {
		return
	}
	if d.pace == 0 {
		d.pace = slowest / 2
	}
	d.pace += (min(now.Sub(last), slowest*settling) - d.pace) / settling
}

// Book gives the next appointment, as a time to wait from now, between Soonest and
// Latest. A clock that was set back cancels those that are out of reach.
func (d *Diary) Book(now time.Time) time.Duration {
	pace := visit * min(max(d.pace, fastest), slowest)
	if first := now.Add(Soonest); d.next.Before(first) {
		d.next = first
	}
	if last := now.Add(Latest); d.next.After(last) {
		d.next = last
	}
	at := d.next.Sub(now)
	d.next = d.next.Add(pace)
	return at
}
