package edge

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// opsOn lists the places of a transaction's operations on rows with these keys.
func opsOn(tx *change.Transaction, keys ...string) (out []uint32) {
	for i := range tx.Ops {
		if slices.Contains(keys, tx.Ops[i].Key[0].Str()) {
			out = append(out, uint32(i))
		}
	}
	return out
}

// waitOn makes the hub split what it is handed: rows with these keys wait.
func (c *clinic) waitOn(keys ...string) {
	c.h.decide = parked
	c.h.split = func(tx *change.Transaction) []uint32 { return opsOn(tx, keys...) }
}

// splitClinic is a clinic whose group of three rows was split: good is applied,
// bad and worse wait.
func splitClinic(t *testing.T) (*clinic, *change.Transaction) {
	t.Helper()
	c := newClinic(t)
	for _, id := range []string{"good", "bad", "worse"} {
		c.h.put("patient", text(id), num(1), text("hub's"), num(10), change.Null)
	}
	c.dial().sync()
	c.waitOn("bad", "worse")
	c.exec("UPDATE patient SET visits=visits+1, name='mine'")
	c.dial().sync()
	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return c, tx
}

const seen = "SELECT id, name, visits FROM patient ORDER BY id"

// Of a split group, what the hub applied counts once; the rest waits on top of the
// hub's version, across a restart.
func TestSplitGroup_AppliedPartCountsOnce(t *testing.T) {
	c, _ := splitClinic(t)
	c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")
	c.want("SELECT count(*) FROM _tidemark_pending", "2")
	c.agree(false)
	c.reopen()
	c.h.decide = nil
	c.h.put("patient", text("good"), num(1), text("another's"), num(21), change.Null)
	c.h.put("patient", text("bad"), num(1), text("another's"), num(20), change.Null)
	c.exec("UPDATE patient SET visits=visits+100 WHERE id='good'") // builds on what was applied
	c.dial().sync()
	c.want(seen, "'bad'|'mine'|21\n'good'|'another''s'|121\n'worse'|'mine'|11")
	if got := c.h.get("patient", text("good")); got[3] != num(121) {
		t.Fatalf("the hub has %v", got)
	}
	c.agree(false)
	c.foreign()
}

// An outcome that comes again, or tells that less waits now, takes off what it must
// and no more; the last one settles the rest.
func TestSplitGroup_SplitAgainThenSettled(t *testing.T) {
	for status, want := range map[uint8]string{
		outcomeMerged:    "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11",
		outcomeDiscarded: "'bad'|'hub''s'|10\n'good'|'mine'|11\n'worse'|'mine'|11",
	} {
		c, tx := splitClinic(t)
		again := c.h.outcomes[len(c.h.outcomes)-1]
		c.h.outcomes = append(c.h.outcomes, again)
		c.dial().sync()
		c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")

		worse := tx.Ops[opsOn(tx, "worse")[0]]
		c.h.apply(&change.Transaction{Ops: []change.Op{worse}}, change.Incarnation{})
		again.r.Waits = opsOn(tx, "bad")
		c.h.outcomes = append(c.h.outcomes, again)
		c.dial().sync()
		c.want("SELECT count(*) FROM _tidemark_pending", "1")
		c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")
		c.agree(false)

		rest := *tx
		rest.Ops = []change.Op{tx.Ops[opsOn(tx, "bad")[0]]}
		c.h.conclude(&rest, status, "so it is")
		c.dial().sync()
		c.want(seen, want)
		c.agree(true)
		rs, err := c.e.Rescues(0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if status == outcomeMerged && len(rs) != 0 {
			t.Errorf("rescue copies of what was applied: %+v", rs)
		}
		if status == outcomeDiscarded && (len(rs) != 1 || rs[0].Tx.ID != tx.ID || len(rs[0].Tx.Ops) != 1 || rs[0].Tx.Ops[0].Key[0] != text("bad")) {
			t.Errorf("rescue copies %+v, want one of the row that was discarded", rs)
		}
	}
}

// A group that had to step aside comes back into the tables as far as it was applied.
func TestSplitGroup_Aside(t *testing.T) {
	c := enrolled(t)
	c.waitOn("mine")
	c.exec("INSERT INTO patient VALUES ('mine', 1, 'Local', 0, 'card-1'), ('other', 1, 'Fine', 0, NULL)")
	c.export()
	c.h.put("patient", text("theirs"), num(1), text("Hub"), num(0), text("card-1"))
	c.dial().sync()
	c.want("SELECT id FROM patient ORDER BY id", "'other'\n'theirs'")
	c.agree(false)
	c.foreign()
}

// A hub that lost the group gets it whole, and the file counts all of it as unsafe.
func TestSplitGroup_HubLostIt(t *testing.T) {
	c, tx := splitClinic(t)
	_, inc := c.e.Identity()
	c.h.progress[inc] = &fakeProgress{}
	c.h.log, c.h.outcomes, c.h.known = c.h.log[:3], nil, map[change.Hash]wire.TxResult{}
	for _, id := range []string{"good", "bad", "worse"} {
		c.h.rows["patient"][change.Key{text(id)}.ID()] = []change.Value{text(id), num(1), text("hub's"), num(10), change.Null}
	}
	c.h.epoch++
	c.h.split = nil // this time all of it waits
	c.dial().sync()
	if got := c.h.received; len(got) != 2 || got[1] != tx.ID {
		t.Fatalf("received %v", got)
	}
	c.want("SELECT count(*) FROM _tidemark_pending", "3")
	c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")
	c.agree(false)
	c.h.conclude(tx, outcomeMerged, "")
	c.dial().sync()
	c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")
	c.agree(true)
}

// A clone's new chain takes along what is known of the split.
func TestSplitGroup_Fork(t *testing.T) {
	c, _ := splitClinic(t)
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT count(*) FROM _tidemark_pending", "2")
	c.h.decide = nil
	c.dial().sync()
	c.want(seen, "'bad'|'mine'|11\n'good'|'mine'|11\n'worse'|'mine'|11")
	c.agree(false)
}

func TestSplitGroup_PlaceThatIsNone(t *testing.T) {
	c := enrolled(t)
	c.exec("INSERT INTO patient VALUES ('a', 1, 'A', 0, NULL)")
	c.h.decide = parked
	c.h.split = func(*change.Transaction) []uint32 { return []uint32{7} }
	if err := c.dial().run(); err == nil || !strings.Contains(err.Error(), "operation 7 is said to wait, of 1") {
		t.Fatalf("error %v", err)
	}
	if st := c.status(); st.Quarantined != 0 {
		t.Fatalf("an outcome that makes no sense was taken in: %+v", st)
	}
}
