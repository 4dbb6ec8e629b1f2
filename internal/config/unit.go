package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes.
type Size int64

// The binary units.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

var units = []struct {
	name string
	size Size
}{
	{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a whole number of bytes, with or without a unit: 65536, 64KiB,
// 16MiB, 1GiB, 5MB.
func ParseSize(s string) (Size, error) {
	digits, unit := s, Size(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("want a size such as 64KiB or 16MiB, not %q", s)
	}
	if n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("size %q is too large", s)
	}
	return Size(n) * unit, nil
}

// String is the form ParseSize reads, in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range units[:3] {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ParseDuration reads what time.ParseDuration reads, and days and weeks before
// it: 30d, 2w, 1d12h, 90s.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("want a duration such as 30d, 12h or 90s, not %q", s)
	var total time.Duration
	rest := s
	for _, u := range []struct {
		name byte
		unit time.Duration
	}{{'w', week}, {'d', day}} {
		i := strings.IndexByte(rest, u.name)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:i], 10, 63)
		if err != nil {
			return 0, bad
		}
		if n > uint64((math.MaxInt64-total)/u.unit) {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total, rest = total+time.Duration(n)*u.unit, rest[i+1:]
	}
	if rest == "" && s != "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return 0, bad
	}
	if d > math.MaxInt64-total {
		return 0, fmt.Errorf("duration %q is too long", s)
	}
	return total + d, nil
}

// FormatDuration is the form ParseDuration reads: 30d, 1d12h0m0s, 15s.
func FormatDuration(d time.Duration) string {
	var b strings.Builder
	if n := d / day; n > 0 {
		fmt.Fprintf(&b, "%dd", n)
		d -= n * day
	}
	if d == 0 && b.Len() > 0 {
		return b.String()
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} { // 15m0s → 15m, 12h0m → 12h
		if strings.HasSuffix(s, zero) {
			s = strings.TrimSuffix(s, zero[1:])
		}
	}
	b.WriteString(s)
	return b.String()
}
