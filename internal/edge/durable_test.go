package edge

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Taking in what the hub has does not wait for the disk, in WAL mode; what it
// exported on the way does, before it is handed in.
func TestDurable_WhatWaitsForTheDisk(t *testing.T) {
	const normal, full = 1, 2
	for mode, want := range map[string]int64{"wal": normal, "delete": full} {
		c := newClinic(t)
		c.e.cfg.NoSync = false
		level := func() int64 {
			v, _, err := sqlite.One(c.e.conn, "PRAGMA synchronous")
			if err != nil {
				t.Fatal(err)
			}
			return v.Int()
		}
		if err := sqlite.Exec(c.e.conn, "PRAGMA synchronous=FULL"); err != nil {
			t.Fatal(err)
		}
		if err := sqlite.Exec(c.e.conn, "PRAGMA journal_mode="+mode); err != nil {
			t.Fatal(err)
		}
		var during []int64
		c.e.hook = func(step string) error {
			if step == "commit" {
				during = append(during, level())
			}
			return nil
		}
		c.dial().sync()
		if len(during) == 0 || during[0] != full {
			t.Fatalf("%s: a bootstrap committed at %v", mode, during)
		}
		during = nil
		c.exec("INSERT INTO patient VALUES ('own', 1, 'x', 0, NULL)")
		c.h.put("patient", text("theirs"), num(1), text("x"), num(0), change.Null)
		before, err := c.e.metaInt(metaSyncs)
		if err != nil {
			t.Fatal(err)
		}
		c.e.hook = func(step string) error {
			if step == "begin" { // what Start did not see
				c.e.hook = nil
				during = append(during, level())
			}
			return nil
		}
		l := c.dial()
		l.sync()
		if len(during) == 0 || during[0] != want {
			t.Errorf("%s: a delta committed at %v, want %d", mode, during, want)
		}
		if got := level(); got != full {
			t.Errorf("%s: afterwards the level is %d", mode, got)
		}
		c.exec("UPDATE patient SET name='y' WHERE id='own'")
		c.export()
		c.e.synced = false // as if an apply had exported it
		c.dial().sync()
		if after, _ := c.e.metaInt(metaSyncs); after <= before || !c.e.synced {
			t.Errorf("%s: handed in without a sync", mode)
		}
		c.agree(true)
	}
}
