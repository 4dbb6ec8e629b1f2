package edge

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// parked makes the hub quarantine whatever it is handed.
func parked(*change.Transaction) (uint8, string) { return outcomeQuarantined, "unique: card" }

func TestTrapS6_ParentUpdateKeepsChildren(t *testing.T) {
	c := newClinic(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), text("card-a"))
	c.h.put("patient", text("b"), num(1), text("Bob"), num(0), text("card-b"))
	c.h.put("visit", text("v1"), text("a"), text("x"))
	c.h.put("visit", text("v2"), text("b"), text("y"))
	l := c.dial()
	l.sync()
	// Two rows swap a unique value: whichever is written first meets the other.
	c.h.put("patient", text("a"), num(1), text("Ann 2"), num(0), text("card-b"))
	c.h.put("patient", text("b"), num(1), text("Bob 2"), num(0), text("card-a"))
	l.sync()
	c.want("SELECT id, name, card FROM patient ORDER BY id", "'a'|'Ann 2'|'card-b'\n'b'|'Bob 2'|'card-a'")
	c.want("SELECT count(*) FROM visit", "2")
	c.agree(true)
	// The hub's cascade arrives as what it did, parent first or last.
	c.h.del("patient", text("a"))
	c.h.del("visit", text("v1"))
	l.sync()
	c.want("SELECT id FROM visit", "'v2'")
	c.agree(true)
	c.foreign()
}

