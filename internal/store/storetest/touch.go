package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// history is what Touched says, one word an entry.
func (b *bench) history(table string, key change.Value, since change.Cursor, self change.Incarnation) string {
	b.Helper()
	var out []string
	b.view(func(v hub.View) error {
		list, err := v.Touched(table, change.Key{key}, since, self)
		for _, e := range list {
			w := e.Kind.String() + "(" + strings.Join(e.Columns, ",") + ")"
			switch {
			case e.Merged:
				w += "merged"
			case e.Origin.IsZero():
				w += "other"
			default:
				w += fmt.Sprintf("%x", e.Origin[0])
			}
			out = append(out, w)
		}
		return err
	})
	return strings.Join(out, " ")
}

func touched(t *testing.T, open Open) {
	b := start(t, open)
	c0 := b.now()
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 7, "Bob"))
	c1 := b.now()
	b.as(edgeA, update("patient", text("p1"), "name", text("A")))
	b.as(edgeB, update("patient", text("p1"), "name note", text("B"), text("n")))
	b.as(change.Incarnation{}, update("patient", text("p1"), "note", text("m")))
	b.other(`UPDATE patient SET branch=8 WHERE id='p1'`)
	b.other(`UPDATE patient SET branch=8 WHERE id='p1'`) // changes nothing
	b.other(`DELETE FROM patient WHERE id='p1'`)
	b.expect("by all but B", b.history("patient", text("p1"), c1, edgeB), "update(name)a update(note)merged update(branch)other delete()other")
	b.expect("by all but A", b.history("patient", text("p1"), c0, edgeA), "update(name,note)b update(note)merged update(branch)other delete()other")
	b.expect("from the start", b.history("patient", text("p1"), c0, change.Incarnation{}),
		"insert()a update(name)a update(name,note)b update(note)merged update(branch)other delete()other")
	b.expect("another row", b.history("patient", text("p2"), c1, edgeB), "")
	b.update(func(tx hub.Tx) error { // its own writes too, before they are committed
		if err := tx.As(edgeB, change.NewHLC(9, 9)); err != nil {
			return err
		}
		if err := tx.Write(update("patient", text("p2"), "name", text("x"))); err != nil {
			return err
		}
		list, err := tx.Touched("patient", change.Key{text("p2")}, c1, edgeA)
		if len(list) != 1 || list[0].Origin != edgeB || list[0].HLC != change.NewHLC(9, 9) {
			t.Errorf("inside the transaction: %v", list)
		}
		return err
	})
}

func trapD9(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"))
	c := b.now()
	b.other(`UPDATE patient SET name='Anne', note='n' WHERE id='p1'`)
	b.expect("two columns", b.history("patient", text("p1"), c, edgeA), "update(name,note)other")
	c = b.now()
	b.other(`UPDATE patient SET name='Anne', note='m' WHERE id='p1'`)
	b.expect("only what changed", b.history("patient", text("p1"), c, edgeA), "update(note)other")

	cols := []string{"id INTEGER PRIMARY KEY"}
	for i := range 80 {
		cols = append(cols, fmt.Sprintf("c%d", i)+map[Dialect]string{PostgreSQL: " NUMERIC"}[b.dialect]) // where 1 and 1.0 are equal, and yet stored differently
	}
	rules := clinic()
	rules.Tables = append(rules.Tables, rulesAll("wide"))
	b = begin(t, open, rules, append(append([]string{}, clinicDDL...), "CREATE TABLE wide ("+strings.Join(cols, ", ")+")"))
	b.other(`INSERT INTO wide (id, c0) VALUES (1, 1)`)
	c = b.now()
	b.other(`UPDATE wide SET c3=1, c60=2`)
	b.other(`UPDATE wide SET c61=1`)
	b.other(`UPDATE wide SET c0=1.0`)
	b.as(edgeA, update("wide", change.Int(1), "c79", change.Int(1)))
	b.expect("columns beyond the mask count as any", b.history("wide", change.Int(1), c, edgeB), "update(c3,c60)other update()other update(c0)other update()a")
}

