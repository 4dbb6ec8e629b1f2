package postgresstore

import "slices"

// A turn is a write's place among those of one row in a lot.
type turn struct {
	row string // op.id, as it was written
	n   int
}

// number gives each write of a lot its turn. Writes of one kind need none: they are
// moved about in a stable way.
func number(ops []op) {
	if !mixed(ops) {
		return
	}
	count := make(map[string]int, len(ops))
	for i := range ops {
		id := ops[i].id
		ops[i].turns = []turn{{id, count[id]}}
		count[id]++
	}
}

func mixed(ops []op) bool {
	return slices.ContainsFunc(ops, func(o op) bool { return o.e.Kind != ops[0].e.Kind })
}

// inTurn puts off writes that were moved before one of the same row that they come
// after, until right after it: a row is there before it is updated.
func inTurn(ops []op) []op {
	if !slices.ContainsFunc(ops, func(o op) bool { return slices.ContainsFunc(o.turns, func(t turn) bool { return t.n > 0 }) }) {
		return ops // no row is written twice
	}
	left := map[string][]int{}
	for i := range ops {
		for _, t := range ops[i].turns {
			left[t.row] = append(left[t.row], t.n)
		}
	}
	for _, list := range left {
		slices.Sort(list)
	}
	out := make([]op, 0, len(ops))
	var waits []op
	next := func(o *op) bool {
		if slices.ContainsFunc(o.turns, func(t turn) bool { return left[t.row][0] != t.n }) {
			return false
		}
		for _, t := range o.turns {
			left[t.row] = left[t.row][1:]
		}
		out = append(out, *o)
		return true
	}
	for i := range ops {
		if !next(&ops[i]) {
			waits = append(waits, ops[i])
			continue
		}
		for at := 0; at >= 0 && len(waits) > 0; {
			if at = slices.IndexFunc(waits, func(o op) bool { return next(&o) }); at >= 0 {
				waits = slices.Delete(waits, at, at+1)
			}
		}
	}
	return append(out, waits...)
}
