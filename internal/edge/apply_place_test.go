package edge

import (
	"testing"
)

// own gives the file's table a column and a unique index that only the file has.
const own = `ALTER TABLE patient ADD COLUMN memo TEXT; CREATE UNIQUE INDEX own ON patient (name); `

// anew makes the hub forget what it logged: everything is fetched anew.
func (c *clinic) anew() {
	c.h.floor = len(c.h.log)
	c.h.epoch++
	c.dial().sync()
}

// A row that is gone at the hub stays for a pending child. When the hub gives its
// unique value to another row, that one stands: the child's transaction steps aside.
func TestTrapS20_HeldParentMakesRoomForTheHubsRow(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := enrolled(t)
		c.h.put("patient", text("p"), num(1), text("P"), num(0), text("card"))
		l := c.dial()
		l.sync()
		c.h.decide = parked
		c.tx("INSERT INTO visit VALUES ('v', 'p', 'mine')")
		l.sync()
		c.h.del("patient", text("p"))
		l.sync()
		c.want("SELECT id FROM patient", "'p'")
		c.h.put("patient", text("q"), num(1), text("Q"), num(0), text("card"))
		if full {
			c.anew()
		} else {
			l.sync()
		}
		c.want("SELECT id FROM patient", "'q'")
		c.want("SELECT count(*) FROM visit", "0")
		if st := c.status(); st.Aside != 1 {
			t.Errorf("full %v: %+v", full, st)
		}
		c.foreign()
		c.agree(false)
	}
}

// While everything is fetched anew, a held row is off the table: it comes back with
// what only the file knows.
func TestTrapS20_HeldParentKeepsOwnColumns(t *testing.T) {
	c := enrolled(t)
	c.h.put("patient", text("p"), num(1), text("P"), num(0), text("card"))
	c.dial().sync()
	c.exec(own + "UPDATE patient SET memo='here'")
	c.h.decide = parked
	c.tx("INSERT INTO visit VALUES ('v', 'p', 'mine')")
	c.h.del("patient", text("p"))
	c.dial().sync()
	c.anew()
	c.want("SELECT id, memo FROM patient", "'p'|'here'")
	c.want("SELECT id FROM visit", "'v'")
	c.agree(false)
}

