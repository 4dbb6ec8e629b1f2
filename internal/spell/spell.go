// Package spell finds the word somebody probably meant, so that an error about
// an unknown name can say so.
package spell

import (
	"fmt"
	"strings"
)

// Nearest returns the candidate closest to word, ASCII case folded, or "" when
// none is close: at most one edit in three letters (insertion, deletion,
// substitution, or two neighbours swapped). The first of equally close ones wins.
func Nearest(word string, candidates []string) string {
	best, most := "", max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d <= most {
			best, most = c, d-1
		}
	}
	return best
}

// Hint is Nearest as the end of an error message: `; did you mean "latest"?`,
// or "".
func Hint(word string, candidates []string) string {
	if n := Nearest(word, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// distance is the optimal string alignment distance.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
