package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// A line is one row of the table.
type line struct {
	Name       string  `json:"name"`
	Ceiling    float64 `json:"ceiling,omitempty"`  // seconds, or Unit
	Measured   float64 `json:"measured,omitempty"` // the same
	Unit       string  `json:"unit,omitempty"`     // "" is seconds
	Ratio      float64 `json:"ratio,omitempty"`
	Limit      float64 `json:"limit,omitempty"` // of the ratio; 0: no target
	AtLeast    bool    `json:"at_least,omitempty"`
	LimitBytes float64 `json:"limit_bytes,omitempty"` // both ways together
	LimitEach  float64 `json:"limit_each,omitempty"`  // bytes, each way
	LimitUnit  float64 `json:"limit_unit,omitempty"`  // of Measured itself
	LimitCPU   float64 `json:"limit_cpu,omitempty"`   // of CPURatio
	CPURatio   float64 `json:"cpu_ratio,omitempty"`   // of the CPU time of all processes, ours to the ceiling's
	CPU        string  `json:"cpu,omitempty"`         // client/server seconds: ceiling's, ours
	Up         int64   `json:"up,omitempty"`
	Down       int64   `json:"down,omitempty"`
	Note       string  `json:"note,omitempty"`
	Verdict    string  `json:"verdict"` // ok, MISS, or "" without a target
}

// target says what the line must reach.
func (l *line) target() string {
	var t []string
	sign := "≤"
	if l.AtLeast {
		sign = "≥"
	}
	if l.Limit > 0 {
		t = append(t, fmt.Sprintf("%s %.3g×", sign, l.Limit))
	}
	if l.LimitBytes > 0 {
		t = append(t, "≤ "+size(int64(l.LimitBytes)))
	}
	if l.LimitEach > 0 {
		t = append(t, "≤ "+size(int64(l.LimitEach))+" each way")
	}
	if l.LimitUnit > 0 {
		t = append(t, "≤ "+amount(l.LimitUnit, l.Unit))
	}
	if l.LimitCPU > 0 {
		t = append(t, fmt.Sprintf("CPU ≤ %.3g×", l.LimitCPU))
	}
	return strings.Join(t, ", ")
}

// judge compares with the targets.
func (l *line) judge() {
	if l.target() == "" || l.Measured == 0 {
		return
	}
	l.Verdict = "ok"
	over := l.Limit > 0 && l.Ratio > l.Limit
	if l.AtLeast {
		over = l.Ratio < l.Limit
	}
	if over || l.LimitBytes > 0 && float64(l.Up+l.Down) > l.LimitBytes ||
		l.LimitEach > 0 && float64(max(l.Up, l.Down)) > l.LimitEach ||
		l.LimitUnit > 0 && l.Measured > l.LimitUnit || l.LimitCPU > 0 && l.CPURatio > l.LimitCPU {
		l.Verdict = "MISS"
	}
}

// report turns the samples of the systems into a line: the first system is the
// ruler, the second is ours when there is one.
func (b *bench) report(l line, all map[string][]sample, of func([]sample) float64) {
	ruled, ours := all[ruler.name], all[b.ours.name]
	if len(ruled) > 0 {
		l.Ceiling = of(ruled)
		l.CPU = cpu(ruled)
		l.Note += "ruler moved " + traffic(ruled)
	}
	if len(ours) > 0 {
		l.Measured = of(ours)
		l.CPU += " → " + cpu(ours)
		if c := burnt(ruled); c > 0 && burnt(ours) > 0 {
			l.CPURatio = burnt(ours).Seconds() / c.Seconds()
			l.CPU += fmt.Sprintf(" (%.2f×)", l.CPURatio)
		}
		l.Up = median(ours, func(s sample) int64 { return s.up })
		l.Down = median(ours, func(s sample) int64 { return s.down })
	}
	b.add(l)
}

// beside adds a line of two series that were taken in turns.
func (b *bench) beside(l line, ceiling, ours []time.Duration) {
	l.Ceiling, l.Measured = quantile(ceiling, 0.5).Seconds(), quantile(ours, 0.5).Seconds()
	b.add(l)
}

// durations are how long each sample took.
func durations(s []sample) []time.Duration {
	out := make([]time.Duration, len(s))
	for i := range s {
		out[i] = s[i].took
	}
	return out
}

func cpu(s []sample) string {
	c := median(s, func(s sample) time.Duration { return s.client })
	h := median(s, func(s sample) time.Duration { return s.server })
	if c+h == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f/%.2f", c.Seconds(), h.Seconds())
}

// burnt is the CPU time of both sides.
func burnt(s []sample) time.Duration {
	return median(s, func(s sample) time.Duration { return s.client + s.server })
}

func traffic(s []sample) string {
	return size(median(s, func(s sample) int64 { return s.up })) + " up, " +
		size(median(s, func(s sample) int64 { return s.down })) + " down"
}

// add judges a line, prints it at once and keeps it.
func (b *bench) add(l line) {
	l.Name = b.label + l.Name
	if l.Ceiling > 0 && l.Measured > 0 {
		l.Ratio = l.Measured / l.Ceiling
	}
	l.judge()
	b.lines = append(b.lines, l)
	if b.json {
		return
	}
	b.printLine(l)
}

const tableRow = "%-56s %-32s %12s %12s %8s %-30s %-18s %-5s %s\n"

func (b *bench) printHead() {
	fmt.Fprintf(b.out, tableRow, "what", "target", "ceiling", "measured", "ratio", "CPU client/server s", "bytes up/down", "", "")
	fmt.Fprintln(b.out, strings.Repeat("─", 185))
}

func (b *bench) printLine(l line) {
	ratio, bytes := "", ""
	if l.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f×", l.Ratio)
	}
	if l.Up+l.Down > 0 {
		bytes = size(l.Up) + "/" + size(l.Down)
	}
	fmt.Fprintf(b.out, tableRow, l.Name, l.target(), amount(l.Ceiling, l.Unit), amount(l.Measured, l.Unit), ratio, l.CPU, bytes, l.Verdict, l.Note)
	name := strings.TrimPrefix(l.Name, b.label)
	if l.Verdict != "MISS" || len(name) < 2 {
		return
	}
	for _, file := range b.profiles[name[:2]] {
		if strings.Contains(file, b.ours.name) {
			fmt.Fprintln(b.out, top(file))
		}
	}
}

// printJSON writes all lines as one JSON array.
func (b *bench) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b.lines)
}

func amount(v float64, unit string) string {
	switch {
	case v == 0:
		return "–"
	case unit == "bytes":
		return size(int64(v))
	case unit != "":
		return fmt.Sprintf("%.4g %s", v, unit)
	case v < 0.1:
		return fmt.Sprintf("%.2f ms", v*1e3)
	}
	return fmt.Sprintf("%.0f ms", v*1e3)
}

func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 10_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