func tombstone(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"), visit("v1", "p1"), item(1, "v1"), item(2, "v1"), patient("p2", 7, "Bob"), visit("v2", "p2"))
	find := func(table string, key change.Value) (out string) {
		b.view(func(v hub.View) error {
			ts, err := v.Tombstone(table, change.Key{key})
			if errors.Is(err, hub.ErrNotFound) {
				out = "none"
				return nil
			}
			if err != nil {
				return err
			}
			out = change.Key(ts.Row).String()
			for _, op := range ts.Children {
				if op.Kind != change.Insert || len(op.Columns) != len(op.New) {
					t.Errorf("child %v does not restore a row", op)
				}
				out += "; " + op.Table + " " + change.Key(op.New).String()
			}
			return nil
		})
		return out
	}
	b.expect("while it lives", find("patient", text("p1")), "none")
	b.expect("never was", find("patient", text("p9")), "none")
	b.as(edgeA, remove("visit", text("v2"))) // on its own, before
	b.as(edgeA, remove("item", change.Int(1)), remove("item", change.Int(2)), remove("visit", text("v1")), remove("patient", text("p1")), remove("patient", text("p2")))
	b.expect("with children", find("patient", text("p1")), "'p1',7,'Ann',NULL; visit 'v1','p1','cough'; item 1,'v1',1; item 2,'v1',1")
	b.expect("without what went before", find("patient", text("p2")), "'p2',7,'Bob',NULL")
	b.expect("a child alone", find("item", change.Int(1)), "1,'v1',1")
	b.as(edgeA, patient("p1", 8, "Eve"))
	b.expect("back again", find("patient", text("p1")), "none")
	b.other(`DELETE FROM patient WHERE id='p1'`)
	b.expect("the last image", find("patient", text("p1")), "'p1',8,'Eve',NULL")
	b.other(`INSERT INTO patient VALUES ('p5', 7, 'Fay', 'same')`)
	b.other(`INSERT OR REPLACE INTO patient VALUES ('p6', 7, 'Gil', 'same')`)
	b.expect("taken by REPLACE", find("patient", text("p5")), "'p5',7,'Fay','same'")
}

func tombstoneCascade(t *testing.T, open Open) {
	b := start(t, open)
	family(b)
	b.other(`DELETE FROM item WHERE id=2`)
	b.other(`DELETE FROM patient WHERE id='p1'; DELETE FROM patient WHERE id='p2'`)
	b.view(func(v hub.View) error {
		ts, err := v.Tombstone("patient", change.Key{text("p1")})
		if err != nil {
			return err
		}
		got := ""
		for _, op := range ts.Children {
			got += op.Table + " " + op.Key.String() + "; "
		}
		b.expect("what the cascade took", got, "visit 'v1'; item 1; ")
		return nil
	})
}

func touch(t *testing.T, open Open) {
	b := start(t, open)
	family(b)
	c := b.now()
	b.update(func(tx hub.Tx) error {
		if err := tx.As(edgeA, change.NewHLC(1, 1)); err != nil {
			return err
		}
		if err := tx.Touch("patient", change.Key{text("p1")}); err != nil {
			return err
		}
		return tx.Touch("item", change.Key{change.Int(1)})
	})
	b.expect("everybody gets it, the toucher too", b.changes(c, edgeA, branch(7)), "item 1; patient 'p1'")
	b.expect("it is no change", b.history("patient", text("p1"), c, edgeB), "")
	b.as(edgeA, remove("item", change.Int(1)))
	c = b.now()
	b.update(func(tx hub.Tx) error { return tx.Touch("item", change.Key{change.Int(1)}) })
	b.expect("a row that is gone", b.changes(c, edgeA, branch(7)), "item -1")
	b.update(func(tx hub.Tx) error { return tx.Touch("item", change.Key{change.Int(99)}) })
	b.expect("a row that never was", b.changes(c, edgeA, branch(7)), "item -1")
	b.view(func(v hub.View) error {
		fk := b.s.Schema()
		table := fk.Table("visit")
		keys, err := v.Children("visit", &table.ForeignKeys[0], []change.Value{text("p1")}, 10)
		if err != nil || len(keys) != 1 || keys[0][0] != text("v1") {
			t.Errorf("children of p1: %v, %v", keys, err)
		}
		table = fk.Table("item")
		keys, err = v.Children("item", &table.ForeignKeys[0], []change.Value{text("v2")}, 0)
		if err != nil || len(keys) != 0 {
			t.Errorf("no children asked for: %v, %v", keys, err)
		}
		return nil
	})
}
