package demo

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

func newScreen(style Style) (*Screen, *strings.Builder, *clock.Manual) {
	var b strings.Builder
	c := clock.NewManual(time.Unix(1000, 0))
	return NewScreen(&b, c, style), &b, c
}

func TestPlainScreen(t *testing.T) {
	s, out, now := newScreen(Style{})
	s.Act("The beginning")
	s.Say("There are %d things, and they need a rather long sentence to be told, longer than a line", 3)
	s.Block("a: 1\n  b: 2\n")
	s.Command("tidemark", "device", "add", "north", "--scope branch/1", "--scope branch/3", "--data hub", "--url https://127.0.0.1:1")
	s.SQL("north", "BEGIN;\nCOMMIT;")
	s.Live("one")
	s.Live("two") // too soon
	now.Advance(plainEvery)
	s.Live("three")
	s.Live("three")
	s.End("four")
	s.Live("five")
	s.End("five") // told already
	if err := s.Claim(true, "two and two are %d", 4); err != nil {
		t.Error(err)
	}
	s.Act("The end")
	const want = `
1  The beginning
   There are 3 things, and they need a rather long sentence to be told, longer
   than a line
     a: 1
       b: 2
   $ tidemark device add north --scope branch/1 --scope branch/3 --data hub \
       --url https://127.0.0.1:1
   north> BEGIN;
          COMMIT;
   one
   three
   four
   five
   ok two and two are 4

2  The end
`
	if got := out.String(); got != want {
		t.Errorf("the screen shows:\n%s\nwant:\n%s", got, want)
	}
}

func TestClaimThatIsNotTrueIsAnError(t *testing.T) {
	s, out, _ := newScreen(Style{UTF8: true})
	s.Act("Sums")
	if err := s.Claim(true, "1 + 1 = 2"); err != nil {
		t.Error(err)
	}
	err := s.Claim(false, "1 + 1 = 3")
	if err == nil || !strings.Contains(err.Error(), "act 1, sums: this is not so: 1 + 1 = 3") {
		t.Errorf("the error is %v", err)
	}
	if got := out.String(); !strings.Contains(got, "   ✓ 1 + 1 = 2\n   ✗ 1 + 1 = 3\n") {
		t.Errorf("the screen shows %q", got)
	}
	want := []Claim{{"Sums", "1 + 1 = 2", true}, {"Sums", "1 + 1 = 3", false}}
	if got := s.Claims(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("claims %v, want %v", got, want)
	}
}

func TestTerminalRewritesLiveLinesInPlace(t *testing.T) {
	s, out, _ := newScreen(Style{Live: true, Colour: true})
	s.Live("%d", 1)
	s.Live("%d", 2)
	s.End("%d", 3)
	s.Live("half")
	s.Say("something else")
	const want = "\r\x1b[K   1\r\x1b[K   2\r\x1b[K   3\n" + "\r\x1b[K   half\n   something else\n"
	if got := out.String(); got != want {
		t.Errorf("the terminal gets %q, want %q", got, want)
	}
	out.Reset()
	_ = s.Claim(false, "grass is red") // the mark is looked at here
	if got := out.String(); got != "   \x1b[31mNO\x1b[0m grass is red\n" {
		t.Errorf("a coloured claim is %q", got)
	}
}

func TestLinesFitTheScreen(t *testing.T) {
	s, out, _ := newScreen(Style{Live: true})
	long := strings.Repeat("word ", 60)
	s.Say("%s", long)
	s.Command(strings.Fields(long)...)
	_ = s.Claim(true, "%s", long) // true: no error
	s.Live("%s", long)
	s.End("%s", long)
	for l := range strings.Lines(strings.ReplaceAll(out.String(), "\r\x1b[K", "\n")) {
		if n := utf8.RuneCountInString(strings.TrimRight(l, "\n")); n > screenWidth {
			t.Errorf("a line of %d columns: %q", n, l)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{5 * time.Millisecond: "5 ms", 1500 * time.Millisecond: "1.5 s", 61 * time.Second: "61.0 s"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{12: "12 bytes", 1536: "1.5 KiB", 3 << 20: "3.0 MiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	if got := within(0); got != "at once" {
		t.Errorf("within(0) = %q", got)
	}
	if got := within(time.Second); got != "within 1.0 s" {
		t.Errorf("within(1s) = %q", got)
	}
}