func TestTrapS6_LocalOnlyChildrenFollowTheirForeignKey(t *testing.T) {
	c := enrolled(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
	c.h.put("patient", text("b"), num(1), text("Bob"), num(0), change.Null)
	c.h.put("patient", text("k"), num(1), text("Kim"), num(0), change.Null)
	l := c.dial()
	l.sync()
	c.exec(`CREATE TABLE draft (x INTEGER PRIMARY KEY, p TEXT REFERENCES patient ON DELETE CASCADE);
		CREATE TABLE recent (p TEXT REFERENCES patient ON DELETE SET NULL, n);
		CREATE TABLE page (x REFERENCES draft ON DELETE CASCADE, up REFERENCES page(n) ON DELETE CASCADE, n UNIQUE);
		CREATE TABLE mark (n REFERENCES page(n) ON DELETE SET DEFAULT);
		CREATE TABLE usual (p TEXT DEFAULT ('b') REFERENCES patient ON DELETE SET DEFAULT);
		INSERT INTO draft VALUES (1,'a'), (2,'b'); INSERT INTO recent VALUES ('a', 1); INSERT INTO usual VALUES ('a');
		INSERT INTO page VALUES (1,NULL,'p1'), (2,NULL,'p2'), (NULL,'p1','p3'), (2,NULL,NULL); INSERT INTO mark VALUES ('p3'), ('p2')`)
	c.h.del("patient", text("a"))
	l.sync()
	c.want("SELECT x, p FROM draft", "2|'b'")
	c.want("SELECT p, n FROM recent", "NULL|1")
	c.want("SELECT p FROM usual", "'b'")
	c.want("SELECT n FROM page ORDER BY n", "NULL\n'p2'")
	c.want("SELECT n FROM mark ORDER BY n", "NULL\n'p2'")
	c.want("SELECT id FROM patient ORDER BY id", "'b'\n'k'")
	c.foreign()
	c.agree(true)
}

// What a table that does not sync would forbid happened at the hub: the row goes, and
// what points at it stays, whether it never synced or the hub gave the table up.
func TestTrapS6_LocalOnlyChildrenHoldNothing(t *testing.T) {
	c := enrolled(t)
	for _, id := range []string{"a", "k", "m"} {
		c.h.put("patient", text(id), num(1), text("Ann"), num(0), change.Null)
	}
	l := c.dial()
	l.sync()
	c.exec(`CREATE TABLE pinned (p TEXT REFERENCES patient); CREATE TABLE must (p TEXT NOT NULL REFERENCES patient ON DELETE SET NULL);
		INSERT INTO pinned VALUES ('k'); INSERT INTO must VALUES ('m')`)
	c.h.del("patient", text("k"))
	c.h.del("patient", text("m"))
	l.sync()
	c.want("SELECT id FROM patient", "'a'")
	c.want("SELECT p FROM pinned", "'k'")
	c.want("SELECT p FROM must", "'m'")
	c.agree(true)
	ev, err := c.e.Events()
	if err != nil || len(ev) != 2 || ev[0].Kind != EventDangling || !strings.Contains(ev[0].Detail+ev[1].Detail, "rows of pinned") {
		t.Errorf("events %+v, %v", ev, err)
	}
}

func TestTrapS19_UniqueCollisionStepsAside(t *testing.T) {
	c := enrolled(t)
	c.h.decide = parked
	c.tx("INSERT INTO patient VALUES ('mine', 1, 'Local', 0, 'card-1')", "INSERT INTO visit VALUES ('v', 'mine', 'n')")
	c.export()
	c.tx("UPDATE patient SET name='Local 2' WHERE id='mine'") // builds on it
	c.h.put("patient", text("theirs"), num(1), text("Hub"), num(0), text("card-1"))
	l := c.dial()
	l.sync()
	c.want("SELECT id FROM patient", "'theirs'")
	c.want("SELECT count(*) FROM visit", "0") // a transaction is seen whole or not at all
	c.foreign()
	c.agree(false)
	q := c.queue()
	if len(q) != 2 || !q[0].Aside || !q[1].Aside || q[0].State != "quarantined" {
		t.Fatalf("queue %+v", q)
	}
	if st := c.status(); st.Aside != 2 || st.Quarantined != 2 || st.OldestUnsafe != 0 {
		t.Fatalf("status %+v", st)
	}

	// The hub's row goes and a person releases the parked work: it comes back.
	c.h.del("patient", text("theirs"))
	for _, q := range q {
		tx, err := c.e.Queued(q.ID)
		if err != nil {
			t.Fatal(err)
		}
		c.h.conclude(tx, outcomeApplied, "")
	}
	l.sync()
	c.want("SELECT id, name FROM patient", "'mine'|'Local 2'")
	c.want("SELECT id FROM visit", "'v'")
	c.agree(true)
}

func TestTrapS19_DiscardedAfterCollision(t *testing.T) {
	c := enrolled(t)
	c.h.decide = parked
	c.exec("INSERT INTO patient VALUES ('mine', 1, 'Local', 0, 'card-1')")
	c.h.put("patient", text("theirs"), num(1), text("Hub"), num(0), text("card-1"))
	l := c.dial()
	l.sync()
	tx, err := c.e.Queued(c.queue()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	c.h.conclude(tx, outcomeDiscarded, "duplicate card")
	l.sync()
	c.want("SELECT id FROM patient", "'theirs'")
	c.agree(true)
	rs, err := c.e.Rescues(0, 10)
	if err != nil || len(rs) != 1 || rs[0].Tx.ID != tx.ID || !strings.Contains(rs[0].Reason, "duplicate card") {
		t.Fatalf("rescues %+v, %v", rs, err)
	}
	if st := c.status(); st.Rescues != 1 || st.Quarantined != 0 {
		t.Fatalf("status %+v", st)
	}
}

func TestTrapS19_UpdateCollides(t *testing.T) {
	c := enrolled(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), text("1"))
	l := c.dial()
	l.sync()
	c.h.decide = parked
	c.exec("UPDATE patient SET card='2', name='Anna' WHERE id='a'")
	c.h.put("patient", text("b"), num(1), text("Bob"), num(0), text("2"))
	l.sync()
	c.want("SELECT id, name, card FROM patient ORDER BY id", "'a'|'Ann'|'1'\n'b'|'Bob'|'2'")
	c.agree(false)
}

func TestTrapS19_ExpressionIndex(t *testing.T) {
	c := newClinic(t, "CREATE TABLE item (id TEXT PRIMARY KEY, code TEXT, up TEXT AS (upper(code)) STORED)",
		"CREATE UNIQUE INDEX item_lower ON item (lower(code))", "CREATE UNIQUE INDEX item_up ON item (up)",
		"CREATE UNIQUE INDEX item_odd ON item (code) WHERE code <> 'free'")
	c.dial().sync()
	c.h.put("item", text("1"), text("a"))
	c.h.put("item", text("2"), text("B"))
	c.h.put("item", text("3"), text("free"))
	l := c.dial()
	l.sync()
	c.h.put("item", text("1"), text("b")) // swapped, in another case
	c.h.put("item", text("2"), text("A"))
	l.sync()
	c.want("SELECT id, code FROM item ORDER BY id", "'1'|'b'\n'2'|'A'\n'3'|'free'")
	c.agree(true)
	c.h.decide = parked
	c.exec("INSERT INTO item (id, code) VALUES ('mine', 'Q')")
	c.h.put("item", text("4"), text("q"))
	l.sync()
	c.want("SELECT group_concat(id) FROM (SELECT id FROM item ORDER BY id)", "'1,2,3,4'")
}

func TestTrapS20_ParentStaysForPendingChild(t *testing.T) {
	for _, end := range []uint8{outcomeDiscarded, outcomeMerged} {
		c := newClinic(t)
		c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
		c.h.put("visit", text("old"), text("a"), text("x"))
		l := c.dial()
		l.sync()
		c.h.decide = func(*change.Transaction) (uint8, string) { return outcomeQuarantined, "parent gone" }
		c.exec("INSERT INTO visit VALUES ('new', 'a', 'today')")
		c.h.del("visit", text("old"))
		c.h.del("patient", text("a"))
		l.sync()
		c.want("SELECT id FROM patient", "'a'")
		c.want("SELECT id FROM visit", "'new'")
		c.foreign()
		c.agree(false)

		tx, err := c.e.Queued(c.queue()[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if end == outcomeMerged { // the parent returns with its child
			c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
		}
		c.h.conclude(tx, end, "")
		l.sync()
		n := "0"
		if end == outcomeMerged {
			n = "1"
		}
		c.want("SELECT count(*) FROM patient", n)
		c.want("SELECT count(*) FROM visit", n)
		c.agree(true)
		c.foreign()
	}
}

func TestTrapS20_PendingDeleteMeetsNewChild(t *testing.T) {
	c := newClinic(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(0), change.Null)
	c.h.put("visit", text("old"), text("a"), text("x"))
	l := c.dial()
	l.sync()
	c.h.decide = parked
	c.exec("DELETE FROM patient WHERE id='a'") // takes the visit along
	c.h.put("visit", text("theirs"), text("a"), text("y"))
	l.sync()
	c.want("SELECT id FROM patient", "'a'")
	c.want("SELECT id FROM visit ORDER BY id", "'old'\n'theirs'")
	c.foreign()
	c.agree(false)
	if q := c.queue(); len(q) != 1 || !q[0].Aside {
		t.Fatalf("queue %+v", q)
	}
}

func TestTrapS24_AppCommitsBeforeApply(t *testing.T) {
	c := newClinic(t)
	c.h.put("patient", text("a"), num(1), text("Ann"), num(5), change.Null)
	l := c.dial()
	l.sync()
	c.h.put("patient", text("a"), num(2), text("hub"), num(7), change.Null)
	c.exec("UPDATE patient SET name='app', visits=visits+1 WHERE id='a'") // nobody exported it yet
	if err := l.run(); err != nil {                                       // no Nudge: only the pull runs
		t.Fatal(err)
	}
	// What the app wrote stays on the screen, beside what the hub changed.
	c.want("SELECT branch, name, visits FROM patient", "2|'app'|8")
	if len(c.h.received) != 1 {
		t.Fatalf("the hub received %v", c.h.received)
	}
	tx, err := c.e.Queued(c.h.received[0])
	if err != nil {
		t.Fatal(err)
	}
	op := tx.Ops[0]
	if op.New[op.Column("name")] != text("app") || op.Base[op.Column("name")] != text("Ann") || op.Column("branch") >= 0 {
		t.Fatalf("op %+v", op)
	}
	if tx.Bases[op.BaseAt].Token != "1" {
		t.Fatal("the base is a state that the author never saw")
	}
	c.agree(false)
}

func TestTrapD1_FlagIsInsideTheApply(t *testing.T) {
	c := newClinic(t)
	if err := sqlite.Exec(c.app, "PRAGMA journal_mode=WAL"); err != nil {
		t.Fatal(err)
	}
	c.seedPatients(3)
	l := c.dial()
	l.sync()
	c.h.put("patient", text("p0000"), num(1), text("hub"), num(7), change.Null)
	c.h.del("visit", text("vp0001"))
	c.h.put("visit", text("n"), text("p0001"), text("new"))
	steps := 0
	c.e.hook = func(string) error {
		steps++
		c.want("SELECT count(*) FROM _tidemark_applying", "0") // nobody else ever sees the flag
		return nil
	}
	l.sync()
	c.e.hook = nil
	if steps == 0 {
		t.Fatal("nothing was applied")
	}
	c.want("SELECT count(*) FROM _tidemark_undo", "0")
	c.want("SELECT count(*) FROM _tidemark_outbox", "0")
	c.exec("UPDATE patient SET name='app' WHERE id='p0000'") // and capture works again
	c.want("SELECT count(*) > 0 FROM _tidemark_undo", "1")
}
