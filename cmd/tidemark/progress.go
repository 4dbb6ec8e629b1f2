package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// A meter shows how long work goes on: a bar with rate and estimate on a
// terminal, a plain line now and then elsewhere. It may be used by several
// goroutines. A nil meter shows nothing.
type meter struct {
	mu    sync.Mutex
	w     io.Writer
	clock clock.Clock
	tty   bool
	label string
	unit  string
	start time.Time
	last  time.Time
	shown bool
	done  int64
	total int64
}

const (
	meterRedraw = 100 * time.Millisecond // on a terminal
	meterLine   = 5 * time.Second        // elsewhere
	meterWidth  = 24
)

// meter starts one; nil with --json, whose reader wants the result alone.
func (d *door) meter(label, unit string) *meter {
	if d.json {
		return nil
	}
	now := d.clock.Now()
	m := &meter{w: d.err, clock: d.clock, tty: d.tty, label: label, unit: unit, start: now}
	if !d.tty {
		m.last = now // a plain line only when the work takes a while
	}
	return m
}

// set says how far the work is; total 0 means unknown.
func (m *meter) set(done, total int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = done, total
	every := meterLine
	if m.tty {
		every = meterRedraw
	}
	if now := m.clock.Now(); now.Sub(m.last) >= every {
		m.last = now
		m.draw(now)
	}
}

// end draws the last state, when anything was shown, and ends the line.
func (m *meter) end() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.shown {
		return
	}
	m.draw(m.clock.Now())
	if m.tty {
		fmt.Fprintln(m.w)
	}
	m.shown = false
}

func (m *meter) draw(now time.Time) {
	m.shown = true
	text := m.label + "  " + m.text(now.Sub(m.start))
	if !m.tty {
		fmt.Fprintln(m.w, text)
		return
	}
	fmt.Fprintf(m.w, "\r\x1b[K%s", text)
}

func (m *meter) text(spent time.Duration) string {
	rate := float64(m.done) / max(spent.Seconds(), 0.001)
	amount, unit := count, " "+m.unit
	if m.unit == "bytes" {
		amount, unit = size, ""
	}
	if m.total <= 0 {
		return fmt.Sprintf("%s%s, %s/s", amount(m.done), unit, amount(int64(rate)))
	}
	part := min(float64(m.done)/float64(m.total), 1)
	full := int(part * meterWidth)
	s := fmt.Sprintf("[%s%s] %3.0f%%  %s of %s%s, %s/s", strings.Repeat("#", full), strings.Repeat(".", meterWidth-full),
		part*100, amount(m.done), amount(m.total), unit, amount(int64(rate)))
	if left := m.total - m.done; left > 0 && rate > 1 {
		s += ", " + span(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	return s
}

// count writes a number with thin groups: 1234567 is 1,234,567.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes a number with its noun: "1 row", "2 rows".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// span writes a duration as people say it: the two largest units.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size writes bytes: 1536 is 1.5 KiB.
func size(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// ago writes how long before now a time was, or "never" for the zero time.
func (d *door) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	s := d.clock.Now().Sub(t)
	if s < 0 {
		return "in " + span(-s)
	}
	if s < time.Second {
		return "just now"
	}
	return span(s) + " ago"
}
