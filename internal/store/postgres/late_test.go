package postgresstore

import (
	"errors"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A parent that was deleted is gone for whoever reads, and its children are there for
// whoever decides about them, until the savepoint ends.
func TestDeleteWaitsForTheChildren(t *testing.T) {
	s, dsn := shop(t, family)
	key := change.Key{change.Text("c1")}
	failure := errors.New("no")
	look := func(tx hub.Tx, want bool) error {
		row, err := tx.Row("customer", key)
		if err == nil && (row != nil) != want {
			t.Errorf("the parent is %v", row)
		}
		return err
	}
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		if err := tx.As(edgeA, 1); err != nil {
			return err
		}
		err := tx.Savepoint(func() error {
			if err := tx.Write(del1("customer", key[0])); err != nil {
				return err
			}
			if err := look(tx, false); err != nil {
				return err
			}
			schema := s.Schema()
			list, err := tx.Children("invoice", &schema.Table("invoice").ForeignKeys[0], key, 10)
			if err != nil || len(list) != 1 {
				t.Errorf("children %v, %v", list, err)
			}
			if err := tx.Write(set1("invoice", change.Int(1), "customer_id", change.Text("c2"))); err != nil {
				return err
			}
			if err := tx.Write(del1("customer", key[0])); err != nil { // once more
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("savepoint gave %v", err)
		}
		if err := look(tx, true); err != nil {
			return err
		}
		return tx.Savepoint(func() error {
			for _, e := range []hub.Effect{del1("customer", key[0])} {
				if err := tx.Write(e); err != nil {
					return err
				}
			}
			if err := look(tx, false); err != nil {
				return err
			}
			return tx.Write(set1("invoice", change.Int(1), "customer_id", change.Text("c2")))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the invoice was saved", psql(t, dsn, `SELECT i.id, customer_id, count(l) FROM invoice i LEFT JOIN line l ON l.invoice_id = i.id GROUP BY i.id ORDER BY 1`), "1|c2|2\n2|c2|1")
	expect(t, "and the customer not", psql(t, dsn, `SELECT id FROM customer`), "c2")
}

// A row that takes over the unique values of one that goes becomes that one, with all
// that point at it, whether the hub read in between or not.
func TestKeyChangeWithAUniqueValue(t *testing.T) {
	for _, reads := range []bool{false, true} {
		s, dsn := shop(t, `ALTER TABLE customer ADD email text UNIQUE`, family, `UPDATE customer SET email = id || '@x'`)
		c := at(t, s)
		err := s.Update(t.Context(), func(tx hub.Tx) error {
			return tx.Savepoint(func() error {
				if err := tx.As(edgeA, 1); err != nil {
					return err
				}
				for _, e := range []hub.Effect{
					del1("customer", change.Text("c1")),
					set1("invoice", change.Int(1), "customer_id", change.Text("c9")),
					put1("customer", "id region name email", change.Text("c9"), change.Text("north"), change.Text("Ann"), change.Text("c1@x")),
				} {
					if err := tx.Write(e); err != nil {
						return err
					}
					if reads && e.Kind == change.Delete {
						if _, err := tx.Row("customer", e.Key); err != nil {
							return err
						}
					}
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "all of it moved", psql(t, dsn, `SELECT i.id, c.id, c.email FROM invoice i JOIN customer c ON c.id = i.customer_id ORDER BY 1`), "1|c9|c1@x\n2|c2|c2@x")
		expect(t, "told as a delete and an insert", since(t, s, c, change.Incarnation{0xB}, "region/north"), "customer 'c9'; customer -'c1'; invoice 1")
	}
}

// A ring of unique values takes deleting all rows and inserting them anew.
func TestUniqueValuesTradePlaces(t *testing.T) {
	s, dsn := shop(t, `ALTER TABLE customer ADD email text UNIQUE`, family, `UPDATE customer SET email = id || '@x'; DELETE FROM invoice`)
	row := func(id, email string) hub.Effect {
		return put1("customer", "id region name email", change.Text(id), change.Text("north"), change.Text("n"), change.Text(email))
	}
	err := write(t, s, del1("customer", change.Text("c1")), del1("customer", change.Text("c2")), row("c1", "c2@x"), row("c2", "c1@x"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "traded", psql(t, dsn, `SELECT id, email FROM customer ORDER BY 1`), "c1|c2@x\nc2|c1@x")
}
