package page

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
)

// count writes a number with groups: 1234567 is 1,234,567.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
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

// span writes a length of time in its largest unit, and hours and days in two: "8
// seconds", "4 minutes", "3 hours 12 minutes".
func span(d time.Duration) string {
	d = max(d, 0)
	of := func(n time.Duration, noun string) string { return plural(int64(n), noun) }
	two := func(unit time.Duration, noun string, small time.Duration, less string) string {
		s := of(d/unit, noun)
		if rest := d % unit / small; rest > 0 {
			s += " " + of(rest, less)
		}
		return s
	}
	switch {
	case d < time.Minute:
		return of(d/time.Second, "second")
	case d < time.Hour:
		return of(d/time.Minute, "minute")
	case d < 24*time.Hour:
		return two(time.Hour, "hour", time.Minute, "minute")
	}
	return two(24*time.Hour, "day", time.Hour, "hour")
}

// size writes bytes in powers of 1000, as the console does: "53.2 GB".
func size(n uint64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, u
	}
	if unit == "B" || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, unit)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// sentence writes a hint, which is made for the end of a line of a log, as a sentence.
// Names of commands stay as they are typed.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	if first, n := utf8.DecodeRuneInString(s); !strings.HasPrefix(s, "tidemark ") {
		s = string(unicode.ToUpper(first)) + s[n:]
	}
	if last := s[len(s)-1]; last != '.' && last != '!' && last != '?' {
		s += "."
	}
	return s
}

// A moment is a time beside how long ago it was. The zero moment is never.
type moment struct {
	Ago   string // "4 minutes ago"
	Exact string // "22 Nov 2026, 10:13:21 CET"
	ISO   string // for machines
}

func (v *viewer) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{Exact: t.In(v.zone).Format("2 Jan 2006, 15:04:05 MST"), ISO: t.UTC().Format(time.RFC3339)}
	switch d := v.now.Sub(t); {
	case d < 0 && d > -time.Second, d >= 0 && d < 2*time.Second:
		m.Ago = "just now"
	case d < 0:
		m.Ago = "in " + span(-d)
	default:
		m.Ago = span(d) + " ago"
	}
	return m
}

// brief is a key on one line, as the command line shows it: without what would move
// the text around it, and cut when it is long.
func brief(k change.Key) string {
	const most = 80
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '·'
		}
		return r
	}, k.String())
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
