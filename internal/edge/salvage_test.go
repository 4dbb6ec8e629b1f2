package edge

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// lostRows is a clinic whose hub lost rows of others after a restore: x is gone, y
// has an older name, and v, a visit to x, is gone. w is new; n is this file's own work, lost too, and offered again.
func lostRows(t *testing.T) *clinic {
	c := enrolled(t)
	c.h.past.salvage = true
	c.h.put("patient", text("y"), num(1), text("old"), num(3), change.Null)
	c.h.put("patient", text("z"), num(1), text("z"), num(0), change.Null)
	c.dial().sync()
	start := c.h.backup()
	c.h.put("patient", text("x"), num(1), text("x"), num(0), text("card"))
	c.h.put("visit", text("v"), text("x"), text("note"))
	c.h.put("patient", text("y"), num(1), text("new"), num(3), change.Null)
	c.tx("INSERT INTO patient VALUES ('n', 1, 'n', 0, NULL)")
	c.dial().sync()
	c.agree(true)
	start(8)
	c.h.put("patient", text("w"), num(1), text("w"), num(0), change.Null)
	return c
}

func (c *clinic) offered() (out string) {
	for _, tx := range c.h.past.offered {
		for i := range tx.Ops {
			op := &tx.Ops[i]
			out += fmt.Sprintf("%s %s %s: %v (%v)\n", op.Kind, op.Table, op.Key, op.New, op.Base)
		}
	}
	return out
}

func TestSalvage_OffersWhatTheHubLost(t *testing.T) {
	c := lostRows(t)
	c.dial().sync()
	c.agree(true)
	c.want("SELECT id, name FROM patient ORDER BY id", "'n'|'n'\n'w'|'w'\n'y'|'old'\n'z'|'z'")
	want := "insert patient 'x': ['x' 1 'x' 0 'card'] ([])\ninsert visit 'v': ['v' 'x' 'note'] ([])\nupdate patient 'y': ['new'] (['old'])\n"
	if got := c.offered(); got != want {
		t.Errorf("offered\n%swant\n%s", got, want)
	}
	tx := c.h.past.offered[0]
	dev, inc := c.e.Identity()
	if tx.Device != dev || tx.Incarnation == inc || tx.Bases[0].Epoch != 8 {
		t.Errorf("%+v", tx)
	}
	if st := c.status(); st.Salvage != 0 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
	c.events(EventAnew, EventSalvage, EventHubBack)
	// Another file with the same rows offers the same transaction.
	d := lostRows(t)
	d.dial().sync()
	if d.h.past.offered[0].ID != tx.ID {
		t.Error("the same rows under another id")
	}
	// Nothing is offered twice.
	c.dial().sync()
	if len(c.h.past.offered) != 1 {
		t.Error("offered again")
	}
}

// What is deleted, changed or written back at the hub while the rows are fetched is
// its present life, and no loss.
func TestSalvage_TheHubMovesOnMeanwhile(t *testing.T) {
	c := lostRows(t)
	l := c.dial()
	for l.s.stage.plan == nil || !l.s.stage.at.Done {
		l.limit = l.n + 1
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
	}
	l.limit = 0
	c.h.del("patient", text("z"))
	c.h.put("patient", text("w"), num(2), text("w"), num(0), change.Null)
	c.h.put("patient", text("y"), num(1), text("new"), num(3), change.Null)
	c.h.put("patient", text("x"), num(1), text("x"), num(0), text("card"))
	l.sync()
	c.agree(true)
	if got := c.offered(); got != "insert visit 'v': ['v' 'x' 'note'] ([])\n" {
		t.Errorf("offered %s", got)
	}
}

