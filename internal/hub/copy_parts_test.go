package hub

import (
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// An update whose columns had different bases travels as several operations, of the same
// events. What a copy adds to it is told for each column.
func TestTrapD22_UpdateInParts(t *testing.T) {
	key := change.Key(vals("k"))
	upd := func(rows []uint64, col string, base, val any) change.Op {
		return change.Op{Table: "t", Kind: change.Update, Key: key, Columns: []string{col}, Base: vals(base), New: vals(val), Rows: rows}
	}
	one, more := []uint64{1}, []uint64{1, 2}
	other := upd([]uint64{7}, "a", 0, 1)
	other.Key = change.Key(vals("other"))
	first := &change.Transaction{Ops: []change.Op{other, upd(one, "a", 0, 1), upd(one, "b", 10, 11)}}
	second := &change.Transaction{Ops: []change.Op{upd(one, "a", 0, 1), upd(one, "b", 10, 11), upd([]uint64{8}, "z", 1, 2)}}
	del := change.Op{Table: "t", Kind: change.Delete, Key: key, Columns: []string{"id", "a", "b"}, Base: vals("k", 0, 10), Rows: more}
	idle := change.Op{Table: "t", Kind: change.Update, Key: key, Rows: more}
	for _, tc := range []struct {
		name string
		ops  []change.Op
		want string
	}{
		{"a later part went on", []change.Op{upd(more, "a", 0, 1), upd(more, "b", 10, 12)}, "1: update [b] [11]→[12]\n"},
		{"both went on", []change.Op{upd(more, "a", 0, 5), upd(more, "b", 10, 12)}, "0: update [a] [1]→[5]\n1: update [b] [11]→[12]\n"},
		{"another column", []change.Op{upd(more, "a", 0, 1), upd(more, "b", 10, 11), upd(more, "c", 20, 21)}, "2: update [c] [20]→[21]\n"},
		{"the later part was taken back", []change.Op{upd(more, "a", 0, 1)}, "0: update [b] [11]→[10]\n"},
		{"the first part was taken back", []change.Op{upd(more, "b", 10, 12), upd(more, "c", 20, 21)}, "0: update [b a] [11 1]→[12 0]\n1: update [c] [20]→[21]\n"},
		{"all was taken back", []change.Op{idle}, "0: update [a b] [1 11]→[0 10]\n"},
		{"then deleted", []change.Op{del}, "0: delete [id a b] ['k' 1 11]→[]\n"},
		{"nothing new", []change.Op{upd(more, "a", 0, 1), upd(more, "b", 10, 11)}, ""},
	} {
		for n, earlier := range [][]*change.Transaction{{first}, {first, second}} {
			out, places := unseen(&change.Transaction{Ops: tc.ops}, earlier)
			got := ""
			for i, op := range out {
				got += fmt.Sprintf("%d: %v %v %v→%v\n", places[i], op.Kind, op.Columns, op.Base, op.New)
			}
			if got != tc.want {
				t.Errorf("%s, %d earlier:\n%swant\n%s", tc.name, n+1, got, tc.want)
			}
		}
	}
}
