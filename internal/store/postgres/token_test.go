package postgresstore

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Each of these texts stands in some file, and is read by hub processes of every version:
// what they name, and how that is written, never changes.
func TestTokenKeepsItsForm(t *testing.T) {
	for text, m := range map[string]moment{
		"30e.1.114e2169c90328":         {max: 0x30e, pos: 1, nonce: 0x114e2169c90328},
		"321.fa5.ea7896ceba9a.31e,320": {max: 0x321, open: []uint64{0x31e, 0x320}, pos: 0xfa5, nonce: 0xea7896ceba9a},
		"1.0.0":                        {max: 1},
		"0.0.0":                        {},
		"1.0.0.0":                      {max: 1, open: []uint64{0}},
		"ffffffffffffffff.7fffffffffffffff.-5.fe": {max: math.MaxUint64, open: []uint64{0xfe}, pos: math.MaxInt64, nonce: -5},
	} {
		if got := m.token(); got != text {
			t.Errorf("%+v is written %s, it was %s", m, got, text)
		}
		if got, err := readToken(text); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s is read as %+v, %v; it was %+v", text, got, err, m)
		}
	}
}

// firstReader reads a token as the first hub on PostgreSQL did. It is kept as it was: a
// process of that version may be asked by any edge, in the minutes of an upgrade or after
// it was taken back, and takes a text that it cannot read for a state that its database
// lost.
func firstReader(s string) (m moment, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(parts) > 4 {
		return m, false
	}
	var e1, e2, e3 error
	m.max, e1 = strconv.ParseUint(parts[0], 16, 64)
	m.pos, e2 = strconv.ParseInt(parts[1], 16, 64)
	m.nonce, e3 = strconv.ParseInt(parts[2], 16, 64)
	if e1 != nil || e2 != nil || e3 != nil || m.pos < 0 {
		return m, false
	}
	if len(parts) == 4 {
		for _, p := range strings.Split(parts[3], ",") {
			x, err := strconv.ParseUint(p, 16, 64)
			if err != nil || x >= m.max {
				return m, false
			}
			m.open = append(m.open, x)
		}
	}
	return m, true
}

// Any moment's text names that moment, to this version and to the first, and no other one:
// cursors are compared as texts.
func TestTokenNamesOneMoment(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) moment {
		m := moment{max: rapid.Uint64Min(1).Draw(t, "max"), pos: rapid.Int64Min(0).Draw(t, "pos"), nonce: rapid.Int64Range(0, 1<<53-1).Draw(t, "nonce")}
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			m.open = append(m.open, rapid.Uint64Range(0, m.max-1).Draw(t, "open"))
		}
		slices.Sort(m.open)
		m.open = slices.Compact(m.open)
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		m, o := draw.Draw(t, "m"), draw.Draw(t, "o")
		text := m.token()
		got, err := readToken(text)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%s is read as %+v, %v; it is of %+v", text, got, err, m)
		}
		if was, ok := firstReader(text); !ok || !reflect.DeepEqual(was, m) {
			t.Fatalf("%s is read by the first version as %+v, %v; it is of %+v", text, was, ok, m)
		}
		if reflect.DeepEqual(m, o) != (text == o.token()) {
			t.Fatalf("%+v and %+v are written %s and %s", m, o, text, o.token())
		}
	})
}

// A usual moment, of a hub that made ten million transactions and a billion log entries,
// is written in few bytes: they travel with each session.
func TestTokenIsShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := moment{max: rapid.Uint64Range(1, 1e7).Draw(t, "max"), pos: rapid.Int64Range(0, 1e9).Draw(t, "pos"), nonce: rapid.Int64Range(0, 1<<53-1).Draw(t, "nonce")}
		if n := len(m.token()); n > 30 {
			t.Fatalf("%s has %d bytes", m.token(), n)
		}
		was := len(m.token())
		m.open = []uint64{m.max - 1}
		if n := len(m.token()); n > was+7 {
			t.Fatalf("%s has %d bytes with a transaction under way, %d without", m.token(), n, was)
		}
	})
}

// Whatever a text is, it is read as the first version reads it, or refused as that does.
func FuzzReadToken(f *testing.F) {
	for _, s := range []string{"", ".", "30e.1.114e2169c90328", "321.fa5.ea7896ceba9a.31e,320", "5.1.1.", "5.1.1.9", "5.-1.1", "5.1.-1", "+5.1.1", "5.1.1.1.1",
		"10000000000000000.0.0", "~a.b.c", "0x5.1.1", "1_0.1.1", "A.B.C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := readToken(s)
		was, ok := firstReader(s)
		if (err == nil) != ok || ok && !reflect.DeepEqual(m, was) {
			t.Fatalf("%q is read as %+v, %v; the first version read %+v, %v", s, m, err, was, ok)
		}
		if err != nil {
			if !errors.Is(err, hub.ErrOtherHistory) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := readToken(m.token()); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%q is %+v, and written anew %+v, %v", s, m, again, err)
		}
	})
}
