package merge

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		name                    string
		base, first, last, want string
		clean                   bool
	}{
		{"different lines", "a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC", true},
		{"same change", "a\nb", "x\nb", "x\nb", "x\nb", true},
		{"different words of one line", "call Ann on Monday", "call Anna on Monday", "call Ann on Tuesday", "call Anna on Tuesday", true},
		{"one word two ways", "call Ann", "call Anna", "call Annie", "call Annie", false},
		{"both append", "a", "a\nfirst", "a\nlast", "a\nfirst\nlast", true},
		{"both append the same", "a", "a\nx", "a\nx", "a\nx", true},
		{"one appends more", "a", "a\nx", "a\nw\nx", "a\nw\nx", true},
		{"other appends more", "a", "a\nw\nx", "a\nx", "a\nw\nx", true},
		{"delete and distant edit", "a\nb\nc", "b\nc", "a\nb\nC", "b\nC", true},
		{"delete meets edit", "a\nb\nc", "a\nc", "a\nB\nc", "a\nB\nc", false},
		{"edit meets delete", "a\nb\nc", "a\nB\nc", "a\nc", "a\nc", false},
		{"insert and delete elsewhere", "a\nb\nc\nd", "a\nx\nb\nc\nd", "a\nb\nc", "a\nx\nb\nc", true},
		{"emptied", "a\nb", "", "a\nb\nc", "a\nb\nc", false},
		{"windows line ends", "a\r\nb\r\n", "A\r\nb\r\n", "a\r\nB\r\n", "A\r\nB\r\n", true},
		{"other scripts", "東京 駅", "京都 駅", "東京 空港", "京都 空港", true},
		{"bytes that are not UTF-8", "\xff \xfe", "\xff1 \xfe", "\xff \xfe2", "\xff1 \xfe2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := change.Text(c.base)
			first, last := at(change.Text(c.first), 1, 1), at(change.Text(c.last), 2, 2)
			for side, out := range map[string]Outcome{
				"first at hub": Column(rule.TextMix, rule.Column{}, base, first, last),
				"last at hub":  Column(rule.TextMix, rule.Column{}, base, last, first),
			} {
				if out.Value != change.Text(c.want) || (out.Lost == nil) != c.clean {
					t.Errorf("%s: got %v, lost %v", side, out.Value, out.Lost)
				}
				if out.Lost != nil && *out.Lost != first {
					t.Errorf("%s: lost %v, want the earlier version", side, out.Lost)
				}
			}
		})
	}
}

func TestTextWinnerNamesTheSideThatStays(t *testing.T) {
	base, hub, edge := change.Text("a b"), at(change.Text("x b"), 1, 1), at(change.Text("y b"), 2, 2)
	if out := Column(rule.TextMix, rule.Column{}, base, hub, edge); out.Winner != Edge {
		t.Errorf("got %v", out.Winner)
	}
	if out := Column(rule.TextMix, rule.Column{}, base, edge, hub); out.Winner != Hub {
		t.Errorf("got %v", out.Winner)
	}
	base, hub.Value, edge.Value = change.Text("k\na b"), change.Text("K\nx b"), change.Text("k\ny b")
	if out := Column(rule.TextMix, rule.Column{}, base, hub, edge); out.Winner != Both {
		t.Errorf("got %v for %v", out.Winner, out.Value)
	}
}

func TestTextOfOtherKindsIsLatest(t *testing.T) {
	txt := change.Text("x")
	for name, c := range map[string][3]change.Value{
		"null base":  {change.Null, change.Text("h"), change.Text("e")},
		"empty base": {change.Text(""), change.Text("h"), change.Text("e")},
		"null hub":   {txt, change.Null, change.Text("e")},
		"blob edge":  {txt, change.Text("h"), change.Blob([]byte("e"))},
		"blob base":  {change.Blob([]byte("b")), change.Text("h"), change.Text("e")},
	} {
		out := Column(rule.TextMix, rule.Column{}, c[0], at(c[1], 1, 1), at(c[2], 2, 2))
		if out.Value != c[2] || out.Winner != Edge || out.Lost == nil {
			t.Errorf("%s: got %+v", name, out)
		}
	}
}

// Two long texts with nothing in common stay within the bound on work, and
// still merge to the later one.
func TestTextFarApartIsBounded(t *testing.T) {
	var base, first, last strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&base, "b%d\n", i)
		fmt.Fprintf(&first, "f%d\n", i)
		fmt.Fprintf(&last, "l%d\n", i)
	}
	merged, clean := mergeLines(base.String(), first.String(), last.String())
	if clean || merged != last.String() {
		t.Errorf("clean %v, %d bytes", clean, len(merged))
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\nb\nc", "A\nb\nc", "a\nb\nC")
	f.Add("call Ann on Monday", "call Anna on Monday", "call Ann on Tuesday")
	f.Add("a", "a\nfirst", "a\nlast")
	f.Add("\n\n", "\n", "\xff\n\u00e9")
	f.Fuzz(func(t *testing.T, base, first, last string) {
		if got, clean := mergeLines(base, base, last); got != last || !clean {
			t.Fatalf("only last changed: %q, clean %v", got, clean)
		}
		if got, clean := mergeLines(base, first, base); got != first || !clean {
			t.Fatalf("only first changed: %q, clean %v", got, clean)
		}
		if got, clean := mergeLines(base, first, first); got != first || !clean {
			t.Fatalf("both changed alike: %q, clean %v", got, clean)
		}
		got, _ := mergeLines(base, first, last)
		if len(got) > len(first)+len(last)+len(base)+2 {
			t.Fatalf("%q + %q gave %q: it grew", first, last, got)
		}
		if utf8.ValidString(base+first+last) && !utf8.ValidString(got) {
			t.Fatalf("%q is torn inside a character", got)
		}
		if strings.Join(words(got), "") != got {
			t.Fatalf("words(%q) lost something", got)
		}
		hub, edge := at(change.Text(first), 1, 1), at(change.Text(last), 1, 2)
		a := Column(rule.TextMix, rule.Column{}, change.Text(base), hub, edge)
		b := Column(rule.TextMix, rule.Column{}, change.Text(base), edge, hub)
		if a.Value != b.Value {
			t.Fatalf("depends on who is the hub: %v, %v", a.Value, b.Value)
		}
	})
}
