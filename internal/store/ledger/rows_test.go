package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func empty() *change.Rows {
	return &change.Rows{Table: "t", Columns: []string{"id", "x"}, Key: []int{0}}
}

// A page has at least one row, and says where it goes on if there is more.
func TestPage(t *testing.T) {
	one := 2 * change.Text("a").Size()
	for _, c := range []struct {
		limit, rows, want int
		more              bool
	}{{0, 3, 1, true}, {0, 1, 1, false}, {0, 0, 0, false}, {one, 3, 1, true}, {one + 1, 3, 2, true}, {3 * one, 3, 3, false}} {
		p := NewPage(empty(), c.limit)
		row := make([]change.Value, 2)
		var err error
		for i := 0; i < c.rows && err == nil; i++ {
			row[0], row[1] = change.Text(fmt.Sprint(i)), change.Text("x") // in the same place each time
			err = p.Add(row)
		}
		got, last := p.End()
		if got.Len() != c.want || (last != nil) != c.more || errors.Is(err, ErrEnough) != c.more {
			t.Errorf("%d bytes for %d rows: %d came, then %v (%v)", c.limit, c.rows, got.Len(), last, err)
		}
		if last != nil && last.String() != got.KeyOf(c.want-1).String() {
			t.Errorf("it goes on after %s", last)
		}
		if got.Len() > 1 && got.Values[0] != change.Text("0") {
			t.Errorf("rows %v", got.Values)
		}
	}
}

func TestBatch(t *testing.T) {
	var got []string
	broken := errors.New("broken")
	b := NewBatch(empty(), 3*change.Text("a").Size(), func(r *change.Rows) error {
		var parts []string
		for _, v := range append(r.Values, r.Gone...) {
			parts = append(parts, v.Str())
		}
		if got = append(got, strings.Join(parts, "")); len(got) > 2 {
			return broken
		}
		return nil
	})
	row := []change.Value{change.Text("a"), change.Text("b")}
	err := b.Row(row)
	row[0] = change.Text("-")
	if err = errors.Join(err, b.Gone([]change.Value{change.Text("g")}), b.Gone([]change.Value{change.Text("h")}), b.Flush(), b.Flush()); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != "abg h" {
		t.Errorf("batches: %s", s)
	}
	if err := errors.Join(b.Row(row), b.Row(row)); !errors.Is(err, broken) {
		t.Errorf("what emit says is lost: %v", err)
	}
}

func TestWanted(t *testing.T) {
	w, err := Wanted("t", []int{0, change.Buckets - 1})
	if err != nil || !w[0] || w[1] || !w[change.Buckets-1] {
		t.Errorf("%v, %v", w, err)
	}
	for _, b := range []int{-1, change.Buckets} {
		if _, err := Wanted("t", []int{b}); err == nil {
			t.Errorf("there is a bucket %d", b)
		}
	}
}

// The rows may come one after another in the same place.
func TestSum(t *testing.T) {
	rows := empty()
	rows.Values = []change.Value{change.Text("a"), change.Int(1), change.Text("b"), change.Null}
	want := change.Digest{Table: "t"}
	h := change.NewRowHasher(rows.Columns)
	for i := range rows.Len() {
		want.Add(rows.KeyOf(i), h.Hash(rows.Values[2*i:2*i+2]))
	}
	sum, row := NewSum(empty()), make([]change.Value, 2)
	for i := range rows.Len() {
		copy(row, rows.Values[2*i:])
		if err := sum.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	if sum.Digest != want {
		t.Errorf("%+v, want %+v", sum.Digest, want)
	}
}
