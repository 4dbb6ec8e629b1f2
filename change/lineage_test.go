package change

import "testing"

func TestSuccessor(t *testing.T) {
	life := func(epochs ...Epoch) (out []Branch) {
		for i, e := range epochs {
			b := Branch{Epoch: e}
			if i > 0 {
				b.Fork = Cursor{Epoch: epochs[i-1], Token: "1"}
			}
			out = append(out, b)
		}
		return out
	}
	for name, c := range map[string]struct {
		hub, other []Branch
		epoch      Epoch
		want       Epoch // 0: none
	}{
		"the present life":                         {life(1, 2), nil, 2, 0},
		"an earlier one":                           {life(1, 2, 3), nil, 1, 2},
		"the one before":                           {life(1, 2, 3), nil, 2, 3},
		"unknown, and no lineage":                  {life(1, 2), nil, 9, 0},
		"left the first life":                      {life(1, 2, 3), life(1, 9), 9, 2},
		"left the second life":                     {life(1, 2, 3), life(1, 2, 9), 9, 3},
		"left a life that left":                    {life(1, 2), life(1, 8, 9), 9, 2},
		"went on from the present life":            {life(1), life(1, 9), 9, 0},
		"nothing in common":                        {life(1, 2), life(8, 9), 9, 0},
		"what comes after the epoch counts for it": {life(1, 2, 3), append(life(9), life(2)...), 9, 0},
	} {
		b, ok := Successor(c.hub, c.other, c.epoch)
		if b.Epoch != c.want || ok != (c.want != 0) {
			t.Errorf("%s: %x, %v, want %x", name, uint64(b.Epoch), ok, uint64(c.want))
		}
	}
}

func TestLine(t *testing.T) {
	b := func(e, from Epoch) Branch { return Branch{Epoch: e, Fork: Cursor{Epoch: from}} }
	for name, c := range map[string]struct {
		known []Branch
		epoch Epoch
		want  []Epoch
	}{
		"in any order":     {[]Branch{b(3, 2), b(1, 0), b(9, 1), b(2, 1)}, 3, []Epoch{1, 2, 3}},
		"a side line":      {[]Branch{b(3, 2), b(1, 0), b(9, 1), b(2, 1)}, 9, []Epoch{1, 9}},
		"nothing known":    {[]Branch{b(1, 0)}, 5, nil},
		"beginning unseen": {[]Branch{b(3, 2)}, 3, []Epoch{3}},
		"a circle":         {[]Branch{b(1, 2), b(2, 1)}, 1, []Epoch{2, 1}},
	} {
		got := Line(c.known, c.epoch)
		ok := len(got) == len(c.want)
		for i := range got {
			ok = ok && got[i].Epoch == c.want[i]
		}
		if !ok {
			t.Errorf("%s: %+v, want %v", name, got, c.want)
		}
	}
}
