package merge

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// text merges two edits of one text three-way: lines first, then words inside
// the lines that both changed. Lines that both sides add at one place are all
// kept, the earlier writer's first. Where the same words were changed in two
// ways the later writer's stay, and the other version is Lost, whole.
//
// Values that are not text, and a base without any, have nothing to align: the
// later one wins.
func text(base change.Value, hub, edge Versioned) Outcome {
	switch {
	case hub.Value == base:
		return Outcome{Value: edge.Value, Winner: Edge}
	case edge.Value == base:
		return Outcome{Value: hub.Value, Winner: Hub}
	case base.Str() == "", base.Kind() != change.KindText,
		hub.Value.Kind() != change.KindText, edge.Value.Kind() != change.KindText:
		return Row(rule.Latest, hub, edge)
	}
	first, last := hub, edge // by time of writing
	if Later(hub, edge) {
		first, last = edge, hub
	}
	merged, clean := mergeLines(base.Str(), first.Value.Str(), last.Value.Str())
	out := Outcome{Value: change.Text(merged)}
	switch out.Value {
	case hub.Value:
		out.Winner = Hub
	case edge.Value:
		out.Winner = Edge
	}
	if !clean {
		out.Lost = &first
	}
	return out
}

// mergeLines merges line by line. clean is false when words of first gave way.
// Lines are split, not terminated, by newlines, so that adding a line to a text
// without a final newline does not change the line before it.
func mergeLines(base, first, last string) (merged string, clean bool) {
	clean = true
	var out []string
	for _, c := range diff3(strings.Split(base, "\n"), strings.Split(first, "\n"), strings.Split(last, "\n")) {
		if lines, ok := c.settled(); ok {
			out = append(out, lines...)
			continue
		}
		switch {
		case len(c.base) > 0 && len(c.first) > 0 && len(c.last) > 0:
			words, ok := mergeWords(strings.Join(c.base, "\n"), strings.Join(c.first, "\n"), strings.Join(c.last, "\n"))
			out, clean = append(out, words), clean && ok
		case len(c.base) > 0:
			out, clean = append(out, c.last...), false
		case within(c.first, c.last):
			out = append(out, c.last...)
		case within(c.last, c.first):
			out = append(out, c.first...)
		default:
			out = append(append(out, c.first...), c.last...)
		}
	}
	return strings.Join(out, "\n"), clean
}

// mergeWords merges word by word; words changed in two ways are last's.
func mergeWords(base, first, last string) (merged string, clean bool) {
	clean = true
	var b strings.Builder
	for _, c := range diff3(words(base), words(first), words(last)) {
		list, ok := c.settled()
		if !ok {
			list, clean = c.last, false
		}
		for _, w := range list {
			b.WriteString(w)
		}
	}
	return b.String(), clean
}

// words cuts a text into runs of letters and digits, runs of spaces, and single
// other characters. Joined, they are the text again, whatever its bytes.
func words(s string) []string {
	var out []string
	start, was := 0, other
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		is := runeClass(r)
		if i > start && (is != was || is == other) {
			out = append(out, s[start:i])
			start = i
		}
		was = is
		i += n
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

const (
	other = iota
	letter
	space
)

func runeClass(r rune) int {
	switch {
	case r == utf8.RuneError:
		return other
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
		return letter
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// within reports whether part is a subsequence of whole.
func within(part, whole []string) bool {
	for _, w := range whole {
		if len(part) > 0 && part[0] == w {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// settled returns the tokens of a chunk that at most one side changed, or both
// in the same way.
func (c chunk) settled() ([]string, bool) {
	switch {
	case slices.Equal(c.first, c.last), slices.Equal(c.last, c.base):
		return c.first, true
	case slices.Equal(c.first, c.base):
		return c.last, true
	}
	return nil, false
}
