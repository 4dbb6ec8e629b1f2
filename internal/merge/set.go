package merge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
)

// An element is one member of a JSON array in canonical spelling: no spaces,
// object keys sorted, numbers as written. Two elements are one when spelled alike.
type element string

// set merges JSON arrays as sets: (hub ∪ edge) without what either of them took
// out of base. NULL is the empty set. Anything but a JSON array parks.
func set(base change.Value, hub, edge Versioned) Outcome {
	if hub.Value == edge.Value {
		return Outcome{Value: hub.Value}
	}
	var sides [3]map[element]bool
	for i, v := range []change.Value{base, hub.Value, edge.Value} {
		m, err := parseSet(v)
		if err != nil {
			return Outcome{Park: fmt.Sprintf("set: %s: %v", show(v), err)}
		}
		sides[i] = m
	}
	was, atHub, atEdge := sides[0], sides[1], sides[2]
	var out []element
	for e := range atHub {
		if atEdge[e] || !was[e] {
			out = append(out, e)
		}
	}
	for e := range atEdge {
		if !atHub[e] && !was[e] {
			out = append(out, e)
		}
	}
	return Outcome{Value: change.Text(spellSet(out))}
}

func parseSet(v change.Value) (map[element]bool, error) {
	if v.IsNull() {
		return nil, nil
	}
	if v.Kind() != change.KindText {
		return nil, fmt.Errorf("%s, not a JSON array", v.Kind())
	}
	if !utf8.ValidString(v.Str()) { // encoding/json would replace bytes silently
		return nil, fmt.Errorf("not valid UTF-8")
	}
	d := json.NewDecoder(strings.NewReader(v.Str()))
	d.UseNumber()
	var list []any
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("not a JSON array: %w", err)
	}
	if list == nil {
		return nil, fmt.Errorf("not a JSON array: null")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("not a JSON array: text follows it")
	}
	out := make(map[element]bool, len(list))
	for _, e := range list {
		s, err := spell(e)
		if err != nil {
			return nil, err
		}
		out[s] = true
	}
	return out, nil
}

func spell(v any) (element, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("spell element: %w", err)
	}
	return element(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// spellSet writes the array in canonical order: null, false, true, numbers by
// value, strings, arrays, objects; each by spelling.
func spellSet(list []element) string {
	slices.SortFunc(list, compareElement)
	var b strings.Builder
	b.WriteByte('[')
	for i, e := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(e))
	}
	b.WriteByte(']')
	return b.String()
}

func compareElement(a, b element) int {
	ra, rb := rank(a), rank(b)
	if ra != rb {
		return cmp.Compare(ra, rb)
	}
	if ra == rankNumber {
		// Out of range gives ±Inf, which is an order too.
		x, _ := json.Number(a).Float64()
		y, _ := json.Number(b).Float64()
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return strings.Compare(string(a), string(b))
}

const rankNumber = 3

func rank(e element) int {
	switch e[0] {
	case 'n':
		return 0
	case 'f':
		return 1
	case 't':
		return 2
	case '"':
		return 4
	case '[':
		return 5
	case '{':
		return 6
	}
	return rankNumber
}
