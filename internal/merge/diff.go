package merge

// A chunk is a stretch of three token lists between two places where all three
// agree, or a stretch on which they agree.
type chunk struct{ base, first, last []string }

// diff3 cuts three lists into chunks: the algorithm of Khanna, Kunal and Pierce,
// "A Formal Investigation of Diff3" (FSTTCS 2007), which walks the places where
// a token of base is matched on both sides.
func diff3(base, first, last []string) []chunk {
	ids := map[string]int32{}
	o, a, b := intern(ids, base), intern(ids, first), intern(ids, last)
	toA, toB := match(o, a), match(o, b)
	var out []chunk
	i, j, k := 0, 0, 0
	for i < len(o) || j < len(a) || k < len(b) {
		n := 0 // how long all three agree from here
		for i+n < len(o) && toA[i+n] == j+n && toB[i+n] == k+n {
			n++
		}
		i2, j2, k2 := i+n, j+n, k+n
		if n == 0 { // they differ: up to the next token of base matched on both sides
			i2, j2, k2 = i, len(a), len(b)
			for i2 < len(o) && (toA[i2] < 0 || toB[i2] < 0) {
				i2++
			}
			if i2 < len(o) {
				j2, k2 = toA[i2], toB[i2]
			}
		}
		out = append(out, chunk{base[i:i2], first[j:j2], last[k:k2]})
		i, j, k = i2, j2, k2
	}
	return out
}

func intern(ids map[string]int32, list []string) []int32 {
	out := make([]int32, len(list))
	for i, s := range list {
		id, ok := ids[s]
		if !ok {
			id = int32(len(ids))
			ids[s] = id
		}
		out[i] = id
	}
	return out
}

// match pairs equal tokens of a and b in order: for each token of a its partner's
// index in b, or −1.
func match(a, b []int32) []int {
	out := make([]int, len(a))
	for i := range out {
		out[i] = -1
	}
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		out[start] = start
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA--
		endB--
		out[endA] = endB
	}
	myers(a[start:endA], b[start:endB], func(i, j int) { out[start+i] = start + j })
	return out
}

// maxEdits bounds the work and memory of one comparison (its square). Texts
// further apart than that are treated as having nothing in common but their
// ends, which merges coarsely but never wrongly.
const maxEdits = 1000

// myers finds a longest common subsequence: Myers, "An O(ND) Difference
// Algorithm and Its Variations" (Algorithmica 1986), the greedy form. It calls
// pair for each match, last first, or not at all beyond maxEdits.
func myers(a, b []int32, pair func(i, j int)) {
	most := min(len(a)+len(b), maxEdits)
	v := make([]int, 2*most+3) // furthest x on diagonal k, at k+most+1
	at := most + 1
	var trace [][]int // v of each step, diagonals −d…d
	for d := 0; d <= most; d++ {
		for k := -d; k <= d; k += 2 {
			x := v[at+k-1] + 1
			if k == -d || k != d && v[at+k-1] < v[at+k+1] {
				x = v[at+k+1]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			v[at+k] = x
			if x >= len(a) && x-k >= len(b) {
				backtrack(trace, len(a), len(b), pair)
				return
			}
		}
		trace = append(trace, append([]int(nil), v[at-d:at+d+1]...))
	}
}

// backtrack walks from the end of the edit graph to its start.
func backtrack(trace [][]int, x, y int, pair func(i, j int)) {
	for d := len(trace); d > 0; d-- {
		prev, mid := trace[d-1], d-1
		k := x - y
		from := k - 1
		if k == -d || k != d && prev[mid+k-1] < prev[mid+k+1] {
			from = k + 1
		}
		px := prev[mid+from]
		py := px - from
		for x > px && y > py {
			x--
			y--
			pair(x, y)
		}
		x, y = px, py
	}
	for x > 0 && y > 0 {
		x--
		y--
		pair(x, y)
	}
}
