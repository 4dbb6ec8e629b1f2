package change

import (
	"slices"
	"time"
)

// BranchMode says how a life of a hub began.
type BranchMode string

// The modes.
const (
	Founded  BranchMode = "founded"  // the first life
	Restored BranchMode = "restored" // after a disaster: take back what devices had handed in
	Undone   BranchMode = "undone"   // restored on purpose: what devices had handed in is looked at first
)

// A Branch is one life of a hub. A hub's lineage is the list of its lives, oldest
// first: each but the first left the one before at Fork.
type Branch struct {
	Epoch Epoch      `json:"epoch"`
	Fork  Cursor     `json:"fork"` // in the life before; zero for the first
	Mode  BranchMode `json:"mode"`
	At    time.Time  `json:"at"`
}

// Successor compares a hub's lineage with another one, which may have branches
// that the hub knows nothing of, and returns the hub's life that ended the history
// in which epoch was: the one that followed the last life both have in common, up
// to epoch. ok is false when epoch is the hub's present life, and when the
// lineages have nothing in common.
func Successor(hub, other []Branch, epoch Epoch) (b Branch, ok bool) {
	place := make(map[Epoch]int, len(hub))
	for i := range hub {
		place[hub[i].Epoch] = i
	}
	i, known := place[epoch]
	if !known {
		for _, o := range other {
			if o.Epoch == epoch {
				break
			}
			if j, in := place[o.Epoch]; in {
				i, known = j, true
			}
		}
	}
	if !known || i+1 >= len(hub) {
		return Branch{}, false
	}
	return hub[i+1], true
}

// Line picks out of known lives, in any order, the history that led to the one of
// epoch, oldest life first; empty when nothing is known of it.
func Line(known []Branch, epoch Epoch) []Branch {
	var out []Branch
	for len(out) < len(known) { // no circles, whatever was stored
		i := slices.IndexFunc(known, func(b Branch) bool { return b.Epoch == epoch })
		if i < 0 {
			break
		}
		out = append(out, known[i])
		epoch = known[i].Fork.Epoch
	}
	slices.Reverse(out)
	return out
}
