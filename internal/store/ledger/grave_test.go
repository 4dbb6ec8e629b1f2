package ledger

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func grave(def change.Table, pos int64, values ...change.Value) *Grave {
	return &Grave{Def: &def, Names: def.StoredNames(), Pos: pos, Key: change.Key{values[0]}, Row: values}
}

// What a deletion took along is what pointed at the row, and at that, and did not come
// back since.
func TestTaken(t *testing.T) {
	owner, pet, toy := tab("owner: id"), tab("pet: id, owner>OWNER"), tab("toy: id, pet>pet, other>owner")
	text := change.Text
	dead := grave(owner, 9, text("o"))
	graves := []*Grave{
		dead,
		grave(pet, 1, text("p"), text("o")),
		grave(pet, 2, text("back"), text("o")),
		grave(pet, 3, text("another's"), text("x")),
		grave(pet, 4, text("nobody's"), change.Null),
		grave(toy, 5, text("t"), text("p"), change.Null),
		grave(toy, 6, text("of a stranger"), text("y"), text("x")),
		grave(toy, 7, text("by its other key"), change.Null, text("o")),
	}
	back := func(table string, key change.Key) ([]change.Value, error) {
		if key[0] == text("back") {
			return key, nil
		}
		return nil, nil
	}
	ops, err := Taken(dead, graves, back)
	var got []string
	for _, op := range ops {
		if op.Kind != change.Insert || len(op.New) != len(op.Columns) {
			t.Errorf("%+v", op)
		}
		got = append(got, op.Table+" "+op.Key[0].Str())
	}
	if s := strings.Join(got, "; "); s != "pet p; toy t; toy by its other key" || err != nil {
		t.Errorf("%s, %v", s, err)
	}
	broken := errors.New("broken")
	if _, err := Taken(dead, graves, func(string, change.Key) ([]change.Value, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	// A row that points at itself is not what it took along.
	self := tab("self: id, up>self")
	own := grave(self, 3, text("s"), text("s"))
	if ops, err := Taken(own, []*Grave{own, grave(self, 3, text("s"), text("s"))}, back); len(ops) != 0 || err != nil {
		t.Errorf("%+v, %v", ops, err)
	}
	// A key over a column that is not stored points at nothing anybody can tell.
	pet.Columns[1].Generated = true
	if ops, err := Taken(dead, []*Grave{grave(pet, 1, text("p"))}, back); len(ops) != 0 || err != nil {
		t.Errorf("%+v, %v", ops, err)
	}
}
