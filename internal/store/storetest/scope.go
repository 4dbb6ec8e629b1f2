package storetest

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func rulesAll(table string) rule.Table {
	return rule.Table{Name: table, Scope: rule.Scope{All: true}}
}

func scope(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"), visit("v1", "p1"))
	b.view(func(v hub.View) error {
		for _, c := range []struct {
			table string
			row   []change.Value
			want  rule.ScopeID
		}{
			{"product", []change.Value{text("s"), change.Null}, "all"},
			{"patient", []change.Value{text("x"), change.Int(7), change.Null, change.Null}, "branch/7"},
			{"patient", []change.Value{text("x"), text("main"), change.Null, change.Null}, "branch/main"},
			{"patient", []change.Value{text("x"), change.Float(7.5), change.Null, change.Null}, "branch/7.5"},
			{"patient", []change.Value{text("x"), change.Null, change.Null, change.Null}, ""},
			{"visit", []change.Value{text("x"), text("p1"), change.Null}, "branch/7"},
			{"visit", []change.Value{text("x"), text("p9"), change.Null}, ""},
			{"visit", []change.Value{text("x"), change.Null, change.Null}, ""},
			{"item", []change.Value{change.Int(1), text("v1"), change.Null}, "branch/7"},
			{"item", []change.Value{change.Int(1), text("v9"), change.Null}, ""},
		} {
			got, err := v.ScopeOf(c.table, c.row)
			if err != nil || got != c.want {
				t.Errorf("scope of %s %v is %q (%v), want %q", c.table, c.row, got, err, c.want)
			}
		}
		if _, err := v.ScopeOf("patient", nil); err == nil {
			t.Error("a row without columns has a scope")
		}
		return nil
	})
}

// both runs a story twice: told by an edge, and by another program's SQL.
func both(t *testing.T, open Open, edge func(*bench), other string, check func(*bench, change.Cursor)) {
	t.Run("edge", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		edge(b)
		check(b, c)
	})
	t.Run("other", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		b.other(other)
		check(b, c)
	})
}

// family is one patient with a visit of two items in branch 7, one in branch 8.
func family(b *bench) {
	b.as(change.Incarnation{}, patient("p1", 7, "Ann"), visit("v1", "p1"), item(1, "v1"), item(2, "v1"), patient("p2", 8, "Bob"), visit("v2", "p2"), item(3, "v2"))
}

func scopeMove(t *testing.T, open Open) {
	both(t, open, func(b *bench) { b.as(edgeA, update("patient", text("p2"), "branch", change.Int(7))) },
		`UPDATE patient SET branch=7 WHERE id='p2'`,
		func(b *bench, c change.Cursor) {
			b.expect("entered", b.changes(c, edgeB, branch(7)), "item 3; patient 'p2'; visit 'v2'")
			b.expect("left", b.changes(c, edgeB, branch(8)), "item -3; patient -'p2'; visit -'v2'")
			b.expect("left, for who moved it too", b.changes(c, edgeA, branch(8)), "item -3; patient -'p2'; visit -'v2'")
		})
	both(t, open, func(b *bench) { b.as(edgeA, update("patient", text("p2"), "branch", change.Null)) },
		`UPDATE patient SET branch=NULL WHERE id='p2'`,
		func(b *bench, c change.Cursor) {
			b.expect("left for nowhere", b.changes(c, edgeB, branch(7, 8)), "item -3; patient -'p2'; visit -'v2'")
		})
}

// scopeVia: a row gets another parent.
func scopeVia(t *testing.T, open Open) {
	both(t, open, func(b *bench) { b.as(edgeA, update("visit", text("v2"), "patient_id", text("p1"))) },
		`UPDATE visit SET patient_id='p1' WHERE id='v2'`,
		func(b *bench, c change.Cursor) {
			b.expect("entered", b.changes(c, edgeB, branch(7)), "item 3; visit 'v2'")
			b.expect("left", b.changes(c, edgeB, branch(8)), "item -3; visit -'v2'")
		})
	both(t, open, func(b *bench) { b.as(edgeA, update("visit", text("v2"), "patient_id", change.Null)) },
		`UPDATE visit SET patient_id=NULL WHERE id='v2'`,
		func(b *bench, c change.Cursor) {
			b.expect("left", b.changes(c, edgeB, branch(8)), "item -3; visit -'v2'")
		})
}

