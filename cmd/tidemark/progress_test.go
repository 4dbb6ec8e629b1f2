package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

type ticking struct {
	now  time.Time
	step time.Duration
}

func (c *ticking) Now() time.Time {
	c.now = c.now.Add(c.step)
	return c.now
}

func TestNumbersForPeople(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := count(in); got != want {
			t.Errorf("count(%d) = %q, want %q", in, got, want)
		}
	}
	if plural(1, "row") != "1 row" || plural(2000, "row") != "2,000 rows" {
		t.Error("plural")
	}
	for in, want := range map[time.Duration]string{
		20 * time.Millisecond: "20ms", 3 * time.Second: "3s", 61 * time.Second: "1m01s",
		90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h", -3 * time.Second: "-3s",
	} {
		if got := span(in); got != want {
			t.Errorf("span(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{7: "7 B", 1536: "1.5 KiB", 3 << 20: "3.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %q, want %q", in, got, want)
		}
	}
	d := &door{clock: &ticking{now: time.Unix(1000, 0)}}
	for at, want := range map[int64]string{990: "10s ago", 1000: "just now", 1010: "in 10s"} {
		if got := d.ago(time.Unix(at, 0)); got != want {
			t.Errorf("ago(%d) = %q, want %q", at, got, want)
		}
	}
	if d.ago(time.Time{}) != "never" {
		t.Error("ago of the zero time")
	}
}

func TestMeterDrawsABarOnATerminalOnly(t *testing.T) {
	var out bytes.Buffer
	d := &door{err: &out, tty: true, clock: &ticking{now: time.Unix(0, 0), step: time.Second}}
	m := d.meter("fill", "rows")
	m.set(500, 1000)
	m.end()
	m.end()
	if s := out.String(); !strings.Contains(s, "\r\x1b[K") || !strings.Contains(s, "50%  500 of 1,000 rows, 500/s") || !strings.Contains(s, "left") {
		t.Fatalf("terminal: %q", s)
	}
	out.Reset()
	d.tty = false
	m = d.meter("fill", "rows")
	for i := range 12 {
		m.set(int64(i), 0)
	}
	m.end()
	if s := out.String(); strings.Contains(s, "\r") || strings.Count(s, "\n") != 3 || !strings.Contains(s, "fill  11 rows") {
		t.Fatalf("plain: %q", s)
	}
	out.Reset()
	d.tty = true
	m = d.meter("import", "bytes")
	m.set(1<<20, 4<<20)
	m.end()
	if s := out.String(); !strings.Contains(s, "1.0 MiB of 4.0 MiB, 1.0 MiB/s") {
		t.Fatalf("bytes: %q", s)
	}
	out.Reset()
	d.json = true
	m = d.meter("fill", "rows")
	m.set(1, 2)
	m.end()
	if out.Len() != 0 {
		t.Fatalf("with --json: %q", out.String())
	}
}