// Two rows of the hub's that only the file's own index keeps apart, both final: the one
// that finds no room is kept, whether or not there was work on them.
func TestTrapS19_FinalRowWithoutRoomIsKept(t *testing.T) {
	for _, tracked := range []bool{false, true} {
		c := enrolled(t)
		c.h.put("patient", text("x"), num(1), text("X"), num(0), text("cx"))
		c.h.put("patient", text("y"), num(1), text("Y"), num(0), text("cy"))
		l := c.dial()
		l.sync()
		c.exec(own)
		if tracked {
			c.h.decide = parked
			c.tx("UPDATE patient SET branch=5 WHERE id='x'", "UPDATE patient SET branch=5 WHERE id='y'")
			l.sync()
			tx, err := c.e.Queued(c.queue()[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			c.h.conclude(tx, outcomeDiscarded, "no")
		}
		c.h.put("patient", text("x"), num(2), text("N"), num(0), text("cx"))
		c.h.put("patient", text("y"), num(2), text("N"), num(0), text("cy"))
		l.sync()
		c.want("SELECT id, name FROM patient", "'y'|'N'")
		c.want("SELECT count(*) FROM _tidemark_rescue WHERE reason LIKE 'no room%'", "1")
		list, err := c.e.Rescues(0, 10)
		if err != nil || list[len(list)-1].Tx.Ops[0].Key[0] != text("x") {
			t.Errorf("tracked %v: %+v, %v", tracked, list, err)
		}
	}
}

// A row gave way to the hub's version of another one, over which pending work comes: it
// has room again, and what only the file knows of it.
func TestTrapS19_RowThatHasRoomAgainKeepsOwnColumns(t *testing.T) {
	c := enrolled(t)
	c.h.put("patient", text("x"), num(1), text("X"), num(0), text("cx"))
	c.h.put("patient", text("y"), num(1), text("Y"), num(0), text("cy"))
	c.dial().sync()
	c.exec(own + "UPDATE patient SET memo=id||'-here'")
	c.h.decide = parked
	c.tx("UPDATE patient SET name='Y2' WHERE id='y'")
	c.dial().sync()
	c.h.put("patient", text("y"), num(1), text("X"), num(0), text("cy"))
	c.anew()
	c.want("SELECT id, name, memo FROM patient ORDER BY id", "'x'|'X'|'x-here'\n'y'|'Y2'|'y-here'")
	c.agree(false)
}

// Nobody captured the row, and a row of the hub's takes its unique value while everything
// is fetched anew: there is a copy, and an event that says so.
func TestTrapS18_RowThatMadeRoomIsKept(t *testing.T) {
	for _, taken := range []string{"other", "c9"} {
		b := shaped(t)
		b.exec("PRAGMA foreign_keys=OFF;" + rebuild + `INSERT INTO patient VALUES ('mine', 1, 'uncaptured', 0, 'c9')`)
		b.atTheHub(`INSERT INTO patient VALUES ('theirs', 1, 'hub', 0, '` + taken + `')`)
		b.pruned()
		b.settled()
		b.fetched()
		b.want("SELECT group_concat(id) FROM patient", "'a,b,c,theirs'")
		list, err := b.e.Rescues(0, 10)
		if err != nil || len(list) != 1 || list[0].Reason != unsureReason || list[0].Tx.Ops[0].Key[0] != text("mine") {
			t.Errorf("%s: %+v, %v", taken, list, err)
		}
		b.events(EventAnew, EventKept, EventLost)
		b.agrees()
	}
}

// The row is gone at the hub, and another one has its unique value: its children that do
// not sync follow their foreign key, by whichever of its columns.
func TestTrapS6_ChildrenOfARowThatMadeRoom(t *testing.T) {
	for _, taken := range []string{"other", "card"} {
		c := enrolled(t)
		c.h.put("patient", text("p"), num(1), text("P"), num(0), text("card"))
		c.dial().sync()
		c.exec(`CREATE TABLE draft (x INTEGER PRIMARY KEY, p TEXT REFERENCES patient ON DELETE CASCADE);
			CREATE TABLE loan (c TEXT REFERENCES patient(card) ON DELETE CASCADE); INSERT INTO draft VALUES (1,'p'); INSERT INTO loan VALUES ('card')`)
		c.h.del("patient", text("p"))
		c.h.put("patient", text("q"), num(1), text("Q"), num(0), text(taken))
		c.anew()
		c.want("SELECT id FROM patient", "'q'")
		c.want("SELECT count(*) FROM draft", "0")
		c.want("SELECT count(*) FROM loan", "0")
		c.foreign()
		c.agree(true)
	}
}

// What a foreign key says is read once, until the schema changes.
func TestReferencesFollowTheSchema(t *testing.T) {
	c := enrolled(t)
	c.h.put("patient", text("p"), num(1), text("P"), num(0), text("card"))
	c.h.put("patient", text("q"), num(1), text("Q"), num(0), text("card 2"))
	l := c.dial()
	l.sync()
	c.exec(`CREATE TABLE draft (x INTEGER PRIMARY KEY, p TEXT REFERENCES patient ON DELETE CASCADE); INSERT INTO draft VALUES (1,'p'), (2,'q')`)
	c.h.del("patient", text("p"))
	l.sync()
	c.want("SELECT x FROM draft", "2")
	c.exec(`DROP TABLE draft; CREATE TABLE draft (x INTEGER PRIMARY KEY, p TEXT REFERENCES patient ON DELETE SET NULL); INSERT INTO draft VALUES (2,'q')`)
	c.h.del("patient", text("q"))
	l.sync()
	c.want("SELECT x, p FROM draft", "2|NULL")
	c.foreign()
}