// Not before everything that the file itself had handed in is back.
func TestSalvage_ComesAfterTheFilesOwnWork(t *testing.T) {
	c := lostRows(t)
	c.h.past.refuse = true
	c.dial().sync()
	c.want("SELECT count(*) FROM _tidemark_salvage", "1")
	c.h.past.refuse, c.h.past.pushes = false, nil
	c.add("later", 2)
	c.dialAs(SessionConfig{PushBytes: 1, PushWindow: 1}).sync()
	var order []bool
	for _, p := range c.h.past.pushes {
		order = append(order, p.Salvage)
	}
	if !slices.Equal(order, []bool{false, false, true}) {
		t.Errorf("salvaged rows in pushes %v", order)
	}
}

func TestSalvage_OnlyWhenTheHubAsks(t *testing.T) {
	c := lostRows(t)
	c.h.past.salvage = false
	c.dial().sync()
	c.agree(true)
	if len(c.h.past.offered) != 0 {
		t.Error("offered unasked")
	}
}

// A row that gave way to another one, and that the hub no longer has.
func TestSalvage_DisplacedRow(t *testing.T) {
	c := enrolled(t)
	c.h.past.salvage = true
	start := c.h.backup()
	c.h.put("patient", text("b"), num(1), text("b"), num(0), text("card"))
	c.dial().sync()
	start(8)
	c.h.put("patient", text("a"), num(1), text("a"), num(0), text("card"))
	c.dial().sync()
	c.agree(true)
	if got := c.offered(); got != "insert patient 'b': ['b' 1 'b' 0 'card'] ([])\n" {
		t.Errorf("offered %s", got)
	}
}

func TestSalvage_CutAnywhere(t *testing.T) {
	for cut := 1; cut < 24; cut++ {
		c := lostRows(t)
		l := c.dial()
		l.limit = cut
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		c.reopen()
		c.dial().sync()
		c.agree(true)
		ids := map[change.TxID]bool{}
		for _, tx := range c.h.past.offered {
			ids[tx.ID] = true
		}
		if len(ids) != 1 {
			t.Fatalf("cut at %d: offered %d transactions: %s", cut, len(ids), c.offered())
		}
		c.want("SELECT count(*) FROM _tidemark_salvage", "0")
	}
}

// Many rows go in several transactions; what the hub refuses now stays; when it
// forgets the chain, a new one begins; a file that becomes another device's takes
// its salvage along.
func TestSalvage_ManyRows(t *testing.T) {
	c := enrolled(t)
	c.h.past.salvage, c.h.past.refuse = true, true
	start := c.h.backup()
	c.seedPatients(600)
	c.dial().sync()
	start(8)
	c.dial().sync()
	c.agree(true)
	c.want("SELECT count(*), sum(rows) FROM _tidemark_salvage", "3|1200")
	if st := c.status(); st.Salvage != 1200 {
		t.Errorf("%+v", st)
	}
	c.h.past.refuse = false
	l := c.dial()
	for len(c.h.past.offered) == 0 {
		l.limit = l.n + 1
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.e.Adopt(change.DeviceID{5}); err != nil {
		t.Fatal(err)
	}
	c.h.past.offered, c.h.past.places = nil, nil
	c.dial().sync()
	n := 0
	for _, tx := range c.h.past.offered {
		n += len(tx.Ops)
		if tx.Device != (change.DeviceID{5}) {
			t.Errorf("by %s", tx.Device)
		}
	}
	if n < 700 {
		t.Errorf("%d rows", n)
	}
	c.want("SELECT count(*) FROM _tidemark_salvage", "0")

	// The hub was set back once more, in the middle of the chain.
	start = c.h.backup()
	c.seedPatients(600)
	c.dial().sync()
	start(9)
	c.h.past.refuse = true
	c.dial().sync()
	c.exec("DELETE FROM _tidemark_salvage WHERE seq=(SELECT min(seq) FROM _tidemark_salvage)") // the hub had taken the first
	c.h.past.refuse, c.h.past.places, c.h.past.offered = false, nil, nil
	c.dial().sync()
	if len(c.h.past.offered) != 2 || c.h.past.offered[0].Seq != 1 {
		t.Errorf("%d offered", len(c.h.past.offered))
	}
}