// scopeParent: the rows below a deleted parent go, though they have no way to
// their scope any more when they do.
func scopeParent(t *testing.T, open Open) {
	both(t, open, func(b *bench) {
		b.as(edgeA, remove("item", change.Int(3)), remove("visit", text("v2")), remove("patient", text("p2")))
	}, `DELETE FROM patient WHERE id='p2'`,
		func(b *bench, c change.Cursor) {
			b.expect("gone", b.changes(c, edgeB, branch(8)), "item -3; patient -'p2'; visit -'v2'")
		})
	both(t, open, func(b *bench) { // parent first, as with foreign keys off
		b.as(edgeA, remove("patient", text("p2")), remove("visit", text("v2")), remove("item", change.Int(3)))
	}, `PRAGMA foreign_keys=OFF; DELETE FROM patient WHERE id='p2'; DELETE FROM visit WHERE id='v2'; DELETE FROM item WHERE id=3`,
		func(b *bench, c change.Cursor) {
			b.expect("gone", b.changes(c, edgeB, branch(8)), "item -3; patient -'p2'; visit -'v2'")
		})
}

// scopeReplaced: the parent goes and comes back elsewhere while its children stay.
func scopeReplaced(t *testing.T, open Open) {
	check := func(b *bench, c change.Cursor) {
		b.expect("entered", b.changes(c, edgeB, branch(7)), "item 3; patient 'p2'; visit 'v2'")
		b.expect("left", b.changes(c, edgeB, branch(8)), "item -3; patient -'p2'; visit -'v2'")
	}
	again := func(b *bench) { b.as(edgeA, remove("patient", text("p2")), patient("p2", 7, "Bob")) }
	both(t, open, again, `PRAGMA foreign_keys=OFF; INSERT OR REPLACE INTO patient VALUES ('p2', 7, 'Bob', NULL)`, check)
	both(t, open, again, `PRAGMA foreign_keys=OFF; DELETE FROM patient WHERE id='p2'; INSERT INTO product VALUES ('s', 1); INSERT INTO patient VALUES ('p2', 7, 'Bob', NULL)`,
		check)
	t.Run("cascade", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		b.other(`INSERT OR REPLACE INTO patient VALUES ('p2', 8, 'Bob', NULL)`)
		b.expect("children taken by REPLACE", b.changes(c, edgeB, branch(8)), "item -3; patient 'p2'; visit -'v2'")
	})
}

// scopeArrival: children are written before their parents.
func scopeArrival(t *testing.T, open Open) {
	both(t, open, func(b *bench) { b.as(edgeA, item(9, "v9"), visit("v9", "p9"), patient("p9", 9, "Ira")) },
		`PRAGMA foreign_keys=OFF; INSERT INTO item VALUES (9, 'v9', 1); INSERT INTO visit VALUES ('v9', 'p9', NULL); INSERT INTO patient VALUES ('p9', 9, 'Ira', NULL)`,
		func(b *bench, c change.Cursor) {
			b.expect("all arrived", b.changes(c, edgeB, branch(9)), "item 9; patient 'p9'; visit 'v9'")
		})
	t.Run("mixed", func(t *testing.T) {
		b := start(t, open)
		c := b.now()
		b.other(`PRAGMA foreign_keys=OFF; INSERT INTO visit VALUES ('v9', 'p9', NULL)`)
		b.as(edgeA, patient("p9", 9, "Ira"))
		b.expect("all arrived", b.changes(c, edgeB, branch(9)), "patient 'p9'; visit 'v9'")
	})
}

// scopeRekey: the key that children point at changes, and they follow or not.
func scopeRekey(t *testing.T, open Open) {
	t.Run("edge", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		b.as(edgeA, patient("p3", 8, "Bob"), update("visit", text("v2"), "patient_id", text("p3")), remove("patient", text("p2")))
		b.expect("followed", b.changes(c, edgeB, branch(8)), "patient 'p3'; patient -'p2'; visit 'v2'")
	})
	t.Run("other", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		b.other(`UPDATE patient SET id='p3' WHERE id='p2'`)
		want := "item 3; patient 'p3'; patient -'p2'; visit 'v2'"
		if b.dialect == PostgreSQL { // where it shows that the item neither changed nor moved
			want = "patient 'p3'; patient -'p2'; visit 'v2'"
		}
		b.expect("followed", b.changes(c, edgeB, branch(8)), want)
	})
	t.Run("left behind", func(t *testing.T) {
		b := start(t, open)
		family(b)
		c := b.now()
		b.other(`PRAGMA foreign_keys=OFF; UPDATE patient SET id='p3' WHERE id='p2'`)
		b.expect("left behind", b.changes(c, edgeB, branch(8)), "item -3; patient 'p3'; patient -'p2'; visit -'v2'")
	})
}
