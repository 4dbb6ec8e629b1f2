package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func write(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"))
	b.expect("inserted", b.row("patient", text("p1")), "'p1',7,'Ann',NULL")
	b.expect("table names fold", b.row("PATIENT", text("p1")), "'p1',7,'Ann',NULL")
	b.writeTexts()
	b.as(edgeA, update("patient", text("p1"), ""))
	b.as(edgeA, remove("patient", text("p1")), remove("patient", text("never")))
	b.expect("deleted", b.row("patient", text("p1")), "none")
	b.as(edgeA, hub.Effect{Table: "product", Kind: change.Insert, Key: change.Key{text("s")}, Columns: []string{"sku"}, Values: []change.Value{text("s")}})
	b.expect("columns left out take their default", b.row("product", text("s")), "'s',NULL")
	for what, e := range map[string]hub.Effect{
		"update of nothing": update("patient", text("p9"), "name", text("x")),
		"unknown table":     remove("nothing", text("x")),
	} {
		if err := b.try(e); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, e := range map[string]hub.Effect{
		"too few values": {Table: "product", Kind: change.Insert, Key: change.Key{text("k")}, Columns: []string{"sku"}},
		"wrong key":      {Table: "product", Kind: change.Delete, Key: change.Key{}},
		"no kind":        {Table: "product", Key: change.Key{text("k")}},
	} {
		if err := b.try(e); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	failure := errors.New("no")
	err := b.s.Update(context.Background(), func(t hub.Tx) error {
		if err := t.Write(patient("p2", 7, "Bob")); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("update gave %v", err)
	}
	b.expect("undone", b.row("patient", text("p2")), "none")
	b.expect("other tables are not there", b.row("product", text("p2")), "none")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.s.Update(ctx, func(hub.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("update in an ended context: %v", err)
	}
	if err := b.s.View(ctx, func(hub.View) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("view in an ended context: %v", err)
	}
}

// writeTexts writes what a text column holds, and what not every one does.
func (b *bench) writeTexts() {
	b.Helper()
	if b.dialect == SQLite {
		b.as(edgeA, update("patient", text("p1"), "name note", text("Anne"), text("x\x00y")))
		b.expect("updated", b.row("patient", text("p1")), "'p1',7,'Anne','x\x00y'")
		b.as(edgeA, update("patient", text("p1"), "note name", change.Blob([]byte{0, 1}), text("Ann"))) // out of table order
		b.expect("a blob stays a blob", b.row("patient", text("p1")), "'p1',7,'Ann',x'0001'")
	} else {
		b.as(edgeA, update("patient", text("p1"), "note name", text("ünï"), text("Anne"))) // out of table order
		b.expect("updated", b.row("patient", text("p1")), "'p1',7,'Anne','ünï'")
		for _, v := range []change.Value{text("x\x00y"), text("\xff"), change.Blob([]byte{0, 1})} {
			if ce, ok := errors.AsType[*hub.ConstraintError](b.try(update("patient", text("p1"), "note", v))); !ok || ce.Kind != "type" {
				b.Errorf("%s in a text column: %v", v, ce)
			}
		}
	}
}

// try writes one effect in a savepoint and returns its error.
func (b *bench) try(e hub.Effect) (got error) {
	b.Helper()
	b.update(func(t hub.Tx) error {
		got = t.Savepoint(func() error { return t.Write(e) })
		return nil
	})
	return got
}

func constraint(t *testing.T, open Open) {
	b := begin(t, open, clinic(), append(append([]string{}, clinicDDL...),
		`CREATE TRIGGER no_zoe BEFORE INSERT ON patient WHEN NEW.name = 'Zoe' BEGIN SELECT RAISE(ROLLBACK, 'no Zoe'); END`,
		`CREATE TRIGGER not_max BEFORE INSERT ON patient WHEN NEW.name = 'Max' BEGIN SELECT RAISE(IGNORE); END`,
		`CREATE TABLE exact (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT`))
	rules := clinic()
	rules.Tables = append(rules.Tables, rulesAll("exact"))
	if _, err := b.s.Refresh(context.Background(), rules); err != nil {
		t.Fatal(err)
	}
	b.as(edgeA, patient("p1", 7, "Ann"), visit("v1", "p1"), update("patient", text("p1"), "note", text("n")))
	for _, c := range []struct {
		kind, detail string // detail: SQLite's, or PostgreSQL's behind a |
		e            hub.Effect
	}{
		{"unique", "patient.id|(id)", patient("p1", 7, "Bob")},
		{"unique", "patient.note|(note)", insert("patient", "id branch name note", text("p2"), change.Int(1), text("x"), text("n"))},
		{"not null", "item.visit_id", insert("item", "id visit_id qty", change.Int(1), change.Null, change.Int(1))},
		{"check", "qty", insert("item", "id visit_id qty", change.Int(1), text("v1"), change.Int(-1))},
		{"type", "", insert("item", "id visit_id qty", text("abc"), text("v1"), change.Int(1))},
		{"type", "exact.n|n is integer", insert("exact", "id n", change.Int(1), text("abc"))},
		{"trigger", "no Zoe", patient("p3", 7, "Zoe")},
		{"trigger", "ignored", patient("p3", 7, "Max")},
	} {
		detail, other, differs := strings.Cut(c.detail, "|")
		if differs && b.dialect == PostgreSQL {
			detail = other
		}
		err := b.try(c.e)
		var ce *hub.ConstraintError
		if !errors.As(err, &ce) || ce.Kind != c.kind || !strings.EqualFold(ce.Table, c.e.Table) || !strings.Contains(ce.Detail, detail) {
			t.Errorf("%v: want a %s constraint naming %q, got %v", c.e, c.kind, detail, err)
		}
	}
	b.expect("nothing came of it", b.changes(change.Cursor{}, edgeB, branch(7, 1)), "patient 'p1'; visit 'v1'")
}

func savepoint(t *testing.T, open Open) {
	b := start(t, open)
	before := b.now()
	failure := errors.New("no")
	b.update(func(tx hub.Tx) error {
		if err := tx.As(edgeA, change.NewHLC(5, 0)); err != nil {
			return err
		}
		if err := tx.Write(patient("p1", 7, "Ann")); err != nil {
			return err
		}
		err := tx.Savepoint(func() error {
			if err := tx.As(edgeB, change.NewHLC(6, 0)); err != nil {
				return err
			}
			if err := tx.Write(patient("p2", 7, "Bob")); err != nil {
				return err
			}
			if _, err := tx.Cursor(); err != nil { // makes the log complete inside
				return err
			}
			if err := tx.Savepoint(func() error { return tx.Write(patient("p3", 7, "Cid")) }); err != nil {
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("savepoint gave %v", err)
		}
		return tx.Write(patient("p4", 7, "Dan"))
	})
	b.expect("only what was kept", b.changes(before, edgeB, branch(7)), "patient 'p1'; patient 'p4'")
	b.expect("who wrote is undone too", b.changes(before, edgeA, branch(7)), "")
}

// An update that may run again gives what one with savepoints gives, however often
// the store runs it.
func again(t *testing.T, open Open) {
	b := start(t, open)
	before := b.now()
	failure := errors.New("no")
	for _, fails := range []bool{true, true, false} {
		var got []error
		b.update(func(tx hub.Tx) error {
			tx.Again()
			got = nil
			if err := tx.As(edgeA, change.NewHLC(5, 0)); err != nil {
				return err
			}
			for _, id := range []string{"p1", "p2", "p3"} {
				err := tx.Savepoint(func() error {
					if err := tx.Write(patient(id, 7, "Ann")); err != nil {
						return err
					}
					if fails && id != "p2" {
						return failure
					}
					return nil
				})
				got = append(got, err)
				if err != nil && !errors.Is(err, failure) {
					return err
				}
			}
			return tx.Write(hub.Effect{Table: "patient", Kind: change.Delete, Key: change.Key{change.Text("p2")}})
		})
		if len(got) != 3 || (got[0] != nil) != fails || got[1] != nil || (got[2] != nil) != fails {
			t.Errorf("the savepoints gave %v", got)
		}
		b.update(func(tx hub.Tx) error {
			row, err := tx.Row("patient", change.Key{change.Text("p1")})
			if err == nil && (row == nil) != fails {
				t.Errorf("p1 is %v", row)
			}
			return err
		})
	}
	b.expect("only what was kept", b.changes(before, edgeB, branch(7)), "patient 'p1'; patient 'p3'; patient -'p2'")
}

func trapD23(t *testing.T, open Open) {
	b := start(t, open)
	b.update(func(tx hub.Tx) error {
		for i, e := range []hub.Effect{patient("p1", 7, "Ann"), patient("p1", 7, "again"), patient("p2", 7, "Bob")} {
			err := tx.Savepoint(func() error { return tx.Write(e) })
			if (err != nil) != (i == 1) {
				t.Errorf("transaction %d: %v", i, err)
			}
		}
		return nil
	})
	b.expect("the others went through", b.changes(change.Cursor{}, edgeB, branch(7)), "patient 'p1'; patient 'p2'")
}

func trapS23(t *testing.T, open Open) {
	b := begin(t, open, clinic(), append(append([]string{}, clinicDDL...),
		`CREATE TABLE audit (what TEXT)`,
		`CREATE TRIGGER sold AFTER INSERT ON item BEGIN UPDATE OR FAIL "product" SET price = price - 1; END`,
		`CREATE TRIGGER seen AFTER INSERT ON item BEGIN INSERT INTO audit VALUES ('item ' || NEW.id); INSERT INTO audit SELECT 'update product' WHERE 0; END`))
	b.as(edgeA, insert("product", "sku price", text("a"), change.Float(10)), patient("p", 7, "Ann"), visit("v", "p"), item(1, "v"))
	b.expect("an edge's sale does not sell twice", b.row("product", text("a")), "'a',10.0")
	b.other(`INSERT INTO item VALUES (2, 'v', 1)`)
	b.expect("another program's sale sells", b.row("product", text("a")), "'a',9.0")
	b.other(`INSERT INTO product (sku, price) SELECT 'audit', count(*) FROM audit`)
	b.expect("local tables are kept either way", b.row("product", text("audit")), "'audit',2.0")
}
