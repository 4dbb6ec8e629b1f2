package edge

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// I1, I2, I9 over random histories: work, sessions cut anywhere, restarts, copies
// found out, and a hub that is set back, in the same life or in another one. What a
// file ever committed is at the hub in the end, once, and both agree.
func TestHistory_Random(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	rare := map[string]int{}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomHistory(t, seed, rare) })
	}
	for _, what := range []string{"hub set back to another life", "hub set back silently", "copy found out", "cut"} {
		if rare[what] == 0 {
			t.Errorf("never: %s", what)
		}
	}
}

func randomHistory(t *testing.T, seed uint64, rare map[string]int) {
	rng := rand.New(rand.NewPCG(seed, 5))
	c := enrolled(t)
	epoch, n, edits := change.Epoch(7), 0, map[string]int{}
	restore := c.h.backup()
	for range 14 {
		switch rng.IntN(10) {
		case 0, 1, 2:
			for range 1 + rng.IntN(3) {
				c.tx(fmt.Sprintf("INSERT INTO patient VALUES ('r%03d', 1, 'x', 0, NULL)", n))
				n++
			}
		case 3:
			if n > 0 { // counted: what is applied twice shows
				id := fmt.Sprintf("r%03d", rng.IntN(n))
				c.tx("UPDATE patient SET visits=visits+1 WHERE id='" + id + "'")
				edits[id]++
			}
		case 4, 5:
			c.dial().sync()
		case 6:
			l := c.dial()
			l.limit = 1 + rng.IntN(12)
			if err := l.run(); err != nil {
				t.Fatal(err)
			}
			rare["cut"]++
			c.reopen()
		case 7:
			restore = c.h.backup()
		case 8:
			if restore == nil {
				continue
			}
			// Set back in the same life, a real hub is told by the file's cursor, and stops.
			// Alone, the file only sees what its present chain lacks.
			if c.rows("SELECT count(*) FROM _tidemark_redo") == "0" && rng.IntN(2) == 0 {
				restore(epoch)
				c.dial().sync()
				rare["hub set back silently"]++
			} else {
				epoch++
				restore(epoch)
				rare["hub set back to another life"]++
			}
			restore = nil
		case 9:
			if err := c.e.locked(c.e.fork); err != nil {
				t.Fatal(err)
			}
			rare["copy found out"]++
		}
	}
	for range 3 {
		c.dial().sync()
	}
	c.agree(true)
	c.want("SELECT count(*) FROM patient", fmt.Sprint(n))
	for id, times := range edits {
		c.want("SELECT visits FROM patient WHERE id='"+id+"'", fmt.Sprint(times))
	}
	c.want("SELECT coalesce(max(value), 0) FROM _tidemark_meta WHERE key='redo_bytes'",
		c.rows("SELECT coalesce(sum(length(body)), 0) FROM (SELECT body FROM _tidemark_redo UNION ALL SELECT body FROM _tidemark_outbox)"))
}
