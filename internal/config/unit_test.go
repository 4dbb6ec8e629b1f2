package config

import (
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{
		"0": 0, "65536": 65536, "7B": 7, "64KiB": 64 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30, "5MB": 5e6, "1kB": 1000, "1GB": 1e9,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1.5MiB", "9999999999GiB", "1 TiB", "x"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d", s, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"30d": 30 * day, "2w": 14 * day, "1w1d": 8 * day, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "0s": 0, "0d": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "30", "30 days", "-1d", "-3s", "1d2w", "9999999w", "106751d2000h", "1.5d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		}
	}
}

func TestUnitsReadBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<62).Draw(r, "d"))
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			r.Fatalf("%v is written %s and read as %v, %v", d, FormatDuration(d), got, err)
		}
		s := Size(rapid.Int64Range(0, 1<<62).Draw(r, "s"))
		if got, err := ParseSize(s.String()); err != nil || got != s {
			r.Fatalf("%d is written %s and read as %v, %v", s, s, got, err)
		}
	})
	for d, want := range map[time.Duration]string{30 * day: "30d", 15 * time.Minute: "15m", 12 * time.Hour: "12h", 36 * time.Hour: "1d12h", 0: "0s", 10 * time.Second: "10s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestScopeReadsBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		column := rapid.StringMatching(`[^{}\x00]+`).Draw(r, "column")
		for _, s := range []rule.Scope{{All: true}, {Kind: "branch", Column: column}, {Via: column}} {
			c, err := Parse([]byte("tables:\n  t:\n    scope: " + FormatScope(s)))
			if err != nil {
				r.Fatalf("%s: %v", FormatScope(s), err)
			}
			if got := c.Tables.Tables[0].Scope; got != s {
				r.Fatalf("%+v is written %s and read as %+v", s, FormatScope(s), got)
			}
		}
	})
}

func TestScalarReadsBack(t *testing.T) {
	check := func(s string) error {
		var got string
		if err := yaml.Unmarshal([]byte(Scalar(s)), &got); err != nil || got != s {
			t.Errorf("%q is written %s and read as %q, %v", s, Scalar(s), got, err)
		}
		return nil
	}
	for _, s := range []string{"", "null", "No", "12", "1e3", "~", "a: b", "- x", "ünï", "a\nb", "\x00\x7f\x1b", "'", `"\`, "#", "{x}", "b/{x}", "\u0085\u2028\ufeff", "=", "<<"} {
		_ = check(s)
	}
	rapid.Check(t, func(r *rapid.T) { _ = check(rapid.String().Draw(r, "s")) })
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{"all", "branch/{branch_id}", "branch/{unit price}", "all/{x}", "b/{}", "b/{{}}", "/{x}", "B/{x}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		scope, err := ParseScope(s)
		if err != nil {
			return
		}
		back := string(rule.ScopeAll)
		if !scope.All {
			back = scope.Kind + "/{" + scope.Column + "}"
		}
		if back != s {
			t.Fatalf("%q was read as %+v", s, scope)
		}
	})
}
