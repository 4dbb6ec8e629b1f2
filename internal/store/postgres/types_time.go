package postgresstore

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What edges hold for a point in time is what SQLite's own CURRENT_TIMESTAMP writes,
// in UTC, with as many digits after the second as there are, at most six: such texts
// sort as the times do, and SQLite's date functions read them.
var (
	dateText = regexp.MustCompile(`^([0-9]{4,7})-([0-9]{2})-([0-9]{2})( BC)?$`)
	timeText = regexp.MustCompile(`^([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?$`)
	zoneText = regexp.MustCompile(`(Z|[+-][0-9]{2}(?::?[0-9]{2})?)$`)
)

// canonTime is a date or time as PostgreSQL will give it back. Words such as "now"
// are refused: they would mean something else at the hub than at the edge.
func (c *column) canonTime(s string) (string, error) {
	if s == "infinity" || s == "-infinity" {
		if c.form == formTime {
			return "", errors.New("it is no time")
		}
		return s, nil
	}
	switch c.form {
	case formDate:
		d, err := parseDate(s)
		if err != nil {
			return "", err
		}
		if d.Year() > 5874897 || d.Year() < -4712 {
			return "", errors.New("it is out of range")
		}
		return dateString(d), nil
	case formTime:
		d, err := parseTime(s)
		if err != nil {
			return "", err
		}
		d = d.Round(c.unit())
		if d >= 24*time.Hour {
			return "24:00:00", nil
		}
		return clockString(time.Unix(0, 0).UTC().Add(d)), nil
	}
	return c.canonStamp(s)
}

func (c *column) canonStamp(s string) (string, error) {
	s, bc := strings.CutSuffix(s, " BC")
	i := strings.IndexAny(s, " T")
	day, rest := s, "00:00:00"
	if i >= 0 {
		day, rest = s[:i], s[i+1:]
	}
	zone := zoneText.FindString(rest)
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, zone), " ")
	if bc {
		day += " BC"
	}
	d, err := parseDate(day)
	if err != nil {
		return "", err
	}
	t, err := parseTime(rest)
	if err != nil {
		return "", err
	}
	d = d.Add(t)
	if zone != "" {
		if c.form == formStamp {
			return "", errors.New("the column knows no time zones")
		}
		off, err := parseZone(zone)
		if err != nil {
			return "", err
		}
		d = d.Add(-off)
	}
	d = d.Round(c.unit())
	if d.Year() > 294276 || d.Year() < -4712 {
		return "", errors.New("it is out of range")
	}
	text := dateString(d)
	text, bc = strings.CutSuffix(text, " BC")
	text += " " + clockString(d)
	if bc {
		text += " BC"
	}
	return text, nil
}

// zoned is a canonical text with its zone, for a session in any time zone.
func zoned(s string) string {
	if t, bc := strings.CutSuffix(s, " BC"); bc {
		return t + "+00 BC"
	}
	return s + "+00"
}

// unit is what the column rounds to.
func (c *column) unit() time.Duration {
	u := time.Microsecond
	for i := c.scale; i >= 0 && i < 6; i++ {
		u *= 10
	}
	return u
}

func parseDate(s string) (time.Time, error) {
	m := dateText.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, errors.New("it is no date such as 2024-12-31")
	}
	y, mon, day := atoi(m[1]), atoi(m[2]), atoi(m[3])
	if y == 0 {
		return time.Time{}, errors.New("there is no year 0")
	}
	if m[4] != "" {
		y = 1 - y
	}
	d := time.Date(y, time.Month(mon), day, 0, 0, 0, 0, time.UTC)
	if d.Year() != y || d.Month() != time.Month(mon) || d.Day() != day {
		return time.Time{}, errors.New("the calendar has no such day")
	}
	return d, nil
}

func parseTime(s string) (time.Duration, error) {
	m := timeText.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("it has no time such as 23:59:59")
	}
	h, mi, sec := atoi(m[1]), atoi(m[2]), atoi(m[3])
	frac := atoi((m[4] + "000000000")[:9])
	d := time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute + time.Duration(sec)*time.Second + time.Duration(frac)
	if mi > 59 || sec > 59 || d > 24*time.Hour {
		return 0, errors.New("the clock shows no such time")
	}
	return d, nil
}

func parseZone(s string) (time.Duration, error) {
	if s == "Z" {
		return 0, nil
	}
	digits := strings.ReplaceAll(s[1:], ":", "") + "00"
	h, m := atoi(digits[:2]), atoi(digits[2:4])
	if h > 15 || m > 59 {
		return 0, errors.New("there is no such time zone")
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, nil
}

func dateString(t time.Time) string {
	y, bc := t.Year(), ""
	if y <= 0 {
		y, bc = 1-y, " BC"
	}
	return fmt.Sprintf("%04d-%02d-%02d%s", y, int(t.Month()), t.Day(), bc)
}

func clockString(t time.Time) string {
	s := t.Format("15:04:05.000000")
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// atoi is for digits that a pattern has let through; none is 0.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
