package ledger

import (
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// A Grave is a deleted row, as the log keeps it.
type Grave struct {
	Def   *change.Table
	Names []string // stored columns
	Pos   int64    // of the log entry
	Key   change.Key
	Row   []change.Value // the stored columns
}

// Taken is what the deletion of a row took along: of the rows deleted in the same
// breath those that pointed at it, or at one taken along, as what would bring them
// back. all has parents first, and so has the answer. row reads a row as it is now, nil
// when it is gone: one that is there again was not taken.
func Taken(dead *Grave, all []*Grave, row func(table string, key change.Key) ([]change.Value, error)) ([]change.Op, error) {
	gone := []*Grave{dead}
	in := map[*Grave]bool{}
	for i := 0; i < len(gone); i++ {
		for _, g := range all {
			if !in[g] && g.Pos != dead.Pos && g.pointsAt(gone[i]) {
				in[g] = true
				gone = append(gone, g)
			}
		}
	}
	var out []change.Op
	for _, g := range all {
		if !in[g] {
			continue
		}
		now, err := row(g.Def.Name, g.Key)
		if err != nil {
			return nil, err
		}
		if now == nil {
			out = append(out, change.Op{Table: g.Def.Name, Kind: change.Insert, Key: g.Key, Columns: g.Names, New: g.Row})
		}
	}
	return out, nil
}

// pointsAt reports whether a foreign key of g held the parent's values.
func (g *Grave) pointsAt(parent *Grave) bool {
	for i := range g.Def.ForeignKeys {
		fk := &g.Def.ForeignKeys[i]
		if !strings.EqualFold(fk.Parent, parent.Def.Name) {
			continue
		}
		same := true
		for j, c := range fk.Columns {
			to := IndexFold(parent.Names, fk.To[j])
			from := IndexFold(g.Names, g.Def.Columns[c].Name)
			same = same && to >= 0 && from >= 0 && !g.Row[from].IsNull() && g.Row[from] == parent.Row[to]
		}
		if same {
			return true
		}
	}
	return false
}
