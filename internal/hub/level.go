package hub

import (
	"fmt"
	"strings"
	"time"
)

// A Level says how much a device needs a person.
type Level uint8

// The levels, from the one that needs nobody.
const (
	OK      Level = iota
	Notice        // behind, or quiet for a while
	Warning       // unsafe work for hours, quarantine, clock ahead
	Alarm         // unsafe work for days, held files, nothing moves
)

func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	case Alarm:
		return "alarm"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// From where on a device has a level.
const (
	NoticeUnsafe  = 15 * time.Minute // age of its oldest change that is not at the hub
	WarningUnsafe = 4 * time.Hour
	AlarmUnsafe   = 48 * time.Hour

	NoticeBehind = time.Hour          // quiet, while there is a newer state than it was given
	NoticeQuiet  = 24 * time.Hour     // since its last message
	WarningQuiet = 7 * 24 * time.Hour // likewise

	AlarmStalled = time.Hour // connected, with work to hand in, and nothing moved

	WarningDisk = 512 << 20 // bytes free beside its file
	AlarmDisk   = 64 << 20
)

// levelOf says how much a device needs a person, and why: the reasons of its level.
func levelOf(d *DeviceStatus) (Level, string) {
	switch d.State {
	case Invited:
		return OK, "has not joined yet"
	case Revoked:
		if d.Status.OutboxDepth > 0 {
			return Notice, fmt.Sprintf("revoked with %s that %s not at the hub", count(d.Status.OutboxDepth, "transaction"), verbOf(d.Status.OutboxDepth))
		}
		return OK, "revoked"
	}
	g := &grading{}
	g.unsafe(d)
	g.condition(d)
	g.person(d)
	return g.level, strings.Join(g.why, "; ")
}

// A grading collects the reasons of the worst level found so far.
type grading struct {
	level Level
	why   []string
}

func (g *grading) found(l Level, format string, args ...any) {
	if l < g.level {
		return
	}
	if l > g.level {
		g.level, g.why = l, nil
	}
	g.why = append(g.why, fmt.Sprintf(format, args...))
}

// unsafe looks at the work that is only at the device.
func (g *grading) unsafe(d *DeviceStatus) {
	for _, t := range []struct {
		from  time.Duration
		level Level
	}{{AlarmUnsafe, Alarm}, {WarningUnsafe, Warning}, {NoticeUnsafe, Notice}} {
		if d.OldestUnsafe >= t.from {
			g.found(t.level, "work of %s ago is not at the hub", span(d.OldestUnsafe))
			break
		}
	}
	if d.Connected && d.Status.OutboxDepth > 0 && d.Stalled >= AlarmStalled {
		g.found(Alarm, "connected, with %s to hand in, and nothing moved for %s", count(d.Status.OutboxDepth, "transaction"), span(d.Stalled))
	}
}

// condition looks at how the device is.
func (g *grading) condition(d *DeviceStatus) {
	if d.Held > 0 {
		g.found(Alarm, "%s of its file %s for a word", count(uint64(d.Held), "copy"), map[bool]string{true: "waits", false: "wait"}[d.Held == 1])
	}
	if d.Quarantine > 0 {
		g.found(Warning, "%s in quarantine", count(uint64(d.Quarantine), "transaction"))
	}
	if d.ClockAhead {
		g.found(Warning, "its clock is ahead")
	}
	if v := d.Status.Verified; v != nil && !v.Equal {
		g.found(Warning, "%s differed when it was compared with the hub", count(uint64(v.Differing), "row"))
	}
	switch free := d.Status.FreeDisk; {
	case free == 0: // it does not say
	case free < AlarmDisk:
		g.found(Alarm, "%d MB of disk are free", free>>20)
	case free < WarningDisk:
		g.found(Warning, "%d MB of disk are free", free>>20)
	}
	switch {
	case d.Seen.IsZero():
	case d.Quiet >= WarningQuiet:
		g.found(Warning, "quiet for %s", span(d.Quiet))
	case d.Quiet >= NoticeQuiet:
		g.found(Notice, "quiet for %s", span(d.Quiet))
	case d.Behind && d.Quiet >= NoticeBehind:
		g.found(Notice, "behind, and quiet for %s", span(d.Quiet))
	}
}

// person looks at what people decided.
func (g *grading) person(d *DeviceStatus) {
	if b := d.Control.Paused; b != nil {
		g.found(Notice, "paused%s", because(b.Reason))
	}
	if b := d.Control.Isolated; b != nil {
		g.found(Notice, "isolated%s", because(b.Reason))
	}
}

func verbOf(n uint64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// count is a number of things for people.
func count(n uint64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// span is a duration for people, in its largest unit.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return count(uint64(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return count(uint64(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return count(uint64(d/time.Minute), "minute")
	}
	return count(uint64(max(d, 0)/time.Second), "second")
}
